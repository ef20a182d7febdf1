//! Bytes of a fill, from one offset to another.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;

use super::SendError;
use super::rest::{Coming, Rest};
use super::stored::Window;
use crate::flight::Reader;

/// Bytes of a fill, from one offset to another.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) from: From,
    pub(super) window: Window,
    /// Whether the length is known, so that the client is told.
    pub(super) sized: bool,
    /// The place in the whole body of the next byte to be sent.
    pub(super) at: u64,
    /// Where the file that it is written to cannot be read.
    pub(super) rest: Option<Rest>,
}

#[derive(Debug)]
pub(super) enum From {
    Fill(Reader),
    Elsewhere(Box<Coming>),
}

impl Filling {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        while self.window.left > 0 {
            let next = match &mut self.from {
                From::Fill(reader) => ready!(reader.poll_next(cx)).map(|next| next.map_err(SendError::from)),
                From::Elsewhere(coming) => ready!(coming.poll_next(cx)),
            };
            match (next, &self.rest) {
                (None, _) => break,
                (Some(Err(SendError::File(why))), Some(rest)) if matches!(self.from, From::Fill(_)) => {
                    // The bytes before them are those that a reader leaves out, and an origin does not send.
                    self.window.skip = 0;
                    self.from = From::Elsewhere(rest.ask(self.at, self.window.left, why));
                }
                (Some(Err(why)), _) => return Poll::Ready(Some(Err(why))),
                (Some(Ok(piece)), _) => {
                    let cut = self.window.cut(&piece);
                    self.at += cut.len() as u64;
                    if !cut.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(cut))));
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}
