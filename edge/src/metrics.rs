//! Counters for what the cores return.
//!
//! Invariant: no label comes from a request; the number of series is fixed by the config.

mod connections;
mod dictionaries;
mod disks;
mod evicted;
mod format;
mod limits;
mod origins;
mod process;
mod sites;
mod spread;
mod streams;

use std::sync::{Arc, OnceLock};

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use self::connections::Connections;
pub(crate) use self::connections::Spoken;
use self::evicted::EvictedAges;
pub use self::limits::Limit;
use self::limits::Limits;
pub use self::origins::OriginMetrics;
use self::origins::Origins;
use self::sites::Sites;
pub(crate) use self::sites::Timed;
pub use self::sites::{Outcome, SiteMetrics};
use self::spread::{Counter, Level};
pub use self::streams::StreamMetrics;
use self::streams::Streams;
use crate::store::Size;
use crate::store::disk::Standing;

pub use self::format::Format;

/// All metrics of one edge; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<All>);

#[derive(Debug)]
struct All {
    /// The series that the status page is made of, which are read every few seconds.
    page: Registry,
    /// All others.
    rest: Registry,
    sites: Sites,
    direct: Counter,
    protocols: Family<Protocol, Counter>,
    /// The counters of `protocols` that were asked for, in the order of [`PROTOCOLS`].
    by_protocol: [OnceLock<Counter>; PROTOCOLS.len()],
    /// Of answers that are under way, still to be sent.
    owed: Level,
    owed_bytes: Gauge,
    collapsed: Counter,
    fetches: Gauge,
    waiting: Gauge,
    tunnels: Gauge,
    tunnels_ended: Family<Ended, Counter>,
    tunnel_bytes: Family<Towards, Counter>,
    origins: Origins,
    streams: Streams,
    asked: Family<AskedLabel, Counter>,
    turned_away: Family<Dropped, Counter>,
    connections: Connections,
    clients_dropped: Family<Dropped, Counter>,
    handshakes: Family<Handshake, Counter>,
    handshakes_failed: Family<Dropped, Counter>,
    certificate_until: Family<Certificate, Gauge>,
    store_bytes: Gauge,
    store_keys: Gauge,
    fill_bytes: Gauge,
    store_capacity_bytes: Gauge,
    store_evicted: Counter,
    store_ages: EvictedAges,
    log_lines_lost: Counter,
    limits: Limits,
    access_lines_lost: Counter,
    dictionaries: dictionaries::Dictionaries,
    disks: disks::Disks,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Towards {
    towards: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handshake {
    tls: &'static str,
    resumed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    file: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AskedLabel {
    what: &'static str,
}

/// A request to the admin listener that changes something, or should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A purge, and it is in effect.
    Purged,
    /// A purge beyond what a minute may have.
    TooManyPurges,
    /// Content was put into the store.
    Pushed,
    /// Something without the token.
    Unauthorized,
}

impl Asked {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Purged => "purged",
            Self::TooManyPurges => "too-many-purges",
            Self::Pushed => "pushed",
            Self::Unauthorized => "unauthorized",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let all = All {
            page: Registry::default(),
            rest: Registry::default(),
            sites: Sites::default(),
            direct: Counter::default(),
            protocols: Family::default(),
            by_protocol: Default::default(),
            owed: Level::default(),
            owed_bytes: Gauge::default(),
            collapsed: Counter::default(),
            fetches: Gauge::default(),
            waiting: Gauge::default(),
            tunnels: Gauge::default(),
            tunnels_ended: Family::default(),
            tunnel_bytes: Family::default(),
            origins: Origins::default(),
            streams: Streams::default(),
            asked: Family::default(),
            turned_away: Family::default(),
            connections: Connections::default(),
            clients_dropped: Family::default(),
            handshakes: Family::default(),
            handshakes_failed: Family::default(),
            certificate_until: Family::default(),
            store_bytes: Gauge::default(),
            store_keys: Gauge::default(),
            fill_bytes: Gauge::default(),
            store_capacity_bytes: Gauge::default(),
            store_evicted: Counter::default(),
            store_ages: EvictedAges::default(),
            log_lines_lost: Counter::default(),
            limits: Limits::default(),
            access_lines_lost: Counter::default(),
            dictionaries: dictionaries::Dictionaries::default(),
            disks: disks::Disks::default(),
        };
        Self(Arc::new(all.registered()))
    }
}

/// The names of HTTP's versions.
const PROTOCOLS: [&str; 4] = ["HTTP/1.1", "HTTP/2", "HTTP/3", "HTTP/1.0"];

impl All {
    fn registered(mut self) -> Self {
        for what in [Asked::Purged, Asked::TooManyPurges, Asked::Pushed, Asked::Unauthorized] {
            // An alert on a rise misses the first one of a counter that was not there before.
            drop(self.asked.get_or_create(&AskedLabel { what: what.as_str() }));
        }
        let [mut page, mut registry] = [(); 2].map(|()| Registry::with_prefix("verge_edge"));
        self.sites.register(&mut page, &mut registry);
        let direct = "Hits that were answered the short way, which the usual ones have";
        registry.register("direct_hits", direct, self.direct.clone());
        let protocols = "Requests by the version of HTTP";
        registry.register("protocol_requests", protocols, self.protocols.clone());
        let owed = "Body bytes of answers under way, as far as their lengths are known, that no connection has taken yet";
        registry.register_with_unit("in_flight", owed, Unit::Bytes, self.owed_bytes.clone());
        registry.register(
            "collapsed",
            "Requests that another request's fetch answered",
            self.collapsed.clone(),
        );
        page.register("fetches", "Fetches from origins under way", self.fetches.clone());
        let waiting = "Requests that wait for the head of a fetch, their own or another's";
        registry.register("waiting", waiting, self.waiting.clone());
        let tunnels = "Connections that have changed protocols, as to WebSocket";
        registry.register("tunnels", tunnels, self.tunnels.clone());
        let ended = "Connections that had changed protocols, by how they ended";
        registry.register("tunnels_ended", ended, self.tunnels_ended.clone());
        let bytes = "Bytes that connections carried after they had changed protocols";
        registry.register_with_unit("tunnel", bytes, Unit::Bytes, self.tunnel_bytes.clone());
        self.origins.register(&mut page, &mut registry);
        self.streams.register(&mut registry);
        let away = "Requests refused before a site was found for them: not sound, or for no host here";
        page.register("turned_away", away, self.turned_away.clone());
        let asked = "Requests to the admin listener that change something, or should have";
        registry.register("admin_requests", asked, self.asked.clone());
        self.connections.register(&mut page);
        let dropped = "Clients whose transfer was broken off because they were too slow";
        registry.register("clients_dropped", dropped, self.clients_dropped.clone());
        let done =
            "TLS handshakes that were completed, by version, and whether a ticket spared the certificate";
        registry.register("handshakes", done, self.handshakes.clone());
        let failed = "TLS handshakes that came to nothing, by reason";
        registry.register("handshakes_failed", failed, self.handshakes_failed.clone());
        let until = "When the certificate in service expires, in seconds since 1970";
        registry.register("tls_certificate_expiry_timestamp_seconds", until, self.certificate_until.clone());
        self.register_holdings(&mut page, &mut registry);
        (self.page, self.rest) = (page, registry);
        self
    }

