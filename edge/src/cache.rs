//! State shared by everything that answers: the sites, the stored responses, and the fetches under way.
//! Requests (`serve`) and the operator (`admin`) both ask it; neither knows the other.

mod above;
pub(crate) mod behind;
mod edition;
mod purge_request;
mod purging;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use http::{Method, Uri};

pub(crate) use above::FromChild;
pub use purge_request::PurgeRequest;
pub(crate) use purge_request::absolute;
pub(crate) use purging::{NotPurged, ONE_OF};

use crate::clock::Clock;
use crate::flight::{Canary, FetchSite, Flights, Tally};
use crate::http::head::RequestHead;
use crate::http::path;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::policy::headers::received;
use crate::policy::{dictionary, encoding};
use crate::site::SiteName;
use crate::site::access::Credentials;
use crate::site::cms;
use crate::site::key::{Key, KeyRules, key};
use crate::site::route::Route;
use crate::site::rules::Bypassed;
use crate::site::signed::Rejected;
use crate::site::unheeded::Unheeded;
use crate::site::{Site, Sites};
use crate::store::Store;
use behind::Behind;
use edition::Edition;

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
    /// The sites whose maintenance was switched by the operator, and how.
    switched: ArcSwap<Vec<(SiteName, bool)>>,
    /// Of the listeners for clients.
    ports: ArcSwap<Vec<u16>>,
    /// Sites and routes put in service so far.
    sites_made: AtomicU64,
    edition: Edition,
    behind: Behind,
}

/// The sites of one config; a reload puts others in their place.
#[derive(Debug)]
pub(crate) struct InService {
    sites: Sites,
    /// In the config's order.
    placed: Vec<Placed>,
    /// The usual fields that none of them heeds.
    unheeded: Unheeded,
    /// Whether one of them wants a signature for some of its paths.
    asks_for_signatures: bool,
}

impl InService {
    fn new(sites: Sites, placed: Vec<Placed>) -> Self {
        let unheeded = Unheeded::of(sites.all());
        let asks_for_signatures = sites.all().iter().any(|site| !site.signed.paths.is_empty());
        Self { sites, placed, unheeded, asks_for_signatures }
    }

    /// The rules of keys, where they are not the usual ones.
    fn key_rules(&self) -> String {
        let parts = self.placed.iter().flat_map(Placed::all).map(|part| &part.site);
        let own = parts.filter(|site| site.key != KeyRules::default());
        let mut rules: Vec<String> = own.map(|site| format!("{:?} {:?}\n", site.part(), site.key)).collect();
        rules.sort_unstable();
        rules.concat()
    }

    /// All groups of origins: those of sites and routes, their parents and their canaries.
    fn origins(&self) -> impl Iterator<Item = &Arc<Origins>> {
        self.placed.iter().flat_map(Placed::all).flat_map(|part| part.groups())
    }
}

/// A site in service, and its routes.
#[derive(Debug)]
struct Placed {
    own: Arc<FetchSite>,
    routes: Vec<Arc<FetchSite>>,
    /// Whether a part of it keeps some clients out.
    keeps_out: bool,
}

impl Placed {
    /// The first route that has the path in question, or the site itself.
    fn part(&self, has: impl Fn(&Route) -> bool) -> &Arc<FetchSite> {
        let has = |part: &&Arc<FetchSite>| part.site.route.as_ref().is_some_and(&has);
        self.routes.iter().find(has).unwrap_or(&self.own)
    }

