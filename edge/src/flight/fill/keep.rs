//! From the pieces that arrive to the log, and from the log to the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::arriving::Arriving;
use super::filing::Keeping;
use super::{NEARLY_BYTES, Task};
use crate::decide::{Plan, Why};
use crate::flight::Fetch;
use crate::flight::log::{LEFT_BEHIND, LET_GO, Unkept};
use crate::flight::reasons::Reason;
use crate::flight::verdict::{Filling, Verdict};
use crate::metrics::Limit;
use crate::policy::{Content, Entry, dictionary};
use crate::store::block::own_block;
use crate::store::{Body, Object, Put, Reserved};

/// A response on its way into the store.
pub(super) struct Storing {
    pub(super) filling: Arc<Filling>,
    pub(super) body: Arriving,
    /// Room on a disk, if it is known to be large.
    pub(super) reserved: Option<Reserved>,
}

impl Task {
    /// Tells of a response that will be stored.
    pub(super) fn storing(&self, filling: Filling, body: Arriving) -> Option<Storing> {
        let filling = Arc::new(filling);
        self.fetch.site.metrics.filling();
        if body.is_end() {
            // Stored before the head is told: a client that has the head has the whole response.
            let _stored = self.put(&filling, &[]);
            self.fill.log.end();
            return self.tell(Verdict::Filling(filling));
        }
        let is_large = body.length().is_some_and(|length| self.flights.store.is_large(length));
        let reserved = is_large.then(|| self.room_on_disk(&filling, 0)).flatten();
        if reserved.is_none() && !self.reserve(body.length().map_or(FIRST_BYTES, with_blocks)) {
            self.note(Unkept::NoMemory, &filling);
            self.slide(Unkept::NoMemory);
        }
        self.fill.tell(Verdict::Filling(Arc::clone(&filling)));
        Some(Storing { filling, body, reserved })
    }

    /// Fills the log, and the store from it.
    pub(super) async fn store(&self, Storing { filling, mut body, reserved }: Storing) {
        let log = &self.fill.log;
        let mut got = 0_u64;
        let mut keeping = match reserved {
            Some(reserved) => self.opened(reserved).await,
            None if log.unkept().is_some() => Keeping::Not,
            None => Keeping::InMemory { may_move: true },
        };
        let (mut encoder_left, mut resumptions) = (ENCODER_WAIT, 0);
        loop {
            let nearly_done =
                keeping.is_kept() && filling.length.is_some_and(|length| length - got < NEARLY_BYTES);
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = log.deserted(), if !nearly_done => return,
            };
            let piece = match next {
                None => break,
                Some(Err(error)) => {
                    resumptions += 1;
                    let rest = tokio::select! {
                        biased;
                        rest = Box::pin(self.rest(&filling, &body, got, resumptions)) => rest,
                        () = log.deserted(), if !nearly_done => return,
                    };
                    let Some(rest) = rest else {
                        return tracing::warn!(target: "verge_edge::origin", %error, "response broke off");
                    };
                    body = rest;
                    continue;
                }
                Some(Ok(piece)) => piece,
            };
            got += piece.len() as u64;
            keeping = self.keep(keeping, got, &piece, &filling).await;
            if keeping.is_kept() && filling.length == Some(got) {
                return self.finish(keeping, &filling, Some(piece)).await;
            }
            keeping = self.push(keeping, piece, &filling).await;
            if keeping.is_kept() {
                continue;
            }
            self.offer();
            let (clock, metrics) = (&self.flights.clock, &self.flights.metrics);
            let before = clock.monotonic();
            tokio::select! {
                biased;
                () = log.deserted() => return,
                () = log.room(clock, || metrics.client_dropped(LEFT_BEHIND)) => {}
                () = clock.timer(encoder_left), if body.is_encoded() => return self.give_up_encoding(),
            }
            encoder_left = encoder_left.saturating_sub(clock.monotonic() - before);
        }
        if keeping.is_kept() { self.finish(keeping, &filling, None).await } else { log.end() }
    }

    /// The next request gets the body as it comes, so that nobody waits for an encoder.
    fn give_up_encoding(&self) {
        let now = self.flights.clock.now();
        self.flights.apart.mark(&self.fetch.key, Why::TooBig, Duration::ZERO, now);
        let left = self.fill.log.let_go();
        self.dropped(left);
    }

    /// Remembers it for those who ask why.
    pub(super) fn note(&self, why: Unkept, filling: &Filling) {
        if why == Unkept::NoMemory {
            self.flights.metrics.limit_reached(Limit::Memory);
        }
        let (status, at) = (Some(filling.response.status), self.flights.clock.now());
        self.flights.reasons.note(&self.fetch.key, Reason { word: why.as_str(), status, at });
    }

    pub(super) fn slide(&self, why: Unkept) {
        self.flights.table.unlist(&self.fetch.key, &self.fill);
        self.fill.log.slide(why);
        self.offer();
    }

    /// Takes so much of the memory for the log, if need be from those who read slowly what is not stored.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let log = &self.fill.log;
        if log.reserve(bytes) {
            return true;
        }
        let left = self.flights.store.fills().make_room(bytes);
        self.dropped(left);
        log.reserve(bytes)
    }

    fn dropped(&self, clients: usize) {
        (0..clients).for_each(|_| self.flights.metrics.client_dropped(LET_GO));
    }

    /// Stored before the last piece is told: a client that has it all may ask again at once.
    async fn finish(&self, keeping: Keeping, filling: &Filling, last: Option<Bytes>) {
        let log = &self.fill.log;
        let stored = match keeping {
            Keeping::InFile(spool) => self.put_filed(*spool, filling, last.clone()).await,
            Keeping::InMemory { .. } | Keeping::Not => {
                let mut pieces = log.pieces();
                pieces.extend(last.clone());
                self.put(filling, &pieces)
            }
        };
        match stored {
            Some(object) => log.end_stored(object),
            None => {
                last.into_iter().for_each(|last| log.push(last));
                log.end();
            }
        }
    }

    /// Stores it; none if a purge came first, or it is not what its head said.
    fn put(&self, filling: &Filling, pieces: &[Bytes]) -> Option<Arc<Object>> {
        let body = Body::new(joined(pieces), self.flights.store.fills());
        let Some(entry) = filling.entry.clone().completed(body.bytes()) else {
            self.flights.table.unlist(&self.fetch.key, &self.fill);
            return None;
        };
        let is_whole = matches!(entry.content, Content::Whole { .. });
        let object = Arc::new(self.object(entry, body));
        let (store, key) = (&self.flights.store, &self.fetch.key);
        let put = store.put(key, Arc::clone(&object), self.joined_part(), &self.fill.ticket);
        self.is_stored(is_whole);
        (put == Put::Kept).then_some(object).inspect(|object| self.describe(object))
    }

    /// Looks at the text of what was stored, if a client may be told to keep it as a dictionary.
    fn describe(&self, object: &Arc<Object>) {
        let Fetch { site, request, content, .. } = &self.fetch;
        let is_one = content.is_none()
            && dictionary::is_for(&site.site, &request.uri)
            && dictionary::may_be(&object.entry);
        if is_one {
            self.flights.dictionaries.begin(&request.uri, object);
        }
    }

    /// A stored part whose bytes go into the response, so that a purge of it covers this as well.
    pub(super) fn joined_part(&self) -> Option<&Arc<Object>> {
        match &self.fetch.plan {
            Plan::Complete { held, .. } => Some(held),
            _ => None,
        }
    }

    /// The fetch has come to an end that says something of the key's next ones.
    pub(super) fn is_stored(&self, is_whole: bool) {
        self.flights.apart.clear(&self.fetch.key);
        if is_whole {
            self.flights.apart.clear_big(&self.fetch.key);
        }
        self.flights.failing.clear(&self.fetch.key);
        self.flights.table.unlist(&self.fetch.key, &self.fill);
    }

    pub(super) fn object(&self, entry: Entry, body: Arc<Body>) -> Object {
        Object::new(entry, body, self.fetch.site.site.name.clone(), self.fill.ticket.epoch())
    }
}

