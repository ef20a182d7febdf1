//! Purges on their way to the process that has taken over: clients of connections that this one still has know nothing of two
//! caches.

use std::sync::OnceLock;

use http::Uri;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Cache, NotPurged, PurgeRequest};
use crate::store::Mode;

/// The things that are to go in another process, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// As they were asked for.
    pub(crate) purges: Vec<PurgeRequest>,
    /// URLs that an unsafe request has changed; a `*` in them stands for itself.
    pub(crate) changed: Vec<String>,
    /// Somebody asked for these purges, and waits until they outlive a crash.
    #[serde(default)]
    pub(crate) must_last: bool,
}

/// The result of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Stored responses that it covered, where it is known.
    pub(crate) purged: Option<usize>,
    /// Whether all of it was done.
    pub(crate) is_whole: bool,
    /// The disks on which a restart may undo it.
    pub(crate) until_restart_on: Vec<String>,
}

/// An order, and where its result is waited for.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) order: Order,
    pub(crate) done: oneshot::Sender<Done>,
}

/// The way to the process that answers now; none as long as this one does.
#[derive(Debug, Default)]
pub(super) struct Behind(OnceLock<mpsc::Sender<Errand>>);

/// Orders that wait for the one before; beyond, they are not taken.
const MOST_WAITING: usize = 1_024;
/// Names in one order at most, so that no other waits long for its end …
const MOST_NAMES: usize = 256;
/// … and the bytes of those names as JSON: half of what a message may have. A longer name has an order of its own.
const MOST_BYTES: usize = 128 << 10;

/// A way to the next process.
pub(crate) fn way() -> (mpsc::Sender<Errand>, mpsc::Receiver<Errand>) {
    mpsc::channel(MOST_WAITING)
}

impl Order {
    /// The same in parts that are not too long for the way, one at least. All of it lasts once the last part does.
    fn parts(self) -> Vec<Self> {
        let mut parts = Parts { all: vec![Self::default()], bytes: 0 };
        for purge in self.purges {
            parts.room_for(&purge).purges.push(purge);
        }
        for url in self.changed {
            parts.room_for(&url).changed.push(url);
        }
        if let Some(last) = parts.all.last_mut() {
            last.must_last = self.must_last;
        }
        parts.all
    }
}

/// The parts of an order, and the bytes of the last one.
struct Parts {
    all: Vec<Order>,
    bytes: usize,
}

impl Parts {
    /// The part that this name goes to.
    fn room_for(&mut self, name: &impl Serialize) -> &mut Order {
        // With the comma behind it.
        let bytes = serde_json::to_vec(name).map_or(0, |text| text.len()) + 1;
        let is_full = self.all.last().is_none_or(|last| {
            let names = last.purges.len() + last.changed.len();
            names >= MOST_NAMES || names > 0 && self.bytes + bytes > MOST_BYTES
        });
        if is_full {
            self.all.push(Order::default());
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.all.last_mut().expect("there is one")
    }
}

impl Done {
    /// The result of an order of which this is one part, and the other the next.
    fn and(mut self, next: Self) -> Self {
        let until = next.until_restart_on.into_iter().filter(|disk| !self.until_restart_on.contains(disk));
        let until: Vec<String> = until.collect();
        self.until_restart_on.extend(until);
        Self {
            purged: self.purged.zip(next.purged).map(|(one, other)| one + other),
            is_whole: self.is_whole && next.is_whole,
            until_restart_on: self.until_restart_on,
        }
    }

    /// The sentence about disks that may forget it; none if none does.
    pub(crate) fn until_restart(&self) -> Option<String> {
        until_restart(&self.until_restart_on)
    }
}

/// The sentence about disks that may forget a purge; none if none does.
pub(crate) fn until_restart(disks: &[String]) -> Option<String> {
    (!disks.is_empty())
        .then(|| format!("but a restart may undo it on {}: purge it again then", disks.join(", ")))
}

impl Cache {
    /// From now on another process answers, and hears by this way what is to go. Where the way is closed it hears nothing.
    pub(crate) fn leave_to(&self, way: mpsc::Sender<Errand>) {
        // A process leaves once.
        let _ = self.behind.0.set(way);
    }

    /// Whether another process answers: what is stored here is no longer purged by everybody.
    pub(crate) fn has_left(&self) -> bool {
        self.behind.0.get().is_some()
    }

    /// Whether what is changed here can be told to where it matters.
    pub(crate) fn is_heard(&self) -> bool {
        self.behind.0.get().is_none_or(|way| !way.is_closed())
    }

    /// Sees to purges that were done here: they outlive a crash, or hold in the process that has taken over. None if that one
    /// did not hear of them.
    pub(crate) async fn purged(&self, purges: &[PurgeRequest], purged: Option<usize>) -> Option<Done> {
        if self.has_left() {
            let order = Order { purges: purges.to_vec(), must_last: true, ..Order::default() };
            return self.purge_behind(order).await.filter(|done| done.is_whole);
        }
        Some(Done { purged, is_whole: true, until_restart_on: self.purges_last().await })
    }

