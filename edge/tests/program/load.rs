//! Clients that ask as fast as they are answered, over every version of HTTP, and count what does not come.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::{Buf, Bytes};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How the clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Http1,
    Http2,
    Http3,
}

/// The fates of all clients' requests.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// An answer came, and it was whole and right.
    pub(crate) answered: AtomicU64,
    /// Something else, or nothing.
    pub(crate) failed: AtomicU64,
    /// The server said that it had not looked at it, so that it was sent again (RFC 9113 §8.7, RFC 9114 §4.1.1).
    pub(crate) again: AtomicU64,
    /// Connections.
    pub(crate) connections: AtomicU64,
    is_over: AtomicBool,
    lock: Mutex<()>,
    counted: Condvar,
}

/// Of so many clients one asks once on each connection, so that connections begin at every moment.
const BRIEF: usize = 4;

/// The fate of one request.
enum Fate {
    Answered,
    /// Answered, and the connection takes no more.
    Last,
    NotTaken,
    Failed(String),
}

/// Takes any certificate.
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Counts {
    /// Begins `clients` loops against an address; they end some time after [`Counts::end`].
    pub(crate) fn load(self: &Arc<Self>, carrier: Carrier, address: SocketAddr, clients: usize) {
        let tls = tls(carrier);
        let endpoint = (carrier == Carrier::Http3).then(|| endpoint(&tls));
        for client in 0..clients {
            let (own, tls, endpoint) = (Arc::clone(self), Arc::clone(&tls), endpoint.clone());
            let is_brief = client % BRIEF == 0;
            tokio::spawn(async move {
                while !own.is_over.load(Ordering::Relaxed) {
                    own.connections.fetch_add(1, Ordering::Relaxed);
                    let connected = match carrier {
                        Carrier::Http1 => own.http1(address, is_brief).await,
                        Carrier::Http2 => own.http2(address, &tls, is_brief).await,
                        Carrier::Http3 => own.http3(address, endpoint.as_ref().unwrap(), is_brief).await,
                    };
                    if let Err(error) = connected {
                        own.count(Fate::Failed(format!("no connection: {error}")));
                    }
                }
            });
        }
    }

    /// Waits until so many more requests are answered, or one has failed.
    pub(crate) fn wait_for(&self, more: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        let is_short = |(): &mut ()| {
            self.answered.load(Ordering::Relaxed) < enough && self.failed.load(Ordering::Relaxed) == 0
        };
        drop(self.counted.wait_while(self.lock.lock().unwrap(), is_short).unwrap());
    }

    /// The loops end with their next answers.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether the connection takes more.
    fn count(&self, fate: Fate) -> bool {
        let (counter, goes_on) = match &fate {
            Fate::Answered => (&self.answered, true),
            Fate::Last => (&self.answered, false),
            Fate::NotTaken => (&self.again, false),
            Fate::Failed(why) => {
                eprintln!("failed: {why}");
                (&self.failed, false)
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        drop(self.lock.lock().unwrap());
        self.counted.notify_all();
        goes_on && !self.is_over.load(Ordering::Relaxed)
    }

    async fn http1(&self, address: SocketAddr, is_brief: bool) -> Result<(), Problem> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        loop {
            let request = Request::get("/a").header("host", "site.test").body(Empty::<Bytes>::new())?;
            let fate = match sender.send_request(request).await {
                Err(error) => Fate::Failed(format!("HTTP/1.1: {error:?}")),
                Ok(response) => {
                    let is_last = response.headers().get("connection").is_some_and(|it| it == "close");
                    judge(response.status().as_u16(), response.into_body().collect().await, is_last)
                }
            };
            if !self.count(fate) || is_brief || sender.ready().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn http2(
        &self,
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        is_brief: bool,
    ) -> Result<(), Problem> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("site.test")?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        loop {
            if sender.ready().await.is_err() {
                return Ok(());
            }
            let request = Request::get("https://site.test/a").body(Empty::<Bytes>::new())?;
            let fate = match sender.send_request(request).await {
                Err(error) if was_not_taken(&error) => Fate::NotTaken,
                Err(error) => Fate::Failed(format!("HTTP/2: {error:?}")),
                Ok(response) => {
                    let status = response.status().as_u16();
                    judge(status, response.into_body().collect().await, false)
                }
            };
            if !self.count(fate) || is_brief {
                return Ok(());
            }
        }
    }

    async fn http3(
        &self,
        address: SocketAddr,
        endpoint: &quinn::Endpoint,
        is_brief: bool,
    ) -> Result<(), Problem> {
        let connection = endpoint.connect(address, "site.test")?.await?;
        let carried = h3_quinn::Connection::new(connection);
        let (mut driver, mut requests) = h3::client::new(carried).await?;
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        loop {
            let request = Request::get(Uri::from_static("https://site.test/a")).body(())?;
            // It refuses by itself when the server has said that it goes.
            let Ok(mut stream) = requests.send_request(request).await else { return Ok(()) };
            let asked = async {
                stream.finish().await?;
                let response = stream.recv_response().await?;
                let mut body = Vec::new();
                while let Some(mut piece) = stream.recv_data().await? {
                    body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
                }
                Ok::<_, h3::error::StreamError>((response.status().as_u16(), body))
            };
            let fate = match asked.await {
                Ok((200, body)) if body == b"ok" => Fate::Answered,
                Ok(other) => Fate::Failed(format!("HTTP/3: {other:?}")),
                Err(error) if format!("{error:?}").contains("H3_REQUEST_REJECTED") => Fate::NotTaken,
                Err(error) => Fate::Failed(format!("HTTP/3: {error:?}")),
            };
            if !self.count(fate) || is_brief {
                return Ok(());
            }
        }
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

fn judge<E: std::fmt::Debug>(
    status: u16,
    body: Result<http_body_util::Collected<Bytes>, E>,
    is_last: bool,
) -> Fate {
    match body.map(http_body_util::Collected::to_bytes) {
        Ok(body) if status == 200 && &body[..] == b"ok" && is_last => Fate::Last,
        Ok(body) if status == 200 && &body[..] == b"ok" => Fate::Answered,
        other => Fate::Failed(format!("{status}: {other:?}")),
    }
}

/// Whether the server has said that it took no request behind another, or the connection was over before it was sent.
fn was_not_taken(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_refused =
        |cause: &h2::Error| cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_canceled() || cause.is_some_and(is_refused)
}

fn tls(carrier: Carrier) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth();
    let protocol: &[u8] = if carrier == Carrier::Http3 { b"h3" } else { b"h2" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

fn endpoint(tls: &Arc<ClientConfig>) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(Arc::clone(tls)).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}
