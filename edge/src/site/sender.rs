//! The sender of a request and the scheme it used, where a trusted proxy says so.
//!
//! A proxy in front (one that ends TLS, a load balancer) writes the client's address to the end of
//! `X-Forwarded-For`, the scheme to `X-Forwarded-Proto`. Anything may precede the last trusted one's address.
//! `Forwarded` (RFC 7239) is not read: a proxy that writes the one passes the other on as its client made it up.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::http::list;

/// The sender of a request, and its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The client's address.
    pub client: IpAddr,
    /// Over what it asked.
    pub scheme: Scheme,
}

/// Over what a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, which ends here or in front of this edge.
    Https,
}

/// The sender of the request with these fields, which came from `peer` over `scheme`.
pub fn sender(peer: IpAddr, scheme: Scheme, headers: &HeaderMap, trusted: &[IpNet]) -> Sender {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return Sender { client: peer, scheme };
    }
    Sender { client: client(peer, headers, trusted), scheme: told_scheme(headers).unwrap_or(scheme) }
}

impl Scheme {
    /// As a URI has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URI need not name (RFC 9110 §4.2).
    pub fn port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The nearest address that is no trusted proxy's; the farthest proxy's if there is none, or what it wrote is no address.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let written: Vec<&[u8]> = list::elements(headers, &FORWARDED_FOR).collect();
    let mut nearest = peer;
    for element in written.into_iter().rev() {
        let Some(address) = address(element) else { return nearest };
        nearest = address;
        if !is_trusted(address, trusted) {
            return nearest;
        }
    }
    nearest
}

/// The scheme that the nearest proxy wrote. Some write that of a WebSocket's URL (RFC 6455 §3), which is asked for over the
/// HTTP of the same security.
fn told_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let told = list::elements(headers, &FORWARDED_PROTO).last()?;
    let is_secure = [&b"https"[..], b"wss"].iter().any(|secure| told.eq_ignore_ascii_case(secure));
    Some(if is_secure { Scheme::Https } else { Scheme::Http })
}

/// An address, in brackets and with a port as some proxies write it.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Whether this address is one of the proxies whose word is taken.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(peer: &str, sent: &[(&str, &str)], client: &str, scheme: Scheme) {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
        let found = sender(peer.parse().unwrap(), Scheme::Http, &fields(sent), &trusted);
        assert_eq!(found, Sender { client: client.parse().unwrap(), scheme }, "{peer} {sent:?}");
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6s_words_is_the_same() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(is_trusted("::ffff:10.0.0.1".parse().unwrap(), &trusted));
        assert!(!is_trusted("::ffff:11.0.0.1".parse().unwrap(), &trusted));
    }

    #[test]
    fn a_trusted_proxy_says_who_asks_and_over_what() {
        let https = ("x-forwarded-proto", "https");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.1"), https], "192.0.2.1", Scheme::Https);
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, 10.9.9.9"), https], "192.0.2.1", Scheme::Https);
        check("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.1")], "192.0.2.1", Scheme::Http);
        check("fd00::1", &[("x-forwarded-for", "2001:db8::1")], "2001:db8::1", Scheme::Http);
        for (written, client) in [
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:99", "2001:db8::1"),
            ("192.0.2.1:99", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            check("10.0.0.1", &[("x-forwarded-for", written)], client, Scheme::Http);
        }
        check("10.0.0.1", &[("x-forwarded-proto", "HTTPS")], "10.0.0.1", Scheme::Https);
        check("10.0.0.1", &[("x-forwarded-proto", "ftp")], "10.0.0.1", Scheme::Http);
        check("10.0.0.1", &[("x-forwarded-proto", "wss")], "10.0.0.1", Scheme::Https);
        check("10.0.0.1", &[("x-forwarded-proto", "http, WSS")], "10.0.0.1", Scheme::Https);
        check("10.0.0.1", &[("x-forwarded-proto", "https, ws")], "10.0.0.1", Scheme::Http);
        check("10.0.0.1", &[], "10.0.0.1", Scheme::Http);
    }

    #[test]
    fn what_a_client_made_up_is_not_believed() {
        let own = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-proto", "https")];
        check("192.0.2.1", &own, "192.0.2.1", Scheme::Http);
        // A trusted proxy has added the address that it saw, in the same line or in one of its own.
        check("10.0.0.1", &[("x-forwarded-for", "10.0.0.7, 192.0.2.1")], "192.0.2.1", Scheme::Http);
        let lines = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.1")];
        check("10.0.0.1", &lines, "192.0.2.1", Scheme::Http);
        check("10.0.0.1", &[("x-forwarded-for", "198.51.100.9, rubbish")], "10.0.0.1", Scheme::Http);
        check("10.0.0.1", &[("x-forwarded-proto", "https, http")], "10.0.0.1", Scheme::Http);
        for other in ["forwarded", "x_forwarded_for", "x-real-ip"] {
            check("10.0.0.1", &[(other, "198.51.100.9")], "10.0.0.1", Scheme::Http);
        }
    }
}
