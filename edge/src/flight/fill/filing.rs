//! Where a body that arrives is kept: in memory, in a file where it is large, or not at all. And going on with one that broke
//! off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::Task;
use super::arriving::Arriving;
use crate::course::Event;
use crate::decide::Why;
use crate::flight::log::{Unkept, cost};
use crate::flight::verdict::Filling;
use crate::http::range::Part;
use crate::origin::{Paid, Retry};
use crate::policy::headers::origin::Ask;
use crate::policy::{self, Content};
use crate::store::{Body, Object, Put, Reserved, Spool};

/// So often a response is gone on with: an origin that breaks off each time would be asked for ever.
const MOST_TRIES: usize = 8;

/// Where a body is kept.
#[derive(Debug)]
pub(super) enum Keeping {
    InMemory {
        /// Whether a file was not refused to it.
        may_move: bool,
    },
    InFile(Box<Spool>),
    Not,
}

impl Keeping {
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Self::Not)
    }
}

impl Task {
    /// Room on a disk for a response of which so many bytes have come.
    pub(super) fn room_on_disk(&self, filling: &Filling, come: u64) -> Option<Reserved> {
        let site = &self.fetch.site.site.name;
        self.flights.store.reserve(
            (&self.fetch.key, site, &filling.entry),
            &self.fill.ticket,
            filling.length,
            come,
        )
    }

    /// A file in the room for it; else it is kept in memory, if there is room for it.
    pub(super) async fn opened(&self, reserved: Reserved) -> Keeping {
        match reserved.open().await {
            Ok(spool) => Keeping::InFile(spool.into()),
            Err(_) => Keeping::InMemory { may_move: false },
        }
    }

    /// Where it is kept with this piece at its end, which was not pushed yet.
    pub(super) async fn keep(&self, keeping: Keeping, got: u64, piece: &Bytes, filling: &Filling) -> Keeping {
        if keeping.is_kept() && got > self.fetch.site.site.max_object_bytes {
            // The key's next response is likely to be as big: its client had better not depend on others, nor
            // take as much of the memory for nothing.
            let now = self.flights.clock.now();
            self.flights.apart.mark(&self.fetch.key, Why::TooBig, Duration::ZERO, now);
            return self.not(Unkept::TooBig, filling);
        }
        let Keeping::InMemory { may_move } = keeping else {
            // A file's share covers what is not written yet; a piece or two beyond the budget are owed.
            let _covered = keeping.is_kept() && self.fill.log.reserve(cost(piece));
            return keeping;
        };
        let fits = self.reserve(cost(piece));
        if fits && !(may_move && self.flights.store.is_large(got)) {
            return Keeping::InMemory { may_move };
        }
        match self.moved(got, filling).await {
            Some(spool) => Keeping::InFile(spool),
            None if fits => Keeping::InMemory { may_move: false },
            None => self.not(Unkept::NoMemory, filling),
        }
    }

    /// All that has come moves from memory to a file.
    async fn moved(&self, got: u64, filling: &Filling) -> Option<Box<Spool>> {
        let mut spool = self.room_on_disk(filling, got)?.open().await.ok()?;
        for piece in self.fill.log.pieces() {
            spool.add(piece);
        }
        spool.write().await.ok()?;
        self.fill.log.written(&spool.filed());
        Some(spool.into())
    }

    fn not(&self, why: Unkept, filling: &Filling) -> Keeping {
        self.note(why, filling);
        self.slide(why);
        Keeping::Not
    }

    /// Adds a piece to the log, and to the file.
    pub(super) async fn push(&self, keeping: Keeping, piece: Bytes, filling: &Filling) -> Keeping {
        let log = &self.fill.log;
        log.push(piece.clone());
        let Keeping::InFile(mut spool) = keeping else { return keeping };
        if !spool.add(piece) {
            return Keeping::InFile(spool);
        }
        match spool.write().await {
            Ok(()) => {
                log.written(&spool.filed());
                Keeping::InFile(spool)
            }
            // Its readers read on what was written, and then what comes.
            Err(_) => self.not(Unkept::NoMemory, filling),
        }
    }

    /// The file is complete, and stored; none if it cannot be, or a purge came first.
    pub(super) async fn put_filed(
        &self,
        mut spool: Spool,
        filling: &Filling,
        last: Option<Bytes>,
    ) -> Option<Arc<Object>> {
        last.into_iter().for_each(|last| _ = spool.add(last));
        let published = self.published(&mut spool, filling).await.ok();
        let stored = published.filter(|object| {
            let (store, key) = (&self.flights.store, &self.fetch.key);
            store.put_filed(key, object, &spool, self.joined_part(), &self.fill.ticket) == Put::Kept
        });
        self.is_stored(true);
        stored
    }

    async fn published(&self, spool: &mut Spool, filling: &Filling) -> io::Result<Arc<Object>> {
        spool.write().await?;
        let length = spool.filed().bytes();
        let entry = filling.entry.clone().completed(length).ok_or(io::ErrorKind::InvalidData)?;
        spool.publish(&entry).await?;
        let body = Body::filed(spool.filed(), self.flights.store.fills());
        let object = self.object(entry, body);
        object.on_disk.offer();
        Ok(Arc::new(object))
    }

    /// The rest of a response that broke off after so many bytes, if the origin can tell that it is the rest of it (RFC
    /// 9110 §13.1.5). The first one is free, all others are drawn from the budget of retries.
    pub(super) async fn rest(
        &self,
        filling: &Filling,
        body: &Arriving,
        got: u64,
        tries: usize,
    ) -> Option<Arriving> {
        let is_plain = self.fetch.request.method == Method::GET && !body.is_encoded();
        let Content::Whole { length: Some(length) } = filling.entry.content else { return None };
        if !is_plain || tries > MOST_TRIES || got == 0 || got >= length {
            return None;
        }
        let missing = Part { first: got, last: length - 1, complete: Some(length) };
        let if_range = policy::strong_tag(&filling.entry.head.headers)?.clone();
        let paid = match tries {
            // It asks for what the origin owes anyway. A client whose response stays broken off would ask for all of it again.
            1 => None,
            _ => Some(self.fetch.site.origins.spend_retry().then_some(Paid)?),
        };
        let ask = Ask::Rest { range: missing.range(), if_range };
        let answered = self.ask_as(&ask, Retry::Another, paid).await.ok()?;
        let response = self.response(answered);
        if policy::complete(&filling.entry, &missing, &response.head).is_none() {
            if paid.is_none() {
                // It was no rest, and asked for more than what was owed.
                self.fetch.site.origins.spend_retry();
            }
            return None;
        }
        let left = length - got;
        self.fill.course.note(Event::Resumed);
        tracing::info!(target: "verge_edge::origin", got, left, "a response that broke off goes on");
        let origin = response.answered.response.into_body();
        Some(Arriving::joined(Vec::new(), &missing, origin, &self.fetch.site.metrics))
    }
}