    /// Has it done in the process that has taken over; none if that one did not hear of all of it. It is on its way, and comes
    /// there, also where nobody waits for the result any more.
    pub(crate) async fn purge_behind(&self, order: Order) -> Option<Done> {
        let parts = order.parts();
        let places = self.behind.0.get()?.try_reserve_many(parts.len()).ok()?;
        let send = |(order, place): (Order, mpsc::Permit<'_, Errand>)| {
            let (done, is_done) = oneshot::channel();
            place.send(Errand { order, done });
            is_done
        };
        let results: Vec<_> = parts.into_iter().zip(places).map(send).collect();
        let mut all = Done { purged: Some(0), is_whole: true, until_restart_on: Vec::new() };
        for is_done in results {
            all = all.and(is_done.await.ok()?);
        }
        Some(all)
    }

    /// Does what the process before asks for, here and in the one that has taken over from this one.
    pub(crate) async fn obey(&self, order: Order) -> Done {
        let (mut done, now) = (Done { is_whole: true, ..Done::default() }, self.clock.now());
        let mut counts = Vec::new();
        for purge in &order.purges {
            match purge.scopes(self) {
                Ok(scopes) => counts.push(self.purge(&scopes, purge.mode())),
                // Nothing of it is here.
                Err(NotPurged::NoSite | NotPurged::NoSuchSite(_)) => counts.push(Some(0)),
                Err(_) => done.is_whole = false,
            }
        }
        done.purged = counts.into_iter().sum();
        for uri in order.changed.iter().filter_map(|url| url.parse::<Uri>().ok()) {
            for scope in self.scopes_of_changed(&uri) {
                self.store.purge(&scope, Mode::Hard, now);
            }
        }
        tracing::info!(target: "verge_edge::purge", ?order, purged = done.purged, "purged, as the process before was asked to");
        if self.has_left() {
            let next = self.purge_behind(order).await.unwrap_or_default();
            let is_whole = done.is_whole && next.is_whole;
            return Done { is_whole, ..next };
        }
        // Others wait for the end of this order: a disk that is slow must not hold up what changes nothing but a page.
        if order.must_last {
            done.until_restart_on = self.purges_last().await;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::site::Sites;
    use crate::store::{Bounds, Eviction, Store};

    fn tag(name: String) -> PurgeRequest {
        PurgeRequest { tag: Some(name), ..PurgeRequest::default() }
    }

    /// A process that has left, and what the next one hears.
    fn left() -> (Cache, mpsc::Receiver<Errand>) {
        let eviction = Eviction::Lru;
        let bounds = Bounds { memory_bytes: 1 << 20, eviction, tag_fields: Default::default() };
        let cache = Cache::new("edge".to_owned(), Sites::default(), Store::new(&bounds), Clock::system());
        let (way, errands) = way();
        cache.leave_to(way);
        (cache, errands)
    }

    #[tokio::test]
    async fn an_order_of_any_length_goes_in_parts_and_the_last_is_waited_for_until_it_lasts() {
        let (cache, mut errands) = left();
        let purges: Vec<PurgeRequest> = (0..20_000).map(|number| tag(format!("tag-{number}"))).collect();
        let hearing = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(Errand { order, done }) = errands.recv().await {
                assert!(serde_json::to_vec(&order).unwrap().len() < 256 << 10);
                let purged = Some(order.purges.len());
                let until_restart_on = if order.must_last { vec!["/disk".to_owned()] } else { Vec::new() };
                heard.push(order);
                drop(done.send(Done { purged, is_whole: true, until_restart_on }));
            }
            heard
        });
        let done = cache.purged(&purges, None).await.unwrap();
        assert_eq!((done.purged, done.until_restart_on), (Some(20_000), vec!["/disk".to_owned()]));
        assert!(cache.purged(&[], None).await.is_some(), "an empty one has a result, too");
        drop(cache);
        let heard = hearing.await.unwrap();
        assert_eq!(heard.iter().filter(|order| order.must_last).count(), 2);
        assert_eq!(heard.into_iter().flat_map(|order| order.purges).collect::<Vec<_>>(), purges);
    }

    #[test]
    fn long_names_are_few_in_one_part() {
        let changed: Vec<String> = (0..7).map(|_| "x".repeat(60_000)).collect();
        let order = Order { purges: vec![tag("a".repeat(300_000))], changed, must_last: false };
        let parts = order.parts();
        let names: Vec<_> = parts.iter().map(|part| (part.purges.len(), part.changed.len())).collect();
        assert_eq!(names, [(1, 0), (0, 2), (0, 2), (0, 2), (0, 1)]);
        assert!(parts.iter().all(|part| !part.must_last));
    }

    #[tokio::test]
    async fn a_part_that_was_not_done_is_told() {
        let (cache, mut errands) = left();
        let purges: Vec<PurgeRequest> = (0..1_000).map(|number| tag(number.to_string())).collect();
        tokio::spawn(async move {
            for is_whole in [true, false, true, true] {
                let errand = errands.recv().await.unwrap();
                drop(errand.done.send(Done { is_whole, ..Done::default() }));
            }
        });
        assert!(cache.purged(&purges, None).await.is_none());
    }
}
