//! What goes out on the stream of a request, as fast as the client takes it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use quinn::{SendStream, WriteError};

use super::code::Code;
use super::frame;
use super::message;
use super::received::number;
use crate::pace::Slow;
use crate::serve::stream::patiently;
use crate::watch::Watch;

/// The edge's side of a stream.
pub(super) struct Sent {
    stream: SendStream,
    watch: Watch,
}

/// Why an answer does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The client takes it too slowly.
    Slow(Slow),
    /// The client does not want it any more, or is gone.
    Unwanted,
    /// The origin broke it off.
    Broken,
}

impl Sent {
    pub(super) fn new(stream: SendStream, watch: Watch) -> Self {
        Self { stream, watch }
    }

    /// Ends when the client does not want the answer any more, or has all of it.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.stream.stopped();
        async move { drop(stopped.await) }
    }

    /// RFC 9218 §4.1: 0 is the most urgent, 7 the least.
    pub(super) fn urgency(&self, urgency: u8) {
        // It fails where the stream has ended.
        let _ = self.stream.set_priority(-i32::from(urgency));
    }

    pub(super) async fn head(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), Lost> {
        self.write(&mut [message::response(status, headers)]).await
    }

    pub(super) async fn data(&mut self, octets: Bytes) -> Result<(), Lost> {
        self.write(&mut [frame::data_header(octets.len()), octets]).await
    }

    pub(super) async fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), Lost> {
        self.write(&mut [message::trailing(trailers)]).await
    }

    async fn write(&mut self, mut octets: &mut [Bytes]) -> Result<(), Lost> {
        while !octets.is_empty() {
            let Self { stream, watch } = self;
            let bytes =
                |written: &Result<quinn::Written, WriteError>| written.as_ref().map_or(0, |it| it.bytes);
            let written = patiently(watch, stream.write_chunks(octets), bytes).await.map_err(Lost::Slow)?;
            let written = written.map_err(|_| Lost::Unwanted)?;
            octets = &mut octets[written.chunks..];
        }
        Ok(())
    }

    /// Says that this is all, and waits until the client has it.
    pub(super) async fn finish(&mut self) -> Result<(), Lost> {
        if self.stream.finish().is_err() {
            return Err(Lost::Unwanted);
        }
        let Self { stream, watch } = self;
        let taken = patiently(watch, stream.stopped(), |_| 0).await.map_err(Lost::Slow)?;
        if matches!(taken, Ok(None)) { Ok(()) } else { Err(Lost::Unwanted) }
    }

    /// Breaks the answer off, so that the client cannot take it for a whole one.
    pub(super) fn reset(&mut self, code: Code) {
        let _ = self.stream.reset(number(code));
    }
}
