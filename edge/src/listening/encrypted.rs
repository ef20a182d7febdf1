//! The state that all listeners over TLS share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::start_error::StartError;
use crate::clock::Clock;
use crate::config;
use crate::serve::{ByListener, Chosen, Listeners, Offer, Terms};
use crate::tls::CertificateError;
use crate::tls::certificates::Ready;
use crate::tls::{self, Apart, Certificates, Clients, Judge, Seal, Sessions, Ticketer};

/// Certificates, the seal of tickets, and the terms of handshakes with both. Their files are followed until it is dropped.
pub(super) struct Encrypted {
    certificates: Arc<Certificates>,
    clients: Arc<Clients>,
    ticketer: Arc<Ticketer>,
    /// Those that may bring early data.
    sessions: Option<Arc<Sessions>>,
    /// The listeners that ask for certificates of clients.
    asking: Arc<ArcSwap<Chosen>>,
    pub(super) terms: ByListener<Terms>,
    pub(super) offers: ByListener<Offer>,
    followed: Option<DropGuard>,
}

/// The change that another config makes of it; nothing of it counts yet.
pub(super) enum Next {
    New(Box<Encrypted>),
    Kept(Box<Ready>, Asked, Seal, EarlyData),
}

/// The listeners that ask for certificates of clients, and the judge of these.
pub(super) struct Asked {
    judge: Option<Arc<Judge>>,
    asking: Chosen,
}

/// Whether sessions bring early data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyData {
    No,
    Yes,
}

impl Encrypted {
    fn new(tls: &config::Tls, clock: &Clock) -> Result<Self, StartError> {
        let certificates = Certificates::load(tls.certificates.clone()).map_err(of_pair)?;
        let seal = seal(tls, clock)?;
        let ticketer = Ticketer::new(seal);
        let Asked { judge, asking } = Asked::of(tls)?;
        let (clients, apart) = (Clients::new(judge), Apart::new(&ticketer));
        let sessions = tls.early_data.then(Sessions::new);
        let nobody = Clients::new(None);
        let over_tcp = over_tcp(&certificates, &ticketer, sessions.as_ref());
        let terms = Terms::new(over_tcp, Arc::clone(&certificates), Arc::clone(&nobody));
        let over_quic = tls::terms(&certificates, &nobody, &ticketer, &[tls::HTTP_3]);
        let offer = Offer::new(over_quic, terms.clone(), sessions.as_ref());
        let certain = {
            let over_tcp = tls::terms(&certificates, &clients, &apart, OVER_TCP);
            let terms = Terms::new(over_tcp, Arc::clone(&certificates), Arc::clone(&clients));
            let over_quic = tls::terms(&certificates, &clients, &apart, &[tls::HTTP_3]);
            (terms.clone(), offer.apart(over_quic, terms))
        };
        let asking = Arc::new(ArcSwap::from_pointee(asking));
        let terms = ByListener::new(certain.0, terms, &asking);
        let offers = ByListener::new(certain.1, offer, &asking);
        Ok(Self { certificates, clients, ticketer, sessions, asking, terms, offers, followed: None })
    }

    /// Sessions bring early data from now on, or none does; those of before are forgotten where that changes.
    fn turn(&mut self, early_data: EarlyData) {
        if self.sessions.is_some() == (early_data == EarlyData::Yes) {
            return;
        }
        let sessions = (early_data == EarlyData::Yes).then(Sessions::new);
        self.terms.open().put(over_tcp(&self.certificates, &self.ticketer, sessions.as_ref()));
        self.offers.open().put(sessions.as_ref());
        if let Some(before) = std::mem::replace(&mut self.sessions, sessions) {
            before.close();
        }
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
    /// Reads all that the config names. `is_kept`: there is one already.
    pub(super) fn prepare(is_kept: bool, tls: &config::Tls, clock: &Clock) -> Result<Self, StartError> {
        if !is_kept {
            return Encrypted::new(tls, clock).map(|new| Self::New(Box::new(new)));
        }
        let certificates = Certificates::prepare(tls.certificates.clone()).map_err(of_pair)?;
        let seal = seal(tls, clock)?;
        let early_data = if tls.early_data { EarlyData::Yes } else { EarlyData::No };
        Ok(Self::Kept(Box::new(certificates), Asked::of(tls)?, seal, early_data))
    }

    /// The offers for QUIC that will count.
    pub(super) fn offers<'a>(&'a self, before: Option<&'a Encrypted>) -> Option<&'a ByListener<Offer>> {
        match self {
            Self::New(new) => Some(&new.offers),
            Self::Kept(..) => before.map(|before| &before.offers),
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
            Self::Kept(certificates, Asked { judge, asking }, seal, early_data) => {
                let mut before = before?;
                // A listener that asks from now on finds the judge there.
                before.clients.put(judge);
                before.asking.store(Arc::new(asking));
                before.certificates.put(*certificates);
                before.ticketer.put(seal);
                before.turn(early_data);
                Some(before)
            }
        }
    }
}

const OVER_TCP: &[&[u8]] = &[tls::HTTP_2, tls::HTTP_1];

/// Where clients are asked for no certificate.
fn over_tcp(
    certificates: &Arc<Certificates>,
    ticketer: &Arc<Ticketer>,
    sessions: Option<&Arc<Sessions>>,
) -> ServerConfig {
    let terms = tls::terms(certificates, &Clients::new(None), ticketer, OVER_TCP);
    match sessions {
        Some(sessions) => tls::early::with_early_data(terms, sessions),
        None => terms,
    }
}

impl Asked {
    fn of(tls: &config::Tls) -> Result<Self, StartError> {
        let judge = tls.clients.as_ref().map(Judge::load).transpose().map_err(of_pair)?;
        let asking = if judge.is_some() { tls.clients_at.clone() } else { Chosen::none() };
        Ok(Self { judge, asking })
    }
}

fn seal(tls: &config::Tls, clock: &Clock) -> Result<Seal, StartError> {
    Seal::load(tls.ticket_secret.as_deref(), clock).map_err(|error| StartError::secret(&error))
}

fn of_pair(error: CertificateError) -> StartError {
    StartError::certificate("tls", &error)
}

/// The report on the certificates that `tls` names, as of now: a line each.
pub(super) fn inspect(tls: &config::Tls, clock: &Clock) -> Result<Vec<String>, StartError> {
    let certificates = Certificates::load(tls.certificates.clone()).map_err(of_pair)?;
    seal(tls, clock)?;
    Asked::of(tls)?;
    Ok(tls::standings(&certificates, clock))
}
