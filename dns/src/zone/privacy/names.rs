//! Names that are hidden by themselves, wherever they occur: suffixes of the config, special-use suffixes, private
//! reverse space (D11), and reverse names that decode to a hidden address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Rule, Rules};
use crate::name::{self, Name};
use crate::zone::address;

/// Suffixes that are never delegated in the public DNS (RFC 6762 §3 and appendix G, RFC 8375, ICANN's .internal;
/// .localdomain by custom).
const SPECIAL_USE: &[&str] =
    &["internal", "local", "localdomain", "lan", "home", "home.arpa", "corp", "intranet", "private"];

/// The hidden suffixes of one configuration, and its `private` prefixes.
pub(super) struct HiddenNames<'r> {
    /// None for names in a zone that `[public] zones` publishes.
    suffixes: HashMap<Name, Option<Rule>>,
    unknown: HashMap<&'r [u8], &'r Name>,
    private: &'r [IpNet],
}

impl<'r> HiddenNames<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let special = SPECIAL_USE.iter().map(|text| (fixed(text), Rule::SpecialUse));
        let reverse = private_reverse().map(|text| (fixed(&text), Rule::D11));
        let named = rules.internal_names.iter().map(|name| (name.clone(), Rule::InternalNames));
        let zones = rules.internal_zones.iter().map(|name| (name.clone(), Rule::D12));
        let hidden = special.chain(reverse).chain(named).chain(zones).map(|(name, rule)| (name, Some(rule)));
        let public = rules.public_zones.iter().map(|name| (name.clone(), None));
        let unknown = rules.unknown_zones.iter().map(|apex| (apex.as_wire(), apex)).collect();
        Self { suffixes: hidden.chain(public).collect(), unknown, private: &rules.private }
    }

    /// The rule that hides this lower-case wire name, wherever it stands; none if none does.
    pub(super) fn rule(&self, wire: &[u8]) -> Option<Rule> {
        match ancestry(wire).find_map(|suffix| self.suffixes.get(suffix)) {
            Some(rule) => *rule,
            None => self.hidden_reverse(wire),
        }
    }

    /// The most specific zone at or above this lower-case wire name that never had a good version.
    pub(super) fn unknown_zone(&self, wire: &[u8]) -> Option<&'r Name> {
        ancestry(wire).find_map(|suffix| self.unknown.get(suffix).copied())
    }

    /// Whether a zone with this apex never had a good version.
    pub(super) fn is_unknown_zone(&self, apex: &[u8]) -> bool {
        self.unknown.contains_key(apex)
    }

    /// Whether there is any zone that never had a good version.
    pub(super) fn have_unknown_zones(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Whether `[public] zones` names this apex.
    pub(super) fn publishes(&self, apex: &Name) -> bool {
        matches!(self.suffixes.get(apex), Some(None))
    }

    /// Whether an owner in the zone of this apex can be hidden by its name although the apex is not.
    pub(super) fn reach_into(&self, apex: &Name) -> bool {
        may_hold_reverse(apex) || self.suffixes.keys().any(|suffix| suffix.is_at_or_under(apex))
    }

    fn hidden_reverse(&self, wire: &[u8]) -> Option<Rule> {
        let net = decode_reverse(wire)?;
        is_hidden_whole(net, self.private).then_some(Rule::D11)
    }
}

/// The name itself, its parent, and so on up to the root.
pub(super) fn ancestry(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |name| name::parent(name))
}

fn fixed(text: &str) -> Name {
    Name::parse_absolute(text).expect("the suffixes of this module are valid names")
}

/// D11: the reverse zones of RFC 1918, RFC 6598, RFC 3927, RFC 4193 and RFC 4291 §2.5.6.
fn private_reverse() -> impl Iterator<Item = String> {
    let of_ten = ["10", "168.192", "254.169"].into_iter().map(|text| format!("{text}.in-addr.arpa"));
    let of_172 = (16..=31).map(|byte| format!("{byte}.172.in-addr.arpa"));
    let shared = (64..=127).map(|byte| format!("{byte}.100.in-addr.arpa"));
    let v6 = ["c.f", "d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f"].into_iter();
    of_ten.chain(of_172).chain(shared).chain(v6.map(|text| format!("{text}.ip6.arpa")))
}

