//! The open connections of one transport: how many in all and of each client, and which one is closed when there is no
//! room for another.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::memory::{Allowance, Pool, Share};

/// The connections of one transport on all listeners of one side. Sides and transports have tables of their own: a flood
/// from outside closes no connection of the inside, and a flood over TLS closes none over TCP.
pub(crate) struct Table {
    born: Instant,
    pub(super) pool: Pool,
    /// Told whenever somebody has left.
    pub(super) left: Notify,
    state: Mutex<State>,
}

struct State {
    max: usize,
    max_per_client: usize,
    next: u64,
    places: HashMap<u64, Entry>,
    /// Every place by when it was active, as far as was looked: it may have been active since, and was not before.
    /// The search for room corrects the first of them until it is right, at no more than the activity's cost.
    by_activity: BTreeSet<(u64, u64)>,
    per_client: HashMap<IpAddr, Client>,
    open: Arc<AtomicU64>,
}

struct Entry {
    client: IpAddr,
    /// Milliseconds since the table was made.
    active_ms: Arc<AtomicU64>,
    /// As in `by_activity`.
    listed_ms: u64,
    evicted: CancellationToken,
}

/// The places of one client, and what they have of the pool together.
struct Client {
    places: Vec<u64>,
    share: Share,
}

impl Entry {
    fn active_ms(&self) -> u64 {
        self.active_ms.load(Ordering::Relaxed)
    }
}

/// A connection's place in the table; leaving it frees the place.
pub(super) struct Place {
    table: Arc<Table>,
    id: u64,
    active_ms: Arc<AtomicU64>,
    evicted: CancellationToken,
    /// Room for a question that arrives, or for an answer until its client has taken it.
    pub(super) allowance: Allowance,
}

/// The client an address stands for: an IPv6 client owns a whole /64 (RFC 6177), an IPv4 one its address.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Whether a connection was dropped for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Made,
    None,
}

impl Table {
    /// `open` is kept at the number of connections.
    pub(super) fn new(
        (max, max_per_client): (usize, usize),
        pool: Pool,
        open: Arc<AtomicU64>,
        now: Instant,
    ) -> Arc<Self> {
        let (places, per_client) = (HashMap::new(), HashMap::new());
        let by_activity = BTreeSet::new();
        let state = State { max, max_per_client, next: 0, places, by_activity, per_client, open };
        Arc::new(Self { born: now, pool, left: Notify::new(), state: Mutex::new(state) })
    }

    /// A place for a connection from `address`. If there is none, the connection that was idle longest leaves: of the
    /// same client if that client has too many, else of all.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Place {
        let listed_ms = self.millis(now);
        let active_ms = Arc::new(AtomicU64::new(listed_ms));
        let evicted = CancellationToken::new();
        let entry = Entry {
            client: client_of(address),
            active_ms: Arc::clone(&active_ms),
            listed_ms,
            evicted: evicted.clone(),
        };
        let (id, share) = self.lock().admit(entry, &self.pool);
        let allowance = Allowance::new(&self.pool, share);
        Place { table: Arc::clone(self), id, active_ms, evicted, allowance }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().places.len()
    }

    /// As [`Table::admit`], but nobody leaves who has been here for less than `patience`; then there is no place.
    pub(super) fn try_admit(
        self: &Arc<Self>,
        address: IpAddr,
        now: Instant,
        patience: Duration,
    ) -> Option<Place> {
        let before_ms = self.millis(now).checked_sub(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let in_the_way = self.lock().in_the_way(client_of(address));
        match in_the_way {
            Some(active_ms) if before_ms.is_none_or(|before_ms| active_ms > before_ms) => None,
            _ => Some(self.admit(address, now)),
        }
    }

    /// Makes room for somebody who cannot even be accepted.
    pub(super) fn drop_longest_idle(&self) -> Room {
        self.lock().evict_longest_idle()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change below is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&mut self, entry: Entry, pool: &Pool) -> (u64, Share) {
        let client = entry.client;
        // Found before anybody leaves: what a client's last connection still takes up is counted on its next one.
        let share = self.per_client.get(&client).map_or_else(|| pool.share(), |own| own.share.clone());
        if self.places_of(client).len() >= self.max_per_client {
            self.evict_longest_idle_of(client);
        } else if self.places.len() >= self.max {
            self.evict_longest_idle();
        }
        let id = self.next;
        self.next += 1;
        self.by_activity.insert((entry.listed_ms, id));
        self.places.insert(id, entry);
        let new = || Client { places: Vec::new(), share: share.clone() };
        self.per_client.entry(client).or_insert_with(new).places.push(id);
        self.open.fetch_add(1, Ordering::Relaxed);
        (id, share)
    }

    fn places_of(&self, client: IpAddr) -> &[u64] {
        self.per_client.get(&client).map_or(&[][..], |own| &own.places)
    }

    /// When the connection was active that would have to leave for one more of this client, if one has to.
    fn in_the_way(&mut self, client: IpAddr) -> Option<u64> {
        let own = self.places_of(client);
        if own.len() >= self.max_per_client {
            return own.iter().map(|id| self.places[id].active_ms()).min();
        }
        if self.places.len() < self.max {
            return None;
        }
        self.longest_idle().map(|(active_ms, _)| active_ms)
    }

    fn evict_longest_idle(&mut self) -> Room {
        match self.longest_idle() {
            Some((_, id)) => {
                self.remove(id);
                Room::Made
            }
            None => Room::None,
        }
    }

    fn longest_idle(&mut self) -> Option<(u64, u64)> {
        while let Some((listed_ms, id)) = self.by_activity.first().copied() {
            let entry = self.places.get_mut(&id).expect("who is listed is here");
            let active_ms = entry.active_ms();
            if active_ms == listed_ms {
                return Some((active_ms, id));
            }
            entry.listed_ms = active_ms;
            self.by_activity.pop_first();
            self.by_activity.insert((active_ms, id));
        }
        None
    }

    /// Looks at them all, who are few.
    fn evict_longest_idle_of(&mut self, client: IpAddr) {
        let own = self.places_of(client);
        if let Some(id) = own.iter().copied().min_by_key(|id| (self.places[id].active_ms(), *id)) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.places.remove(&id) else { return };
        entry.evicted.cancel();
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.by_activity.remove(&(entry.listed_ms, id));
        if let Some(own) = self.per_client.get_mut(&entry.client) {
            own.places.retain(|other| *other != id);
            if own.places.is_empty() {
                self.per_client.remove(&entry.client);
            }
        }
    }
}

