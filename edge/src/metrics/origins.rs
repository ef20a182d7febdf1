//! How origins do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::sites::MISS_SECONDS;
use super::spread::Durations;
use super::{Metrics, UnderWay};
use crate::policy::headers::status::ProxyError;

/// The metrics of all origins.
#[derive(Debug)]
pub(super) struct Origins {
    requests: Family<Place, Counter>,
    in_flight: Family<Place, Gauge>,
    up: Family<Place, Gauge>,
    checks: Family<Checked, Counter>,
    errors: Family<OriginError, Counter>,
    hedges: Family<Place, Counter>,
    hedges_won: Family<Place, Counter>,
    undone: Counter,
    seconds: Family<Place, Durations, fn() -> Durations>,
    listed: Arc<Mutex<HashMap<Place, usize>>>,
}

/// The metrics of one origin of a site.
#[derive(Debug, Clone)]
pub struct OriginMetrics {
    place: Place,
    requests: Counter,
    in_flight: Gauge,
    up: Gauge,
    checks: [Counter; 2],
    hedges: [Counter; 2],
    errors: Family<OriginError, Counter>,
    seconds: Durations,
    _listed: Arc<Listed>,
}

/// A place that is in a config. The gauges tell of those alone: an origin that a reload removed must neither look as
/// if it were up, nor as if it were down. Its counters stay as they are.
#[derive(Debug)]
struct Listed {
    place: Place,
    all: Arc<Mutex<HashMap<Place, usize>>>,
    in_flight: Family<Place, Gauge>,
    up: Family<Place, Gauge>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = all.get_mut(&self.place) else { return };
        *count -= 1;
        if *count == 0 {
            all.remove(&self.place);
            self.in_flight.remove(&self.place);
            self.up.remove(&self.place);
        }
    }
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
    site: String,
    origin: String,
    error: &'static str,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            in_flight: Family::default(),
            up: Family::default(),
            checks: Family::default(),
            errors: Family::default(),
            hedges: Family::default(),
            hedges_won: Family::default(),
            undone: Counter::default(),
            seconds: Family::new_with_constructor(|| Durations::new(&MISS_SECONDS)),
            listed: Arc::default(),
        }
    }
}

impl Origins {
    /// `page` has those that the status page is made of.
    pub(super) fn register(&self, page: &mut Registry, registry: &mut Registry) {
        let requests = "Requests sent to an origin, each try counts";
        page.register("origin_requests", requests, self.requests.clone());
        let in_flight = "Requests that an origin is at";
        page.register("origin_requests_in_flight", in_flight, self.in_flight.clone());
        let up = "Whether an origin gets its share of the requests: 1, or 0 while it rests";
        page.register("origin_up", up, self.up.clone());
        let checks = "Active checks of an origin, by how they came out";
        registry.register("origin_checks", checks, self.checks.clone());
        let errors = "Requests that an origin did not answer, or not wholly";
        page.register("origin_errors", errors, self.errors.clone());
        let hedges = "Requests sent to an origin because another one took long";
        registry.register("origin_hedges", hedges, self.hedges.clone());
        let won = "Such requests that this origin answered before the other one did";
        registry.register("origin_hedges_won", won, self.hedges_won.clone());
        let undone = "Reloads that were undone because origins failed after them";
        registry.register("reloads_undone", undone, self.undone.clone());
        let seconds = "From a request to an origin until the head of its response";
        page.register_with_unit("origin_duration", seconds, Unit::Seconds, self.seconds.clone());
    }

    pub(super) fn of(&self, site: &str, origin: &str) -> OriginMetrics {
        let place = Place { site: site.to_owned(), origin: origin.to_owned() };
        // As long as it is held, no series goes.
        let mut all = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(place.clone()).or_default() += 1;
        let listed = Listed {
            place: place.clone(),
            all: Arc::clone(&self.listed),
            in_flight: self.in_flight.clone(),
            up: self.up.clone(),
        };
        OriginMetrics {
            _listed: listed.into(),
            requests: self.requests.get_or_create_owned(&place),
            in_flight: self.in_flight.get_or_create_owned(&place),
            up: self.up.get_or_create_owned(&place),
            checks: ["failed", "passed"].map(|result| {
                let (site, origin) = (site.to_owned(), origin.to_owned());
                self.checks.get_or_create_owned(&Checked { site, origin, result })
            }),
            hedges: [&self.hedges, &self.hedges_won].map(|family| family.get_or_create_owned(&place)),
            errors: self.errors.clone(),
            seconds: self.seconds.get_or_create_owned(&place),
            place,
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

    /// It gets a request that another one is slow to answer.
    pub fn hedged(&self) {
        self.hedges[0].inc();
    }

    /// It answered such a request first.
    pub fn hedge_won(&self) {
        self.hedges[1].inc();
    }

    /// The head of its response came after this time.
    pub fn answered(&self, took: Duration) {
        self.seconds.observe(took);
    }

    /// It did not answer.
    pub fn failed(&self, error: ProxyError) {
        let Place { site, origin } = self.place.clone();
        let labels = OriginError { site, origin, error: error.as_str() };
        self.errors.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_is_in_no_config_any_more_is_neither_up_nor_down() {
        let metrics = Metrics::default();
        let shows = |origin: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &metrics.0.page).unwrap();
            ["origin_up{", "origin_requests_in_flight{", "origin_requests_total{"].map(|series| {
                text.lines().any(|line| line.contains(series) && line.contains(&format!("\"{origin}\"")))
            })
        };
        let old = metrics.0.origins.of("a.test", "10.0.0.1:80");
        let again = metrics.0.origins.of("a.test", "10.0.0.1:80");
        let copy = old.clone();
        old.stands(true);
        metrics.0.origins.of("a.test", "10.0.0.2:80").stands(false);
        assert_eq!(shows("10.0.0.2:80"), [false, false, true]);
        drop(old);
        drop(copy);
        assert_eq!(shows("10.0.0.1:80"), [true; 3], "a reload has it still");
        let asking = again.asking();
        drop(again);
        assert_eq!(shows("10.0.0.1:80"), [false, false, true]);
        drop(asking);
        metrics.0.origins.of("a.test", "10.0.0.1:80").stands(true);
    }
}
