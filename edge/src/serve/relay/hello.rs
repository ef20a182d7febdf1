//! The name that a client asks for in its ClientHello (RFC 6066 §3), read and left as it is.
//!
//! The origin ends TLS, not the edge. So the edge reads no more than the way to the name, and judges nothing else: a client of
//! an old version, or one that leaves out what a server of today requires, gets to its origin all the same.

use std::net::IpAddr;

/// The meaning of a connection's first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// More of them are needed.
    Partial,
    /// They are no ClientHello.
    NotTls,
    /// They are one, with this name if it has one. An encrypted one shows its outer name.
    Tls(Option<String>),
}

/// RFC 8446 §5.1: a handshake's record; all versions of TLS have the same major number.
const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;
const RECORD_HEAD_BYTES: usize = 5;
/// RFC 8446 §5.1: no record has more, and one of a handshake has at least a byte.
const MOST_RECORD_BYTES: usize = 1 << 14;
/// RFC 8446 §4: its kind and its length.
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEAD_BYTES: usize = 4;
/// A ClientHello with keys of several post-quantum groups has some KiB.
const MOST_MESSAGE_BYTES: usize = 64 << 10;
/// RFC 6066 §3.
const SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;
/// RFC 1035 §2.3.4.
const MOST_NAME_BYTES: usize = 255;

/// The reader of one connection's first bytes, in however many segments and records they come. Each byte is read once.
#[derive(Debug, Default)]
pub struct Reader {
    /// The head of the record that comes, as far as it is here.
    head: Vec<u8>,
    /// Bytes of the record's content that are still to come.
    left: usize,
    /// The message, without the heads of its records.
    message: Vec<u8>,
}

impl Reader {
    /// Reads the bytes that have come since. Once the meaning is known, there is nothing more to read.
    pub fn read(&mut self, new: &[u8]) -> Hello {
        let mut rest = new;
        while let Some((byte, behind)) = rest.split_first() {
            if self.left == 0 {
                self.head.push(*byte);
                rest = behind;
                match content_length(&self.head) {
                    None => return Hello::NotTls,
                    Some(0) => {}
                    Some(length) => {
                        self.left = length;
                        self.head.clear();
                    }
                }
                continue;
            }
            let (part, behind) = rest.split_at(self.left.min(rest.len()));
            self.message.extend_from_slice(part);
            self.left -= part.len();
            rest = behind;
            match meaning(&self.message) {
                Hello::Partial => {}
                known => return known,
            }
        }
        Hello::Partial
    }
}

/// Bytes of a record's content, by its head as far as that is here: 0 if more of it is needed; none if it is no handshake's.
fn content_length(head: &[u8]) -> Option<usize> {
    let begins_so = |at: usize, byte: u8| head.get(at).is_none_or(|found| *found == byte);
    if !begins_so(0, HANDSHAKE) || !begins_so(1, MAJOR) {
        return None;
    }
    if head.len() < RECORD_HEAD_BYTES {
        return Some(0);
    }
    let length = number(&mut &head[3..], 2)?;
    (1..=MOST_RECORD_BYTES).contains(&length).then_some(length)
}

/// The meaning of a handshake's first message, as far as it is here.
fn meaning(message: &[u8]) -> Hello {
    let Some((kind, mut rest)) = message.split_first() else { return Hello::Partial };
    if *kind != CLIENT_HELLO {
        return Hello::NotTls;
    }
    let Some(length) = number(&mut rest, 3) else { return Hello::Partial };
    if length > MOST_MESSAGE_BYTES - MESSAGE_HEAD_BYTES {
        return Hello::NotTls;
    }
    match take(&mut rest, length) {
        None => Hello::Partial,
        Some(body) => name(body).map_or(Hello::NotTls, Hello::Tls),
    }
}

/// The name in the body of a ClientHello, whose form is the same in TLS 1.0 to 1.3 (RFC 8446 §4.1.2); none if it has another
/// form.
fn name(mut body: &[u8]) -> Option<Option<String>> {
    // The version and the random.
    take(&mut body, 2 + 32)?;
    // The session, the cipher suites, the compression methods.
    for length_bytes in [1, 2, 1] {
        vector(&mut body, length_bytes)?;
    }
    if body.is_empty() {
        return Some(None);
    }
    let mut extensions = vector(&mut body, 2)?;
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let content = vector(&mut extensions, 2)?;
        if kind == SERVER_NAME {
            return Some(host(content));
        }
    }
    Some(None)
}

