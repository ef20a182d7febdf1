//! TLS around the stream (RFC 7858) and under HTTP (RFC 8484): the handshake, and the terms on which it is made.

mod certificates;
mod clients;
mod validity;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(super) use self::certificates::Certificates;
pub(crate) use self::certificates::inspect;
pub use self::certificates::{CertificateError, CertificateFault};
pub(super) use self::clients::{Asks, proved};
pub(crate) use self::validity::{Standing, Validity, unix_seconds};
use super::connection::{Peer, Shared};
use super::stream;
use super::table::Place;
use crate::clock;
use crate::ended::Ended;

/// The names by which clients ask for a protocol (ALPN): RFC 7858, RFC 9113 and RFC 9112, RFC 9250 §4.1.1.
pub(super) const DOT: &[&[u8]] = &[b"dot"];
pub(super) const DOH: &[&[u8]] = &[HTTP_2, b"http/1.1"];
pub(super) const DOQ: &[&[u8]] = &[b"doq"];
/// HTTP/2 as ALPN has it.
pub(super) const HTTP_2: &[u8] = b"h2";

/// RFC 9325 §3.1.1: these two and nothing older.
pub(super) const STREAM_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
/// RFC 9001 §4.2.
pub(super) const QUIC_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13];
/// Records that wait for the network, of which rustls would else keep four times as many: one. Their source
/// waits in its [`Claim`](super::memory::Claim).
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes handshakes within a deadline.
#[derive(Clone)]
pub(super) struct Acceptor {
    acceptor: TlsAcceptor,
    deadline: Duration,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The terms of TLS: `certificates` as they are at each handshake, one of the protocols of `alpn`. No early
/// data: whoever replays a question would get its answer, and no question is that urgent (RFC 9250 §9.1). With `asks`, clients
/// may show a certificate.
pub(super) fn terms(
    certificates: &Arc<Certificates>,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
    asks: Option<Asks>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider has these versions");
    let builder = match asks {
        Some(asks) => builder.with_client_cert_verifier(Arc::new(asks)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificates) as Arc<_>);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Tickets let a client come back without the costly half of a handshake, and keep nothing here.
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "TLS sessions cannot be resumed"),
    }
    config
}

impl Acceptor {
    pub(super) fn new(
        certificates: &Arc<Certificates>,
        alpn: &[&[u8]],
        deadline: Duration,
        asks: Option<Asks>,
    ) -> Self {
        let terms = terms(certificates, alpn, STREAM_VERSIONS, asks);
        Self { acceptor: TlsAcceptor::from(Arc::new(terms)), deadline }
    }

    pub(super) async fn handshake<S>(&self, stream: S) -> Result<TlsStream<S>, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(self.deadline, self.acceptor.accept(stream)).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER_BYTES));
                Ok(stream)
            }
            Ok(Err(_)) => Err(Ended::Handshake),
            Err(_) => Err(Ended::SlowHandshake),
        }
    }
}

/// A handshake, and then the stream as it is over TCP (RFC 7858 §3.3).
pub(super) async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    place: &Place,
    shared: &Shared,
    acceptor: &Acceptor,
) -> Ended {
    let mut stream = match acceptor.handshake(stream).await {
        Ok(stream) => stream,
        Err(ended) => return ended,
    };
    let now = clock::moment().unix_seconds;
    let proved = proved(&shared.world(), stream.get_ref().1.peer_certificates(), now);
    let ended = stream::exchange(&mut stream, &Peer { address: peer, proved }, place, shared).await;
    // RFC 7858 §3.4: close_notify, so that the client knows that nothing was cut off. If it does not get there, it is
    // closed all the same.
    let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
    ended
}

#[cfg(test)]
mod tests;