    /// The edge's holdings in memory, and the lines that it could not write.
    fn register_holdings(&self, page: &mut Registry, registry: &mut Registry) {
        page.register_with_unit(
            "store",
            "Memory that stored responses take",
            Unit::Bytes,
            self.store_bytes.clone(),
        );
        page.register("store_keys", "Keys stored", self.store_keys.clone());
        let fill = "Memory that responses take while they are fetched, or still read though no longer stored";
        registry.register_with_unit("fill", fill, Unit::Bytes, self.fill_bytes.clone());
        let capacity = "Memory that stored responses may take now; less than the config says while the process takes too much";
        let bytes = self.store_capacity_bytes.clone();
        page.register_with_unit("store_capacity", capacity, Unit::Bytes, bytes);
        let evicted = "Keys that left memory with their responses to make room";
        page.register("store_evicted", evicted, self.store_evicted.clone());
        let age =
            "Age of responses when they left memory to make room, since they were received or last validated";
        registry.register_with_unit("store_evicted_age", age, Unit::Seconds, self.store_ages.clone());
        let lost = "Log lines that could not be written";
        registry.register("log_lines_lost", lost, self.log_lines_lost.clone());
        let lost = "Lines of the access log that could not be written";
        registry.register("access_log_lines_lost", lost, self.access_lines_lost.clone());
        self.limits.register(registry);
        self.dictionaries.register(registry);
        self.disks.register(page);
    }
}

impl Metrics {
    /// A request was answered with a head of this status.
    pub(crate) fn answered(&self, site: &SiteMetrics, outcome: Outcome, status: StatusCode) {
        if outcome == Outcome::Collapsed {
            self.0.collapsed.inc();
        }
        site.answered(outcome, status);
    }