    /// The part that has the path of this URI, and the other parts that an origin may take it for, if it reads the path
    /// otherwise. An origin that does not tell capitals from small letters counts where a part keeps clients out.
    fn parts(&self, uri: &Uri) -> (&Arc<FetchSite>, Vec<&Arc<FetchSite>>) {
        if self.routes.is_empty() {
            return (&self.own, Vec::new());
        }
        let has_one_reading = path::has_one_reading(uri.path());
        if has_one_reading && !self.keeps_out {
            return (self.part(|route| route.has(uri.path())), Vec::new());
        }
        let path = path::normal(uri.path());
        let readings = path::readings(uri.path());
        let part = self.part(|route| route.has(&path));
        let otherwise = readings.iter().filter(|reading| !has_one_reading && **reading != path);
        let mut others: Vec<&Arc<FetchSite>> =
            otherwise.map(|reading| self.part(|route| route.has_loosely(reading))).collect();
        if self.keeps_out {
            let folded = readings.iter().map(|reading| reading.to_lowercase());
            let folded = folded.map(|reading| self.part(|route| route.has_folded(&reading)));
            others.extend(folded.filter(|other| other.site.access.keeps_out()));
        }
        let mut seen = vec![part];
        others.retain(|other| {
            let is_new = !seen.iter().any(|known| Arc::ptr_eq(known, other));
            if is_new {
                seen.push(other);
            }
            is_new
        });
        (part, others)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<FetchSite>> {
        std::iter::once(&self.own).chain(&self.routes)
    }
}

/// The site that a request belongs to, or the route of it, and the key under which its response is stored.
pub(crate) struct Found {
    pub(crate) request: RequestHead,
    pub(crate) site: Arc<FetchSite>,
    /// The other parts of the site that an origin may take the path for. The response to such a request is not kept.
    pub(crate) others: Vec<Arc<FetchSite>>,
    /// The field or cookie, of those that came, for which the site passes it by.
    pub(crate) bypassed: Option<Bypassed>,
    pub(crate) key: Key,
    /// The name and the password, where the edge itself asks for them.
    pub(crate) credentials: Option<Credentials>,
    /// Whether the client can read gzip, whatever coding the site makes of its wishes.
    pub(crate) takes_gzip: bool,
    /// The dictionary that the client has, where the site may use it.
    pub(crate) dictionary: Option<dictionary::Had>,
}

impl Cache {
    /// With this store.
    pub(crate) fn new(name: String, sites: Sites, store: Store, clock: Clock) -> Self {
        let metrics = Metrics::default();
        let store = Arc::new(store);
        let flights = Flights::new(Arc::clone(&store), clock.clone(), metrics.clone(), name.clone());
        let none = InService::new(Sites::default(), Vec::new());
        let cache = Self {
            name,
            in_service: ArcSwap::from_pointee(none),
            store,
            flights: Arc::new(flights),
            clock,
            metrics,
            switched: ArcSwap::default(),
            ports: ArcSwap::default(),
            sites_made: AtomicU64::new(0),
            edition: Edition::new(),
            behind: Behind::default(),
        };
        cache.put_in_service(sites);
        cache
    }

    /// The ports by which clients come in clear.
    pub(crate) fn listens_on(&self, ports: Vec<u16>) {
        self.ports.store(Arc::new(ports));
    }

    /// From now on requests find these sites. Stored responses stay; requests under way end by the old rules.
    /// An origin that a site or route of it had before keeps its connections and what is known of its health.
    pub(crate) fn put_in_service(&self, sites: Sites) {
        let before = self.in_service.load_full();
        let place = |site: &Arc<Site>| {
            let known = before.placed.iter().find(|placed| placed.own.site.name == site.name);
            let mut made: Vec<Arc<FetchSite>> =
                known.into_iter().flat_map(Placed::all).map(Arc::clone).collect();
            let own = self.fetch_site(site, &mut made);
            let routes = site.routes.iter().map(|route| self.fetch_site(route, &mut made)).collect();
            let keeps_out = site.routes.iter().chain([site]).any(|part| part.access.keeps_out());
            Placed { own, routes, keeps_out }
        };
        let placed = sites.all().iter().map(place).collect();
        let next = Arc::new(InService::new(sites, placed));
        self.store.keys_are_by(&next.key_rules());
        self.edition.change(|| self.in_service.store(Arc::clone(&next)));
        Origins::replace(before.origins(), next.origins());
    }

    /// Changes with all that decides what is made of a request's head; no two edges of a process have the same. None while it
    /// changes.
    pub(crate) fn edition(&self) -> Option<NonZeroU64> {
        self.edition.number()
    }

    /// Changes something else than the sites that decides it.
    pub(crate) fn change(&self, change: impl FnOnce()) {
        self.edition.change(change);
    }

