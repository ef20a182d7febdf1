//! State shared by everything that answers: the sites, the stored responses, and the fetches under way.
//! Requests (`serve`) and the operator (`admin`) both ask it; neither knows the other.

mod purging;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::Uri;

pub(crate) use purging::NotPurged;

use crate::clock::Clock;
use crate::config::{self, Sites};
use crate::flight::{FetchSite, Flights};
use crate::http::head::RequestHead;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::policy::encoding;
use crate::policy::headers::received;
use crate::site::key::{Key, key};
use crate::site::signed::Rejected;
use crate::store::Store;

/// One edge's sites, with what it has of them.
#[derive(Debug)]
pub(crate) struct Cache {
    /// This edge's name in the fields that it adds.
    pub(crate) name: String,
    in_service: ArcSwap<InService>,
    pub(crate) store: Arc<Store>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// Of the listeners for clients.
    ports: Vec<u16>,
}

/// The sites of one config; a reload puts others in their place.
#[derive(Debug)]
pub(crate) struct InService {
    sites: Sites,
    /// In the config's order.
    fetch_sites: Vec<Arc<FetchSite>>,
}

/// The site that a request belongs to, and the key under which its response is stored.
pub(crate) struct Found {
    pub(crate) request: RequestHead,
    pub(crate) site: Arc<FetchSite>,
    pub(crate) key: Key,
}

impl Cache {
    /// An empty one.
    pub(crate) fn new(
        name: String,
        sites: Sites,
        memory: &config::Cache,
        ports: Vec<u16>,
        clock: Clock,
    ) -> Self {
        let metrics = Metrics::default();
        let store = Arc::new(Store::new(memory));
        let flights = Flights::new(Arc::clone(&store), clock.clone(), metrics.clone(), name.clone());
        let none = InService { sites: Sites::default(), fetch_sites: Vec::new() };
        let cache = Self {
            name,
            in_service: ArcSwap::from_pointee(none),
            store,
            flights: Arc::new(flights),
            clock,
            metrics,
            ports,
        };
        cache.put_in_service(sites);
        cache
    }

    /// From now on requests find these sites. Stored responses stay; requests under way end by the old rules.
    /// A site whose origins are the same keeps its connections to them, and its knowledge of their health.
    pub(crate) fn put_in_service(&self, sites: Sites) {
        let before = self.in_service.load_full();
        let fetch_site = |site: &Arc<config::Site>| {
            let known = before.fetch_sites.iter().find(|known| known.site.name == site.name);
            let same = known
                .filter(|known| known.site.origins == site.origins && known.site.patience == site.patience);
            let new = || Arc::new(Origins::new(site, &self.clock, &self.metrics));
            let origins = same.map_or_else(new, |known| Arc::clone(&known.origins));
            let metrics = self.metrics.site(site.name.as_str());
            let clock_told = AtomicBool::new(false);
            Arc::new(FetchSite { site: Arc::clone(site), origins, metrics, clock_told })
        };
        let fetch_sites = sites.all().iter().map(fetch_site).collect();
        self.in_service.store(Arc::new(InService { sites, fetch_sites }));
    }

    /// The sites in the config's order.
    pub(crate) fn sites(&self) -> Vec<Arc<FetchSite>> {
        self.in_service.load().fetch_sites.clone()
    }

    /// The URI that a client asks for, without its signature where its site wants one.
    pub(crate) fn checked(&self, uri: Uri, now: SystemTime) -> Result<Uri, Rejected> {
        let in_service = self.in_service.load();
        match in_service.sites.find(uri.host().unwrap_or_default()) {
            Some(place) => in_service.fetch_sites[place].site.signed.checked(uri, now),
            None => Ok(uri),
        }
    }

    /// The site and the key of a request; none if no site has its host.
    pub(crate) fn find(&self, request: RequestHead) -> Option<Found> {
        let in_service = self.in_service.load();
        let place = in_service.sites.find(request.uri.host().unwrap_or_default())?;
        let site = Arc::clone(&in_service.fetch_sites[place]);
        let mut request = received(request, &site.site.rules.allow_fields);
        site.site.rules.cookies.apply(&mut request.headers);
        site.site.request_fields.apply(&mut request.headers);
        encoding::normalise(&mut request.headers, &site.site.compress);
        let key = key(&request, &site.site.key);
        Some(Found { request, site, key })
    }
}
