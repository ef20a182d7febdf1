//! A response's body, wherever its bytes come from.

mod filling;
mod rest;
mod stored;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::tunnel::Tunnel;
use super::unpacking::Unpacking;
use crate::flight::log::BrokenOff;
use crate::flight::{Encoded, Reader, Unfinished};
use crate::http::range::{Multipart, Part};
use crate::log::access::Pending;
use crate::metrics::{SiteMetrics, Timed};
use crate::origin::OriginBody;
use crate::origin::body::BodyError;
use crate::store::{Object, Reading, Unread};
use filling::{Filling, From};
pub(super) use rest::Rest;
use stored::{Segment, Stored, Window};

/// A body on its way to a client, counted as it goes.
#[derive(Debug)]
pub struct Body {
    source: Source,
    owed: Option<Owed>,
    /// Its request's line of the access log.
    line: Option<Pending>,
    /// It ends with the body.
    timed: Option<Timed>,
}

/// The bytes of a body that are still to be sent, for as long as their number is known.
#[derive(Debug)]
struct Owed {
    site: SiteMetrics,
    bytes: u64,
}

impl Owed {
    fn new(site: &SiteMetrics, bytes: u64) -> Self {
        if bytes > 0 {
            site.owes(bytes);
        }
        Self { site: site.clone(), bytes }
    }

    /// So many bytes were handed to the connection.
    fn sent(&mut self, bytes: usize) {
        self.site.sent(bytes);
        self.settle(bytes as u64);
    }

    fn settle(&mut self, bytes: u64) {
        let less = self.bytes.min(bytes);
        if less > 0 {
            self.bytes -= less;
            self.site.owes_less(less);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.settle(self.bytes);
    }
}

#[derive(Debug)]
enum Source {
    Empty,
    Whole(Bytes),
    Stored(Stored),
    Filling(Filling),
    Origin(OriginBody),
    /// An origin's body, encoded for this client.
    Encoded(Encoded),
    /// A body whose gzip is taken off.
    Unpacked(Box<(Source, Unpacking)>),
    /// Nothing; another protocol follows the head.
    Tunnel(Option<Box<Tunnel>>),
}

impl Body {
    /// With its request's line of the access log, which ends with it.
    pub(super) fn told_by(&mut self, line: Option<Pending>) {
        self.line = line;
    }

    /// With the time of its answer, which ends with it.
    pub(super) fn timed_by(&mut self, timed: Option<Timed>) {
        self.timed = timed;
    }

    /// None.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Source::Empty, None)
    }