const IN_ADDR: &[u8] = b"\x07in-addr\x04arpa\0";
const IP6: &[u8] = b"\x03ip6\x04arpa\0";

fn may_hold_reverse(apex: &Name) -> bool {
    let apex = apex.as_wire();
    [IN_ADDR, IP6].iter().any(|top| name::is_at_or_under(apex, top) || name::is_at_or_under(top, apex))
}

/// The addresses that a reverse name stands for (RFC 1035 §3.5, RFC 3596 §2.5): one for a complete name and what is
/// below it, a prefix for one that ends early, at a wildcard, or at a label of a classless delegation (RFC 2317), unless
/// the byte below that label completes it (`5.0/26.113.0.203.in-addr.arpa`).
fn decode_reverse(wire: &[u8]) -> Option<IpNet> {
    if name::is_at_or_under(wire, IN_ADDR) {
        decode_v4(wire)
    } else if name::is_at_or_under(wire, IP6) {
        decode_v6(wire)
    } else {
        None
    }
}

/// The labels below `in-addr.arpa` or `ip6.arpa`, the topmost first.
fn labels_from_the_top(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let labels: Vec<&[u8]> = name::labels(wire).collect();
    labels.into_iter().rev().skip(2)
}

fn decode_v4(wire: &[u8]) -> Option<IpNet> {
    let mut bytes = [0; 4];
    let mut known = 0;
    for (at, label) in labels_from_the_top(wire).take(5).enumerate() {
        match decimal_byte(label) {
            Some(byte) if known < 4 => {
                bytes[known] = byte;
                known += 1;
            }
            // One label of a classless delegation may stand above the last byte.
            None if at == 3 && known == 3 => {}
            _ => break,
        }
    }
    let length = u8::try_from(8 * known).expect("at most 32");
    (known > 0).then(|| Ipv4Net::new_assert(Ipv4Addr::from(bytes), length).into())
}

fn decimal_byte(label: &[u8]) -> Option<u8> {
    label.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(label).ok()?.parse().ok())?
}

fn decode_v6(wire: &[u8]) -> Option<IpNet> {
    let nibble = |label: &[u8]| match label {
        [digit] => char::from(*digit).to_digit(16).map(u128::from),
        _ => None,
    };
    let nibbles: Vec<u128> = labels_from_the_top(wire).take(32).map_while(nibble).collect();
    let bits =
        nibbles.iter().zip(1_u32..).fold(0, |bits, (nibble, place)| bits | nibble << (128 - 4 * place));
    let length = u8::try_from(4 * nibbles.len()).expect("at most 128");
    (length > 0).then(|| Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length).into())
}

/// Whether all addresses of a prefix are hidden, as far as evenly spread ones show, both ends among them.
pub(super) fn is_hidden_whole(net: IpNet, private: &[IpNet]) -> bool {
    samples(net).all(|address| address::hidden(address, private).is_some())
}

