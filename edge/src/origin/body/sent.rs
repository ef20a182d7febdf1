//! A request's body on its way to the origin.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};

use super::held::{Gathering, Held};
use super::turn::{GoAhead, Turn};
use super::{BodyError, Cause};
use crate::metrics::{Metrics, SiteMetrics};
use crate::store::Share;
use crate::watch::Watch;

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// All of it is here.
    Held(Held, Whether),
    /// As the client sends it.
    Upload(Box<Upload>),
}

/// Whether content that is here was given to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whether {
    /// It is still to be sent.
    Unsent,
    /// It was.
    Sent,
}

/// Content that was waited for.
#[derive(Debug)]
pub enum Gathered {
    /// All of it is here, or there is none.
    Whole(RequestBody),
    /// It is longer than what may be held, or takes too long: it goes on as it comes.
    Coming(RequestBody),
}

/// A client's body, read as the origin takes it.
#[derive(Debug)]
pub struct Upload {
    body: UnsyncBoxBody<Bytes, Cause>,
    watch: Watch,
    metrics: Metrics,
    /// Counts what the client sends, once the site is known.
    site: Option<SiteMetrics>,
    progress: Arc<Progress>,
    limit: Option<Limit>,
    /// The bytes that have come already, which go first.
    before: Option<Held>,
    /// The bytes that were sent to no avail, which go before those.
    again: Option<Bytes>,
    /// Nothing more comes from the client.
    is_over: bool,
    /// It does not begin before the origin says so.
    turn: Option<Turn>,
}

/// How much more of a body may come.
#[derive(Debug)]
struct Limit {
    left: u64,
    exceeded: Exceeded,
}

/// The sign that a body was longer than allowed, for those who answer its request.
#[derive(Debug, Clone, Default)]
pub struct Exceeded(Arc<AtomicBool>);

impl Exceeded {
    /// Whether it was.
    #[must_use]
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An upload's progress, for those waiting for the response: an origin that still reads is not late.
#[derive(Debug, Default)]
pub(in crate::origin) struct Progress {
    moved: AtomicBool,
    awaits_client: AtomicBool,
    is_too_slow: AtomicBool,
    has_ended: AtomicBool,
    has_broken_off: AtomicBool,
}

impl Progress {
    /// Whether all of it was taken from the client.
    pub(in crate::origin) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
        self.awaits_client.store(false, Ordering::Relaxed);
    }

    /// Whether the upload was broken off because its client was too slow.
    pub(in crate::origin) fn is_too_slow(&self) -> bool {
        self.is_too_slow.load(Ordering::Relaxed)
    }

    /// Whether its client did not give it whole, or gave more than it may: then the origin's response breaks off, too.
    pub(in crate::origin) fn has_broken_off(&self) -> bool {
        self.has_broken_off.load(Ordering::Relaxed)
    }

    /// Whether the origin has taken all that has come of it, and more is to come.
    pub(in crate::origin) fn awaits_client(&self) -> bool {
        self.awaits_client.load(Ordering::Relaxed)
    }

    /// Whether the origin is not to blame for the time since it was last asked; [`crate::pace`] ends a client's delay.
    pub(in crate::origin) fn excuses_origin(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed) || self.awaits_client()
    }
}

impl RequestBody {
    /// A client's body, which comes as fast as `watch` asks.
    #[must_use]
    pub fn upload<B>(body: B, watch: Watch, metrics: &Metrics) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Cause>,
    {
        if body.is_end_stream() {
            Self::Empty
        } else {
            let (metrics, progress) = (metrics.clone(), Arc::default());
            let body = body.map_err(Into::into).boxed_unsync();
            Self::Upload(Box::new(Upload {
                body,
                watch,
                metrics,
                site: None,
                progress,
                limit: None,
                before: None,
                again: None,
                is_over: false,
                turn: None,
            }))
        }
    }

    /// From now on this site's metrics count what comes of it.
    pub(crate) fn of_site(&mut self, site: &SiteMetrics) {
        if let Self::Upload(upload) = self {
            upload.site = Some(site.clone());
        }
    }

    /// The same body, broken off where it turns out to be longer than this many bytes; none if it says so itself.
    #[must_use]
    pub fn limited(mut self, most: u64) -> Option<(Self, Exceeded)> {
        let exceeded = Exceeded::default();
        if let Self::Upload(upload) = &mut self {
            if upload.body.size_hint().lower() > most {
                return None;
            }
            upload.limit = Some(Limit { left: most, exceeded: exceeded.clone() });
        }
        Some((self, exceeded))
    }

    /// Content that is here.
    #[must_use]
    pub fn held(content: Held) -> Self {
        if content.bytes().is_empty() { Self::Empty } else { Self::Held(content, Whether::Unsent) }
    }

