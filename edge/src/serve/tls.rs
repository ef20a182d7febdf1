//! The handshake, on listeners that ask for one.

pub(super) mod early;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::by_listener::ByListener;
use super::ending::Ending;
use super::h1::patient_stream::Patient;
use super::handshakes::Place;
use super::room::Seat;
use crate::site::sender::Scheme;
use crate::tls::{Certificates, Clients, DnsNames, HTTP_2, Identity};
use early::EarlyStream;

/// How clients come in at a listener.
#[derive(Debug)]
pub(crate) struct Door {
    /// Where the config has it.
    configured: SocketAddr,
    /// None: clients come without TLS.
    terms: Option<ByListener<Terms>>,
}

/// How one client comes in.
#[derive(Debug)]
pub(super) enum Way {
    Plain,
    Tls(Terms),
}

/// The terms of a handshake.
#[derive(Clone)]
pub(crate) struct Terms {
    config: Arc<ArcSwap<ServerConfig>>,
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
    /// Without TLS, at the listener that the config has there.
    pub(crate) fn plain(configured: SocketAddr) -> Self {
        Self { configured, terms: None }
    }

    /// The same over TLS.
    pub(crate) fn tls(configured: SocketAddr, terms: ByListener<Terms>) -> Self {
        Self { configured, terms: Some(terms) }
    }

    pub(super) fn configured(&self) -> SocketAddr {
        self.configured
    }

    /// The way of a client that comes now.
    pub(super) fn way(&self) -> Way {
        match &self.terms {
            None => Way::Plain,
            Some(terms) => Way::Tls(terms.of(self.configured).clone()),
        }
    }
}

impl Way {
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
        Self { config: Arc::new(ArcSwap::from_pointee(config)), certificates, clients }
    }

    /// Handshakes from now on are by this.
    pub(crate) fn put(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// The client of a handshake, by the certificates that it has shown, now or before.
    pub(super) fn admit(
        &self,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Arc<Identity>>, HandshakeFault> {
        self.clients.admit(shown).map_err(|_| HandshakeFault::Refused)
    }

    /// The names of the certificate that a client is shown here which asks for `server_name`.
    pub(super) fn names_for(&self, server_name: Option<&str>) -> Arc<DnsNames> {
        self.certificates.names_for(server_name)
    }

    /// Agrees with the client within `deadline`.
    pub(super) async fn handshake(
        &self,
        stream: Patient,
        deadline: Duration,
        seat: &Seat,
        ending: &Ending,
        place: Place,
    ) -> Result<(Shaken, Option<Arc<Identity>>), HandshakeFault> {
        let deadline = deadline.min(MOST);
        let agreed = tokio::select! {
            agreed = timeout(deadline, shake(self.config.load_full(), stream)) => agreed,
            () = ending.aborted.cancelled() => return Err(HandshakeFault::Aborted),
            () = seat.evicted() => return Err(HandshakeFault::Aborted),
            () = place.evicted() => return Err(HandshakeFault::Crowded),
        };
        let mut stream = agreed.map_err(|_| HandshakeFault::Slow)?.map_err(|_| HandshakeFault::Refused)?;
        stream.session_mut().set_buffer_limit(Some(SEND_BUFFER_BYTES));
        let identity = self.admit(stream.session().peer_certificates())?;
        Ok((stream, identity))
    }
}

/// A connection whose handshake has ended, or of which there is early data.
pub(super) enum Shaken {
    Whole(Box<TlsStream<Patient>>),
    Early(Box<EarlyStream>),
}

impl Shaken {
    pub(super) fn session(&self) -> &ServerConnection {
        match self {
            Self::Whole(stream) => stream.get_ref().1,
            Self::Early(stream) => stream.session(),
        }
    }

    fn session_mut(&mut self) -> &mut ServerConnection {
        match self {
            Self::Whole(stream) => stream.get_mut().1,
            Self::Early(stream) => stream.session_mut(),
        }
    }
}

async fn shake(config: Arc<ServerConfig>, stream: Patient) -> io::Result<Shaken> {
    match config.max_early_data_size {
        0 => TlsAcceptor::from(config).accept(stream).await.map(|stream| Shaken::Whole(stream.into())),
        _ => EarlyStream::accept(config, stream).await.map(|stream| Shaken::Early(stream.into())),
    }
}

/// The outcome of a handshake.
#[derive(Debug)]
pub(super) struct Agreed {
    /// Of TLS, as metrics have it.
    pub(super) version: &'static str,
    /// Whether a session of before was used.
    pub(super) is_resumed: bool,
    pub(super) is_http2: bool,
    /// The name that the client asked for (SNI), in lower case.
    pub(super) server_name: Option<String>,
}

impl Agreed {
    pub(super) fn of(session: &ServerConnection) -> Self {
        let is_old = session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        Self {
            version: if is_old { "1.2" } else { "1.3" },
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            is_http2: session.alpn_protocol() == Some(HTTP_2),
            server_name: session.server_name().map(str::to_ascii_lowercase),
        }
    }
}

/// A handshake is two or three flights of some kilobytes.
pub(super) const MOST: Duration = Duration::from_secs(10);
/// Encrypted records that wait for the socket: what one write of hyper becomes.
const SEND_BUFFER_BYTES: usize = 64 << 10;
