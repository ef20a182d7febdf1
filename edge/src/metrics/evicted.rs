//! The ages of what left memory to make room, as a histogram.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::store::{AGE_BOUNDS_SECONDS, Ages};

/// The store's own counts, as of the last scrape.
#[derive(Debug, Clone, Default)]
pub(super) struct EvictedAges(Arc<Mutex<Ages>>);

impl EvictedAges {
    pub(super) fn set(&self, ages: Ages) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ages;
    }
}

impl TypedMetric for EvictedAges {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for EvictedAges {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let ages = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = AGE_BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(ages.counts).collect();
        encoder.encode_histogram::<NoLabelSet>(ages.sum.as_secs_f64(), ages.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
