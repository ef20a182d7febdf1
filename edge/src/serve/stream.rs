//! A request on a stream of its own, as HTTP/2 and HTTP/3 carry it: the terms of its connection, and its way from a head
//! to an answer.

pub(super) mod account;
pub(super) mod direct;
pub(super) mod exchange;
pub(super) mod head;

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::arrival::{Arrival, Peer, Transport};
use super::h1::full;
use super::handler::{HEALTH_PATH, Unplaced, handle, turned_away};
use super::limits::Limits;
use super::room::{Busy, Occupant};
use super::service::Service;
use super::tls::early::Unconfirmed;
use super::tunnel::{self, Ended, Tunnel};
use crate::cache::Cache;
use crate::http::head::RequestHead;
use crate::http::structured::{Dictionary, Item};
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::pace::Slow;
use crate::tls::{DnsNames, Identity};
use crate::watch::Watch;
use head::Unfit;

/// A client's connection, as each of its streams needs it.
pub(super) struct Client {
    pub(super) service: Arc<Service>,
    pub(super) occupant: Occupant,
    /// Its place is for health checks only.
    pub(super) is_spare: bool,
    pub(super) limits: Limits,
    pub(super) peer: Peer,
    /// The identity that its certificate names.
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether its requests are early.
    pub(super) unconfirmed: Unconfirmed,
    /// The name that the client asked a certificate for (SNI), in lower case.
    pub(super) server_name: Option<String>,
    /// The names of the certificate that the client was shown.
    pub(super) names: Arc<DnsNames>,
    /// Every connection ends now.
    pub(super) aborted: CancellationToken,
}

/// One request as it came.
pub(super) struct Asked {
    pub(super) head: RequestHead,
    pub(super) version: Version,
    pub(super) body: RequestBody,
    /// The protocol that the stream is asked to carry; then the method is GET, as it is over HTTP/1.1.
    pub(super) protocol: Option<HeaderValue>,
}

impl Client {
    /// The connection is not idle until this is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.occupant.busy()
    }

    /// Answers one request. The answer has no field that is about a connection of HTTP/1.1.
    pub(super) async fn answer(&self, asked: Asked, transport: &dyn Transport) -> Answer {
        let Asked { mut head, version, body, protocol } = asked;
        if !body.is_empty() && !head.headers.contains_key(header::CONTENT_LENGTH) {
            // The mark that there is content, whatever the method: only HTTP/1.1 has it on the wire.
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let cache = &self.service.cache;
        let mut answer = match self.read(head, version) {
            Ok(head) if self.is_spare && head.uri.path() != HEALTH_PATH => {
                turned_away(cache, self.peer, &Unplaced::of(head, version), full(cache))
            }
            Ok(head) => {
                let arrival = Arrival { head, version, peer: self.peer, body, transport };
                handle(&self.service, arrival).await
            }
            Err((unfit, head)) => {
                let answer = Answer::plain(unfit.status(), unfit.as_str(), Outcome::Refused, "unsound");
                turned_away(cache, self.peer, &Unplaced::of(*head, version), answer)
            }
        };
        without_connection(&mut answer.head.headers);
        let is_success = answer.head.status.is_success() && !answer.body.is_tunnel();
        if answer.head.status == StatusCode::SWITCHING_PROTOCOLS || (protocol.is_some() && is_success) {
            // A success would tell the client that its stream carries another protocol now.
            answer.head.status = StatusCode::BAD_GATEWAY;
        }
        answer
    }

    fn read(&self, head: RequestHead, version: Version) -> Result<RequestHead, (Unfit, Box<RequestHead>)> {
        let server_name = self.server_name.as_deref();
        let head = head::read(head, &self.limits.head, server_name, |host| self.speaks_for(host))?;
        let is_trusted = || self.service.trusts(self.peer.client);
        match head::judge_authority(&head.uri, version, is_trusted) {
            Ok(()) => Ok(head),
            Err(unfit) => Err((unfit, Box::new(head))),
        }
    }

    /// Whether requests for `host` may come over this connection, which was made for another name. A proxy in front, or an edge
    /// whose parent this one is, names the site there and not the certificate: its word is believed.
    pub(super) fn speaks_for(&self, host: &str) -> bool {
        self.names.cover(host) || self.service.trusts(self.peer.client)
    }

    /// Carries the bytes of a tunnel over a stream.
    pub(super) async fn tunnel(&self, wire: impl AsyncRead + AsyncWrite + Unpin, tunnel: Tunnel) -> Ended {
        let Cache { clock, metrics, .. } = &*self.service.cache;
        tunnel::carry(wire, Bytes::new(), tunnel, clock, metrics, &self.aborted).await
    }
}

