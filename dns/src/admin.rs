//! The operator's HTTP: the status page, `/metrics`, `/status`, `/healthz`, `/readyz`, and for holders of the token what is
//! hidden, explanations, questions as they come, and what changes something. `routes` has them all.
//!
//! Invariant: what changes something, and what names hidden records, needs the token, wherever it is asked from: page and status
//! cut errors and lines of the log for others to code and place. Pools and their members are told, as metrics need them. On an
//! address that other machines reach, page, status and metrics need it, too, which name hidden zones (S2).
//! Errors are problem details (RFC 9457), but for `/readyz`.

mod answering;
mod arrivals;
mod history;
mod html;
mod live;
mod load;
mod page;
mod places;
mod problem;
mod readings;
mod routes;
mod tail;
mod token;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, HOST, HeaderValue, VARY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answering::{Content, json, not_allowed, streamed, text, typed, unauthorized};
pub(crate) use self::arrivals::Arrivals;
use self::arrivals::agreed;
pub(crate) use self::html::{bytes, count, seconds, span};
pub(crate) use self::live::Live;
pub(crate) use self::load::{Latency, Load, Told};
use self::places::{Place, Places};
pub(crate) use self::problem::Problem;
use self::problem::problem;
use self::routes::{Access, FOREIGN_HOST, GET, Route, THERE_IS, is_from_elsewhere, is_ours, route};
use self::tail::Filter;
use self::token::Right;
pub use self::token::TokenError;
pub(crate) use self::token::{Token, token};
use crate::clock;
use crate::config;
use crate::explain::shown::Shown;
use crate::explain::{Asked, Explained, explain, steered};
use crate::metrics::{Format, Metrics, Standing};
use crate::name::Name;
use crate::rtype::Type;
use crate::serve::local::SocketFile;
use crate::steer::drain::NotDrained;
use crate::world::{World, unsteered};

/// A request's head must be here by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// All of a connection must be done by then: who does not read its answer would keep its slot for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last requests may take when the listener ends.
const LAST_TIMEOUT: Duration = Duration::from_millis(500);
/// Waits after `accept` failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The state that requests are answered from.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// Unset while the server drains.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) terms: SharedTerms,
    /// Asks for a reload.
    pub(crate) reload: Box<dyn Fn() + Send + Sync>,
    /// Takes a member of pools out of service, or puts it back; none if no pool has it.
    pub(crate) drain: Box<dyn Fn(IpAddr, bool) -> Result<(), NotDrained> + Send + Sync>,
    pub(crate) seen: Seen,
    pub(crate) live: Live,
}

/// The terms by which the operator is answered.
#[derive(Debug)]
pub(crate) struct Terms {
    token: Token,
    /// Names by which it may be asked without the token.
    hosts: Vec<String>,
}

/// The terms in force; a reload puts others in their place.
pub(crate) type SharedTerms = Arc<ArcSwap<Terms>>;

impl Terms {
    /// The terms of a config. A token file that is not there is made.
    ///
    /// # Errors
    /// When the token file cannot be read or made, or has no good token.
    pub(crate) fn read(admin: &config::Admin) -> Result<Self, TokenError> {
        Ok(Self { token: token(&admin.token_file)?, hosts: admin.hosts.clone() })
    }
}

/// The data that explanations are made of.
#[derive(Default)]
pub(crate) struct Seen {
    world: Arc<ArcSwap<World>>,
    /// Its zones as they are shown.
    shown: Arc<ArcSwap<Vec<Shown>>>,
    has_inside: bool,
}

impl Seen {
    /// `has_inside` is whether there is a listener of the inside.
    pub(crate) fn new(
        world: &Arc<ArcSwap<World>>,
        shown: &Arc<ArcSwap<Vec<Shown>>>,
        has_inside: bool,
    ) -> Self {
        Self { world: Arc::clone(world), shown: Arc::clone(shown), has_inside }
    }
}

/// The listener's task.
pub(crate) struct Running {
    end: CancellationToken,
    task: JoinHandle<()>,
    connections: TaskTracker,
    /// That of a socket in the file system.
    file: Option<SocketFile>,
}

/// Answers until it is stopped.
pub(crate) fn run(arrivals: Arrivals, file: Option<SocketFile>, admin: Admin) -> Running {
    let (end, connections) = (CancellationToken::new(), TaskTracker::new());
    let task = tokio::spawn(serve(arrivals, admin, end.clone(), connections.clone()));
    Running { end, task, connections, file }
}

