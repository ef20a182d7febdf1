//! Who is connected: how many in all and from each client, and who was idle longest when there is no more room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The connections of one transport on all listeners of one side. Nothing shares a table, so that a flood from outside
/// does not close the connections of the inside, nor one over TLS those over TCP.
pub(crate) struct Table {
    born: Instant,
    state: Mutex<State>,
}

struct State {
    max: usize,
    max_per_client: usize,
    next: u64,
    guests: HashMap<u64, Entry>,
    per_client: HashMap<IpAddr, usize>,
    open: Arc<AtomicU64>,
}

struct Entry {
    client: IpAddr,
    /// Milliseconds since the table was made.
    active_ms: Arc<AtomicU64>,
    evicted: CancellationToken,
}

/// A connection's place in the table; leaving it frees the place.
pub(super) struct Guest {
    table: Arc<Table>,
    id: u64,
    active_ms: Arc<AtomicU64>,
    evicted: CancellationToken,
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
    pub(crate) fn new(max: usize, max_per_client: usize, open: Arc<AtomicU64>, now: Instant) -> Arc<Self> {
        let (guests, per_client) = (HashMap::new(), HashMap::new());
        let state = State { max, max_per_client, next: 0, guests, per_client, open };
        Arc::new(Self { born: now, state: Mutex::new(state) })
    }

    /// A place for a connection from `address`. If there is none, the connection that was idle longest leaves: of the
    /// same client if that client has too many, else of all.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Guest {
        let active_ms = Arc::new(AtomicU64::new(self.millis(now)));
        let evicted = CancellationToken::new();
        let entry =
            Entry { client: client_of(address), active_ms: Arc::clone(&active_ms), evicted: evicted.clone() };
        let id = self.lock().admit(entry);
        Guest { table: Arc::clone(self), id, active_ms, evicted }
    }

    /// Makes room for somebody who cannot even be accepted.
    pub(super) fn drop_longest_idle(&self) -> Room {
        self.lock().evict(|_| true)
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
    fn admit(&mut self, entry: Entry) -> u64 {
        let client = entry.client;
        if self.per_client.get(&client).is_some_and(|count| *count >= self.max_per_client) {
            self.evict(|other| other.client == client);
        } else if self.guests.len() >= self.max {
            self.evict(|_| true);
        }
        let id = self.next;
        self.next += 1;
        self.guests.insert(id, entry);
        *self.per_client.entry(client).or_default() += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        id
    }

    fn evict(&mut self, eligible: impl Fn(&Entry) -> bool) -> Room {
        let longest_idle = self
            .guests
            .iter()
            .filter(|(_, entry)| eligible(entry))
            .min_by_key(|(id, entry)| (entry.active_ms.load(Ordering::Relaxed), **id))
            .map(|(id, _)| *id);
        match longest_idle {
            Some(id) => {
                self.remove(id);
                Room::Made
            }
            None => Room::None,
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.guests.remove(&id) else { return };
        entry.evicted.cancel();
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.per_client.get_mut(&entry.client) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&entry.client);
            }
        }
    }
}

impl Guest {
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

impl Drop for Guest {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_idle_leaves_when_there_is_no_room() {
        let start = crate::serve::clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let open = Arc::new(AtomicU64::new(0));
        let table = Table::new(3, 2, Arc::clone(&open), start);
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
    }

    #[test]
    fn a_client_with_too_many_loses_its_own() {
        let start = crate::serve::clock::now();
        let open = Arc::new(AtomicU64::new(0));
        let table = Table::new(10, 2, Arc::clone(&open), start);
        let other = table.admit(address("2001:db8:0:1::1"), start);
        // One /64 is one client.
        let first = table.admit(address("2001:db8::1"), start);
        let second = table.admit(address("2001:db8::2"), start);
        let third = table.admit(address("2001:db8::3"), start);
        assert!(first.evicted.is_cancelled());
        assert!(![&other, &second, &third].iter().any(|guest| guest.evicted.is_cancelled()));
        drop((other, first, second, third));
        assert_eq!(open.load(Ordering::Relaxed), 0);
        assert!(table.lock().per_client.is_empty());
    }
}
