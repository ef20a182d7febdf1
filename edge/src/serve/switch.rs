//! A request that asks for another protocol on its connection (RFC 9110 §7.8), and what its origin says to that.

use http::{HeaderValue, StatusCode, header};

use super::answer::{self, Answer};
use super::behind;
use super::body::Body;
use super::exchange::Exchange;
use super::pass::{as_sent, changed, invalidate};
use super::passed::{head_of, passed};
use super::service::Service;
use super::tunnel::Tunnel;
use crate::cache::Cache;
use crate::decide::Role;
use crate::http::websocket::{self, Key};
use crate::metrics::{Limit, Outcome};
use crate::origin::{RequestBody, Retry, Unanswered};
use crate::policy::headers::status::{ProxyError, Verdict};
use crate::policy::{Failure, Forward};

/// Asks the origin for one of the protocols `asked`. An origin that does not change protocols answers as to any request.
pub(super) async fn switch(
    service: &Service,
    exchange: &Exchange<'_>,
    upload: RequestBody,
    asked: &HeaderValue,
) -> Answer {
    let (cache, why) = (&service.cache, Forward::Bypass);
    let Some(permit) = service.tunnels.take() else { return full(cache) };
    let mut request = match as_sent(cache, exchange, upload) {
        Ok(request) => request,
        Err(why) => return answer::undeliverable(cache, why),
    };
    request.headers_mut().insert(header::CONNECTION, UPGRADE);
    request.headers_mut().insert(header::UPGRADE, asked.clone());
    let key = exchange.transport.protocol().map(|_| Key::of(rand::random()));
    if let Some(key) = &key {
        request.headers_mut().insert(websocket::KEY, key.field());
    }
    let ticket = cache.store.begin();
    let mut answered = match exchange.site.send(&exchange.request, request, Retry::Never).await {
        Ok(answered) => answered,
        Err(unanswered) => return answer::failed(cache, unanswered, Role::Leader, why),
    };
    let head = head_of(&answered);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        invalidate(cache, exchange, &answered, &head, &ticket);
        behind::invalidate(cache, exchange, &head, || changed(exchange, &head)).await;
        return match key.filter(|_| head.status.is_success()) {
            Some(_) => unproved(cache),
            None => passed(cache, exchange, answered, why, None),
        };
    }
    if key.as_ref().is_some_and(|key| !key.is_proved(&head.headers)) {
        return unproved(cache);
    }
    let tunnel = Tunnel {
        origin: hyper::upgrade::on(&mut answered.response),
        idle_timeout: exchange.site.site.upgrade_idle.unwrap_or_default(),
        uri: exchange.request.uri.to_string(),
        permit,
        under_way: cache.metrics.tunnelling(),
    };
    let mut answer = passed(cache, exchange, answered, why, None);
    if key.is_some() {
        // RFC 8441 §5: the stream itself is the answer.
        answer.head.status = StatusCode::OK;
        answer.head.headers.remove(websocket::ACCEPT);
    } else if let Some(agreed) = head.headers.get(header::UPGRADE) {
        // `origin::connection` lets no 101 through without it.
        answer.head.headers.insert(header::CONNECTION, UPGRADE);
        answer.head.headers.insert(header::UPGRADE, agreed.clone());
    }
    answer.body = Body::tunnel(tunnel);
    answer
}

const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// The origin did not agree to what a stream is asked to carry, and said so in a way that would tell the client that it
/// did.
fn unproved(cache: &Cache) -> Answer {
    let failure = Unanswered { failure: Failure::Unreachable, error: ProxyError::HttpProtocolError };
    answer::failed(cache, failure, Role::Leader, Forward::Bypass)
}

/// The site passes no protocol on but HTTP.
pub(super) fn unsupported(cache: &Cache) -> Answer {
    let sentence = "this site passes no other protocol on (upgrades = false)";
    let answer = Answer::plain(StatusCode::NOT_IMPLEMENTED, sentence, Outcome::Refused, "method");
    answer::with_cache_status(cache, answer, Verdict::Local)
}

/// As many connections as may have changed protocols.
fn full(cache: &Cache) -> Answer {
    cache.metrics.limit_reached(Limit::Upgrades);
    let sentence = "as many connections have changed protocols as `limits.upgrades` allows";
    let mut answer = Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "upgrades");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    answer::with_cache_status(cache, answer, Verdict::Local)
}
