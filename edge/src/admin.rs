//! The operator's HTTP: metrics, health, readiness, purge.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | OpenMetrics or Prometheus' text format, by `Accept` |
//! | `GET /healthz` | 200 as long as the program runs |
//! | `GET /readyz` | 200, or 503 while draining |
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
//! Anything but a `GET` of the first three needs `Authorization: Bearer TOKEN`. Purges beyond
//! `purges_per_minute` get 429 and, in `Retry-After`, when to come again.

mod explain;
mod guard;
mod host;
mod maintenance;
pub mod moving;
mod objects;
mod origins;
mod places;
mod purge;
pub mod push;
mod rate;
mod reload;
mod token;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use explain::{ExplainRequest, Explained, Variant};
pub use guard::{GuardTold, Undone};
pub use maintenance::{Maintained, MaintenanceRequest, SiteMaintenance, Switch};
pub use objects::{ObjectTold, ObjectsRequest, ObjectsTold};
pub use origins::{CanaryTold, OriginsRequest, OriginsTold, SiteOrigins};
pub use purge::{PurgeRequest, Purged};
pub(crate) use reload::Reload;
pub use reload::ReloadDone;
use token::Right;
pub use token::Token;

use crate::cache::Cache;
use crate::draining::Draining;
use crate::metrics::{Asked, Format};
use crate::store::disk::Standing;
use moving::AdminBody;
use places::{Place, Places};
use rate::Bucket;

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
}

/// The terms by which the operator is answered; a reload may change them.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) token: Token,
    /// Names by which it may be asked without the token.
    pub(crate) hosts: Vec<String>,
    /// As many at once, and then as many a minute.
    pub(crate) purges_per_minute: NonZeroU32,
    /// A push that brings no byte for so long is given up.
    pub(crate) stall_timeout: Duration,
}

/// A request body is a few names.
const MAX_BODY_BYTES: usize = 64 << 10;
/// A scraper that says nothing for so long is gone.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that does not read its answer must not keep a place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Without file descriptors left, accepting again at once would only burn the CPU.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves until it is stopped.
pub(crate) fn run(listener: TcpListener, admin: Arc<Admin>) -> Running {
    let running = Running { stop: CancellationToken::new(), connections: TaskTracker::new() };
    let (stop, connections) = (running.stop.clone(), running.connections.clone());
    running.connections.spawn(async move {
        let places = Places::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let place = tokio::select! {
                        place = places.take() => place,
                        () = stop.cancelled() => return,
                    };
                    connections.spawn(carry(stream, Arc::clone(&admin), stop.clone(), place));
                }
                Err(_) => tokio::time::sleep(ACCEPT_REST).await,
            }
        }
    });
    running
}

