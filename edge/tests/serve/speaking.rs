//! The ways to speak to an origin: TLS with HTTP/1.1 and HTTP/2, HTTP/2 in clear text, a socket of this machine.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use verge_edge::clock::Clock;

use super::rig::{Rig, soon};

/// An authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Issued {
    chain: String,
    key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

/// All that an origin has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The names that were asked for (SNI).
    names: Mutex<BTreeSet<String>>,
    /// Version, host and path of each request, and whether its client showed a certificate.
    requests: Mutex<Vec<String>>,
}

struct Speaker {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// A request waits for one of these before it is answered.
    permits: Arc<Semaphore>,
}

pub fn server(issued: &Issued, alpn: &[&str], clients: Option<&Authority>) -> ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.as_ref().der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.unwrap().with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn serve(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    is_http2: bool,
    seen: Arc<Seen>,
    permits: Arc<Semaphore>,
    note: &'static str,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (seen, permits) = (Arc::clone(&seen), Arc::clone(&permits));
        async move {
            let host = match request.version() {
                Version::HTTP_2 => request.uri().authority().unwrap().to_string(),
                _ => request.headers()["host"].to_str().unwrap().to_owned(),
            };
            let line = format!("{:?} {host} {}{note}", request.version(), request.uri().path());
            seen.requests.lock().unwrap().push(line);
            permits.acquire().await.unwrap().forget();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = if body.is_empty() { Bytes::from_static(b"hello") } else { body };
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        }
    });
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), answer).await;
    } else {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(io), answer).await;
    }
}

impl Speaker {
    async fn start(tls: Option<ServerConfig>, free: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
        let permits = Arc::new(Semaphore::new(free));
        let speaker = Self { address, seen: Arc::clone(&seen), permits: Arc::clone(&permits) };
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, permits, acceptor) = (Arc::clone(&seen), Arc::clone(&permits), acceptor.clone());
                seen.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else {
                        return serve(stream, true, seen, permits, "").await;
                    };
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let is_http2 = session.alpn_protocol() == Some(b"h2");
                    let note = if session.peer_certificates().is_some() { " certified" } else { "" };
                    let name = session.server_name().unwrap_or("-").to_owned();
                    seen.names.lock().unwrap().insert(name);
                    serve(stream, is_http2, seen, permits, note).await;
                });
            }
        });
        speaker
    }

    fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

const ANY: usize = 1 << 20;

/// An edge in front of this origin, with these files in its folder.
pub async fn rig(origin: &str, site: &str, files: &[(&str, &str)]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [{origin}]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n"
    );
    Rig::in_folder(folder, Clock::system(), &text).await
}

fn at(speaker: &Speaker, more: &str) -> String {
    format!("{{ url = \"https://{}\"{more} }}", speaker.address)
}

