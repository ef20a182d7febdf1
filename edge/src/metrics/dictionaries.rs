//! The numbers of compression with dictionaries.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::spread::Counter;

#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    pub(super) answers: Counter,
    pub(super) saved_bytes: Counter,
    texts: Gauge,
    bytes: Gauge,
}

impl Dictionaries {
    pub(super) fn register(&self, registry: &mut Registry) {
        let answers = "Answers compressed with what the client had";
        registry.register("dictionary_answers", answers, self.answers.clone());
        let saved = "Bytes saved by answers compressed with what the client had";
        registry.register_with_unit("dictionary_saved", saved, Unit::Bytes, self.saved_bytes.clone());
        let texts = "Texts that are held to compress later ones with";
        registry.register("dictionaries", texts, self.texts.clone());
        let bytes = "Memory of texts for compression and of what was compressed with them";
        registry.register_with_unit("dictionary", bytes, Unit::Bytes, self.bytes.clone());
    }

    pub(super) fn set(&self, (texts, bytes): (u64, u64)) {
        self.texts.set(i64::try_from(texts).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
