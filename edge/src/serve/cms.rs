//! PURGE and BAN from the addresses that a site takes them from (`purge_from`).

use http::{StatusCode, Uri};

use super::answer::Answer;
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::metrics::{Asked, Outcome};
use crate::site::cms::{self, Wanted};
use crate::store::{Mode, Scope};

/// The answer, if the request is such a purge and the site takes any. From another address it is refused: at the origin
/// it would do nothing, or what the sender means to do here.
pub(super) async fn purge(cache: &Cache, exchange: &Exchange<'_>) -> Option<Answer> {
    let Exchange { request, peer, site, .. } = exchange;
    if site.site.purge_from.is_empty() || !cms::is_purge(&request.method) {
        return None;
    }
    let refused = |status, sentence: &str| Some(Answer::plain(status, sentence, Outcome::Refused, "purge"));
    if !site.site.purge_from.iter().any(|network| network.contains(&peer.client)) {
        cache.metrics.asked(Asked::Unauthorized);
        return refused(StatusCode::FORBIDDEN, "this address is not in the site's purge_from");
    }
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let wanted = match cms::wanted(target, &request.headers) {
        Ok(wanted) => wanted,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why.as_str()),
    };
    let scopes = match &wanted {
        Wanted::Site => Ok(vec![Scope::Site(site.site.name.clone())]),
        Wanted::Tags(tags) => {
            let site = || Some(site.site.name.clone());
            Ok(tags.iter().map(|tag| Scope::Tag { tag: tag.clone(), site: site() }).collect())
        }
        Wanted::Target(target) => match with_target(&request.uri, target) {
            Some(uri) => cache.scopes_of_url(&uri).map_err(|why| why.sentence()),
            None => Err("this is no path".to_owned()),
        },
    };
    let scopes: Vec<Scope> = match scopes {
        Ok(scopes) => scopes,
        Err(sentence) => return refused(StatusCode::BAD_REQUEST, &sentence),
    };
    let purged = cache.purge(&scopes, Mode::Hard);
    cache.purges_last().await;
    cache.metrics.asked(Asked::Purged);
    tracing::info!(target: "verge_edge::purge", client = %peer.client, uri = %request.uri, wanted = ?wanted, purged, "purged");
    let sentence = purged.map_or_else(|| "purged".to_owned(), |number| format!("purged {number}"));
    Some(Answer::plain(StatusCode::OK, &sentence, Outcome::Local, "purge"))
}

fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}
