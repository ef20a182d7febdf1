//! Names that spell an address: services such as nip.io answer `10.0.0.5.nip.io` with 10.0.0.5, so whoever reads such a name
//! has read the address (D19).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name;

/// Services that answer any name below theirs with the address that it spells.
const SERVICES: &[&[u8]] = &[
    b"\x03nip\x02io\0",
    b"\x05sslip\x02io\0",
    b"\x03xip\x02io\0",
    b"\x07traefik\x02me\0",
    b"\x04plex\x06direct\0",
    b"\x08local-ip\x02co\0",
    b"\x08local-ip\x02sh\0",
];

/// The address that a lower-case wire name spells, if it is a name of such a service.
pub(super) fn address(wire: &[u8]) -> Option<IpAddr> {
    let service = SERVICES.iter().find(|service| name::is_at_or_under(wire, service))?;
    let labels: Vec<&[u8]> = name::labels(&wire[..wire.len() - service.len()]).collect();
    let labels: Vec<&str> = labels.iter().filter_map(|label| std::str::from_utf8(label).ok()).collect();
    // Nearest to the service first, as the services read.
    dotted(&labels).or_else(|| labels.iter().rev().find_map(|label| in_label(label)))
}

/// `app.10.0.0.5`, `app-10.0.0.5`.
fn dotted(labels: &[&str]) -> Option<IpAddr> {
    let quads = labels.array_windows().rev();
    quads
        .filter_map(|[first, rest @ ..]: &[&str; 4]| {
            let first = first.rsplit('-').next()?;
            format!("{first}.{}", rest.join(".")).parse::<Ipv4Addr>().ok()
        })
        .map(IpAddr::from)
        .next()
}

/// `app-10-0-0-5`, `app-0a000005`, `fd00--5`.
fn in_label(label: &str) -> Option<IpAddr> {
    let parts: Vec<&str> = label.split('-').collect();
    let v4 = parts.windows(4).rev().find_map(|quad| quad.join(".").parse::<Ipv4Addr>().ok());
    let hexadecimal = || {
        let last = parts.last().filter(|last| last.len() == 8)?;
        u32::from_str_radix(last, 16).ok().map(Ipv4Addr::from)
    };
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from);
    v6().or(v4.map(IpAddr::from)).or_else(|| hexadecimal().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn a_name_spells_the_address_that_its_service_would_answer() {
        for (text, expected) in [
            ("10.0.0.5.nip.io", Some("10.0.0.5")),
            ("app.10.8.0.1.nip.io", Some("10.8.0.1")),
            ("app-10.8.0.1.nip.io", Some("10.8.0.1")),
            ("10.0.0.5.x.nip.io", Some("10.0.0.5")),
            ("app-192-168-1-250.nip.io", Some("192.168.1.250")),
            ("192-168-1-250.sslip.io", Some("192.168.1.250")),
            ("a.b-10-0-0-9-x.sslip.io", Some("10.0.0.9")),
            ("0a000001.nip.io", Some("10.0.0.1")),
            ("magic-c0a801fc.nip.io", Some("192.168.1.252")),
            ("fd00--5.sslip.io", Some("fd00::5")),
            ("www.fe80-0-0-0-0-0-0-1.sslip.io", Some("fe80::1")),
            ("10-0-0-5.0123456789abcdef0123456789abcdef.plex.direct", Some("10.0.0.5")),
            ("10-0-0-5.my.local-ip.co", Some("10.0.0.5")),
            ("203.0.113.9.nip.io", Some("203.0.113.9")),
            ("nip.io", None),
            ("www.nip.io", None),
            ("10.0.0.nip.io", None),
            ("10.0.0.256.nip.io", None),
            ("10.0.0.5.example.com", None),
            ("10.0.0.5.notnip.io", None),
            ("1-2-3.sslip.io", None),
        ] {
            let name = Name::parse_absolute(text).unwrap();
            assert_eq!(address(name.as_wire()).map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }
}
