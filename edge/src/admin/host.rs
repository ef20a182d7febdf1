//! Whether the admin listener is asked by a name that can be meant.

use std::net::IpAddr;

use http::HeaderValue;
use http::uri::Authority;

/// By a name of its own, any web page can point a browser at this listener and read the answer (DNS rebinding). An
/// address and `localhost` are nobody's, and browsers always send a host.
pub(super) fn is_ours(host: Option<&HeaderValue>, hosts: &[String]) -> bool {
    let Some(host) = host else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_ours_is_refused() {
        let hosts = ["edge1.example".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:9301", true),
            ("[::1]:9301", true),
            ("LOCALHOST", true),
            ("Edge1.example:9301", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:9301", false),
            ("", false),
        ] {
            assert_eq!(is_ours(Some(&HeaderValue::from_static(host)), &hosts), expected, "{host}");
        }
        assert!(is_ours(None, &hosts));
    }
}