    /// Waits for all of it, until so many bytes have come, the memory of `share` is used up, or `late` is ready.
    ///
    /// # Errors
    /// When it breaks off.
    pub async fn gathered(
        self,
        most: u64,
        share: Share,
        late: impl Future<Output = ()>,
    ) -> Result<Gathered, BodyError> {
        let Self::Upload(mut upload) = self else { return Ok(Gathered::Whole(self)) };
        if most == 0 || upload.body.size_hint().lower() > most {
            return Ok(Gathered::Coming(Self::Upload(upload)));
        }
        let mut gathering = Gathering::new(most, share);
        let mut late = pin!(late);
        loop {
            let frame = tokio::select! {
                biased;
                frame = poll_fn(|cx| upload.poll(cx)) => frame,
                () = &mut late => break,
            };
            let Some(frame) = frame else { return Ok(Gathered::Whole(Self::held(gathering.end()))) };
            let data = frame?.into_data().unwrap_or_default();
            if !gathering.take(&data) {
                break;
            }
        }
        upload.before = Some(gathering.end());
        Ok(Gathered::Coming(Self::Upload(upload)))
    }

    /// Lets it begin when the origin says so, or a second has passed (RFC 9110 §10.1.1). None if nothing would wait.
    pub(in crate::origin) fn wait_for_go_ahead(&mut self) -> Option<GoAhead> {
        let Self::Upload(upload) = self else { return None };
        let (turn, go_ahead) = Turn::new();
        upload.turn = Some(turn);
        Some(go_ahead)
    }

    /// The same again, if it has no byte that is gone once it is sent.
    pub(in crate::origin) fn copy(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Held(content, _) => Some(Self::Held(content.clone(), Whether::Unsent)),
            Self::Upload(_) => None,
        }
    }

    /// Begins anew: `taken` is all that was read of it so far, and nobody has that any more.
    pub(in crate::origin) fn begin_again(&mut self, taken: Bytes) {
        match self {
            Self::Empty => {}
            Self::Held(_, whether) => *whether = Whether::Unsent,
            Self::Upload(upload) => {
                upload.again = Some(taken).filter(|taken| !taken.is_empty());
                upload.progress.has_ended.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Its progress while it is sent.
    pub(in crate::origin) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty | Self::Held(..) => None,
            Self::Upload(upload) => Some(Arc::clone(&upload.progress)),
        }
    }

    /// Whether it has no byte.
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
            Self::Empty | Self::Held(_, Whether::Sent) => Poll::Ready(None),
            Self::Held(content, whether) => {
                *whether = Whether::Sent;
                Poll::Ready(Some(Ok(Frame::data(content.bytes().clone()))))
            }
            Self::Upload(upload) => upload.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Held(_, Whether::Sent) => true,
            Self::Held(..) => false,
            Self::Upload(upload) => {
                let is_over = upload.is_over || upload.body.is_end_stream();
                is_over && upload.before.is_none() && upload.again.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Held(_, Whether::Sent) => SizeHint::with_exact(0),
            Self::Held(content, _) => SizeHint::with_exact(content.bytes().len() as u64),
            Self::Upload(upload) => {
                let before = upload.before.as_ref().map_or(0, |before| before.bytes().len() as u64);
                let before = before + upload.again.as_ref().map_or(0, |again| again.len() as u64);
                match upload.body.size_hint().exact() {
                    Some(left) => SizeHint::with_exact(before + left),
                    None => SizeHint::default(),
                }
            }
        }
    }
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(turn) = &mut self.turn {
            ready!(turn.poll(cx));
            self.turn = None;
        }
        if let Some(again) = self.again.take() {
            self.progress.has_ended.store(self.is_over, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before.bytes().clone()))));
        }
        if self.is_over {
            self.progress.has_ended.store(true, Ordering::Relaxed);
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Ready(_) => self.progress.moved(),
            Poll::Pending => self.progress.awaits_client.store(true, Ordering::Relaxed),
        }
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.is_over = true;
            self.progress.has_ended.store(true, Ordering::Relaxed);
        }
        let bytes = |frame: &Option<Result<Frame<Bytes>, Cause>>| match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        let frame = match ready!(self.watch.judge(cx, polled, bytes)) {
            Ok(frame) => frame.map(|frame| self.within(frame.map_err(BodyError::Client)?)),
            Err(slow) => {
                self.progress.is_too_slow.store(true, Ordering::Relaxed);
                self.metrics.client_dropped(slow.as_str());
                Some(Err(BodyError::Slow(slow)))
            }
        };
        if matches!(frame, Some(Err(_))) {
            self.progress.has_broken_off.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }
}

impl Upload {
    /// The frame, if it is still within the limit. It counts as received in any case.
    fn within(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if let Some(site) = &self.site {
            site.received(bytes);
        }
        let Some(limit) = &mut self.limit else { return Ok(frame) };
        match limit.left.checked_sub(bytes as u64) {
            Some(left) => {
                limit.left = left;
                Ok(frame)
            }
            None => {
                limit.exceeded.0.store(true, Ordering::Relaxed);
                Err(BodyError::TooLong)
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.moved();
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
