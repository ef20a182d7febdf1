//! A new connection to an origin: its name is resolved, its addresses are raced, TLS is agreed on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::line::Protocols;
use super::resolving::Names;
use super::secure::{HTTP_2, Terms};
use super::stream::Stream;
use crate::policy::headers::status::ProxyError;
use crate::site::OriginAddress;
use crate::site::origin::Way;

/// A connection and whether HTTP/2 is spoken on it. `terms` are there for an origin that is asked over TLS.
pub(super) async fn dial(
    address: &OriginAddress,
    names: &Arc<Names>,
    terms: Option<&Terms>,
    protocols: Protocols,
) -> Result<(Stream, bool), ProxyError> {
    if let Some(path) = &address.socket {
        let stream = UnixStream::connect(path).await.map_err(|error| connect_error(&error))?;
        return Ok((Stream::Unix(stream), false));
    }
    let stream =
        race(in_turn(address, names.addresses().await?)).await.map_err(|error| connect_error(&error))?;
    // Requests are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    match (&address.way, terms) {
        (Way::Plain, _) => Ok((Stream::Tcp(stream), false)),
        (Way::H2c, _) => Ok((Stream::Tcp(stream), protocols == Protocols::Any)),
        (Way::Tls(_), None) => Err(ProxyError::TlsProtocolError),
        (Way::Tls(_), Some(terms)) => {
            let config = if protocols == Protocols::Any { &terms.any } else { &terms.http1 };
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(terms.name.clone(), stream).await.map_err(|error| {
                let fault = handshake_error(&error);
                tracing::debug!(target: "verge_edge::origin", origin = address.authority, %error, "no TLS with the origin");
                fault
            })?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
            Ok((Stream::Tls(Box::new(stream)), is_http2))
        }
    }
}

/// A service's hosts are in their order; a host's addresses take turns.
fn in_turn(address: &OriginAddress, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    match address.is_service() {
        true => {
            addresses.truncate(MOST_TRIED);
            addresses
        }
        false => interleaved(addresses),
    }
}

/// RFC 8305 §4: the families in turn, the one that the resolver prefers first (RFC 6724).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let most = first.len().max(second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    (0..most)
        .flat_map(|_| first.next().into_iter().chain(second.next()).collect::<Vec<_>>())
        .take(MOST_TRIED)
        .collect()
}

/// RFC 8305 §5: the next address gets its turn when this one has not answered for so long.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// A name with more addresses has some that answer among these.
const MOST_TRIED: usize = 8;

/// The first connection that comes about; each address is tried while those before it are still waited for.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return TcpStream::connect(only).await;
    }
    let mut left = addresses.into_iter();
    // Attempts that are not finished end with it.
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        let has_next = next.is_some();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(last);
        }
        let ended = match has_next {
            true => timeout(ATTEMPT_DELAY, attempts.join_next()).await,
            false => Ok(attempts.join_next().await),
        };
        match ended {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            // The task of an attempt broke down, or it takes long.
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
}

fn connect_error(error: &io::Error) -> ProxyError {
    match error.kind() {
        io::ErrorKind::TimedOut => ProxyError::ConnectionTimeout,
        _ => ProxyError::ConnectionRefused,
    }
}

fn handshake_error(error: &io::Error) -> ProxyError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => ProxyError::TlsCertificateError,
        Some(_) => ProxyError::TlsProtocolError,
        None => ProxyError::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_and_the_preferred_one_begins() {
        let check = |found: &[&str], expected: &[&str]| {
            let read =
                |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            assert_eq!(interleaved(read(found)), read(expected));
        };
        check(
            &["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1"],
            &["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1"],
        );
        check(&["1.1.1.1:1", "[::1]:1", "[::2]:1"], &["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        check(&["1.1.1.1:1"], &["1.1.1.1:1"]);
        check(&[], &[]);
    }

    /// An address that takes no connection costs a turn, and no request.
    #[tokio::test]
    async fn an_address_that_is_dead_does_not_keep_the_next_from_its_turn() {
        let living = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = crate::ports::address();
        let address = living.local_addr().unwrap();
        assert_eq!(race(vec![dead, address]).await.unwrap().peer_addr().unwrap(), address);
        assert_eq!(race(vec![address, dead]).await.unwrap().peer_addr().unwrap(), address);
        assert!(race(vec![dead, dead]).await.is_err() && race(Vec::new()).await.is_err());
    }
}
