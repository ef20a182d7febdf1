//! `host[:port]` (RFC 3986 §3.2.2, RFC 9110 §4.2 and §7.2).

use std::net::Ipv6Addr;

use crate::serve::h1::gate::text::{self, HOST};

/// Whether a request can be for this host. No user information, no empty host, no percent-encoding: a site has a
/// name that DNS knows, or an address.
pub(super) fn is_valid(authority: &[u8]) -> bool {
    split(authority).is_some_and(|(host, port)| is_host(host) && port.is_none_or(is_port))
}

/// As [`is_valid`], and with a port (RFC 9112 §3.2.3).
pub(super) fn is_valid_with_port(authority: &[u8]) -> bool {
    split(authority).is_some_and(|(host, port)| {
        is_host(host) && port.is_some_and(|port| !port.is_empty() && is_port(port))
    })
}

/// Whether two valid authorities name one host and port, which is `default` where none is written (RFC 9110 §4.2.3).
pub(super) fn are_one(one: &[u8], other: &[u8], default: u16) -> bool {
    let port = |port: Option<&[u8]>| match port {
        None | Some([]) => Some(default),
        Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
    };
    match (split(one), split(other)) {
        (Some((host, its_port)), Some((other_host, other_port))) => {
            host.eq_ignore_ascii_case(other_host) && port(its_port) == port(other_port)
        }
        _ => false,
    }
}

fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_end = match authority.first()? {
        b'[' => authority.iter().position(|&byte| byte == b']')? + 1,
        _ => text::run(authority, HOST),
    };
    match authority.split_at(host_end) {
        (host, []) => Some((host, None)),
        (host, [b':', port @ ..]) => Some((host, Some(port))),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        // `split` has seen to its letters.
        name => !name.is_empty(),
    }
}

/// RFC 3986 §3.2.3 lets a port be empty: the scheme's own is meant.
fn is_port(port: &[u8]) -> bool {
    port.is_empty()
        || port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in [
            "a",
            "a.example",
            "A-b_c.example:8080",
            "127.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
            "a:65535",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_no_host() {
        let bad = [
            "",
            ":80",
            "a,b",
            "a b",
            "a/../b@c",
            "u@a",
            "u:p@a",
            "a:80:80",
            "a:x",
            "a:65536",
            "a:000080",
            "a:+1",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "a%2eb",
            "a\\b",
            "a?b",
            "a#b",
            "\u{e9}",
            "a\t",
        ];
        for bad in bad {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_tunnel_needs_a_port() {
        assert!(is_valid_with_port(b"a:443"));
        assert!(!is_valid_with_port(b"a"));
        assert!(!is_valid_with_port(b"a:"));
    }
}
