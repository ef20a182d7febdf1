//! QUERY (RFC 10008): a safe request whose content says what is asked for, so it belongs to the key.
//!
//! Once its content is here, a QUERY is answered as a GET is, under a key of its own: from the store, together with
//! others that ask the same, validated, sent again. Content that is too long to be held passes the cache by.

use std::sync::{Arc, OnceLock};

use http::{Method, header};

use super::answer::Answer;
use super::exchange::Exchange;
use super::gathered::gathered;
use super::pass;
use super::placed::placed;
use crate::cache::Cache;
use crate::flight;
use crate::http::head::RequestHead;
use crate::origin::{Gathered, Held, RequestBody};
use crate::policy::Forward;
use crate::site::key;

/// Whether a request is a QUERY whose content may be waited for.
pub(super) fn is_asked(exchange: &Exchange<'_>) -> bool {
    exchange.request.method == flight::query()
        && exchange.content.is_none()
        && exchange.site.site.query_bytes > 0
}

/// Answers a QUERY.
pub(super) async fn answer(cache: &Arc<Cache>, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    match gathered(cache, exchange, upload, exchange.site.site.query_bytes).await {
        Err(answer) => *answer,
        Ok(Gathered::Coming(upload)) => pass::pass(cache, exchange, upload, Forward::Body).await,
        Ok(Gathered::Whole(body)) => {
            cache.store.keeps_queries();
            let content = match body {
                RequestBody::Held(content, _) => Some(content),
                _ => None,
            };
            let as_get = as_get(exchange, content);
            let answer = placed(cache, &as_get, RequestBody::Empty).await;
            if let Some(course) = as_get.course.into_inner() {
                exchange.course.get_or_init(|| course);
            }
            answer
        }
    }
}

/// The same request as policy sees it: what a GET of this key would be.
fn as_get<'a>(exchange: &Exchange<'a>, content: Option<Held>) -> Exchange<'a> {
    let mut headers = exchange.request.headers.clone();
    // Its content is in the key, and a range of an answer is one of many answers (RFC 9110 §14.2).
    for name in
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT, header::RANGE, header::IF_RANGE]
    {
        headers.remove(name);
    }
    let bytes = content.as_ref().map_or(&[][..], |content| content.bytes());
    let key = key::of_query(&exchange.key, &headers, bytes);
    let request = RequestHead { method: Method::GET, uri: exchange.request.uri.clone(), headers };
    Exchange {
        request,
        version: exchange.version,
        peer: exchange.peer,
        site: Arc::clone(&exchange.site),
        others: exchange.others.clone(),
        bypassed: exchange.bypassed,
        key,
        credentials: None,
        takes_gzip: exchange.takes_gzip,
        dictionary: None,
        content: Some(content),
        upgrade: None,
        purge: None,
        is_childs: exchange.is_childs,
        now: exchange.now,
        course: OnceLock::new(),
        transport: exchange.transport,
    }
}
