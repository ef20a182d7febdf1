//! The operator's HTTP: `/metrics`, `/status`, `/healthz`, `/readyz`, and `POST /reload` for holders of the token.
//!
//! Invariant: what changes something needs the token, wherever it is asked from; on an address that other machines
//! reach, so do the metrics, which name hidden zones (S2).

mod token;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, VARY};
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::token::TokenError;
pub(crate) use self::token::{Token, token};
use crate::metrics::{Format, Metrics, Standing};

/// A scraper and a few people; more is a mistake or an attack.
const MAX_CONNECTIONS: usize = 64;
/// A request's head must be here by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// All of a connection must be done by then: who does not read its answer would keep its slot for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits after `accept` failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The state that requests are answered from.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// Unset while the server drains.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) token: Token,
    /// Names by which it may be asked without the token.
    pub(crate) hosts: Vec<String>,
    /// Asks for a reload.
    pub(crate) reload: Box<dyn Fn() + Send + Sync>,
    /// Takes a member of pools out of service, or puts it back; none if no pool has it.
    pub(crate) drain: Box<dyn Fn(IpAddr, bool) -> Option<()> + Send + Sync>,
}

/// The listener's task.
pub(crate) struct Running {
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Answers until it is stopped.
pub(crate) fn run(listener: TcpListener, admin: Admin) -> Running {
    let end = CancellationToken::new();
    let task = tokio::spawn(serve(listener, admin, end.clone()));
    Running { end, task }
}

impl Running {
    /// Ends it, as the last of a server: until then `/readyz` tells whoever asks that the server goes.
    pub(crate) async fn stop(self) {
        self.end.cancel();
        if self.task.await.is_err() {
            tracing::error!("the admin listener panicked");
        }
    }
}

async fn serve(listener: TcpListener, admin: Admin, end: CancellationToken) {
    let admin = Arc::new(admin);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let exposed = listener.local_addr().map_or(true, |address| !address.ip().is_loopback());
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&slots).try_acquire_owned()) {
            (Ok((stream, _)), Ok(slot)) => {
                let admin = Arc::clone(&admin);
                tokio::spawn(async move {
                    converse(stream, &admin, exposed).await;
                    drop(slot);
                });
            }
            // No slot is free: the connection is closed at once.
            (Ok(_), Err(_)) => {}
            (Err(_), _) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One request: a scraper that comes every few seconds can connect as often, and nobody keeps a slot for longer.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, admin: &Arc<Admin>, exposed: bool) {
    let service = service_fn(|request| {
        let admin = Arc::clone(admin);
        // The documents of a hundred thousand zones take longer than the others on a worker may wait.
        let response = spawn_blocking(move || respond(&admin, exposed, &request));
        async move { Ok::<_, Infallible>(response.await.unwrap_or_else(|_| text(FELL.0, FELL.1))) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection was not done after {CONNECTION_TIMEOUT:?}"),
    }
}

fn respond<B>(admin: &Admin, exposed: bool, request: &Request<B>) -> Response<Full<Bytes>> {
    if !is_ours(request.headers().get(HOST), &admin.hosts) && !is_authorized(admin, request) {
        return text(StatusCode::MISDIRECTED_REQUEST, FOREIGN_HOST);
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), is_read) {
        ("/healthz", true) => text(StatusCode::OK, "ok\n"),
        ("/readyz", true) => readiness(admin, !exposed || is_authorized(admin, request)),
        ("/metrics" | "/status", true) if exposed && !is_authorized(admin, request) => unauthorized(),
        ("/status", true) => status(admin),
        ("/metrics", true) => metrics(admin, request),
        ("/reload", _) if *request.method() != Method::POST => not_allowed("POST"),
        ("/reload", _) if !is_authorized(admin, request) => unauthorized(),
        ("/reload", _) => {
            (admin.reload)();
            text(StatusCode::ACCEPTED, "reloading; see the log\n")
        }
        ("/drain" | "/undrain", _) if *request.method() != Method::POST => not_allowed("POST"),
        ("/drain" | "/undrain", _) if !is_authorized(admin, request) => unauthorized(),
        (path @ ("/drain" | "/undrain"), _) => drain(admin, path == "/drain", request.uri().query()),
        ("/healthz" | "/readyz" | "/metrics" | "/status", false) => not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, ALL_PATHS),
    }
}

