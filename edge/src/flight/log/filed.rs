//! A body whose pieces go to a file while it arrives: who has not read them reads the file.

use std::sync::Arc;

use bytes::Bytes;

use super::{Log, Place, State};
use crate::store::InFile;

/// The next bytes for a reader.
#[derive(Debug)]
pub(in crate::flight) enum Next {
    /// These.
    Piece(Bytes),
    /// They lie in this file, from one place to another.
    File { filed: Arc<dyn InFile>, at: u64, end: u64 },
}

impl Log {
    /// So many bytes of the body are in this file: they are held no longer.
    pub(in crate::flight) fn written(&self, filed: &Arc<dyn InFile>) {
        let mut state = self.lock();
        let bytes = filed.bytes();
        state.filed = Some(Arc::clone(filed));
        while let Some(piece) = state.pieces.front()
            && state.gone_bytes + piece.len() as u64 <= bytes
        {
            let piece = state.pieces.pop_front().expect("looked at above");
            state.let_piece_go(&piece);
        }
        let cost = state.cost;
        state.share.shrink_to(cost);
    }

    /// The reader has read up to here, from a file.
    pub(in crate::flight) fn has_read(&self, reader: u64, at: u64) {
        let mut state = self.lock();
        let lengths = state.pieces.iter().map(Bytes::len);
        let found = at.checked_sub(state.gone_bytes).map(|bytes| position(lengths, bytes));
        let gone = state.gone;
        let Some(place) = state.readers.get_mut(&reader) else { return };
        place.at = at;
        if let Some((number, skip)) = found {
            (place.next, place.skip) = (gone + number, skip);
        }
        state.forget_read();
        state.leave_stored();
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(std::task::Waker::wake);
    }

    /// The reader wants nothing from before this byte, as far as it has come.
    pub(in crate::flight) fn skip_to(&self, reader: u64, at: u64) -> bool {
        let is_there = {
            let state = self.lock();
            let is_at_start = state.readers.get(&reader).is_some_and(|place| place.at == 0);
            state.filed.is_some() && is_at_start && at <= state.gone_bytes
        };
        if is_there {
            self.has_read(reader, at);
        }
        is_there
    }
}

impl State {
    /// Where the next bytes for this reader lie, if that is a file.
    pub(super) fn next_filed(&self, place: &Place) -> Option<Next> {
        let filed = self.filed.as_ref().filter(|_| place.at < self.gone_bytes)?;
        Some(Next::File { filed: Arc::clone(filed), at: place.at, end: self.gone_bytes })
    }
}

/// In which piece of these lengths so many bytes end, and how many of it they are.
pub(super) fn position(lengths: impl Iterator<Item = usize>, mut bytes: u64) -> (usize, usize) {
    let mut count = 0;
    for (number, length) in lengths.enumerate() {
        if bytes < length as u64 {
            return (number, usize::try_from(bytes).unwrap_or(length));
        }
        bytes -= length as u64;
        count = number + 1;
    }
    (count, 0)
}
