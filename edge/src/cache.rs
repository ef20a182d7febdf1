//! What all who answer share: the sites, what is stored, and what is being fetched. Requests ask it (`serve`), and so
//! does the operator (`admin`); neither knows the other.

mod purging;

use std::sync::Arc;

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
use crate::store::Store;

/// One edge's sites, with what it has of them.
#[derive(Debug)]
pub(crate) struct Cache {
    /// This edge's name in the fields that it adds.
    pub(crate) name: String,
    pub(crate) sites: Sites,
    /// By the site's index.
    fetch_sites: Vec<Arc<FetchSite>>,
    pub(crate) store: Arc<Store>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// Of the listeners for clients.
    ports: Vec<u16>,
}

/// Whose a request is, and under which name its response is stored.
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
        let fetch_site = |(index, site): (usize, &Arc<config::Site>)| {
            let origins = Origins::new(site, &clock, &metrics);
            let metrics = metrics.site(&site.name);
            Arc::new(FetchSite { index, site: Arc::clone(site), origins, metrics })
        };
        let fetch_sites = sites.all().iter().enumerate().map(fetch_site).collect();
        let flights = Flights::new(Arc::clone(&store), clock.clone(), metrics.clone(), name.clone());
        Self { name, sites, fetch_sites, store, flights: Arc::new(flights), clock, metrics, ports }
    }

    /// The site and the key of a request; none if no site has its host.
    pub(crate) fn find(&self, request: RequestHead) -> Option<Found> {
        let index = self.sites.find(request.uri.host().unwrap_or_default())?;
        let mut request = received(request);
        let site = Arc::clone(&self.fetch_sites[index]);
        site.site.request_fields.apply(&mut request.headers);
        encoding::normalise(&mut request.headers, &site.site.compress);
        let key = key(&request, &site.site.key);
        Some(Found { request, site, key })
    }
}