const ALL_PATHS: &str =
    "there are /metrics, /status, /healthz, /readyz, POST /reload, /drain?address=… and /undrain?address=…\n";

/// Takes a member of pools out of service, or puts it back.
fn drain(admin: &Admin, is_out: bool, query: Option<&str>) -> Response<Full<Bytes>> {
    let address = query.and_then(|query| query.strip_prefix("address="));
    let Some(address) = address.and_then(|text| text.parse().ok()) else {
        return text(StatusCode::BAD_REQUEST, "name a member: ?address=192.0.2.1\n");
    };
    match (admin.drain)(address, is_out) {
        Some(()) => text(StatusCode::OK, if is_out { "drained\n" } else { "back in service\n" }),
        None => text(StatusCode::NOT_FOUND, format!("no pool has the member {address}\n")),
    }
}

/// Whether a request's host can be meant. By a name of its own, any web page can point a browser at this listener and
/// read the answer (DNS rebinding); an address and `localhost` are nobody's, and browsers always send a host.
fn is_ours(host: Option<&HeaderValue>, hosts: &[String]) -> bool {
    let Some(host) = host else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

const FELL: (StatusCode, &str) =
    (StatusCode::INTERNAL_SERVER_ERROR, "answering panicked; please report this as a bug of verge-dns\n");

const FOREIGN_HOST: &str =
    "ask by an IP address or localhost, add this name to `admin.hosts`, or send the token\n";

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

fn is_authorized<B>(admin: &Admin, request: &Request<B>) -> bool {
    let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    shown.and_then(|shown| shown.strip_prefix(b"Bearer ")).is_some_and(|shown| admin.token.matches(shown))
}

fn metrics<B>(admin: &Admin, request: &Request<B>) -> Response<Full<Bytes>> {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let format = Format::accepted(accept);
    Response::builder()
        .header(CONTENT_TYPE, format.media_type())
        .header(VARY, "Accept")
        .body(Full::from(admin.metrics.encode(format)))
        .expect("a fixed header is valid")
}

fn status(admin: &Admin) -> Response<Full<Bytes>> {
    let mut document =
        serde_json::to_vec_pretty(&admin.metrics.status()).expect("documents hold only texts and numbers");
    document.push(b'\n');
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(document))
        .expect("a fixed header is valid")
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response =
        text(StatusCode::UNAUTHORIZED, "send the token of `admin.token_file`: Authorization: Bearer …\n");
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(hyper::header::WWW_AUTHENTICATE, scheme);
    response
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::new(body.into()))
        .expect("a fixed header is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::metrics::{LoadResult, Served, ServedZone};

    fn admin(ready: bool) -> Admin {
        Admin {
            metrics: Arc::default(),
            ready: Arc::new(AtomicBool::new(ready)),
            token: Token("secret".into()),
            hosts: vec!["ns1.example".to_owned()],
            reload: Box::new(|| {}),
            drain: Box::new(|address, _| address.is_ipv4().then_some(())),
        }
    }

    #[test]
    fn what_changes_something_needs_the_token() {
        for (method, path, token, exposed, expected) in [
            ("GET", "/healthz", None, true, 200),
            ("HEAD", "/readyz", None, false, 503),
            ("GET", "/metrics", None, false, 200),
            ("GET", "/metrics", None, true, 401),
            ("GET", "/metrics", Some("Bearer secret"), true, 200),
            ("POST", "/metrics", None, false, 405),
            ("GET", "/status", None, false, 200),
            ("GET", "/status", None, true, 401),
            ("GET", "/status", Some("Bearer secret"), true, 200),
            ("POST", "/status", Some("Bearer secret"), true, 405),
            ("GET", "/reload", Some("Bearer secret"), false, 405),
            ("POST", "/reload", None, false, 401),
            ("POST", "/reload", Some("Bearer secreT"), false, 401),
            ("POST", "/reload", Some("Bearer secre"), false, 401),
            ("POST", "/reload", Some("secret"), false, 401),
            ("POST", "/reload", Some("Bearer secret"), true, 202),
            ("GET", "/drain?address=192.0.2.1", Some("Bearer secret"), false, 405),
            ("POST", "/drain?address=192.0.2.1", None, false, 401),
            ("POST", "/undrain?address=192.0.2.1", None, false, 401),
            ("POST", "/drain?address=192.0.2.1", Some("Bearer secret"), true, 200),
            ("POST", "/undrain?address=192.0.2.1", Some("Bearer secret"), true, 200),
            ("POST", "/drain?address=2001:db8::1", Some("Bearer secret"), true, 404),
            ("POST", "/drain?address=www", Some("Bearer secret"), true, 400),
            ("POST", "/drain", Some("Bearer secret"), true, 400),
            ("GET", "/", None, false, 404),
        ] {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, token);
            }
            let response = respond(&admin(true), exposed, &request.body(()).unwrap());
            assert_eq!(response.status(), expected, "{method} {path} {token:?} exposed: {exposed}");
        }
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused_without_the_token() {
        for (host, token, expected) in [
            (Some("127.0.0.1:9300"), false, 200),
            (Some("[::1]:9300"), false, 200),
            (Some("192.0.2.1"), false, 200),
            (Some("LOCALHOST:1"), false, 200),
            (Some("NS1.example:9300"), false, 200),
            (Some("evil.example"), false, 421),
            (Some("127.0.0.1.evil.example:9300"), false, 421),
            (Some("localhost.evil.example"), false, 421),
            (Some("[::1"), false, 421),
            (Some(""), false, 421),
            (Some("evil.example"), true, 200),
            (None, false, 200),
        ] {
            let mut request = Request::get("/metrics");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            if token {
                request = request.header(AUTHORIZATION, "Bearer secret");
            }
            let response = respond(&admin(true), false, &request.body(()).unwrap());
            assert_eq!(response.status(), expected, "{host:?} token: {token}");
        }
    }

    #[test]
    fn a_server_that_drains_is_not_ready_but_healthy() {
        for (path, expected) in [("/readyz", 503), ("/healthz", 200)] {
            let request = Request::get(path).body(()).unwrap();
            assert_eq!(respond(&admin(false), false, &request).status(), expected);
        }
    }

    #[tokio::test]
    async fn a_server_is_ready_when_every_zone_is_served_and_reloading_stands() {
        let served = |states: &[(&str, &'static str)]| Served {
            generation: 1,
            zones: states
                .iter()
                .map(|&(apex, state)| ServedZone {
                    apex: apex.to_owned(),
                    state,
                    serial: None,
                    journal_bytes: 0,
                    undecided: 0,
                })
                .collect(),
        };
        let some = [("a.example.", "current"), ("b.example.", "previous")];
        let broken = [("a.example.", "current"), ("lab.example.", "broken")];
        for (states, fell, exposed, expected) in [
            (&some[..], false, false, "ready\n"),
            (&[], false, false, "no zone is in service; is there a *.zone file in the folder?\n"),
            (&broken, false, false, "never had a good version: lab.example.\n"),
            (&broken, false, true, "zones that never had a good version: 1\n"),
            (&some, true, false, "reloading ended by a fault and has not succeeded since; see the log\n"),
        ] {
            let admin = admin(true);
            admin.metrics.loaded(LoadResult::Good, served(states));
            if fell {
                admin.metrics.reloading_fell();
            }
            let response = respond(&admin, exposed, &Request::get("/readyz").body(()).unwrap());
            assert_eq!(response.status() == StatusCode::OK, expected == "ready\n");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_keeps_no_slot() {
        // A pipe that takes less than an answer.
        let (mut client, server) = tokio::io::duplex(256);
        let admin = Arc::new(admin(true));
        let served = timeout(2 * CONNECTION_TIMEOUT, converse(server, &admin, false));
        let ask = client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (served, asked) = tokio::join!(served, ask);
        served.expect("it ends");
        asked.unwrap();
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"), "it was answered: {}", read.escape_ascii());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_one_request() {
        let (mut client, server) = tokio::io::duplex(4096);
        let admin = Arc::new(admin(true));
        let talk = async {
            client.write_all(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3)).await.unwrap();
            let mut read = String::new();
            client.read_to_string(&mut read).await.unwrap();
            read
        };
        let ((), read) = tokio::join!(converse(server, &admin, false), talk);
        assert_eq!(read.matches("HTTP/1.1 200 OK").count(), 1, "{read}");
        assert!(read.contains("connection: close"), "{read}");
    }
}
