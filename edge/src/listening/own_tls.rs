//! The certificate of the operator's listener: read when a config is taken in, and again whenever its files change.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::start_error::StartError;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::tls::{self, Certificates, Clients, Files, Seal, Ticketer};

/// A certificate that is good, and not followed yet.
pub(super) struct OwnTls {
    certificates: Arc<Certificates>,
    ticketer: Arc<Ticketer>,
    pub(super) acceptor: TlsAcceptor,
}

impl OwnTls {
    pub(super) fn load(files: &Files, clock: &Clock) -> Result<Self, StartError> {
        let certificates = Certificates::load(vec![files.clone()])
            .map_err(|error| StartError::certificate("admin.tls", &error))?;
        let ticketer = Ticketer::new(Seal::load(None, clock).map_err(|error| StartError::secret(&error))?);
        let terms = tls::terms(&certificates, &Clients::new(None), &ticketer, &[tls::HTTP_1]);
        Ok(Self { certificates, ticketer, acceptor: TlsAcceptor::from(Arc::new(terms)) })
    }

    /// Follows its files until what it gives is dropped.
    pub(super) fn follow(self, clock: &Clock, metrics: &Metrics) -> DropGuard {
        let end = CancellationToken::new();
        let followed = tls::follow(self.certificates, self.ticketer, clock.clone(), metrics.clone());
        let guard = end.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = followed => {}
                () = end.cancelled_owned() => {}
            }
        });
        guard
    }
}

/// The report on a certificate, as of now: a line if there is something to say.
pub(super) fn inspect(files: &Files, clock: &Clock) -> Result<Vec<String>, StartError> {
    OwnTls::load(files, clock).map(|own| tls::standings(&own.certificates, clock))
}
