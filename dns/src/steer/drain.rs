//! Orders to send nobody to an address, which all name servers of a quorum obey, and whether each of them does already.
//!
//! An address has one order that counts: the one with the highest sequence. The sequence of a new order is above that of the order
//! that it replaces, and it is the time of day at least: so an order counts more than those that its name server never heard of or
//! forgot, as far as clocks are right, and more than those that it knows whatever the clocks say. Name servers pass on all that
//! they know, so that in the end all know the same, whoever heard of it from whom.
//!
//! Invariant: an order names its address and its origin by numbers; no address and no name is in it.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::zone::hash::HashMap;

/// Addresses that orders are known of, those that were undone counted as well.
pub const MOST_ORDERS: usize = 1 << 14;

/// A higher sequence is no time of day and no count of orders, and nothing could ever replace the highest one of all.
const HIGHEST_SEQUENCE: u64 = u64::MAX / 2;

/// To send nobody to an address, or to send users there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The number of the address ([`address_id`]).
    pub address: u64,
    /// Whether nobody is to be sent there.
    pub is_out: bool,
    /// When it was given, in milliseconds since 1970, by the clock of its origin.
    pub at: u64,
    /// The number of the name server that it was given to ([`node_id`]).
    pub origin: u64,
    /// The highest counts: that of the order before and one, or `at` where that is more.
    pub sequence: u64,
}

impl Order {
    /// Of two orders that two name servers were given before they heard of each other's, the one that sends nobody counts.
    fn rank(&self) -> (u64, bool, u64, u64) {
        (self.sequence, self.is_out, self.origin, self.at)
    }
}

/// The number of an address, the same on every name server.
pub fn address_id(address: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new();
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish()
}

/// The number of a name server, by the name of its certificate.
pub fn node_id(name: &str) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(name.to_ascii_lowercase().as_bytes());
    hasher.finish()
}

/// All orders that a name server knows. A version is a number of the caller's that rises with each change.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// By address, and the version of each.
    all: HashMap<u64, (Order, u64)>,
    out: usize,
}

impl Orders {
    /// The order to send nobody to this address, if that is the one that counts.
    pub fn out(&self, address: IpAddr) -> Option<&Order> {
        if self.out == 0 {
            return None;
        }
        self.get(address).filter(|order| order.is_out)
    }

    /// Whether nobody is to be sent to the address of this number.
    pub fn is_out(&self, address: u64) -> bool {
        self.all.get(&address).is_some_and(|(order, _)| order.is_out)
    }

    fn get(&self, address: IpAddr) -> Option<&Order> {
        self.all.get(&address_id(address)).map(|(order, _)| order)
    }

    /// Those that this name server did not know at this version.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Order> {
        self.all.values().filter(move |(_, of)| *of > version).map(|(order, _)| order)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Order> {
        self.all.values().map(|(order, _)| order)
    }

    /// An order that counts more than the one of before, as a name server is given it.
    pub fn next(&self, address: IpAddr, is_out: bool, origin: u64, at: u64) -> Order {
        let before = self.get(address).map_or(0, |before| before.sequence);
        let sequence = before.saturating_add(1).max(at);
        Order { address: address_id(address), is_out, at, origin, sequence }
    }

    /// Takes in an order; whether it counts from now on, and there was room for it.
    pub fn take(&mut self, order: Order, version: u64) -> bool {
        let before = self.all.get(&order.address).map(|(before, _)| *before);
        if order.sequence > HIGHEST_SEQUENCE || before.is_some_and(|before| before.rank() >= order.rank()) {
            return false;
        }
        if !(self.has_room(&order) || order.is_out && self.forget_one()) {
            return false;
        }
        self.out -= usize::from(before.is_some_and(|before| before.is_out));
        self.out += usize::from(order.is_out);
        self.all.insert(order.address, (order, version));
        true
    }

    /// Whether an order needs no other one to be forgotten.
    pub fn has_room(&self, order: &Order) -> bool {
        self.all.len() < MOST_ORDERS || self.all.contains_key(&order.address)
    }

    /// Forgets the oldest order of those that take an address out of service which is not in `used`; whether there was one.
    pub fn forget_unused(&mut self, used: &BTreeSet<u64>) -> bool {
        let unused = self.iter().filter(|order| order.is_out && !used.contains(&order.address));
        let Some(first) = unused.min_by_key(|order| order.at).map(|order| order.address) else {
            return false;
        };
        self.out -= 1;
        self.all.remove(&first).is_some()
    }

