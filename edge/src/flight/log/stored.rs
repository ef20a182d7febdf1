//! Once a body is stored: its readers go on from what is stored, whose pieces are others, and the log holds nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::{BrokenOff, Phase, State};
use crate::store::{Gone, Object, Reading};

impl State {
    /// Readers go on from the object, where each of them is.
    pub(super) fn move_to(&mut self, object: Arc<Object>) {
        let stored = Reading::new(object);
        let Some(pieces) = stored.body.pieces() else {
            return self.be_let_go();
        };
        let lengths: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        for place in self.readers.values_mut() {
            let read = self.pieces.iter().take(place.next - self.gone).map(Bytes::len).sum();
            (place.next, place.skip) = position(&lengths, read);
        }
        (self.gone, self.held_bytes, self.cost) = (0, 0, 0);
        self.pieces.clear();
        self.share.shrink_to(0);
        self.phase = Phase::Stored(Some(stored));
        self.leave_stored();
    }

    pub(super) fn next_stored(&mut self, reader: u64) -> Option<Result<Bytes, BrokenOff>> {
        let place = self.readers.get_mut(&reader).expect("looked up by the caller");
        let Phase::Stored(Some(stored)) = &self.phase else { return None };
        let piece = stored.body.piece(place.next);
        place.next += 1;
        let skip = std::mem::take(&mut place.skip);
        self.leave_stored();
        piece.map(|piece| piece.map(|piece| piece.slice(skip..)).map_err(|Gone| BrokenOff::LetGo))
    }

    /// Holds what is stored no longer than somebody has to read of it.
    pub(super) fn leave_stored(&mut self) {
        let Phase::Stored(Some(stored)) = &self.phase else { return };
        let end = stored.body.count();
        if self.readers.values().all(|place| place.next >= end) {
            self.phase = Phase::Stored(None);
        }
    }
}

/// In which piece of these lengths so many bytes end, and how many of it they are.
fn position(lengths: &[usize], mut bytes: usize) -> (usize, usize) {
    for (number, length) in lengths.iter().enumerate() {
        if bytes < *length {
            return (number, bytes);
        }
        bytes -= length;
    }
    (lengths.len(), 0)
}
