//! A zone that has a file here and is taken from others, too: the others are asked whether one of them is the primary now.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fetch::{Fetch, NotFetched};
use super::line::NoAnswer;
use super::zone::{Zone, now};
use crate::catalog::HeldCopy;
use crate::clock;
use crate::config::{Primary, Secondary};
use crate::log::recent::OPEN;
use crate::transfer::{self, Heard, Others, Upkeep};
use crate::tsig::Key;
use crate::world::Standing;

/// Between two looks of a server that leads. A notice is quicker.
const LOOK_PAUSE: Duration = Duration::from_secs(30);
/// The same while it is not known who leads.
const ASK_PAUSE: Duration = Duration::from_millis(500);
/// Nobody waits longer for servers that do not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The serials that the servers of a zone have, asked at once.
pub(crate) async fn ask(
    zone: &Secondary,
    key: Option<Arc<Key>>,
    sources: &[IpAddr],
) -> Vec<(SocketAddr, Result<u32, Heard>, String)> {
    let mut all = JoinSet::new();
    for primary in &zone.primaries {
        all.spawn(ask_one(zone.clone(), primary.clone(), key.clone(), sources.to_vec()));
    }
    all.join_all().await
}

async fn ask_one(
    zone: Secondary,
    primary: Primary,
    key: Option<Arc<Key>>,
    sources: Vec<IpAddr>,
) -> (SocketAddr, Result<u32, Heard>, String) {
    let (ca, slots): (Option<&Path>, _) = (zone.ca.as_deref(), Semaphore::new(1));
    let fetch = Fetch {
        apex: &zone.zone,
        primary: &primary,
        ca,
        identity: zone.identity.as_ref(),
        key,
        sources: &sources,
        slots: &slots,
    };
    let answer = timeout(PATIENCE, fetch.its_version()).await;
    let answer = answer.unwrap_or(Err(NotFetched::NoAnswer(NoAnswer::Slow)));
    let why = answer
        .as_ref()
        .map_or_else(ToString::to_string, |version| format!("it has serial {}", version.serial));
    let heard = answer.map(|version| version.serial).map_err(|error| match error {
        // It has none, or does not know which: it may be about to ask this server.
        NotFetched::Rcode(2) => Heard::Unready,
        NotFetched::Rcode(_) | NotFetched::NotAuthoritative => Heard::Nothing,
        _ => Heard::Silence,
    });
    (primary.address(), heard, why)
}

impl Zone {
    pub(super) fn standing(&self) -> Option<Standing> {
        self.context.world.load().standing.get(&self.plan.zone.zone).copied()
    }

    /// Whether a file of this server counts, or may.
    pub(super) async fn has_file(&self) -> bool {
        match self.standing() {
            Some(Standing::Leads | Standing::Waits) => self.of_disk(|copy| !copy.is_replaced()).await,
            Some(Standing::Follows) | None => false,
        }
    }

    /// Asks the disk, which may be slow. Another process may have written there: `verge-dns promote`.
    async fn of_disk<T: Default + Send + 'static>(
        &self,
        read: impl FnOnce(&HeldCopy) -> T + Send + 'static,
    ) -> T {
        let copy = self.plan.copy.clone();
        tokio::task::spawn_blocking(move || read(&copy)).await.unwrap_or_default()
    }

    /// Asks the others, and follows one that has a later serial; tells how long to wait for the next look.
    pub(super) async fn look_for_others(&mut self) -> Duration {
        if self.plan.zone.member_of.is_some() {
            return LOOK_PAUSE;
        }
        let since = *self.waits_since.get_or_insert_with(clock::now);
        let ours = self.own_serial().await;
        let answers = ask(&self.plan.zone, self.key(), &self.plan.sources).await;
        let heard = answers.iter().map(|(address, heard, _)| (*address, *heard));
        let waits = self.standing() == Some(Standing::Waits);
        match transfer::others(ours, heard) {
            Others::Newer(by, serial) => {
                self.step_down((by, serial), ours).await;
                return Duration::ZERO;
            }
            Others::Heard => self.told_alone = false,
            Others::Unheard if waits && clock::now() - since < PATIENCE => return ASK_PAUSE,
            Others::Unheard => {
                if !std::mem::replace(&mut self.told_alone, true) {
                    let why: Vec<String> =
                        answers.iter().map(|(address, _, why)| format!("{address}: {why}")).collect();
                    tracing::warn!(zone = %self.plan.zone.zone, serial = ours, "no other server of this zone answers, so this one goes on as its primary: {}", why.join("; "));
                }
            }
        }
        self.primary = answers.iter().find_map(|(address, heard, _)| Some((*address, (*heard).ok()?)));
        self.lead();
        LOOK_PAUSE
    }

    /// The serial by which this server is judged: that of its version, and never one from before it became the primary.
    async fn own_serial(&self) -> Option<u32> {
        let promoted = self.of_disk(HeldCopy::promoted).await;
        let world = self.context.world.load();
        let served = match world.given(self.plan.zone.view, &self.plan.zone.zone) {
            Some(crate::zone::set::Served::Zone(tree)) => transfer::serial(tree),
            _ => self.plan.own,
        };
        transfer::later(served, promoted)
    }

    /// The zone file counts.
    fn lead(&mut self) {
        if self.context.unsettled.settle(&self.plan.zone.zone) {
            tracing::info!(zone = %self.plan.zone.zone, "this server is the primary");
            self.load();
        }
    }

    /// Another server has replaced this one: from now on, nothing of the zone file is served.
    async fn step_down(&mut self, (by, serial): (SocketAddr, u32), ours: Option<u32>) {
        let zone = &self.plan.zone.zone;
        tracing::error!(
            name: OPEN,
            %zone, ours, theirs = serial, %by,
            "another server has replaced this one as the primary, so this one follows it and serves its own zone file no longer; \
             what was changed here since is in the file and its journal alone"
        );
        let (copy, held) = (self.plan.copy.clone(), self.right_to_write().await);
        let noted = tokio::task::spawn_blocking(move || {
            let _held = held;
            copy.replace(by, serial)
        });
        let noted = noted.await;
        if let Ok(Err(error)) = noted {
            tracing::error!(name: OPEN, %zone, %error, "this cannot be noted on the disk, so the zone file is served still (setting `state`)");
            tokio::time::sleep(PATIENCE).await;
            return;
        }
        (self.upkeep, self.noted) = (Upkeep::default(), None);
        (self.serial, self.primary) = (None, Some((by, serial)));
        self.context.unsettled.settle(zone);
        self.load();
        self.refresh(Some(by.ip().to_canonical())).await;
        self.report(now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::name::Name;
    use crate::view::Which;

    /// It takes the question, and never answers.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_is_waited_for_no_longer_than_one_that_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let primaries = vec![Primary::Tcp(listener.local_addr().unwrap())];
        let zone = Secondary {
            zone: Name::parse_absolute("ex").unwrap(),
            primaries,
            key: None,
            view: Which::Public,
            ca: None,
            identity: None,
            catalog: None,
            member_of: None,
            entry: None,
        };
        let most = PATIENCE + Duration::from_millis(10);
        let answers = timeout(most, ask(&zone, None, &[])).await.expect("somebody waited longer");
        assert_eq!(answers.iter().map(|(_, heard, _)| *heard).collect::<Vec<_>>(), [Err(Heard::Silence)]);
    }
}
