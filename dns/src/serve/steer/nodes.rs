//! The other name servers of `[steer.quorum]`: each is told what this one sees, and tells what it sees, over mutual TLS.
//!
//! ```text
//! board ─▶ a message each second ─▶ a connection to each ┄▶ the others
//! board ◀─ Heard ◀─ a message ◀─ a connection from each ◀┄ the others
//! ```
//!
//! A connection goes one way, so that each server hears whatever reaches it. A message is a length in four bytes and JSON.
//!
//! Invariant: nothing is read before the certificate is one of the roots' and has the name of one other name server of the config, so
//! that nobody counts twice.
//! Invariant: a connection that says nothing, or takes nothing, for some seconds ends; and each ends after an hour, so that a
//! certificate is not believed for longer than that after its end.

mod who;

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use self::who::Nobody;
use super::board::Board;
use crate::clock;
use crate::config::{Node, Quorum};
use crate::serve::secondary::{certificates, mutual_terms, shown};
use crate::serve::tls::{Standing, Validity, unix_seconds};
use crate::steer::quorum::Message;

/// Between two messages, and between two looks who was not heard.
const EVERY: Duration = Duration::from_secs(1);
/// For a connection and its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For one message to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// From one message to the end of the next.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many messages without a word it is taken to listen.
const MESSAGES_TAKEN: u32 = 3;
/// The life of a connection.
const LONGEST: Duration = Duration::from_secs(3600);
/// Certificates are read again for the first handshake after this.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Handshakes at once with strangers, and with addresses that the config names.
const MOST_STRANGERS: usize = 8;
const MOST_HANDSHAKES: usize = 64;
/// The longest message: all members that a name server may speak of, with 21 bytes each, and as many orders and waits as there may
/// be, with 125 and 43; 8.3 million bytes in all.
const MOST_MESSAGE_BYTES: u32 = 8 << 20;
/// The protocol's name in handshakes (ALPN), so that another version is refused there.
const PROTOCOL: &[u8] = b"verge-quorum/1";

/// The name servers that decide together, as this one sees them.
pub(in crate::serve) struct Mesh {
    quorum: Quorum,
    /// The place of this server itself among the nodes.
    own: usize,
    others: Vec<Node>,
    terms: Mutex<(Instant, TlsAcceptor)>,
    /// The last connection from each.
    latest: Vec<AtomicU64>,
    /// A number of this run.
    run: u64,
    /// Mistakes of configs that were told already.
    warned: std::sync::Mutex<HashSet<&'static str>>,
}

impl Mesh {
    /// With certificates that can be read; its own one has its name and no other node's.
    pub(in crate::serve) fn new(quorum: Quorum) -> Result<Self, String> {
        mutual_terms(&quorum.ca, &quorum.identity)?;
        let acceptor = acceptor(&quorum)?;
        let (chain, _) = shown(&quorum.identity)?;
        let none = || format!("{}: there is no certificate in it", quorum.identity.certificate.display());
        let own = who::own(&quorum, chain.first().ok_or_else(none)?)?;
        let mut others = quorum.nodes.clone();
        others.remove(own);
        let latest = others.iter().map(|_| AtomicU64::new(0)).collect();
        let terms = Mutex::new((clock::now(), acceptor));
        Ok(Self { quorum, own, others, terms, latest, run: rand::random(), warned: Default::default() })
    }

    /// The name of this server itself, and those of the others in the order of their places.
    pub(in crate::serve) fn names(&self) -> (String, Vec<String>) {
        let others = self.others.iter().map(|node| node.name.clone()).collect();
        (self.quorum.nodes[self.own].name.clone(), others)
    }