    /// A site or a route of it; with the origins of one that was `made` before, if they are the same.
    fn fetch_site(&self, site: &Arc<Site>, made: &mut Vec<Arc<FetchSite>>) -> Arc<FetchSite> {
        let same = made.iter().find(|one| one.origins.are_of(site));
        let retries = made.first().map_or_else(Arc::default, |one| Arc::clone(one.origins.retries()));
        let with = (&self.clock, &self.metrics);
        // A canary's origins become the site's, or the other way round, and are the same ones.
        let before = || {
            let canaries =
                made.iter().filter_map(|one| one.canary.as_ref()).map(|it| Arc::clone(&it.origins));
            made.iter().map(|one| Arc::clone(&one.origins)).chain(canaries).collect::<Vec<_>>()
        };
        let new = || Arc::new(Origins::new(site, &before(), &retries, with));
        let origins = same.map_or_else(new, |one| Arc::clone(&one.origins));
        let known = made.iter().filter_map(|one| one.parents.as_ref()).find(|one| one.are_parents_of(site));
        let parents = || made.iter().filter_map(|one| one.parents.clone()).collect::<Vec<_>>();
        let new = || Origins::parents(site, &parents(), &retries, with).map(Arc::new);
        let parents = known.map_or_else(new, |known| Some(Arc::clone(known)));
        let known: Vec<Arc<Canary>> = made.iter().filter_map(|one| one.canary.clone()).collect();
        let canary = Canary::of(site, &known, || Origins::canary(site, &before(), &retries, with));
        let metrics = self.metrics.site(site.name.as_str());
        let same = made.iter().find(|one| one.site.part() == site.part());
        let tally = Tally::after(same.map(|one| &one.tally));
        let (clock_told, circle_told) = (AtomicBool::new(false), AtomicBool::new(false));
        let number = self.sites_made.fetch_add(1, Ordering::Relaxed);
        let site = Arc::clone(site);
        let site = Arc::new(FetchSite {
            number,
            site,
            parents,
            origins,
            canary,
            tally,
            metrics,
            clock_told,
            circle_told,
        });
        made.push(Arc::clone(&site));
        site
    }

    /// Whether a site says that it is being worked on: as it was switched last, else as its config has it.
    pub(crate) fn is_in_maintenance(&self, site: &Site) -> bool {
        let switched = self.switched.load();
        let own = switched.iter().find(|(name, _)| *name == site.name);
        own.map_or(site.maintenance.is_on, |(_, on)| *on)
    }

    /// Switches a site's maintenance on or off, or leaves it to the config; all sites' without a name.
    pub(crate) fn switch_maintenance(&self, one: Option<&SiteName>, on: Option<bool>) {
        let names: Vec<SiteName> = match one {
            Some(name) => vec![name.clone()],
            None => self.sites().iter().map(|site| site.site.name.clone()).collect(),
        };
        let next = |switched: &Arc<Vec<(SiteName, bool)>>| {
            // One that a reload took away is forgotten with `None`.
            let mut next: Vec<(SiteName, bool)> = match one {
                Some(_) => switched.iter().filter(|(name, _)| !names.contains(name)).cloned().collect(),
                None => Vec::new(),
            };
            next.extend(on.into_iter().flat_map(|on| names.iter().map(move |name| (name.clone(), on))));
            next
        };
        self.edition.change(|| self.switched.rcu(next));
    }

    /// The sites in the config's order, without their routes.
    pub(crate) fn sites(&self) -> Vec<Arc<FetchSite>> {
        self.in_service.load().placed.iter().map(|placed| Arc::clone(&placed.own)).collect()
    }

    /// The name of the site that has this host.
    fn site_of(&self, host: &str) -> Option<SiteName> {
        let in_service = self.in_service.load();
        let place = in_service.sites.find(host)?;
        Some(in_service.placed[place].own.site.name.clone())
    }

    /// The usual request fields that no site's rules look at.
    pub(crate) fn unheeded(&self) -> Unheeded {
        self.in_service.load().unheeded
    }

    /// The sites and their routes, in the config's order.
    pub(crate) fn parts(&self) -> Vec<Arc<FetchSite>> {
        self.in_service.load().placed.iter().flat_map(Placed::all).map(Arc::clone).collect()
    }

