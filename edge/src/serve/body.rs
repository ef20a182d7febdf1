//! A response's body, wherever its bytes come from.

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
use crate::store::{FileReader, Gone, Object, Reading, Unread};

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

/// Bytes of an object and of our own, one segment after another.
#[derive(Debug)]
struct Stored {
    object: Reading,
    segments: VecDeque<Segment>,
    left: u64,
    /// For a body that lies in a file.
    file: Option<FileReader>,
}

#[derive(Debug)]
enum Segment {
    /// The bytes between two parts.
    Own(Bytes),
    /// A window on the object's body from this piece on.
    Object { piece: usize, window: Window },
}

/// Bytes of a fill, from one offset to another.
#[derive(Debug)]
struct Filling {
    reader: Reader,
    window: Window,
    /// Whether the length is known, so that the client is told.
    sized: bool,
}

/// The bytes still to be left out, then the bytes still to be sent.
#[derive(Debug, Clone, Copy)]
struct Window {
    skip: u64,
    left: u64,
}

impl Window {
    fn cut(&mut self, piece: &Bytes) -> Bytes {
        let skip = self.skip.min(piece.len() as u64);
        self.skip -= skip;
        let take = self.left.min(piece.len() as u64 - skip);
        self.left -= take;
        let (from, to) = (small(skip), small(skip + take));
        piece.slice(from..to)
    }

    /// The next bytes of it in a file, none at its end.
    fn poll_file(
        &mut self,
        file: &mut FileReader,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SendError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let read = ready!(file.poll_at(self.skip, self.skip + self.left, cx)).inspect(|bytes| {
            self.skip += bytes.len() as u64;
            self.left -= bytes.len() as u64;
        });
        Poll::Ready(Some(read.map_err(SendError::File)))
    }
}

fn small(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset into a piece in memory")
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
        Self::new(Source::Stored(Stored { object, segments, left, file }), site)
    }

    /// `length` bytes of a fill from `first` on; to its end if there is no length.
    pub(super) fn filling(reader: Reader, first: u64, length: Option<u64>, site: &SiteMetrics) -> Self {
        let mut reader = reader;
        let skip = if reader.skip_to(first) { 0 } else { first };
        let window = Window { skip, left: length.unwrap_or(u64::MAX) };
        let source = Source::Filling(Filling { reader, window, sized: length.is_some() });
        Self::new(source, Some(site))
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

impl Stored {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SendError>>> {
        loop {
            let Some(segment) = self.segments.front_mut() else { return Poll::Ready(None) };
            let next = match (&mut self.file, segment) {
                (Some(file), Segment::Object { window, .. }) => ready!(window.poll_file(file, cx)),
                (_, segment) => {
                    let gone = |Gone| SendError::Fill(BrokenOff::LetGo);
                    segment.next(&self.object).map(|piece| piece.map_err(gone))
                }
            };
            match next {
                Some(Ok(bytes)) if !bytes.is_empty() => {
                    self.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(_)) | None => drop(self.segments.pop_front()),
            }
        }
    }
}

impl Segment {
    fn window(first: u64, length: u64) -> Self {
        Self::Object { piece: 0, window: Window { skip: first, left: length } }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.len() as u64,
            Self::Object { window, .. } => window.left,
        }
    }

    /// The next bytes of it, none at its end.
    fn next(&mut self, object: &Object) -> Option<Result<Bytes, Gone>> {
        match self {
            Self::Own(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Object { piece, window } => {
                while window.left > 0 {
                    let whole = match object.body.piece(*piece)? {
                        Ok(whole) => whole,
                        Err(gone) => return Some(Err(gone)),
                    };
                    *piece += 1;
                    let bytes = window.cut(&whole);
                    if !bytes.is_empty() {
                        return Some(Ok(bytes));
                    }
                }
                None
            }
        }
    }
}

impl Filling {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        while self.window.left > 0 {
            match ready!(self.reader.poll_next(cx)) {
                None => break,
                Some(Err(why)) => return Poll::Ready(Some(Err(why.into()))),
                Some(Ok(piece)) => {
                    let cut = self.window.cut(&piece);
                    if !cut.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(cut))));
                    }
                }
            }
        }
        Poll::Ready(None)
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

impl From<Unfinished> for SendError {
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
