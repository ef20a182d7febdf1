//! A response's body on its way from the origin.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::{BodyError, Coming, Progress};
use crate::clock::monotonic;
use crate::http::range::Part;
use crate::origin::in_flight::InFlight;
use crate::origin::line::Line;
use crate::origin::pool::Pool;

/// A response's body. Read to its end it gives its connection back for the next request.
///
/// In a place of its own: answers are moved often on their way, and this is most of them.
#[derive(Debug)]
pub struct OriginBody(Box<Inner>);

#[derive(Debug)]
struct Inner {
    body: Coming,
    patience: Stall,
    line: Option<Line>,
    /// Until it is dropped the request counts at its origin.
    in_flight: Option<InFlight>,
    /// Where the connection goes when the body has been read; none if it is not to be used again.
    pool: Option<Pool>,
    /// Bytes still to come, where hyper does not count them.
    left: Option<u64>,
    /// Bytes that may still come of a part.
    of_part: Option<u64>,
    at_end: bool,
    /// Of the request's content, if that came from a client beside this.
    upload: Option<Arc<Progress>>,
}

impl OriginBody {
    pub(in crate::origin) fn new(
        body: Coming,
        line: Line,
        pool: Option<Pool>,
        stall_limit: Duration,
    ) -> Self {
        let (patience, line) = (Stall::new(stall_limit), Some(line));
        let (in_flight, left, of_part, upload) = (None, None, None, None);
        let inner = Inner { body, patience, line, pool, in_flight, left, of_part, at_end: false, upload };
        Self(Box::new(inner))
    }

    /// The same, of a request with this content: where its client breaks that off, no origin is to blame.
    pub(in crate::origin) fn beside(mut self, upload: Option<Arc<Progress>>) -> Self {
        self.0.upload = upload;
        self
    }

    /// The same, of a request that counts at its origin as long as this lives.
    pub(in crate::origin) fn counted(mut self, in_flight: Option<InFlight>) -> Self {
        self.0.in_flight = in_flight;
        self
    }

    /// The same, which breaks off then.
    pub(in crate::origin) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.0.patience.deadline = deadline;
        self
    }

    /// The same, as the content of a 206. RFC 9110 §14.4: its `Content-Range` says how many bytes it has. A recipient
    /// would put what is beyond them into a wrong place, so that breaks the body off.
    pub(in crate::origin) fn of_part(mut self, part: Option<Part>) -> Self {
        self.0.of_part = part.map(|part| part.length());
        self
    }

    /// The same, of this length: hyper would read it to the connection's end, which then is not used again.
    pub(in crate::origin) fn of_length(mut self, length: u64) -> Self {
        (self.0.left, self.0.pool) = (Some(length), None);
        self
    }
}

impl Inner {
    /// At most as many bytes as are left; an end before them is not the body's.
    fn cut(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let Some(left) = &mut self.left else { return frame };
        match frame {
            None => Some(Err(BodyError::Short)),
            Some(Ok(frame)) => {
                let mut bytes = frame.into_data().unwrap_or_default();
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
                Some(Ok(Frame::data(bytes)))
            }
            broken => broken,
        }
    }

    /// The frame, if it lies within the part.
    fn within(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let (Some(may_come), Some(Ok(frame))) = (&mut self.of_part, &frame) {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            match may_come.checked_sub(bytes) {
                Some(left) => *may_come = left,
                None => return Some(Err(BodyError::BeyondRange)),
            }
        }
        frame
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self.0;
        if this.left == Some(0) {
            return Poll::Ready(None);
        }
        let frame = ready!(this.patience.poll(&mut this.body, cx));
        this.at_end = frame.is_none();
        let frame = this.cut(frame);
        let frame = this.within(frame);
        if !matches!(frame, Some(Ok(_))) {
            let ended = this.in_flight.take();
            let has_client_broken_off = this.upload.as_ref().is_some_and(|upload| upload.has_broken_off());
            // By its deadline it may have broken off because of a client that reads slowly.
            if frame.is_some() && !this.patience.is_over() && !has_client_broken_off {
                ended.iter().for_each(InFlight::broke_off);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let Inner { left, body, .. } = &*self.0;
        *left == Some(0) || left.is_none() && body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.left.map_or_else(|| self.0.body.size_hint(), SizeHint::with_exact)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A body left unread would be in the way of the next response: dropping the line closes the connection.
        let line = self.line.take().filter(|_| self.at_end || self.body.is_end_stream());
        if let (Some(pool), Some(line)) = (&self.pool, line) {
            pool.put(line);
        }
    }
}

/// How long a body may stand still.
struct Stall {
    limit: Duration,
    /// Of all of the response.
    deadline: Option<Instant>,
    /// Set while a frame is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn new(limit: Duration) -> Self {
        Self { limit, deadline: None, timer: None }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= monotonic())
    }

    fn poll(
        &mut self,
        body: &mut Coming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over() {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame);
        }
        let timer = self.timer.get_or_insert_with(|| {
            let stall = monotonic() + self.limit;
            let end = self.deadline.map_or(stall, |deadline| deadline.min(stall));
            Box::pin(tokio::time::sleep_until(end))
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stall({:?})", self.limit)
    }
}
