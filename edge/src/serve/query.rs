//! QUERY (RFC 10008): a safe request whose content says what is asked for, so it belongs to the key.
//!
//! Once its content is here, a QUERY is answered as a GET is, under a key of its own: from the store, together with
//! others that ask the same, validated, sent again. Content that is too long to be held passes the cache by.

use std::sync::Arc;

use http::{Method, header};

use super::answer::{self, Answer};
use super::handler::{self, Exchange, Service};
use super::passed;
use crate::cache::Cache;
use crate::decide::Role;
use crate::http::head::RequestHead;
use crate::origin::{Gathered, Held, RequestBody, Unanswered};
use crate::policy::Forward;
use crate::policy::headers::status::ProxyError;
use crate::site::key;

/// The method, as `http` knows only older ones by name.
pub(super) fn method() -> Method {
    crate::flight::query()
}

/// Whether a request is a QUERY whose content may be waited for.
pub(super) fn is_asked(exchange: &Exchange<'_>) -> bool {
    exchange.request.method == method() && exchange.content.is_none() && exchange.site.site.query_bytes > 0
}

/// Answers a QUERY.
pub(super) async fn answer(service: &Service, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    let cache = &service.cache;
    match gathered(cache, exchange, upload, exchange.site.site.query_bytes).await {
        Err(answer) => *answer,
        Ok(Gathered::Coming(upload)) => passed::pass(cache, exchange, upload, Forward::Body).await,
        Ok(Gathered::Whole(body)) => {
            cache.store.keeps_queries();
            let content = match body {
                RequestBody::Held(content, _) => Some(content),
                _ => None,
            };
            handler::placed(service, &as_get(exchange, content), RequestBody::Empty).await
        }
    }
}

/// Waits for a request's content, up to so many bytes, as long as its origin may take for an answer. Longer content goes
/// on as it comes.
pub(super) async fn gathered(
    cache: &Cache,
    exchange: &Exchange<'_>,
    upload: RequestBody,
    most: u64,
) -> Result<Gathered, Box<Answer>> {
    let late = cache.clock.timer(exchange.site.site.patience.first_byte);
    upload.gathered(most, cache.store.fills().share(), late).await.map_err(|error| {
        let error = match error {
            crate::origin::body::BodyError::Slow(_) => ProxyError::HttpRequestTimeout,
            _ => ProxyError::HttpRequestError,
        };
        let unanswered = Unanswered { failure: crate::policy::Failure::Unreachable, error };
        answer::failed(cache, unanswered, Role::Leader, Forward::Method).into()
    })
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
        key,
        credentials: None,
        takes_gzip: exchange.takes_gzip,
        content: Some(content),
        upgrade: None,
        now: exchange.now,
        transport: exchange.transport,
    }
}
