//! Requests on connections that are left once another process has taken over. Its cache is the one that everybody purges:
//! the other process hears of all that requests here change or purge, and those of HTTP/1.1 are answered by the origin.

use std::time::Duration;

use http::{HeaderValue, StatusCode, Uri, header};

use super::answer::Answer;
use super::exchange::Exchange;
use crate::cache::behind::Order;
use crate::cache::{Cache, PurgeRequest};
use crate::http::head::ResponseHead;
use crate::metrics::Outcome;
use crate::policy;

/// A client whose request the origin has answered waits so long for the process that has taken over.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer to a purge, or to a request that may change something, of which the process that has taken over cannot hear:
/// nothing was done, and the client may come again at once.
pub(super) fn unheard() -> Answer {
    let sentence = "another process answers now: send it again over a new connection";
    let mut answer = Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "left");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    answer
}

/// Whether the origin must not get this request, as nobody would hear of what it changes.
pub(super) fn is_refused(cache: &Cache, exchange: &Exchange<'_>) -> bool {
    !cache.is_heard() && !policy::is_safe(&exchange.request.method)
}

/// Has the process that has taken over drop what an unsafe request has made wrong (RFC 9111 §4.4).
pub(super) async fn invalidate(
    cache: &Cache,
    exchange: &Exchange<'_>,
    head: &ResponseHead,
    changed: impl FnOnce() -> Vec<Uri>,
) {
    if !cache.has_left() {
        return;
    }
    let changed = changed().iter().map(ToString::to_string).collect();
    let site = Some(exchange.site.site.name.as_str().to_owned());
    let of_group = |tag: String| {
        // No purge names a tag with a `*`: then all of the site goes.
        let tag = Some(tag).filter(|tag| !tag.contains('*'));
        PurgeRequest { tag, site: site.clone(), ..PurgeRequest::default() }
    };
    let purges = policy::invalidated_groups(&exchange.request, head).into_iter().map(of_group).collect();
    let order = Order { purges, changed, must_last: false };
    if order == Order::default() {
        return;
    }
    // One that is late still does it.
    let done = tokio::time::timeout(PATIENCE, cache.purge_behind(order)).await;
    if done.ok().flatten().is_none_or(|done| !done.is_whole) {
        tracing::warn!(target: "verge_edge::purge", uri = %exchange.request.uri, "the process that has taken over may still answer with what a request has changed: purge it there");
    }
}
