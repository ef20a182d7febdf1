//! The part of the metrics that tells how questions are answered: the status page needs no more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::counters::{BOUNDS, PLACES, SILENCES, rcode_at};
use super::{Metrics, RCODES, VIEWS, counters, process};
use crate::client::Transport;
use crate::view::Which;

/// The metrics of answers alone.
#[derive(Debug)]
struct Answering(Arc<Metrics>);

impl Collector for Answering {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode_answering_to(&mut encoder)
    }
}

impl Metrics {
    /// The part that tells how questions are answered, in OpenMetrics: as long with a hundred thousand zones as with one.
    pub(crate) fn encode_answering(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("verge_dns");
        registry.register_collector(Box::new(Answering(Arc::clone(self))));
        let mut text = String::new();
        process::encode(&mut text)
            .and_then(|()| prometheus_client::encoding::text::encode(&mut text, &registry))
            .expect("a String takes any text");
        text
    }

    pub(super) fn encode_answering_to(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_answers(encoder)?;
        self.encode_duration(encoder)?;
        let silent = SILENCES
            .iter()
            .enumerate()
            .map(|(at, why)| ([("reason", why.as_str())], self.sum(None, |c| &c.silent[at])));
        counters(encoder, "silent", "Packets that got no answer", silent)?;
        let guard = [([("view", Which::Public.as_str())], self.sum(None, |c| &c.guard_stopped))];
        let help = "Answers the egress guard stopped; should never rise";
        counters(encoder, "guard_stopped", help, guard)?;
        self.encode_connections(encoder)
    }

    fn encode_answers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = Transport::ALL.into_iter().flat_map(|transport| {
            VIEWS.iter().enumerate().flat_map(move |(view_at, view)| {
                RCODES.iter().map(move |rcode| {
                    let labels = [
                        ("transport", transport.as_str()),
                        ("view", view.as_str()),
                        ("rcode", rcode.as_str()),
                    ];
                    let places = (0..PLACES).filter(|place| rcode_at(*place) == *rcode);
                    let sum = |place: usize| self.sum(Some(transport), |c| &c.sent[view_at][place]);
                    (labels, places.map(sum).sum())
                })
            })
        });
        counters(encoder, "answers", "Answers sent, by the view that they are from", all)
    }

    fn encode_duration(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "From reading a UDP packet, or the batch it came in, until the answers of the batch are sent";
        let seconds = Some(&Unit::Seconds);
        let metric = encoder.encode_descriptor("answer_duration", help, seconds, MetricType::Histogram)?;
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]).enumerate();
        let buckets: Vec<(f64, u64)> =
            bounds.map(|(at, bound)| (bound, self.sum(None, |c| &c.took[at]))).collect();
        let nanos = Duration::from_nanos(self.sum(None, |c| &c.took_nanos));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = metric;
        metric.encode_histogram::<NoLabelSet>(nanos.as_secs_f64(), count, &buckets, None)
    }
}
