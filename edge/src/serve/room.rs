//! Which connection may come, and which goes for it when there are as many as there may be.
//!
//! A connection on which no request is being answered costs its client nothing to lose: it asks again on another. So the
//! one that has been idle longest goes first. No network takes the places of all others (an IPv4 address, or an IPv6
//! /56, which is what one customer is given).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::monotonic;

/// All places for connections.
#[derive(Debug)]
pub(crate) struct Room {
    places: Mutex<Places>,
    left: Notify,
    started: Instant,
    /// Connections with a request under way: a count, since a public path asks for it.
    answering: AtomicUsize,
    limit: AtomicUsize,
    network_limit: AtomicUsize,
}

#[derive(Debug, Default)]
struct Places {
    taken: HashMap<u64, Place>,
    by_network: HashMap<IpAddr, usize>,
    /// Of those taken.
    spare: usize,
    next: u64,
}

#[derive(Debug)]
struct Place {
    network: IpAddr,
    is_spare: bool,
    idle: Arc<Idle>,
}

/// Since when no request is answered on a connection.
#[derive(Debug)]
struct Idle {
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// When the last of them was, in ms from the room's start.
    since_ms: AtomicU64,
    /// Whether there was a request on it.
    has_asked: AtomicBool,
    /// Told when the connection must go.
    evicted: CancellationToken,
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
    idle: Arc<Idle>,
    /// Beyond the limit, for a client that asks whether the edge is well.
    pub(super) is_spare: bool,
    /// Another connection had to go for it.
    pub(super) has_replaced: bool,
}

/// A connection's handle on its place, which tells the place of requests.
#[derive(Debug, Clone)]
pub(super) struct Occupant {
    room: Arc<Room>,
    idle: Arc<Idle>,
}

/// A request is being answered until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Occupant);

/// Whether a connection may come.
#[derive(Debug)]
pub(super) enum Entry {
    Seat(Seat),
    /// Its network has all the places that one may have, and all are in use.
    NetworkFull,
    /// All places are in use; one may be left soon.
    Full,
}

/// Places beyond the limit: health checks are answered there, and nothing else.
const SPARE: usize = 16;
/// hyper closes an idle connection at once; one that has begun another head is given this long.
const GRACE: Duration = Duration::from_secs(1);

impl Room {
    pub(super) fn new(limit: usize, network_limit: usize) -> Arc<Self> {
        let (places, left, started) = (Mutex::default(), Notify::new(), monotonic());
        let (limit, network_limit) = (AtomicUsize::new(limit), AtomicUsize::new(network_limit));
        Arc::new(Self { places, left, started, answering: AtomicUsize::new(0), limit, network_limit })
    }

    /// Connections with a request under way, and how many connections there may be.
    pub(super) fn busy(&self) -> (usize, usize) {
        (self.answering.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }

    /// From now on there are so many places. Those that are taken beyond it stay so.
    pub(super) fn obey(&self, limit: usize, network_limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.network_limit.store(network_limit, Ordering::Relaxed);
        // Somebody may wait for a place that is there now.
        self.left.notify_one();
    }

    /// A place for a connection from this address; the one that was idle longest goes for it. Many clients stand behind
    /// each of `trusted`, so that these have no limit of their own.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, trusted: &[IpNet]) -> Entry {
        let network = network(client);
        let (limit, network_limit) =
            (self.limit.load(Ordering::Relaxed), self.network_limit.load(Ordering::Relaxed));
        let mut places = self.lock();
        let is_limited = !trusted.iter().any(|trusted| trusted.contains(&client.to_canonical()));
        let of_network = places.by_network.get(&network).copied().unwrap_or(0);
        let before = places.taken.len();
        if is_limited && of_network >= network_limit && !places.evict(|place| place.network == network) {
            return Entry::NetworkFull;
        }
        let regular = places.taken.len() - places.spare;
        let is_spare = regular >= limit && !places.evict(|place| !place.is_spare);
        if is_spare && places.spare >= SPARE && !places.evict(|place| place.is_spare) {
            return Entry::Full;
        }
        let idle = Arc::new(Idle {
            answering: AtomicUsize::new(0),
            since_ms: AtomicU64::new(self.now_ms()),
            has_asked: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let has_replaced = places.taken.len() < before;
        let number = places.take(Place { network, is_spare, idle: Arc::clone(&idle) });
        Entry::Seat(Seat { room: Arc::clone(self), number, idle, is_spare, has_replaced })
    }

    /// Waits until a place is left.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }

    fn now_ms(&self) -> u64 {
        self.ms_at(monotonic())
    }

    fn ms_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, place: Place) -> u64 {
        self.next += 1;
        self.spare += usize::from(place.is_spare);
        *self.by_network.entry(place.network).or_default() += 1;
        self.taken.insert(self.next, place);
        self.next
    }

    fn leave(&mut self, number: u64) {
        let Some(place) = self.taken.remove(&number) else { return };
        self.spare -= usize::from(place.is_spare);
        if let Some(count) = self.by_network.get_mut(&place.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&place.network);
            }
        }
    }

    /// Sends the one of these away that has been idle longest; whether there was one.
    fn evict(&mut self, of: impl Fn(&Place) -> bool) -> bool {
        let candidates = self.taken.iter().filter(|(_, place)| of(place));
        let idle = candidates.filter_map(|(&number, place)| {
            let since = place.idle.since_ms.load(Ordering::Acquire);
            place.idle.is_idle().then_some((since, number))
        });
        let Some((_, number)) = idle.min() else { return false };
        if let Some(place) = self.taken.get(&number) {
            place.idle.evicted.cancel();
        }
        self.leave(number);
        true
    }
}

