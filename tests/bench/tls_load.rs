//! The clients of `tls_peers.py`: one thread that makes handshakes, or asks over HTTP/3, as fast as it is answered.
//!
//! ```text
//! tls_load handshakes 127.0.0.1:443 --secs 3 [--resume] [--tls 1.2] [--hybrid] [--ask]
//! tls_load http3 127.0.0.1:443 --path /1k --size 1024 --requests 60000
//! ```
//!
//! A handshake over TCP is followed by the client's goodbye, or with `--ask` by a request; the server then closes, and until
//! it does the client reads: so tickets arrive, and nothing ends by a reset. Each client resumes with the tickets of its own
//! connection before, and counts what the server has resumed. Certificates are not judged; signatures are. HTTP/3 is quinn's QUIC
//! and frames made here, without h3: a request is one HEADERS frame of the static table (RFC 9204 Appendix A).

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures by the clock and reports"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme, SupportedCipherSuite, version,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Connections over TLS, one after the other in each of several clients.
    Handshakes {
        server: SocketAddr,
        #[arg(long, default_value_t = 3.0)]
        secs: f64,
        /// Clients.
        #[arg(long, default_value_t = 16)]
        clients: u8,
        /// With the session of the connection before.
        #[arg(long)]
        resume: bool,
        /// 1.2 or 1.3.
        #[arg(long, default_value = "1.3")]
        tls: String,
        /// Keys by X25519MLKEM768 instead of X25519.
        #[arg(long)]
        hybrid: bool,
        /// Each connection asks for this.
        #[arg(long)]
        ask: Option<String>,
    },
    /// Requests over a few connections, several at once on each.
    Http3 {
        server: SocketAddr,
        #[arg(long)]
        path: String,
        /// Bytes of the body.
        #[arg(long)]
        size: usize,
        #[arg(long, default_value_t = 60_000)]
        requests: usize,
        #[arg(long, default_value_t = 16)]
        connections: usize,
        #[arg(long, default_value_t = 8)]
        streams: usize,
    },
}

type Problem = Box<dyn std::error::Error>;

/// The outcome of all connections and requests.
#[derive(Default)]
struct Counts {
    done: Cell<usize>,
    resumed: Cell<usize>,
    groups: RefCell<BTreeMap<String, usize>>,
    faults: RefCell<BTreeMap<String, usize>>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let counts = Rc::new(Counts::default());
    let (all, begun) = (LocalSet::new(), Instant::now());
    match Arguments::parse().load {
        Load::Handshakes { server, secs, clients, resume, tls, hybrid, ask } => {
            let until = begun + Duration::from_secs_f64(secs);
            for number in 0..clients {
                let mut terms = terms(&tls, hybrid);
                terms.resumption = if resume { Resumption::default() } else { Resumption::disabled() };
                let from = IpAddr::from(Ipv4Addr::new(127, 0, 1, number));
                let (counts, ask) = (Rc::clone(&counts), ask.clone());
                all.spawn_local(
                    async move { shake(Arc::new(terms), (from, server), until, ask, &counts).await },
                );
            }
        }
        Load::Http3 { server, path, size, requests, connections, streams } => {
            let (left, head) = (Rc::new(Cell::new(requests)), Rc::new(head(&path)));
            for _ in 0..connections {
                let (left, head, counts) = (Rc::clone(&left), Rc::clone(&head), Rc::clone(&counts));
                all.spawn_local(async move {
                    if let Err(error) = ask_on_one(server, &head, size, streams, &left, &counts).await {
                        counts.fault(&*error);
                    }
                });
            }
        }
    }
    runtime.block_on(all);
    let secs = begun.elapsed().as_secs_f64();
    let (done, resumed) = (counts.done.get(), counts.resumed.get());
    println!("done={done} resumed={resumed} secs={secs:.3}");
    println!("groups={:?} faults={:?}", counts.groups.borrow(), counts.faults.borrow());
}

impl Counts {
    fn fault(&self, error: &dyn std::error::Error) {
        *self.faults.borrow_mut().entry(error.to_string()).or_default() += 1;
    }
}

