//! Handshakes at once, in all and of each client network: they cost the most of what a client can ask for at no cost.
//!
//! When all places are taken, the oldest handshake that has had its time makes room. So clients that begin handshakes
//! and never end them keep nobody out for longer than that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::room::network;
use crate::clock::monotonic;

/// The handshakes under way.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: AtomicUsize,
    most_per_network: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their number, so the oldest first.
    under_way: BTreeMap<u64, Handshake>,
    next: u64,
}

#[derive(Debug)]
struct Handshake {
    /// None: of a proxy, which has many clients.
    network: Option<IpAddr>,
    since: Instant,
    evicted: CancellationToken,
}

/// One handshake's place.
#[derive(Debug)]
pub(super) struct Place {
    handshakes: Arc<Handshakes>,
    number: u64,
    evicted: CancellationToken,
}

/// A handshake that has taken this long makes room for another: two round trips around the world.
const PATIENCE: Duration = Duration::from_secs(1);

impl Handshakes {
    pub(super) fn new(most: usize, most_per_network: usize) -> Arc<Self> {
        let (most, most_per_network) = (AtomicUsize::new(most), AtomicUsize::new(most_per_network));
        Arc::new(Self { most, most_per_network, state: Mutex::default() })
    }

    /// From now on there are so many places. Handshakes under way keep theirs.
    pub(super) fn obey(&self, most: usize, most_per_network: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_network.store(most_per_network, Ordering::Relaxed);
    }

    /// A place for a handshake of this client; none if there is none. A proxy has no limit of its own.
    pub(super) fn begin(self: &Arc<Self>, client: IpAddr, is_proxy: bool) -> Option<Place> {
        self.begin_at(client, is_proxy, monotonic())
    }

    fn begin_at(self: &Arc<Self>, client: IpAddr, is_proxy: bool, now: Instant) -> Option<Place> {
        let network = (!is_proxy).then(|| network(client));
        let mut state = self.lock();
        if network.is_some() && state.of(network) >= self.most_per_network.load(Ordering::Relaxed) {
            state.evict(now, |other| other.network == network)?;
        }
        if state.under_way.len() >= self.most.load(Ordering::Relaxed) {
            state.evict(now, |_| true)?;
        }
        let evicted = CancellationToken::new();
        state.next += 1;
        let number = state.next;
        state.under_way.insert(number, Handshake { network, since: now, evicted: evicted.clone() });
        Some(Place { handshakes: Arc::clone(self), number, evicted })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&self, network: Option<IpAddr>) -> usize {
        self.under_way.values().filter(|other| other.network == network).count()
    }

    /// Ends the oldest of these that has had its time.
    fn evict(&mut self, now: Instant, of: impl Fn(&Handshake) -> bool) -> Option<()> {
        let (&number, oldest) = self.under_way.iter().find(|(_, other)| of(other))?;
        if now.saturating_duration_since(oldest.since) < PATIENCE {
            return None;
        }
        oldest.evicted.cancel();
        self.under_way.remove(&number);
        Some(())
    }
}

impl Place {
    /// Waits until the place is needed for another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.lock().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_network_and_slow_ones_make_room() {
        let handshakes = Handshakes::new(4, 2);
        let start = monotonic();
        let begin = |client: &str, is_proxy, ms| {
            handshakes.begin_at(client.parse().unwrap(), is_proxy, start + Duration::from_millis(ms))
        };
        let (one, two) = (begin("192.0.2.1", false, 0).unwrap(), begin("192.0.2.1", false, 10).unwrap());
        assert!(begin("192.0.2.1", false, 500).is_none(), "its network has all that it may have");
        assert!(begin("::ffff:192.0.2.1", false, 500).is_none(), "and is the same in IPv6's words");
        let _others = [begin("198.51.100.1", true, 500).unwrap(), begin("198.51.100.1", true, 500).unwrap()];
        assert!(begin("192.0.2.9", false, 900).is_none(), "all are taken");
        let third = begin("192.0.2.1", false, 1_000).unwrap();
        assert!(one.evicted.is_cancelled() && !two.evicted.is_cancelled());
        let _fourth = begin("192.0.2.9", false, 1_010).unwrap();
        assert!(two.evicted.is_cancelled(), "the oldest of all");
        drop(third);
        assert!(begin("192.0.2.1", false, 1_010).is_some(), "a place that was left is free");
        drop((one, two));
        assert_eq!(handshakes.lock().under_way.len(), 3, "a place is left once");
    }
}
