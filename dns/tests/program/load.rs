//! Clients that ask a server all the time, over every transport, and count what becomes of it.
//!
//! The zone has `v.example.com`, whose address ends with the number of its version.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::time::timeout;

/// A question without an answer after this is lost.
const LIMIT: Duration = Duration::from_secs(10);
/// Connections in a row that end without the answer; then it is lost.
const TRIES: usize = 3;
/// A process that leaves waits as long as this for what is under way on its connections.
const IDLE_LIMIT: Duration = Duration::from_millis(250);
/// Questions on one connection.
const QUESTIONS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Udp,
    Tcp,
    Tls,
    Quic,
}

/// The fate of questions.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    /// Their connection ended first, and they were sent again.
    pub(super) again: AtomicU64,
    pub(super) lost: AtomicU64,
    /// The answer was older than the version that was ready when it was asked for.
    pub(super) stale: AtomicU64,
    /// Those of them that came within [`IDLE_LIMIT`].
    pub(super) stale_at_once: AtomicU64,
    ready: AtomicUsize,
    is_over: AtomicBool,
}

/// Clients that ask until they are told to end.
pub(super) struct Load {
    pub(super) counts: Arc<Counts>,
    clients: Vec<JoinHandle<()>>,
}

/// `id` asks for the version.
fn question(id: u16) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.add_query(Query::query(Name::from_ascii("v.example.com.").unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// The version that an answer gives.
fn version(answer: &[u8], id: u16) -> usize {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!(answer.metadata.id, id);
    match &answer.answers[0].data {
        RData::A(address) => usize::from(address.octets()[3]),
        other => panic!("{other}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test reads the real clock too")]
fn now() -> Instant {
    Instant::now()
}

impl Counts {
    /// From now on no question may get an older version.
    pub(super) fn ready(&self, version: usize) {
        self.ready.store(version, Ordering::Release);
    }

    pub(super) fn of(&self) -> [u64; 5] {
        [&self.sent, &self.answered, &self.again, &self.lost, &self.stale]
            .map(|it| it.load(Ordering::Relaxed))
    }

    /// Waits until so many more are answered.
    pub(super) fn wait_for(&self, more: u64) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < until && self.lost.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
    }

    /// Asks again and again. `ask` gives the answer, or none if the question must be sent again on another connection.
    fn keep_asking(&self, mut ask: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        let mut id = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            id = if id == u16::MAX { 0 } else { id + 1 };
            let oldest = self.ready.load(Ordering::Acquire);
            let asked = question(id);
            self.sent.fetch_add(1, Ordering::Relaxed);
            let mut begun = now();
            let answer = (0..TRIES).find_map(|_| {
                begun = now();
                let answer = ask(&asked);
                self.again.fetch_add(u64::from(answer.is_none()), Ordering::Relaxed);
                answer
            });
            match answer {
                Some(answer) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    let is_stale = version(&answer, id) < oldest;
                    let is_at_once = is_stale && begun.elapsed() < IDLE_LIMIT;
                    self.stale.fetch_add(u64::from(is_stale), Ordering::Relaxed);
                    self.stale_at_once.fetch_add(u64::from(is_at_once), Ordering::Relaxed);
                }
                None => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Load {
    /// `folder` has the certificate that is believed.
    pub(super) fn start(carrier: Carrier, server: SocketAddr, folder: &Path, clients: usize) -> Self {
        let counts = Arc::<Counts>::default();
        let clients = (0..clients).map(|_| {
            let (counts, terms) = (Arc::clone(&counts), terms(folder, carrier));
            std::thread::spawn(move || match carrier {
                Carrier::Udp => udp(&counts, server),
                Carrier::Tcp => streams(&counts, || connect(server)),
                Carrier::Tls => streams(&counts, || {
                    let name = ServerName::try_from("localhost").unwrap();
                    let session = ClientConnection::new(Arc::clone(&terms), name).unwrap();
                    Some(StreamOwned::new(session, connect(server)?))
                }),
                Carrier::Quic => quic(&counts, server, &terms),
            })
        });
        Self { clients: clients.collect(), counts }
    }

    pub(super) fn end(self) -> Arc<Counts> {
        self.counts.is_over.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.counts
    }
}

fn terms(folder: &Path, carrier: Carrier) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("chain.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let terms = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut terms = terms.with_root_certificates(roots).with_no_client_auth();
    let protocol = if carrier == Carrier::Quic { &b"doq"[..] } else { b"dot" };
    terms.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(terms)
}

/// No question is sent again: what UDP loses is lost.
fn udp(counts: &Counts, server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    counts.keep_asking(|question| {
        socket.send(question).ok()?;
        let mut answer = [0; 512];
        let bytes = socket.recv(&mut answer).ok()?;
        Some(answer[..bytes].to_vec())
    });
}

fn connect(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(server).ok()?;
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    Some(stream)
}

fn streams<S: Read + Write>(counts: &Counts, connect: impl Fn() -> Option<S>) {
    let mut stream: Option<(S, usize)> = None;
    counts.keep_asking(|question| {
        let (mut open, left) =
            stream.take().filter(|(_, left)| *left > 0).or_else(|| Some((connect()?, QUESTIONS)))?;
        open.write_all(&framed(question)).ok()?;
        let mut length = [0; 2];
        open.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        open.read_exact(&mut answer).ok()?;
        stream = Some((open, left - 1));
        Some(answer)
    });
}

fn quic(counts: &Counts, server: SocketAddr, terms: &Arc<ClientConfig>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let crypto = QuicClientConfig::try_from(Arc::clone(terms)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint =
        runtime.block_on(async { quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap() });
    let mut connection: Option<(quinn::Connection, usize)> = None;
    counts.keep_asking(|question| {
        let answered = async {
            let (open, left) = match connection.take().filter(|(_, left)| *left > 0) {
                Some(open) => open,
                None => {
                    let connecting = endpoint.connect_with(config.clone(), server, "localhost").unwrap();
                    (connecting.await.ok()?, QUESTIONS)
                }
            };
            let (mut send, mut receive) = open.open_bi().await.ok()?;
            // RFC 9250 §4.2.1: the message ID is 0.
            let message = [&[0, 0], &question[2..]].concat();
            send.write_all(&framed(&message)).await.ok()?;
            send.finish().ok()?;
            let answer = receive.read_to_end(usize::from(u16::MAX) + 2).await.ok()?;
            connection = Some((open, left - 1));
            Some([&question[..2], answer.get(4..)?].concat())
        };
        runtime.block_on(async { timeout(LIMIT, answered).await }).ok()?
    });
}
