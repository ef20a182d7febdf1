//! PURGE and BAN from the addresses that a site takes them from (`purge_from`).

use http::{StatusCode, Uri};

use super::answer::Answer;
use super::behind;
use super::exchange::Exchange;
use crate::cache::{Cache, PurgeRequest};
use crate::metrics::{Asked, Outcome};
use crate::site::cms::{Purge, Wanted};
use crate::store::{Mode, Scope};

/// The answer, if the request is such a purge and the site takes any. From another address it is refused: at the origin
/// it would do nothing, or what the sender means to do here.
pub(super) async fn purge(cache: &Cache, exchange: &Exchange<'_>) -> Option<Answer> {
    let Exchange { request, peer, site, purge, .. } = exchange;
    let asked = purge.as_ref().filter(|_| !site.site.purge_from.is_empty())?;
    let refused = |status, sentence: &str| Some(Answer::plain(status, sentence, Outcome::Refused, "purge"));
    if !site.site.purge_from.iter().any(|network| network.contains(&peer.client)) {
        cache.metrics.asked(Asked::Unauthorized);
        return refused(StatusCode::FORBIDDEN, "this address is not in the site's purge_from");
    }
    let Purge { wanted, is_soft } = match asked {
        Ok(purge) => purge,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why.sentence()),
    };
    let soft = *is_soft;
    let of_site =
        || PurgeRequest { site: Some(site.site.name.as_str().to_owned()), soft, ..PurgeRequest::default() };
    let purges = match wanted {
        Wanted::Site => vec![of_site()],
        Wanted::Tags(tags) => {
            tags.iter().map(|tag| PurgeRequest { tag: Some(tag.clone()), ..of_site() }).collect()
        }
        Wanted::Target(target) => match with_target(&request.uri, target) {
            Some(uri) => vec![PurgeRequest { url: Some(uri.to_string()), soft, ..PurgeRequest::default() }],
            None => return refused(StatusCode::BAD_REQUEST, "this is no path"),
        },
    };
    let scopes: Result<Vec<Vec<Scope>>, _> = purges.iter().map(|purge| purge.scopes(cache)).collect();
    let scopes = match scopes {
        Ok(scopes) => scopes.concat(),
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why.sentence()),
    };
    let missed = cache.purge_above(&purges, &[]).await;
    let mode = if soft { Mode::Soft } else { Mode::Hard };
    let purged = cache.purge(&scopes, mode);
    let Some(done) = cache.purged(&purges, purged).await else { return Some(behind::unheard()) };
    let purged = done.purged;
    cache.metrics.asked(Asked::Purged);
    tracing::info!(target: "verge_edge::purge", client = %peer.client, uri = %request.uri, wanted = ?wanted, soft, purged, "purged");
    let sentence = purged.map_or_else(|| "purged".to_owned(), |number| format!("purged {number}"));
    let sentence = match done.until_restart() {
        Some(but) => format!("{sentence}; {but}"),
        None => sentence,
    };
    if !missed.is_empty() {
        let sentence = format!("{sentence} here, and nothing at {}", missed.join(", "));
        return Some(Answer::plain(StatusCode::BAD_GATEWAY, &sentence, Outcome::Local, "purge"));
    }
    Some(Answer::plain(StatusCode::OK, &sentence, Outcome::Local, "purge"))
}

fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}
