//! Which addresses an origin may be at (EDGE §2, class 21).
//!
//! An operator who writes an address into the config means it. A name leaves the address to DNS, which may
//! be another's: a name that leads to this host, to its network or to a cloud's metadata service would hand
//! their data to every client. So a name may lead to public addresses only, unless the config names networks.
//! Asked of each address each time a name was resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Where an origin may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At the address that the config names.
    Itself,
    /// On this host: the config says `localhost` (RFC 6761 §6.3).
    Loopback,
    /// At public addresses, and in these networks.
    Public(Vec<IpNet>),
}

impl Reach {
    /// Of an origin with this host, as a URL has it, where names may also lead into `networks`.
    pub fn of(host: &str, networks: &[IpNet]) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = bare.strip_suffix('.').unwrap_or(bare);
        if bare.parse::<IpAddr>().is_ok() {
            Self::Itself
        } else if name.eq_ignore_ascii_case("localhost") {
            Self::Loopback
        } else {
            Self::Public(networks.to_vec())
        }
    }

    /// Whether a connection may go to this address.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Itself => true,
            Self::Loopback => address.is_loopback(),
            Self::Public(networks) => {
                is_public(address) || networks.iter().any(|network| network.contains(&address))
            }
        }
    }
}

/// Whether an address is the same one everywhere: "globally reachable" in IANA's registries of special-purpose addresses
/// (RFC 6890), and not a group's.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |(network, bits): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
    };
    !SPECIAL_V4.iter().any(within)
}

const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network (RFC 791)
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private (RFC 1918)
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carriers' own (RFC 6598)
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // this host (RFC 1122)
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local (RFC 3927): 169.254.169.254 is the metadata service of clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),  // private (RFC 1918)
    (Ipv4Addr::new(192, 0, 0, 0), 24),   // protocols' own (RFC 6890)
    (Ipv4Addr::new(192, 0, 2, 0), 24),   // documentation (RFC 5737)
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays (RFC 7526)
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private (RFC 1918)
    (Ipv4Addr::new(198, 18, 0, 0), 15),  // benchmarks (RFC 2544)
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),    // groups (RFC 5771)
    (Ipv4Addr::new(240, 0, 0, 0), 4),    // reserved, broadcast (RFC 1112, RFC 919)
];

/// Global unicast is 2000::/3 (RFC 4291 §2.4); what is public lies in there, or is an IPv4 address in other clothes.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // RFC 6052: a translator in front of IPv4.
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => embedded(g, h),
        // RFC 3056: 6to4.
        (0x2002, _) => embedded(b, c),
        // RFC 2928: protocols' own, Teredo among them; RFC 3849 and RFC 9637: documentation.
        (0x2001, 0..0x200 | 0xdb8) | (0x3fff, 0..0x1000) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(host: &str, networks: &[&str]) -> Reach {
        let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
        Reach::of(host, &networks)
    }

    #[track_caller]
    fn check(reach: &Reach, admitted: &[&str], denied: &[&str]) {
        for (addresses, expected) in [(admitted, true), (denied, false)] {
            for address in addresses {
                assert_eq!(reach.admits(address.parse().unwrap()), expected, "{address} {reach:?}");
            }
        }
    }

    #[test]
    fn a_name_leads_to_public_ipv4_addresses_only() {
        let denied = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let admitted = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
        ];
        check(&reach("origin.example", &[]), &admitted, &denied);
    }

    #[test]
    fn a_name_leads_to_public_ipv6_addresses_only() {
        let denied = [
            "::",
            "::1",
            "::7f00:1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "64:ff9b:1::1",
        ];
        let admitted = ["2001:200::1", "2600::1", "2a00:1450::1", "3ffe::1", "3fff:1000::1"];
        check(&reach("origin.example", &[]), &admitted, &denied);
    }

    #[test]
    fn an_ipv4_address_in_other_clothes_is_what_it_is() {
        let named = reach("origin.example", &[]);
        check(
            &named,
            &["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
            &[
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "64:ff9b::10.0.0.1",
                "2002:a9fe:a9fe::1",
                "2002:7f00:1::",
            ],
        );
        check(&reach("origin.example", &["10.0.0.0/8"]), &["::ffff:10.1.2.3"], &["::ffff:192.168.0.1"]);
    }

    #[test]
    fn networks_that_the_config_names_are_meant_and_no_others() {
        let named = reach("app", &["172.18.0.0/16", "fd12::/32"]);
        check(
            &named,
            &["172.18.255.1", "fd12::7", "8.8.8.8"],
            &["172.19.0.1", "fd13::7", "127.0.0.1", "169.254.169.254"],
        );
    }

    #[test]
    fn an_address_is_meant_and_localhost_is_this_host() {
        for address in ["127.0.0.1", "169.254.169.254", "[::1]", "[fe80::1]"] {
            assert_eq!(reach(address, &[]), Reach::Itself, "{address}");
        }
        for name in ["localhost", "LocalHost", "localhost."] {
            check(
                &reach(name, &[]),
                &["127.0.0.1", "127.1.2.3", "::1"],
                &["10.0.0.1", "8.8.8.8", "169.254.169.254"],
            );
        }
        // A text that a resolver reads as an address is none in a URL, and a good disguise.
        for name in ["127.1", "2130706433", "0x7f.0.0.1", "localhost.example", "a.localhost"] {
            check(&reach(name, &[]), &["8.8.8.8"], &["127.0.0.1", "::1"]);
        }
    }
}