impl Idle {
    fn is_idle(&self) -> bool {
        self.answering.load(Ordering::Acquire) == 0
    }
}

impl Occupant {
    /// A request has come.
    pub(super) fn busy(&self) -> Busy {
        self.idle.has_asked.store(true, Ordering::Release);
        if self.idle.answering.fetch_add(1, Ordering::AcqRel) == 0 {
            self.room.answering.fetch_add(1, Ordering::Relaxed);
        }
        Busy(self.clone())
    }
}

impl Seat {
    pub(super) fn occupant(&self) -> Occupant {
        Occupant { room: Arc::clone(&self.room), idle: Arc::clone(&self.idle) }
    }

    /// A request has come.
    pub(super) fn busy(&self) -> Busy {
        self.occupant().busy()
    }

    /// A request has come, and its answer was given at `now`.
    pub(super) fn answered(&self, now: Instant) {
        if !self.idle.has_asked.load(Ordering::Relaxed) {
            self.idle.has_asked.store(true, Ordering::Release);
        }
        self.idle.since_ms.store(self.room.ms_at(now), Ordering::Release);
    }

    /// Waits until an evicted connection may be dropped: at once if it has never asked, else when it has had time to
    /// take what it was sent, and no request of it is being answered.
    pub(super) async fn given_up(&self) {
        self.evicted().await;
        while self.idle.has_asked.load(Ordering::Acquire) {
            tokio::time::sleep(GRACE).await;
            if self.idle.is_idle() {
                return;
            }
        }
    }

