//! The task of one zone: asks when it is time, keeps what is good, and tells what is not.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fetch::{Fetch, Fetched, NotFetched};
use super::plan::{Bell, Context, Plan};
use super::question::Version;
use crate::catalog::{HeldCopy, NotKept};
use crate::clock;
use crate::config::Primary;
use crate::log::recent::OPEN;
use crate::metrics::{CopyStatus, Refreshed};
use crate::rtype::Type;
use crate::serve::pen::{Pen, Writing};
use crate::serve::signal::Signal;
use crate::transfer::{Change, Content, Fault, Health, Timers, Upkeep, apply, is_newer, serial_of};
use crate::tsig::Key;
use crate::world::Standing;
use crate::zone::Record;
use crate::zone::privacy::Rules;

pub(super) struct Zone {
    pub(super) plan: Arc<Plan>,
    pub(super) context: Context,
    pub(super) upkeep: Upkeep,
    pub(super) serial: Option<u32>,
    /// Since when it is not known whether another server is the primary.
    pub(super) waits_since: Option<Instant>,
    /// It was told that no other server answers.
    pub(super) told_alone: bool,
    /// As the disk has it; none if it is not known.
    pub(super) noted: Option<Upkeep>,
    /// The version that had errors, and by which rules: it is not taken again.
    turned_down: Option<(u32, Arc<Rules>)>,
    gate: Arc<Mutex<()>>,
    told_health: Health,
    told_error: Option<String>,
    pub(super) primary: Option<(SocketAddr, u32)>,
}

/// Why a version is not kept.
enum NotTaken {
    Fetch(NotFetched),
    Kept(NotKept),
    /// The version that came is no newer than ours.
    Older(u32),
    /// Something of ours fell.
    Fell,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Kept(NotKept::Io(error)) => {
                write!(f, "its version cannot be stored: {error} (setting `state`)")
            }
            Self::Kept(NotKept::Bad(first, 1)) => write!(f, "its version has an error: {first}"),
            Self::Kept(NotKept::Bad(first, count)) => {
                write!(f, "its version has {count} errors, the first: {first}")
            }
            Self::Older(serial) => {
                write!(f, "what came has the serial {serial}, which is not newer than ours")
            }
            Self::Fell => f.write_str("keeping its version panicked; please report this"),
        }
    }
}

/// Removes a copy once nobody writes it.
pub(super) async fn forget(copy: HeldCopy, (pen, gate): (Pen, Arc<Mutex<()>>)) {
    let held = (pen.take().await, gate.lock_owned().await);
    let zone = copy.apex.clone();
    let forgotten = tokio::task::spawn_blocking(move || (copy.forget(), held)).await;
    if let Ok((Err(error), _)) = forgotten {
        tracing::warn!(name: OPEN, %zone, %error, "the copy of a zone that is here no longer cannot be removed");
    }
}

/// Keeps a zone up to date for as long as it is let.
pub(super) async fn run(plan: Arc<Plan>, context: Context, bell: Arc<Bell>, gate: Arc<Mutex<()>>) {
    let mut zone = Zone::open(plan, context, gate).await;
    zone.report(now());
    // Notices that came while nobody was here to hear them are lost, so the first question does not wait.
    let (mut wait, mut looked) = (Duration::ZERO, None);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = bell.rung(looked) => {}
        }
        let first = bell.by();
        if zone.has_file().await {
            wait = zone.look_for_others().await;
        } else {
            zone.tell_health(now());
            zone.refresh(first).await;
            zone.tell_health(now());
            wait = zone.upkeep.wait(now(), rand::random());
        }
        zone.report(now());
        looked = Some(clock::now().into());
    }
}

/// The zone after its changes, if they begin with the version that is on the disk: it may be gone, or another.
fn changed(
    (before, ours): (Vec<Record>, Option<u32>),
    soa: Record,
    changes: Vec<Change>,
) -> Result<Vec<Record>, Fault> {
    let there = before.iter().find(|record| record.rtype == Type::SOA).and_then(|soa| serial_of(&soa.rdata));
    if there.is_none() || there != ours {
        return Err(Fault::NotThere(soa.owner, Type::SOA));
    }
    apply(before, soa, changes)
}

