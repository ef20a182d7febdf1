//! Every way to ask: a client for each transport, on a connection that is kept, from an address of one's own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;

/// How a question is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// RFC 1035 §4.2.1.
    Udp,
    /// RFC 7766.
    Tcp,
    /// RFC 7858.
    Tls,
    /// RFC 8484 by HTTP/1.1, the question in the path.
    Get1,
    /// … in the body.
    Post1,
    /// RFC 8484 by HTTP/2, the question in the path.
    Get2,
    /// … in the body.
    Post2,
    /// RFC 9250.
    Quic,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Udp, Self::Tcp, Self::Tls, Self::Get1, Self::Post1, Self::Get2, Self::Post2, Self::Quic];
}

/// The asker: its address, and the certificates that it trusts.
#[derive(Clone, Debug)]
pub struct Asker {
    address: IpAddr,
    roots: Arc<RootCertStore>,
}

/// A connection to a server, or a socket for one.
pub enum Connection {
    /// Connected, so that only the server's datagrams are received.
    Udp(UdpSocket),
    /// TCP, or TLS on it.
    Stream(Box<dyn Duplex>),
    /// HTTP/1.1.
    Http1(http1::SendRequest<Full<Bytes>>, Method),
    /// HTTP/2.
    Http2(http2::SendRequest<Full<Bytes>>, Method),
    /// With the endpoint, which must not end before it.
    Quic(quinn::Connection, quinn::Endpoint),
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Asker {
    /// `root` signs the servers' certificates, or is one.
    pub fn new(address: IpAddr, root: CertificateDer<'static>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root).map_err(io::Error::other)?;
        Ok(Self { address, roots: Arc::new(roots) })
    }

    /// From where.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Connects, with a handshake where there is one.
    pub async fn connect(&self, carrier: Carrier, server: SocketAddr) -> io::Result<Connection> {
        let connecting = async {
            Ok(match carrier {
                Carrier::Udp => Connection::Udp(self.udp(server).await?),
                Carrier::Tcp => Connection::Stream(Box::new(self.tcp(server).await?)),
                Carrier::Tls => Connection::Stream(Box::new(self.tls(server, b"dot").await?)),
                Carrier::Get1 => Connection::Http1(self.http1(server).await?, Method::GET),
                Carrier::Post1 => Connection::Http1(self.http1(server).await?, Method::POST),
                Carrier::Get2 => Connection::Http2(self.http2(server).await?, Method::GET),
                Carrier::Post2 => Connection::Http2(self.http2(server).await?, Method::POST),
                Carrier::Quic => {
                    let endpoint = quinn::Endpoint::client(SocketAddr::new(self.address, 0))?;
                    Connection::Quic(self.quic(&endpoint, server).await?, endpoint)
                }
            })
        };
        timeout(PATIENCE, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn udp(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(self.address, 0)).await?;
        socket.connect(server).await?;
        Ok(socket)
    }

    /// A connection without a handshake.
    pub async fn tcp(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(self.address, 0))?;
        // HTTP/2 writes head and body apart; Nagle would keep the body back.
        socket.set_nodelay(true)?;
        socket.connect(server).await
    }

    /// TLS that agrees to `alpn`.
    pub async fn tls(&self, server: SocketAddr, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.tcp(server).await?;
        let name = ServerName::try_from("localhost").expect("it is a name");
        TlsConnector::from(Arc::new(self.terms(alpn))).connect(name, stream).await
    }

    /// QUIC from a socket that others share.
    pub async fn quic(
        &self,
        endpoint: &quinn::Endpoint,
        server: SocketAddr,
    ) -> io::Result<quinn::Connection> {
        let crypto = QuicClientConfig::try_from(self.terms(b"doq")).map_err(io::Error::other)?;
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint.connect_with(config, server, "localhost").map_err(io::Error::other)?;
        connecting.await.map_err(io::Error::other)
    }

    fn terms(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has these versions");
        let mut config = config.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    async fn http1(&self, server: SocketAddr) -> io::Result<http1::SendRequest<Full<Bytes>>> {
        let stream = TokioIo::new(self.tls(server, b"http/1.1").await?);
        let (send, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(send)
    }

    async fn http2(&self, server: SocketAddr) -> io::Result<http2::SendRequest<Full<Bytes>>> {
        let stream = TokioIo::new(self.tls(server, b"h2").await?);
        let (send, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(send)
    }
}

impl Connection {
    /// Sends a message and waits for its answer.
    pub async fn ask(&mut self, packet: &[u8]) -> io::Result<Vec<u8>> {
        let exchange = self.exchange(packet);
        timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn exchange(&mut self, packet: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                socket.send(packet).await?;
                let mut answer = vec![0; 65_535];
                let bytes = socket.recv(&mut answer).await?;
                answer.truncate(bytes);
                Ok(answer)
            }
            Self::Stream(stream) => super::exchange(stream, packet).await,
            Self::Http1(send, method) => {
                send.ready().await.map_err(io::Error::other)?;
                taken(send.send_request(request(method, packet)).await.map_err(io::Error::other)?).await
            }
            Self::Http2(send, method) => {
                send.ready().await.map_err(io::Error::other)?;
                taken(send.send_request(request(method, packet)).await.map_err(io::Error::other)?).await
            }
            Self::Quic(connection, _) => over_quic(connection, packet).await,
        }
    }
}

/// QUIC has no IDs (RFC 9250 §4.2.1); who asks has its own back.
async fn over_quic(connection: &quinn::Connection, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut packet = super::framed(packet)?;
    let id = [packet[2], packet[3]];
    packet[2..4].fill(0);
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&packet).await?;
    let _ = send.finish();
    let answer = receive.read_to_end(2 + 65_535).await.map_err(io::Error::other)?;
    let message = answer.get(2..).filter(|it| it.len() >= 12).ok_or(io::ErrorKind::UnexpectedEof)?;
    assert_eq!(message[..2], [0, 0], "an ID over QUIC");
    Ok([&id, &message[2..]].concat())
}

fn request(method: &Method, packet: &[u8]) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .header("host", "localhost")
        .header("content-type", "application/dns-message");
    let (query, body) = match *method {
        Method::POST => (String::new(), Bytes::copy_from_slice(packet)),
        _ => (format!("?dns={}", base64url(packet)), Bytes::new()),
    };
    let request = request.uri(format!("https://localhost/dns-query{query}"));
    request.body(Full::new(body)).expect("it is a request")
}

async fn taken(response: Response<hyper::body::Incoming>) -> io::Result<Vec<u8>> {
    if response.status() != 200 {
        return Err(io::Error::other(response.status().to_string()));
    }
    Ok(response.into_body().collect().await.map_err(io::Error::other)?.to_bytes().to_vec())
}

/// RFC 4648 §5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        (0..=three.len()).for_each(|at| text.push(char::from(DIGITS[bits >> (18 - 6 * at) & 63])));
    }
    text
}