/// A body of unknown length is not kept if there is no memory for this much, however short it may be.
const FIRST_BYTES: u64 = 64 << 10;
/// How long an encoder waits for readers in all, once what it encodes is not kept: there are few of them, and a slow
/// client would hold one for hours.
const ENCODER_WAIT: Duration = Duration::from_secs(30);

/// The average memory for a body of this length in pieces: blocks are rounded up by a quarter at most.
fn with_blocks(length: u64) -> u64 {
    length.saturating_add(length / 8).saturating_add(1 << 10)
}

/// Pieces smaller than this are joined before they are stored …
const SMALL_PIECE_BYTES: usize = 16 << 10;
/// … to pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Runs of small pieces become one piece each.
fn joined(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut run_bytes = 0;
    let runs = pieces.chunk_by(|before, piece| {
        let small = before.len() < SMALL_PIECE_BYTES && piece.len() < SMALL_PIECE_BYTES;
        run_bytes = if small { run_bytes + before.len() } else { 0 };
        let fits = small && run_bytes + piece.len() <= PIECE_BYTES;
        run_bytes = if fits { run_bytes } else { 0 };
        fits
    });
    runs.map(|run| match run {
        [piece] => piece.clone(),
        run => own_block(run),
    })
    .collect()
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

    #[test]
    fn only_neighbours_that_are_both_small_are_joined() {
        let lengths = |sizes: &[usize]| {
            let pieces: Vec<Bytes> = sizes.iter().map(|size| vec![0; *size].into()).collect();
            joined(&pieces).iter().map(Bytes::len).collect::<Vec<_>>()
        };
        let (small, big) = (SMALL_PIECE_BYTES - 1, SMALL_PIECE_BYTES);
        assert_eq!(lengths(&[small, small]), [2 * small]);
        assert_eq!(lengths(&[small, big, small]), [small, big, small]);
        assert_eq!(lengths(&[big, big]), [big, big]);
        // As many as fit into one piece.
        assert_eq!(lengths(&[small; 5]), [4 * small, small]);
    }

    #[test]
    fn a_body_is_reckoned_with_what_its_blocks_take() {
        assert_eq!(with_blocks(0), 1 << 10);
        assert_eq!(with_blocks(8 << 20), (9 << 20) + (1 << 10));
        assert_eq!(with_blocks(u64::MAX), u64::MAX);
    }
}
