//! The state that all listeners over TLS share.

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::start_error::StartError;
use crate::clock::Clock;
use crate::config;
use crate::serve::{Listeners, Offer, Terms};
use crate::tls::certificates::Ready;
use crate::tls::{self, Certificates, Clients, Judge, Seal, Ticketer};

/// Certificates, the seal of tickets, and the terms of handshakes with both. Their files are followed until it is dropped.
pub(super) struct Encrypted {
    certificates: Arc<Certificates>,
    clients: Arc<Clients>,
    ticketer: Arc<Ticketer>,
    pub(super) terms: Terms,
    pub(super) offer: Offer,
    followed: Option<DropGuard>,
}

/// The change that another config makes of it; nothing of it counts yet.
pub(super) enum Next {
    New(Box<Encrypted>),
    Kept(Box<Ready>, Option<Arc<Judge>>, Seal),
}

impl Encrypted {
    fn new(tls: &config::Tls, clock: &Clock) -> Result<Self, StartError> {
        let certificates = Certificates::load(tls.certificates.clone()).map_err(StartError::tls)?;
        let seal = Seal::load(tls.ticket_secret.as_deref(), clock).map_err(StartError::tls)?;
        let ticketer = Ticketer::new(seal);
        let clients = Clients::new(judge(tls)?);
        let config = |protocols| tls::terms(&certificates, &clients, &ticketer, protocols);
        let over_tcp = config(&[tls::HTTP_2, tls::HTTP_1]);
        let terms = Terms::new(over_tcp, Arc::clone(&certificates), Arc::clone(&clients));
        let offer = Offer::new(config(&[tls::HTTP_3]), terms.clone());
        Ok(Self { certificates, clients, ticketer, terms, offer, followed: None })
    }

    fn follow(&mut self, clients: &Listeners, clock: &Clock) {
        let end = CancellationToken::new();
        let (certificates, ticketer) = (Arc::clone(&self.certificates), Arc::clone(&self.ticketer));
        let followed = tls::follow(certificates, ticketer, clock.clone(), clients.metrics().clone());
        self.followed = Some(end.clone().drop_guard());
        let closed = clients.closed();
        tokio::spawn(async move {
            tokio::select! {
                () = followed => {}
                () = end.cancelled_owned() => {}
                () = closed.cancelled_owned() => {}
            }
        });
    }
}

impl Next {
    /// Reads all that the config names.
    pub(super) fn prepare(
        before: Option<&Encrypted>,
        tls: &config::Tls,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        if before.is_none() {
            return Encrypted::new(tls, clock).map(|new| Self::New(Box::new(new)));
        }
        let certificates = Certificates::prepare(tls.certificates.clone()).map_err(StartError::tls)?;
        let seal = Seal::load(tls.ticket_secret.as_deref(), clock).map_err(StartError::tls)?;
        Ok(Self::Kept(Box::new(certificates), judge(tls)?, seal))
    }

    /// The offer for QUIC that will count.
    pub(super) fn offer<'a>(&'a self, before: Option<&'a Encrypted>) -> Option<&'a Offer> {
        match self {
            Self::New(new) => Some(&new.offer),
            Self::Kept(..) => before.map(|before| &before.offer),
        }
    }

    /// Puts it in service.
    pub(super) fn commit(
        self,
        before: Option<Encrypted>,
        clients: &Listeners,
        clock: &Clock,
    ) -> Option<Encrypted> {
        match self {
            Self::New(mut new) => {
                new.follow(clients, clock);
                Some(*new)
            }
            Self::Kept(certificates, judge, seal) => {
                let before = before?;
                before.clients.put(judge);
                before.certificates.put(*certificates);
                before.ticketer.put(seal);
                Some(before)
            }
        }
    }
}

fn judge(tls: &config::Tls) -> Result<Option<Arc<Judge>>, StartError> {
    tls.clients.as_ref().map(Judge::load).transpose().map_err(StartError::tls)
}

/// The report on the certificates that `tls` names, as of now: a line each.
pub(super) fn inspect(tls: &config::Tls, clock: &Clock) -> Result<Vec<String>, StartError> {
    let certificates = Certificates::load(tls.certificates.clone()).map_err(StartError::tls)?;
    Seal::load(tls.ticket_secret.as_deref(), clock).map_err(StartError::tls)?;
    judge(tls)?;
    Ok(tls::standings(&certificates, clock))
}