    /// Forgets the order that was undone first: a name server that was away since then, and obeys it, would bring it back.
    fn forget_one(&mut self) -> bool {
        let undone = self.iter().filter(|order| !order.is_out);
        let Some(first) = undone.min_by_key(|order| order.at).map(|order| order.address) else {
            return false;
        };
        self.all.remove(&first).is_some()
    }
}

/// Why a member is not taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDrained {
    /// No pool has it.
    NoMember,
    /// Too many are.
    TooMany,
    /// An order that another name server told counts more than any that could be given.
    Overruled,
    /// Another process takes over just now.
    HandingOver,
}

impl fmt::Display for NotDrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMember => "no pool has it",
            Self::TooMany => "too many members are drained; put some back in service first",
            Self::Overruled => {
                "an order of another name server counts more, since its number is out of range"
            }
            Self::HandingOver => "another process takes over just now; ask again in a moment",
        })
    }
}

/// An address to which a name server sends nobody, while answers that it gave may still name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The number of the address.
    pub address: u64,
    /// Milliseconds until no such answer is kept any more; none while it still gives the address, since it has no other.
    pub left: Option<u64>,
}

/// How far another name server obeys an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obeyed {
    /// It did not say yet that it knows it.
    Unknown,
    /// It gives the address all the same, since it has no other.
    Gives,
    /// It sends nobody there; as many milliseconds are left until no answer that it gave is kept any more.
    Left(u64),
}

/// The orders that another name server said it knows.
#[derive(Clone, Debug, Default)]
pub struct Confirmed {
    orders: HashMap<u64, Order>,
    /// As it said last: until when answers are kept, by the listener's clock in milliseconds.
    waits: HashMap<u64, Option<u64>>,
}

impl Confirmed {
    /// Whether there is room for a message, `whole` if all that was said before is void.
    pub fn has_room(&self, whole: bool, orders: &[Order], waits: &[Wait]) -> bool {
        let before = if whole { 0 } else { self.orders.len() };
        before + orders.len() <= 2 * MOST_ORDERS && waits.len() <= MOST_ORDERS
    }

    /// Takes in a message that came at `now`, for which there is room.
    pub fn take(&mut self, whole: bool, orders: &[Order], waits: &[Wait], now: u64) {
        if whole {
            self.orders = HashMap::default();
        }
        self.orders.extend(orders.iter().map(|order| (order.address, *order)));
        let until = |wait: &Wait| (wait.address, wait.left.map(|left| now.saturating_add(left)));
        self.waits = waits.iter().map(until).collect();
    }

