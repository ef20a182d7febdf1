//! Where a client that came by TCP may ask by QUIC (RFC 7838, RFC 9114 §3.1.1).

use std::sync::Arc;

use http::HeaderValue;

use crate::draining::Draining;

/// The listeners of HTTP/3, as `Alt-Svc` tells clients of them.
#[derive(Debug, Clone)]
pub(crate) struct Alternative(Arc<Listeners>);

#[derive(Debug)]
struct Listeners {
    ports: Vec<u16>,
    draining: Draining,
}

/// A day, as most servers say.
const MAX_AGE_SECONDS: u32 = 86_400;
/// The port of a URL without one.
const HTTPS_PORT: u16 = 443;

impl Alternative {
    /// None without a listener.
    pub(crate) fn new(ports: Vec<u16>, draining: Draining) -> Option<Self> {
        (!ports.is_empty()).then(|| Self(Arc::new(Listeners { ports, draining })))
    }

    /// The field for a client that came to `local_port` and asks for a URL with `port`, if it names one. While draining, clients are
    /// told to forget what they were told (RFC 7838 §3).
    pub(super) fn field(&self, local_port: u16, port: Option<u16>) -> HeaderValue {
        if self.0.draining.has_begun() {
            return HeaderValue::from_static("clear");
        }
        let port = match self.0.ports.contains(&local_port) {
            // A proxy before us hands the same number on for TCP and UDP: the client's own is right.
            true => port.unwrap_or(HTTPS_PORT),
            false => self.0.ports.first().copied().unwrap_or(HTTPS_PORT),
        };
        let text = format!("h3=\":{port}\"; ma={MAX_AGE_SECONDS}");
        HeaderValue::from_str(&text).expect("digits and letters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_sent_to_the_port_that_they_know_or_to_the_first() {
        let draining = Draining::default();
        let alternative = Alternative::new(vec![8443, 9443], draining.clone()).unwrap();
        let check = |local, port, expected: &str| {
            assert_eq!(alternative.field(local, port), expected, "{local} {port:?}");
        };
        check(8443, Some(8443), "h3=\":8443\"; ma=86400");
        // Port 443 outside, 8443 in the container.
        check(8443, None, "h3=\":443\"; ma=86400");
        check(1, Some(1), "h3=\":8443\"; ma=86400");
        draining.begin();
        check(8443, None, "clear");
        assert!(Alternative::new(Vec::new(), draining).is_none());
    }
}
