//! Early data over QUIC (0-RTT, RFC 9001 §4.6): the terms of connections that may bring it, and until when it is early.
//!
//! quinn does not tell which bytes of a stream came in 0-RTT packets. So every request of such a connection is early until
//! the handshake has ended. quinn reads no packet with keys of 1-RTT before that, so none is called early that is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use quinn::Connection;
use quinn::crypto::rustls::QuicServerConfig;

use crate::serve::limits::Limits;
use crate::serve::tls::early::Unconfirmed;
use crate::tls::Sessions;
use crate::tls::early::with_early_data_over_quic;

/// The terms of TLS with early data.
pub(super) struct EarlyTerms {
    /// The same without.
    without: rustls::ServerConfig,
    /// Sessions that may bring early data; none: none may.
    sessions: ArcSwapOption<Sessions>,
    made: ArcSwapOption<Made>,
}

/// Terms, and the values that they are for.
struct Made {
    sessions: Arc<Sessions>,
    head_bytes: u64,
    crypto: Arc<QuicServerConfig>,
}

impl EarlyTerms {
    pub(super) fn new(without: rustls::ServerConfig, sessions: Option<&Arc<Sessions>>) -> Self {
        Self { without, sessions: ArcSwapOption::new(sessions.cloned()), made: ArcSwapOption::empty() }
    }

    /// Connections from now on are by these sessions.
    pub(super) fn put(&self, sessions: Option<&Arc<Sessions>>) {
        self.sessions.store(sessions.cloned());
        self.made.store(None);
    }

    /// The terms of a connection with these limits; none if it may bring no early data.
    pub(super) fn of(&self, limits: &Limits) -> Option<Arc<QuicServerConfig>> {
        let sessions = self.sessions.load_full()?;
        let head_bytes = limits.head.bytes as u64;
        if let Some(made) = &*self.made.load()
            && made.head_bytes == head_bytes
            && Arc::ptr_eq(&made.sessions, &sessions)
        {
            return Some(Arc::clone(&made.crypto));
        }
        let terms = with_early_data_over_quic(self.without.clone(), &sessions, head_bytes);
        let crypto = Arc::new(QuicServerConfig::try_from(terms).ok()?);
        self.made.store(Some(Arc::new(Made { sessions, head_bytes, crypto: Arc::clone(&crypto) })));
        Some(crypto)
    }
}

/// Whether requests of a connection are early: as long as its handshake lasts.
pub(super) fn unconfirmed(connection: &Connection) -> Unconfirmed {
    let connection = connection.clone();
    let is_over = AtomicBool::new(false);
    Unconfirmed::by(move || {
        // It stays so.
        let is_over_now = is_over.load(Ordering::Relaxed) || has_ended(&connection);
        is_over.store(is_over_now, Ordering::Relaxed);
        !is_over_now
    })
}

/// Whether the client has proved that it made the first flight itself. rustls exports keys (RFC 8446 §7.5) after the
/// client's Finished and not before. A connection that was closed meanwhile exports none, where quinn's own event of the
/// handshake's end comes for both.
pub(super) fn has_ended(connection: &Connection) -> bool {
    connection.export_keying_material(&mut [0; 16], b"EXPERIMENTAL verge early data", b"").is_ok()
}
