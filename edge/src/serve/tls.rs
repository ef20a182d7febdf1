//! The handshake, on listeners that ask for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ending::Ending;
use super::h1::patient_stream::Patient;
use super::handshakes::Place;
use super::room::Seat;
use crate::site::sender::Scheme;
use crate::tls::{Certificates, Clients, Identity};

/// How clients come in at a listener.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// As they are.
    Plain,
    /// Over TLS.
    Tls(Terms),
}

/// The terms of a handshake.
#[derive(Clone)]
pub(crate) struct Terms {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
    clients: Arc<Clients>,
}

/// Why a client got no further than the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFault {
    /// The client sent no handshake, or agrees to nothing that is offered.
    Refused,
    /// It took too long.
    Slow,
    /// Others wanted the place, of which there are as many as `limits.handshakes` allows.
    Crowded,
    /// The edge ended first, or the place was needed for another client.
    Aborted,
}

impl HandshakeFault {
    /// A label in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Door {
    /// The scheme of requests over this connection.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }
}

impl Terms {
    /// `config` shows one of `certificates`, and asks for those that `clients` judges.
    pub(crate) fn new(config: ServerConfig, certificates: Arc<Certificates>, clients: Arc<Clients>) -> Self {
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificates, clients }
    }

    /// The client of a handshake, by the certificates that it has shown, now or before.
    pub(super) fn admit(
        &self,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Arc<Identity>>, HandshakeFault> {
        self.clients.admit(shown).map_err(|_| HandshakeFault::Refused)
    }

    /// Whether a certificate that is shown here is for `host`.
    pub(super) fn cover(&self, host: &str) -> bool {
        self.certificates.covers(host)
    }

    /// Agrees with the client within `deadline`.
    pub(super) async fn handshake(
        &self,
        stream: Patient,
        deadline: Duration,
        seat: &Seat,
        ending: &Ending,
        place: Place,
    ) -> Result<(TlsStream<Patient>, Option<Arc<Identity>>), HandshakeFault> {
        let deadline = deadline.min(MOST);
        let agreed = tokio::select! {
            agreed = timeout(deadline, self.acceptor.accept(stream)) => agreed,
            () = ending.aborted.cancelled() => return Err(HandshakeFault::Aborted),
            () = seat.evicted() => return Err(HandshakeFault::Aborted),
            () = place.evicted() => return Err(HandshakeFault::Crowded),
        };
        let mut stream = agreed.map_err(|_| HandshakeFault::Slow)?.map_err(|_| HandshakeFault::Refused)?;
        stream.get_mut().1.set_buffer_limit(Some(SEND_BUFFER_BYTES));
        let identity = self.admit(stream.get_ref().1.peer_certificates())?;
        Ok((stream, identity))
    }
}

/// The version of TLS as metrics have it, and whether a ticket of an earlier session was used.
pub(super) fn agreed(session: &ServerConnection) -> (&'static str, bool) {
    let is_old = session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
    (if is_old { "1.2" } else { "1.3" }, session.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// A handshake is two or three flights of some kilobytes.
pub(super) const MOST: Duration = Duration::from_secs(10);
/// Encrypted records that wait for the socket: what one write of hyper becomes.
const SEND_BUFFER_BYTES: usize = 64 << 10;
