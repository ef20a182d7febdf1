//! A datagram on its way from the process that read it to the one that has its connection. Pure.
//!
//! ```text
//! ECN (1 byte) │ client: family, address, port (1 + 16 + 2) │ local: family, address (1 + 16) │ the datagram
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The circumstances of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Where it came from.
    pub(super) client: SocketAddr,
    /// Where it came to, if the kernel has said so.
    pub(super) local: Option<IpAddr>,
    /// The bits of RFC 3168; 0 if there are none.
    pub(super) ecn: u8,
}

/// An address is written as this and 16 bytes.
const NONE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;
const ADDRESS_BYTES: usize = 17;
const ENVELOPE_BYTES: usize = 1 + ADDRESS_BYTES + 2 + ADDRESS_BYTES;
/// The longest UDP datagram, in its envelope.
pub(super) const MAX_BYTES: usize = ENVELOPE_BYTES + 0xffff;

/// Puts a datagram in its envelope; how long both are. None if it is longer than UDP has any.
pub(super) fn close(envelope: &Envelope, datagram: &[u8], into: &mut [u8; MAX_BYTES]) -> Option<usize> {
    let length = ENVELOPE_BYTES + datagram.len();
    let place = into.get_mut(ENVELOPE_BYTES..length)?;
    place.copy_from_slice(datagram);
    into[0] = envelope.ecn;
    into[1..18].copy_from_slice(&written(Some(envelope.client.ip())));
    into[18..20].copy_from_slice(&envelope.client.port().to_be_bytes());
    into[20..ENVELOPE_BYTES].copy_from_slice(&written(envelope.local));
    Some(length)
}

/// Takes a datagram out; none if this is no envelope.
pub(super) fn open(bytes: &[u8]) -> Option<(Envelope, &[u8])> {
    let (envelope, datagram) = bytes.split_first_chunk::<ENVELOPE_BYTES>()?;
    let client = read(&envelope[1..18])?;
    let port = u16::from_be_bytes([envelope[18], envelope[19]]);
    let local = read(&envelope[20..])?;
    Some((Envelope { client: SocketAddr::new(client?, port), local, ecn: envelope[0] }, datagram))
}

fn written(address: Option<IpAddr>) -> [u8; ADDRESS_BYTES] {
    let mut bytes = [0; ADDRESS_BYTES];
    match address {
        None => bytes[0] = NONE,
        Some(IpAddr::V4(address)) => {
            bytes[0] = V4;
            bytes[1..5].copy_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            bytes[0] = V6;
            bytes[1..].copy_from_slice(&address.octets());
        }
    }
    bytes
}

/// An address; the inner one is none if there is none.
#[expect(clippy::option_option, reason = "an address that is not there is written, too")]
fn read(bytes: &[u8]) -> Option<Option<IpAddr>> {
    let (family, address) = bytes.split_first()?;
    let address: [u8; 16] = address.try_into().ok()?;
    match *family {
        NONE => Some(None),
        V4 => address.first_chunk::<4>().map(|bytes| Some(IpAddr::from(*bytes))),
        V6 => Some(Some(IpAddr::V6(Ipv6Addr::from(address)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_out_as_it_was_put_in() {
        let check = |client: &str, local: Option<&str>, datagram: &[u8]| {
            let local = local.map(|local| local.parse().unwrap());
            let envelope = Envelope { client: client.parse().unwrap(), local, ecn: 2 };
            let mut bytes = [0xff; MAX_BYTES];
            let length = close(&envelope, datagram, &mut bytes).unwrap();
            assert_eq!(open(&bytes[..length]), Some((envelope, datagram)));
        };
        check("192.0.2.1:443", None, b"");
        check("192.0.2.1:443", Some("198.51.100.1"), b"a datagram");
        check("[2001:db8::1]:65535", Some("2001:db8::2"), &[7; 0xffff]);
    }

    #[test]
    fn what_is_too_long_or_cut_off_or_of_another_family_is_none() {
        let envelope = Envelope { client: "192.0.2.1:1".parse().unwrap(), local: None, ecn: 0 };
        let mut bytes = [0; MAX_BYTES];
        assert_eq!(close(&envelope, &[0; 0x10000], &mut bytes), None);
        let length = close(&envelope, b"a", &mut bytes).unwrap();
        for cut in 0..length - 1 {
            assert_eq!(open(&bytes[..cut]), None, "{cut} bytes");
        }
        for (place, family) in [(1, 5), (1, NONE), (20, 5)] {
            let mut other = bytes;
            other[place] = family;
            assert_eq!(open(&other[..length]), None, "{place} {family}");
        }
    }
}