#[tokio::test]
async fn an_https_origin_is_asked_only_if_its_certificate_is_in_order() {
    let (ours, others) = (Authority::new(), Authority::new());
    let good = ours.issue("app.test", |_| {});
    let old = ours.issue("app.test", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let foreign = others.issue("app.test", |_| {});
    let alone = rcgen::generate_simple_self_signed(vec!["app.test".to_owned()]).unwrap();
    let alone = Issued { chain: alone.cert.pem(), key: alone.signing_key.serialize_pem() };
    for (what, issued, roots, more, expected) in [
        ("in order", &good, ours.pem(), ", host = \"app.test\"", 200),
        ("by sni", &good, ours.pem(), ", sni = \"app.test\"", 200),
        ("another name", &good, ours.pem(), ", sni = \"b.test\"", 502),
        ("an address that is not in it", &good, ours.pem(), "", 502),
        ("expired", &old, ours.pem(), ", sni = \"app.test\"", 502),
        ("of others", &foreign, ours.pem(), ", sni = \"app.test\"", 502),
        ("itself a root", &alone, alone.chain.clone(), ", sni = \"app.test\"", 200),
        ("itself a root, with another name", &alone, alone.chain.clone(), ", sni = \"b.test\"", 502),
    ] {
        let origin = Speaker::start(Some(server(issued, &["http/1.1"], None)), ANY).await;
        let rig = rig(&at(&origin, more), "origin_roots = \"ca.pem\"", &[("ca.pem", &roots)]).await;
        let got = rig.get("/a").await;
        assert_eq!(got.status, expected, "{what}: {got:?}");
        if expected == 502 {
            assert!(got.field("proxy-status").contains("error=tls_certificate_error"), "{what}: {got:?}");
            assert!(origin.requests().is_empty(), "{what}");
        } else {
            let host = if more.contains("host") { "app.test" } else { "site.test" };
            assert_eq!(origin.requests(), [format!("HTTP/1.1 {host} /a")], "{what}");
            assert_eq!(*origin.seen.names.lock().unwrap(), BTreeSet::from(["app.test".to_owned()]));
        }
    }
}

/// An origin that takes no other key exchange is met by the hybrid with ML-KEM.
#[tokio::test]
async fn keys_are_exchanged_by_x25519mlkem768_where_the_origin_has_it() {
    use aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
    let ours = Authority::new();
    let issued = ours.issue("app.test", |_| {});
    for (groups, expected) in [
        (vec![X25519MLKEM768], rustls::NamedGroup::X25519MLKEM768),
        (vec![X25519, X25519MLKEM768], rustls::NamedGroup::X25519MLKEM768),
        (vec![X25519], rustls::NamedGroup::X25519),
    ] {
        let resolver = Arc::clone(&server(&issued, &["http/1.1"], None).cert_resolver);
        let provider = rustls::crypto::CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin =
            format!("{{ url = \"https://{}\", sni = \"app.test\" }}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let met = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()
        });
        let rig = rig(&origin, "origin_roots = \"ca.pem\"", &[("ca.pem", &ours.pem())]).await;
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        assert_eq!(soon("the handshake", met).await.unwrap(), expected);
    }
}

