//! One question to one server, over UDP, and over TCP if the answer does not fit.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as HickoryName, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use crate::clock;
use crate::command::framed;
use crate::name::Name;

/// A server may send as many by UDP (DNS flag day 2020).
const UDP_BYTES: u16 = 1232;
/// For one of two tries.
const PATIENCE: Duration = Duration::from_secs(2);
/// Answers of others that are thrown away, beside one that is wanted.
const MOST_STRAY: usize = 16;

/// Whether the server is to ask others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recursion {
    Wanted,
    None,
}

/// The answer of a server; nothing is asked after the deadline.
pub(super) fn ask(
    server: SocketAddr,
    (name, rtype): (&Name, RecordType),
    recursion: Recursion,
    deadline: Instant,
) -> io::Result<Message> {
    let name = HickoryName::from_bytes(name.as_wire()).map_err(io::Error::other)?;
    let mut question = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = recursion == Recursion::Wanted;
    question.add_query(Query::query(name, rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let answer = by_udp(server, &bytes, &question, deadline)
        .or_else(|_| by_udp(server, &bytes, &question, deadline))?;
    match answer.metadata.truncation {
        true => by_tcp(server, &bytes, &question, deadline),
        false => Ok(answer),
    }
}

/// The time that is left for one try.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(clock::now()).min(PATIENCE);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn by_udp(server: SocketAddr, bytes: &[u8], question: &Message, deadline: Instant) -> io::Result<Message> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // The kernel then takes packets of this server alone.
    socket.connect(server)?;
    socket.send(bytes)?;
    let deadline = deadline.min(clock::now() + PATIENCE);
    let mut packet = [0; UDP_BYTES as usize];
    for _ in 0..MOST_STRAY {
        socket.set_read_timeout(Some(left(deadline)?))?;
        let length = socket.recv(&mut packet)?;
        if let Some(answer) = answer_to(question, &packet[..length]) {
            return Ok(answer);
        }
    }
    Err(malformed())
}

/// RFC 1035 §4.2.2.
fn by_tcp(server: SocketAddr, bytes: &[u8], question: &Message, deadline: Instant) -> io::Result<Message> {
    let deadline = deadline.min(clock::now() + PATIENCE);
    let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat())?;
    answer_to(question, &framed::receive(&stream, deadline)?).ok_or_else(malformed)
}

/// The message if it answers this question (RFC 5452 §9.1).
fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_same = |one: &Query, other: &Query| {
        one.query_type() == other.query_type() && one.name().to_lowercase() == other.name().to_lowercase()
    };
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries.len() == 1
        && answer.queries.iter().zip(&question.queries).all(|(one, other)| is_same(one, other));
    fits.then_some(answer)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its answer is malformed")
}
