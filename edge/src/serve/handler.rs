//! One request from its head to its answer. [`respond`] is the table of contents; every branch is in it.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use tokio::time::Instant;

use super::access::{self, Admitted};
use super::answer::{self, Answer};
use super::arrival::{Arrival, Peer, Transport};
use super::body::Body;
use super::exchange::Exchange;
use super::load::Now;
use super::placed::placed;
use super::service::{Service, Told};
use super::{behind, children, cms, https, pages, pass, query, switch, target};
use crate::cache::{Cache, Found};
use crate::clock::monotonic;
use crate::decide::step;
use crate::http::head::RequestHead;
use crate::http::upgrade;
use crate::log::access::{Pending, Seen};
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::policy::headers::client;
use crate::policy::headers::origin::CDN_LOOP;
use crate::policy::headers::status::Verdict;
use crate::policy::{Forward, Freshness};
use crate::site::access::Credentials;
use crate::site::cms::{NotUnderstood, Purge, is_purge, purge};
pub use crate::site::parents::HEALTH_PATH;
use crate::site::parents::PURGE_PATH;
use crate::site::rewrite;
use crate::site::route::Route;
use crate::site::sender::{Scheme, Sender, is_trusted, sender};
use crate::tls::Identity;

/// Answers one request.
pub(super) async fn handle(service: &Service, arrival: Arrival<'_>) -> Answer {
    let Arrival { mut head, version, peer, mut body, transport } = arrival;
    if head.uri.path() == HEALTH_PATH {
        // A proxy in front is no outsider, and those whose requests it passes on are.
        let Sender { client, .. } =
            sender(peer.client, peer.scheme, &head.headers, &service.trusted_proxies.load());
        return health(service, client);
    }
    if transport.is_early() {
        if !may_be_early(&head, &body, transport) {
            let sentence = "this request is answered when the handshake has ended";
            let answer = Answer::plain(StatusCode::TOO_EARLY, sentence, Outcome::Refused, "early");
            return turned_away(&service.cache, peer, &Unplaced::of(head, version), answer);
        }
        // RFC 8470 §5.1: an origin that is to do it only once can say so.
        head.headers.insert(EARLY_DATA, HeaderValue::from_static("1"));
    }
    if head.uri.path() == PURGE_PATH {
        // A request that a child passes on for a client names the child there; one of the child's own names nobody.
        if service.is_child(peer.client) && !head.headers.contains_key(CDN_LOOP) {
            return children::purge(&service.cache, body).await;
        }
        let sentence = "only children tell of purges";
        let answer = Answer::plain(StatusCode::FORBIDDEN, sentence, Outcome::Refused, "purge");
        return turned_away(&service.cache, peer, &Unplaced::of(head, version), answer);
    }
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        // RFC 9110 §9.3.7: about the server as a whole, which is us.
        return Answer::empty(StatusCode::NO_CONTENT, "server");
    }
    service.cache.metrics.asked_over(protocol(version));
    let exchange = match open(service, head, version, peer, transport) {
        Ok(exchange) => exchange,
        Err(refused) => {
            let (request, answer) = *refused;
            return turned_away(&service.cache, peer, &request, answer);
        }
    };
    let cache = &service.cache;
    body.of_site(&exchange.site.metrics);
    let started = monotonic();
    let mut answer = respond(service, &exchange, body).await;
    complete(&exchange, service.alternative(peer, version, &exchange.request.uri), &mut answer);
    let mut answer = transport.refusal().unwrap_or(answer);
    let waited = started.elapsed();
    cache.metrics.answered(&exchange.site.metrics, answer.outcome, answer.head.status);
    answer.body.timed_by(exchange.site.metrics.begun(answer.outcome, started, waited));
    tell(&exchange, &mut answer, started, waited);
    answer
}

/// RFC 8470 §4: a recorded request that is sent again must do no harm.
fn may_be_early(head: &RequestHead, body: &RequestBody, transport: &dyn Transport) -> bool {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let is_upgrade = transport.protocol().is_some() || head.headers.contains_key(header::UPGRADE);
    is_read && body.is_empty() && !is_upgrade
}

