//! The seal of session tickets that is in service, which a reload may change.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;

use super::tickets::{SecretError, Tickets};
use crate::clock::Clock;

/// Seals and opens tickets with the secret of now.
pub struct Ticketer(ArcSwap<Seal>);

/// A way to seal tickets.
pub enum Seal {
    /// By a secret that other edges may share.
    Shared(Tickets),
    /// By a secret of this process.
    Own(Arc<dyn ProducesTickets>),
    /// There is no chance to make a secret of: sessions are not resumed.
    None,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(tickets) => tickets.fmt(f),
            Self::Own(_) => f.write_str("Own"),
            Self::None => f.write_str("None"),
        }
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticketer").field(&self.0.load()).finish()
    }
}

impl Seal {
    /// By the secret in this file; by one of this process without a file.
    ///
    /// # Errors
    /// When the file cannot be read or has too little in it.
    pub fn load(secret: Option<&Path>, clock: &Clock) -> Result<Self, SecretError> {
        let Some(path) = secret else { return Ok(Self::own()) };
        Tickets::load(path, clock.clone()).map(Self::Shared)
    }

    fn own() -> Self {
        match aws_lc_rs::Ticketer::new() {
            Ok(own) => Self::Own(own),
            Err(error) => {
                tracing::warn!(target: "verge_edge::tls", %error, "TLS sessions cannot be resumed");
                Self::None
            }
        }
    }

    fn producer(&self) -> Option<&dyn ProducesTickets> {
        match self {
            Self::Shared(tickets) => Some(tickets),
            Self::Own(own) => Some(&**own),
            Self::None => None,
        }
    }
}

impl Ticketer {
    /// With this seal.
    #[must_use]
    pub fn new(seal: Seal) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(seal)))
    }

    /// Tickets are sealed so from now on. The secret of this process stays if it is to be one of this process again.
    pub fn put(&self, seal: Seal) {
        if !matches!((&**self.0.load(), &seal), (Seal::Own(_), Seal::Own(_))) {
            self.0.store(Arc::new(seal));
        }
    }

    /// The content of a ticket, whatever listener it is of.
    fn opened(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.load().producer()?.decrypt(ticket)
    }

    /// Reads the secret again if its file has changed.
    ///
    /// # Errors
    /// When the file cannot be used; the secret before stays.
    pub fn look(&self) -> Result<(), SecretError> {
        match &**self.0.load() {
            Seal::Shared(tickets) => tickets.look(),
            Seal::Own(_) | Seal::None => Ok(()),
        }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.0.load().producer().is_some_and(ProducesTickets::enabled)
    }

    fn lifetime(&self) -> u32 {
        self.0.load().producer().map_or(0, ProducesTickets::lifetime)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.0.load().producer()?.encrypt(state)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.opened(ticket).filter(|state| !state.starts_with(MARK))
    }
}

/// Seals tickets of the listeners that ask clients for certificates: no session goes from the others to these, where it would
/// bring no certificate, or back. The client of such a ticket makes a whole handshake.
#[derive(Debug)]
pub struct Apart(Arc<Ticketer>);

/// The first bytes of what is sealed. A session of rustls begins with a version of TLS.
const MARK: &[u8] = b"asked for a certificate";

impl Apart {
    /// By the same seal.
    #[must_use]
    pub fn new(ticketer: &Arc<Ticketer>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(ticketer)))
    }
}

impl ProducesTickets for Apart {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(&[MARK, state].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.opened(ticket)?.strip_prefix(MARK).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_of_listeners_that_ask_for_certificates_or_of_the_others() {
        let open = Ticketer::new(Seal::load(None, &Clock::system()).unwrap());
        let asking = Apart::new(&open);
        let of_open = open.encrypt(b"session").unwrap();
        let of_asking = asking.encrypt(b"session").unwrap();
        let session = Some(b"session".to_vec());
        assert_eq!((open.decrypt(&of_open), asking.decrypt(&of_open)), (session.clone(), None));
        assert_eq!((open.decrypt(&of_asking), asking.decrypt(&of_asking)), (None, session));
    }

    #[test]
    fn a_seal_that_is_put_counts_from_then_on_and_one_of_this_process_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef0123456789abcdef").unwrap();
        let clock = Clock::system();
        let shared = || Seal::load(Some(file.path()), &clock).unwrap();
        let own = || Seal::load(None, &clock).unwrap();
        let ticketer = Ticketer::new(own());
        let first = ticketer.encrypt(b"session").unwrap();
        ticketer.put(own());
        assert_eq!(ticketer.decrypt(&first).as_deref(), Some(&b"session"[..]));
        ticketer.put(shared());
        assert_eq!(ticketer.decrypt(&first), None);
        let second = ticketer.encrypt(b"session").unwrap();
        ticketer.put(shared());
        assert_eq!(ticketer.decrypt(&second).as_deref(), Some(&b"session"[..]));
    }
}
