//! All that is known of who is up, and the pools that it matters to.

mod agree;
mod drains;
mod ends;
mod gone;
mod outlast;
mod show;
mod time;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use self::agree::{Entry, Node};
use self::ends::{Ends, given_until};
use self::time::Time;
use super::kept::{self, Kept};
use crate::steer::Pool;
use crate::steer::bearing::Bearing;
use crate::steer::decide::Known;
use crate::steer::drain::{Order, Orders, address_id, node_id};
use crate::steer::health::{Health, Load, Seen, State};
use crate::steer::pool::Member;
use crate::steer::quorum::member_id;
use crate::steer::rules::Target;
use crate::view::Which;
use crate::world::World;

/// Targets of which something is known although no pool has them now.
const MOST_BEFORE: usize = 100_000;

/// Shared by the loader, the checks, the other name servers and the admin listener.
pub(crate) struct Board {
    folder: PathBuf,
    targets: UnboundedSender<Vec<Target>>,
    /// When the server began.
    begun: Instant,
    state: Mutex<Inner>,
    /// Held while the state is written to disk.
    disk: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    pools: Vec<Held>,
    /// The members that a target matters to.
    users: HashMap<Target, Vec<u64>>,
    health: HashMap<Target, Health>,
    /// Of targets that no pool has, and of those of the last run, by their names.
    before: HashMap<String, Health>,
    /// When the file was read, until the first pools are here, if another process looked after them meanwhile.
    judged_at: Option<u64>,
    /// Members that are checked.
    entries: HashMap<u64, Entry>,
    /// The other name servers.
    nodes: Vec<Node>,
    /// Rises with each change of what this server itself sees.
    version: u64,
    /// The version since which a member is gone that the other name servers were told of: who knows an older one is told all.
    whole_since: u64,
    /// The number of this server itself.
    own: u64,
    /// The orders of commands, here and on the other name servers.
    orders: Orders,
    /// The members that they take out of service: number of the address, pool, place in the pool.
    drained: Vec<(u64, usize, usize)>,
    /// Until when answers may be kept that are given no more.
    ends: Ends,
    /// Drained members whose answers the run before has all noted, until the first pools are here.
    noted_before: BTreeSet<(bool, u64)>,
    /// Another process takes over: an order would be lost.
    is_held: bool,
    /// Members that no pool has any more, while answers that name them are kept.
    left_behind: HashSet<IpAddr>,
    /// Something changed that is not on disk yet.
    is_new: bool,
    /// The disk was at fault, and it was told.
    told: bool,
}

/// A pool in service.
struct Held {
    which: Which,
    pool: Arc<Pool>,
    /// The number of each member.
    ids: Box<[u64]>,
}

impl Board {
    /// With what was kept in `folder`, and the names of this and the other name servers of the quorum, if there is one.
    pub(in crate::serve) fn new(
        folder: PathBuf,
        targets: UnboundedSender<Vec<Target>>,
        own: &str,
        nodes: &[String],
    ) -> Self {
        let Kept { drained, orders, health, checked, mut ends } = kept::read(&folder);
        let begun = Time::begin();
        let time = Time::of(begun);
        let restored = |(target, (is_up, since)): (String, (bool, u64))| {
            let state = if is_up { State::Up } else { State::Down };
            let checked = checked.get(&target).and_then(|at| time.past_tick(*at));
            (target, Health::restored(state, time.ticks_at(since), checked))
        };
        let before = health.into_iter().map(restored).collect();
        let nodes = nodes.iter().map(|name| Node::of(name.clone())).collect();
        let mut state = Inner { own: node_id(own), before, nodes, version: 1, ..Inner::default() };
        let of_before = drained.into_iter().map(|(address, at)| Order {
            address: address_id(address),
            is_out: true,
            at,
            origin: state.own,
            sequence: at.max(1),
        });
        for order in orders.unwrap_or_else(|| of_before.collect()) {
            state.orders.take(order, 1);
        }
        state.outlast(&ends, time);
        state.noted_before = std::mem::take(&mut ends.noted);
        Self { folder, targets, begun, state: Mutex::new(state), disk: Mutex::default() }
    }

    /// Another process looks after the members until this one answers: what was read does not age by the time that the first load takes.
    pub(in crate::serve) fn judge_as_read(&self) {
        let ticks = self.ticks();
        self.lock().judged_at = Some(ticks);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of a clock that is never set: the one by which all is decided.
    fn ticks(&self) -> u64 {
        self.time().ticks
    }

    fn time(&self) -> Time {
        Time::of(self.begun)
    }

    /// Takes over the pools of a world that is about to be in service in the place of the one of before.
    pub(in crate::serve) fn adopt(&self, before: &World, world: &World) {
        let ticks = self.ticks();
        let mut inner = self.lock();
        let of = |which| world.view(which).pools.iter().map(move |pool| Held::of(which, pool));
        let pools = of(Which::Public).chain(of(Which::Internal)).collect();
        let old = std::mem::replace(&mut inner.pools, pools);
        inner.find_members(ticks);
        for at in 0..inner.pools.len() {
            inner.pools[at].replan(&inner);
        }
        inner.note_given(&old, before, ticks);
        inner.note_gone(&old, world, ticks);
        inner.find_drained();
        // The ends that were noted are to outlast this run.
        inner.is_new |= !inner.ends.is_empty();
        // The checker is gone only when the server ends.
        let _ = self.targets.send(inner.users.keys().cloned().collect());
    }

    /// All that is to be checked.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.lock().users.keys().cloned().collect()
    }