const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Gives an answer what does not depend on where it comes from; `alternative` is its `Alt-Svc`.
pub(super) fn complete(exchange: &Exchange<'_>, alternative: Option<HeaderValue>, answer: &mut Answer) {
    exchange.look_for_circle(answer);
    if !exchange.is_childs {
        dress(exchange, alternative, answer);
    }
    answer.frame(&exchange.request.method);
}

/// Gives an answer to a client what its site adds to it.
fn dress(exchange: &Exchange<'_>, alternative: Option<HeaderValue>, answer: &mut Answer) {
    pages::dress(exchange, answer);
    if let Some(field) = alternative {
        answer.head.headers.insert(header::ALT_SVC, field);
    }
    https::stay(exchange, &mut answer.head.headers);
    if exchange.is_guarded() {
        client::keep_private(&mut answer.head.headers);
    }
    let site = &exchange.site.site;
    rewrite::outgoing(&mut answer.head.headers, &site.ends_here, &site.response_fields);
}

/// A request that no site takes, as far as it is known, for its log line.
pub(super) struct Unplaced {
    method: Method,
    target: Uri,
    host: Option<HeaderValue>,
    version: Version,
}

impl Unplaced {
    pub(super) fn of(head: RequestHead, version: Version) -> Self {
        let RequestHead { method, uri: target, mut headers } = head;
        Self { method, target, host: headers.remove(header::HOST), version }
    }

    /// As other lines of the log have it, if its `Host` is one.
    fn url(&self, scheme: Scheme) -> Uri {
        let mut parts = self.target.clone().into_parts();
        if parts.authority.is_none() {
            parts.authority = self.host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
            parts.scheme = parts.authority.is_some().then(|| scheme.as_str().parse().expect("a scheme"));
        }
        Uri::from_parts(parts).unwrap_or_else(|_| self.target.clone())
    }
}

/// The answer to a request that no site gets to see, counted and told in the log.
pub(super) fn turned_away(cache: &Cache, peer: Peer, request: &Unplaced, mut answer: Answer) -> Answer {
    cache.metrics.turned_away(answer.why);
    let host = request.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes()));
    tracing::debug!(
        target: "verge_edge::request",
        client = %peer.client,
        protocol = protocol(request.version),
        method = %request.method,
        host = host.as_deref(),
        uri = %request.target,
        status = answer.head.status.as_u16(),
        cache = answer.outcome.as_str(),
        why = answer.why,
    );
    let url = request.url(peer.scheme);
    let line = Pending::new(monotonic(), || Seen {
        time: cache.clock.now(),
        client: peer.client,
        user: None,
        method: request.method.as_str(),
        url: &url,
        host: request.host.as_ref().map(HeaderValue::as_bytes),
        version: Some(protocol(request.version)),
        referer: None,
        agent: None,
        status: answer.head.status.as_u16(),
        cache: answer.outcome.as_str(),
        why: answer.why,
        age_secs: None,
        lifetime_secs: None,
        waited: Duration::ZERO,
        site: None,
        route: None,
        course: None,
    });
    answer.body.told_by(line);
    answer
}

/// Every way a request can go that is answered without an origin or the store, or is turned away.
async fn respond(service: &Service, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    let cache = &service.cache;
    if let Some(answer) = cms::purge(cache, exchange).await {
        return answer;
    }
    if let Some(answer) = before_access(service, exchange) {
        return answer;
    }
    match access::admit(cache, &service.guards, exchange, upload).await {
        Err(answer) => *answer,
        Ok(admitted) => {
            let (upload, exceeded) = admitted.parts();
            let answer = admitted_to(service, exchange, upload).await;
            Admitted::judge(exceeded, cache, answer)
        }
    }
}

/// The answers to requests whose clients need not be let in for that.
pub(super) fn before_access(service: &Service, exchange: &Exchange<'_>) -> Option<Answer> {
    let Exchange { request, site, .. } = exchange;
    let local = || step::local(request, &site.site.redirects).map(|local| answer::local(request, local));
    https::redirect(exchange, service.whereabouts.load().https_port)
        .or_else(local)
        .or_else(|| pages::maintenance(&service.cache, exchange))
}