pub(super) fn now() -> u64 {
    clock::moment().unix_seconds
}

impl Zone {
    async fn open(plan: Arc<Plan>, context: Context, gate: Arc<Mutex<()>>) -> Self {
        let (copy, held) = (plan.copy.clone(), Arc::clone(&gate).lock_owned().await);
        let opened = tokio::task::spawn_blocking(move || (copy.upkeep(), held));
        let (upkeep, serial) = opened.await.map(|(opened, _)| opened).unwrap_or_default();
        let told_health =
            if upkeep.health(now()) == Health::Expired { Health::Expired } else { Health::Good };
        let (noted, turned_down, told_error, primary) = (Some(upkeep), None, None, None);
        let (waits_since, told_alone) = (None, false);
        Self {
            plan,
            context,
            upkeep,
            serial,
            waits_since,
            told_alone,
            noted,
            turned_down,
            gate,
            told_health,
            told_error,
            primary,
        }
    }

    pub(super) fn key(&self) -> Option<Arc<Key>> {
        let name = self.plan.zone.key.as_ref()?;
        self.context.world.load().protocol.keys.get(name).cloned()
    }

    /// Asks the primaries in their order, the one that knows of a new version first, until one answers well.
    pub(super) async fn refresh(&mut self, first: Option<IpAddr>) {
        let plan = Arc::clone(&self.plan);
        let key = self.key();
        let is_first = |it: &&Primary| Some(it.address().ip().to_canonical()) == first;
        let others = plan.zone.primaries.iter().filter(|it| !is_first(it));
        let order: Vec<&Primary> = plan.zone.primaries.iter().filter(is_first).chain(others).collect();
        let (asks, slots) = (Arc::clone(&self.context.asks), Arc::clone(&self.context.slots));
        let mut errors: Vec<String> = Vec::new();
        for primary in order {
            let fetch = Fetch {
                apex: &plan.zone.zone,
                primary,
                ca: plan.zone.ca.as_deref(),
                identity: plan.zone.identity.as_ref(),
                key: key.clone(),
                sources: &plan.sources,
                slots: &slots,
            };
            let _ask = asks.acquire().await;
            match self.take(&fetch).await {
                Ok(refreshed) => {
                    self.context.metrics.replication.refreshed(refreshed);
                    return self.recover();
                }
                Err(why) => errors.push(format!("{}: {why}", primary.address())),
            }
        }
        self.upkeep = self.upkeep.failed();
        self.context.metrics.replication.refreshed(Refreshed::Failed);
        self.tell_error(errors.join("; "));
    }

    async fn take(&mut self, fetch: &Fetch<'_>) -> Result<Refreshed, NotTaken> {
        let ours = self.serial.filter(|_| self.upkeep.timers.is_some());
        let rules = self.context.rules.load_full();
        // By other rules it may be good.
        let turned_down = self.turned_down.as_ref().filter(|(_, by)| *by == rules).map(|(serial, _)| *serial);
        let Fetched { version, content } =
            fetch.newer_than(ours, turned_down).await.map_err(NotTaken::Fetch)?;
        self.primary = Some((fetch.primary.address(), version.serial));
        let kind = match &content {
            None | Some(Content::Current) => return self.confirm(version).await,
            Some(Content::Whole(_)) => Refreshed::Whole,
            Some(Content::Changes(..)) => Refreshed::Changes,
        };
        let content = content.unwrap_or(Content::Current);
        let (kind, kept) = match self.keep(content, version, ours).await {
            // Our copy is not what the primary takes it for: all of it settles that.
            Err(NotTaken::Fetch(NotFetched::Fault(fault @ Fault::NotThere(..)))) => {
                tracing::debug!(zone = %fetch.apex, primary = %fetch.primary.address(), "no changes, so all of it: {fault}");
                let whole = fetch.whole().await.map_err(NotTaken::Fetch)?;
                (Refreshed::Whole, self.keep(whole, version, ours).await)
            }
            kept => (kind, kept),
        };
        if let Err(NotTaken::Kept(NotKept::Bad(..))) = &kept {
            self.turned_down = Some((version.serial, rules));
        }
        let records = kept?;
        tracing::info!(
            zone = %fetch.apex, serial = self.serial, primary = %fetch.primary.address(), view = self.plan.zone.view.as_str(),
            kind = kind.as_str(), records, "a new version came"
        );
        Ok(kind)
    }

