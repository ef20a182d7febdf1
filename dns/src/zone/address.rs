//! Which addresses an outsider must not learn (D1, D2 and the `private` prefixes of the config), and which
//! addresses a record carries.
//!
//! ```text
//! RDATA ─▶ addresses ─▶ hidden ─▶ the id of the rule, or none
//!                          ▲
//!             inner IPv4 of a translated or tunnelled IPv6 address (D2)
//! ```
//!
//! [`super::privacy`] asks when a zone is loaded; the egress guard in `wire` asks again when bytes leave.
//!
//! Invariant: nothing here knows an owner, a mark or a view.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::rdata::{self, Field, Span};
use crate::rtype::Type;

/// The id of the rule that hides `address`: `"D1"`, `"D2"`, or `"private"` for a prefix of the config; none if
/// outsiders may know it.
///
/// D1 is the special-purpose registries of IANA (RFC 6890) and multicast; documentation prefixes count as public.
/// D2 judges the IPv4 address inside an IPv6 address by D1 and by `private`.
#[inline]
pub fn hidden(address: IpAddr, private: &[IpNet]) -> Option<&'static str> {
    if private.iter().any(|prefix| prefix.contains(&address)) {
        return Some("private");
    }
    match address {
        IpAddr::V4(v4) => special_v4(v4).then_some("D1"),
        IpAddr::V6(v6) if special_v6(v6) => Some("D1"),
        IpAddr::V6(v6) => embedded(v6, private).then_some("D2"),
    }
}

/// Whether `address` lies in a documentation prefix (RFC 5737, RFC 3849, RFC 9637): public, but worth a note.
pub fn is_documentation(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _]),
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            (segments[0] == 0x2001 && segments[1] == 0x0db8)
                || (segments[0] == 0x3fff && segments[1] < 0x1000)
        }
    }
}

/// D1 for IPv4.
fn special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    match a {
        // This network, private use, loopback (RFC 791, RFC 1918, RFC 1122).
        0 | 10 | 127 => true,
        // Shared address space behind carrier-grade NAT (RFC 6598).
        100 => b & 0xc0 == 64,
        // Link-local (RFC 3927).
        169 => b == 254,
        172 => b & 0xf0 == 16,
        // IETF protocol assignments (RFC 6890) and private use.
        192 => b == 168 || (b == 0 && c == 0),
        // Benchmarking (RFC 2544).
        198 => b & 0xfe == 18,
        // Multicast, class E and limited broadcast: 224.0.0.0/3.
        _ => a >= 224,
    }
}

/// D1 for IPv6.
fn special_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, ..] = address.segments();
    match first {
        // Unspecified and loopback (RFC 4291 §2.5); the discard prefix 100::/64 (RFC 6666) and the dummy prefix
        // 100:0:0:1::/64 (RFC 9780).
        0 => address.is_unspecified() || address.is_loopback(),
        0x0100 => second == 0 && third == 0 && fourth <= 1,
        // Benchmarking (RFC 5180), the twin of 198.18.0.0/15.
        0x2001 => second == 2 && third == 0,
        // SRv6 SIDs (RFC 9602).
        0x5f00 => true,
        // Unique local (RFC 4193), link-local, the former site-local (RFC 3879), multicast.
        _ => {
            first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || first & 0xffc0 == 0xfec0
                || first & 0xff00 == 0xff00
        }
    }
}

