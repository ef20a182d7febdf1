//! The pieces of a response on its way into a log: from the origin, and round them what is stored already.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::metrics::Metrics;
use crate::origin::OriginBody;
use crate::origin::body::BodyError;
use crate::policy::range::Part;

/// A body that arrives.
pub(super) struct Arriving {
    before: VecDeque<Bytes>,
    origin: OriginBody,
    /// Bytes that the origin has still to send, if pieces of ours depend on their number.
    left: Option<u64>,
    after: VecDeque<Bytes>,
    metrics: Metrics,
}

/// Why no more of it arrives.
#[derive(Debug)]
pub(super) enum Broken {
    /// On its way from the origin.
    Origin(BodyError),
    /// The origin sent more or less than its `Content-Range` said.
    Length,
}

/// A smaller piece would keep a read buffer of several times its size alive.
const PINNING_BYTES: usize = 32 << 10;

impl Arriving {
    /// All of it from the origin.
    pub(super) fn new(origin: OriginBody, metrics: &Metrics) -> Self {
        let (before, after) = (VecDeque::new(), VecDeque::new());
        Self { before, origin, left: None, after, metrics: metrics.clone() }
    }

    /// A stored part's pieces on the side of the missing ones on which they lie.
    pub(super) fn joined(held: &Arc<[Bytes]>, missing: &Part, origin: OriginBody, metrics: &Metrics) -> Self {
        let pieces = held.iter().cloned().collect();
        let (before, after) =
            if missing.first == 0 { (VecDeque::new(), pieces) } else { (pieces, VecDeque::new()) };
        Self { before, origin, left: Some(missing.length()), after, metrics: metrics.clone() }
    }

    /// Whether there is nothing of it.
    pub(super) fn is_end(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.origin.is_end_stream()
    }

    /// The next piece. It loses nothing when it is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
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
        self.metrics.fetched(piece.len());
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or(Broken::Length)?;
        }
        Ok(unpinned(piece))
    }
}

fn unpinned(piece: Bytes) -> Bytes {
    if piece.len() < PINNING_BYTES { Bytes::copy_from_slice(&piece) } else { piece }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(error) => error.fmt(f),
            Self::Length => f.write_str("the body is not as long as its Content-Range"),
        }
    }
}
