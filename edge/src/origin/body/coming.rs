//! A response's content, as its connection gives it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::BodyError;
use crate::origin::http2::Received;

/// Content from a connection, whole when it says so.
#[derive(Debug)]
pub(in crate::origin) enum Coming {
    /// Of HTTP/1.1.
    Own(Incoming),
    /// Of HTTP/2.
    Shared(Received),
}

impl Body for Coming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Broken(error.into())),
            Self::Shared(body) => body.poll(cx).map_err(|error| BodyError::Broken(error.into())),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}
