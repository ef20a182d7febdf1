//! Errors as problem details (RFC 9457): `{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "…"}`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status and the sentence say all there is.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The status in words.
    pub(crate) title: String,
    /// The status.
    pub(crate) status: u16,
    /// A sentence for people.
    pub(crate) detail: String,
}

/// The media type of problem details.
const MEDIA_TYPE: &str = "application/problem+json";

pub(super) fn problem(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: sentence.to_owned(),
    };
    let text = serde_json::to_string(&problem).expect("plain data is JSON");
    let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}
