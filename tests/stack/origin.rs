//! A small web server behind the edges. It answers with the demo's page and counts what it was asked for.
//!
//! | path           | answer                                                                  |
//! |----------------|-------------------------------------------------------------------------|
//! | `/`, …         | the files of [`crate::site`]; validators; the edge may keep them        |
//! | `/slow`        | takes a second, then may be kept for ten: shows that an edge asks once  |
//! | `/origin.json` | how often each path was asked for; never kept                           |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::site::{self, Asset};

/// A running origin.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Binds `address` (port 0 for a free one) and answers from then on.
pub async fn start(address: SocketAddr) -> io::Result<Origin> {
    let listener = TcpListener::bind(address).await?;
    let origin = Origin {
        address: listener.local_addr()?,
        state: Arc::default(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let accepting = accept(listener, origin.state.clone(), origin.stop.clone(), origin.tasks.clone());
    origin.tasks.spawn(accepting);
    Ok(origin)
}

impl Origin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often `path` was asked for.
    pub fn asked(&self, path: &str) -> u64 {
        self.state.asked.get(path).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Sets the page's account of its surroundings, name by name. Only the first call counts.
    pub fn tell(&self, surroundings: BTreeMap<&'static str, String>) {
        // A second call is a mistake without consequence: the page goes on to show the first.
        let _ = self.state.surroundings.set(surroundings);
    }

    /// Takes no more connections, lets the open ones end and returns.
    pub async fn drain(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Debug)]
struct State {
    /// Only known paths are counted, so that nobody can make this grow.
    asked: BTreeMap<&'static str, AtomicU64>,
    surroundings: OnceLock<BTreeMap<&'static str, String>>,
    connections: Arc<Semaphore>,
}

impl Default for State {
    fn default() -> Self {
        let paths = site::ASSETS.iter().map(|asset| asset.path).chain([SLOW, COUNTS]);
        Self {
            asked: paths.map(|path| (path, AtomicU64::new(0))).collect(),
            surroundings: OnceLock::new(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let permit = state.connections.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, state.clone(), stop.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Out of descriptors: the connections that we have must end first.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<State>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&request, &state).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the client's business; this origin has nothing to tell about it.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if let Some(count) = state.asked.get(path) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Plain::new(StatusCode::METHOD_NOT_ALLOWED, "this origin answers GET and HEAD\n").with_allow();
    }
    match (path, site::find(path)) {
        (SLOW, _) => slow().await,
        (COUNTS, _) => counts(state),
        (_, Some(asset)) => file(asset, request.headers()),
        (_, None) => Plain::new(StatusCode::NOT_FOUND, "there is no such file at this origin\n").response(),
    }
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let etag = asset.etag();
    let current = headers.get(IF_NONE_MATCH).is_some_and(|known| {
        known.to_str().is_ok_and(|known| {
            known.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
    });
    let (status, body) =
        if current { (StatusCode::NOT_MODIFIED, &[][..]) } else { (StatusCode::OK, asset.body) };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, asset.content_type)
        .header(CACHE_CONTROL, asset.cache_control())
        .header(ETAG, etag)
        .body(Full::new(Bytes::from_static(body)))
        .expect("the parts of an asset are valid header values")
}

async fn slow() -> Response<Full<Bytes>> {
    tokio::time::sleep(SLOW_ANSWER).await;
    let mut response = Plain::new(StatusCode::OK, "that took the origin a second\n").response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, "public, max-age=0, s-maxage=10".parse().expect("it is valid"));
    response
}

fn counts(state: &State) -> Response<Full<Bytes>> {
    let asked: BTreeMap<_, _> =
        state.asked.iter().map(|(path, count)| (path, count.load(Ordering::Relaxed))).collect();
    let text = serde_json::json!({ "asked": asked, "demo": state.surroundings.get() });
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "no-store")
        .body(Full::new(Bytes::from(format!("{text:#}\n"))))
        .expect("the headers are constants")
}

/// An answer in one line of text that no cache keeps, unless it is told to.
struct Plain {
    status: StatusCode,
    text: &'static str,
}

impl Plain {
    fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text }
    }

    fn response(self) -> Response<Full<Bytes>> {
        Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CACHE_CONTROL, "no-store")
            .body(Full::new(Bytes::from_static(self.text.as_bytes())))
            .expect("the headers are constants")
    }

    fn with_allow(self) -> Response<Full<Bytes>> {
        let mut response = self.response();
        response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("it is valid"));
        response
    }
}

const SLOW: &str = "/slow";
const COUNTS: &str = "/origin.json";
/// Long enough to start twenty clients by hand.
const SLOW_ANSWER: Duration = Duration::from_secs(1);
/// A demo on one machine; an edge keeps far fewer open.
const MAX_CONNECTIONS: usize = 1024;
/// Also how long an idle connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts to accept when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