    /// Ours is as new as the primary's.
    async fn confirm(&mut self, version: Version) -> Result<Refreshed, NotTaken> {
        let Some(timers) = self.upkeep.timers else { return Err(NotTaken::Fetch(NotFetched::Garbage)) };
        if let Some(ours) = self.serial.filter(|ours| *ours != version.serial) {
            let (zone, theirs) = (&self.plan.zone.zone, version.serial);
            tracing::debug!(%zone, ours, theirs, "the primary has an older version than this server");
        }
        // By what the loader reads, which may end a little sooner than the copy in memory.
        let was_expired = self.noted.is_none_or(|noted| noted.health(now()) == Health::Expired);
        let upkeep = self.upkeep.confirmed_again(timers, now(), version.expire);
        match self.noted.is_some_and(|noted| upkeep.is_noted_by(&noted)) {
            true => self.upkeep = upkeep,
            false => self.note(upkeep).await?,
        }
        if was_expired {
            self.load();
        }
        Ok(Refreshed::Current)
    }

    /// Puts a version on the disk, and into service; tells how many records it has.
    async fn keep(
        &mut self,
        content: Content,
        version: Version,
        ours: Option<u32>,
    ) -> Result<usize, NotTaken> {
        let (plan, rules) = (Arc::clone(&self.plan), self.context.rules.load_full());
        let held = self.right_to_write().await;
        let stored = tokio::task::spawn_blocking(move || {
            let _held = held;
            let records = match content {
                Content::Whole(records) => records,
                Content::Changes(soa, changes) => {
                    let before = plan.copy.records().unwrap_or_default();
                    changed((before, ours), *soa, changes)
                        .map_err(|fault| NotTaken::Fetch(NotFetched::Fault(fault)))?
                }
                Content::Current => Vec::new(),
            };
            let soa = records.first().filter(|record| record.rtype == Type::SOA);
            let told = soa.and_then(|soa: &Record| Some((serial_of(&soa.rdata)?, Timers::of(&soa.rdata)?)));
            let (serial, timers) = told.ok_or(NotTaken::Fetch(NotFetched::Fault(Fault::NoSoaFirst)))?;
            if ours.is_some_and(|ours| !is_newer(serial, ours)) {
                return Err(NotTaken::Older(serial));
            }
            plan.copy.keep(&records, &rules).map_err(NotTaken::Kept)?;
            Ok((serial, timers, records.len()))
        });
        let (serial, timers, records) = stored.await.unwrap_or(Err(NotTaken::Fell))?;
        (self.serial, self.turned_down) = (Some(serial), None);
        self.note(Upkeep::confirmed(timers, now(), version.expire)).await?;
        self.load();
        Ok(records)
    }

    async fn note(&mut self, upkeep: Upkeep) -> Result<(), NotTaken> {
        (self.upkeep, self.noted) = (upkeep, None);
        let (copy, held) = (self.plan.copy.clone(), self.right_to_write().await);
        let noted = tokio::task::spawn_blocking(move || {
            let _held = held;
            copy.note(&upkeep)
        });
        noted.await.map_err(|_| NotTaken::Fell)?.map_err(|error| NotTaken::Kept(NotKept::Io(error)))?;
        self.noted = Some(upkeep);
        Ok(())
    }

    /// Nobody else changes the copy, and no other process takes over, while it is held.
    pub(super) async fn right_to_write(&self) -> (Writing, OwnedMutexGuard<()>) {
        (self.context.pen.take().await, Arc::clone(&self.gate).lock_owned().await)
    }

