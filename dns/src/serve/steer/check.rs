//! One check of one member.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::serve::secondary::client_terms;
use crate::steer::health::{Load, Seen};
use crate::steer::rules::{Check, Http, Target};

/// A health document is a few lines.
const MOST_BODY_BYTES: usize = 16 << 10;
const MOST_FILE_BYTES: u64 = 4096;

/// Checks within the target's timeout; always says something.
pub(super) async fn check(target: &Target) -> Seen {
    let mut rtt = None;
    let found = timeout(target.pace.timeout, attempt(target, &mut rtt)).await;
    match found.unwrap_or_else(|_| Err(format!("no answer within {:?}", target.pace.timeout))) {
        Ok((why, load)) => Seen { good: true, why, load, rtt },
        Err(why) => Seen { good: false, why, load: Load::Untold, rtt: None },
    }
}

type Found = Result<(String, Load), String>;

async fn attempt(target: &Target, rtt: &mut Option<Duration>) -> Found {
    match (&target.check, target.socket(), target.file()) {
        (Check::Http(http), Some(to), _) => match &http.tls {
            None => ask(connect(to, rtt).await?, http, to).await,
            Some(roots) => {
                // A file of roots may be long, and the disk slow.
                let roots = roots.clone();
                let terms = tokio::task::spawn_blocking(move || client_terms(roots.as_deref())).await;
                let terms = terms.map_err(|_| "its roots cannot be read".to_owned())??;
                let name = match &http.host {
                    Some(host) => ServerName::try_from(host.clone()).map_err(|error| error.to_string())?,
                    None => ServerName::IpAddress(to.ip().into()),
                };
                let stream = connect(to, rtt).await?;
                let stream = TlsConnector::from(Arc::new(terms)).connect(name, stream).await;
                ask(stream.map_err(|error| no_tls(&error))?, http, to).await
            }
        },
        (Check::Tcp { .. }, Some(to), _) => {
            connect(to, rtt).await.map(|_| ("it takes connections".to_owned(), Load::Untold))
        }
        (_, _, Some(path)) => {
            let file = tokio::fs::File::open(&path).await.map_err(|error| format!("its file: {error}"))?;
            let mut text = Vec::new();
            let read = file.take(MOST_FILE_BYTES).read_to_end(&mut text).await;
            read.map_err(|error| format!("its file: {error}"))?;
            of_file(&String::from_utf8_lossy(&text))
        }
        _ => Err("there is nothing to check".to_owned()),
    }
}

/// Why there is no TLS. rustls spells out the address or name that it wanted and those that the certificate has, and metrics,
/// logs and documents are read by people who are to learn none of them (D20).
fn no_tls(error: &io::Error) -> String {
    use rustls::{CertificateError as Of, Error};
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let words = match fault {
        Some(Error::InvalidCertificate(Of::Expired | Of::ExpiredContext { .. })) => {
            "its certificate has expired"
        }
        Some(Error::InvalidCertificate(Of::NotValidYet | Of::NotValidYetContext { .. })) => {
            "its certificate is not valid yet"
        }
        Some(Error::InvalidCertificate(Of::NotValidForName | Of::NotValidForNameContext { .. })) => {
            "its certificate is for another name"
        }
        Some(Error::InvalidCertificate(Of::UnknownIssuer)) => "its certificate leads to no root of `ca`",
        Some(Error::InvalidCertificate(_)) => "its certificate is not valid",
        Some(Error::AlertReceived(_)) => "it refused the handshake",
        Some(_) => "what it says is not TLS, or not ours",
        None => "the connection broke",
    };
    format!("no TLS: {words}")
}

/// `up` or `down`, and whatever the monitor says behind it; with a number between 0 and 1 the load.
fn of_file(text: &str) -> Found {
    let mut words = text.split_whitespace();
    match words.next() {
        Some("up") => {
            let number = words.next().and_then(|word| word.parse().ok());
            Ok(with_load("its file says up".to_owned(), number.map_or(Load::Untold, thousandths)))
        }
        Some("down") => Err("its file says down".to_owned()),
        _ => Err("its file says neither up nor down".to_owned()),
    }
}

