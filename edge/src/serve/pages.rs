//! Own pages in the place of errors, and the answer of a site that is being worked on.

use http::{HeaderValue, StatusCode, header};
use hyper::body::Body as _;

use super::answer::{self, Answer};
use super::body::Body;
use super::exchange::Exchange;
use super::passed::read_out;
use crate::cache::Cache;
use crate::metrics::Outcome;
use crate::policy::headers::status::Verdict;
use crate::site::pages::Maker;

/// Puts the site's own page in the place of an error, if it has one for that.
pub(super) fn dress(exchange: &Exchange<'_>, answer: &mut Answer) {
    let pages = &exchange.site.site.pages;
    let maker = match answer.outcome {
        Outcome::Refused | Outcome::Failed => Maker::Edge,
        Outcome::Redirect | Outcome::Local => return,
        _ => Maker::Origin,
    };
    let Some(page) = pages.of(answer.head.status, maker, &exchange.request.headers) else { return };
    page.describe(&mut answer.head.headers);
    let unwanted = std::mem::replace(&mut answer.body, Body::whole(page.content.clone()));
    if !unwanted.is_end_stream() {
        read_out(unwanted);
    }
}

/// The answer of a site that is being worked on, unless this client is to see it as ever.
pub(super) fn maintenance(cache: &Cache, exchange: &Exchange<'_>) -> Option<Answer> {
    let site = &exchange.site.site;
    if !cache.is_in_maintenance(site) || site.maintenance.exempts(exchange.peer.client) {
        return None;
    }
    let sentence = "this site is being worked on";
    let mut answer =
        Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "maintenance");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from(site.maintenance.retry_after_secs));
    Some(answer::with_cache_status(cache, answer, Verdict::Local))
}