    /// Tells and hears until the server ends.
    pub(in crate::serve) async fn run(
        self,
        listener: TcpListener,
        board: Arc<Board>,
        drain: CancellationToken,
    ) {
        let mesh = Arc::new(self);
        let mut tasks = JoinSet::new();
        for node in 0..mesh.others.len() {
            tasks.spawn(Arc::clone(&mesh).tell(node, Arc::clone(&board)));
        }
        tasks.spawn(Arc::clone(&mesh).accept(listener, Arc::clone(&board)));
        let mut look = interval(EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                _ = look.tick() => board.look(),
            }
        }
        tasks.shutdown().await;
    }

    /// Keeps a connection to another name server, and tells it each second what has changed.
    async fn tell(self: Arc<Self>, node: usize, board: Arc<Board>) {
        let mut sequence = 0;
        loop {
            let why = match timeout(HANDSHAKE_TIMEOUT, self.connect(&self.others[node])).await {
                Ok(Ok(mut stream)) => {
                    let talk = self.talk(node, &mut stream, &board, &mut sequence);
                    // An hour is over: certificates may have changed.
                    timeout(LONGEST, talk).await.unwrap_or(None)
                }
                Ok(Err(why)) => Some(why),
                Err(_) => Some("it does not answer in time".to_owned()),
            };
            if why.is_some() {
                board.reached(node, why);
                sleep(EVERY.mul_f64(0.5 + rand::random::<f64>())).await;
            }
        }
    }

    async fn connect(
        &self,
        node: &Node,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, String> {
        let (ca, identity) = (self.quorum.ca.clone(), self.quorum.identity.clone());
        // The disk may be slow.
        let read = spawn_blocking(move || mutual_terms(&ca, &identity));
        let mut terms = read.await.map_err(|error| error.to_string())??;
        terms.alpn_protocols = vec![PROTOCOL.to_vec()];
        let name = ServerName::try_from(node.name.clone()).map_err(|error| error.to_string())?;
        let stream = dial(self.quorum.listen, node.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        // Where packets vanish, the kernel would try for a quarter of an hour, and more and more rarely.
        let patience = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        patience.map_err(|error| error.to_string())?;
        TlsConnector::from(Arc::new(terms)).connect(name, stream).await.map_err(|error| error.to_string())
    }

    /// Tells until the connection breaks: why it did.
    ///
    /// The other one judges the certificate after the handshake has ended here, so that it is told only once some messages went
    /// and it said nothing: all that it ever says is why it ends the connection.
    async fn talk(
        &self,
        node: usize,
        stream: &mut (impl AsyncWrite + AsyncRead + Unpin),
        board: &Board,
        sequence: &mut u64,
    ) -> Option<String> {
        let (mut told, mut each, mut sent_so_far) = (None, interval(EVERY), 0_u32);
        each.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = each.tick() => {}
                said = stream.read_u8() => return Some(match said {
                    Ok(_) => "it says something where it is to listen".to_owned(),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it ends the connection".to_owned(),
                    Err(error) => error.to_string(),
                }),
            }
            *sequence += 1;
            let message = Message { run: self.run, sequence: *sequence, ..board.message(&mut told) };
            let json = serde_json::to_vec(&message).expect("numbers can be written");
            let Ok(bytes) = u32::try_from(json.len()) else {
                return Some("there is too much to tell".to_owned());
            };
            let framed = [&bytes.to_be_bytes()[..], &json].concat();
            let sent = async {
                stream.write_all(&framed).await?;
                stream.flush().await
            };
            match timeout(WRITE_TIMEOUT, sent).await {
                Ok(Ok(())) => sent_so_far = sent_so_far.saturating_add(1),
                Ok(Err(error)) => return Some(error.to_string()),
                Err(_) => return Some("it takes no messages".to_owned()),
            }
            if sent_so_far == MESSAGES_TAKEN {
                board.reached(node, None);
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, board: Arc<Board>) {
        let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
        let known = Arc::new(Semaphore::new(MOST_HANDSHAKES));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, from)) = accepted else {
                // No descriptor is free, most likely.
                sleep(EVERY).await;
                continue;
            };
            let is_known = self.others.iter().any(|node| node.address.ip() == from.ip());
            let slots = if is_known { &known } else { &strangers };
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { continue };
            let (mesh, board) = (Arc::clone(&self), Arc::clone(&board));
            connections.spawn(async move {
                let greeted = timeout(HANDSHAKE_TIMEOUT, mesh.greet(stream, from)).await;
                drop(slot);
                match greeted {
                    Ok(Ok((node, stream))) => {
                        let name = &mesh.others[node].name;
                        if let Err(why) = mesh.hear(node, stream, &board).await {
                            tracing::debug!(node = name, %why, "the connection from {name} ends: {why}");
                        }
                    }
                    Ok(Err(why)) => tracing::debug!(%from, %why, "a connection to `steer.quorum.listen` is refused: {why}"),
                    Err(_) => tracing::debug!(%from, "a handshake at `steer.quorum.listen` took too long"),
                }
            });
        }
    }

    /// The handshake: which of the others it is.
    async fn greet(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<(usize, impl AsyncRead + AsyncWrite + Unpin + Send + use<>)> {
        let stream = self.acceptor().await.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.ok_or_else(|| io::Error::other("it shows no certificate"))?;
        Ok((self.other(shown, from)?, stream))
    }

    /// The place of the one that a certificate is of, among the others.
    fn other(&self, certificate: &CertificateDer<'_>, from: SocketAddr) -> io::Result<usize> {
        match who::whose(certificate, &self.quorum.nodes) {
            Ok(node) if node == self.own => {
                Err(self.mistake(from, "its certificate has this server's own name"))
            }
            Ok(node) => Ok(node - usize::from(node > self.own)),
            Err(nobody @ Nobody::Several) => Err(self.mistake(from, nobody.as_str())),
            Err(nobody) => Err(io::Error::other(nobody.as_str())),
        }
    }

    /// A fault that lasts until people mend it: it is told once.
    fn mistake(&self, from: impl Display, why: &'static str) -> io::Error {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(why) {
            tracing::warn!(%from, why, "a name server of `steer.quorum` is not listened to, as its certificate or `nodes` is wrong: {why}");
        }
        io::Error::other(why)
    }

    /// The terms of handshakes, by files as they are now; by those of before while they cannot be read.
    async fn acceptor(&self) -> TlsAcceptor {
        let mut terms = self.terms.lock().await;
        let now = clock::now();
        if now.saturating_duration_since(terms.0) >= READ_AGAIN {
            terms.0 = now;
            let quorum = self.quorum.clone();
            let read = spawn_blocking(move || acceptor(&quorum));
            match read.await.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(acceptor) => terms.1 = acceptor,
                Err(why) => {
                    tracing::error!(%why, "the certificates of `steer.quorum` cannot be read again: {why}")
                }
            }
        }
        terms.1.clone()
    }

    /// Hears until the connection ends, or a later one of the same name server came.
    async fn hear(&self, node: usize, mut stream: impl AsyncRead + Unpin, board: &Board) -> io::Result<()> {
        let latest = &self.latest[node];
        let own = latest.fetch_add(1, Ordering::Relaxed) + 1;
        let listening = async {
            loop {
                let message = timeout(READ_TIMEOUT, read(&mut stream)).await;
                let message = message.map_err(|_| io::Error::other("it says nothing"))??;
                if latest.load(Ordering::Relaxed) != own {
                    return Ok(());
                }
                if message.run == self.run {
                    return Err(self.mistake(&self.others[node].name, "it is this server itself"));
                }
                board.heard(node, message).map_err(|refused| io::Error::other(refused.as_str()))?;
            }
        };
        timeout(LONGEST + READ_TIMEOUT, listening).await.unwrap_or(Ok(()))
    }
}

