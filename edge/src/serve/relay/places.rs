//! How many connections streams may have: each stream, and each network of clients on all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::serve::room::network;

/// Places for connections; a reload may change how many there are.
#[derive(Debug, Default)]
pub(super) struct Places {
    most: AtomicUsize,
    taken: AtomicUsize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// From now on there are so many. Those that are taken beyond it stay so.
    pub(super) fn obey(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A place, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connections of each network.
#[derive(Debug, Default)]
pub(super) struct Networks(Mutex<HashMap<IpAddr, usize>>);

/// One connection of a network, until it is dropped.
#[derive(Debug)]
pub(super) struct OfNetwork {
    networks: Arc<Networks>,
    network: IpAddr,
}

impl Networks {
    /// A place for a client, if its network has fewer than `most`.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<OfNetwork> {
        let network = network(client);
        let mut taken = self.lock();
        let of_network = taken.entry(network).or_default();
        if *of_network >= most {
            return None;
        }
        *of_network += 1;
        Some(OfNetwork { networks: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfNetwork {
    fn drop(&mut self) {
        let mut taken = self.networks.lock();
        let left = taken.get_mut(&self.network).map(|of_network| {
            *of_network -= 1;
            *of_network
        });
        if left == Some(0) {
            taken.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_changes_how_many_places_there_are_and_those_taken_still_count() {
        let places = Arc::<Places>::default();
        places.obey(2);
        let (one, _two) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        places.obey(3);
        let _three = places.take().unwrap();
        assert!(places.take().is_none(), "those of before the reload count");
        places.obey(2);
        drop(one);
        assert!(places.take().is_none(), "two are left, and two there may be");
    }

    #[test]
    fn a_network_has_its_bound_and_is_forgotten_when_its_last_connection_ends() {
        let networks = Arc::<Networks>::default();
        let take = |client: &str| networks.take(client.parse().unwrap(), 2);
        let check = |own: &str, same: &str, other: &str| {
            let (one, _two) = (take(own).unwrap(), take(same).unwrap());
            assert!(take(own).is_none() && take(same).is_none(), "{own} {same}");
            assert!(take(other).is_some(), "{other}");
            drop(one);
            assert!(take(same).is_some(), "{same}");
        };
        check("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2");
        check("2001:db8::1", "2001:db8:0:ff::2", "2001:db8:0:100::1");
        assert!(networks.lock().is_empty());
    }
}
