//! The pieces of a response on its way into a log: from the origin, and round them what is stored already.

use std::collections::VecDeque;
use std::{fmt, io};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::encode::{Encoder, FLUSH_AFTER, Work};
use crate::http::range::Part;
use crate::metrics::SiteMetrics;
use crate::origin::OriginBody;
use crate::origin::body::BodyError;
use crate::store::block::own_block;

/// A body that arrives.
pub(super) struct Arriving {
    before: VecDeque<Bytes>,
    origin: OriginBody,
    /// Bytes that the origin has still to send, if pieces of ours depend on their number.
    left: Option<u64>,
    after: VecDeque<Bytes>,
    encoder: Option<Encoding>,
    site: SiteMetrics,
}

/// A body that is encoded as it arrives.
struct Encoding {
    encoder: Encoder,
    state: Unencoded,
}

/// The bytes that an encoder may still hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unencoded {
    /// Nothing that was not given out.
    Nothing,
    /// Something.
    Some,
    /// Its end was given out.
    Ended,
}

/// Why no more of it arrives.
#[derive(Debug)]
pub(super) enum Broken {
    /// On its way from the origin.
    Origin(BodyError),
    /// The origin sent more or less than its `Content-Range` said.
    Length,
    /// It could not be encoded.
    Encoder(io::Error),
}

impl Arriving {
    /// All of it from the origin.
    pub(super) fn new(origin: OriginBody, site: &SiteMetrics) -> Self {
        let (before, after) = (VecDeque::new(), VecDeque::new());
        Self { before, origin, left: None, after, encoder: None, site: site.clone() }
    }

    /// A stored part's pieces on the side of the missing ones on which they lie.
    pub(super) fn joined(held: Vec<Bytes>, missing: &Part, origin: OriginBody, site: &SiteMetrics) -> Self {
        let pieces = held.into();
        let (before, after) =
            if missing.first == 0 { (VecDeque::new(), pieces) } else { (pieces, VecDeque::new()) };
        let left = Some(missing.length());
        Self { before, origin, left, after, encoder: None, site: site.clone() }
    }

    /// The same, encoded.
    pub(super) fn encoded(self, encoder: Encoder) -> Self {
        Self { encoder: Some(Encoding { encoder, state: Unencoded::Nothing }), ..self }
    }

    /// Whether there is nothing of it.
    pub(super) fn is_end(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.origin.is_end_stream()
    }

    /// Whether it is encoded.
    pub(super) fn is_encoded(&self) -> bool {
        self.encoder.is_some()
    }

    /// Bytes that arrive, before they are encoded, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        let ours: usize = self.before.iter().chain(&self.after).map(Bytes::len).sum();
        Some(self.origin.size_hint().exact()? + ours as u64)
    }

    /// The next piece, in a block of its own: as it came it is a slice of the connection's read buffer, and would keep
    /// all of that. One that is encoded may not be dropped before it is ready, unless no other will be asked for.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        let next = match self.encoder.take() {
            None => self.next_as_it_came().await,
            Some(mut encoding) => {
                let next = self.next_encoded(&mut encoding).await;
                self.encoder = Some(encoding);
                next
            }
        };
        next.map(|piece| piece.map(|piece| own_block(&[piece])))
    }

    /// Works until something comes out.
    async fn next_encoded(&mut self, encoding: &mut Encoding) -> Option<Result<Bytes, Broken>> {
        while encoding.state != Unencoded::Ended {
            let idle = tokio::time::sleep(FLUSH_AFTER);
            let (work, state) = tokio::select! {
                biased;
                next = self.next_as_it_came() => match next {
                    Some(Ok(piece)) => (Work::Encode(piece), Unencoded::Some),
                    Some(Err(broken)) => return Some(Err(broken)),
                    None => (Work::End, Unencoded::Ended),
                },
                () = idle, if encoding.state == Unencoded::Some => (Work::Flush, Unencoded::Nothing),
            };
            encoding.state = state;
            match encoding.encoder.work(work).await {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(Ok(piece)),
                Err(error) => return Some(Err(Broken::Encoder(error))),
            }
        }
        None
    }

    /// It loses nothing when it is dropped before it is ready.
    async fn next_as_it_came(&mut self) -> Option<Result<Bytes, Broken>> {
        if let Some(piece) = self.before.pop_front() {
            return Some(Ok(piece));
        }
        while let Some(frame) = self.origin.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Err(error) => return Some(Err(Broken::Origin(error))),
                Ok(Ok(piece)) => return Some(self.arrived(piece)),
                // Trailers: RFC 9110 §6.5 lets a recipient discard them, and readers may have begun without.
                Ok(Err(_)) => {}
            }
        }
        match self.left {
            None | Some(0) => self.after.pop_front().map(Ok),
            Some(_) => Some(Err(Broken::Length)),
        }
    }

    fn arrived(&mut self, piece: Bytes) -> Result<Bytes, Broken> {
        self.site.fetched(piece.len());
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or(Broken::Length)?;
        }
        Ok(piece)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(error) => error.fmt(f),
            Self::Encoder(error) => write!(f, "cannot encode: {error}"),
            Self::Length => f.write_str("the body is not as long as its Content-Range"),
        }
    }
}
