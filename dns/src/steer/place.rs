//! Where clients are: prefixes to named places, and which places are near to each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Named places and the prefixes of their clients. The longest prefix that holds an address counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By rising address, apart from each other. IPv4 stands where it is mapped into IPv6.
    ranges: Vec<Range>,
    /// As `ranges`, by a database: for clients that no prefix names.
    known: Vec<Range>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u128,
    last: u128,
    place: u16,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the config names it.
    pub name: String,
    /// The places whose members its clients are given: the first that has a fit one. Usually itself comes first.
    pub near: Vec<u16>,
}

/// In a range of this place is nobody whom a prefix names.
const NOWHERE: u16 = u16::MAX;
/// Of 128 bits, those that say that an address is of IPv4.
const MAPPED_BITS: u8 = 96;

impl Places {
    /// From places and the prefixes of each, as indices into them.
    pub fn new(places: Vec<Place>, prefixes: &[(IpNet, u16)]) -> Self {
        let range = |(net, place): &(IpNet, u16)| {
            let (first, last) = (number(net.network()), number(net.broadcast()));
            Range { first, last, place: *place }
        };
        let mut nested: Vec<Range> = prefixes.iter().map(range).collect();
        // IPv4 is mapped into IPv6, but a prefix of IPv6 that is as wide does not mean its clients.
        let (first, last) = (number(Ipv4Addr::UNSPECIFIED.into()), number(Ipv4Addr::BROADCAST.into()));
        let is_wider = |range: &Range| {
            range.first <= first && last <= range.last && (range.first, range.last) != (first, last)
        };
        if nested.iter().any(is_wider) {
            // In front: of equal ranges the later one is the inner one.
            nested.insert(0, Range { first, last, place: NOWHERE });
        }
        nested.sort_by_key(|range| (range.first, std::cmp::Reverse(range.last)));
        Self { ranges: apart(&nested), known: Vec::new(), places }
    }

    /// With the networks of a database, apart from each other, for clients that no prefix names.
    pub fn with_networks(&self, networks: impl IntoIterator<Item = (IpNet, u16)>) -> Self {
        let range = |(net, place): (IpNet, u16)| {
            let (first, last) = (number(net.network()), number(net.broadcast()));
            Range { first, last, place }
        };
        let mut networks: Vec<Range> = networks.into_iter().map(range).collect();
        networks.sort_by_key(|range| range.first);
        let mut known: Vec<Range> = Vec::new();
        for next in networks {
            match known.last_mut() {
                Some(last) if last.place == next.place && last.last.checked_add(1) == Some(next.first) => {
                    last.last = next.last;
                }
                // A database whose networks lie over each other is not believed twice.
                Some(last) if next.first <= last.last => {}
                _ => known.push(next),
            }
        }
        known.shrink_to_fit();
        Self { known, ..self.clone() }
    }

    /// With the networks that `before` knows by a database, each in the place that has the same name here.
    pub fn with_networks_of(&self, before: &Self) -> Self {
        let same = |place: &Place| (0_u16..).zip(&self.places).find(|(_, own)| own.name == place.name);
        let now: Vec<Option<u16>> = before.places.iter().map(|it| same(it).map(|(at, _)| at)).collect();
        let moved = |range: &Range| {
            let place = now.get(usize::from(range.place)).copied().flatten()?;
            Some(Range { place, ..*range })
        };
        Self { known: before.known.iter().filter_map(moved).collect(), ..self.clone() }
    }

    /// All of them.
    pub fn all(&self) -> &[Place] {
        &self.places
    }

    /// Where a client is: as the prefixes say, or else the database.
    #[inline]
    pub fn find(&self, address: IpAddr) -> Option<u16> {
        let address = number(address);
        find(&self.ranges, address).or_else(|| find(&self.known, address))
    }

    /// How many bits of an address it takes to know where it is, and that all addresses with these bits are there, too.
    pub fn bits(&self, address: IpAddr) -> u8 {
        let wanted = number(address);
        let own = bits(&self.ranges, wanted);
        let bits = match find(&self.ranges, wanted) {
            Some(_) => own,
            None => own.max(bits(&self.known, wanted)),
        };
        if address.is_ipv4() { bits.saturating_sub(MAPPED_BITS) } else { bits }
    }
}

