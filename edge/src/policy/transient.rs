//! Errors that pass. A client's own request or a moment of the origin caused them, so they are kept for a few seconds
//! at most, whatever they say of themselves, and never in the place of a good response ([`super::worse`]).
//!
//! A 4xx of this kind can be caused by fields that are in no key, such as one that is longer than the origin takes: a
//! cache that keeps it answers everybody with one client's error (CPDoS). A 5xx tells nothing of the resource
//! (RFC 9111 §4.3.3).

use http::StatusCode;

/// Whether a response of this status is such an error.
pub fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || BY_REQUEST.contains(&status.as_u16())
}

/// Statuses that the form, the size, the time or the place of one request causes, and not the resource that it names.
const BY_REQUEST: &[u16] = &[
    400, // malformed, or too large for servers that have no better word (Apache, IIS)
    405, // a method that an override field asked for
    407, // a proxy behind us wants credentials
    408, // too slow
    411, // no length
    413, // too large
    414, // a target that is too long, perhaps only after a field rewrote it
    415, // content in a type or coding that is not taken
    417, // an Expect that cannot be met
    421, // a connection that is not for this host (RFC 9110 §15.5.20)
    425, // early data (RFC 8470 §5.2)
    426, // another protocol is wanted
    428, // a precondition is wanted (RFC 6585 §3)
    429, // too many requests of this client (RFC 6585 §4)
    431, // fields that are too large (RFC 6585 §5)
    494, // nginx's 431
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_the_resource_is_no_transient_error() {
        let good = [200, 204, 301, 304, 401, 403, 404, 410, 418, 422, 451, 600];
        for status in good.map(|status| StatusCode::from_u16(status).unwrap()) {
            assert!(!is_transient(status), "{status}");
        }
        for status in [400, 405, 408, 411, 413, 414, 417, 421, 429, 431].into_iter().chain(500..600) {
            assert!(is_transient(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        assert!(BY_REQUEST.is_sorted());
    }
}
