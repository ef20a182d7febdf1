//! From the pieces that arrive to the log, and from the log to the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::arriving::Arriving;
use super::{NEARLY_BYTES, Task};
use crate::flight::log::LEFT_BEHIND;
use crate::flight::verdict::{Filling, Plan, Verdict, Why};
use crate::policy::{Content, Entry};
use crate::store::{Body, Object};

/// A response on its way into the store.
pub(super) struct Storing {
    pub(super) filling: Arc<Filling>,
    pub(super) body: Arriving,
}

impl Task {
    /// Tells of a response that will be stored.
    pub(super) fn storing(&self, filling: Filling, body: Arriving) -> Option<Storing> {
        let filling = Arc::new(filling);
        self.flights.metrics.filling();
        if body.is_end() {
            // Stored before the head is told: a client that has the head has the whole response.
            self.put(&filling, &[]);
            self.fill.log.end();
            return self.tell(Verdict::Filling(filling));
        }
        self.fill.tell(Verdict::Filling(Arc::clone(&filling)));
        Some(Storing { filling, body })
    }

    /// Fills the log, and the store from it.
    pub(super) async fn store(&self, Storing { filling, mut body }: Storing) {
        let log = &self.fill.log;
        let (mut got, mut keeping) = (0_u64, true);
        loop {
            let nearly_done = keeping && filling.length.is_some_and(|length| length - got < NEARLY_BYTES);
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = log.deserted(), if !nearly_done => return,
            };
            let piece = match next {
                None => break,
                Some(Err(error)) => {
                    return tracing::warn!(target: "verge_edge::origin", %error, "response broke off");
                }
                Some(Ok(piece)) => piece,
            };
            got += piece.len() as u64;
            if keeping && !self.fits(got, &piece) {
                self.flights.table.unlist(&self.fetch.key, &self.fill);
                log.slide();
                keeping = false;
            }
            if keeping && filling.length == Some(got) {
                // Stored before the last piece is told: a client that has it all may ask again at once.
                self.put_all(&filling, Some(piece.clone()));
                log.push(piece);
                return log.end();
            }
            log.push(piece);
            tokio::select! {
                () = log.room(&self.flights.clock, || self.flights.metrics.client_dropped(LEFT_BEHIND)) => {}
                () = log.deserted(), if !keeping => return,
            }
        }
        if keeping {
            self.put_all(&filling, None);
        }
        log.end();
    }

    /// Whether what has come, with this piece at its end, may still be kept.
    fn fits(&self, got: u64, piece: &Bytes) -> bool {
        if got <= self.fetch.site.site.max_object_bytes {
            return self.fill.log.reserve(piece);
        }
        // The key's next response is likely to be as big: who asks for it had better not depend on others, nor take as
        // much of the memory for nothing.
        let now = self.flights.clock.now();
        self.flights.apart.mark(&self.fetch.key, Why::TooBig, Duration::ZERO, now);
        false
    }

    fn put_all(&self, filling: &Filling, last: Option<Bytes>) {
        let mut pieces = self.fill.log.pieces();
        pieces.extend(last);
        self.put(filling, &pieces);
    }

    fn put(&self, filling: &Filling, pieces: &[Bytes]) {
        let body = Body::new(joined(pieces), self.flights.store.fills());
        let Some(entry) = filling.entry.clone().completed(body.bytes()) else {
            return self.flights.table.unlist(&self.fetch.key, &self.fill);
        };
        let is_whole = matches!(entry.content, Content::Whole { .. });
        let object = Arc::new(self.object(entry, body));
        // Its bytes go into it, so a purge of it covers this as well.
        let part = match &self.fetch.plan {
            Plan::Complete { object, .. } => Some(object),
            _ => None,
        };
        self.flights.store.put(&self.fetch.key, object, part, &self.fill.ticket);
        self.flights.apart.clear(&self.fetch.key);
        if is_whole {
            self.flights.apart.clear_big(&self.fetch.key);
        }
        self.flights.failing.clear(&self.fetch.key);
        self.flights.table.unlist(&self.fetch.key, &self.fill);
    }

    pub(super) fn object(&self, entry: Entry, body: Arc<Body>) -> Object {
        Object { entry, body, site: self.fetch.site.index, epoch: self.fill.ticket.epoch() }
    }
}

/// Pieces smaller than this are joined before they are stored …
const SMALL_PIECE_BYTES: usize = 16 << 10;
/// … to pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Runs of small pieces become one piece each.
fn joined(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut run = BytesMut::new();
    for piece in pieces {
        if !run.is_empty() && (piece.len() >= SMALL_PIECE_BYTES || run.len() + piece.len() > PIECE_BYTES) {
            out.push(std::mem::take(&mut run).freeze());
        }
        if piece.len() >= SMALL_PIECE_BYTES { out.push(piece.clone()) } else { run.extend_from_slice(piece) }
    }
    if !run.is_empty() {
        out.push(run.freeze());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_pieces_keeps_every_byte_in_order() {
        let sizes = [1, 15, 20_000, 3, 9_000, 9_000, 16_384, 16_383, 16_383, 16_383, 16_383, 1];
        let pieces: Vec<Bytes> =
            sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size].into()).collect();
        let joined = joined(&pieces);
        assert_eq!(joined.concat(), pieces.concat());
        assert!(joined.len() < pieces.len());
        assert!(joined.iter().all(|piece| piece.len() <= PIECE_BYTES));
    }
}