    /// A few bytes of our own.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::new(Source::Whole(bytes.into()), None)
    }

    /// A stored object, compressed for a client that has another.
    pub(super) fn short(bytes: Bytes, site: &SiteMetrics) -> Self {
        Self::new(Source::Whole(bytes), Some(site))
    }

    /// All of a stored object.
    pub(super) fn stored(object: Arc<Object>, site: &SiteMetrics) -> Self {
        let all = Segment::window(0, object.body.bytes());
        Self::segments(object, [all].into(), Some(site))
    }

    /// All of a stored object, which is counted as sent already.
    pub(super) fn counted(object: Arc<Object>) -> Self {
        let all = Segment::window(0, object.body.bytes());
        Self::segments(object, [all].into(), None)
    }

    /// One range of a stored object.
    pub(super) fn part(object: Arc<Object>, part: &Part, site: &SiteMetrics) -> Self {
        let window = Segment::window(object.entry.offset_in_body(part), part.length());
        Self::segments(object, [window].into(), Some(site))
    }

    /// Several ranges of a stored object, each behind its head.
    pub(super) fn parts(object: Arc<Object>, plan: Multipart, site: &SiteMetrics) -> Self {
        let pieces = plan.pieces.into_iter();
        let mut segments: VecDeque<_> = pieces
            .flat_map(|piece| {
                let first = object.entry.offset_in_body(&piece.part);
                let window = Segment::window(first, piece.part.length());
                [Segment::Own(piece.head.into()), window]
            })
            .collect();
        segments.push_back(Segment::Own(plan.end.into()));
        Self::segments(object, segments, Some(site))
    }

    fn segments(object: Arc<Object>, segments: VecDeque<Segment>, site: Option<&SiteMetrics>) -> Self {
        let left = segments.iter().map(Segment::bytes).sum();
        let (file, object) = (object.body.reader(), Reading::new(object));
        Self::new(Source::Stored(Stored { object, segments, left, file, rest: None }), site)
    }

    /// `length` bytes of a fill from `first` on; to its end if there is no length.
    pub(super) fn filling(reader: Reader, first: u64, length: Option<u64>, site: &SiteMetrics) -> Self {
        let mut reader = reader;
        let skip = if reader.skip_to(first) { 0 } else { first };
        let window = Window { skip, left: length.unwrap_or(u64::MAX) };
        let (from, sized) = (From::Fill(reader), length.is_some());
        let source = Source::Filling(Filling { from, window, sized, at: first, rest: None });
        Self::new(source, Some(site))
    }

    /// The rest of it is to be had there, if it lies in a file that cannot be read.
    #[must_use]
    pub(super) fn or_from(mut self, elsewhere: Option<Rest>) -> Self {
        match &mut self.source {
            Source::Stored(stored) => stored.rest = elsewhere,
            Source::Filling(filling) => filling.rest = elsewhere,
            _ => {}
        }
        self
    }

    /// Reads the first bytes of it, if it lies in a file; false if they cannot be read. Where its head was not sent yet, it is
    /// as if it had not been stored.
    pub(super) async fn begins(&mut self) -> bool {
        match &mut self.source {
            Source::Stored(stored) => stored.begins().await,
            Source::Unpacked(unpacked) => match &mut unpacked.0 {
                Source::Stored(stored) => stored.begins().await,
                _ => true,
            },
            _ => true,
        }
    }

    /// An origin's body, unstored.
    pub(super) fn origin(body: OriginBody, site: &SiteMetrics) -> Self {
        Self::new(Source::Origin(body), Some(site))
    }

    /// An origin's body, unstored, encoded for its client.
    pub(super) fn encoded(body: Encoded, site: &SiteMetrics) -> Self {
        Self::new(Source::Encoded(body), Some(site))
    }

    /// The same without its gzip. One that has no bytes stays as it is.
    #[must_use]
    pub(super) fn unpacked(self) -> Self {
        if self.is_end_stream() {
            return self;
        }
        let Self { source, mut owed, line, timed } = self;
        // Nobody knows how many it will be.
        owed.iter_mut().for_each(|owed| owed.settle(u64::MAX));
        Self { source: Source::Unpacked(Box::new((source, Unpacking::new()))), owed, line, timed }
    }

    /// None: what follows the head is no body.
    pub(super) fn tunnel(tunnel: Tunnel) -> Self {
        Self::new(Source::Tunnel(Some(Box::new(tunnel))), None)
    }

    /// The tunnel that follows the head, if it is another protocol.
    pub(super) fn take_tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.source {
            Source::Tunnel(tunnel) => {
                // The tunnel is no part of the answer, whose head is its end.
                self.timed = None;
                tunnel.take().map(|tunnel| *tunnel)
            }
            _ => None,
        }
    }

    /// Whether another protocol follows the head.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(&self.source, Source::Tunnel(Some(_)))
    }

    fn new(source: Source, site: Option<&SiteMetrics>) -> Self {
        let mut body = Self { source, owed: None, line: None, timed: None };
        body.owed = site.map(|site| Owed::new(site, body.size_hint().exact().unwrap_or(0)));
        body
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let Self { source, owed, line, .. } = self.get_mut();
        let frame = ready!(source.poll(cx, owed.as_ref().map(|owed| &owed.site)));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if let Some(line) = line {
            line.sent(bytes);
            if matches!(frame, Some(Err(_))) {
                line.cut();
            }
        }
        if let (Some(owed), Some(Ok(_))) = (owed, &frame) {
            owed.sent(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty | Source::Tunnel(_) => true,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Stored(stored) => stored.left == 0,
            Source::Filling(filling) => filling.window.left == 0,
            Source::Origin(body) => body.is_end_stream(),
            Source::Encoded(_) | Source::Unpacked(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty | Source::Tunnel(_) => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stored(stored) => SizeHint::with_exact(stored.left),
            Source::Filling(filling) if filling.sized => SizeHint::with_exact(filling.window.left),
            Source::Filling(_) | Source::Encoded(_) | Source::Unpacked(_) => SizeHint::default(),
            Source::Origin(body) => body.size_hint(),
        }
    }
}

impl Source {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        site: Option<&SiteMetrics>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        match self {
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stored(stored) => stored.poll_next(cx).map(|next| next.map(|piece| piece.map(Frame::data))),
            Self::Filling(filling) => filling.poll(cx),
            Self::Origin(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let (Some(site), Some(Ok(frame))) = (site, &frame) {
                    site.fetched(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(SendError::Origin)))
            }
            Self::Encoded(body) => {
                let piece = ready!(body.poll_next(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(SendError::Coding)))
            }
            Self::Unpacked(packed) => {
                let (source, unpacking) = &mut **packed;
                loop {
                    if let Some(bytes) = unpacking.next().map_err(SendError::Coding).transpose() {
                        return Poll::Ready(Some(bytes.map(Frame::data)));
                    }
                    match ready!(source.poll(cx, site)) {
                        Some(Ok(frame)) => unpacking.put(frame.into_data().unwrap_or_default()),
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                        None => {
                            let rest = unpacking.end().map_err(SendError::Coding).transpose();
                            return Poll::Ready(rest.map(|bytes| bytes.map(Frame::data)));
                        }
                    }
                }
            }
        }
    }
}

/// Why a response breaks off; the connection is closed, so that the client sees it is not whole.
#[derive(Debug)]
pub enum SendError {
    /// While it was being stored.
    Fill(BrokenOff),
    /// On its way through.
    Origin(BodyError),
    /// While it was encoded, or its coding was taken off.
    Coding(std::io::Error),
    /// While its file was read.
    File(Unread),
}

impl std::convert::From<Unfinished> for SendError {
    fn from(why: Unfinished) -> Self {
        match why {
            Unfinished::Fill(broken) => Self::Fill(broken),
            Unfinished::File(unread) => Self::File(unread),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fill(error) => error.fmt(f),
            Self::Origin(error) => error.fmt(f),
            Self::Coding(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}