async fn shake(
    terms: Arc<ClientConfig>,
    ends: (IpAddr, SocketAddr),
    until: Instant,
    ask: Option<String>,
    counts: &Counts,
) {
    while Instant::now() < until {
        match shake_once(&terms, ends, ask.as_deref(), counts).await {
            Ok(()) => counts.done.set(counts.done.get() + 1),
            Err(error) => {
                counts.fault(&*error);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn shake_once(
    terms: &Arc<ClientConfig>,
    (from, server): (IpAddr, SocketAddr),
    ask: Option<&str>,
    counts: &Counts,
) -> Result<(), Problem> {
    let socket = TcpSocket::new_v4()?;
    // Of its own address, as a port is not used again for a while.
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = TlsConnector::from(Arc::clone(terms)).connect(name, stream).await?;
    let session = stream.get_ref().1;
    if session.handshake_kind() == Some(HandshakeKind::Resumed) {
        counts.resumed.set(counts.resumed.get() + 1);
    }
    let group = session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    *counts.groups.borrow_mut().entry(group.unwrap_or_default()).or_default() += 1;
    let mut answer = Vec::new();
    if let Some(path) = ask {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await?;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("not 200: {:?}", String::from_utf8_lossy(&answer)).into());
        }
    } else {
        stream.shutdown().await?;
        // Some say no goodbye to a client that has said one.
        let _ = stream.read_to_end(&mut answer).await;
    }
    Ok(())
}

async fn ask_on_one(
    server: SocketAddr,
    head: &Rc<Vec<u8>>,
    size: usize,
    streams: usize,
    left: &Rc<Cell<usize>>,
    counts: &Rc<Counts>,
) -> Result<(), Problem> {
    let mut terms = terms("1.3", false);
    terms.alpn_protocols = vec![b"h3".to_vec()];
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    let terms = QuicClientConfig::try_from(terms)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(terms)));
    let connection = endpoint.connect(server, "localhost")?.await?;
    let mut control = connection.open_uni().await?;
    control.write_all(CONTROL).await?;
    let all = LocalSet::new();
    for _ in 0..streams {
        let (connection, head) = (connection.clone(), Rc::clone(head));
        let (left, counts) = (Rc::clone(left), Rc::clone(counts));
        all.spawn_local(async move {
            while let Some(fewer) = left.get().checked_sub(1) {
                left.set(fewer);
                match ask_once(&connection, &head, size).await {
                    Ok(()) => counts.done.set(counts.done.get() + 1),
                    Err(error) => counts.fault(&*error),
                }
            }
        });
    }
    all.await;
    connection.close(NO_ERROR.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

async fn ask_once(connection: &quinn::Connection, head: &[u8], size: usize) -> Result<(), Problem> {
    let (mut request, mut answer) = connection.open_bi().await?;
    request.write_all(head).await?;
    request.finish()?;
    let answer = answer.read_to_end(size + MOST_BESIDE).await?;
    match judge(&answer) {
        Some(body) if body == size => Ok(()),
        Some(body) => Err(format!("a body of {body} bytes").into()),
        None => Err(format!("not 200: {:x?}", &answer[..answer.len().min(40)]).into()),
    }
}

/// The bytes of the body; none if it is no answer with 200.
fn judge(mut answer: &[u8]) -> Option<usize> {
    let mut body = 0;
    let mut is_good = false;
    while !answer.is_empty() {
        let (kind, length) = (varint(&mut answer)?, varint(&mut answer)?);
        let (frame, rest) = answer.split_at_checked(usize::try_from(length).ok()?)?;
        match kind {
            DATA => body += frame.len(),
            // Behind the two bytes of the prefix, which say that no table is needed.
            HEADERS if !is_good => is_good = frame.starts_with(&[0, 0, STATUS_200]),
            _ => {}
        }
        answer = rest;
    }
    is_good.then_some(body)
}

/// RFC 9000 §16.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (first, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let value = first.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> 2 >> (64 - 8 * length)))
}

/// A GET, as one HEADERS frame.
fn head(path: &str) -> Vec<u8> {
    let text = |index: u8, value: &str| {
        let length = u8::try_from(value.len()).ok().filter(|length| *length < 0x7f);
        [&[0x50 | index, length.expect("a short path")], value.as_bytes()].concat()
    };
    let fields = [&[0, 0, METHOD_GET, SCHEME_HTTPS][..], &text(0, "localhost"), &text(1, path)].concat();
    let length = u8::try_from(fields.len()).ok().filter(|length| *length < 0x40);
    [&[1, length.expect("a short path")], &fields[..]].concat()
}

fn terms(tls: &str, is_hybrid: bool) -> ClientConfig {
    let group = if is_hybrid { aws_lc_rs::kx_group::X25519MLKEM768 } else { aws_lc_rs::kx_group::X25519 };
    // TLS 1.2 has one list for key exchange and for the curves of certificates; the first is what is used.
    let groups = vec![group, aws_lc_rs::kx_group::SECP256R1];
    let provider =
        CryptoProvider { kx_groups: groups, cipher_suites: SUITES.to_vec(), ..aws_lc_rs::default_provider() };
    let versions = if tls == "1.2" { &version::TLS12 } else { &version::TLS13 };
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[versions])
        .expect("the provider has these versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth()
}

/// Takes any certificate, if its holder has signed.
#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, shown, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, shown, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The first choice of browsers, on hardware that has AES.
const SUITES: [SupportedCipherSuite; 3] = [
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
/// The control stream with SETTINGS that set nothing (RFC 9114 §6.2.1).
const CONTROL: &[u8] = &[0, 4, 0];
const DATA: u64 = 0;
const HEADERS: u64 = 1;
/// H3_NO_ERROR.
const NO_ERROR: u32 = 0x100;
/// Indexed fields of the static table.
const METHOD_GET: u8 = 0xc0 | 17;
const SCHEME_HTTPS: u8 = 0xc0 | 23;
const STATUS_200: u8 = 0xc0 | 25;
/// Of an answer beside its body.
const MOST_BESIDE: usize = 8192;