/// D2: an IPv6 address that stands for an IPv4 address which is hidden.
fn embedded(address: Ipv6Addr, private: &[IpNet]) -> bool {
    let segments = address.segments();
    let low = v4(segments[6], segments[7]);
    let is_hidden = |inner: Ipv4Addr| hidden(IpAddr::V4(inner), private).is_some();
    // ISATAP interface identifiers under any prefix (RFC 5214 §6.1), also one that stands for an IPv4 address itself.
    let is_isatap = matches!(segments[4..6], [0x0000 | 0x0200, 0x5efe]);
    if is_isatap && is_hidden(low) {
        return true;
    }
    match segments {
        // IPv4-mapped and local-use NAT64 (RFC 8215) never leave a host or a site: whole.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 1, ..] => true,
        // IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-translated (RFC 2765 §2.1), NAT64 (RFC 6052 §2.1).
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            is_hidden(low)
        }
        // 6to4 (RFC 3056 §2).
        [0x2002, high, next, ..] => is_hidden(v4(high, next)),
        // Teredo (RFC 4380 §4): the server as it is, the client with its bits inverted.
        [0x2001, 0, high, next, ..] => is_hidden(v4(high, next)) || is_hidden(v4(!segments[6], !segments[7])),
        _ => false,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// Whether [`addresses`] can find an address in RDATA of this type.
#[inline]
pub fn bears_addresses(rtype: Type) -> bool {
    matches!(
        rtype,
        Type::A
            | Type::AAAA
            | Type::SVCB
            | Type::HTTPS
            | Type::APL
            | Type::IPSECKEY
            | Type::AMTRELAY
            | Type::WKS
            | Type::A6
            | Type::NSAP
            | Type::NID
            | Type::L32
            | Type::L64
    )
}

/// Every address that `rdata` carries. Malformed RDATA yields what could be read of it.
///
/// A part of an address is completed: a prefix (APL, L64) with zero bits, an interface identifier (NID, the
/// suffix of A6) under 2000::/64, which no rule hides by itself.
pub fn addresses(rtype: Type, rdata: &[u8]) -> Vec<IpAddr> {
    if !bears_addresses(rtype) {
        return Vec::new();
    }
    rdata::spans(rtype, rdata).map_while(Result::ok).flat_map(|span| in_field(rtype, span)).collect()
}

fn in_field(rtype: Type, span: Span<'_>) -> Vec<IpAddr> {
    let bytes = span.bytes;
    match span.field {
        Field::Ipv4 | Field::Ipv6 => address(bytes).into_iter().collect(),
        Field::SvcParams => in_hints(bytes),
        Field::Apl => in_prefix_list(bytes),
        Field::IpsecGateway => in_gateway(bytes.first().copied(), bytes.get(2..)),
        Field::AmtRelay => in_gateway(bytes.first().map(|kind| kind & 0x7f), bytes.get(1..)),
        Field::A6 => in_a6(bytes).into_iter().collect(),
        Field::Nsap => in_nsap(bytes).into_iter().collect(),
        Field::Locator64 if rtype == Type::L64 => completed(bytes, &[0; 8]).into_iter().collect(),
        Field::Locator64 => completed(&PUBLIC_PREFIX[..8], bytes).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Stands in for the prefix of which a record holds only the interface identifier.
const PUBLIC_PREFIX: [u8; 16] = [0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn completed(high: &[u8], low: &[u8]) -> Option<IpAddr> {
    let mut whole = [0; 16];
    whole[..8].copy_from_slice(high.get(..8)?);
    whole[8..].copy_from_slice(low.get(..8)?);
    Some(IpAddr::from(whole))
}

/// `ipv4hint` (RFC 9460 §7.3).
pub(crate) const IPV4_HINT: u16 = 4;
/// `ipv6hint` (RFC 9460 §7.3).
pub(crate) const IPV6_HINT: u16 = 6;

fn in_hints(params: &[u8]) -> Vec<IpAddr> {
    svc_params(params)
        .filter_map(|(key, value)| Some(value.chunks(hint_bytes(key)?)))
        .flat_map(|chunks| chunks.filter_map(address))
        .collect()
}

/// Bytes of one address in the value of this SVCB key; none if it holds no addresses.
pub(crate) fn hint_bytes(key: u16) -> Option<usize> {
    match key {
        IPV4_HINT => Some(4),
        IPV6_HINT => Some(16),
        _ => None,
    }
}

/// The keys and values of SVCB parameters (RFC 9460 §2.2), up to where they are malformed.
pub(crate) fn svc_params(params: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = params;
    std::iter::from_fn(move || {
        let [key_high, key_low, len_high, len_low, after @ ..] = rest else { return None };
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        let value = after.get(..len)?;
        rest = &after[len..];
        Some((u16::from_be_bytes([*key_high, *key_low]), value))
    })
}

/// RFC 3123 §4: family, prefix length, negation and length of the address, whose trailing zeros are not sent.
fn in_prefix_list(bytes: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let [family_high, family_low, _prefix_bits, len, after @ ..] = rest {
        let Some(part) = after.get(..usize::from(len & 0x7f)) else { break };
        rest = &after[part.len()..];
        let bytes = match u16::from_be_bytes([*family_high, *family_low]) {
            1 => 4,
            2 => 16,
            _ => continue,
        };
        let mut whole = [0; 16];
        let used = part.len().min(bytes);
        whole[..used].copy_from_slice(&part[..used]);
        found.extend(address(&whole[..bytes]));
    }
    found
}

/// IPSECKEY (RFC 4025 §2.3) and AMTRELAY (RFC 8777 §4.2.3) number their gateways alike: 1 is IPv4, 2 is IPv6.
fn in_gateway(kind: Option<u8>, rest: Option<&[u8]>) -> Vec<IpAddr> {
    let bytes = match kind {
        Some(1) => 4,
        Some(2) => 16,
        _ => return Vec::new(),
    };
    rest.and_then(|rest| address(rest.get(..bytes)?)).into_iter().collect()
}

/// RFC 2874 §3.1: the low 128 - `prefix_bits` bits, led by zero bits up to a whole byte.
fn in_a6(bytes: &[u8]) -> Option<IpAddr> {
    let (&prefix_bits, rest) = bytes.split_first()?;
    let suffix_bytes = 128_usize.checked_sub(usize::from(prefix_bits))?.div_ceil(8);
    let mut whole = if prefix_bits == 0 { [0; 16] } else { PUBLIC_PREFIX };
    whole[16 - suffix_bytes..].copy_from_slice(rest.get(..suffix_bytes)?);
    (suffix_bytes > 0).then(|| IpAddr::from(whole))
}

/// RFC 4548 §2: AFI 35, ICP 0000 is an embedded IPv6 address, ICP 0001 an IPv4 address.
fn in_nsap(bytes: &[u8]) -> Option<IpAddr> {
    match bytes {
        [0x35, 0, 0, rest @ ..] => address(rest.get(..16)?),
        [0x35, 0, 1, rest @ ..] => address(rest.get(..4)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let private = ["198.51.100.64/27".parse().unwrap(), "2001:db8:77::/48".parse().unwrap()];
        assert_eq!(hidden(text.parse().unwrap(), &private), expected, "{text}");
    }

    #[test]
    fn d1_first_and_last_of_each_prefix_and_their_neighbours() {
        for (first, last, before, after) in [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
            ("::", "::1", None, Some("::808:808")),
            ("100::", "100::1:ffff:ffff:ffff:ffff", Some("ff:ffff::"), Some("100:0:0:2::")),
            ("2001:2::", "2001:2:0:ffff:ffff::", Some("2001:1:ffff::"), Some("2001:2:1::")),
            ("5f00::", "5f00:ffff::", Some("5eff:ffff::"), Some("5f01::")),
            ("fc00::", "fdff:ffff::", Some("fbff:ffff::"), Some("fe00::")),
            ("fe80::", "febf:ffff::", Some("fe7f:ffff::"), None),
            ("fec0::", "feff:ffff::", None, None),
            ("ff00::", "ffff:ffff::", None, None),
        ] {
            check(first, Some("D1"));
            check(last, Some("D1"));
            before.into_iter().chain(after).for_each(|text| check(text, None));
        }
    }

    /// The rows of IANA's special-purpose registries: prefix, globally reachable, and our verdict with its reason if it
    /// is another than "hidden unless reachable".
    const REGISTRIES: &str = include_str!("address/registries.txt");

    #[test]
    fn d1_agrees_with_the_special_purpose_registries() {
        let rows = REGISTRIES.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for row in rows {
            let mut fields = row.split_whitespace();
            let (prefix, reachable) = (fields.next().unwrap(), fields.next().unwrap());
            let is_hidden = match (fields.next(), reachable) {
                (Some("hidden"), _) | (None, "no") => true,
                (Some("public"), _) | (None, "yes") => false,
                other => panic!("{row}: {other:?}"),
            };
            let net: IpNet = prefix.parse().unwrap_or_else(|_| panic!("{row}"));
            for address in [net.network(), net.broadcast()] {
                assert_eq!(hidden(address, &[]).is_some(), is_hidden, "{row}: {address}");
            }
            count += 1;
        }
        assert!(count > 45, "{count}");
    }

    #[test]
    fn d1_documentation_is_public() {
        for text in ["192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff:fff::1"] {
            check(text, None);
            assert!(is_documentation(text.parse().unwrap()), "{text}");
        }
        for text in ["192.0.3.1", "198.51.101.1", "2001:db9::1", "3fff:1000::"] {
            assert!(!is_documentation(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn d2_the_ipv4_inside_decides() {
        for (text, expected) in [
            ("::ffff:8.8.8.8", Some("D2")),
            ("::ffff:10.0.0.1", Some("D2")),
            ("::10.0.0.1", Some("D2")),
            ("::8.8.8.8", None),
            ("64:ff9b::10.0.0.1", Some("D2")),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b:1::8.8.8.8", Some("D2")),
            ("64:ff9b:1:ffff::", Some("D2")),
            ("64:ff9b:2::10.0.0.1", None),
            ("2002:0a00:0001::1", Some("D2")),
            ("2002:0808:0808::1", None),
            // The client 10.0.0.1 is f5ff:fffe inverted; the server 8.8.8.8 is public.
            ("2001:0:0808:0808:0:0:f5ff:fffe", Some("D2")),
            ("2001:0:0808:0808:0:0:f7f7:f7f7", None),
            ("2001:0:0a00:0001:0:0:f7f7:f7f7", Some("D2")),
            ("2001:db8:1:2:0:5efe:10.0.0.1", Some("D2")),
            ("2001:db8:1:2:200:5efe:192.168.1.1", Some("D2")),
            ("2001:db8:1:2:200:5efe:8.8.8.8", None),
            ("2001:db8:1:2:300:5efe:10.0.0.1", None),
            ("2002:cb00:7101::5efe:10.0.0.25", Some("D2")),
            ("2002:cb00:7101::5efe:8.8.8.8", None),
            ("64:ff9b::200:5efe:10.0.0.25", Some("D2")),
            ("::ffff:0:10.0.0.25", Some("D2")),
            ("::ffff:0:8.8.8.8", None),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn private_prefixes_hide_public_addresses_also_inside_ipv6() {
        for (text, expected) in [
            ("198.51.100.63", None),
            ("198.51.100.64", Some("private")),
            ("198.51.100.95", Some("private")),
            ("198.51.100.96", None),
            ("2001:db8:77::1", Some("private")),
            ("64:ff9b::198.51.100.65", Some("D2")),
            ("2002:c633:6441::1", Some("D2")),
        ] {
            check(text, expected);
        }
    }

    fn carries(rtype: Type, rdata: &[u8], expected: &[&str]) {
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(addresses(rtype, rdata), expected, "{rtype}");
    }

    #[test]
    fn every_address_bearing_type_gives_its_addresses() {
        let v6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let with = |head: &[u8], tail: &[u8]| [head, tail].concat();
        carries(Type::A, &[10, 0, 0, 1], &["10.0.0.1"]);
        carries(Type::AAAA, &v6, &["2001:db8::1"]);
        carries(Type::WKS, &[10, 0, 0, 1, 6, 1], &["10.0.0.1"]);
        carries(Type::L32, &[0, 1, 10, 0, 0, 1], &["10.0.0.1"]);
        carries(Type::L64, &[0, 1, 0xfd, 0, 0, 0, 0, 0, 0, 1], &["fd00:0:0:1::"]);
        carries(Type::NID, &[0, 1, 0, 0, 0x5e, 0xfe, 10, 0, 0, 1], &["2000::5efe:10.0.0.1"]);
        carries(Type::IPSECKEY, &[1, 1, 2, 10, 0, 0, 1, 9], &["10.0.0.1"]);
        carries(Type::IPSECKEY, &with(&[1, 2, 2], &v6), &["2001:db8::1"]);
        carries(Type::IPSECKEY, &[1, 3, 2, 1, b'g', 0], &[]);
        carries(Type::AMTRELAY, &[1, 0x81, 10, 0, 0, 1], &["10.0.0.1"]);
        carries(Type::AMTRELAY, &with(&[1, 2], &v6), &["2001:db8::1"]);
        carries(Type::APL, &[0, 1, 8, 1, 10, 0, 2, 8, 0x81, 0xfd], &["10.0.0.0", "fd00::"]);
        carries(Type::A6, &with(&[0], &v6), &["2001:db8::1"]);
        carries(Type::A6, &[64, 0, 0, 0x5e, 0xfe, 10, 0, 0, 1, 0], &["2000::5efe:10.0.0.1"]);
        carries(Type::NSAP, &[0x35, 0, 1, 10, 0, 0, 1, 0], &["10.0.0.1"]);
        carries(
            Type::HTTPS,
            &with(
                &[0, 1, 0, 0, 1, 0, 3, 2, b'h', b'2', 0, 4, 0, 8, 10, 0, 0, 1, 8, 8, 8, 8, 0, 6, 0, 16],
                &v6,
            ),
            &["10.0.0.1", "8.8.8.8", "2001:db8::1"],
        );
        carries(Type::TXT, b"\x0810.0.0.1", &[]);
    }

    #[test]
    fn malformed_rdata_does_not_panic() {
        for rtype in crate::rtype::NAMED.iter().map(|(rtype, _)| *rtype) {
            for len in 0..40 {
                addresses(rtype, &vec![0x01; len]);
                addresses(rtype, &vec![0xff; len]);
            }
        }
    }
}
