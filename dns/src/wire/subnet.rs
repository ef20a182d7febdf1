//! The client subnet that a resolver asks for (RFC 7871): read where the operator believes the resolver, and nowhere else.
//!
//! Invariant: it reaches pools alone. The view is chosen before it is read (V1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network whose client a resolver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    /// How many of its bits the resolver tells.
    pub(super) source: u8,
}

/// The data of the option in an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    bytes: [u8; 20],
    len: usize,
}

impl Told {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Family, source and scope prefix length, and the bytes of the address that it takes. None where RFC 7871 §7.1.2 asks for
/// FORMERR.
pub(super) fn read(data: &[u8]) -> Option<Subnet> {
    let (&[f1, f2, source, scope], rest) = data.split_first_chunk::<4>()?;
    let most = match u16::from_be_bytes([f1, f2]) {
        1 => 32,
        2 => 128,
        _ => return None,
    };
    if scope != 0 || source > most || rest.len() != usize::from(source).div_ceil(8) {
        return None;
    }
    let spare = (8 - source % 8) % 8;
    if rest.last().is_some_and(|last| spare > 0 && last & ((1 << spare) - 1) != 0) {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[..rest.len()].copy_from_slice(rest);
    let address = match most {
        32 => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
        _ => Ipv6Addr::from(bytes).into(),
    };
    Some(Subnet { address, source })
}

impl Subnet {
    /// The option in an answer: what was asked, with the bits that mattered (RFC 7871 §7.2.1).
    pub(super) fn told(self, scope: u8) -> Told {
        let mut bytes = [0; 20];
        let (family, address) = match self.address {
            IpAddr::V4(address) => (1, address.to_ipv6_mapped().octets().split_at(12).1.to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        let len = usize::from(self.source).div_ceil(8);
        bytes[..4].copy_from_slice(&[0, family, self.source, scope]);
        bytes[4..4 + len].copy_from_slice(&address[..len]);
        Told { bytes, len: 4 + len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_exact_or_malformed() {
        for (data, expected) in [
            (&[0, 1, 24, 0, 192, 0, 2][..], Some(("192.0.2.0", 24))),
            (&[0, 1, 0, 0], Some(("0.0.0.0", 0))),
            (&[0, 1, 32, 0, 192, 0, 2, 7], Some(("192.0.2.7", 32))),
            (&[0, 1, 23, 0, 192, 0, 2], Some(("192.0.2.0", 23))),
            (&[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 1], Some(("2001:db8:1::", 48))),
            (&[0, 1, 23, 0, 192, 0, 3], None),
            (&[0, 1, 24, 24, 192, 0, 2], None),
            (&[0, 1, 24, 0, 192, 0], None),
            (&[0, 1, 24, 0, 192, 0, 2, 0], None),
            (&[0, 1, 33, 0, 192, 0, 2, 0, 0], None),
            (&[0, 3, 0, 0], None),
            (&[0, 1, 24], None),
            (&[], None),
        ] {
            let expected =
                expected.map(|(address, source)| Subnet { address: address.parse().unwrap(), source });
            assert_eq!(read(data), expected, "{data:?}");
            if let Some(subnet) = expected {
                let told = subnet.told(17);
                assert_eq!((told.as_slice()[3], &told.as_slice()[4..]), (17, &data[4..]));
                assert_eq!(told.as_slice()[..3], data[..3]);
            }
        }
    }
}