    /// Whether a check of this target has ended in this run.
    pub(super) fn has_checked(&self, target: &Target) -> bool {
        self.lock().health.get(target).is_some_and(|health| health.checked.is_some())
    }

    /// Takes in what a check found.
    pub(super) fn saw(&self, target: &Target, seen: Seen) {
        let ticks = self.ticks();
        let mut inner = self.lock();
        let Some(health) = inner.health.get_mut(target) else { return };
        let (rtt, is_first) = (health.rtt.micros(), health.checked.is_none());
        let tells_load = seen.good && seen.load != Load::Unclear;
        let flip = health.see(seen, &target.pace, ticks);
        let (load, is_elsewhere) = (health.load, is_first || health.rtt.micros() != rtt);
        inner.is_new |= flip.is_some();
        for id in inner.users.get(target).cloned().unwrap_or_default() {
            let is_flipped = inner.judge(id, ticks);
            let before = inner.load(id);
            // A member that is down has none, and begins anew when it comes back.
            if tells_load || load.is_none() {
                inner.bears(id, load, ticks);
            }
            if is_flipped || inner.load(id) != before || is_elsewhere && inner.is_by_rtt(id) {
                inner.replan_for(id, ticks);
            }
            if is_flipped {
                inner.tell_flip(id, ticks);
            }
        }
    }

    /// Takes no order, and writes all that is known, or goes on.
    pub(in crate::serve) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
        if is_held {
            self.keep_all();
        }
    }

    /// Writes all that is known to disk, with the times of the last checks: the next process begins with it.
    pub(in crate::serve) fn keep_all(&self) {
        let mut inner = self.lock();
        inner.is_new |= inner.health.values().any(|health| health.checked.is_some());
        drop(inner);
        self.keep();
    }

    /// Obeys what the process before was told since this one has read what it knew, and takes over the ends of its answers.
    pub(in crate::serve) fn catch_up(&self) {
        let Kept { orders, ends, .. } = kept::read(&self.folder);
        let now = self.time();
        let mut inner = self.lock();
        inner.obey(&orders.unwrap_or_default(), now.ticks);
        inner.outlast(&ends, now);
        inner.note_all_but(&ends.noted, now.ticks);
    }

    /// Writes what is new to disk.
    pub(super) fn keep(&self) {
        let _writing = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.time();
        let mut inner = self.lock();
        inner.forget_ended(now.ticks);
        if !std::mem::take(&mut inner.is_new) {
            return;
        }
        let (health, checked) = inner.kept_health(now);
        let mut orders: Vec<Order> = inner.orders.iter().copied().collect();
        orders.sort_unstable_by_key(|order| order.address);
        let member = |(_, at, member): &(u64, usize, usize)| inner.pools[*at].pool.members[*member].address;
        let out = |address| Some((address, inner.orders.out(address)?.at));
        let drained = inner.drained.iter().map(member).filter_map(out).collect();
        let kept = Kept { drained, orders: Some(orders), health, checked, ends: inner.kept_ends(now) };
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
}

impl Held {
    fn of(which: Which, pool: &Arc<Pool>) -> Self {
        let ids = pool.members.iter().map(|member| member_id(&pool.owner, member.address)).collect();
        Self { which, pool: Arc::clone(pool), ids }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.pool.members.iter().any(|member| member.address == address)
    }

    /// The number of a member at this place, on this side.
    fn number(&self, at: usize) -> (bool, u64) {
        (self.which == Which::Internal, self.ids[at])
    }

    fn members(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.ids.iter().copied().zip(&self.pool.members)
    }

    fn all_known(&self, inner: &Inner) -> Vec<Known> {
        let by_rtt = self.pool.rules.by_rtt;
        self.members().map(|(id, member)| inner.known(id, member, by_rtt)).collect()
    }

    fn replan(&self, inner: &Inner) {
        self.pool.replan(&self.all_known(inner));
    }

    /// Members that are given now.
    fn given(&self) -> Vec<bool> {
        (0..self.ids.len()).map(|at| self.pool.gives(at)).collect()
    }

    fn up(&self, inner: &Inner) -> usize {
        self.all_known(inner).iter().filter(|known| known.state != State::Down).count()
    }
}