/// A connection from the address of `listen`, where that is one to reach the other from.
async fn dial(listen: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = who::source(listen, to) {
        socket.bind(source)?;
    }
    socket.connect(to).await
}

/// The next message. Its room grows as it comes.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let bytes = stream.read_u32().await?;
    if bytes > MOST_MESSAGE_BYTES {
        return Err(io::Error::other("a message is too long"));
    }
    let mut json = Vec::new();
    stream.take(bytes.into()).read_to_end(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// How the certificate of this server stands at a time, or why it, its key or the roots are of no use.
pub(crate) fn inspect(quorum: &Quorum, now: SystemTime) -> Result<Standing, String> {
    Mesh::new(quorum.clone())?;
    let (chain, _) = shown(&quorum.identity)?;
    let standing = Validity::of(&chain).map_or(Standing::Good, |validity| validity.judge(unix_seconds(now)));
    if let (Standing::Good | Standing::Ending(_), [own, others @ ..]) = (standing, &chain[..]) {
        let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        verifier(quorum)?.verify_client_cert(own, others, at).map_err(|error| {
            let (certificate, ca) = (quorum.identity.certificate.display(), quorum.ca.display());
            format!("{certificate}: the other name servers will refuse it, if their roots are those of {ca}: {error}")
        })?;
    }
    Ok(standing)
}

/// The judge of certificates that others show.
fn verifier(quorum: &Quorum) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&quorum.ca)?);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| format!("{}: {error}", quorum.ca.display()))
}

fn acceptor(quorum: &Quorum) -> Result<TlsAcceptor, String> {
    let (chain, key) = shown(&quorum.identity)?;
    let mut terms = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has this version")
        .with_client_cert_verifier(verifier(quorum)?)
        .with_single_cert(chain, key)
        .map_err(|error| format!("{}: {error}", quorum.identity.certificate.display()))?;
    terms.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(terms)))
}

#[cfg(test)]
mod tests;
