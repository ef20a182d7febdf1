//! DNS as bytes: questions as they travel, and the exchange over UDP and TCP, or over [every transport](carrier). Nothing
//! here judges the answers; the tests look at their bytes and have an independent codec decode them.

pub mod carrier;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

/// A question to be put into a packet.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Identifies the answer.
    pub id: u16,
    /// In dotted form; a final dot may be missing. Labels are taken as they are, without escapes.
    pub name: &'a str,
    /// Type of record.
    pub rtype: u16,
    /// The client's UDP size in an OPT record (RFC 6891 §6.1); none for no EDNS.
    pub payload_bytes: Option<u16>,
    /// Options of the OPT record as wire bytes: code, length, data.
    pub options: &'a [u8],
}

impl<'a> Question<'a> {
    /// Without EDNS.
    pub fn plain(id: u16, name: &'a str, rtype: u16) -> Self {
        Self { id, name, rtype, payload_bytes: None, options: &[] }
    }

    /// The whole packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        let additional = u16::from(self.payload_bytes.is_some());
        let mut packet = Vec::with_capacity(64);
        // RD is set, as every stub resolver sets it (RFC 1035 §4.1.1).
        for field in [self.id, 0x0100, 1, 0, 0, additional] {
            packet.extend(field.to_be_bytes());
        }
        for label in self.name.split('.').filter(|label| !label.is_empty()) {
            let bytes = u8::try_from(label.len()).expect("a label has at most 63 bytes");
            packet.push(bytes);
            packet.extend(label.as_bytes());
        }
        packet.push(0);
        packet.extend(self.rtype.to_be_bytes());
        packet.extend(CLASS_IN.to_be_bytes());
        if let Some(payload) = self.payload_bytes {
            packet.extend(opt(payload, self.options));
        }
        packet
    }
}

/// An OPT record (RFC 6891 §6.1.2).
fn opt(payload_bytes: u16, options: &[u8]) -> Vec<u8> {
    let length = u16::try_from(options.len()).expect("a test's options are short");
    let mut record = vec![0];
    record.extend(TYPE_OPT.to_be_bytes());
    record.extend(payload_bytes.to_be_bytes());
    record.extend([0; 4]);
    record.extend(length.to_be_bytes());
    record.extend(options);
    record
}

/// Sends `packet` from a fresh port and waits for one datagram.
pub async fn over_udp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    over_udp_from(SocketAddr::new(any, 0), server, packet).await
}

/// As [`over_udp`], from an address of one's own.
pub async fn over_udp_from(client: SocketAddr, server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(client).await?;
    // Connected: an answer that comes from another address than the one that was asked is not received.
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut answer = vec![0; 65_535];
    let bytes = timeout(PATIENCE, socket.recv(&mut answer)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    answer.truncate(bytes);
    Ok(answer)
}

/// Sends `packet` on a new connection and waits for one message.
pub async fn over_tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    exchange(TcpStream::connect(server).await?, packet).await
}

/// As [`over_tcp`], from an address of one's own.
pub async fn over_tcp_from(client: SocketAddr, server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let socket = if client.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(client)?;
    exchange(socket.connect(server).await?, packet).await
}

/// One question and its answer on a stream.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, packet: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&framed(packet)?).await?;
    stream.flush().await?;
    let reading = async {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(PATIENCE, reading).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// With its length before it (RFC 1035 §4.2.2), for one write (RFC 7766 §8).
fn framed(packet: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok([&length.to_be_bytes(), packet].concat())
}

const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// A server on the same machine that has not answered by now will not.
const PATIENCE: Duration = Duration::from_secs(10);