    /// Waits until the connection must go.
    pub(super) async fn evicted(&self) {
        self.idle.evicted.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.lock().leave(self.number);
        self.room.left.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Occupant { room, idle } = &self.0;
        idle.since_ms.store(room.now_ms(), Ordering::Release);
        if idle.answering.fetch_sub(1, Ordering::AcqRel) == 1 {
            room.answering.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The network of one customer: an IPv4 address, an IPv6 /56.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(room: &Arc<Room>, client: &str) -> Option<Seat> {
        let trusted = ["198.51.100.0/24".parse().unwrap()];
        match room.enter(client.parse().unwrap(), &trusted) {
            Entry::Seat(seat) => Some(seat),
            Entry::NetworkFull | Entry::Full => None,
        }
    }

    fn is_gone(seat: &Seat) -> bool {
        seat.idle.evicted.is_cancelled()
    }

    #[test]
    fn who_was_idle_longest_goes_when_all_places_are_taken() {
        let room = Room::new(3, 3);
        let seats: Vec<Seat> = (1..=3).map(|n| seat(&room, &format!("192.0.2.{n}")).unwrap()).collect();
        for (seat, since) in seats.iter().zip([30, 10, 20]) {
            seat.idle.since_ms.store(since, Ordering::Release);
        }
        let busy = seats[1].busy();
        let fourth = seat(&room, "192.0.2.4").unwrap();
        assert_eq!(seats.iter().map(is_gone).collect::<Vec<_>>(), [false, false, true]);
        assert!(!fourth.is_spare);
        drop(busy);
        assert!(seats[1].idle.is_idle());
    }

    #[test]
    fn when_all_are_in_use_only_spare_places_are_left() {
        let room = Room::new(1, 100);
        let first = seat(&room, "192.0.2.1").unwrap();
        let _busy = first.busy();
        let spare: Vec<(Seat, Busy)> = (0..SPARE)
            .map(|_| seat(&room, "192.0.2.2").unwrap())
            .map(|seat| {
                let busy = seat.busy();
                (seat, busy)
            })
            .collect();
        assert!(spare.iter().all(|(seat, _)| seat.is_spare));
        assert!(seat(&room, "192.0.2.3").is_none());
        drop(spare);
        assert!(seat(&room, "192.0.2.3").unwrap().is_spare);
    }

    #[test]
    fn a_network_has_its_limit_and_loses_its_own_first() {
        let check = |own: &str, same: &str, other: &str| {
            let room = Room::new(100, 2);
            let (first, second) = (seat(&room, own).unwrap(), seat(&room, own).unwrap());
            let (_one, two) = (first.busy(), second.busy());
            assert!(seat(&room, same).is_none(), "{own} {same}");
            let far = seat(&room, other).unwrap();
            drop(two);
            let third = seat(&room, same).unwrap();
            assert!(is_gone(&second) && !is_gone(&first) && !is_gone(&far), "{own} {same}");
            drop((second, third));
            assert!(!seat(&room, same).unwrap().is_spare);
        };
        check("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2");
        check("2001:db8::1", "2001:db8:0:ff::2", "2001:db8:0:100::1");
        let room = Room::new(100, 1);
        let proxied: Vec<Seat> = (0..5).map(|_| seat(&room, "198.51.100.7").unwrap()).collect();
        assert!(!proxied.iter().any(is_gone));
    }

    #[test]
    fn limits_that_a_reload_changes_count_for_those_who_come() {
        let room = Room::new(10, 1);
        let first = seat(&room, "192.0.2.1").unwrap();
        let _busy = first.busy();
        assert!(seat(&room, "192.0.2.1").is_none());
        room.obey(10, 2);
        let second = seat(&room, "192.0.2.1").unwrap();
        let _busy_too = second.busy();
        room.obey(2, 2);
        assert!(seat(&room, "192.0.2.2").unwrap().is_spare && !is_gone(&first) && !is_gone(&second));
    }

    #[test]
    fn a_connection_is_busy_once_however_many_requests_it_has_under_way() {
        let room = Room::new(10, 10);
        let (first, second) = (seat(&room, "192.0.2.1").unwrap(), seat(&room, "192.0.2.2").unwrap());
        assert_eq!(room.busy(), (0, 10));
        let (one, two, three) = (first.busy(), first.busy(), second.busy());
        assert_eq!(room.busy(), (2, 10));
        drop(one);
        assert_eq!(room.busy(), (2, 10), "the first has one more under way");
        drop((two, three));
        assert_eq!(room.busy(), (0, 10));
    }

    /// A public path asks for it: it must not wait for those who come and go.
    #[test]
    fn the_load_is_told_while_the_places_are_locked() {
        let room = Room::new(10, 10);
        let first = seat(&room, "192.0.2.1").unwrap();
        let _busy = first.busy();
        let _locked = room.lock();
        let (tell, told) = std::sync::mpsc::channel();
        let other = Arc::clone(&room);
        std::thread::spawn(move || tell.send(other.busy()));
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok((1, 10)));
    }

    #[test]
    fn what_is_left_is_forgotten() {
        let room = Room::new(10, 10);
        drop((0..10).map(|n| seat(&room, &format!("192.0.2.{n}"))).collect::<Vec<_>>());
        assert!(room.lock().taken.is_empty() && room.lock().by_network.is_empty());
    }
}