/// RFC 9113 §8.2.2, RFC 9114 §4.2: these are about a connection of HTTP/1.1.
pub(super) fn without_connection(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Adds what hyper adds to an answer over HTTP/1.1, a date and a length; whether its body is sent (RFC 9110 §6.4.1).
pub(super) fn complete(answer: &mut Answer, method: &Method, now: SystemTime) -> bool {
    date(&mut answer.head.headers, now);
    let headers = &mut answer.head.headers;
    let status = answer.head.status;
    let may_have_body =
        !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let is_head = method == Method::HEAD;
    // RFC 9110 §9.3.2: HEAD says what GET would. An answer that was made for it has no body to tell of.
    let length = answer.body.size_hint().exact().filter(|length| may_have_body && (!is_head || *length > 0));
    if let Some(length) = length
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    may_have_body && !is_head
}

/// RFC 9110 §6.6.1.
fn date(headers: &mut HeaderMap, now: SystemTime) {
    if !headers.contains_key(header::DATE) {
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(now)).expect("a date is text");
        headers.insert(header::DATE, date);
    }
}

/// Whether the client sends its body when it is told to go on (RFC 9110 §10.1.1).
pub(super) fn waits_to_go_on(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// RFC 9218 §4.1: the urgency of a request that names none.
const USUAL_URGENCY: u8 = 3;

/// How urgently the client wants the answer, from 0, the most, to 7 (RFC 9218 §4.1).
pub(super) fn urgency(headers: &HeaderMap) -> u8 {
    let priority = headers.get("priority").and_then(|written| Dictionary::parse(written.as_bytes()).ok());
    match priority.as_ref().and_then(|priority| priority.get("u")) {
        Some(Item::Integer(urgency)) => {
            u8::try_from(*urgency).ok().filter(|urgency| *urgency <= 7).unwrap_or(USUAL_URGENCY)
        }
        _ => USUAL_URGENCY,
    }
}

/// Waits for a step of a transfer as long as `watch` lets the client take; `bytes` says how many went.
///
/// # Errors
/// When the client is too slow.
pub(super) async fn patiently<F: Future>(
    watch: &mut Watch,
    step: F,
    bytes: impl Fn(&F::Output) -> usize,
) -> Result<F::Output, Slow> {
    let mut step = pin!(step);
    std::future::poll_fn(|cx| {
        let polled = step.as_mut().poll(cx);
        watch.judge(cx, polled, &bytes)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_length_and_the_body_that_it_has_over_http_1() {
        let check = |method: Method, status: StatusCode, expected: (Option<&str>, bool)| {
            let mut answer = Answer::plain(status, "x", Outcome::Refused, "unsound");
            answer.body = crate::serve::body::Body::whole("hello");
            let has_body = complete(&mut answer, &method, SystemTime::UNIX_EPOCH);
            let length = answer.head.headers.get(header::CONTENT_LENGTH).map(|it| it.to_str().unwrap());
            assert_eq!((length, has_body), expected, "{method} {status}");
            assert_eq!(answer.head.headers[header::DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
        };
        check(Method::GET, StatusCode::OK, (Some("5"), true));
        check(Method::HEAD, StatusCode::OK, (Some("5"), false));
        check(Method::POST, StatusCode::NOT_FOUND, (Some("5"), true));
        check(Method::GET, StatusCode::NO_CONTENT, (None, false));
        check(Method::GET, StatusCode::NOT_MODIFIED, (None, false));
        let mut made_for_head = Answer::empty(StatusCode::OK, "server");
        complete(&mut made_for_head, &Method::HEAD, SystemTime::UNIX_EPOCH);
        assert!(!made_for_head.head.headers.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn urgency_is_a_number_up_to_seven_and_three_unless_the_client_says_so() {
        assert_eq!(urgency(&HeaderMap::new()), 3);
        for (written, expected) in [("u=0", 0), ("u=7, i", 7), ("u=8", 3), ("i", 3), ("u=x", 3)] {
            let mut headers = HeaderMap::new();
            headers.insert("priority", HeaderValue::from_static(written));
            assert_eq!(urgency(&headers), expected, "{written}");
        }
    }
}