    /// The URI that a client asks for, without its signature where its site wants one. One that is sent to HTTPS keeps it: it is
    /// looked at there. A purge from a CMS needs no signature: its address is what lets it in.
    pub(crate) fn checked(&self, method: &Method, uri: Uri, now: SystemTime) -> Result<Uri, Rejected> {
        let in_service = self.in_service.load();
        if !in_service.asks_for_signatures {
            return Ok(uri);
        }
        let Some(place) = in_service.sites.find(uri.host().unwrap_or_default()) else { return Ok(uri) };
        let placed = &in_service.placed[place];
        let Site { signed, purge_from, .. } = &*placed.own.site;
        if !purge_from.is_empty() && cms::is_purge(method) {
            return Ok(signed.bare(uri));
        }
        match placed.parts(&uri).0.site.is_sent_to_https(&uri) {
            true => Ok(uri),
            false => signed.checked(uri, now),
        }
    }

    /// The URI that one with a signature is kept under, whether or not the signature is good.
    pub(crate) fn bare(&self, uri: Uri) -> Uri {
        let in_service = self.in_service.load();
        match in_service.sites.find(uri.host().unwrap_or_default()) {
            Some(place) if in_service.asks_for_signatures => {
                in_service.placed[place].own.site.signed.bare(uri)
            }
            _ => uri,
        }
    }

    /// The site and the key of a request.
    ///
    /// # Errors
    /// The request, if no site has its host.
    pub(crate) fn find(&self, request: RequestHead) -> Result<Found, Box<RequestHead>> {
        let in_service = self.in_service.load();
        let Some(place) = in_service.sites.find(request.uri.host().unwrap_or_default()) else {
            return Err(Box::new(request));
        };
        let (site, others) = in_service.placed[place].parts(&request.uri);
        let (site, others) = (Arc::clone(site), others.into_iter().map(Arc::clone).collect::<Vec<_>>());
        let is_for = dictionary::is_for(&site.site, &request.uri);
        let asker = is_for.then(|| dictionary::Asker::of(&request.headers));
        let bypassed = site.site.rules.bypass.by_fields(&request.headers);
        let mut request = received(request, &site.site.rules.allow_fields);
        // Credentials for the edge reach neither key nor policy nor origin: all clients that may ask share the stored responses.
        let asks = |part: &FetchSite| part.site.access.users.is_some();
        let asks = asks(&site) || others.iter().any(|other| asks(other));
        let credentials = if asks { Credentials::take(&mut request.headers) } else { None };
        site.site.rules.cookies.apply(&mut request.headers, &site.site.rules.bypass.cookies);
        site.site.request_fields.apply(&mut request.headers);
        let dictionary = asker.and_then(|asker| {
            let (hash, coding) = dictionary::take(&mut request.headers)?;
            Some(dictionary::Had { hash, coding, asker })
        });
        let takes_gzip = encoding::takes_gzip(&request.headers);
        encoding::normalise(&mut request.headers, &site.site.compress.codings);
        let key = key(&request, &site.site.key);
        Ok(Found { request, site, others, bypassed, key, credentials, takes_gzip, dictionary })
    }

    /// Whether a request for this URI finds this part of a site, whatever its fields are, and no other thing is different by
    /// its URI but the key.
    pub(crate) fn is_found_by(&self, uri: &Uri, part: &Arc<FetchSite>) -> bool {
        let in_service = self.in_service.load();
        let Some(place) = in_service.sites.find(uri.host().unwrap_or_default()) else { return false };
        let (found, others) = in_service.placed[place].parts(uri);
        !in_service.asks_for_signatures
            && Arc::ptr_eq(found, part)
            && others.is_empty()
            && !dictionary::is_for(&part.site, uri)
    }

    /// The key of a request that has the form [`Cache::find`] gives it, and the part of a site that has it.
    pub(crate) fn key_of(&self, request: &RequestHead) -> Option<(Key, Arc<FetchSite>)> {
        let in_service = self.in_service.load();
        let place = in_service.sites.find(request.uri.host().unwrap_or_default())?;
        let (site, _) = in_service.placed[place].parts(&request.uri);
        Some((key(request, &site.site.key), Arc::clone(site)))
    }
}
