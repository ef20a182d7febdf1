//! Once a body is stored: its readers go on from what is stored, whose pieces are others, and the log holds nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::filed::{Next, position};
use super::{BrokenOff, Phase, Place, State};
use crate::store::{Gone, Object, Reading};

impl State {
    /// Readers go on from the object, where each of them is.
    pub(super) fn move_to(&mut self, object: Arc<Object>) {
        let stored = Reading::new(object);
        if let Some(filed) = stored.body.file() {
            self.filed = Some(Arc::clone(filed));
            self.gone_bytes = stored.body.bytes();
        } else {
            let Some(pieces) = stored.body.pieces() else {
                return self.be_let_go();
            };
            for place in self.readers.values_mut() {
                (place.next, place.skip) = position(pieces.iter().map(Bytes::len), place.at);
            }
            self.gone_bytes = 0;
        }
        (self.gone, self.held_bytes, self.cost) = (0, 0, 0);
        self.pieces.clear();
        self.share.shrink_to(0);
        self.phase = Phase::Stored(Some(stored));
        self.leave_stored();
    }

    pub(super) fn next_stored(&mut self, reader: u64) -> Option<Result<Next, BrokenOff>> {
        if let Some(next) = self.readers.get(&reader).and_then(|place| self.next_filed(place)) {
            return Some(Ok(next));
        }
        let place = self.readers.get_mut(&reader).expect("looked up by the caller");
        let Phase::Stored(Some(stored)) = &self.phase else { return None };
        let piece = stored.body.piece(place.next);
        place.next += 1;
        let skip = std::mem::take(&mut place.skip);
        self.leave_stored();
        let next = |piece: Bytes| Next::Piece(piece.slice(skip..));
        piece.map(|piece| piece.map(next).map_err(|Gone| BrokenOff::LetGo))
    }

    /// Holds what is stored no longer than somebody has to read of it.
    pub(super) fn leave_stored(&mut self) {
        let Phase::Stored(Some(stored)) = &self.phase else { return };
        let (end, bytes) = (stored.body.count(), stored.body.bytes());
        let is_done = |place: &Place| match stored.body.file() {
            Some(_) => place.at >= bytes,
            None => place.next >= end,
        };
        if self.readers.values().all(is_done) {
            self.phase = Phase::Stored(None);
        }
    }
}
