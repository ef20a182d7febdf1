//! A connection to an origin, for one request: its own with HTTP/1.1, a share of one with HTTP/2.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::body::RequestBody;
use super::stream::Stream;
use super::wire::{Heard, Wire};
use crate::clock::monotonic;
use crate::policy::headers::status::ProxyError;

/// A connection, or a share of one.
#[derive(Debug)]
pub(super) enum Line {
    /// HTTP/1.1: nothing else is sent on it meanwhile.
    Own { sender: http1::SendRequest<RequestBody>, heard: Heard, made: Instant },
    /// HTTP/2.
    Shared(Share),
}

/// One stream of a connection with HTTP/2.
#[derive(Debug)]
pub(super) struct Share {
    connection: Http2,
}

/// A connection with HTTP/2; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    used: Arc<Used>,
}

#[derive(Debug)]
struct Used {
    streams: AtomicUsize,
    last: Mutex<Instant>,
}

/// Fields in a response's head; real ones have some tens.
const MAX_FIELDS: usize = 256;
/// hyper's read buffer, which a response's head must fit in.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Servers commonly allow 100 or more streams at once; RFC 9113 §6.5.2 asks them for no less.
const MAX_STREAMS: usize = 100;
/// Of one response, unread.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Of all responses on a connection, unread.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// An origin that is gone without a word is found out after these two, while requests wait.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

impl Line {
    /// Begins HTTP/1.1 on a new connection.
    pub(super) async fn own(stream: Stream, title_case: bool) -> Result<Self, ProxyError> {
        let heard = Heard::default();
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD_BYTES)
            .title_case_headers(title_case)
            // RFC 9112 §5.1: a proxy removes it. `wire` refuses it where it could move the response's end.
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(Wire::new(stream, heard.clone())))
            .await
            .map_err(|_| ProxyError::ConnectionTerminated)?;
        // An error that ends the connection also ends the exchange on it, which reports it.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(Self::Own { sender, heard, made: monotonic() })
    }

    /// Whether the origin has closed it.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Own { sender, .. } => sender.is_closed(),
            Self::Shared(share) => share.connection.sender.is_closed(),
        }
    }

    /// When it was made; none if others use it, too.
    pub(super) fn made(&self) -> Option<Instant> {
        match self {
            Self::Own { made, .. } => Some(*made),
            Self::Shared(_) => None,
        }
    }

    /// Whether a request may be sent now.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Own { sender, .. } => sender.is_ready(),
            Self::Shared(share) => share.connection.sender.is_ready(),
        }
    }

    /// Whether others use it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// The bytes that came on it so far, where they are counted.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Own { heard, .. } => heard.bytes(),
            Self::Shared(_) => 0,
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<hyper::Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Own { sender, heard, .. } => {
                heard.expect_head();
                sender.try_send_request(request).await
            }
            Self::Shared(share) => share.connection.sender.try_send_request(request).await,
        }
    }
}

impl Http2 {
    /// Begins HTTP/2 on a new connection.
    pub(super) async fn new(stream: Stream) -> Result<Self, ProxyError> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).expect("it is a constant"))
            .max_send_buf_size(MAX_HEAD_BYTES)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_LIMIT)
            .handshake(TokioIo::new(Wire::new(stream, Heard::default())))
            .await
            .map_err(|_| ProxyError::ConnectionTerminated)?;
        tokio::spawn(async move { drop(connection.await) });
        let used = Used { streams: AtomicUsize::new(0), last: Mutex::new(monotonic()) };
        Ok(Self { sender, used: Arc::new(used) })
    }

    /// A stream of its own; none if the connection has enough.
    pub(super) fn share(&self) -> Option<Line> {
        let more = |streams| (streams < MAX_STREAMS).then_some(streams + 1);
        self.used.streams.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Line::Shared(Share { connection: self.clone() }))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// When it was used last; none if it is in use.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.used.streams.load(Ordering::Acquire) == 0;
        is_idle.then(|| *self.used.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.connection.used.last.lock().unwrap_or_else(PoisonError::into_inner) = monotonic();
        self.connection.used.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
