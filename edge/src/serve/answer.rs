//! An answer before it is sent: its head, its body, and what to say about it in counters and logs.

use http::{HeaderValue, Response, StatusCode, header};

use super::body::Body;
use super::gate::Refusal;
use crate::http::head::ResponseHead;
use crate::metrics::Outcome;
use crate::origin::Unanswered;
use crate::policy::Freshness;
use crate::policy::headers::status::ProxyError;

/// One answer, and how it came about.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    pub(super) outcome: Outcome,
    /// Why, in a word.
    pub(super) why: &'static str,
    /// The numbers of the decision, if it had any.
    pub(super) freshness: Option<Freshness>,
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.head.status;
        *response.headers_mut() = self.head.headers;
        response
    }

    /// A status and a sentence of our own.
    pub(super) fn plain(status: StatusCode, sentence: &str, outcome: Outcome, why: &'static str) -> Self {
        let reason = status.canonical_reason().unwrap_or("");
        let body = Body::whole(format!("{} {reason}: {sentence}\n", status.as_str()));
        let mut head = ResponseHead { status, headers: http::HeaderMap::new() };
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        // An error of the moment must not be kept by anyone behind us.
        head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { head, body, outcome, why, freshness: None }
    }

    /// A request that is not sound: told, and the connection closed, as what follows on it cannot be trusted.
    pub(super) fn refusal(refusal: Refusal) -> Self {
        let mut answer = Self::plain(refusal.status(), refusal.as_str(), Outcome::Refused, "unsound");
        answer.head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    /// No origin answered, which is told with this status.
    pub(super) fn unanswered(unanswered: Unanswered, status: StatusCode, name: &str) -> Self {
        let error = unanswered.error;
        let sentence = match error {
            ProxyError::HttpRequestError => "the request broke off".to_owned(),
            _ => format!("no origin of this site answered ({})", error.as_str()),
        };
        let answer = Self::plain(status, &sentence, Outcome::Failed, error.as_str());
        answer.with_proxy_status(error, name)
    }

    /// With `Proxy-Status` (RFC 9209).
    pub(super) fn with_proxy_status(mut self, error: ProxyError, name: &str) -> Self {
        if let Some(value) = error.field(name) {
            self.head.headers.append(ProxyError::NAME, value);
        }
        self
    }
}
