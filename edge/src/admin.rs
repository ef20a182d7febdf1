//! The operator's HTTP: metrics, health, readiness, purge.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the status page; `/page.css`, `/page.js` and `/events` belong to it |
//! | `GET /status` | the same as JSON, see [`Board`] |
//! | `GET /metrics` | OpenMetrics or Prometheus' text format, by `Accept` |
//! | `GET /healthz` | 200 as long as the program runs |
//! | `GET /readyz` | 200, or 503 while draining; names disks that are not used where other machines do not reach it, or with a token |
//! | `GET /tail` | requests as they end, one JSON object a line, as long as the reader stays |
//! | `POST /purge`, see [`PurgeRequest`] | `{"purged": N}` once it is in effect |
//! | `POST /explain`, see [`ExplainRequest`] | what would become of a request, as [`Explained`] |
//! | `POST /maintenance`, see [`MaintenanceRequest`] | a site says that it is being worked on; how all stand |
//! | `POST /objects`, see [`ObjectsRequest`] | what is held, as [`ObjectsTold`] |
//! | `POST /origins`, see [`OriginsRequest`] | how origins stand, as [`OriginsTold`]; takes one out or puts it back |
//! | `POST /guard` | the reload that is being watched, and those that were undone, as [`GuardTold`] |
//! | `POST /reload` | the config file is read again, see [`ReloadDone`]; 422 and nothing changed if it is at fault |
//! | `GET /export` | all that is stored, for [`moving`] it to another edge |
//! | `PUT /import` | what another edge exported is stored, as [`moving::Imported`] tells |
//! | `PUT /push`, see [`push`] | [`push::Pushed`] once it is in the store |
//!
//! Each has its `Access`; a token is shown as `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457), but for
//! `/readyz`. Purges beyond `purges_per_minute` get 429 and, in `Retry-After`, when to come again.

mod answering;
mod arrivals;
pub mod board;
mod explain;
mod guard;
mod history;
mod host;
mod live;
mod maintenance;
pub mod moving;
mod objects;
mod origins;
pub mod page;
mod places;
pub mod problem;
mod purge;
pub mod push;
mod rate;
mod readings;
mod reload;
mod routes;
mod tail;
mod token;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use arrivals::Arrivals;
use arrivals::{Stream, agreed};
pub use board::Board;
pub use explain::{ExplainRequest, Explained, Variant};
pub use guard::{GuardTold, Undone};
pub use maintenance::{Maintained, MaintenanceRequest, SiteMaintenance, Switch};
pub use objects::{ObjectTold, ObjectsRequest, ObjectsTold};
pub use origins::{CanaryTold, OriginsRequest, OriginsTold, SiteOrigins, StreamOrigins};
pub use purge::{PurgeRequest, Purged};
pub use reload::ReloadDone;
pub(crate) use reload::{Reload, Reloading};
use token::Right;
pub use token::Token;

use crate::cache::Cache;
use crate::draining::Draining;
use crate::metrics::{Asked, Format};
use crate::store::disk::Standing;
use crate::turn::Turn;
use answering::{
    collected, guarded, json, not_allowed, page_needs_token, plain, streamed, too_many, typed, unauthorized,
    whole,
};
use live::Live;
use moving::AdminBody;
use places::{Place, Places};
use problem::problem;
use rate::Bucket;
use routes::{Access, FOREIGN_HOST, GET, PUT, Route, THERE_IS, is_from_elsewhere, route};
use tail::Readers;

/// The listener's task.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    connections: TaskTracker,
}

/// The service that answers the operator.
pub(crate) struct Admin {
    cache: Arc<Cache>,
    terms: ArcSwap<Terms>,
    purges: Mutex<(NonZeroU32, Bucket)>,
    draining: Draining,
    reload: Reload,
    live: Live,
    readers: Readers,
}

/// The terms by which the operator is answered; a reload may change them.
pub(crate) struct Terms {
    pub(crate) token: Token,
    /// Names by which it may be asked without the token.
    pub(crate) hosts: Vec<String>,
    /// As many at once, and then as many a minute.
    pub(crate) purges_per_minute: NonZeroU32,
    /// A push that brings no byte for so long is given up.
    pub(crate) stall_timeout: Duration,
    /// TLS around a connection; none: it is in clear.
    pub(crate) tls: Option<TlsAcceptor>,
}

