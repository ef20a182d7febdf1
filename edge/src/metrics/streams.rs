//! How connections do that are passed on, whatever they carry.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::UnderWay;

/// The metrics of all streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Family<Name, Gauge>,
    ended: Family<Ended, Counter>,
    bytes: Family<Towards, Counter>,
}

/// The metrics of one `[[stream]]`.
#[derive(Debug, Clone)]
pub struct StreamMetrics {
    stream: String,
    open: Gauge,
    ended: Family<Ended, Counter>,
    to_client: Counter,
    to_origin: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    stream: String,
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Towards {
    stream: String,
    towards: &'static str,
}

impl Streams {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("stream_connections", "Connections that a stream carries", self.open.clone());
        let ended = "Connections of a stream, by how they ended";
        registry.register("stream_ended", ended, self.ended.clone());
        let bytes = "Bytes that a stream carried";
        registry.register_with_unit("stream", bytes, Unit::Bytes, self.bytes.clone());
    }

    pub(super) fn of(&self, stream: &str) -> StreamMetrics {
        let towards =
            |towards| self.bytes.get_or_create_owned(&Towards { stream: stream.to_owned(), towards });
        StreamMetrics {
            stream: stream.to_owned(),
            open: self.open.get_or_create_owned(&Name { stream: stream.to_owned() }),
            ended: self.ended.clone(),
            to_client: towards("client"),
            to_origin: towards("origin"),
        }
    }
}

impl StreamMetrics {
    /// A connection is open until the result is dropped.
    #[must_use]
    pub fn open(&self) -> UnderWay {
        UnderWay::new(&self.open)
    }

    /// A connection ended; `why` is one of a few words of ours.
    pub fn ended(&self, why: &'static str, to_client: u64, to_origin: u64) {
        self.ended.get_or_create(&Ended { stream: self.stream.clone(), why }).inc();
        self.to_client.inc_by(to_client);
        self.to_origin.inc_by(to_origin);
    }
}