/// RFC 9113 §8.3.1; one connection carries what many clients ask at once.
#[tokio::test]
async fn http2_origins_get_many_requests_on_one_connection() {
    let ours = Authority::new();
    let issued = ours.issue("app.test", |_| {});
    for tls in [true, false] {
        let config = tls.then(|| server(&issued, &["h2", "http/1.1"], None));
        let origin = Speaker::start(config, 1).await;
        let written = match tls {
            true => at(&origin, ", sni = \"app.test\""),
            false => format!("\"h2c://{}\"", origin.address),
        };
        let rig = rig(&written, "origin_roots = \"ca.pem\"", &[("ca.pem", &ours.pem())]).await;
        assert_eq!(rig.get("/first").await.text(), "hello");
        let mut clients = Vec::new();
        for number in 0..20 {
            let mut client = rig.client().await;
            client.send_get(&format!("/{number}"), "").await;
            clients.push(client);
        }
        soon("all requests at the origin", async {
            while origin.requests().len() < 21 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1);
        origin.permits.add_permits(ANY);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "hello");
        }
        let mut client = rig.client().await;
        let post = b"POST /post HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(client.raw(post).await.text(), "abc");
        assert!(
            origin.requests().iter().all(|line| line.starts_with("HTTP/2.0 site.test /")),
            "{:?}",
            origin.requests()
        );
        assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn http2_is_not_offered_where_the_config_says_so() {
    let ours = Authority::new();
    let origin =
        Speaker::start(Some(server(&ours.issue("app.test", |_| {}), &["h2", "http/1.1"], None)), ANY).await;
    let site = "origin_roots = \"ca.pem\"\norigin_http2 = false";
    let rig = rig(&at(&origin, ", sni = \"app.test\""), site, &[("ca.pem", &ours.pem())]).await;
    rig.get("/").await;
    assert_eq!(origin.requests(), ["HTTP/1.1 site.test /"]);
}

#[tokio::test]
async fn an_origin_that_asks_for_a_certificate_is_shown_the_edges() {
    let ours = Authority::new();
    let edge = ours.issue("edge.test", |_| {});
    let config = server(&ours.issue("app.test", |_| {}), &["h2"], Some(&ours));
    let origin = Speaker::start(Some(config), ANY).await;
    let files = [("ca.pem", ours.pem()), ("edge.pem", edge.chain), ("edge.key", edge.key)];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let roots = "origin_roots = \"ca.pem\"\n";
    let identity = format!("{roots}origin_certificate = \"edge.pem\"\norigin_key = \"edge.key\"");
    let written = at(&origin, ", sni = \"app.test\"");
    assert_eq!(rig(&written, &identity, &files).await.get("/a").await.status, 200);
    assert_eq!(origin.requests(), ["HTTP/2.0 site.test /a certified"]);
    assert_eq!(rig(&written, roots, &files).await.get("/b").await.status, 502);
    assert_eq!(origin.requests().len(), 1);
}

/// The origin closes its connection with GOAWAY, or without a word: later requests get a new one.
#[tokio::test]
async fn a_connection_with_http2_that_is_gone_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("\"h2c://{}\"", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let answered = Arc::new(tokio::sync::Notify::new());
                let tell = Arc::clone(&answered);
                let answer = service_fn(move |_: Request<Incoming>| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    tell.notify_one();
                    async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello")))) }
                });
                let mut connection = std::pin::pin!(
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer)
                );
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = answered.notified() => {}
                }
                // One request, then GOAWAY.
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            });
        }
    });
    let rig = rig(&origin, "", &[]).await;
    for path in 0..10 {
        assert_eq!(rig.get(&format!("/{path}")).await.status, 200);
    }
    assert!(served.load(Ordering::Relaxed) >= 10);
}

#[tokio::test]
async fn a_socket_of_this_machine_is_an_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Arc::<Seen>::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let permits = Arc::new(Semaphore::new(ANY));
            tokio::spawn(serve(stream, false, Arc::clone(&noted), permits, ""));
        }
    });
    let text = |path: &Path| format!("\"unix:{}\"", path.display());
    let rig = rig(&text(&path), "", &[]).await;
    assert_eq!(rig.get("/a").await.text(), "hello");
    assert_eq!(*seen.requests.lock().unwrap(), ["HTTP/1.1 site.test /a"]);
    let nobody = self::rig(&text(&folder.path().join("none.sock")), "", &[]).await;
    assert_eq!(nobody.get("/a").await.status, 502);
}

/// The config says the same as before.
#[tokio::test]
async fn a_reload_that_reads_another_authority_from_the_same_file_is_undone() {
    let (ours, others) = (Authority::new(), Authority::new());
    let config = server(&ours.issue("app.test", |_| {}), &["http/1.1"], None);
    let origin = Speaker::start(Some(config), ANY).await;
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, ours.pem()).unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[guard]\nanswers = 5\n[[site]]\nhosts = [\"*\"]\norigins = [{}]\norigin_roots = {roots:?}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
        at(&origin, ", sni = \"app.test\"")
    );
    let rig = Rig::by(Clock::system(), &text, true).await;
    assert_eq!(rig.get("/a").await.status, 200);
    std::fs::write(&roots, others.pem()).unwrap();
    rig.reload(&text).await;
    assert_eq!(rig.get("/b").await.status, 502);
    let undone = async {
        while !rig.ask("/guard", "").await.text().contains("\"is_undone\":true") {
            rig.get("/c").await;
        }
    };
    soon("the end of the reload", undone).await;
    assert_eq!(rig.get("/d").await.status, 200);
    let told = rig.ask("/guard", "").await.text();
    assert!(told.contains("site *: origin_roots: ") && told.contains(", with other content"), "{told}");
}
