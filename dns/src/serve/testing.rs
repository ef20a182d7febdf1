//! A client for every transport, each on a connection of its own that is kept, and servers for it to ask.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::handover::{Pool, Secrets};
use super::listeners::{Listeners, Sealed};
use super::start::registered;
use super::workers::Workers;
use super::{Certificates, Listening, tls};
use crate::catalog::{Catalog, Terms};
use crate::client::{Listener, Transport};
use crate::clock;
use crate::config;
use crate::metrics::Metrics;
use crate::world::World;

/// No test waits for this; one that would hang ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How a message is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Udp,
    Tcp,
    Tls,
    Get1,
    Post1,
    Get2,
    Post2,
    Quic,
}

impl Carrier {
    pub(super) const ALL: [Self; 8] =
        [Self::Udp, Self::Tcp, Self::Tls, Self::Get1, Self::Post1, Self::Get2, Self::Post2, Self::Quic];

    pub(super) fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls => Transport::Tls,
            Self::Get1 | Self::Post1 | Self::Get2 | Self::Post2 => Transport::Https,
            Self::Quic => Transport::Quic,
        }
    }
}

/// Servers on loopback that answer from one world, on every transport and for both sides.
pub(super) struct Servers {
    pub(super) listening: Listening,
    root: CertificateDer<'static>,
    workers: Workers,
}

const CONFIG: &str = r#"
zones = "zones"
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_https = ["127.0.0.1:0"]
listen_quic = ["127.0.0.1:0"]
udp.workers = 1
[internal]
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_https = ["127.0.0.1:0"]
listen_quic = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
[tls]
certificate = "chain.pem"
key = "key.pem"
"#;

impl Servers {
    pub(super) fn new(world: World) -> Self {
        Self::with("", world)
    }

    /// With some settings before all tables.
    pub(super) fn with(settings: &str, world: World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("chain.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let config =
            config::parse(&format!("{settings}{CONFIG}"), dir.path(), Path::new("dns.toml")).unwrap();
        let certificates = Certificates::load(config.tls.as_ref().unwrap()).unwrap();
        let sockets = Listeners::bind(&config, &mut Pool::default()).unwrap();
        sockets.open().unwrap();
        let listening = sockets.addresses();
        let world = Arc::new(ArcSwap::from_pointee(world));
        let mut workers = Workers::new(
            world,
            Arc::new(Metrics::default()),
            &config,
            super::responder::Ways::leading_nowhere(),
        );
        for (sockets, side) in [(sockets.outside, Listener::Outside), (sockets.inside, Listener::Inside)] {
            workers.serve(sockets.plain, side).unwrap();
            let Sealed { tls, https, quic } = sockets.encrypted;
            workers.serve_encrypted((tls, https), side, &certificates);
            let secrets = Secrets::new();
            let quic = registered(quic, &secrets).unwrap();
            workers.serve_quic(quic, side, &certificates, &secrets).unwrap();
        }
        Self { listening, root: made.cert.der().clone(), workers }
    }

    /// As a reload does.
    pub(super) fn reload(&self, world: World) {
        self.workers.world.store(Arc::new(world));
    }

    /// The text that `/metrics` would give.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.workers.metrics)
    }

    pub(super) fn address(&self, transport: Transport, side: Listener) -> SocketAddr {
        let plain = if side == Listener::Outside { &self.listening.outside } else { &self.listening.inside };
        let mut encrypted = self.listening.encrypted.iter();
        encrypted
            .find(|it| it.transport == transport && it.listener == side)
            .map_or(plain[0], |it| it.address)
    }

    pub(super) async fn client(&self, carrier: Carrier, side: Listener) -> Client {
        let server = self.address(carrier.transport(), side);
        match carrier {
            Carrier::Udp => Client::Udp(self.udp(server).await),
            Carrier::Tcp => Client::Stream(Box::new(TcpStream::connect(server).await.unwrap())),
            Carrier::Tls => Client::Stream(Box::new(self.tls(server, tls::DOT).await)),
            Carrier::Get1 => Client::Http1(self.http1(server).await, Method::GET),
            Carrier::Post1 => Client::Http1(self.http1(server).await, Method::POST),
            Carrier::Get2 => Client::Http2(self.http2(server).await, Method::GET),
            Carrier::Post2 => Client::Http2(self.http2(server).await, Method::POST),
            Carrier::Quic => Client::Quic(self.quic(server).await),
        }
    }

    async fn udp(&self, server: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        socket
    }

    fn trust(&self, alpn: &[&[u8]]) -> ClientConfig {
        trust(&self.root, alpn)
    }

