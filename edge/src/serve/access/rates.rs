//! How much each network has left of each rate: a table of fixed size, in which the one longest idle goes first.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};

use crate::serve::room;
use crate::site::access::Rate;

/// Empty until the first rate is asked for.
#[derive(Debug, Default)]
pub(super) struct Rates(OnceLock<Table>);

#[derive(Debug)]
struct Table {
    sets: Vec<Mutex<[Slot; WAYS]>>,
    /// Nobody can choose addresses that share a set.
    secret: (u64, u64),
}

/// A network's remaining share of a rate.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    scope: u64,
    network: u64,
    /// In microseconds of the epoch; 0 in a slot that nobody has.
    full_at_us: u64,
}

/// 32,768 networks, 0.8 MB.
const SETS: usize = 4096;
const WAYS: usize = 8;

impl Rates {
    /// Takes one from what the client's network has left of `rate`.
    ///
    /// # Errors
    /// When there is none: the time until there is.
    pub(super) fn take(&self, rate: &Rate, client: IpAddr, now: SystemTime) -> Result<(), Duration> {
        self.with(rate, client, |full_at_us| {
            *full_at_us = rate.take(*full_at_us, since_epoch_us(now))?;
            Ok(())
        })
    }

    /// Whether one could be taken.
    ///
    /// # Errors
    /// As [`Rates::take`].
    pub(super) fn look(&self, rate: &Rate, client: IpAddr, now: SystemTime) -> Result<(), Duration> {
        let known = self.with_known(rate, client, |full_at_us| rate.take(*full_at_us, since_epoch_us(now)));
        known.map_or(Ok(()), |taken| taken.map(drop))
    }

    /// Gives back one that was taken.
    pub(super) fn give_back(&self, rate: &Rate, client: IpAddr) {
        self.with_known(rate, client, |full_at_us| *full_at_us = rate.give_back(*full_at_us));
    }

    fn with<R>(&self, rate: &Rate, client: IpAddr, change: impl FnOnce(&mut u64) -> R) -> R {
        self.0.get_or_init(Table::new).with(rate.scope, number(room::network(client)), change)
    }

    /// None for a network of which nothing is known: that takes no other's slot.
    fn with_known<R>(&self, rate: &Rate, client: IpAddr, change: impl FnOnce(&mut u64) -> R) -> Option<R> {
        self.0.get()?.with_known(rate.scope, number(room::network(client)), change)
    }
}

impl Table {
    fn new() -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { sets, secret: rand::random() }
    }

    fn with<R>(&self, scope: u64, network: u64, change: impl FnOnce(&mut u64) -> R) -> R {
        let mut set = self.set(scope, network);
        let index = set.iter().position(|slot| slot.is_of(scope, network)).unwrap_or_else(|| {
            // The one that is full soonest, or has been for longest, has the least to remember.
            let oldest = set.iter().enumerate().min_by_key(|(_, slot)| slot.full_at_us);
            let index = oldest.map_or(0, |(index, _)| index);
            set[index] = Slot { scope, network, full_at_us: 0 };
            index
        });
        change(&mut set[index].full_at_us)
    }

    fn with_known<R>(&self, scope: u64, network: u64, change: impl FnOnce(&mut u64) -> R) -> Option<R> {
        let mut set = self.set(scope, network);
        let slot = set.iter_mut().find(|slot| slot.is_of(scope, network))?;
        Some(change(&mut slot.full_at_us))
    }

    fn set(&self, scope: u64, network: u64) -> MutexGuard<'_, [Slot; WAYS]> {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        (scope, network).hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % SETS as u64).expect("less than SETS");
        self.sets[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_of(&self, scope: u64, network: u64) -> bool {
        self.full_at_us > 0 && (self.scope, self.network) == (scope, network)
    }
}

/// An IPv4 address or the first 56 bits of an IPv6 address.
fn number(network: IpAddr) -> u64 {
    match network {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => 1 << 63 | u64::try_from(address.to_bits() >> 72).unwrap_or_default(),
    }
}

fn since_epoch_us(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000) + Duration::from_millis(millis)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_network_has_its_own_of_each_rate() {
        let (rates, rate) = (Rates::default(), Rate::parse("2/s", 1).unwrap());
        let other = Rate { scope: 2, ..rate };
        let take = |rate: &Rate, client: &str, millis| rates.take(rate, address(client), at(millis)).is_ok();
        assert!(take(&rate, "192.0.2.1", 0) && take(&rate, "::ffff:192.0.2.1", 0));
        assert!(!take(&rate, "192.0.2.1", 0) && rates.look(&rate, address("192.0.2.1"), at(0)).is_err());
        assert!(take(&rate, "192.0.2.2", 0) && take(&other, "192.0.2.1", 0));
        assert!(take(&rate, "192.0.2.1", 500) && !take(&rate, "192.0.2.1", 500));
        rates.give_back(&rate, address("192.0.2.1"));
        assert!(take(&rate, "192.0.2.1", 500));
        assert!(take(&rate, "2001:db8::1", 0) && take(&rate, "2001:db8:0:ff::2", 0));
        assert!(!take(&rate, "2001:db8:0:1::3", 0) && take(&rate, "2001:db8:0:100::1", 0));
    }

    #[test]
    fn a_network_that_only_looks_takes_no_other_ones_place() {
        let (rates, rate) = (Rates::default(), Rate::parse("1/h", 1).unwrap());
        let busy = address("192.0.2.1");
        assert!(rates.look(&rate, busy, at(0)).is_ok() && rates.take(&rate, busy, at(0)).is_ok());
        for number in 0..u32::try_from(SETS * WAYS * 8).unwrap() {
            let passer = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(rates.look(&rate, passer, at(1)).is_ok());
            rates.give_back(&rate, passer);
        }
        assert!(rates.take(&rate, busy, at(2)).is_err(), "it is remembered");
    }

    #[test]
    fn a_crowd_takes_no_more_room_and_the_busiest_are_remembered() {
        let (table, rate) = (Table::new(), Rate::parse("1/h", 1).unwrap());
        let take = |network: u64| {
            table.with(rate.scope, network, |full_at| match rate.take(*full_at, 1_000_000 + network) {
                Ok(next) => {
                    *full_at = next;
                    true
                }
                Err(_) => false,
            })
        };
        let crowd = (SETS * WAYS * 4) as u64;
        assert!((0..crowd).all(take));
        assert_eq!(table.sets.len(), SETS);
        assert!(!take(crowd - 1), "the last to come is remembered");
    }
}
