//! A response's content on a stream of HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};

use super::upload::Upload;

/// Content that is whole when END_STREAM came, and not before (RFC 9113 §8.1).
#[derive(Debug)]
pub(in crate::origin) struct Received {
    stream: RecvStream,
    /// Bytes still to come, if the head says so. h2 breaks off what is longer or shorter.
    left: Option<u64>,
    has_trailers_left: bool,
    /// The request's content, if it has any.
    upload: Option<Upload>,
}

impl Received {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, upload: Option<Upload>) -> Self {
        Self { stream, left: length, has_trailers_left: true, upload }
    }

    pub(in crate::origin) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.has_trailers_left {
            return Poll::Ready(None);
        }
        if let Some(bytes) = ready!(self.stream.poll_data(cx)) {
            let bytes = bytes?;
            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            // It fails where the stream has ended.
            let _ = self.stream.flow_control().release_capacity(bytes.len());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx))?;
        self.has_trailers_left = false;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    pub(in crate::origin) fn is_end_stream(&self) -> bool {
        !self.has_trailers_left || self.stream.is_end_stream()
    }

    /// Nothing where nothing is to come, as with HEAD.
    pub(in crate::origin) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take().filter(|_| self.is_end_stream()) {
            upload.goes_on_alone();
        }
    }
}
