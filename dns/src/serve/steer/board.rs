//! All that is known of who is up, and the pools that it matters to.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use tokio::sync::mpsc::UnboundedSender;

use super::kept::{self, Kept};
use crate::clock;
use crate::metrics::{MemberStatus, PoolStatus};
use crate::steer::Pool;
use crate::steer::decide::Known;
use crate::steer::health::{Health, Seen, State};
use crate::steer::pool::Member;
use crate::steer::rules::Target;
use crate::view::Which;
use crate::world::World;

/// Shared by the loader, the checks and the admin listener.
pub(crate) struct Board {
    folder: PathBuf,
    targets: UnboundedSender<Vec<Target>>,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pools: Vec<(Which, Arc<Pool>)>,
    /// The pools, by their place, that a target matters to.
    users: HashMap<Target, Vec<usize>>,
    health: HashMap<Target, Health>,
    /// Of the last run, until a target has a state of its own.
    before: BTreeMap<String, (bool, u64)>,
    /// By command, since when.
    drained: BTreeMap<IpAddr, u64>,
    /// By config, since when.
    drained_by_config: BTreeMap<IpAddr, u64>,
    /// Something changed that is not on disk yet.
    is_new: bool,
    /// The disk was at fault, and it was told.
    told: bool,
}

impl Board {
    /// With what was kept in `folder`.
    pub(in crate::serve) fn new(folder: PathBuf, targets: UnboundedSender<Vec<Target>>) -> Self {
        let Kept { drained, health } = kept::read(&folder);
        let state = Inner { drained, before: health, ..Inner::default() };
        Self { folder, targets, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the pools of a world that is about to be in service.
    pub(in crate::serve) fn adopt(&self, world: &World) {
        let now = now();
        let mut inner = self.lock();
        let of = |which| world.view(which).pools.iter().map(move |pool| (which, Arc::clone(pool)));
        inner.pools = of(Which::Public).chain(of(Which::Internal)).collect();
        let mut users: HashMap<Target, Vec<usize>> = HashMap::new();
        let mut by_config = BTreeMap::new();
        for (at, (_, pool)) in inner.pools.iter().enumerate() {
            for member in &pool.members {
                if let Some(target) = &member.target {
                    users.entry(target.clone()).or_default().push(at);
                }
                if member.drain {
                    let since = inner.drained_by_config.get(&member.address).copied().unwrap_or(now);
                    by_config.insert(member.address, since);
                }
            }
        }
        let mut known = std::mem::take(&mut inner.health);
        for target in users.keys() {
            let restored = || {
                let (is_up, since) = *inner.before.get(&target.to_string())?;
                Some(Health::restored(if is_up { State::Up } else { State::Down }, since))
            };
            let health = known.remove(target).or_else(restored).unwrap_or_default();
            inner.health.insert(target.clone(), health);
        }
        (inner.users, inner.drained_by_config) = (users, by_config);
        inner.pools.iter().for_each(|(_, pool)| inner.replan(pool));
        // The checker is gone only when the server ends.
        let _ = self.targets.send(inner.users.keys().cloned().collect());
    }

    /// All that is to be checked.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.lock().users.keys().cloned().collect()
    }

    /// Takes in what a check found.
    pub(super) fn saw(&self, target: &Target, seen: Seen) {
        let now = now();
        let mut inner = self.lock();
        let Some(health) = inner.health.get_mut(target) else { return };
        let load = health.load;
        let flip = health.see(seen, &target.pace, now);
        if flip.is_none() && health.load == load {
            return;
        }
        inner.is_new |= flip.is_some();
        let health = inner.health[target].clone();
        for at in inner.users.get(target).into_iter().flatten() {
            let (which, pool) = &inner.pools[*at];
            inner.replan(pool);
            let Some(flip) = flip else { continue };
            for member in pool.members.iter().filter(|member| member.target.as_ref() == Some(target)) {
                let (from, to) = (flip.from.as_str(), flip.to.as_str());
                let (view, up) = (which.as_str(), inner.up(pool));
                tracing::info!(pool = %pool.owner, address = %member.address, view, from, to, why = health.why,
                    "{} is {to}: {}; {up} of {} members are up", member.address, health.why, pool.members.len());
            }
        }
    }

    /// Takes a member out of service, or puts it back; none if no pool has it.
    pub(crate) fn drain(&self, address: IpAddr, is_out: bool) -> Option<()> {
        let now = now();
        let mut inner = self.lock();
        let has = |pool: &Pool| pool.members.iter().any(|member| member.address == address);
        let pools: Vec<Arc<Pool>> =
            inner.pools.iter().filter(|(_, pool)| has(pool)).map(|(_, pool)| Arc::clone(pool)).collect();
        if is_out && pools.is_empty() {
            return None;
        }
        let before = inner.drained.get(&address).copied();
        if is_out {
            inner.drained.insert(address, before.unwrap_or(now));
        } else {
            inner.drained.remove(&address);
        }
        let changed = before.is_some() != is_out;
        pools.iter().for_each(|pool| inner.replan(pool));
        inner.is_new = true;
        if changed {
            let word = if is_out { "drained" } else { "back in service" };
            tracing::info!(%address, pools = pools.len(), "{address} is {word}");
        }
        Some(())
    }

    /// Writes what is new to disk.
    pub(super) fn keep(&self) {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.is_new) {
            return;
        }
        let known = inner.health.iter().filter(|(_, health)| health.state != State::Unknown);
        let health =
            known.map(|(target, health)| (target.to_string(), (health.state == State::Up, health.since)));
        let kept = Kept { drained: inner.drained.clone(), health: health.collect() };
        drop(inner);
        let written = kept::write(&self.folder, &kept);
        let mut inner = self.lock();
        if let Err(error) = &written {
            inner.is_new = true;
            if !inner.told {
                tracing::error!(folder = %self.folder.display(), %error,
                    "who is up and who is drained cannot be kept for the next start");
            }
        }
        inner.told = written.is_err();
    }