/// Every way a request can go that is let in.
async fn admitted_to(service: &Service, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    let (cache, site) = (&service.cache, &exchange.site);
    if !exchange.others.is_empty() && site.site.route.as_ref().is_some_and(Route::leads_below) {
        let sentence = "an origin may read this path as one outside of its part of the site";
        let answer = Answer::plain(StatusCode::BAD_REQUEST, sentence, Outcome::Refused, "ambiguous-path");
        return answer::with_cache_status(cache, answer, Verdict::Local);
    }
    if behind::is_refused(cache, exchange) {
        return behind::unheard();
    }
    if let Some(asked) = &exchange.upgrade {
        return switch::switch(service, exchange, upload, asked).await;
    }
    if exchange.transport.protocol().is_some() {
        // Any success would tell the client that its stream carries that protocol now.
        return switch::unsupported(cache);
    }
    // The origin may answer each client that it knows by a certificate in its own way.
    if !exchange.others.is_empty() || exchange.transport.identity().is_some() {
        return pass::pass(&service.cache, exchange, upload, Forward::Bypass).await;
    }
    if query::is_asked(exchange) {
        return query::answer(cache, exchange, upload).await;
    }
    placed(cache, exchange, upload).await
}

/// The sender of a request, and how it came. A stranger that speaks as a proxy is told of.
fn sent_by(service: &Service, peer: Peer, headers: &HeaderMap) -> Sender {
    let trusted = service.trusted_proxies.load();
    if !is_trusted(peer.client, &trusted) {
        service.strangers.look(peer.client.to_canonical(), headers);
    }
    sender(peer.client, peer.scheme, headers, &trusted)
}

/// The target of a PURGE or BAN, by its fields as they came: some of those that choose are withheld from origins.
fn asked_to_purge(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Result<Purge, NotUnderstood>> {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    is_purge(method).then(|| purge(target, headers))
}

/// Finds the site and the key, or gives the request back with the answer to it.
pub(super) fn open<'a>(
    service: &Service,
    head: RequestHead,
    version: Version,
    peer: Peer,
    transport: &'a dyn Transport,
) -> Result<Exchange<'a>, Box<(Unplaced, Answer)>> {
    let refused_for = |why: &'static str, head: RequestHead, status: StatusCode, sentence: &str| {
        Box::new((Unplaced::of(head, version), Answer::plain(status, sentence, Outcome::Refused, why)))
    };
    if head.method == Method::CONNECT {
        return Err(refused_for("method", head, StatusCode::NOT_IMPLEMENTED, "CONNECT is not for a cache"));
    }
    let RequestHead { method, uri: target, mut headers } = head;
    let is_childs = service.is_child(peer.client);
    let Sender { client, scheme } = sent_by(service, peer, &headers);
    let peer = Peer { client, ..peer };
    let uri = match target::absolute(&target, &mut headers, peer, scheme) {
        Ok(uri) => uri,
        Err(why) => {
            let head = RequestHead { method, uri: target, headers };
            return Err(refused_for("target", head, why.status(), why.as_str()));
        }
    };
    let now = service.cache.clock.now();
    // A child has taken the signature off.
    let checked = if is_childs { Ok(uri) } else { service.cache.checked(&method, uri, now) };
    let uri = match checked {
        Ok(uri) => uri,
        Err(why) => {
            let head = RequestHead { method, uri: target, headers };
            return Err(refused_for("signature", head, StatusCode::FORBIDDEN, why.as_str()));
        }
    };
    let upgrade = transport.protocol().or_else(|| upgrade::asked(version, &headers));
    let purge = asked_to_purge(&method, &uri, &headers);
    let Found { request, site, others, bypassed, key, credentials, takes_gzip, dictionary } =
        service.cache.find(RequestHead { method, uri, headers }).map_err(|head| {
            // RFC 9110 §15.5.20: this server does not speak for that host.
            let sentence = format!("no site here has the host {}", head.uri.host().unwrap_or_default());
            let head = RequestHead { uri: target, ..*head };
            refused_for("no-site", head, StatusCode::MISDIRECTED_REQUEST, &sentence)
        })?;
    let upgrade = upgrade.filter(|_| site.site.upgrade_idle.is_some());

    Ok(Exchange {
        request,
        version,
        peer,
        site,
        others,
        bypassed,
        key,
        credentials,
        takes_gzip,
        dictionary,
        content: None,
        upgrade,
        purge,
        is_childs,
        now,
        course: OnceLock::new(),
        transport,
    })
}