/// Up to 256 addresses of a prefix, evenly spread, then its last one.
fn samples(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let free_bits = u32::from(net.max_prefix_len() - net.prefix_len());
    let shift = free_bits.saturating_sub(8);
    let count = 1_u128 << free_bits.min(8);
    let spread = (0..count).map(move |at| match net.network() {
        IpAddr::V4(first) => {
            let offset = u32::try_from(at << shift).expect("an offset inside of a prefix fits");
            IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() | offset))
        }
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() | at << shift)),
    });
    spread.chain(std::iter::once(net.broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Rule>) {
        let rules = Rules {
            private: ["203.0.113.64/27", "198.51.100.0/24", "2001:db8:77::/48"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            internal_names: vec![Name::parse_absolute("int.example").unwrap()],
            internal_zones: vec![Name::parse_absolute("closed.example").unwrap()],
            public_zones: vec![Name::parse_absolute("33.10.in-addr.arpa").unwrap()],
            unknown_zones: Vec::new(),
        };
        let name = Name::parse_absolute(text).unwrap();
        assert_eq!(HiddenNames::new(&rules).rule(name.as_wire()), expected, "{text}");
    }

    #[test]
    fn names_are_hidden_by_suffix_and_by_the_address_they_stand_for() {
        for (text, expected) in [
            ("int.example", Some(Rule::InternalNames)),
            ("a.b.int.example", Some(Rule::InternalNames)),
            ("print.example", None),
            ("x.closed.example", Some(Rule::D12)),
            ("db.corp", Some(Rule::SpecialUse)),
            ("corp.example", None),
            ("nas.home.arpa", Some(Rule::SpecialUse)),
            ("1.0.0.10.in-addr.arpa", Some(Rule::D11)),
            ("10.in-addr.arpa", Some(Rule::D11)),
            ("33.10.in-addr.arpa", None),
            ("1.0.33.10.in-addr.arpa", None),
            ("34.10.in-addr.arpa", Some(Rule::D11)),
            ("wiki.intranet", Some(Rule::SpecialUse)),
            ("nas.home", Some(Rule::SpecialUse)),
            ("box.localdomain", Some(Rule::SpecialUse)),
            ("x.private", Some(Rule::SpecialUse)),
            ("15.172.in-addr.arpa", None),
            ("31.172.in-addr.arpa", Some(Rule::D11)),
            ("127.100.in-addr.arpa", Some(Rule::D11)),
            ("128.100.in-addr.arpa", None),
            ("d.f.ip6.arpa", Some(Rule::D11)),
            ("b.e.f.ip6.arpa", Some(Rule::D11)),
            ("e.f.ip6.arpa", None),
            ("1.0.0.127.in-addr.arpa", Some(Rule::D11)),
            ("70.113.0.203.in-addr.arpa", Some(Rule::D11)),
            ("70.64/27.113.0.203.in-addr.arpa", Some(Rule::D11)),
            ("96.113.0.203.in-addr.arpa", None),
            ("64/27.113.0.203.in-addr.arpa", None),
            ("113.0.203.in-addr.arpa", None),
            ("*.113.0.203.in-addr.arpa", None),
            ("_a.70.113.0.203.in-addr.arpa", Some(Rule::D11)),
            ("_a.64/27.113.0.203.in-addr.arpa", None),
            ("100.51.198.in-addr.arpa", Some(Rule::D11)),
            ("*.100.51.198.in-addr.arpa", Some(Rule::D11)),
            ("*.0-25.100.51.198.in-addr.arpa", Some(Rule::D11)),
            ("0/25.100.51.198.in-addr.arpa", Some(Rule::D11)),
            ("51.198.in-addr.arpa", None),
            ("*.0.18.198.in-addr.arpa", Some(Rule::D11)),
            ("18.198.in-addr.arpa", Some(Rule::D11)),
            ("20.198.in-addr.arpa", None),
            ("198.in-addr.arpa", None),
            ("127.in-addr.arpa", Some(Rule::D11)),
            ("in-addr.arpa", None),
            ("*.1.0.0.0.7.7.0.0.8.b.d.0.1.0.0.2.ip6.arpa", Some(Rule::D11)),
            ("7.7.0.0.8.b.d.0.1.0.0.2.ip6.arpa", Some(Rule::D11)),
            ("7.0.0.8.b.d.0.1.0.0.2.ip6.arpa", None),
            ("2.0.0.2.ip6.arpa", None),
            ("ip6.arpa", None),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", Some(Rule::D11)),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", None),
            ("1.0.0.0.0.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa", Some(Rule::D11)),
        ] {
            check(text, expected);
        }
    }
}