/// A connection; a round trip passes until it is there.
async fn connect(to: SocketAddr, rtt: &mut Option<Duration>) -> Result<TcpStream, String> {
    let begun = clock::now();
    let stream = TcpStream::connect(to).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => format!("no connection: {error}"),
    })?;
    *rtt = Some(clock::now().saturating_duration_since(begun));
    Ok(stream)
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    http: &Http,
    to: SocketAddr,
) -> Found {
    let broken = |error: hyper::Error| format!("no answer: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let host = match (&http.host, http.tls.is_some(), http.port) {
        (Some(host), false, 80) | (Some(host), true, 443) => host.clone(),
        (Some(host), ..) => format!("{host}:{}", http.port),
        (None, ..) => to.to_string(),
    };
    let request = Request::get(&http.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("verge-dns/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let told = format!("status {}", response.status().as_u16());
        if response.status().is_success() { read(response, told).await } else { Err(told) }
    };
    // Whichever ends first: the answer is what counts, and dropping the connection closes it.
    let mut connection = std::pin::pin!(connection);
    tokio::pin!(asked);
    let mut is_open = true;
    loop {
        tokio::select! {
            found = &mut asked => return found,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

/// The load that a good answer tells.
async fn read(response: Response<Incoming>, told: String) -> Found {
    let says_its_end =
        [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|it| response.headers().contains_key(it));
    let mut body = Limited::new(response.into_body(), MOST_BODY_BYTES);
    let (mut came, mut is_whole) = (Vec::new(), true);
    while is_whole && let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => came.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => {
                let why = format!("{told}; its answer is longer than 16 KiB, so its load is not known");
                return Ok((why, Load::Unclear));
            }
            Err(_) if says_its_end => return Err(format!("{told}, but its answer is cut off")),
            // Many servers close without the word of TLS that they do (RFC 8446 §6.1): then this is the end (RFC 9112 §6.3).
            Err(_) => is_whole = false,
        }
    }
    match load(&came) {
        Load::Untold if !is_whole && came.trim_ascii().is_empty() => Ok((told, Load::Unclear)),
        load => Ok(with_load(told, load)),
    }
}

/// The health document of an edge: JSON with the part of what it can bear that it bears.
#[derive(Deserialize)]
struct Document {
    load: Option<f64>,
}

/// An answer that is no document tells no load. One that begins as a document and is none was meant to tell one.
fn load(body: &[u8]) -> Load {
    match serde_json::from_slice::<Document>(body) {
        Ok(document) => document.load.map_or(Load::Untold, thousandths),
        Err(_) if body.trim_ascii_start().starts_with(b"{") => Load::Unclear,
        Err(_) => Load::Untold,
    }
}

fn thousandths(load: f64) -> Load {
    match load.is_finite() && load >= 0.0 {
        true => Load::Told((load * 1000.0).min(f64::from(u16::MAX)) as u16),
        false => Load::Unclear,
    }
}

/// A good result, which says so if its load cannot be read.
fn with_load(why: String, load: Load) -> (String, Load) {
    match load {
        Load::Unclear => (format!("{why}; its load cannot be read"), load),
        _ => (why, load),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::steer::rules::Pace;

    fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let terms = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
        TlsAcceptor::from(Arc::new(terms))
    }

    /// D20.
    #[tokio::test]
    async fn a_certificate_that_is_refused_tells_neither_the_checked_address_nor_its_own_names() {
        let made = rcgen::generate_simple_self_signed(["db.inside.example".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut stranger = rcgen::CertificateParams::new(["other.example".to_owned()]).unwrap();
        stranger.distinguished_name.push(rcgen::DnType::CommonName, "another authority");
        let stranger = stranger.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let file = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let (own, other) = (file("own.pem", made.cert.pem()), file("other.pem", stranger.pem()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor(&made);
        for (roots, host, expected) in [
            (&own, None, "no TLS: its certificate is for another name"),
            (&own, Some("www.example.com"), "no TLS: its certificate is for another name"),
            (&other, Some("db.inside.example"), "no TLS: its certificate leads to no root of `ca`"),
        ] {
            let http = Http {
                tls: Some(Some(roots.clone())),
                host: host.map(str::to_owned),
                port,
                path: "/".to_owned(),
            };
            let target =
                Target { check: Check::Http(http), address: [127, 0, 0, 1].into(), pace: Pace::default() };
            let serve = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() };
            let (seen, _) = tokio::join!(check(&target), serve);
            assert_eq!(seen, Seen { good: false, why: expected.to_owned(), load: Load::Untold, rtt: None });
        }
    }

    /// An answer to one check over a real connection, which ends with it.
    async fn checked(answer: &[u8]) -> Seen {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let http = Http { tls: None, host: None, port, path: "/".to_owned() };
        let target =
            Target { check: Check::Http(http), address: [127, 0, 0, 1].into(), pace: Pace::default() };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            reply(&mut stream, answer).await;
        };
        tokio::join!(check(&target), serve).0
    }

    async fn reply<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        // The other end closes once it has read enough.
        let _ = stream.write_all(answer).await;
        let _ = stream.flush().await;
    }

    #[tokio::test]
    async fn an_answer_over_tls_that_said_no_length_ends_with_its_connection() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, made.cert.pem()).unwrap();
        let acceptor = acceptor(&made);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Err("status 200, but its answer is cut off");
        for (answer, expected) in [
            ("0 200 OK\r\n\r\nok", Ok(("status 200", Load::Untold))),
            ("1 200 OK\r\n\r\n{\"load\":0.5}", Ok(("status 200", Load::Told(500)))),
            ("1 200 OK\r\n\r\n{\"load\":0.5", Ok(("status 200; its load cannot be read", Load::Unclear))),
            ("0 200 OK\r\n\r\n", Ok(("status 200", Load::Unclear))),
            ("0 503 No\r\n\r\nok", Err("status 503")),
            ("1 200 OK\r\ncontent-length: 2\r\n\r\nok", Ok(("status 200", Load::Untold))),
            ("1 200 OK\r\ncontent-length: 3\r\n\r\nok", cut),
            ("1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", cut),
        ] {
            let http = Http {
                tls: Some(Some(roots.clone())),
                host: Some("localhost".to_owned()),
                port,
                path: "/".to_owned(),
            };
            let target =
                Target { check: Check::Http(http), address: [127, 0, 0, 1].into(), pace: Pace::default() };
            // The stream is dropped, and TLS does not say that it ends.
            let serve = async {
                let stream = listener.accept().await.unwrap().0;
                let mut stream = acceptor.accept(stream).await.unwrap();
                reply(&mut stream, format!("HTTP/1.{answer}").as_bytes()).await;
            };
            let (seen, ()) = tokio::join!(check(&target), serve);
            let (good, (why, load)) = match expected {
                Ok(found) => (true, found),
                Err(why) => (false, (why, Load::Untold)),
            };
            assert_eq!((seen.good, &*seen.why, seen.load), (good, why, load), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_bad_and_a_load_that_cannot_be_read_leaves_the_one_of_before() {
        let unread = "status 200; its load cannot be read";
        let long = format!("{{\"load\":0.5,\"more\":\"{}\"}}", "x".repeat(40_000));
        for (length, body, expected) in [
            (100, r#"{"load":0.99}"#, Err("status 200, but its answer is cut off")),
            (13, r#"{"load":0.99}"#, Ok(("status 200", Load::Told(990)))),
            (
                long.len(),
                &*long,
                Ok(("status 200; its answer is longer than 16 KiB, so its load is not known", Load::Unclear)),
            ),
            (11, r#"{"load":-5}"#, Ok((unread, Load::Unclear))),
            (12, r#"{"load":NaN}"#, Ok((unread, Load::Unclear))),
            (14, r#"{"load":1e999}"#, Ok((unread, Load::Unclear))),
            (14, r#"{"load":"0.9"}"#, Ok((unread, Load::Unclear))),
            (12, r#"{"load":0.99"#, Ok((unread, Load::Unclear))),
            (15, r#"{"status":"up"}"#, Ok(("status 200", Load::Untold))),
            (2, "ok", Ok(("status 200", Load::Untold))),
            (0, "", Ok(("status 200", Load::Untold))),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            let seen = checked(answer.as_bytes()).await;
            let (good, (why, load)) = match expected {
                Ok(found) => (true, found),
                Err(why) => (false, (why, Load::Untold)),
            };
            assert_eq!((seen.good, &*seen.why, seen.load), (good, why, load), "{length} {:.40}", body);
        }
    }

    #[test]
    fn a_file_that_tells_no_number_tells_no_load_and_one_that_is_no_load_is_none() {
        let up = "its file says up".to_owned();
        let unread = "its file says up; its load cannot be read".to_owned();
        for (text, expected) in [
            ("up 0.5 by cron", (up.clone(), Load::Told(500))),
            ("up", (up.clone(), Load::Untold)),
            ("up since noon", (up, Load::Untold)),
            ("up -1", (unread.clone(), Load::Unclear)),
            ("up NaN", (unread, Load::Unclear)),
        ] {
            assert_eq!(of_file(text), Ok(expected), "{text}");
        }
    }
}
