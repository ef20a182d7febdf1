//! A request that asks for another protocol on its connection (RFC 9110 §7.8), and what its origin says to that.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use super::super::answer::Answer;
use super::super::body::Body;
use super::super::handler::{Edge, Exchange};
use super::super::tunnel::Tunnel;
use super::{as_sent, failed, head_of, invalidate, passed, undeliverable, with_cache_status};
use crate::flight::Role;
use crate::metrics::Outcome;
use crate::origin::{RequestBody, Retry};
use crate::policy::Forward;
use crate::policy::headers::status::Verdict;

/// Asks the origin for one of the protocols `asked`. An origin that does not change protocols answers as to any request.
pub(in crate::serve) async fn switch(
    edge: &Arc<Edge>,
    exchange: &Exchange,
    upload: RequestBody,
    asked: &HeaderValue,
) -> Answer {
    let why = Forward::Bypass;
    let Ok(permit) = Arc::clone(&edge.tunnels).try_acquire_owned() else { return full(edge) };
    let mut request = match as_sent(edge, exchange, upload) {
        Ok(request) => request,
        Err(why) => return undeliverable(edge, why),
    };
    request.headers_mut().insert(header::CONNECTION, UPGRADE);
    request.headers_mut().insert(header::UPGRADE, asked.clone());
    let ticket = edge.store.begin();
    let mut answered = match exchange.site.origins.send(request, Retry::Never).await {
        Ok(answered) => answered,
        Err(unanswered) => return failed(edge, unanswered, Role::Leader, why),
    };
    let head = head_of(&answered);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        invalidate(edge, exchange, &answered, &head, &ticket);
        return passed(edge, answered, why, None);
    }
    let tunnel = Tunnel {
        origin: hyper::upgrade::on(&mut answered.response),
        idle_timeout: exchange.site.site.upgrade_idle.unwrap_or_default(),
        uri: exchange.request.uri.to_string(),
        permit,
        under_way: edge.metrics.tunnelling(),
    };
    let mut answer = passed(edge, answered, why, None);
    answer.head.headers.insert(header::CONNECTION, UPGRADE);
    // `origin::connection` lets no 101 through without it.
    if let Some(agreed) = head.headers.get(header::UPGRADE) {
        answer.head.headers.insert(header::UPGRADE, agreed.clone());
    }
    answer.body = Body::tunnel(tunnel);
    answer
}

const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// As many connections as may have changed protocols.
fn full(edge: &Edge) -> Answer {
    let sentence = "as many connections have changed protocols as `limits.upgrades` allows";
    let mut answer = Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "upgrades");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    with_cache_status(edge, answer, Verdict::Local)
}
