//! The operator's HTTP: metrics, health, readiness, purge.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /healthz` | 200 as long as the program runs |
//! | `GET /readyz` | 200, or 503 while draining |
//! | `POST /purge` with `{"url": "…"}` and `Authorization: Bearer TOKEN` | `{"purged": N}` once it is in effect |

mod token;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use token::Token;

use crate::serve::Edge;

/// What to purge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// The URL as clients ask for it.
    pub url: String,
}

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Stored responses that are gone.
    pub purged: usize,
}

/// The listener's task.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    connections: TaskTracker,
}

struct Desk {
    edge: Arc<Edge>,
    token: Token,
}

/// Operators and scrapers; more wait.
const MAX_CONNECTIONS: usize = 64;
/// A purge is one URL.
const MAX_BODY_BYTES: usize = 64 << 10;
/// A scraper that says nothing for so long is gone.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Without file descriptors left, accepting again at once would only burn the CPU.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves until it is stopped.
pub(crate) fn run(listener: TcpListener, token: Token, edge: Arc<Edge>) -> Running {
    let running = Running { stop: CancellationToken::new(), connections: TaskTracker::new() };
    let (stop, connections) = (running.stop.clone(), running.connections.clone());
    let desk = Arc::new(Desk { edge, token });
    running.connections.spawn(async move {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (desk, stop) = (Arc::clone(&desk), stop.clone());
                    connections.spawn(async move {
                        carry(stream, desk, stop).await;
                        drop(permit);
                    });
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

async fn carry(stream: TcpStream, desk: Arc<Desk>, stop: CancellationToken) {
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A request that hangs must not keep the program from ending.
            drop(tokio::time::timeout(Duration::from_secs(1), connection).await);
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => {
                let text = self.edge.metrics.render(&self.edge.store.size());
                typed(StatusCode::OK, "text/plain; version=1.0.0; charset=utf-8", text)
            }
            (&Method::GET, "/healthz") => plain(StatusCode::OK, "alive"),
            (&Method::GET, "/readyz") if self.edge.draining.load(Ordering::Acquire) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "draining")
            }
            (&Method::GET, "/readyz") => plain(StatusCode::OK, "ready"),
            (&Method::POST, "/purge") if !self.token.is_in(request.headers()) => {
                let mut refusal =
                    plain(StatusCode::UNAUTHORIZED, "purge needs `Authorization: Bearer TOKEN`");
                refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refusal
            }
            (&Method::POST, "/purge") => self.purge(request.into_body()).await,
            (_, "/metrics" | "/healthz" | "/readyz" | "/purge") => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics, /healthz, /readyz; POST /purge")
            }
            _ => plain(StatusCode::NOT_FOUND, "GET /metrics, /healthz, /readyz; POST /purge"),
        }
    }

    async fn purge(&self, body: Incoming) -> Response<Full<Bytes>> {
        let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off");
        };
        let asked: PurgeRequest = match serde_json::from_slice(&body.to_bytes()) {
            Ok(asked) => asked,
            Err(error) => {
                return plain(StatusCode::BAD_REQUEST, &format!("write {{\"url\": \"http://…\"}}: {error}"));
            }
        };
        let uri = match asked.url.parse::<Uri>() {
            Ok(uri) if uri.scheme().is_some() && uri.authority().is_some() => uri,
            _ => return plain(StatusCode::BAD_REQUEST, "the url is not absolute: write http://host/path"),
        };
        let Some(purged) = self.edge.purge_url(&uri) else {
            return plain(StatusCode::NOT_FOUND, "no site here has that host");
        };
        tracing::info!(target: "verge_edge::purge", %uri, purged, "purged");
        let text = serde_json::to_string(&Purged { purged }).expect("a number is JSON");
        typed(StatusCode::OK, "application/json", text)
    }
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
