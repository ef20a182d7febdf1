//! Bodies on their way to and from an origin, each with a limit on standing still.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use tokio::time::Sleep;

use super::pool::Pool;

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// As the client sends it.
    Upload(Upload),
}

/// A client's body, read as the origin takes it.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    patience: Stall,
}

impl RequestBody {
    /// A client's body; it may stand still for `stall_limit`.
    #[must_use]
    pub fn upload(body: Incoming, stall_limit: Duration) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Upload(Upload { body, patience: Stall::new(stall_limit) })
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
            Self::Upload(Upload { body, patience }) => patience.poll(body, cx),
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

/// A response's body. Read to its end it gives its connection back for the next request.
#[derive(Debug)]
pub struct OriginBody {
    body: Incoming,
    patience: Stall,
    sender: Option<SendRequest<RequestBody>>,
    /// Where the connection goes when the body has been read; none if it is not to be used again.
    pool: Option<Pool>,
    at_end: bool,
}

impl OriginBody {
    pub(super) fn new(
        body: Incoming,
        sender: SendRequest<RequestBody>,
        pool: Option<Pool>,
        stall_limit: Duration,
    ) -> Self {
        Self { body, patience: Stall::new(stall_limit), sender: Some(sender), pool, at_end: false }
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
        let frame = ready!(this.patience.poll(&mut this.body, cx));
        this.at_end = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for OriginBody {
    fn drop(&mut self) {
        // A body left unread would be in the way of the next response: dropping the sender closes the connection.
        let sender = self.sender.take().filter(|_| self.at_end || self.body.is_end_stream());
        if let (Some(pool), Some(sender)) = (&self.pool, sender) {
            pool.put(sender);
        }
    }
}

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyError {
    /// Nothing came for too long.
    Stalled,
    /// The connection or its framing.
    Broken(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled => f.write_str("no byte came in time"),
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