/// A scraper that says nothing for so long is gone.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that does not read its answer must not keep a place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client has for its request when the listener ends.
const ASKING_TIMEOUT: Duration = Duration::from_millis(250);
/// How long it has for its handshake then.
const SHAKING_TIMEOUT: Duration = Duration::from_secs(1);
/// Without file descriptors left, accepting again at once would only burn the CPU.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The listener that a request came by.
#[derive(Debug, Clone)]
struct By {
    /// Other machines may reach it.
    is_exposed: bool,
    stop: CancellationToken,
}

/// Serves until it is stopped.
pub(crate) fn run(arrivals: Arrivals, admin: Arc<Admin>, turn: Turn) -> Running {
    let running = Running { stop: CancellationToken::new(), connections: TaskTracker::new() };
    let (stop, connections) = (running.stop.clone(), running.connections.clone());
    let by = By { is_exposed: arrivals.is_exposed(), stop: stop.clone() };
    running.connections.spawn(live::sample(Arc::clone(&admin), stop.clone()));
    let shared = Arc::clone(&admin);
    let take = move |stream, place| {
        connections.spawn(shelter(stream, Arc::clone(&shared), by.clone(), place));
    };
    running.connections.spawn(turn.take(accept(arrivals, take, admin, stop)));
    running
}