impl Place {
    /// A whole message arrived.
    pub(super) fn active(&self, now: Instant) {
        self.active_ms.store(self.table.millis(now), Ordering::Relaxed);
    }

    /// How long ago the last whole message arrived.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        let active_ms = self.active_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.table.millis(now).saturating_sub(active_ms))
    }

    /// Ends when the place is needed by another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
        self.table.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::memory::What;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_idle_leaves_when_there_is_no_room() {
        let start = crate::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let open = Arc::new(AtomicU64::new(0));
        let table = Table::new((3, 2), Pool::new(0), Arc::clone(&open), start);
        let a = table.admit(address("192.0.2.1"), at(0));
        let b = table.admit(address("192.0.2.2"), at(1));
        let c = table.admit(address("192.0.2.3"), at(2));
        a.active(at(3));
        let _d = table.admit(address("192.0.2.4"), at(4));
        assert!(b.evicted.is_cancelled(), "b was idle longest");
        assert!(!a.evicted.is_cancelled() && !c.evicted.is_cancelled());
        assert_eq!(open.load(Ordering::Relaxed), 3);
        drop((b, c));
        assert_eq!(open.load(Ordering::Relaxed), 2);
        assert_eq!(table.lock().by_activity.len(), 2);
    }

    #[test]
    fn who_has_not_been_here_for_long_stays_where_there_is_patience() {
        let start = crate::clock::now();
        let table = Table::new((2, 1), Pool::new(0), Arc::default(), start);
        let patience = Duration::from_secs(1);
        let mut places = Vec::new();
        for (client, at_ms, expected) in [
            ("192.0.2.1", 0, true),
            ("192.0.2.1", 500, false),
            ("192.0.2.2", 600, true),
            ("192.0.2.3", 999, false),
            ("192.0.2.3", 1000, true),
            ("192.0.2.1", 1500, false),
            ("192.0.2.2", 1599, false),
            ("192.0.2.2", 1600, true),
        ] {
            let place = table.try_admit(address(client), start + Duration::from_millis(at_ms), patience);
            assert_eq!(place.is_some(), expected, "{client} at {at_ms} ms");
            places.extend(place);
        }
        let evicted: Vec<_> = places.iter().map(|place| place.evicted.is_cancelled()).collect();
        assert_eq!(evicted, [true, true, false, false]);
    }

    #[test]
    fn the_connections_of_a_client_share_what_it_may_have_of_the_pool() {
        const LONGEST: usize = 65_535;
        let now = crate::clock::now();
        let table = Table::new((100, 64), Pool::new(32 << 20), Arc::default(), now);
        // One /64 is one client.
        let places: Vec<_> =
            (1..=80).map(|n| table.admit(address(&format!("2001:db8::{n:x}")), now)).collect();
        let claim = |place: &Place| place.allowance.claim(What::Answer, LONGEST).ok();
        let all = |place: &Place| std::iter::from_fn(|| claim(place)).collect::<Vec<_>>();
        let taken: Vec<_> = places.iter().flat_map(all).collect();
        assert_eq!(taken.len(), (24 << 20) / 8 / LONGEST);
        assert!(claim(&table.admit(address("2001:db8:0:1::1"), now)).is_some(), "another client has its own");
        assert!(
            claim(&table.admit(address("2001:db8::ff"), now)).is_none(),
            "a new connection brings nothing"
        );
        drop(places);
        assert!(claim(&table.admit(address("2001:db8::1"), now)).is_some());
    }

    #[test]
    fn a_client_with_too_many_loses_its_own() {
        let start = crate::clock::now();
        let open = Arc::new(AtomicU64::new(0));
        let table = Table::new((10, 2), Pool::new(0), Arc::clone(&open), start);
        let other = table.admit(address("2001:db8:0:1::1"), start);
        // One /64 is one client.
        let first = table.admit(address("2001:db8::1"), start);
        let second = table.admit(address("2001:db8::2"), start);
        let third = table.admit(address("2001:db8::3"), start);
        assert!(first.evicted.is_cancelled());
        assert!(![&other, &second, &third].iter().any(|place| place.evicted.is_cancelled()));
        drop((other, first, second, third));
        assert_eq!(open.load(Ordering::Relaxed), 0);
        let state = table.lock();
        assert!(state.per_client.is_empty() && state.by_activity.is_empty() && state.places.is_empty());
    }
}