    /// How far it obeys an order.
    pub fn obeys(&self, order: &Order, now: u64) -> Obeyed {
        let knows = self.orders.get(&order.address).is_some_and(|known| known.rank() >= order.rank());
        match self.waits.get(&order.address) {
            _ if !knows => Obeyed::Unknown,
            None => Obeyed::Left(0),
            Some(None) => Obeyed::Gives,
            Some(Some(until)) => Obeyed::Left(until.saturating_sub(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EDGE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_last_order_counts_whatever_the_clocks_of_name_servers_say() {
        let (mut here, mut there) = (Orders::default(), Orders::default());
        let drained = here.next(EDGE, true, 1, 900_000);
        assert!(here.take(drained, 1) && there.take(drained, 1));
        // The clock of the other one is years behind.
        let undone = there.next(EDGE, false, 2, 5);
        assert!(there.take(undone, 2) && here.take(undone, 2));
        assert!(here.out(EDGE).is_none() && there.out(EDGE).is_none());
        assert!(!here.take(drained, 3), "an old order that comes late");
        assert_eq!((here.since(1).count(), here.since(2).count()), (1, 0));
    }

    #[test]
    fn an_order_counts_more_than_older_ones_that_its_name_server_does_not_know() {
        let (mut here, mut there) = (Orders::default(), Orders::default());
        for (at, is_out) in [(1000, true), (2000, false)] {
            let order = here.next(EDGE, is_out, 1, at);
            assert!(here.take(order, at));
        }
        // The other one was cut off, or lost what it had kept.
        let later = there.next(EDGE, true, 2, 3000);
        assert!(there.take(later, 1) && here.take(later, 3));
        let undone = Orders::default().next(EDGE, false, 3, 4000);
        assert!(here.take(undone, 4) && there.take(undone, 2), "it never heard of the drain");
        assert!(!here.is_out(address_id(EDGE)) && !there.is_out(address_id(EDGE)));
    }

    #[test]
    fn an_order_that_nothing_could_undo_is_not_taken() {
        let mut orders = Orders::default();
        let order = |sequence| Order { address: address_id(EDGE), is_out: true, at: 7, origin: 1, sequence };
        assert!(!orders.take(order(u64::MAX), 1) && !orders.take(order(HIGHEST_SEQUENCE + 1), 1));
        assert!(orders.take(order(HIGHEST_SEQUENCE - 1), 1));
        let undone = orders.next(EDGE, false, 2, 8);
        assert!(orders.take(undone, 2) && orders.out(EDGE).is_none());
    }

    #[test]
    fn of_two_orders_that_were_given_at_once_the_one_that_sends_nobody_counts() {
        let mut orders = Orders::default();
        let order = |is_out, origin| Order { address: address_id(EDGE), is_out, at: 7, origin, sequence: 4 };
        assert!(orders.take(order(true, 1), 1));
        assert!(!orders.take(order(false, 9), 2));
        assert!(orders.out(EDGE).is_some());
    }

    #[test]
    fn another_one_has_obeyed_once_it_says_so_and_no_answer_that_it_gave_is_kept() {
        let order = Order { address: 5, is_out: true, at: 7, origin: 1, sequence: 2 };
        let mut confirmed = Confirmed::default();
        assert_eq!(confirmed.obeys(&order, 1000), Obeyed::Unknown);
        let older = Order { sequence: 1, ..order };
        confirmed.take(true, &[older], &[], 1000);
        assert_eq!(confirmed.obeys(&order, 1000), Obeyed::Unknown, "it knows an older order");
        let wait = |left| Wait { address: 5, left };
        confirmed.take(false, &[order], &[wait(None)], 1000);
        assert_eq!(confirmed.obeys(&order, 1000), Obeyed::Gives);
        confirmed.take(false, &[], &[wait(Some(3000))], 2000);
        assert_eq!(confirmed.obeys(&order, 4000), Obeyed::Left(1000));
        confirmed.take(false, &[], &[], 6000);
        assert_eq!(confirmed.obeys(&order, 6000), Obeyed::Left(0));
        confirmed.take(true, &[], &[], 7000);
        assert_eq!(confirmed.obeys(&order, 7000), Obeyed::Unknown, "it was started again without its state");
    }

    #[test]
    fn more_orders_than_there_is_room_for_are_refused_and_those_that_were_undone_make_room() {
        let order = |address, is_out, at| Order { address, is_out, at, origin: 1, sequence: 1 };
        let mut orders = Orders::default();
        let most = MOST_ORDERS as u64;
        (0..most).for_each(|address| assert!(orders.take(order(address, address > 1, address), 1)));
        assert!(orders.take(order(most, true, 1), 2) && orders.take(order(most + 1, true, 1), 2));
        assert!(!orders.take(order(most + 2, true, 1), 2), "all of them are drained");
        assert!(!orders.take(order(most + 2, false, 1), 2), "it is in service without an order, too");
        let used = (3..=most + 1).collect();
        assert!(orders.forget_unused(&used) && !orders.forget_unused(&used), "2 is of no pool");
        assert!(!orders.is_out(2) && orders.take(order(most + 2, true, 1), 2));
        let many = vec![order(1, true, 1); 2 * MOST_ORDERS + 1];
        assert!(!Confirmed::default().has_room(true, &many, &[]));
        assert!(Confirmed::default().has_room(true, &many[1..], &[]));
    }

    #[test]
    fn numbers_are_the_same_in_every_version() {
        assert_eq!(node_id("NS1.example.net"), node_id("ns1.example.net"));
        assert_eq!([address_id(EDGE), node_id("ns1.example.net")], NUMBERS);
    }

    const NUMBERS: [u64; 2] = [12_239_430_053_659_896_096, 15_547_943_311_068_120_103];

    proptest! {
        #[test]
        fn all_agree_in_whatever_order_they_hear(
            orders in prop::collection::vec((0_u64..3, any::<bool>(), 0_u64..3, 0_u64..3, 0_u64..4), 0..20),
            shuffled in any::<u64>(),
        ) {
            let order = |(address, is_out, at, origin, sequence)| Order { address, is_out, at, origin, sequence };
            let orders: Vec<Order> = orders.into_iter().map(order).collect();
            let mut others = orders.clone();
            others.sort_by_key(|order| crate::steer::choose::mix(order.rank().3 ^ order.sequence << 8 ^ shuffled));
            let known = |orders: &[Order]| {
                let mut all = Orders::default();
                orders.iter().for_each(|order| { all.take(*order, 1); });
                prop_assert_eq!(all.out, all.iter().filter(|order| order.is_out).count());
                let mut known: Vec<Order> = all.iter().copied().collect();
                known.sort_by_key(|order| order.address);
                Ok(known)
            };
            prop_assert_eq!(known(&orders)?, known(&others)?);
        }
    }
}
