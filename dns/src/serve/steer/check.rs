//! One check of one member.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::serve::secondary::client_terms;
use crate::steer::health::Seen;
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
        Err(why) => Seen { good: false, why, load: None, rtt: None },
    }
}

type Found = Result<(String, Option<u16>), String>;

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
            connect(to, rtt).await.map(|_| ("it takes connections".to_owned(), None))
        }
        (_, _, Some(path)) => {
            let file = tokio::fs::File::open(&path).await.map_err(|error| format!("its file: {error}"))?;
            let mut text = String::new();
            let read = file.take(MOST_FILE_BYTES).read_to_string(&mut text).await;
            read.map_err(|error| format!("its file: {error}"))?;
            of_file(&text)
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
            let load = words.next().and_then(|word| word.parse().ok()).and_then(thousandths);
            Ok(("its file says up".to_owned(), load))
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
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BODY_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        match status.is_success() {
            true => Ok((format!("status {}", status.as_u16()), load(&body))),
            false => Err(format!("status {}", status.as_u16())),
        }
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

/// The health document of an edge: JSON with the part of what it can bear that it bears.
#[derive(Deserialize)]
struct Document {
    load: f64,
}

fn load(body: &[u8]) -> Option<u16> {
    thousandths(serde_json::from_slice::<Document>(body).ok()?.load)
}

fn thousandths(load: f64) -> Option<u16> {
    (load.is_finite() && load >= 0.0).then(|| (load * 1000.0).min(f64::from(u16::MAX)) as u16)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::steer::rules::Pace;

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
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let terms = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(terms));
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
            assert_eq!(seen, Seen { good: false, why: expected.to_owned(), load: None, rtt: None });
        }
    }
}