/// The name of a version in logs and metrics.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_3 => "HTTP/3",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        _ => "HTTP/1.0",
    }
}

/// One line for each request: the decision and its numbers.
fn tell(exchange: &Exchange<'_>, answer: &mut Answer, began: Instant, waited: Duration) {
    let field = |name| exchange.request.headers.get(name).map(HeaderValue::as_bytes);
    let (status, outcome, why) = (answer.head.status.as_u16(), answer.outcome, answer.why);
    let given = Given { status, outcome, why, freshness: answer.freshness, waited };
    let (referer, agent) = (field(header::REFERER), field(header::USER_AGENT));
    let Exchange { request, peer, site, version, .. } = exchange;
    let (age_secs, lifetime_secs) = given.numbers();
    tracing::debug!(
        target: "verge_edge::request",
        client = %peer.client,
        protocol = protocol(*version),
        method = %request.method,
        uri = %request.uri,
        status,
        cache = outcome.as_str(),
        why,
        age = age_secs,
        lifetime = lifetime_secs,
        site = site.site.name.as_str(),
        route = site.site.route.as_ref().map(|route| route.name.as_str()),
        waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
    );
    let line = Pending::new(began, || seen(exchange, &given, referer, agent));
    answer.body.told_by(line);
}

/// An answer as its line of the access log tells it.
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) why: &'static str,
    pub(super) freshness: Option<Freshness>,
    pub(super) waited: Duration,
}

impl Given {
    /// Age and lifetime in seconds.
    fn numbers(&self) -> (Option<u64>, Option<u64>) {
        self.freshness.map(|freshness| (freshness.age_secs, freshness.lifetime_secs)).unzip()
    }
}

/// The line of a request; `referer` and `agent` are its fields.
pub(super) fn seen<'a>(
    exchange: &'a Exchange<'_>,
    given: &Given,
    referer: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
) -> Seen<'a> {
    let Exchange { request, peer, site, version, credentials, now, .. } = exchange;
    let (age_secs, lifetime_secs) = given.numbers();
    Seen {
        time: *now,
        client: peer.client,
        user: credentials
            .as_ref()
            .map(Credentials::name)
            .or_else(|| exchange.transport.identity().map(Identity::subject)),
        method: request.method.as_str(),
        url: &request.uri,
        host: request.headers.get(header::HOST).map(HeaderValue::as_bytes),
        version: Some(protocol(*version)),
        referer,
        agent,
        status: given.status,
        cache: given.outcome.as_str(),
        why: given.why,
        age_secs,
        lifetime_secs,
        waited: given.waited,
        site: Some(site.site.name.as_str()),
        route: site.site.route.as_ref().map(|route| route.name.as_str()),
        course: exchange.course.get(),
    }
}

/// A document for name servers: whether this edge takes requests, and how much it bears of what it can, as far as it is for this client.
fn health(service: &Service, client: IpAddr) -> Answer {
    if service.draining.has_begun() {
        return Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "draining", Outcome::Refused, "health");
    }
    let now = || service.load.now(service.cache.metrics.owed_bytes());
    let more = match service.health_for(client) {
        Told::Status => String::new(),
        Told::Load => format!(",\"load\":{:.3}", now().load()),
        Told::All => of_all(&now()),
    };
    let document = format!("{{\"status\":\"serving\"{more}}}\n");
    let mut answer = Answer::plain(StatusCode::OK, "serving", Outcome::Hit, "health");
    answer.head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.body = Body::whole(document);
    answer
}

/// The load and all that it is made of.
fn of_all(now: &Now) -> String {
    let Now { requests, limit, processors, bytes, bytes_limit } = now;
    let bytes_limit = bytes_limit.map_or_else(String::new, |limit| format!(",\"bytes_limit\":{limit}"));
    format!(
        ",\"load\":{:.3},\"requests\":{requests},\"limit\":{limit},\"processors\":{processors:.3},\"bytes\":{bytes}{bytes_limit}",
        now.load()
    )
}
