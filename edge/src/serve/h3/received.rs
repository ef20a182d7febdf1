//! The stream of a request as it arrives: its head, and its body as the origin takes it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, SizeHint};
use quinn::{Connection, ReadError, RecvStream, VarInt};
use tokio::sync::mpsc::Sender;

use super::code::Code;
use super::frame::{self, Fault, Frame, Frames, UnreadHeads};
use super::{message, once};
use crate::serve::stream::exchange::Interim;

/// A client's side of a stream.
pub(super) struct Received {
    stream: RecvStream,
    frames: Frames,
    most_head: usize,
    is_at_end: bool,
    /// Bytes that were read ahead of the body.
    first: Option<Bytes>,
    /// The fault that quinn told of behind all that was read.
    fault: Option<Fault>,
}

/// The client's next message part.
pub(super) enum Next {
    Frame(Frame),
    End,
}

/// Bytes that are read at once; a packet has some 1,350.
const READ_BYTES: usize = 8 << 10;

impl Received {
    pub(super) fn new(stream: RecvStream, most_head: usize, unread: &Arc<UnreadHeads>) -> Self {
        let frames = Frames::within(most_head, unread);
        Self { stream, frames, most_head, is_at_end: false, first: None, fault: None }
    }

    /// The next part.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Next::Frame(Frame::Data(first))));
        }
        loop {
            if let Some(frame) = self.frames.read()? {
                return Poll::Ready(Ok(Next::Frame(frame)));
            }
            if self.is_at_end {
                return Poll::Ready(self.frames.end().map(|()| Next::End));
            }
            if let Some(fault) = self.fault.take() {
                return Poll::Ready(Err(fault));
            }
            let mut bytes = [0; READ_BYTES];
            match ready!(self.stream.poll_read(cx, &mut bytes)) {
                Ok(0) => self.is_at_end = true,
                Ok(read) => self.frames.push(&bytes[..read]),
                Err(error) => return Poll::Ready(Err(Fault::Stream(code(&error)))),
            }
        }
    }

    /// All of a request that is a head alone, if all of it is there. Else the stream can be read as if nobody had looked.
    pub(super) fn at_once(&mut self) -> Option<Bytes> {
        let first = self.chunk()?;
        let is_head = frame::head_alone(&first).is_some_and(|section| section.len() <= self.most_head);
        let more = if is_head { self.chunk() } else { None };
        if is_head && more.is_none() && self.is_at_end {
            return Some(first);
        }
        self.unread(&first);
        if let Some(more) = more {
            self.unread(&more);
        }
        None
    }

    /// The bytes that are there now.
    fn chunk(&mut self) -> Option<Bytes> {
        match once(self.stream.read_chunk(READ_BYTES, true)) {
            Poll::Ready(Ok(Some(chunk))) => return Some(chunk.bytes),
            Poll::Ready(Ok(None)) => self.is_at_end = true,
            // It tells of it once.
            Poll::Ready(Err(error)) => self.fault = Some(Fault::Stream(code(&error))),
            Poll::Pending => {}
        }
        None
    }

    /// These bytes, the last that were read, are to be read again.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The field section of the head.
    pub(super) async fn head(&mut self) -> Result<Bytes, Fault> {
        match std::future::poll_fn(|cx| self.poll(cx)).await? {
            Next::Frame(Frame::Head(section)) => Ok(section),
            // The reader of frames lets nothing else stand first.
            Next::Frame(Frame::Data(_)) | Next::End => Err(Fault::Stream(Code::RequestIncomplete)),
        }
    }

    /// Whether there is no body, which only its end tells if there is no length.
    pub(super) async fn is_over(&mut self) -> Result<bool, Fault> {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await? {
                Next::Frame(Frame::Data(bytes)) => {
                    self.first = Some(bytes);
                    return Ok(false);
                }
                Next::Frame(Frame::Head(section)) => self.trailers(&section)?,
                Next::End => return Ok(true),
            }
        }
    }

    /// Trailers are checked, and not passed on: nothing before them announced any.
    fn trailers(&self, section: &[u8]) -> Result<(), Fault> {
        match message::trailers(section, self.most_head) {
            Ok(_) => Ok(()),
            Err(message::Unsound::Broken) => Err(Fault::Connection(Code::DecompressionFailed)),
            Err(_) => Err(Fault::Stream(Code::MessageError)),
        }
    }

    /// No more of it is taken.
    pub(super) fn stop(&mut self, code: Code) {
        // It fails where all has come already, or it was stopped.
        let _ = self.stream.stop(number(code));
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.is_at_end {
            // RFC 9114 §4.1: of a request that is answered no more is wanted.
            self.stop(Code::NoError);
        }
    }
}

fn code(error: &ReadError) -> Code {
    match error {
        ReadError::Reset(_) | ReadError::ConnectionLost(_) => Code::RequestCancelled,
        _ => Code::InternalError,
    }
}

/// As QUIC has it.
pub(super) fn number(code: Code) -> VarInt {
    VarInt::from_u32(code.number())
}

/// A request's body, checked against its length.
pub(super) struct Upload {
    received: Received,
    connection: Connection,
    left: Option<u64>,
    /// Told when the body is asked for, if the client waits for that (RFC 9110 §10.1.1).
    go_on: Option<Sender<Interim>>,
    is_over: bool,
}

impl Upload {
    pub(super) fn new(
        received: Received,
        connection: Connection,
        length: Option<u64>,
        go_on: Option<Sender<Interim>>,
    ) -> Self {
        Self { received, connection, left: length, go_on, is_over: false }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        if let Some(go_on) = self.go_on.take() {
            // Its task is gone only if nobody waits.
            let _ = go_on.try_send(Interim::go_on());
        }
        loop {
            return Poll::Ready(match ready!(self.received.poll(cx))? {
                Next::Frame(Frame::Data(bytes)) => self.count(bytes).map(Some),
                Next::Frame(Frame::Head(section)) => match self.received.trailers(&section) {
                    Ok(()) => continue,
                    Err(fault) => Err(fault),
                },
                // RFC 9114 §4.1.2: a body that is not as long as it was said to be is malformed.
                Next::End if self.left.is_some_and(|left| left > 0) => Err(Fault::Stream(Code::MessageError)),
                Next::End => Ok(None),
            });
        }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, Fault> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or(Fault::Stream(Code::MessageError))?;
        }
        Ok(bytes)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, BrokenOff>>> {
        let upload = self.get_mut();
        if upload.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(upload.next(cx));
        upload.is_over = !matches!(next, Ok(Some(_)));
        Poll::Ready(match next {
            Ok(bytes) => bytes.map(|bytes| Ok(hyper::body::Frame::data(bytes))),
            Err(fault) => {
                match fault {
                    Fault::Connection(code) => upload.connection.close(number(code), b""),
                    Fault::Stream(code) => upload.received.stop(code),
                    Fault::LongHead => upload.received.stop(Code::ExcessiveLoad),
                }
                Some(Err(BrokenOff(fault)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The client broke its body off, or the protocol.
#[derive(Debug)]
pub(super) struct BrokenOff(pub(super) Fault);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client broke its request off ({:?})", self.0)
    }
}

impl Error for BrokenOff {}
