//! How origins do.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Metrics, UnderWay};
use crate::policy::headers::status::ProxyError;

/// The metrics of all origins.
#[derive(Debug, Default)]
pub(super) struct Origins {
    requests: Family<Place, Counter>,
    in_flight: Family<Place, Gauge>,
    up: Family<Place, Gauge>,
    checks: Family<Checked, Counter>,
    errors: Family<OriginError, Counter>,
    undone: Counter,
}

/// The metrics of one origin of a site.
#[derive(Debug, Clone)]
pub struct OriginMetrics {
    origin: String,
    requests: Counter,
    in_flight: Gauge,
    up: Gauge,
    checks: [Counter; 2],
    errors: Family<OriginError, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    site: String,
    origin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    site: String,
    origin: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginError {
    origin: String,
    error: &'static str,
}

impl Origins {
    pub(super) fn register(&self, registry: &mut Registry) {
        let requests = "Requests sent to an origin, each try counts";
        registry.register("origin_requests", requests, self.requests.clone());
        let in_flight = "Requests that an origin is at";
        registry.register("origin_requests_in_flight", in_flight, self.in_flight.clone());
        let up = "Whether an origin gets its share of the requests: 1, or 0 while it rests";
        registry.register("origin_up", up, self.up.clone());
        let checks = "Active checks of an origin, by how they came out";
        registry.register("origin_checks", checks, self.checks.clone());
        let errors = "Requests that an origin did not answer";
        registry.register("origin_errors", errors, self.errors.clone());
        let undone = "Reloads that were undone because origins failed after them";
        registry.register("reloads_undone", undone, self.undone.clone());
    }

    pub(super) fn of(&self, site: &str, origin: &str) -> OriginMetrics {
        let place = Place { site: site.to_owned(), origin: origin.to_owned() };
        OriginMetrics {
            origin: origin.to_owned(),
            requests: self.requests.get_or_create_owned(&place),
            in_flight: self.in_flight.get_or_create_owned(&place),
            up: self.up.get_or_create_owned(&place),
            checks: ["failed", "passed"].map(|result| {
                let (site, origin) = (site.to_owned(), origin.to_owned());
                self.checks.get_or_create_owned(&Checked { site, origin, result })
            }),
            errors: self.errors.clone(),
        }
    }
}

impl Metrics {
    /// A reload was undone.
    pub(crate) fn reload_undone(&self) {
        self.0.origins.undone.inc();
    }
}

impl OriginMetrics {
    /// A request is at it until the result is dropped.
    #[must_use]
    pub fn asking(&self) -> UnderWay {
        self.requests.inc();
        UnderWay::new(&self.in_flight)
    }

    /// It gets its share of the requests, or rests.
    pub fn stands(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// It was checked.
    pub fn checked(&self, passed: bool) {
        self.checks[usize::from(passed)].inc();
    }

    /// It did not answer.
    pub fn failed(&self, error: ProxyError) {
        let labels = OriginError { origin: self.origin.clone(), error: error.as_str() };
        self.errors.get_or_create(&labels).inc();
    }
}