    /// Each pool for people and metrics, by name.
    pub(crate) fn pools(&self) -> Vec<PoolStatus> {
        let now = now();
        let inner = self.lock();
        let mut pools: Vec<PoolStatus> =
            inner.pools.iter().map(|(which, pool)| inner.status(*which, pool, now)).collect();
        pools.sort_by(|a, b| (&a.pool, &a.rtype, &a.view).cmp(&(&b.pool, &b.rtype, &b.view)));
        pools
    }
}

impl Inner {
    fn known(&self, member: &Member) -> Known {
        let health = member.target.as_ref().and_then(|target| self.health.get(target));
        Known {
            state: health.map_or(State::Unknown, |health| health.state),
            since: health.map_or(0, |health| health.since),
            load: health.and_then(|health| health.load),
            drained: member.drain || self.drained.contains_key(&member.address),
            ..member.unknown()
        }
    }

    fn all_known(&self, pool: &Pool) -> Vec<Known> {
        pool.members.iter().map(|member| self.known(member)).collect()
    }

    fn replan(&self, pool: &Pool) {
        pool.replan(&self.all_known(pool));
    }

    fn up(&self, pool: &Pool) -> usize {
        self.all_known(pool).iter().filter(|known| known.state != State::Down).count()
    }

    fn status(&self, which: Which, pool: &Pool, now: u64) -> PoolStatus {
        let all = self.all_known(pool);
        let decision = pool.decide(&all, None);
        let member = |(at, (member, known)): (usize, (&Member, &Known))| {
            let health = member.target.as_ref().and_then(|target| self.health.get(target));
            let since =
                self.drained.get(&member.address).or_else(|| self.drained_by_config.get(&member.address));
            let ttl_ms = u64::from(decision.plan.ttl()) * 1000;
            let safe_at = since.filter(|_| !decision.plan.gives(at)).map(|since| since + ttl_ms);
            MemberStatus {
                address: member.address,
                state: known.state.as_str().to_owned(),
                since: (known.since > 0).then_some(known.since / 1000),
                checked: health.filter(|health| health.checked > 0).map(|health| health.checked / 1000),
                why: health.map(|health| health.why.clone()).unwrap_or_default(),
                held: health.is_some_and(|health| health.is_held(now)),
                flips: health.map_or(0, |health| health.flips),
                load: known.load,
                weight: known.weight,
                priority: known.priority,
                drained: known.drained,
                fate: decision.fates[at].as_str().to_owned(),
                share: decision.plan.share(at),
                safe_in: safe_at.map(|safe_at| safe_at.saturating_sub(now).div_ceil(1000)),
            }
        };
        PoolStatus {
            pool: pool.owner.to_string(),
            rtype: pool.rtype.to_string(),
            view: which.as_str().to_owned(),
            mode: decision.mode.as_str().to_owned(),
            ttl: decision.plan.ttl(),
            members: pool.members.iter().zip(&all).enumerate().map(member).collect(),
        }
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = clock::system_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