impl Inner {
    /// Finds the members of the pools again: who is checked for each, and what is known of it already.
    fn find_members(&mut self, ticks: u64) {
        let mut users: HashMap<Target, Vec<u64>> = HashMap::new();
        let mut entries: HashMap<u64, Entry> = HashMap::new();
        for (at, held) in self.pools.iter().enumerate() {
            for (id, member) in held.members() {
                let Some(target) = &member.target else { continue };
                let entry = entries.entry(id).or_insert_with(|| {
                    users.entry(target.clone()).or_default().push(id);
                    Entry::of(target.clone())
                });
                entry.pools.push(at);
            }
        }
        self.find_health(&users, ticks);
        let old = std::mem::take(&mut self.entries);
        self.users = users;
        for (id, entry) in &mut entries {
            let health = &self.health[&entry.target];
            entry.holds(old.get(id), health.state, health.since);
        }
        self.entries = entries;
        if old.iter().any(|(id, entry)| entry.is_told() && !self.entries.contains_key(id)) {
            self.version += 1;
            self.whole_since = self.version;
        }
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.judge(id, ticks);
        }
    }

    /// Keeps what is known of targets, also of those that have another pace now, or whose pool is away for a while.
    fn find_health(&mut self, users: &HashMap<Target, Vec<u64>>, ticks: u64) {
        let (same, gone): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.health).into_iter().partition(|(target, _)| users.contains_key(target));
        self.health = same;
        // Of the first pools alone: what the next ones lack was not looked after since.
        let judged_at = self.judged_at.take().unwrap_or(ticks);
        for (target, health) in gone {
            if self.before.len() < MOST_BEFORE && health.state != State::Unknown {
                self.before.insert(target.to_string(), health);
            }
        }
        for target in
            users.keys().filter(|target| !self.health.contains_key(*target)).cloned().collect::<Vec<_>>()
        {
            let mut known = self.before.get(&target.to_string()).cloned().unwrap_or_default();
            known.resume(&target.pace, judged_at);
            self.health.insert(target, known);
        }
        users.keys().for_each(|target| {
            self.before.remove(&target.to_string());
        });
    }

    fn is_drained(&self, member: &Member) -> bool {
        member.drain || self.orders.out(member.address).is_some()
    }

    fn known(&self, id: u64, member: &Member, by_rtt: bool) -> Known {
        let entry = self.entries.get(&id);
        let health = entry.filter(|_| by_rtt).and_then(|entry| self.health.get(&entry.target));
        Known {
            state: entry.map_or(State::Unknown, |entry| entry.state),
            since: entry.map_or(0, |entry| entry.since),
            load: self.load(id),
            drained: self.is_drained(member),
            rtt: health.and_then(|health| health.rtt.micros()),
            awaited: member.is_measured() && health.is_some_and(|health| health.checked.is_none()),
            ..member.unknown()
        }
    }

    /// Takes in the load that a member told, or that it told none.
    fn bears(&mut self, id: u64, load: Option<u16>, ticks: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pool = entry.pools.first().and_then(|at| self.pools.get(*at)).map(|held| &held.pool);
        match load.zip(pool) {
            Some((load, pool)) => entry.bearing.tell(load, pool.rules.shed, pool.answer_ttl(), ticks),
            None => entry.bearing = Bearing::default(),
        }
    }

    /// The load of a member as steering follows it.
    fn load(&self, id: u64) -> Option<u16> {
        let entry = self.entries.get(&id)?;
        let held = entry.pools.first().and_then(|at| self.pools.get(*at))?;
        entry.bearing.load(held.pool.rules.shed)
    }

    /// Whether round-trip times decide on a member.
    fn is_by_rtt(&self, id: u64) -> bool {
        let pools = self.entries.get(&id).map_or(&[][..], |entry| &entry.pools);
        pools.iter().filter_map(|at| self.pools.get(*at)).any(|held| held.pool.rules.by_rtt)
    }

    /// Decides again for all pools of a member.
    fn replan_for(&mut self, id: u64, ticks: u64) {
        for at in self.entries.get(&id).map(|entry| entry.pools.clone()).unwrap_or_default() {
            self.replan(at, ticks);
        }
    }

    /// Decides again for a pool, and notes how long members that are given no more may be known.
    fn replan(&mut self, at: usize, ticks: u64) {
        let held = &self.pools[at];
        let (before, until) = (held.given(), given_until(ticks, held.pool.answer_ttl()));
        held.replan(self);
        let changed = before.into_iter().zip(held.given()).zip(&held.pool.members);
        let changed: Vec<_> = changed.filter(|((before, after), _)| before != after).collect();
        let is_new = changed.iter().any(|(_, member)| self.is_drained(member));
        let gone = changed.into_iter().filter(|((before, _), _)| *before).map(|(_, member)| member.address);
        for address in gone.collect::<Vec<_>>() {
            self.ends.note(address, until);
        }
        self.is_new |= is_new;
    }

    /// Forgets answers that nobody keeps any more.
    fn forget_ended(&mut self, ticks: u64) {
        let Self { ends, left_behind, .. } = self;
        ends.tidy(ticks);
        left_behind.retain(|address| ends.left(address, ticks) > 0);
    }
}

#[cfg(test)]
mod tests;
