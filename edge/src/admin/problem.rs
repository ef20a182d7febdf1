//! Errors as problem details (RFC 9457): `{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "…"}`.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the status and the sentence say all there is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// A sentence for people.
    pub detail: String,
}

/// The media type of problem details.
pub const MEDIA_TYPE: &str = "application/problem+json";

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
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}
