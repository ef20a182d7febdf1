//! One request from its head to its answer. [`respond`] is the table of contents; every branch is in it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::answer::Answer;
use super::body::Body;
use super::gate::{Interim, Turn, Turns};
use super::{forward, held, target};
use crate::clock::{Clock, monotonic};
use crate::config::{Limits, Sites};
use crate::flight::{FetchSite, Flights, Plan};
use crate::http::head::RequestHead;
use crate::http::path;
use crate::http::upgrade;
use crate::metrics::{Metrics, Outcome, SiteMetrics};
use crate::origin::RequestBody;
use crate::policy::encoding;
use crate::policy::headers::origin;
use crate::policy::headers::received;
use crate::policy::headers::status::Verdict;
use crate::policy::{self, Forward, Reuse, Staleness};
use crate::site::key::{Key, key};
use crate::site::rewrite;
use crate::site::sender::{Sender, sender};
use crate::store::Store;
use crate::watch::Watch;

/// Everything a request may need.
#[derive(Debug)]
pub(crate) struct Edge {
    /// This edge's name in the fields that it adds.
    pub(crate) name: String,
    pub(crate) sites: Sites,
    /// By the site's index.
    pub(crate) fetch_sites: Vec<Arc<FetchSite>>,
    /// By the site's index.
    pub(crate) site_metrics: Vec<SiteMetrics>,
    pub(crate) store: Arc<Store>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    /// Whose word on their clients is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// One permit for each connection that may change protocols.
    pub(crate) tunnels: Arc<Semaphore>,
    pub(crate) draining: AtomicBool,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) client: IpAddr,
    pub(super) local: SocketAddr,
}

/// One request, and what was found out about it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: RequestHead,
    pub(super) version: Version,
    pub(super) peer: Peer,
    pub(super) site: Arc<FetchSite>,
    pub(super) key: Key,
    /// The protocols that the client asks for, if the site passes that on.
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) now: SystemTime,
    /// For the origin's 1xx heads.
    pub(super) interim: Interim,
}

/// Answers one request.
pub(super) async fn handle(
    edge: &Arc<Edge>,
    turns: &Turns,
    request: Request<Incoming>,
    peer: Peer,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let turn = match turns.begin(parts.version) {
        Ok(turn) => turn,
        Err(refusal) => return turned_away(peer, Answer::refusal(refusal)),
    };
    if parts.uri.path() == HEALTH_PATH {
        return health(edge).into_response();
    }
    if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        // RFC 9110 §9.3.7: about the server as a whole, which is us.
        return empty(StatusCode::NO_CONTENT);
    }
    let exchange = match open(edge, &turn, parts, peer) {
        Ok(exchange) => exchange,
        Err(answer) => return turned_away(peer, *answer),
    };
    let started = monotonic();
    let upload = edge.upload(body);
    let mut answer = respond(edge, &exchange, upload).await;
    let site = &exchange.site.site;
    rewrite::outgoing(&mut answer.head.headers, site.forward_tags, &site.response_fields);
    let answer = turn.body_refusal().map_or(answer, Answer::refusal);
    let waited = started.elapsed();
    edge.metrics.answered(&edge.site_metrics[exchange.site.index], answer.outcome, waited);
    tell(&exchange, &answer, waited);
    if answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
        turn.switch();
    }
    answer.into_response()
}

fn turned_away(peer: Peer, answer: Answer) -> Response<Body> {
    tracing::info!(target: "verge_edge::request", client = %peer.client, status = answer.head.status.as_u16(),
        cache = answer.outcome.as_str(), why = answer.why);
    answer.into_response()
}

/// Every way a request can go.
async fn respond(edge: &Arc<Edge>, exchange: &Exchange, upload: RequestBody) -> Answer {
    let Exchange { request, site, key, now, .. } = exchange;
    if let Some(answer) = elsewhere(exchange).or_else(|| last_hop(request)) {
        return answer;
    }
    if let Some(asked) = &exchange.upgrade {
        return forward::switch(edge, exchange, upload, asked).await;
    }
    let variants = edge.store.get(key, site.index);
    match policy::reuse(request, &variants.entries(), &site.site.rules, *now) {
        Reuse::Fresh { variant, freshness } => {
            held::answer(edge, exchange, &variants[variant], Verdict::Hit(freshness), freshness, Outcome::Hit)
        }
        Reuse::Stale { variant, freshness, why } => {
            if why == Staleness::WhileRevalidate {
                forward::refresh(edge, exchange, &variants[variant]);
            }
            let verdict = Verdict::HitStale(freshness, why);
            held::answer(edge, exchange, &variants[variant], verdict, freshness, Outcome::Stale)
        }
        Reuse::Revalidate { variant, validators, why, .. } if request.method == Method::GET => {
            let object = Arc::clone(&variants[variant]);
            forward::fetch(edge, exchange, &variants, Plan::Validate { object, validators }, why).await
        }
        Reuse::Fetch { reserve, why } if request.method == Method::GET => {
            let reserve = reserve.map(|variant| Arc::clone(&variants[variant]));
            forward::fetch(edge, exchange, &variants, Plan::Whole { reserve }, why).await
        }
        Reuse::Slice(slice) => {
            forward::fetch(edge, exchange, &variants, Plan::Slice(slice), Forward::Partial).await
        }
        Reuse::Complete { variant, missing, if_range } => {
            let plan = Plan::Complete { object: Arc::clone(&variants[variant]), missing, if_range };
            forward::fetch(edge, exchange, &variants, plan, Forward::Partial).await
        }
        // All others are HEADs.
        Reuse::Revalidate { variant, why, .. } => {
            forward::head(edge, exchange, Some(&variants[variant]), why).await
        }
        Reuse::Fetch { reserve, why } => {
            forward::head(edge, exchange, reserve.map(|variant| &variants[variant]), why).await
        }
        Reuse::Pass(why) => forward::pass(edge, exchange, upload, why).await,
        Reuse::Refuse(status, why) => forward::refuse(edge, status, why),
    }
}

