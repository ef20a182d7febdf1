//! The proof that an origin has read a WebSocket handshake (RFC 6455 §4). A client of HTTP/2 or HTTP/3 sends none (RFC 8441
//! §5.1), so the edge asks for it in its place.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The field of a request that has the key.
pub const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
/// The field of a 101 that proves that its origin has read the key.
pub const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
/// RFC 6455 §1.3.
const SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key, and the proof that belongs to it.
#[derive(Debug)]
pub struct Key(String);

impl Key {
    /// The key of 16 bytes that nobody can guess.
    #[must_use]
    pub fn of(random: [u8; 16]) -> Self {
        Self(STANDARD.encode(random))
    }

    /// As the request has it.
    #[must_use]
    pub fn field(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("base64 is text")
    }

    /// The proof that belongs to it.
    #[must_use]
    pub fn accept(&self) -> String {
        STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{SALT}", self.0).as_bytes()))
    }

    /// Whether these fields of a 101 prove that its origin has read the key.
    #[must_use]
    pub fn is_proved(&self, answered: &HeaderMap) -> bool {
        answered.get(ACCEPT).is_some_and(|told| told.as_bytes() == self.accept().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_proves_that_it_has_read_the_key() {
        // RFC 6455 §1.3.
        let key = Key::of(*b"the sample nonce");
        assert_eq!(key.field(), "dGhlIHNhbXBsZSBub25jZQ==");
        let check = |told: Option<&'static str>, expected| {
            let fields = told.map(|told| (ACCEPT, HeaderValue::from_static(told))).into_iter().collect();
            assert_eq!(key.is_proved(&fields), expected, "{told:?}");
        };
        check(Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), true);
        check(Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOp="), false);
        check(Some(""), false);
        check(None, false);
    }
}