    pub(super) async fn try_tls(
        &self,
        server: SocketAddr,
        alpn: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server).await.unwrap();
        // HTTP/2 writes head and body apart; Nagle would keep the body back.
        stream.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::new(self.trust(alpn)));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    pub(super) async fn tls(&self, server: SocketAddr, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_tls(server, alpn).await.unwrap()
    }

    pub(super) async fn http1(&self, server: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.tls(server, &[b"http/1.1"]).await);
        let (send, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        send
    }

    pub(super) async fn http2(&self, server: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.tls(server, &[b"h2"]).await);
        let (send, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        send
    }

    pub(super) async fn quic(&self, server: SocketAddr) -> quinn::Connection {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        self.quic_from(&endpoint, server).await
    }

    pub(super) async fn quic_from(
        &self,
        endpoint: &quinn::Endpoint,
        server: SocketAddr,
    ) -> quinn::Connection {
        self.quic_with(endpoint, quinn::TransportConfig::default(), server).await
    }

    pub(super) async fn quic_with(
        &self,
        endpoint: &quinn::Endpoint,
        transport: quinn::TransportConfig,
        server: SocketAddr,
    ) -> quinn::Connection {
        let crypto = QuicClientConfig::try_from(self.trust(tls::DOQ)).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        endpoint.connect_with(config, server, "localhost").unwrap().await.unwrap()
    }

    pub(super) async fn end(self) {
        let Workers { loops, stop, departures, drain, tasks, lasting, .. } = self.workers;
        stop.end();
        departures.end();
        drain.cancel();
        tasks.close();
        lasting.close();
        let ended = async { tokio::join!(tasks.wait(), lasting.wait()) };
        timeout(PATIENCE, ended).await.expect("connections end");
        let ended = tokio::task::spawn_blocking(|| super::sys::end(loops));
        ended.await.unwrap();
    }
}

/// The terms of a client that believes this certificate.
pub(super) fn trust(root: &CertificateDer<'static>, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A zone whose name `big` has so much text that two answers of it may wait for a client.
pub(super) fn big() -> World {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..240).map(|n| format!("big TXT {n:0250}\n")).collect();
    let zone = format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n{text}");
    std::fs::write(folder.path().join("ex.zone"), zone).unwrap();
    let mut catalog = Catalog::new(vec![folder.path().into()], Terms::default());
    catalog.load(clock::system_now()).unwrap().world.unwrap()
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection.
pub(super) enum Client {
    Udp(UdpSocket),
    Stream(Box<dyn Duplex>),
    Http1(http1::SendRequest<Full<Bytes>>, Method),
    Http2(http2::SendRequest<Full<Bytes>>, Method),
    Quic(quinn::Connection),
}

impl Client {
    /// Sends a message and waits for its answer.
    pub(super) async fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        timeout(PATIENCE, self.exchange(message)).await.expect("an answer")
    }

    async fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Udp(socket) => {
                socket.send(message).await.unwrap();
                let mut answer = vec![0; 65_535];
                let bytes = socket.recv(&mut answer).await.unwrap();
                answer.truncate(bytes);
                answer
            }
            Self::Stream(stream) => {
                stream.write_all(&framed(message)).await.unwrap();
                stream.flush().await.unwrap();
                let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut answer).await.unwrap();
                answer
            }
            Self::Http1(send, method) => {
                send.ready().await.unwrap();
                taken(send.send_request(request(method, message)).await.unwrap()).await
            }
            Self::Http2(send, method) => {
                taken(send.send_request(request(method, message)).await.unwrap()).await
            }
            Self::Quic(connection) => over_quic(connection, &framed(message)).await.unwrap(),
        }
    }
}

/// Sends `bytes` on a stream of their own; the message that comes back, or how it failed.
pub(super) async fn over_quic(
    connection: &quinn::Connection,
    bytes: &[u8],
) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let _ = send.finish();
    let answer = receive.read_to_end(65_537).await?;
    assert_eq!(usize::from(u16::from_be_bytes([answer[0], answer[1]])), answer.len() - 2);
    Ok(answer[2..].to_vec())
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

pub(super) fn request(method: &Method, message: &[u8]) -> Request<Full<Bytes>> {
    // Everything that a proxy might add, and an outsider might claim (V3).
    let request = Request::builder()
        .method(method)
        .header("host", "localhost")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-real-ip", "10.0.0.1")
        .header("forwarded", "for=10.0.0.1;by=127.0.0.1")
        .header("content-type", "application/dns-message");
    let (query, body) = match *method {
        Method::POST => (String::new(), Bytes::copy_from_slice(message)),
        _ => (format!("?dns={}", base64url(message)), Bytes::new()),
    };
    request.uri(format!("https://localhost/dns-query{query}")).body(Full::new(body)).unwrap()
}

async fn taken(response: Response<hyper::body::Incoming>) -> Vec<u8> {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/dns-message");
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

/// RFC 4648 §5, without padding.
pub(super) fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        (0..=three.len()).for_each(|at| text.push(char::from(DIGITS[bits >> (18 - 6 * at) & 63])));
    }
    text
}

/// The lines that are logged while `act` runs.
pub(super) fn logged(act: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, act);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}