/// What the site says is somewhere else.
fn elsewhere(Exchange { request, site, .. }: &Exchange) -> Option<Answer> {
    if site.site.redirects.is_empty() {
        return None;
    }
    let path = path::normal(request.uri.path());
    let query = request.uri.query();
    site.site.redirects.iter().find_map(|redirect| {
        let head = redirect.head(redirect.location(&path, query)?);
        Some(Answer {
            head,
            body: Body::empty(),
            outcome: Outcome::Redirect,
            why: "redirect",
            freshness: None,
        })
    })
}

/// What the client wants no further hop to see (RFC 9110 §7.6.2). A TRACE is not answered with the request: it would
/// show scripts what they may not see (§9.3.8).
fn last_hop(request: &RequestHead) -> Option<Answer> {
    (origin::hops_left(request) == Some(0)).then(|| {
        let mut answer = match request.method {
            Method::OPTIONS => {
                Answer::plain(StatusCode::OK, "the last hop", Outcome::Refused, "max-forwards")
            }
            _ => {
                let sentence = "this hop answers no TRACE";
                Answer::plain(StatusCode::METHOD_NOT_ALLOWED, sentence, Outcome::Refused, "max-forwards")
            }
        };
        answer.head.headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        answer
    })
}

/// Finds the site and the key.
fn open(edge: &Edge, turn: &Turn, parts: Parts, peer: Peer) -> Result<Exchange, Box<Answer>> {
    let Parts { method, uri, version, mut headers, .. } = parts;
    if method == Method::CONNECT {
        let sentence = "CONNECT is not for a cache";
        return Err(Answer::plain(StatusCode::NOT_IMPLEMENTED, sentence, Outcome::Refused, "method").into());
    }
    let Sender { client, scheme } = sender(peer.client, &headers, &edge.trusted_proxies);
    let peer = Peer { client, ..peer };
    let uri = target::absolute(&uri, &mut headers, peer.local, scheme)
        .map_err(|why| Box::new(Answer::plain(why.status(), why.as_str(), Outcome::Refused, "target")))?;
    let upgrade = upgrade::asked(version, &headers);
    let Some(Found { request, site, key }) = edge.find(RequestHead { method, uri: uri.clone(), headers })
    else {
        // RFC 9110 §15.5.20: this server does not speak for that host.
        let sentence = format!("no site here has the host {}", uri.host().unwrap_or_default());
        return Err(
            Answer::plain(StatusCode::MISDIRECTED_REQUEST, &sentence, Outcome::Refused, "no-site").into()
        );
    };
    let upgrade = upgrade.filter(|_| site.site.upgrade_idle.is_some());
    let (now, interim) = (edge.clock.now(), turn.interim());
    Ok(Exchange { request, version, peer, site, key, upgrade, now, interim })
}

/// One line for each request: the decision and its numbers.
fn tell(exchange: &Exchange, answer: &Answer, waited: std::time::Duration) {
    let Exchange { request, peer, site, .. } = exchange;
    tracing::info!(
        target: "verge_edge::request",
        client = %peer.client,
        method = %request.method,
        uri = %request.uri,
        status = answer.head.status.as_u16(),
        cache = answer.outcome.as_str(),
        why = answer.why,
        age = answer.freshness.map(|freshness| freshness.age_secs),
        lifetime = answer.freshness.map(|freshness| freshness.lifetime_secs),
        site = site.site.name,
        waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
    );
}

/// Where the name servers ask whether this edge takes requests.
pub const HEALTH_PATH: &str = "/.well-known/verge/health";

fn health(edge: &Edge) -> Answer {
    if edge.draining.load(Ordering::Acquire) {
        Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "draining", Outcome::Refused, "health")
    } else {
        Answer::plain(StatusCode::OK, "serving", Outcome::Hit, "health")
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Whose a request is, and under which name its response is stored.
pub(crate) struct Found {
    pub(crate) request: RequestHead,
    pub(crate) site: Arc<FetchSite>,
    pub(crate) key: Key,
}

impl Edge {
    fn upload(&self, body: Incoming) -> RequestBody {
        RequestBody::upload(body, Watch::new(self.limits.pace, self.clock.clone()), &self.metrics)
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