/// Until it is to stop, and then the connections that the kernel has made already.
async fn accept(
    arrivals: Arrivals,
    take: impl Fn(Stream, Place),
    admin: Arc<Admin>,
    stop: CancellationToken,
) {
    let places = Places::default();
    while let Some(accepted) = stop.run_until_cancelled(arrivals.accept()).await {
        match accepted {
            Ok(stream) => {
                // One that was accepted is answered, though the listener ends: nobody else has it.
                let place = tokio::select! {
                    biased;
                    place = places.take() => place,
                    () = stop.cancelled() => break,
                };
                take(stream, place);
            }
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
    // Another process has the same queue.
    if admin.draining.has_left() {
        return;
    }
    for stream in arrivals.waiting() {
        take(stream, places.take().await);
    }
}

impl Running {
    /// Ends it; requests under way get their answers.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

/// The handshake, if there is one, and then the request.
async fn shelter(stream: Stream, admin: Arc<Admin>, by: By, place: Place) {
    let tls = admin.terms.load().tls.clone();
    let stream = match &tls {
        Some(tls) => tokio::select! {
            agreed = agreed(stream, tls) => agreed,
            () = place.evicted() => None,
            () = overstayed(&by.stop) => None,
        },
        None => Some(stream),
    };
    if let Some(stream) = stream {
        carry(stream, admin, by, place).await;
    }
}

/// Ends a while after the listener: a client that has just come is answered.
async fn overstayed(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(SHAKING_TIMEOUT).await;
}

/// One request: a client that comes every few seconds can connect as often, and nobody keeps a place longer.
async fn carry(stream: Stream, admin: Arc<Admin>, by: By, place: Place) {
    let service = service_fn(|request| {
        let (admin, by) = (Arc::clone(&admin), by.clone());
        if admin.terms.load().token.right_in(request.headers()).is_some() {
            place.trust();
        }
        async move { Ok::<_, Infallible>(admin.answer(request, &by).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = overdue(&place) => {}
        () = place.evicted() => {}
        () = by.stop.cancelled() => {
            // A client that has just come may not have asked yet; where another process takes over, it would see a gap.
            if timeout(ASKING_TIMEOUT, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                // A request that hangs must not keep the program from ending.
                drop(timeout(Duration::from_secs(1), connection).await);
            }
        }
    }
}

/// Ends when a connection has had its time. A client that showed the token may take as long as its push.
async fn overdue(place: &Place) {
    tokio::time::sleep(CONNECTION_TIMEOUT).await;
    if place.is_trusted() {
        std::future::pending().await
    }
}

/// Why something is not done.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    sentence: String,
}

impl Refused {
    fn bad(sentence: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, sentence }
    }
}

impl Admin {
    pub(crate) fn new(cache: Arc<Cache>, terms: Terms, draining: Draining, reload: Reload) -> Self {
        let rate = terms.purges_per_minute;
        let purges = Mutex::new((rate, Bucket::new(rate)));
        Self {
            cache,
            terms: ArcSwap::from_pointee(terms),
            purges,
            draining,
            reload,
            live: Live::default(),
            readers: Readers::default(),
        }
    }

    /// From now on these terms count. Purges are counted anew if they may come at another rate.
    pub(crate) fn obey(&self, terms: Terms) {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        if purges.0 != terms.purges_per_minute {
            *purges = (terms.purges_per_minute, Bucket::new(terms.purges_per_minute));
        }
        self.terms.store(Arc::new(terms));
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, by: &By) -> Response<AdminBody> {
        let terms = self.terms.load_full();
        let path = request.uri().path().to_owned();
        let Some(route) = route(&path) else { return whole(problem(StatusCode::NOT_FOUND, THERE_IS)) };
        let response = match self.refusal(&terms, route, &request, by) {
            Some(refusal) => whole(refusal),
            None => self.answer_by(route, request, &terms, by).await,
        };
        debug_assert!(
            route.answers(response.status()),
            "docs/openapi does not tell of {path}: {}",
            response.status()
        );
        response
    }

    async fn answer_by(
        self: &Arc<Self>,
        route: &Route,
        request: Request<Incoming>,
        terms: &Terms,
        by: &By,
    ) -> Response<AdminBody> {
        match (route.method, route.path) {
            (GET, "/events") => match self.live.place() {
                Some(place) => streamed("text/event-stream", live::events(self, place, &by.stop)),
                None => whole(problem(StatusCode::SERVICE_UNAVAILABLE, "as many pages are open as may be")),
            },
            (GET, "/tail") => {
                match tail::tail(&self.readers, request.uri().query().unwrap_or_default(), &by.stop) {
                    Ok(lines) => streamed("application/x-ndjson", lines),
                    Err(refused) => whole(json::<()>(Err(refused))),
                }
            }
            (GET, "/export") => Response::new(moving::export(&self.cache)),
            (GET, "/status") => whole(looked_at(self.of_board(|board, _| json(Ok(board))).await)),
            (GET, "/") => {
                let page = |board: &Board, now| {
                    typed(StatusCode::OK, "text/html; charset=utf-8", page::page(board, now))
                };
                whole(looked_at(self.of_board(page).await))
            }
            (GET, "/readyz") => {
                let may_name = !by.is_exposed || terms.token.right_in(request.headers()).is_some();
                whole(self.ready(may_name))
            }
            (GET, path) => whole(self.got(path, &request)),
            (PUT, "/push") => whole(json(push::push(&self.cache, request, terms.stall_timeout).await)),
            (PUT, _) => whole(json(moving::import(&self.cache, request, terms.stall_timeout).await)),
            (_, path) => whole(self.posted(path, request.into_body()).await),
        }
    }

    /// The refusal of a request that may not ask for this, or not so.
    fn refusal(
        &self,
        terms: &Terms,
        route: &Route,
        request: &Request<Incoming>,
        by: &By,
    ) -> Option<Response<Full<Bytes>>> {
        let (headers, path) = (request.headers(), route.path);
        let right = terms.token.right_in(headers);
        let suffices = |right: Option<Right>| right.is_some_and(|right| right.suffices(path));
        match route.access {
            Access::Token if !suffices(right) => return Some(self.not_permitted(right.is_some())),
            Access::Token => {}
            Access::Anybody | Access::Reader
                if right.is_none() && !host::is_ours(headers.get(header::HOST), &terms.hosts) =>
            {
                return Some(problem(StatusCode::MISDIRECTED_REQUEST, FOREIGN_HOST));
            }
            Access::Reader
                if by.is_exposed && !suffices(right) && !suffices(terms.token.right_of_password(headers)) =>
            {
                return Some(page_needs_token(self.not_permitted(right.is_some())));
            }
            Access::Reader if is_from_elsewhere(headers) => {
                return Some(problem(StatusCode::FORBIDDEN, "a page of another site has asked for this"));
            }
            Access::Anybody | Access::Reader => {}
        }
        // hyper sends no body in answer to HEAD.
        let method = if request.method() == Method::HEAD { GET } else { request.method().as_str() };
        (method != route.method).then(|| not_allowed(route.method))
    }

    fn got(&self, path: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let store = &self.cache.store;
        match path {
            "/metrics" => {
                let accept = request.headers().get_all(header::ACCEPT).iter();
                let format = Format::accepted(accept.filter_map(|field| field.to_str().ok()));
                let text = self.cache.metrics.render(&store.size(), &store.disks().standings(), format);
                let mut response = typed(StatusCode::OK, format.media_type(), text);
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                response
            }
            "/healthz" => plain(StatusCode::OK, "alive"),
            "/page.css" => guarded(typed(StatusCode::OK, "text/css; charset=utf-8", page::STYLE.to_owned())),
            _ => guarded(typed(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT.to_owned())),
        }
    }

    /// `may_name` is whether this client may learn where disks are and what the system says of them.
    fn ready(&self, may_name: bool) -> Response<Full<Bytes>> {
        match self.draining.has_begun() {
            true => plain(StatusCode::SERVICE_UNAVAILABLE, "draining"),
            // A disk that fails takes nothing from clients: the edge stays in service.
            false => plain(StatusCode::OK, &readiness(&self.cache.store.disks().standings(), may_name)),
        }
    }

    async fn posted(&self, path: &str, body: Incoming) -> Response<Full<Bytes>> {
        if path == "/purge"
            && let Err(wait) = self.purge_allowed()
        {
            return too_many(wait);
        }
        let body = match collected(body).await {
            Ok(body) => body,
            Err(refused) => return json::<()>(Err(refused)),
        };
        let cache = &self.cache;
        match path {
            "/explain" => json(explain::explain(cache, &body).await),
            "/maintenance" => json(maintenance::maintenance(cache, &body)),
            "/origins" => json(origins::origins(cache, &(self.reload.streams)(), &body)),
            "/objects" => json(objects::objects(cache, &body).await),
            "/guard" => json(Ok((self.reload.guard)())),
            "/purge" => json(purge::purge(cache, &body).await),
            _ => json(
                (self.reload.now)()
                    .await
                    .map_err(|sentence| Refused { status: StatusCode::UNPROCESSABLE_ENTITY, sentence }),
            ),
        }
    }
}

impl Admin {
    /// Each wide purge makes every stored response be compared once more, and each one may send its clients to the
    /// origins: a script that runs wild must not do that all day.
    fn purge_allowed(&self) -> Result<(), Duration> {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = purges.1.take(self.cache.clock.now());
        taken.inspect_err(|wait| {
            self.cache.metrics.asked(Asked::TooManyPurges);
            tracing::warn!(target: "verge_edge::purge", ?wait, "purges beyond `purges_per_minute`");
        })
    }

    /// A client that shows no token of ours, or one that is for something else, is refused and counted.
    fn not_permitted(&self, is_known: bool) -> Response<Full<Bytes>> {
        self.cache.metrics.asked(Asked::Unauthorized);
        match is_known {
            false => unauthorized(),
            true => {
                problem(StatusCode::FORBIDDEN, "this token is for something else: its file says for what")
            }
        }
    }
}

/// The answer that was made of the board.
fn looked_at(made: Option<Response<Full<Bytes>>>) -> Response<Full<Bytes>> {
    let fell = "reading the metrics panicked; please report this as a bug of verge-edge";
    guarded(made.unwrap_or_else(|| problem(StatusCode::INTERNAL_SERVER_ERROR, fell)))
}

fn readiness(disks: &[Standing], may_name: bool) -> String {
    let idle: Vec<String> = disks
        .iter()
        .filter_map(|disk| Some(format!("; without the disk {}: {}", disk.name, disk.why_not.as_ref()?)))
        .collect();
    match (may_name, idle.len()) {
        (_, 0) => "ready".to_owned(),
        (true, _) => format!("ready{}", idle.concat()),
        (false, 1) => "ready; without 1 disk".to_owned(),
        (false, disks) => format!("ready; without {disks} disks"),
    }
}
