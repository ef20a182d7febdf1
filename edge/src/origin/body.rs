//! Bodies on their way to and from an origin, each with a limit on standing still.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::pool::{Line, Pool};
use crate::metrics::Metrics;
use crate::pace::Slow;
use crate::watch::Watch;

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// As the client sends it.
    Upload(Box<Upload>),
}

/// A client's body, read as the origin takes it.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    watch: Watch,
    metrics: Metrics,
    progress: Arc<Progress>,
}

/// An upload's progress, for those waiting for the response: an origin that still reads is not late.
#[derive(Debug, Default)]
pub(super) struct Progress {
    moved: AtomicBool,
    awaits_client: AtomicBool,
    is_too_slow: AtomicBool,
}

impl Progress {
    fn moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
        self.awaits_client.store(false, Ordering::Relaxed);
    }

    /// Whether the upload was broken off because its client was too slow.
    pub(super) fn is_too_slow(&self) -> bool {
        self.is_too_slow.load(Ordering::Relaxed)
    }

    /// Whether the origin is not to blame for the time since it was last asked; [`crate::pace`] ends a client's delay.
    pub(super) fn excuses_origin(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed) || self.awaits_client.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    /// A client's body, which comes as fast as `watch` asks.
    #[must_use]
    pub fn upload(body: Incoming, watch: Watch, metrics: &Metrics) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            let (metrics, progress) = (metrics.clone(), Arc::default());
            Self::Upload(Box::new(Upload { body, watch, metrics, progress }))
        }
    }

    /// Its progress while it is sent.
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Upload(upload) => Some(Arc::clone(&upload.progress)),
        }
    }

    /// Whether it has no byte, so that it can be sent again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Upload(upload) => upload.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upload(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Upload(upload) => upload.body.size_hint(),
        }
    }
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Ready(_) => self.progress.moved(),
            Poll::Pending => self.progress.awaits_client.store(true, Ordering::Relaxed),
        }
        let bytes = |frame: &Option<hyper::Result<Frame<Bytes>>>| match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        Poll::Ready(match ready!(self.watch.judge(cx, polled, bytes)) {
            Ok(frame) => frame.map(|frame| frame.map_err(BodyError::Broken)),
            Err(slow) => {
                self.progress.is_too_slow.store(true, Ordering::Relaxed);
                self.metrics.client_dropped(slow.as_str());
                Some(Err(BodyError::Slow(slow)))
            }
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.moved();
    }
}

/// A response's body. Read to its end it gives its connection back for the next request.
#[derive(Debug)]
pub struct OriginBody {
    body: Incoming,
    patience: Stall,
    line: Option<Line>,
    /// Where the connection goes when the body has been read; none if it is not to be used again.
    pool: Option<Pool>,
    /// Octets still to come, where hyper does not count them.
    left: Option<u64>,
    at_end: bool,
}

impl OriginBody {
    pub(super) fn new(body: Incoming, line: Line, pool: Option<Pool>, stall_limit: Duration) -> Self {
        Self { body, patience: Stall::new(stall_limit), line: Some(line), pool, left: None, at_end: false }
    }

    /// The same, of this length: hyper would read it to the connection's end, which then is not used again.
    pub(super) fn of_length(mut self, length: u64) -> Self {
        (self.left, self.pool) = (Some(length), None);
        self
    }

    /// At most as many octets as are left; an end before them is not the body's.
    fn cut(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let Some(left) = &mut self.left else { return frame };
        match frame {
            None => Some(Err(BodyError::Short)),
            Some(Ok(frame)) => {
                let mut octets = frame.into_data().unwrap_or_default();
                octets.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= octets.len() as u64;
                Some(Ok(Frame::data(octets)))
            }
            broken => broken,
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.left == Some(0) {
            return Poll::Ready(None);
        }
        let frame = ready!(this.patience.poll(&mut this.body, cx));
        this.at_end = frame.is_none();
        Poll::Ready(this.cut(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || self.left.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}

impl Drop for OriginBody {
    fn drop(&mut self) {
        // A body left unread would be in the way of the next response: dropping the line closes the connection.
        let line = self.line.take().filter(|_| self.at_end || self.body.is_end_stream());
        if let (Some(pool), Some(line)) = (&self.pool, line) {
            pool.put(line);
        }
    }
}

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyError {
    /// Nothing came for too long from the origin.
    Stalled,
    /// The connection ended before the length was reached.
    Short,
    /// Too little came from the client.
    Slow(Slow),
    /// The connection or its framing.
    Broken(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("no byte came in time"),
            Self::Short => f.write_str("the connection ended before the body did"),
            Self::Slow(slow) => slow.fmt(f),
            Self::Broken(error) => write!(f, "the body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

/// How long a body may stand still.
struct Stall {
    limit: Duration,
    /// Set while a frame is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    fn poll(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stall({:?})", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_excused_while_a_body_moves_or_its_client_is_waited_for() {
        let progress = Progress::default();
        assert!(!progress.excuses_origin(), "nothing has happened");
        progress.moved();
        assert!(progress.excuses_origin());
        assert!(!progress.excuses_origin(), "once for what moved");
        progress.awaits_client.store(true, Ordering::Relaxed);
        assert!(progress.excuses_origin() && progress.excuses_origin());
        progress.moved();
        assert!(progress.excuses_origin() && !progress.excuses_origin());
    }
}