    /// A hit was answered the short way.
    pub(crate) fn directly(&self) {
        self.0.direct.inc();
    }

    /// An answer was compressed with what its client had, by so many bytes.
    pub(crate) fn shortened(&self, saved_bytes: u64) {
        self.0.dictionaries.answers.inc();
        self.0.dictionaries.saved_bytes.inc_by(saved_bytes);
    }

    /// So many texts and bytes are held for that now.
    pub(crate) fn dictionaries_are(&self, size: (u64, u64)) {
        self.0.dictionaries.set(size);
    }

    /// A request came over this version of HTTP, one of four names of ours.
    pub(crate) fn asked_over(&self, protocol: &'static str) {
        let place = PROTOCOLS.iter().position(|one| *one == protocol).expect("one of the four");
        let counter = self.0.by_protocol[place]
            .get_or_init(|| self.0.protocols.get_or_create(&Protocol { protocol }).clone());
        counter.inc();
    }

    /// The counters of one site.
    #[must_use]
    pub fn site(&self, name: &str) -> SiteMetrics {
        self.0.sites.of(name, self)
    }

    /// A fetch from an origin is under way until this is dropped.
    #[must_use]
    pub fn fetching(&self) -> UnderWay {
        UnderWay::new(&self.0.fetches)
    }

    /// A request waits for the head of a fetch until this is dropped.
    #[must_use]
    pub fn waiting(&self) -> UnderWay {
        UnderWay::new(&self.0.waiting)
    }

    /// A connection has changed protocols until this is dropped.
    #[must_use]
    pub fn tunnelling(&self) -> UnderWay {
        UnderWay::new(&self.0.tunnels)
    }

    /// A connection that had changed protocols ended; `why` is one of a few words of ours.
    pub fn tunnel_ended(&self, why: &'static str, to_client: u64, to_origin: u64) {
        self.0.tunnels_ended.get_or_create(&Ended { why }).inc();
        self.0.tunnel_bytes.get_or_create(&Towards { towards: "client" }).inc_by(to_client);
        self.0.tunnel_bytes.get_or_create(&Towards { towards: "origin" }).inc_by(to_origin);
    }

    /// So many body bytes are to be sent.
    pub fn owes(&self, bytes: u64) {
        self.0.owed.add(bytes);
    }

    /// So many of them were sent, or will not be.
    pub fn owes_less(&self, bytes: u64) {
        self.0.owed.take(bytes);
    }

    /// Body bytes of answers under way that no connection has taken yet.
    #[must_use]
    pub fn owed_bytes(&self) -> u64 {
        self.0.owed.get()
    }

    /// The metrics of one `[[stream]]`.
    #[must_use]
    pub fn stream(&self, name: &str) -> StreamMetrics {
        self.0.streams.of(name)
    }

    /// The metrics of one origin of a site.
    #[must_use]
    pub fn origin(&self, site: &str, origin: &str) -> OriginMetrics {
        self.0.origins.of(site, origin)
    }

