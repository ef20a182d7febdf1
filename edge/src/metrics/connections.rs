//! Client connections that are open, by what they speak, and how many there may be.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::UnderWay;

/// The protocol of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1.1 or HTTP/1.0, or what the connection has changed to.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
    /// None yet: its TLS handshake is to say which (RFC 7301).
    None,
}

/// In the order of the enum.
const ALL: [Spoken; 4] = [Spoken::Http1, Spoken::Http2, Spoken::Http3, Spoken::None];

impl Spoken {
    /// The label's value.
    fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Http3 => "http3",
            Self::None => "none",
        }
    }
}

/// The connections of all listeners of sites.
#[derive(Debug)]
pub(super) struct Connections {
    open: Family<Protocol, Gauge>,
    /// Those of `open`, in the order of [`ALL`].
    by_protocol: [Gauge; ALL.len()],
    limit: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

impl Default for Connections {
    fn default() -> Self {
        let open = Family::<Protocol, Gauge>::default();
        let of = |spoken: Spoken| open.get_or_create_owned(&Protocol { protocol: spoken.as_str() });
        Self { by_protocol: ALL.map(of), open, limit: Gauge::default() }
    }
}

impl Connections {
    pub(super) fn register(&self, page: &mut Registry) {
        page.register("connections", "Client connections open, by their protocol", self.open.clone());
        let limit = "Client connections that `limits.connections` allows";
        page.register("connections_limit", limit, self.limit.clone());
    }

    pub(super) fn open(&self, spoken: Spoken) -> UnderWay {
        UnderWay::new(&self.by_protocol[spoken as usize])
    }

    pub(super) fn limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_place() {
        assert!(ALL.iter().enumerate().all(|(place, spoken)| *spoken as usize == place));
    }
}
