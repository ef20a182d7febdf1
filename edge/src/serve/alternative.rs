//! Where a client that came by TCP may ask by QUIC (RFC 7838, RFC 9114 §3.1.1).

use std::sync::Arc;

use http::HeaderValue;

use crate::draining::Draining;

/// The listeners of HTTP/3, as `Alt-Svc` tells clients of them.
#[derive(Debug, Clone)]
pub(crate) struct Alternative(Arc<Listeners>);

#[derive(Debug)]
struct Listeners {
    ports: Ports,
    draining: Draining,
}

/// The ports of listeners over QUIC. One that asks for certificates of clients and one that does not are no alternatives: the
/// client of the one would be refused at the other, or be nobody there.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Of those that ask for none.
    pub(crate) open: Vec<u16>,
    /// Of those that ask.
    pub(crate) asking: Vec<u16>,
    /// Of the listeners over TCP that ask.
    pub(crate) asking_tls: Vec<u16>,
}

/// A day, as most servers say.
const MAX_AGE_SECONDS: u32 = 86_400;
/// The port of a URL without one.
const HTTPS_PORT: u16 = 443;

impl Alternative {
    /// None without a listener.
    pub(crate) fn new(ports: Ports, draining: Draining) -> Option<Self> {
        let is_there = !ports.open.is_empty() || !ports.asking.is_empty();
        is_there.then(|| Self(Arc::new(Listeners { ports, draining })))
    }

    /// The field for a client that came to `local_port` and asks for a URL with `port`, if it names one; none if no listener is one for
    /// it. While draining, clients are told to forget what they were told (RFC 7838 §3).
    pub(super) fn field(&self, local_port: u16, port: Option<u16>) -> Option<HeaderValue> {
        let Listeners { ports, draining } = &*self.0;
        let like_it = if ports.asking_tls.contains(&local_port) { &ports.asking } else { &ports.open };
        let first = *like_it.first()?;
        if draining.has_begun() {
            return Some(HeaderValue::from_static("clear"));
        }
        let port = match like_it.contains(&local_port) {
            // A proxy before us hands the same number on for TCP and UDP: the client's own is right.
            true => port.unwrap_or(HTTPS_PORT),
            false => first,
        };
        let text = format!("h3=\":{port}\"; ma={MAX_AGE_SECONDS}");
        Some(HeaderValue::from_str(&text).expect("digits and letters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_sent_to_the_port_that_they_know_or_to_the_first() {
        let draining = Draining::default();
        let ports = Ports { open: vec![8443, 9443], asking: vec![7443], asking_tls: vec![7443, 2] };
        let alternative = Alternative::new(ports, draining.clone()).unwrap();
        let check = |local, port, expected: &str| {
            assert_eq!(alternative.field(local, port).unwrap(), expected, "{local} {port:?}");
        };
        check(8443, Some(8443), "h3=\":8443\"; ma=86400");
        // Port 443 outside, 8443 in the container.
        check(8443, None, "h3=\":443\"; ma=86400");
        check(1, Some(1), "h3=\":8443\"; ma=86400");
        // Clients with certificates keep them.
        check(7443, Some(7443), "h3=\":7443\"; ma=86400");
        check(2, Some(2), "h3=\":7443\"; ma=86400");
        let public = Ports { asking: Vec::new(), open: vec![8443], asking_tls: vec![2] };
        assert_eq!(Alternative::new(public, draining.clone()).unwrap().field(2, None), None);
        draining.begin();
        check(8443, None, "clear");
        assert!(Alternative::new(Ports::default(), draining).is_none());
    }
}