    /// The loader serves what is on the disk, and nothing that has expired.
    pub(super) fn load(&self) {
        // The loader is gone only when the server ends.
        let _ = self.context.loader.send(Signal::Changed);
    }

    fn recover(&mut self) {
        if self.told_error.take().is_some() {
            tracing::info!(zone = %self.plan.zone.zone, serial = self.serial, "a primary answers again");
        }
    }

    /// Once for each new obstacle.
    fn tell_error(&mut self, error: String) {
        if self.told_error.as_ref() != Some(&error) {
            let (zone, serial) = (&self.plan.zone.zone, self.serial);
            tracing::warn!(%zone, serial, "the zone could not be refreshed, and the last good version stays: {error}");
            self.told_error = Some(error);
        }
    }

    /// Tells of a copy whose end is near, long before, and ends it.
    fn tell_health(&mut self, now: u64) {
        let health = self.upkeep.health(now);
        if health == self.told_health {
            return;
        }
        let (zone, serial) = (&self.plan.zone.zone, self.serial);
        let left_seconds = self.upkeep.expires.saturating_sub(now);
        match health {
            Health::Good | Health::Late => {}
            Health::HalfGone => {
                tracing::warn!(name: OPEN, %zone, serial, left_seconds, "no primary confirms this zone; half of its time is over, and then it is SERVFAIL");
            }
            Health::NearlyGone => {
                tracing::error!(name: OPEN, %zone, serial, left_seconds, "no primary confirms this zone; it expires soon, and then it is SERVFAIL");
            }
            Health::Expired => {
                tracing::error!(name: OPEN, %zone, serial, "no primary has confirmed this zone, and it has expired: SERVFAIL");
                self.load();
            }
        }
        self.told_health = health;
    }

    fn state(&self, now: u64) -> &'static str {
        match self.standing() {
            Some(Standing::Leads) => "primary",
            Some(Standing::Waits) => "asks_others",
            Some(Standing::Follows) | None if self.upkeep.timers.is_some() => {
                self.upkeep.health(now).as_str()
            }
            Some(Standing::Follows) | None => "absent",
        }
    }

    pub(super) fn report(&self, now: u64) {
        let expires = self.upkeep.timers.map(|_| self.upkeep.expires);
        self.context.world.load().expiries.note(&self.plan.zone.zone, expires);
        let wait = self.upkeep.wait(now, 0).as_secs();
        let has_copy = self.upkeep.timers.is_some();
        self.context.metrics.replication.copy(
            &self.plan.zone.zone,
            CopyStatus {
                zone: self.plan.zone.zone.to_string(),
                view: self.plan.zone.view.as_str().to_owned(),
                state: self.state(now).to_owned(),
                serial: self.serial,
                primary: self.primary.map(|(address, _)| address.to_string()),
                primary_serial: self.primary.map(|(_, serial)| serial),
                checked: has_copy.then_some(self.upkeep.checked),
                next_refresh: now + wait,
                expires: has_copy.then_some(self.upkeep.expires),
                error: self.told_error.clone(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tree::testing::{name, records};

    #[test]
    fn changes_are_made_to_the_version_that_they_begin_with_alone() {
        let soa = |serial: u32| records("ex", &format!("@ SOA ns h {serial} 2 3 4 5")).remove(0);
        let old = records("ex", "@ SOA ns h 4 2 3 4 5\n@ NS ns");
        let come = records("ex", "a A 192.0.2.1");
        for (before, ours, expected) in [
            (old.clone(), Some(4), Ok(3)),
            (old.clone(), Some(3), Err(Fault::NotThere(name("ex"), Type::SOA))),
            (old, None, Err(Fault::NotThere(name("ex"), Type::SOA))),
            (Vec::new(), Some(4), Err(Fault::NotThere(name("ex"), Type::SOA))),
            (Vec::new(), None, Err(Fault::NotThere(name("ex"), Type::SOA))),
        ] {
            let changes = vec![Change { gone: Vec::new(), come: come.clone() }];
            let found = changed((before, ours), soa(5), changes).map(|records| records.len());
            assert_eq!(found, expected, "{ours:?}");
        }
    }
}
