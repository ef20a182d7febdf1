//! Whether a connection now stands for one user.
//!
//! RFC 9110 §3.3 has each request stand for itself. NTLM and, at many origins, Negotiate authenticate the connection:
//! every later request on it is taken for that user's. So such a connection is closed behind its answer, and no other
//! client's request is sent on it.

use http::{HeaderMap, HeaderName, header};

/// Whether the request brings credentials that may bind the connection it is sent on.
pub(super) fn is_asked_for(request: &HeaderMap) -> bool {
    names_scheme(request, &header::AUTHORIZATION)
}

/// Whether the origin has begun such an authentication, or says that it holds for the connection.
pub(super) fn has_begun(response: &HeaderMap) -> bool {
    names_scheme(response, &header::WWW_AUTHENTICATE)
        || names_scheme(response, &header::PROXY_AUTHENTICATE)
        || response.contains_key(PERSISTENT_AUTH)
}

/// As IIS says that a connection stays authenticated.
const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");
const SCHEMES: [&[u8]; 2] = [b"negotiate", b"ntlm"];

/// RFC 9110 §11.6.1: challenges stand in a list, each begins with its scheme. A quoted string that holds such a word is
/// taken for one too, which costs a connection and no more.
fn names_scheme(headers: &HeaderMap, name: &HeaderName) -> bool {
    let elements = headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let scheme = |element: &[u8]| {
        let element = element.trim_ascii_start().to_ascii_lowercase();
        SCHEMES.iter().any(|scheme| {
            element
                .strip_prefix(*scheme)
                .is_some_and(|rest| rest.first().is_none_or(|&byte| !byte.is_ascii_alphanumeric()))
        })
    };
    elements.into_iter().any(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &'static str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(is_asked_for(&headers) || has_begun(&headers), expected, "{name}: {value}");
    }

    #[test]
    fn a_connection_is_bound_by_a_scheme_that_authenticates_connections() {
        for (name, value, expected) in [
            ("www-authenticate", "NTLM", true),
            ("www-authenticate", "Negotiate", true),
            ("www-authenticate", "ntlm TlRMTVNTUAAC", true),
            ("www-authenticate", "Basic realm=\"a\", NTLM", true),
            ("www-authenticate", "Basic realm=\"a\"", false),
            ("www-authenticate", "Bearer error=\"negotiated\"", false),
            ("proxy-authenticate", "Negotiate", true),
            ("authorization", "Negotiate YIIB", true),
            ("authorization", "NTLM TlRM", true),
            ("authorization", "NTLMv9x a", false),
            ("authorization", "Basic bnRsbQ==", false),
            ("persistent-auth", "true", true),
        ] {
            check(name, value, expected);
        }
    }
}
