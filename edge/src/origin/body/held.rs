//! A request's content that is here before its origin is asked: it has a length, and can be sent again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::store::Share;

/// Content in memory. Copies share it.
#[derive(Debug, Clone)]
pub struct Held {
    all: Bytes,
    /// Its memory counts as long as a copy is there.
    _share: Arc<Share>,
}

impl Held {
    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.all
    }
}

/// Content on its way into memory.
#[derive(Debug)]
pub(super) struct Gathering {
    so_far: BytesMut,
    most: u64,
    share: Share,
}

impl Gathering {
    /// At most so many bytes, which count in `share`.
    pub(super) fn new(most: u64, share: Share) -> Self {
        Self { so_far: BytesMut::new(), most, share }
    }

    /// Whether `bytes` fit in, which are taken in either case.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let fits = self.so_far.len() as u64 + bytes.len() as u64 <= self.most;
        let has_room = self.share.grow(bytes.len() as u64);
        self.so_far.extend_from_slice(bytes);
        fits && has_room
    }

    pub(super) fn end(self) -> Held {
        // A buffer that grows has room to spare.
        let all = Bytes::copy_from_slice(&self.so_far);
        Held { all, _share: Arc::new(self.share) }
    }
}