#[inline]
fn find(ranges: &[Range], address: u128) -> Option<u16> {
    let at = ranges.partition_point(|range| range.last < address);
    let found = ranges.get(at).filter(|range| range.first <= address && range.place != NOWHERE);
    found.map(|range| range.place)
}

fn bits(ranges: &[Range], wanted: u128) -> u8 {
    let at = ranges.partition_point(|range| range.last < wanted);
    let (first, last) = match ranges.get(at) {
        Some(range) if range.first <= wanted => (range.first, range.last),
        // The gap before the next range.
        next => {
            let before = at.checked_sub(1).map_or(0, |before| ranges[before].last + 1);
            (before, next.map_or(u128::MAX, |next| next.first - 1))
        }
    };
    let is_within = |bits: &u8| {
        let host = u128::MAX.checked_shr(u32::from(*bits)).unwrap_or(0);
        first <= wanted & !host && wanted | host <= last
    };
    (0..=128).find(is_within).unwrap_or(128)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

/// Ranges of which some hold others, the outer first, as ranges that lie apart: the innermost counts.
fn apart(nested: &[Range]) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::new();
    let mut open: Vec<Range> = Vec::new();
    let mut at = 0_u128;
    let mut close = |open: &mut Vec<Range>, at: &mut u128, before: Option<u128>| {
        while let Some(inner) = open.pop_if(|inner| before.is_none_or(|before| inner.last < before)) {
            if *at <= inner.last {
                out.push(Range { first: (*at).max(inner.first), ..inner });
            }
            *at = (*at).max(inner.last.saturating_add(1));
        }
        if let (Some(outer), Some(before)) = (open.last(), before)
            && *at < before
        {
            out.push(Range { first: (*at).max(outer.first), last: before - 1, ..*outer });
        }
    };
    for range in nested {
        close(&mut open, &mut at, Some(range.first));
        at = range.first;
        open.push(*range);
    }
    close(&mut open, &mut at, None);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(name: &str) -> Place {
        Place { name: name.to_owned(), near: Vec::new() }
    }

    fn places(prefixes: &[(&str, u16)]) -> Places {
        let prefixes: Vec<(IpNet, u16)> =
            prefixes.iter().map(|(net, place)| (net.parse().unwrap(), *place)).collect();
        Places::new(["eu", "us", "lab"].map(place).to_vec(), &prefixes)
    }

    #[test]
    fn networks_of_before_stay_in_the_place_that_has_their_name() {
        let places = |names: &[&str], prefixes: &[(IpNet, u16)]| {
            let place = |name: &&str| Place { name: (*name).to_owned(), near: Vec::new() };
            Places::new(names.iter().map(place).collect(), prefixes)
        };
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let before = places(&["eu", "us", "as"], &[]).with_networks([
            (net("192.0.2.0/24"), 0),
            (net("198.51.100.0/24"), 1),
            (net("203.0.113.0/24"), 2),
        ]);
        let now = places(&["us", "sa", "eu"], &[(net("192.0.2.0/28"), 1)]).with_networks_of(&before);
        for (address, place) in [
            ([192, 0, 2, 1], Some(1)),
            ([192, 0, 2, 99], Some(2)),
            ([198, 51, 100, 1], Some(0)),
            ([203, 0, 113, 1], None),
        ] {
            assert_eq!(now.find(address.into()), place, "{address:?}");
        }
    }

    #[test]
    fn the_longest_prefix_counts_and_the_bits_that_mattered_are_told() {
        let all = places(&[
            ("192.0.2.0/24", 0),
            ("192.0.2.128/25", 1),
            ("192.0.2.192/32", 2),
            ("198.51.100.0/24", 1),
            ("2001:db8::/32", 0),
        ]);
        for (address, place, bits) in [
            ("192.0.2.1", Some(0), 25),
            ("192.0.2.129", Some(1), 26),
            ("192.0.2.192", Some(2), 32),
            ("192.0.2.193", Some(1), 32),
            ("198.51.100.7", Some(1), 24),
            ("203.0.113.7", None, 5),
            ("8.8.8.8", None, 1),
            ("2001:db8::1", Some(0), 32),
            ("2001:db9::1", None, 32),
        ] {
            let address = address.parse().unwrap();
            assert_eq!((all.find(address), all.bits(address)), (place, bits), "{address}");
        }
        let none = places(&[]);
        assert_eq!((none.find([192, 0, 2, 1].into()), none.bits([192, 0, 2, 1].into())), (None, 0));
    }

    #[test]
    fn a_prefix_of_ipv6_holds_no_client_of_ipv4() {
        for (prefixes, expected) in [
            (&[("::/0", 0)][..], [None, Some(0), Some(0)]),
            (&[("::/64", 0)], [None, Some(0), None]),
            (&[("::/80", 0)], [None, Some(0), None]),
            (&[("::/0", 0), ("192.0.2.0/24", 1)], [Some(1), Some(0), Some(0)]),
            (&[("::/0", 0), ("0.0.0.0/0", 1)], [Some(1), Some(0), Some(0)]),
            (&[("0.0.0.0/0", 1)], [Some(1), None, None]),
        ] {
            let all = places(prefixes);
            let found = ["192.0.2.1", "::1", "2001:db8::1"].map(|address| all.find(address.parse().unwrap()));
            assert_eq!(found, expected, "{prefixes:?}");
        }
        let all = places(&[("::/0", 0)]);
        assert_eq!(all.bits([192, 0, 2, 1].into()), 0, "all of IPv4 is in the same place");
    }

    #[test]
    fn a_database_places_whom_no_prefix_names() {
        let net = |(net, place): (&str, u16)| (net.parse::<IpNet>().unwrap(), place);
        let networks =
            [("198.51.100.0/25", 0), ("198.51.100.128/25", 0), ("203.0.113.0/24", 1), ("2001:db8::/48", 1)];
        let all = places(&[("198.51.100.64/26", 2)]).with_networks(networks.map(net));
        for (address, place, bits) in [
            ("198.51.100.1", Some(0), 26),
            ("198.51.100.65", Some(2), 26),
            ("198.51.100.200", Some(0), 25),
            ("203.0.113.9", Some(1), 24),
            ("192.0.2.1", None, 6),
            ("2001:db8::5", Some(1), 48),
        ] {
            let address = address.parse().unwrap();
            assert_eq!((all.find(address), all.bits(address)), (place, bits), "{address}");
        }
        assert_eq!(all.known.len(), 3, "neighbours of one place are one range");
    }

    proptest! {
        #[test]
        fn ranges_say_what_a_list_of_prefixes_says(
            prefixes in proptest::collection::vec((any::<u8>(), 0..=8_u8, 0..3_u16), 0..12), last in any::<u8>(),
        ) {
            // All within one /24, so that many are nested; of equal prefixes one is kept.
            let net = |(host, bits, place): &(u8, u8, u16)| {
                (IpNet::new([192, 0, 2, *host].into(), 24 + bits).unwrap().trunc(), *place)
            };
            let mut nets: Vec<(IpNet, u16)> = prefixes.iter().map(net).collect();
            nets.sort();
            nets.dedup_by_key(|(net, _)| *net);
            let all = Places::new(["a", "b", "c"].map(place).to_vec(), &nets);
            let naive = |address: IpAddr| {
                let holding = nets.iter().filter(|(net, _)| net.contains(&address));
                holding.max_by_key(|(net, _)| net.prefix_len()).map(|(_, place)| *place)
            };
            let address = IpAddr::from([192, 0, 2, last]);
            prop_assert_eq!(all.find(address), naive(address));
            // All that share the bits are in the same place.
            let same = IpNet::new(address, all.bits(address).max(24)).unwrap();
            for host in 0..=255 {
                let other = IpAddr::from([192, 0, 2, host]);
                prop_assert!(!same.contains(&other) || naive(other) == naive(address), "{} {}", address, other);
            }
        }
    }
}