/// The host in a list of names; none if it has no name that a host can have.
fn host(mut content: &[u8]) -> Option<String> {
    let mut names = vector(&mut content, 2)?;
    while !names.is_empty() {
        let kind = number(&mut names, 1)?;
        let name = vector(&mut names, 2)?;
        if kind == HOST_NAME {
            let name = std::str::from_utf8(name).ok()?;
            let may_have = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let is_sound = (1..=MOST_NAME_BYTES).contains(&name.len()) && name.bytes().all(may_have);
            // RFC 6066 §3: an address is no name.
            return (is_sound && name.parse::<IpAddr>().is_err()).then(|| name.to_ascii_lowercase());
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

/// A number of so many bytes, three at most.
fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    Some(take(rest, bytes)?.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
}

/// Bytes behind their length, which has so many bytes itself.
fn vector<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = number(rest, length_bytes)?;
    take(rest, length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn read(bytes: &[u8]) -> Hello {
        Reader::default().read(bytes)
    }

    fn hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of so many bytes (RFC 8446 §5.1).
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&hello[..3], &length, part].concat()
        };
        hello[5..].chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_name_is_read_as_soon_as_all_of_the_hello_is_there() {
        let whole = hello("db.example.com");
        let name = || Hello::Tls(Some("db.example.com".into()));
        for bytes in [whole.clone(), in_records(&whole, 100), in_records(&whole, 7)] {
            for size in [1, 3, 50] {
                let mut reader = Reader::default();
                let parts: Vec<&[u8]> = bytes.chunks(size).collect();
                let (last, first) = parts.split_last().unwrap();
                for part in first {
                    assert_eq!(reader.read(part), Hello::Partial, "{size}");
                }
                assert_eq!(reader.read(last), name(), "{size}");
            }
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Hello::Partial, "{end}");
            }
            assert_eq!(read(&bytes), name());
            assert_eq!(read(&[&bytes[..], b"more"].concat()), name());
        }
        assert_eq!(read(&hello("192.0.2.1")), Hello::Tls(None), "RFC 6066 §3: an address is no name");
    }

    /// A ClientHello of TLS 1.0 with this behind its cipher suite: the compression methods and the extensions.
    fn bare(rest: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let body = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 0, 0x2f], rest].concat();
        let message = [&[CLIENT_HELLO, 0][..], &length(&body), &body].concat();
        [&[HANDSHAKE, MAJOR, 1][..], &length(&message), &message].concat()
    }

    /// These clients are too old for a server of today, which the edge is not: the origin answers them.
    #[test]
    fn the_name_is_read_whatever_else_the_hello_lacks() {
        let named = |kind: u8, name: &[u8]| {
            let length = u8::try_from(name.len()).unwrap();
            let list = [&[0, length + 3, kind, 0, length][..], name].concat();
            let content = u8::try_from(list.len()).unwrap();
            let all = content + 4;
            bare(&[&[1, 0, 0, all, 0, 0, 0, content][..], &list].concat())
        };
        let name = || Hello::Tls(Some("db.example.com".into()));
        // No signature algorithms, no versions, no groups.
        assert_eq!(read(&named(0, b"DB.example.com")), name());
        // No name, no extensions, no way to leave out compression.
        assert_eq!(read(&bare(&[1, 0])), Hello::Tls(None));
        assert_eq!(read(&bare(&[1, 1])), Hello::Tls(None));
        for (kind, odd) in [(0, &b"192.0.2.1"[..]), (0, b""), (0, b"a\nb"), (0, b"\xff"), (1, b"a.test")] {
            assert_eq!(read(&named(kind, odd)), Hello::Tls(None), "{odd:?}");
        }
        let mut short = named(0, b"db.example.com");
        // The list of extensions claims a byte more than there is.
        short[RECORD_HEAD_BYTES + MESSAGE_HEAD_BYTES + 42] += 1;
        assert_eq!(read(&short), Hello::NotTls);
        // No message is so long, and none is waited for.
        assert_eq!(read(&[HANDSHAKE, MAJOR, 1, 0, 4, CLIENT_HELLO, 1, 0, 0]), Hello::NotTls);
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            b"\0",
            b"\x16\x03\x01\x00\x05hello",
            b"\x16\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(read(other), Hello::NotTls, "{other:?}");
        }
    }

    proptest::proptest! {
        /// Whatever comes: it is read without a panic.
        #[test]
        fn any_bytes_are_read(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            bytes.insert(0, HANDSHAKE);
            let _ = read(&bytes);
        }
    }
}
