//! The name that a client asks for in its ClientHello (RFC 6066 §3), read and left as it is.

use rustls::server::Acceptor;

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

/// RFC 8446 §5.1: a handshake's record.
const HANDSHAKE: u8 = 22;

/// The reader of one connection's first bytes, in however many segments and records they come. Each byte is read once.
#[derive(Default)]
pub struct Reader {
    acceptor: Acceptor,
    has_begun: bool,
}

impl Reader {
    /// Reads the bytes that have come since. Once the meaning is known, there is nothing more to read.
    pub fn read(&mut self, new: &[u8]) -> Hello {
        match new.first() {
            None => return Hello::Partial,
            Some(&HANDSHAKE) => {}
            Some(_) if self.has_begun => {}
            Some(_) => return Hello::NotTls,
        }
        self.has_begun = true;
        let mut rest = new;
        while !rest.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut rest), Ok(1..)) {
                return Hello::NotTls;
            }
            match self.acceptor.accept() {
                Ok(Some(accepted)) => {
                    return Hello::Tls(accepted.client_hello().server_name().map(str::to_owned));
                }
                Ok(None) => {}
                Err(_) => return Hello::NotTls,
            }
        }
        Hello::Partial
    }
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