    /// A request was refused before a site was found for it; `why` is one of a few words.
    pub(crate) fn turned_away(&self, why: &'static str) {
        self.0.turned_away.get_or_create(&Dropped { why }).inc();
    }

    /// Somebody asked something of the admin listener.
    pub fn asked(&self, what: Asked) {
        self.0.asked.get_or_create(&AskedLabel { what: what.as_str() }).inc();
    }

    /// A client's connection is open and speaks this until the result is dropped.
    #[must_use]
    pub(crate) fn connected(&self, spoken: Spoken) -> UnderWay {
        self.0.connections.open(spoken)
    }

    /// As many client connections may be open.
    pub(crate) fn connections_limit(&self, limit: usize) {
        self.0.connections.limit(limit);
    }

    /// A client was too slow; `why` is one of a few words of ours.
    pub fn client_dropped(&self, why: &'static str) {
        self.0.clients_dropped.get_or_create(&Dropped { why }).inc();
        tracing::debug!(target: "verge_edge::slow", why, "a client was dropped");
    }

    /// A limit held a client back: counted, and said in the log once a minute.
    pub fn limit_reached(&self, limit: Limit) {
        self.0.limits.reached(limit);
    }

    /// A TLS handshake was completed in this version of the protocol; `resumed`: without a certificate, by a ticket.
    pub(crate) fn handshake_done(&self, tls: &'static str, resumed: bool) {
        let resumed = if resumed { "yes" } else { "no" };
        self.0.handshakes.get_or_create(&Handshake { tls, resumed }).inc();
    }

    /// A TLS handshake came to nothing.
    pub fn handshake_failed(&self, why: &'static str) {
        self.0.handshakes_failed.get_or_create(&Dropped { why }).inc();
    }

    /// Until when the certificate in `file` is good.
    pub fn certificate_until(&self, file: &std::path::Path, unix_seconds: i64) {
        let label = Certificate { file: file.display().to_string() };
        self.0.certificate_until.get_or_create(&label).set(unix_seconds);
    }

    /// The certificate in `file` is shown no longer.
    pub fn certificate_gone(&self, file: &std::path::Path) {
        self.0.certificate_until.remove(&Certificate { file: file.display().to_string() });
    }

    /// All metrics as text for scrapers, with the store's size and its disks as they are now.
    #[must_use]
    pub fn render(&self, size: &Size, disks: &[Standing], format: Format) -> String {
        let out = self.rendered(size, disks, &[&self.0.page, &self.0.rest]);
        match format {
            Format::OpenMetrics => out,
            Format::Prometheus => format::as_prometheus(&out),
        }
    }

    /// As [`Metrics::render`] in OpenMetrics, of the series that the status page is made of.
    pub(crate) fn render_page(&self, size: &Size, disks: &[Standing]) -> String {
        self.rendered(size, disks, &[&self.0.page])
    }

    fn rendered(&self, size: &Size, disks: &[Standing], registries: &[&Registry]) -> String {
        self.0.disks.set(disks);
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.0.store_bytes.set(gauge(size.bytes));
        self.0.owed_bytes.set(gauge(self.0.owed.get()));
        self.0.store_keys.set(gauge(size.keys));
        self.0.fill_bytes.set(gauge(size.fill_bytes));
        self.0.store_capacity_bytes.set(gauge(size.capacity_bytes));
        self.0.store_evicted.inc_by(size.evicted.count().saturating_sub(self.0.store_evicted.get()));
        self.0.store_ages.set(size.evicted);
        let lost = crate::log::lines_lost();
        self.0.log_lines_lost.inc_by(lost.saturating_sub(self.0.log_lines_lost.get()));
        let lost = crate::log::access::lines_lost();
        self.0.access_lines_lost.inc_by(lost.saturating_sub(self.0.access_lines_lost.get()));
        let mut out = String::new();
        process::encode(&mut out)
            .and_then(|()| registries.iter().try_for_each(|it| text::encode_registry(&mut out, it)))
            .and_then(|()| text::encode_eof(&mut out))
            .expect("a String takes any text");
        out
    }
}

/// One more in a gauge, for as long as it lives.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl UnderWay {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
