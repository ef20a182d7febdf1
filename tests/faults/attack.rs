//! Attacks on a server. Each returns the things that it holds, so that it lasts until these are dropped.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use verge_stack::dns_client::Question;
use verge_stack::dns_client::carrier::{Asker, Carrier};

use crate::honest::attacker;
use crate::server::{Server, Site};

/// Threads that flood over UDP.
const FLOODERS: usize = 2;
/// An attacker that gets no connection within this has made its attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts at once.
const AT_ONCE: usize = 500;

/// The things that an attack holds until its end.
#[derive(Default)]
pub(crate) struct Held {
    things: Vec<Box<dyn Any + Send>>,
    tried: usize,
}

impl Held {
    /// Holds what another attack does, too.
    pub(crate) fn and(&mut self, other: Self) {
        self.things.extend(other.things);
        self.tried += other.tried;
    }

    /// The result in words.
    pub(crate) fn said(&self) -> String {
        format!("{} of {} made", self.things.len(), self.tried)
    }
}

/// An attacker of one's own address.
pub(crate) fn asker(site: &Site, n: usize) -> io::Result<Asker> {
    Asker::new(attacker(n), site.root.clone())
}

/// As many questions over UDP as two threads can send, until it is dropped.
pub(crate) fn udp_flood(server: SocketAddr) -> io::Result<Held> {
    struct Flood(Arc<AtomicBool>);
    impl Drop for Flood {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    for n in 0..FLOODERS {
        let socket = UdpSocket::bind((attacker(n), 0))?;
        socket.connect(server)?;
        // Answers are not read; they are what the socket throws away.
        let over = Arc::clone(&over);
        let packet = Question::plain(1, "www.example.net", 1).to_bytes();
        std::thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                // A full buffer is the aim.
                let _ = socket.send(&packet);
            }
        });
    }
    Ok(Held { things: vec![Box::new(Flood(over))], tried: 1 })
}

/// The attacker's use of each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Connects and says nothing; over TLS, QUIC and HTTPS with a handshake and one question.
    Idle(Carrier),
    /// Sends the beginning of a ClientHello.
    HalfHandshake,
    /// Asks for 60 KiB a hundred times and reads nothing.
    SlowReader,
    /// Asks a hundred times over HTTP/2 and lets no body come (a window of nothing).
    NoWindow,
    /// Opens a hundred streams of QUIC and sends half a question on each.
    HalfStreams,
}

/// `count` connections, `per_client` from each address.
pub(crate) async fn connections(
    site: &Site,
    server: &Server,
    (count, per_client): (usize, usize),
    way: Way,
) -> io::Result<Held> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut attempts: JoinSet<Option<Box<dyn Any + Send>>> = JoinSet::new();
    for client in 0..count.div_ceil(per_client) {
        let asker = asker(site, client)?;
        for _ in 0..per_client.min(count - client * per_client) {
            let (asker, places) = (asker.clone(), Arc::clone(&places));
            let address = server.address(carrier(way));
            attempts.spawn(async move {
                let _place = places.acquire().await.ok()?;
                timeout(PATIENCE, connect(&asker, address, way)).await.ok()?.ok()
            });
        }
    }
    let things = attempts.join_all().await.into_iter().flatten().collect();
    Ok(Held { things, tried: count })
}

fn carrier(way: Way) -> Carrier {
    match way {
        Way::Idle(carrier) => carrier,
        Way::HalfHandshake => Carrier::Tls,
        Way::SlowReader => Carrier::Tcp,
        Way::NoWindow => Carrier::Get2,
        Way::HalfStreams => Carrier::Quic,
    }
}

async fn connect(asker: &Asker, server: SocketAddr, way: Way) -> io::Result<Box<dyn Any + Send>> {
    Ok(match way {
        Way::Idle(Carrier::Tcp) => Box::new(asker.tcp(server).await?),
        Way::Idle(carrier) => {
            let mut connection = asker.connect(carrier, server).await?;
            connection.ask(&Question::plain(7, "www.example.net", 1).to_bytes()).await?;
            Box::new(connection)
        }
        Way::HalfHandshake => {
            let mut stream = asker.tcp(server).await?;
            // A record of a handshake of 512 bytes, of which six come.
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?;
            Box::new(stream)
        }
        Way::NoWindow => {
            let mut stream = asker.tls(server, b"h2").await?;
            stream.write_all(&requests_without_a_window()).await?;
            stream.flush().await?;
            Box::new(stream)
        }
        Way::HalfStreams => {
            let endpoint = quinn::Endpoint::client((asker.address(), 0).into())?;
            let connection = asker.quic(&endpoint, server).await?;
            let mut streams = Vec::new();
            for _ in 0..100 {
                let (mut send, receive) = connection.open_bi().await?;
                send.write_all(b"\x00\x20half a question").await?;
                streams.push((send, receive));
            }
            Box::new((connection, streams, endpoint))
        }
        Way::SlowReader => {
            let mut stream = asker.tcp(server).await?;
            let packet = Question::plain(7, "big.example.net", 16).to_bytes();
            let length = u16::try_from(packet.len()).expect("it is short").to_be_bytes();
            stream.write_all(&[&length[..], &packet].concat().repeat(100)).await?;
            Box::new(stream)
        }
    })
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS_INITIAL_WINDOW_SIZE of 0, and a hundred times `GET /dns-query?dns=…` for www.example.net.
fn requests_without_a_window() -> Vec<u8> {
    let path = b"/dns-query?dns=AAAAAAABAAAAAAAAA3d3dwdleGFtcGxlA25ldAAAAQAB";
    let length = u8::try_from(path.len()).expect("it is short");
    // GET, https, a path and an authority that need not be remembered (RFC 7541 §6.2.2).
    let head = [&[0x82, 0x87, 0x04, length][..], path, b"\x01\x09localhost"].concat();
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    (0..100).for_each(|n| all.extend(frame(1, 5, 2 * n + 1, &head)));
    all
}

/// Handshakes of QUIC, as many at once as there are, each from a socket shared with a hundred others.
pub(crate) async fn quic_flood(site: &Site, server: &Server, count: usize) -> io::Result<Held> {
    const PER_SOCKET: usize = 50;
    let address = server.address(Carrier::Quic);
    let mut attempts = JoinSet::new();
    for client in 0..count.div_ceil(PER_SOCKET) {
        let asker = asker(site, client)?;
        let endpoint = quinn::Endpoint::client((attacker(client), 0).into())?;
        for _ in 0..PER_SOCKET {
            let (asker, endpoint) = (asker.clone(), endpoint.clone());
            attempts.spawn(async move {
                let made = timeout(PATIENCE, asker.quic(&endpoint, address)).await.ok()?.ok()?;
                Some(Box::new((made, endpoint)) as Box<dyn Any + Send>)
            });
        }
    }
    Ok(Held { things: attempts.join_all().await.into_iter().flatten().collect(), tried: count })
}
