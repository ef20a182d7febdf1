//! The circumstances of a packet, on its way from the process that has read it to the one that has its connection. Pure.
//!
//! ```text
//! ECN (1 byte) │ client: family (1), address (16), scope (4), port (2) │ to: family (1), address (16)
//! ```
//!
//! The packet itself comes behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The circumstances of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The two bits of RFC 3168; 0 if there are none.
    pub(super) ecn: u8,
    pub(super) client: SocketAddr,
    /// The address that it came to, if the kernel has told it.
    pub(super) to: Option<IpAddr>,
}

const FAMILY_NONE: u8 = 0;
const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;
/// Of an address with its family.
const ADDRESS_BYTES: usize = 17;
/// Of all circumstances.
pub(super) const ENVELOPE_BYTES: usize = 1 + ADDRESS_BYTES + 4 + 2 + ADDRESS_BYTES;

/// The circumstances as bytes.
pub(super) fn seal(envelope: &Envelope) -> [u8; ENVELOPE_BYTES] {
    let scope = match envelope.client {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(client) => client.scope_id(),
    };
    let (client, scope, port) =
        (written(Some(envelope.client.ip())), scope.to_be_bytes(), envelope.client.port().to_be_bytes());
    let (ecn, to) = ([envelope.ecn], written(envelope.to));
    let mut sealed = [0; ENVELOPE_BYTES];
    let mut rest = &mut sealed[..];
    for field in [&ecn[..], &client, &scope, &port, &to] {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    sealed
}

/// The circumstances of which these are the bytes; none if they are of none.
pub(super) fn open(sealed: &[u8; ENVELOPE_BYTES]) -> Option<Envelope> {
    let (&[ecn], rest) = sealed.split_first_chunk()?;
    let (client, rest) = rest.split_first_chunk()?;
    let (scope, rest) = rest.split_first_chunk()?;
    let (port, to) = rest.split_first_chunk()?;
    let (scope, port) = (u32::from_be_bytes(*scope), u16::from_be_bytes(*port));
    let client = match read(client).ok()?? {
        IpAddr::V4(client) => SocketAddr::from((client, port)),
        IpAddr::V6(client) => SocketAddrV6::new(client, port, 0, scope).into(),
    };
    Some(Envelope { ecn, client, to: read(to.try_into().ok()?).ok()? })
}

fn written(address: Option<IpAddr>) -> [u8; ADDRESS_BYTES] {
    let mut bytes = [0; ADDRESS_BYTES];
    match address {
        None => bytes[0] = FAMILY_NONE,
        Some(IpAddr::V4(address)) => {
            bytes[0] = FAMILY_V4;
            bytes[1..5].copy_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            bytes[0] = FAMILY_V6;
            bytes[1..].copy_from_slice(&address.octets());
        }
    }
    bytes
}

/// No address has this family.
struct Strange;

fn read(bytes: &[u8; ADDRESS_BYTES]) -> Result<Option<IpAddr>, Strange> {
    let [family, address @ ..] = *bytes;
    match family {
        FAMILY_NONE => Ok(None),
        FAMILY_V4 => {
            let [a, b, c, d, ..] = address;
            Ok(Some(Ipv4Addr::new(a, b, c, d).into()))
        }
        FAMILY_V6 => Ok(Some(Ipv6Addr::from(address).into())),
        _ => Err(Strange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn circumstances_come_out_as_they_were_put_in() {
        let check = |client: SocketAddr, to: Option<&str>, ecn| {
            let envelope = Envelope { ecn, client, to: to.map(|to| to.parse().unwrap()) };
            assert_eq!(open(&seal(&envelope)), Some(envelope));
        };
        check("192.0.2.1:853".parse().unwrap(), None, 0);
        check("192.0.2.1:65535".parse().unwrap(), Some("198.51.100.1"), 2);
        check("[2001:db8::1]:1".parse().unwrap(), Some("2001:db8::2"), 3);
        // Without its scope, nobody could answer a client of the link.
        check(SocketAddrV6::new("fe80::1".parse().unwrap(), 853, 0, 7).into(), Some("fe80::2"), 1);
    }

    #[test]
    fn an_address_of_another_family_is_none() {
        let envelope = Envelope { ecn: 0, client: "192.0.2.1:1".parse().unwrap(), to: None };
        for (place, family) in [(1, 5), (1, FAMILY_NONE), (ENVELOPE_BYTES - ADDRESS_BYTES, 5)] {
            let mut sealed = seal(&envelope);
            sealed[place] = family;
            assert_eq!(open(&sealed), None, "{place} {family}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), ENVELOPE_BYTES)) {
            let sealed: [u8; ENVELOPE_BYTES] = bytes.try_into().unwrap();
            if let Some(envelope) = open(&sealed) {
                prop_assert_eq!(open(&seal(&envelope)), Some(envelope));
            }
        }
    }
}
