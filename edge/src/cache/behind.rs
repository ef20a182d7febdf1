//! Purges on their way to the process that has taken over: clients of connections that this one still has know nothing of two
//! caches.

use std::sync::OnceLock;

use http::Uri;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Cache, NotPurged, PurgeRequest};
use crate::store::Mode;

/// The things that are to go in another process, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// As they were asked for.
    pub(crate) purges: Vec<PurgeRequest>,
    /// URLs that an unsafe request has changed; a `*` in them stands for itself.
    pub(crate) changed: Vec<String>,
}

/// The result of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Stored responses that it covered, where it is known.
    pub(crate) purged: Option<usize>,
    /// Whether all of it was done.
    pub(crate) is_whole: bool,
    /// The disks on which a restart may undo it.
    pub(crate) until_restart_on: Vec<String>,
}

/// An order, and where its result is waited for.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) order: Order,
    pub(crate) done: oneshot::Sender<Done>,
}

/// The way to the process that answers now; none as long as this one does.
#[derive(Debug, Default)]
pub(super) struct Behind(OnceLock<mpsc::Sender<Errand>>);

/// Orders that wait for the one before; beyond, they are not taken.
const MOST_WAITING: usize = 1_024;

/// A way to the next process.
pub(crate) fn way() -> (mpsc::Sender<Errand>, mpsc::Receiver<Errand>) {
    mpsc::channel(MOST_WAITING)
}

impl Done {
    /// The sentence about disks that may forget it; none if none does.
    pub(crate) fn until_restart(&self) -> Option<String> {
        until_restart(&self.until_restart_on)
    }
}

/// The sentence about disks that may forget a purge; none if none does.
pub(crate) fn until_restart(disks: &[String]) -> Option<String> {
    (!disks.is_empty())
        .then(|| format!("but a restart may undo it on {}: purge it again then", disks.join(", ")))
}

impl Cache {
    /// From now on another process answers, and hears by this way what is to go. Where the way is closed it hears nothing.
    pub(crate) fn leave_to(&self, way: mpsc::Sender<Errand>) {
        // A process leaves once.
        let _ = self.behind.0.set(way);
    }

    /// Whether another process answers: what is stored here is no longer purged by everybody.
    pub(crate) fn has_left(&self) -> bool {
        self.behind.0.get().is_some()
    }

    /// Whether what is changed here can be told to where it matters.
    pub(crate) fn is_heard(&self) -> bool {
        self.behind.0.get().is_none_or(|way| !way.is_closed())
    }

    /// Sees to purges that were done here: they outlive a crash, or hold in the process that has taken over. None if that one
    /// did not hear of them.
    pub(crate) async fn purged(&self, purges: &[PurgeRequest], purged: Option<usize>) -> Option<Done> {
        if self.has_left() {
            let order = Order { purges: purges.to_vec(), ..Order::default() };
            return self.purge_behind(order).await.filter(|done| done.is_whole);
        }
        Some(Done { purged, is_whole: true, until_restart_on: self.purges_last().await })
    }

    /// Has it done in the process that has taken over; none if that one did not hear of it.
    pub(crate) async fn purge_behind(&self, order: Order) -> Option<Done> {
        let (done, is_done) = oneshot::channel();
        self.behind.0.get()?.try_send(Errand { order, done }).ok()?;
        is_done.await.ok()
    }

    /// Does what the process before asks for, here and in the one that has taken over from this one.
    pub(crate) async fn obey(&self, order: Order) -> Done {
        let (mut done, now) = (Done { is_whole: true, ..Done::default() }, self.clock.now());
        let mut counts = Vec::new();
        for purge in &order.purges {
            match purge.scopes(self) {
                Ok(scopes) => counts.push(self.purge(&scopes, purge.mode())),
                // Nothing of it is here.
                Err(NotPurged::NoSite | NotPurged::NoSuchSite(_)) => counts.push(Some(0)),
                Err(_) => done.is_whole = false,
            }
        }
        done.purged = counts.into_iter().sum();
        for uri in order.changed.iter().filter_map(|url| url.parse::<Uri>().ok()) {
            for scope in self.scopes_of_changed(&uri) {
                self.store.purge(&scope, Mode::Hard, now);
            }
        }
        tracing::info!(target: "verge_edge::purge", ?order, purged = done.purged, "purged, as the process before was asked to");
        if self.has_left() {
            let next = self.purge_behind(order).await.unwrap_or_default();
            let is_whole = done.is_whole && next.is_whole;
            return Done { is_whole, ..next };
        }
        done.until_restart_on = self.purges_last().await;
        done
    }
}
