//! Questions to another server over TCP, one after the other on one connection.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Reply, line};
use crate::clock;
use crate::command::framed;
use crate::name::{self, MAX_NAME_BYTES, Name};
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// A server that does not answer in this time is no server.
const DEADLINE: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 12;
/// Records of a transfer that are read; a larger zone is compared by the names that are known here.
const MOST_TRANSFERRED: usize = 5_000_000;
/// Pointers of one name; each leads back, so more is a loop.
const MOST_POINTERS: usize = 64;

/// Another server.
pub(super) struct Server {
    address: SocketAddr,
    connection: Option<TcpStream>,
}

impl Server {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Servers close connections that they have answered enough on, so a question is asked again on a new one.
    pub(super) fn ask(&mut self, name: &Name, rtype: Type) -> io::Result<Reply> {
        let question = question(name, rtype);
        if self.connection.is_some()
            && let Ok(reply) = self.exchange(&question)
        {
            return read(&reply).ok_or_else(malformed);
        }
        self.connection = Some(self.connect()?);
        read(&self.exchange(&question)?).ok_or_else(malformed)
    }

    /// Owners and types of all records of a zone, if the server hands them out (AXFR, RFC 5936).
    pub(super) fn transfer(&self, apex: &Name) -> Option<Vec<(Name, Type)>> {
        let mut connection = self.connect().ok()?;
        connection.write_all(&question(apex, Type::AXFR)).ok()?;
        let (mut records, mut soas) = (Vec::new(), 0);
        while soas < 2 {
            let message = receive(&connection).ok()?;
            let answers = sections(&message)?.0;
            if answers.is_empty() || message[3] & 0x0f != 0 || records.len() > MOST_TRANSFERRED {
                return None;
            }
            soas += answers.iter().filter(|record| record.rtype == Type::SOA).count();
            records.extend(answers.into_iter().map(|record| (record.owner, record.rtype)));
        }
        Some(records)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect_timeout(&self.address, DEADLINE)?;
        connection.set_write_timeout(Some(DEADLINE))?;
        Ok(connection)
    }

    fn exchange(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = self.connection.take().ok_or(io::ErrorKind::NotConnected)?;
        connection.write_all(question)?;
        let reply = receive(&connection)?;
        self.connection = Some(connection);
        Ok(reply)
    }
}

/// One message.
fn receive(connection: &TcpStream) -> io::Result<Vec<u8>> {
    framed::receive(connection, clock::now() + DEADLINE)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its answer is malformed")
}

/// With its length before it.
fn question(name: &Name, rtype: Type) -> Vec<u8> {
    let mut message = vec![0x56, 0x47, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(name.as_wire());
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let bytes = u16::try_from(message.len()).expect("a question is shorter than 300 bytes");
    [&bytes.to_be_bytes()[..], &message].concat()
}

/// The reply as it is compared; none if it is malformed.
fn read(message: &[u8]) -> Option<Reply> {
    let (answer, authority) = sections(message)?;
    let delegation = authority.into_iter().filter(|record| record.rtype == Type::NS);
    let records = if answer.is_empty() { delegation.collect() } else { answer };
    Some(Reply { rcode: message[3] & 0x0f, records: records.into_iter().map(|record| record.line).collect() })
}

/// A record of a message.
struct Received {
    owner: Name,
    rtype: Type,
    /// As it is compared.
    line: String,
}

/// Answer and authority section.
fn sections(message: &[u8]) -> Option<(Vec<Received>, Vec<Received>)> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk()?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut at = HEADER_BYTES;
    for _ in 0..count(4) {
        read_name(message, &mut at)?;
        at += 4;
    }
    let mut section =
        |records: u16| (0..records).map(|_| record(message, &mut at)).collect::<Option<Vec<_>>>();
    Some((section(count(6))?, section(count(8))?))
}

fn record(message: &[u8], at: &mut usize) -> Option<Received> {
    let owner = Name::from_wire(&read_name(message, at)?).ok()?;
    let fixed: &[u8; 10] = message.get(*at..)?.first_chunk()?;
    let [t1, t2, _, _, s1, s2, s3, s4, l1, l2] = *fixed;
    let (rtype, ttl) = (Type(u16::from_be_bytes([t1, t2])), u32::from_be_bytes([s1, s2, s3, s4]));
    *at += fixed.len();
    let end = *at + usize::from(u16::from_be_bytes([l1, l2]));
    let rdata = expanded(message, *at, end, rtype)?;
    *at = end;
    let line = line(&owner, ttl, rtype, &rdata);
    Some(Received { owner, rtype, line })
}

/// RDATA with its names written out. Names stand behind fields of fixed length in every type that may compress them.
fn expanded(message: &[u8], mut at: usize, end: usize, rtype: Type) -> Option<Vec<u8>> {
    message.get(at..end)?;
    let mut rdata = Vec::new();
    for field in rdata::shape(rtype).unwrap_or_default() {
        let bytes = match field {
            Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox => {
                rdata.extend(read_name(message, &mut at)?);
                continue;
            }
            Field::U8 => 1,
            Field::U16 => 2,
            Field::U32 | Field::Ttl => 4,
            Field::Text => usize::from(*message.get(at)?) + 1,
            _ => break,
        };
        rdata.extend_from_slice(message.get(at..at + bytes)?);
        at += bytes;
    }
    rdata.extend_from_slice(message.get(at..end)?);
    Some(rdata)
}

/// A name in full; `at` moves behind it.
fn read_name(message: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let (mut name, mut here, mut pointers) = (Vec::new(), *at, 0);
    loop {
        let len = *message.get(here)?;
        match len {
            0 => {
                name.push(0);
                if pointers == 0 {
                    *at = here + 1;
                }
                return name::wire_len(&name).map(|_| name);
            }
            0xc0.. => {
                let low = *message.get(here + 1)?;
                if pointers == 0 {
                    *at = here + 2;
                }
                pointers += 1;
                here = usize::from(u16::from_be_bytes([len & 0x3f, low]));
            }
            _ => {
                let label = message.get(here..here + 1 + usize::from(len))?;
                name.extend_from_slice(label);
                here += label.len();
            }
        }
        if pointers > MOST_POINTERS || name.len() > MAX_NAME_BYTES {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `www.example. MX` with a pointer in its RDATA.
    const REPLY: &[u8] = b"VG\x84\0\0\x01\0\x01\0\0\0\0\x03www\x07example\0\0\x0f\0\x01\xc0\x0c\0\x0f\0\x01\0\0\x01\x2c\0\x09\0\x0a\x04mail\xc0\x10";

    #[test]
    fn names_in_records_are_written_out() {
        let reply = read(REPLY).unwrap();
        assert_eq!(reply.rcode, 0);
        assert_eq!(reply.records.into_iter().collect::<Vec<_>>(), ["www.example. 300 mx 10 mail.example."]);
    }

    #[test]
    fn a_reply_that_is_cut_or_leads_in_circles_is_malformed() {
        for len in 0..REPLY.len() {
            assert!(read(&REPLY[..len]).is_none(), "{len}");
        }
        let mut circle = REPLY.to_vec();
        let last = circle.len() - 1;
        circle[last] = u8::try_from(last - 1).unwrap();
        assert!(read(&circle).is_none());
    }
}
