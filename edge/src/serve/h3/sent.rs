//! Answers on the stream of a request, as fast as the client takes them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use quinn::{SendStream, WriteError};

use super::code::Code;
use super::frame;
use super::message;
use super::received::number;
use crate::serve::stream::exchange::{Interim, Lost, Sink};
use crate::serve::stream::patiently;
use crate::watch::Watch;

/// The edge's side of a stream.
pub(super) struct Sent {
    stream: SendStream,
    watch: Watch,
    /// Ends when the client does not want the answer any more.
    unwanted: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Sent {
    pub(super) fn new(stream: SendStream, watch: Watch) -> Self {
        let stopped = stream.stopped();
        let unwanted = Box::pin(async move { drop(stopped.await) });
        Self { stream, watch, unwanted }
    }

    /// The stream, whose head is sent.
    pub(super) fn into_stream(self) -> SendStream {
        self.stream
    }

    pub(super) fn urgency(&self, urgency: u8) {
        heed(&self.stream, urgency);
    }

    pub(super) async fn write(&mut self, mut bytes: &mut [Bytes]) -> Result<(), Lost> {
        while !bytes.is_empty() {
            let Self { stream, watch, .. } = self;
            let taken =
                |written: &Result<quinn::Written, WriteError>| written.as_ref().map_or(0, |it| it.bytes);
            let written = patiently(watch, stream.write_chunks(bytes), taken).await.map_err(Lost::Slow)?;
            let written = written.map_err(|_| Lost::Unwanted)?;
            bytes = &mut bytes[written.chunks..];
        }
        Ok(())
    }

    /// Waits until the client has all of an answer that was sent to its end.
    pub(super) async fn arrived(&mut self) -> Result<(), Lost> {
        let Self { stream, watch, .. } = self;
        let taken = patiently(watch, stream.stopped(), |_| 0).await.map_err(Lost::Slow)?;
        if matches!(taken, Ok(None)) { Ok(()) } else { Err(Lost::Unwanted) }
    }

    /// Breaks the answer off, so that the client cannot take it for a whole one.
    pub(super) fn reset(&mut self, code: Code) {
        let _ = self.stream.reset(number(code));
    }
}

impl Sink for Sent {
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.unwanted.as_mut().poll(cx)
    }

    async fn interim(&mut self, head: Interim) -> Result<(), Lost> {
        self.write(&mut [message::response(head.status, &head.fields)]).await
    }

    async fn head(&mut self, status: StatusCode, headers: HeaderMap, _: bool) -> Result<(), Lost> {
        self.write(&mut [message::response(status, &headers)]).await
    }

    async fn data(&mut self, bytes: Bytes, _: bool) -> Result<(), Lost> {
        self.write(&mut [frame::data_header(bytes.len()), bytes]).await
    }

    async fn trailers(&mut self, trailers: HeaderMap) -> Result<(), Lost> {
        self.write(&mut [message::trailing(&trailers)]).await?;
        self.finish().await
    }

    /// Waits until the client has all of it.
    async fn finish(&mut self) -> Result<(), Lost> {
        if self.stream.finish().is_err() {
            return Err(Lost::Unwanted);
        }
        self.arrived().await
    }
}

/// RFC 9218 §4.1: 0 is the most urgent, 7 the least.
pub(super) fn heed(stream: &SendStream, urgency: u8) {
    // It fails where the stream has ended.
    let _ = stream.set_priority(-i32::from(urgency));
}
