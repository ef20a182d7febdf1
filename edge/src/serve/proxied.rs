//! The PROXY protocol, version 2: who the client of a proxy is (haproxy.org, proxy-protocol.txt §2.2). Pure.
//!
//! Invariant: it is read from the addresses that the config names, and from nobody else; there it must stand.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes before the addresses.
pub const FIXED_BYTES: usize = 16;
/// Addresses and what else a proxy tells, such as a client's certificate.
const MOST_BYTES: u16 = 4096;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first part of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    family: Family,
    /// Bytes behind it that belong to the header.
    pub rest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// The proxy speaks for itself, as in a health check, or does not know.
    Own,
    V4,
    V6,
}

/// The two ends of a client's connection to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's address.
    pub client: SocketAddr,
    /// The address that it asked.
    pub local: SocketAddr,
}

/// The bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotProxied;

impl fmt::Display for NotProxied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no header of the PROXY protocol, version 2")
    }
}

impl std::error::Error for NotProxied {}

/// Reads the first part.
///
/// # Errors
/// When it is none, or is about something else than TCP.
pub fn start(bytes: &[u8; FIXED_BYTES]) -> Result<Start, NotProxied> {
    let (signature, rest) = bytes.split_first_chunk().ok_or(NotProxied)?;
    let [command, family, high, low] = *rest else { return Err(NotProxied) };
    let length = u16::from_be_bytes([high, low]);
    let family = match (command, family) {
        (0x20, _) | (0x21, 0x00) => Family::Own,
        (0x21, 0x11) => Family::V4,
        (0x21, 0x21) => Family::V6,
        _ => return Err(NotProxied),
    };
    if signature != SIGNATURE || length > MOST_BYTES || usize::from(length) < family.bytes() {
        return Err(NotProxied);
    }
    Ok(Start { family, rest: usize::from(length) })
}

impl Family {
    /// Two addresses and two ports.
    fn bytes(self) -> usize {
        match self {
            Self::Own => 0,
            Self::V4 => 12,
            Self::V6 => 36,
        }
    }
}

impl Start {
    /// The ends that the rest names; none if the proxy speaks for itself. All else that it tells is passed over.
    ///
    /// # Errors
    /// When the rest is shorter than the first part says.
    pub fn ends(self, rest: &[u8]) -> Result<Option<Ends>, NotProxied> {
        let bytes = rest.get(..self.family.bytes()).filter(|_| rest.len() == self.rest).ok_or(NotProxied)?;
        Ok(match self.family {
            Family::Own => None,
            Family::V4 => Some(ends::<4>(bytes, |bytes| IpAddr::V4(Ipv4Addr::from(bytes)))?),
            Family::V6 => Some(ends::<16>(bytes, |bytes| IpAddr::V6(Ipv6Addr::from(bytes)))?),
        })
    }
}

/// The header that tells these ends.
#[must_use]
pub fn header(ends: &Ends) -> Vec<u8> {
    let (client, local) = (ends.client.ip().to_canonical(), ends.local.ip().to_canonical());
    let (family, addresses) = match (client, local) {
        (IpAddr::V4(client), IpAddr::V4(local)) => (0x11, [client.octets(), local.octets()].concat()),
        (client, local) => {
            let v6 = |address| match address {
                IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address).octets(),
                IpAddr::V6(address) => Ipv6Addr::octets(&address),
            };
            (0x21, [v6(client), v6(local)].concat())
        }
    };
    let ports = [ends.client.port().to_be_bytes(), ends.local.port().to_be_bytes()].concat();
    let length = u16::try_from(addresses.len() + ports.len()).expect("36 at most").to_be_bytes();
    [&SIGNATURE[..], &[0x21, family], &length, &addresses, &ports].concat()
}

fn ends<const N: usize>(bytes: &[u8], address: fn([u8; N]) -> IpAddr) -> Result<Ends, NotProxied> {
    let (client, rest) = bytes.split_first_chunk::<N>().ok_or(NotProxied)?;
    let (local, ports) = rest.split_first_chunk::<N>().ok_or(NotProxied)?;
    let [a, b, c, d] = *ports else { return Err(NotProxied) };
    let end = |bytes, port| SocketAddr::new(address(bytes).to_canonical(), u16::from_be_bytes(port));
    Ok(Ends { client: end(*client, [a, b]), local: end(*local, [c, d]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_header_of_ours_is_read_as_it_was_meant() {
        for (client, local) in [
            ("192.0.2.1:4711", "198.51.100.1:443"),
            ("[2001:db8::1]:4711", "[2001:db8::2]:443"),
            ("192.0.2.1:4711", "[2001:db8::2]:443"),
            ("[::ffff:192.0.2.1]:1", "198.51.100.1:2"),
        ] {
            let ends = Ends { client: client.parse().unwrap(), local: local.parse().unwrap() };
            let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port()).to_string();
            assert_eq!(read(&header(&ends)), Ok(Some((plain(ends.client), plain(ends.local)))));
        }
    }

    fn read(bytes: &[u8]) -> Result<Option<(String, String)>, NotProxied> {
        let (first, rest) = bytes.split_first_chunk().ok_or(NotProxied)?;
        let ends = start(first)?.ends(rest)?;
        Ok(ends.map(|ends| (ends.client.to_string(), ends.local.to_string())))
    }

    const V4: &[u8] = b"\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb";

    #[test]
    fn addresses_are_read_and_what_else_a_proxy_tells_is_passed_over() {
        let found = Ok(Some(("192.0.2.1:12345".to_owned(), "198.51.100.2:443".to_owned())));
        assert_eq!(read(&written(0x21, 0x11, V4)), found);
        assert_eq!(read(&written(0x21, 0x11, &[V4, b"\x03\x00\x04abcd"].concat())), found);
        let v6 =
            [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], b"\x30\x39\x01\xbb"].concat();
        assert_eq!(
            read(&written(0x21, 0x21, &v6)),
            Ok(Some(("[2001:db8::1]:12345".to_owned(), "[::1]:443".to_owned())))
        );
        assert_eq!(read(&written(0x20, 0x00, b"")), Ok(None));
        assert_eq!(read(&written(0x20, 0x11, V4)), Ok(None));
        assert_eq!(read(&written(0x21, 0x00, b"")), Ok(None));
    }

    #[test]
    fn everything_else_is_refused() {
        for bytes in [
            written(0x11, 0x11, V4),
            written(0x22, 0x11, V4),
            written(0x21, 0x12, V4),
            written(0x21, 0x31, &[0; 216]),
            written(0x21, 0x11, &V4[..11]),
            written(0x21, 0x21, V4),
            written(0x21, 0x11, &[0; 4097]),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(),
        ] {
            assert_eq!(read(&bytes), Err(NotProxied), "{bytes:x?}");
        }
    }
}
