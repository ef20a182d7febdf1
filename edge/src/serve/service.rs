//! The service that answers requests, whatever transport they come by.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Uri, Version};
use ipnet::IpNet;

use super::access::Guards;
use super::alternative::Alternative;
use super::arrival::Peer;
use super::known::Known;
use super::load::Load;
use super::permits::Permits;
use super::strangers::Strangers;
use crate::cache::Cache;
use crate::draining::Draining;
use crate::site::reach::is_public;
use crate::site::sender::Scheme;

/// The service that answers requests: the cache, and the state that concerns clients alone.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) cache: Arc<Cache>,
    /// The proxies whose word on their clients is believed. [`Service::trust`] changes them.
    pub(crate) trusted_proxies: ArcSwap<Vec<IpNet>>,
    /// Edges whose parent this one is. [`Service::be_known_to`] changes them.
    pub(crate) children: ArcSwap<Vec<IpNet>>,
    /// Clients that are told all of this edge's health. [`Service::be_known_to`] changes them.
    pub(crate) health_from: ArcSwap<Option<Vec<IpNet>>>,
    /// One permit for each connection that may change protocols.
    pub(crate) tunnels: Arc<Permits>,
    pub(crate) draining: Draining,
    pub(crate) load: Load,
    pub(crate) guards: Guards,
    pub(crate) strangers: Strangers,
    /// Where else clients find the edge. [`Service::stand_at`] changes it.
    pub(crate) whereabouts: ArcSwap<Whereabouts>,
    /// Requests that usual hits have answered.
    pub(crate) known: Known,
    /// Whether usual hits are answered in the gate, as ever but in tests.
    pub(crate) is_direct: bool,
}

/// The listeners of the edge, as answers tell clients of them.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    /// Where the edge has TLS, the first of its ports.
    pub(crate) https_port: Option<u16>,
    /// Where clients may ask over HTTP/3.
    pub(crate) alternative: Option<Alternative>,
}

/// As much as a client is told of the edge's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Whether it takes requests.
    Status,
    /// And how much it bears of what it can.
    Load,
    /// And in what: requests, processors, bytes.
    All,
}

impl Service {
    /// From now on these proxies are believed.
    pub(super) fn trust(&self, proxies: Vec<IpNet>) {
        self.cache.change(|| self.trusted_proxies.store(Arc::new(proxies)));
        // Also what the sites of before were for is let go of.
        self.known.forget();
    }

    /// From now on these edges are this one's children, and these clients are told all of its health, others its status alone. Without
    /// such a list, loopback and networks that are not public are told all; and others the load, which name servers elsewhere need.
    pub(super) fn be_known_to(&self, children: Vec<IpNet>, health_from: Option<Vec<IpNet>>) {
        self.cache.change(|| self.children.store(Arc::new(children)));
        self.health_from.store(Arc::new(health_from));
    }

    /// As much as this client is told of the edge's health.
    pub(super) fn health_for(&self, client: IpAddr) -> Told {
        let client = client.to_canonical();
        match &**self.health_from.load() {
            Some(networks) if networks.iter().any(|network| network.contains(&client)) => Told::All,
            Some(_) => Told::Status,
            None if is_public(client) => Told::Load,
            None => Told::All,
        }
    }

    /// From now on clients are told of these.
    pub(super) fn stand_at(&self, whereabouts: Whereabouts) {
        self.cache.change(|| self.whereabouts.store(Arc::new(whereabouts)));
    }

    /// Whether this address is a proxy's whose word is believed.
    pub(super) fn trusts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.trusted_proxies.load().iter().any(|trusted| trusted.contains(&client))
    }

    /// Whether this address is a child's.
    pub(super) fn is_child(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.children.load().iter().any(|children| children.contains(&peer))
    }

    /// The field that tells a client of HTTP/3; none if it has it, came without TLS, or is a proxy.
    pub(super) fn alternative(&self, peer: Peer, version: Version, uri: &Uri) -> Option<HeaderValue> {
        if peer.scheme != Scheme::Https || version == Version::HTTP_3 {
            return None;
        }
        let whereabouts = self.whereabouts.load();
        let alternative = whereabouts.alternative.as_ref()?;
        if self.trusts(peer.client) { None } else { alternative.field(peer.local.port(), uri.port_u16()) }
    }
}