impl Running {
    /// Ends it, as the last of a server: until then `/readyz` tells whoever asks that the server goes.
    /// The file stays where another process has the socket, too (`is_shared`): if none has, the next one replaces it.
    pub(crate) async fn stop(self, is_shared: bool) {
        if let Some(file) = self.file.as_ref().filter(|_| !is_shared) {
            file.remove();
        }
        self.leave().await;
    }

    /// Lets another process have its socket; requests that are here already get their answers.
    pub(crate) async fn leave(self) {
        self.end.cancel();
        if self.task.await.is_err() {
            tracing::error!("the admin listener panicked");
        }
        self.connections.close();
        // One who does not ask or does not read must not keep the server.
        let _ = timeout(LAST_TIMEOUT, self.connections.wait()).await;
    }
}

async fn serve(arrivals: Arrivals, admin: Admin, end: CancellationToken, connections: TaskTracker) {
    let admin = Arc::new(admin);
    tokio::spawn(live::sample(Arc::clone(&admin), end.clone()));
    let places = Places::default();
    let exposed = arrivals.is_exposed();
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = arrivals.accept() => accepted,
        };
        match accepted {
            Ok((stream, tls)) => {
                // All places are those of connections that stay, so this one is closed at once.
                let Some(place) = places.take() else { continue };
                let (admin, end) = (Arc::clone(&admin), end.clone());
                connections.spawn(async move {
                    let agreed = tokio::select! {
                        agreed = agreed(stream, tls) => agreed,
                        () = place.evicted() => None,
                    };
                    if let Some(stream) = agreed {
                        converse(stream, &admin, By { exposed, end, stays: AtomicBool::new(false), place })
                            .await;
                    }
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The connection that a request came by.
struct By {
    /// Other machines may reach its listener.
    exposed: bool,
    end: CancellationToken,
    /// It lasts as long as its reader wants.
    stays: AtomicBool,
    place: Place,
}

/// One request: a scraper that comes every few seconds can connect as often, and nobody keeps a slot for longer but those
/// with the token who read along.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, admin: &Arc<Admin>, by: By) {
    let by = Arc::new(by);
    let service = service_fn(|request| {
        let (admin, by) = (Arc::clone(admin), Arc::clone(&by));
        async move {
            if !by.place.begin(is_known(&admin, &request)) {
                // The connection ends by that.
                return std::future::pending().await;
            }
            // The documents of a hundred thousand zones take longer than the others on a worker may wait.
            let response = spawn_blocking(move || {
                let response = respond(&admin, &by, &request);
                by.place.done();
                response
            });
            Ok::<_, Infallible>(response.await.unwrap_or_else(|_| fell()))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let talk = async {
        match timeout(CONNECTION_TIMEOUT, served.as_mut()).await {
            Err(_) if by.stays.load(Ordering::Relaxed) => Ok(served.await),
            ended => ended,
        }
    };
    let ended = tokio::select! {
        biased;
        () = by.place.evicted() => return,
        ended = talk => ended,
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection was not done after {CONNECTION_TIMEOUT:?}"),
    }
}

/// Whether a request shows a token of ours, whatever it is for.
fn is_known<B>(admin: &Admin, request: &Request<B>) -> bool {
    let (terms, headers) = (admin.terms.load(), request.headers());
    terms.token.right_in(headers).or_else(|| terms.token.right_of_password(headers)).is_some()
}

/// Whether it shows one that suffices for a path. A password does; a path of [`Access::Token`] needs more.
fn is_trusted<B>(admin: &Admin, path: &str, request: &Request<B>) -> bool {
    let (terms, headers) = (admin.terms.load(), request.headers());
    let rights = [terms.token.right_in(headers), terms.token.right_of_password(headers)];
    rights.into_iter().flatten().any(|right| right.suffices(path))
}

/// The answer to a request. A tail may last longer than other connections.
fn respond<B>(admin: &Arc<Admin>, by: &By, request: &Request<B>) -> Response<Content> {
    let Some(route) = route(request.uri().path()) else {
        return problem(StatusCode::NOT_FOUND, THERE_IS).map(Content::Whole);
    };
    let response = match refusal(admin, route, request, by.exposed) {
        Some(refusal) => refusal.map(Content::Whole),
        None => respond_by(route, admin, by, request),
    };
    let status = response.status();
    debug_assert!(route.answers(status), "docs/openapi does not tell of {}: {status}", route.path);
    response
}

fn respond_by<B>(route: &Route, admin: &Arc<Admin>, by: &By, request: &Request<B>) -> Response<Content> {
    let query = request.uri().query().unwrap_or_default();
    let place = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
    match route.path {
        "/events" => match place(&admin.live.streams) {
            Some(place) => {
                let is_trusted = is_trusted(admin, route.path, request);
                streamed("text/event-stream", live::events(admin, place, &by.end, is_trusted))
            }
            None => problem(StatusCode::SERVICE_UNAVAILABLE, "as many pages are open as may be")
                .map(Content::Whole),
        },
        "/tail" => match (Filter::read(query), place(&admin.live.readers)) {
            (Err(sentence), _) => problem(StatusCode::BAD_REQUEST, &sentence).map(Content::Whole),
            (_, None) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "as many read along as may").map(Content::Whole)
            }
            (Ok(filter), Some(place)) => {
                by.stays.store(true, Ordering::Relaxed);
                streamed("application/x-ndjson", tail::tail(filter, place, &by.end))
            }
        },
        "/readyz" => {
            let is_known = || admin.terms.load().token.right_in(request.headers()).is_some();
            readiness(admin, !by.exposed || is_known()).map(Content::Whole)
        }
        "/metrics" => metrics(admin, request).map(Content::Whole),
        path => plain_answer(admin, path, query, is_trusted(admin, path, request)).map(Content::Whole),
    }
}

fn fell() -> Response<Content> {
    let sentence = "answering panicked; please report this as a bug of verge-dns";
    problem(StatusCode::INTERNAL_SERVER_ERROR, sentence).map(Content::Whole)
}

/// The refusal of a request that may not ask for this, or not so.
fn refusal<B>(
    admin: &Admin,
    route: &Route,
    request: &Request<B>,
    exposed: bool,
) -> Option<Response<Full<Bytes>>> {
    let (headers, path, terms) = (request.headers(), route.path, admin.terms.load());
    let right = terms.token.right_in(headers);
    let suffices = |right: Option<Right>| right.is_some_and(|right| right.suffices(path));
    let is_shown = is_trusted(admin, path, request);
    let foreign = right.is_none() && !is_ours(headers.get(HOST), &terms.hosts);
    let refused = |asks_person| match right {
        Some(_) => problem(StatusCode::FORBIDDEN, "this token is for something else: its file says for what"),
        None => unauthorized(asks_person),
    };
    match route.access {
        _ if foreign => return Some(problem(StatusCode::MISDIRECTED_REQUEST, FOREIGN_HOST)),
        Access::Token if !suffices(right) => return Some(refused(false)),
        Access::Trusted if !is_shown => return Some(refused(true)),
        Access::Reader if exposed && !is_shown => return Some(refused(true)),
        Access::Reader | Access::Trusted if is_from_elsewhere(headers) => {
            return Some(problem(StatusCode::FORBIDDEN, "a page of another site has asked for this"));
        }
        _ => {}
    }
    let method = if *request.method() == Method::HEAD { GET } else { request.method().as_str() };
    (method != route.method).then(|| not_allowed(route.method))
}

fn plain_answer(admin: &Admin, path: &str, query: &str, is_trusted: bool) -> Response<Full<Bytes>> {
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/status" => json(&admin.told(is_trusted)),
        "/explain" => match question(query) {
            Ok(asked) => json(&explained(admin, &asked)),
            Err(sentence) => problem(StatusCode::BAD_REQUEST, &sentence),
        },
        "/hidden" => {
            let zone = query_part(query, "zone");
            html(admin.live.alone(|| page::hidden(&admin.seen.shown.load(), zone.as_deref())))
        }
        "/page.css" => typed("text/css; charset=utf-8", page::STYLE),
        "/page.js" => typed("text/javascript; charset=utf-8", page::SCRIPT),
        "/reload" => {
            (admin.reload)();
            text(StatusCode::ACCEPTED, "reloading; see the log\n")
        }
        "/drain" | "/undrain" => drain(admin, path == "/drain", query),
        _ => html(page::page(&admin.told(is_trusted), clock::moment().unix_seconds)),
    }
}

fn html(page: String) -> Response<Full<Bytes>> {
    typed("text/html; charset=utf-8", page)
}

/// Takes a member of pools out of service, and tells which answers go on naming it; or puts it back.
fn drain(admin: &Admin, is_out: bool, query: &str) -> Response<Full<Bytes>> {
    let Some(address) = query_part(query, "address").and_then(|text| text.parse().ok()) else {
        return problem(StatusCode::BAD_REQUEST, "name a member: ?address=192.0.2.1");
    };
    match (admin.drain)(address, is_out) {
        Ok(()) if is_out => {
            let others = admin.live.alone(|| unsteered(&admin.seen.world.load(), address));
            let lines = others.iter().map(|line| format!("{line}\n")).collect::<String>();
            text(StatusCode::OK, format!("drained\n{lines}"))
        }
        Ok(()) => text(StatusCode::OK, "back in service\n"),
        Err(NotDrained::NoMember) => {
            problem(StatusCode::NOT_FOUND, &format!("no pool has the member {address}"))
        }
        Err(why @ (NotDrained::TooMany | NotDrained::Overruled)) => {
            problem(StatusCode::CONFLICT, &why.to_string())
        }
        Err(why @ NotDrained::HandingOver) => problem(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
    }
}

/// The value of a part of a query.
fn query_part(query: &str, wanted: &str) -> Option<String> {
    let parts = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = parts.filter(|(name, _)| *name == wanted).map(|(_, value)| value).next()?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// The parts of a question.
const PARTS: &str = "name=www.example.com&type=A&from=192.0.2.1&subnet=198.51.100.0/24";

fn question(query: &str) -> Result<Asked, String> {
    let names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next());
    if let Some(strange) = names.flatten().find(|name| !["name", "type", "from", "subnet"].contains(name)) {
        return Err(format!(
            "`{strange}` is no part of a question: write {PARTS}; type and subnet may be left out"
        ));
    }
    let part = |name: &str| {
        query_part(query, name).ok_or_else(|| format!("write {PARTS}; type and subnet may be left out"))
    };
    let subnet = query_part(query, "subnet").map(|text| text.trim().to_owned());
    Ok(Asked {
        name: Name::parse_absolute(part("name")?.trim()).map_err(|error| format!("name: {error}"))?,
        rtype: query_part(query, "type")
            .map_or(Ok(Type::A), |text| text.trim().parse())
            .map_err(|_| "type: write A, AAAA, MX …, or TYPE and a number".to_owned())?,
        from: part("from")?.trim().parse().map_err(|_| "from: write an address: 192.0.2.1".to_owned())?,
        subnet: subnet
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().map_err(|_| "subnet: write a network: 198.51.100.0/24".to_owned()))
            .transpose()?,
    })
}

fn explained(admin: &Admin, asked: &Asked) -> Explained {
    let (world, shown) = (admin.seen.world.load(), admin.seen.shown.load());
    let mut explained = explain(asked, &world, admin.seen.has_inside, &shown);
    explained.steered = steered(&explained, &world, Some(&admin.metrics.pools.get().pools));
    explained
}

/// `may_name` is whether this client may learn the names of zones, which can be hidden (S2).
fn readiness(admin: &Admin, may_name: bool) -> Response<Full<Bytes>> {
    let not = |why: String| text(StatusCode::SERVICE_UNAVAILABLE, why);
    match admin.metrics.standing() {
        _ if !admin.ready.load(Ordering::Acquire) => not("draining\n".to_owned()),
        Standing::Good => text(StatusCode::OK, "ready\n"),
        Standing::NoZone => not("no zone is in service; is there a *.zone file in the folder?\n".to_owned()),
        Standing::NeverGood(zones) if may_name => {
            not(format!("never had a good version: {}\n", zones.join(" ")))
        }
        Standing::NeverGood(zones) => not(format!("zones that never had a good version: {}\n", zones.len())),
        Standing::ReloadingFell => {
            not("reloading ended by a fault and has not succeeded since; see the log\n".to_owned())
        }
    }
}

fn metrics<B>(admin: &Admin, request: &Request<B>) -> Response<Full<Bytes>> {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let format = Format::accepted(accept);
    let mut response = typed(format.media_type(), admin.metrics.encode(format));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

#[cfg(test)]
mod tests;