impl Running {
    /// Ends it; requests under way get their answers.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

/// One request: a client that comes every few seconds can connect as often, and nobody keeps a place longer.
async fn carry(stream: TcpStream, admin: Arc<Admin>, stop: CancellationToken, place: Place) {
    let service = service_fn(|request| {
        let admin = Arc::clone(&admin);
        if admin.terms.load().token.right_in(request.headers()).is_some() {
            place.trust();
        }
        async move { Ok::<_, Infallible>(admin.any_answer(request).await) }
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
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A request that hangs must not keep the program from ending.
            drop(tokio::time::timeout(Duration::from_secs(1), connection).await);
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
        Self { cache, terms: ArcSwap::from_pointee(terms), purges, draining, reload }
    }

    /// From now on these terms count. Purges are counted anew if they may come at another rate.
    pub(crate) fn obey(&self, terms: Terms) {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        if purges.0 != terms.purges_per_minute {
            *purges = (terms.purges_per_minute, Bucket::new(terms.purges_per_minute));
        }
        self.terms.store(Arc::new(terms));
    }

    /// An answer of a few bytes, or all that is held.
    async fn any_answer(&self, request: Request<Incoming>) -> Response<AdminBody> {
        let is_export = request.method() == Method::GET && request.uri().path() == "/export";
        if is_export && self.terms.load().token.right_in(request.headers()) == Some(Right::All) {
            return Response::new(moving::export(&self.cache));
        }
        self.answer(request).await.map(AdminBody::Whole)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let terms = self.terms.load_full();
        let right = terms.token.right_in(request.headers());
        let authorized = right.is_some();
        let is_open = matches!(request.uri().path(), "/metrics" | "/healthz" | "/readyz");
        if is_open && !authorized && !host::is_ours(request.headers().get(header::HOST), &terms.hosts) {
            return plain(StatusCode::MISDIRECTED_REQUEST, FOREIGN_HOST);
        }
        // hyper sends no body in answer to HEAD.
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        match (method, request.uri().path()) {
            (&Method::GET, "/metrics") => {
                let accept = request.headers().get_all(header::ACCEPT).iter();
                let format = Format::accepted(accept.filter_map(|field| field.to_str().ok()));
                let store = &self.cache.store;
                let text = self.cache.metrics.render(&store.size(), &store.disks().standings(), format);
                let mut response = typed(StatusCode::OK, format.media_type(), text);
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                response
            }
            (&Method::GET, "/healthz") => plain(StatusCode::OK, "alive"),
            (&Method::GET, "/readyz") if self.draining.has_begun() => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "draining")
            }
            // A disk that fails takes nothing from clients: the edge stays in service.
            (&Method::GET, "/readyz") => {
                plain(StatusCode::OK, &readiness(&self.cache.store.disks().standings()))
            }
            (_, "/metrics" | "/healthz" | "/readyz") => plain(StatusCode::METHOD_NOT_ALLOWED, THERE_IS),
            (_, path) if needs_token(path) && !right.is_some_and(|right| right.suffices(path)) => {
                self.not_permitted(authorized)
            }
            (&Method::PUT, "/push") => json(push::push(&self.cache, request, terms.stall_timeout).await),
            (&Method::PUT, "/import") => {
                json(moving::import(&self.cache, request, terms.stall_timeout).await)
            }
            (&Method::POST, "/explain") => match whole(request.into_body()).await {
                Ok(body) => json(explain::explain(&self.cache, &body).await),
                Err(refused) => json::<()>(Err(refused)),
            },
            (&Method::POST, "/maintenance") => match whole(request.into_body()).await {
                Ok(body) => json(maintenance::maintenance(&self.cache, &body)),
                Err(refused) => json::<()>(Err(refused)),
            },
            (&Method::POST, "/origins") => match whole(request.into_body()).await {
                Ok(body) => json(origins::origins(&self.cache, &body)),
                Err(refused) => json::<()>(Err(refused)),
            },
            (&Method::POST, "/objects") => match whole(request.into_body()).await {
                Ok(body) => json(objects::objects(&self.cache, &body).await),
                Err(refused) => json::<()>(Err(refused)),
            },
            (&Method::POST, "/guard") => json(Ok((self.reload.guard)())),
            (&Method::POST, "/reload") => json(
                (self.reload.now)()
                    .map_err(|sentence| Refused { status: StatusCode::UNPROCESSABLE_ENTITY, sentence }),
            ),
            (&Method::POST, "/purge") => match self.purge_allowed() {
                Ok(()) => self.purge(request.into_body()).await,
                Err(wait) => too_many(wait),
            },
            (_, path) if needs_token(path) => plain(StatusCode::METHOD_NOT_ALLOWED, THERE_IS),
            _ => plain(StatusCode::NOT_FOUND, THERE_IS),
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
            true => plain(StatusCode::FORBIDDEN, "this token is for something else: its file says for what"),
        }
    }

    async fn purge(&self, body: Incoming) -> Response<Full<Bytes>> {
        match whole(body).await {
            Ok(body) => json(purge::purge(&self.cache, &body).await),
            Err(refused) => json::<()>(Err(refused)),
        }
    }
}

fn readiness(disks: &[Standing]) -> String {
    let idle = disks
        .iter()
        .filter_map(|disk| Some(format!("; without the disk {}: {}", disk.name, disk.why_not.as_ref()?)));
    ["ready".to_owned()].into_iter().chain(idle).collect()
}

fn needs_token(path: &str) -> bool {
    let paths = ["/purge", "/explain", "/objects", "/push", "/reload", "/guard", "/maintenance", "/origins"];
    paths.contains(&path) || path == "/export" || path == "/import"
}

const FOREIGN_HOST: &str =
    "ask by an IP address or localhost, add this name to `admin.hosts`, or send the token";
const THERE_IS: &str = "GET /metrics, /healthz, /readyz, /export; POST /purge, /explain, /objects, /reload, /guard, /maintenance, /origins; PUT /push, /import";

async fn whole(body: Incoming) -> Result<Bytes, Refused> {
    let sentence = "the body is too long, or broke off";
    let refused = |_| Refused { status: StatusCode::PAYLOAD_TOO_LARGE, sentence: sentence.to_owned() };
    Ok(Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(refused)?.to_bytes())
}

fn json<T: Serialize>(done: Result<T, Refused>) -> Response<Full<Bytes>> {
    match done {
        Ok(value) => {
            let text = serde_json::to_string(&value).expect("plain data is JSON");
            typed(StatusCode::OK, "application/json", text)
        }
        Err(Refused { status, sentence }) => plain(status, &sentence),
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut refusal = plain(StatusCode::UNAUTHORIZED, "this needs `Authorization: Bearer TOKEN`");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}

fn too_many(wait: Duration) -> Response<Full<Bytes>> {
    let mut refusal = plain(StatusCode::TOO_MANY_REQUESTS, "more purges than `purges_per_minute` allows");
    // RFC 9110 §10.2.3: whole seconds; a part of one counts.
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    refusal
}

fn plain(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn typed(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
