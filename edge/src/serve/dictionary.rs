//! Answers from stored responses that browsers may keep as dictionaries, and those made short with what a browser has kept.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::answer::Answer;
use super::body::Body;
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::flight::Filling;
use crate::flight::dictionaries::{MOST_TEXT, origin};
use crate::policy::{Entry, dictionary};
use crate::site::rewrite;
use crate::store::Object;

/// Whether the answer may be about dictionaries. A child speaks of them for itself.
fn is_about(exchange: &Exchange<'_>, entry: &Entry) -> bool {
    !exchange.is_childs
        && exchange.content.is_none()
        && dictionary::is_for(&exchange.site.site, &exchange.request.uri)
        && dictionary::may_be(entry)
}

/// The answer from something stored, with the fields about dictionaries if it may be one. Its text is then looked at, so that
/// it is known when a client has it.
pub(super) fn announced(
    cache: &Cache,
    exchange: &Exchange<'_>,
    object: &Arc<Object>,
    mut answer: Answer,
) -> Answer {
    let dictionaries = &cache.flights.dictionaries;
    if is_about(exchange, &object.entry) && dictionaries.takes(object) {
        dictionary::announce(&mut answer.head, exchange.request.uri.path());
        dictionaries.begin(&exchange.request.uri, object);
    }
    answer
}

/// As [`announced`], of something that is being stored; what stores it looks at its text.
pub(super) fn announced_ahead(exchange: &Exchange<'_>, filling: &Filling, mut answer: Answer) -> Answer {
    let is_short = filling.length.is_none_or(|length| length <= MOST_TEXT);
    if is_short && is_about(exchange, &filling.entry) {
        dictionary::announce(&mut answer.head, exchange.request.uri.path());
    }
    answer
}

/// The answer compressed with what the client has, where that is held here, makes it shorter, and the page may read it.
pub(super) async fn shortened(
    cache: &Cache,
    exchange: &Exchange<'_>,
    object: &Arc<Object>,
    answer: Answer,
) -> Answer {
    let Some(had) = &exchange.dictionary else { return answer };
    let is_whole = answer.head.status == StatusCode::OK && exchange.request.method == Method::GET;
    if !is_whole
        || !is_about(exchange, &object.entry)
        || !had.asker.may_read(&rewrite::said_of_readers(&answer.head.headers, &exchange.site.site))
    {
        return answer;
    }
    let origin = origin(&exchange.request.uri);
    let Some(short) = cache.flights.dictionaries.shorten(&origin, object, had).await else {
        return answer;
    };
    let mut answer = answer.with_detail("dictionary");
    dictionary::compressed(&mut answer.head, had.coding, short.len());
    cache.metrics.shortened(object.body.bytes().saturating_sub(short.len() as u64));
    answer.body = Body::short(short, &exchange.site.metrics);
    answer
}
