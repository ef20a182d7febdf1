//! The state that holds for each member, by what this server and the others see.

use super::{Board, Held, Inner};
use crate::metrics::NodeStatus;
use crate::steer::bearing::Bearing;
use crate::steer::drain::{Confirmed, node_id};
use crate::steer::health::State;
use crate::steer::quorum::{FRESH_MS, Heard, Message, Observation, Refused, decide};
use crate::steer::rules::Target;

/// A member that is checked.
pub(super) struct Entry {
    pub(super) target: Target,
    /// The pools that have it, by their place.
    pub(super) pools: Vec<usize>,
    /// The state that holds.
    pub(super) state: State,
    /// Since when, in ticks.
    pub(super) since: u64,
    /// Changes of state, the first one not counted.
    pub(super) flips: u64,
    /// The share that its load leaves it.
    pub(super) bearing: Bearing,
    /// The state before.
    from: State,
    /// The state that the other name servers are told, and the version of that.
    told: (State, u64),
}

impl Entry {
    pub(super) fn of(target: Target) -> Self {
        let (state, from, told) = (State::Unknown, State::Unknown, (State::Unknown, 0));
        let bearing = Bearing::default();
        Self { target, pools: Vec::new(), state, since: 0, flips: 0, bearing, from, told }
    }

    /// Whether the other name servers were told a state of it.
    pub(super) fn is_told(&self) -> bool {
        self.told.0 != State::Unknown
    }

    /// Goes on as before a reload, or begins with what this server knew.
    pub(super) fn holds(&mut self, old: Option<&Self>, state: State, since: u64) {
        (self.state, self.since) = old.map_or((state, since), |old| (old.state, old.since));
        if let Some(old) = old {
            (self.flips, self.from, self.told) = (old.flips, old.from, old.told);
            self.bearing = old.bearing;
        }
    }
}

/// Another name server.
pub(super) struct Node {
    pub(super) name: String,
    /// Its number.
    pub(super) id: u64,
    pub(super) heard: Heard,
    /// The orders that it obeys.
    pub(super) confirmed: Confirmed,
    /// Whether its view counts, as far as it was looked at.
    is_fresh: bool,
    /// Why it cannot be told.
    error: Option<String>,
    /// The reasons that were logged since it could be told last.
    logged: Vec<String>,
    /// Attempts that failed since then.
    failed: u64,
}

/// Reasons that are logged until a name server can be told again; the others are counted.
const MOST_REASONS: usize = 4;

impl Node {
    pub(super) fn of(name: String) -> Self {
        let (heard, confirmed) = (Heard::default(), Confirmed::default());
        Self {
            id: node_id(&name),
            name,
            heard,
            confirmed,
            is_fresh: false,
            error: None,
            logged: Vec::new(),
            failed: 0,
        }
    }

    /// Whether it could not be told anything when that was tried last.
    pub(super) fn is_unreached(&self) -> bool {
        self.error.is_some()
    }
}

impl Board {
    /// The next message to another name server; `told` is what it knows already.
    pub(in crate::serve::steer) fn message(&self, told: &mut Option<u64>) -> Message {
        let at = self.ticks();
        let inner = self.lock();
        // A member that a reload took away is unsaid by a message that says all without it.
        let known = told.replace(inner.version).filter(|known| *known >= inner.whole_since);
        let mut message =
            Message { at, whole: known.is_none(), waits: inner.waits(at), ..Message::default() };
        if known == Some(inner.version) {
            return message;
        }
        message.orders = inner.orders.since(known.unwrap_or(0)).copied().collect();
        for (id, entry) in &inner.entries {
            let (state, version) = entry.told;
            match state {
                _ if known.is_some_and(|known| version <= known) => {}
                State::Up => message.up.push(*id),
                State::Down => message.down.push(*id),
                State::Unknown if known.is_some() => message.unknown.push(*id),
                State::Unknown => {}
            }
        }
        message
    }

    /// Takes in what another name server told.
    pub(in crate::serve::steer) fn heard(&self, node: usize, mut message: Message) -> Result<(), Refused> {
        let ticks = self.ticks();
        let mut inner = self.lock();
        let Some(node) = inner.nodes.get_mut(node) else { return Ok(()) };
        let (orders, waits) = (std::mem::take(&mut message.orders), std::mem::take(&mut message.waits));
        let whole = message.whole;
        // A message counts as a whole or not at all.
        if !node.confirmed.has_room(whole, &orders, &waits) {
            return Err(Refused::TooLong);
        }
        let changed = node.heard.take(message, ticks)?;
        node.confirmed.take(whole, &orders, &waits, ticks);
        // Where it was not heard until now, all that it tells is new.
        if node.is_fresh == node.heard.is_fresh(ticks) {
            inner.judge_all(&changed, ticks);
        } else {
            inner.look(ticks);
        }
        inner.obey(&orders, ticks);
        Ok(())
    }

    /// Looks whose view has become too old; each second.
    pub(in crate::serve::steer) fn look(&self) {
        let ticks = self.ticks();
        self.lock().look(ticks);
    }

    /// Notes why another name server cannot be told, or that it is. Each reason is logged once until then.
    pub(in crate::serve::steer) fn reached(&self, node: usize, error: Option<String>) {
        let mut inner = self.lock();
        let Some(node) = inner.nodes.get_mut(node) else { return };
        let name = &node.name;
        let Some(why) = &error else {
            if node.error.take().is_some() {
                let failed = std::mem::take(&mut node.failed);
                tracing::info!(
                    node = name,
                    failed,
                    "the name server {name} can be told again, after {failed} failed attempts"
                );
            }
            node.logged.clear();
            return;
        };
        node.failed += 1;
        if node.logged.len() < MOST_REASONS && !node.logged.contains(why) {
            tracing::warn!(node = name, why, "the name server {name} cannot be told who is up: {why}");
            node.logged.push(why.clone());
        }
        node.error = error;
    }

    /// The other name servers, for people and metrics.
    pub(crate) fn nodes(&self) -> Vec<NodeStatus> {
        let ticks = self.ticks();
        let inner = self.lock();
        let status = |node: &Node| NodeStatus {
            node: node.name.clone(),
            heard: node.heard.age(ticks).map(|age| age / 1000),
            counts: node.heard.is_fresh(ticks),
            error: node.error.clone(),
            failed: node.failed,
        };
        inner.nodes.iter().map(status).collect()
    }
}

impl Inner {
    /// This server's own view of a member. It is as old as its next check is late.
    fn own(&self, entry: &Entry, ticks: u64) -> Observation {
        let pace = entry.target.pace;
        let allowed = (pace.interval * 2 + pace.timeout).as_millis();
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        let health = self.health.get(&entry.target);
        match health.and_then(|health| Some((health.state, health.checked?))) {
            Some((state, ended)) => {
                let age = ticks.saturating_sub(ended).saturating_sub(allowed);
                Observation { state, age }
            }
            None => Observation { state: State::Unknown, age: 0 },
        }
    }

    /// All that is seen of a member: by this server first.
    fn observations(&self, id: u64, entry: &Entry, ticks: u64) -> Vec<Observation> {
        let others = self.nodes.iter().map(|node| node.heard.observation(id, ticks));
        std::iter::once(self.own(entry, ticks)).chain(others).collect()
    }

    /// Decides again on a member; whether its state is another one now.
    pub(super) fn judge(&mut self, id: u64, ticks: u64) -> bool {
        let Some(entry) = self.entries.get(&id) else { return false };
        let seen = self.observations(id, entry, ticks);
        let own = seen.first().filter(|own| own.is_fresh()).map_or(State::Unknown, |own| own.state);
        let state = decide(seen, entry.state).state;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if own != entry.told.0 {
            self.version += 1;
            entry.told = (own, self.version);
        }
        if state == entry.state {
            return false;
        }
        entry.flips += u64::from(entry.state != State::Unknown);
        (entry.from, entry.state, entry.since) = (entry.state, state, ticks);
        true
    }

    fn judge_all(&mut self, ids: &[u64], ticks: u64) {
        for id in ids {
            if self.judge(*id, ticks) {
                self.replan_for(*id, ticks);
                self.tell_flip(*id, ticks);
            }
        }
    }

    pub(super) fn look(&mut self, ticks: u64) {
        let mut is_changed = false;
        for node in &mut self.nodes {
            let is_fresh = node.heard.is_fresh(ticks);
            if is_fresh == node.is_fresh {
                continue;
            }
            (node.is_fresh, is_changed) = (is_fresh, true);
            let name = &node.name;
            match is_fresh {
                true => tracing::info!(node = name, "the name server {name} is heard: its view counts"),
                false => tracing::warn!(
                    node = name,
                    "the name server {name} was not heard for {} s: its view counts no more",
                    FRESH_MS / 1000
                ),
            }
        }
        let told =
            |entry: &Entry| Some(self.own(entry, ticks)).filter(|own| own.is_fresh()).map(|own| own.state);
        let is_due = |entry: &Entry| is_changed || told(entry).unwrap_or_default() != entry.told.0;
        let due = self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(id, _)| *id);
        let due: Vec<u64> = due.collect();
        self.judge_all(&due, ticks);
    }

    /// The view of each name server on a member, by name; none without others.
    pub(super) fn votes(&self, id: u64, ticks: u64) -> Vec<(String, String)> {
        let Some(entry) = self.entries.get(&id).filter(|_| !self.nodes.is_empty()) else { return Vec::new() };
        let names = std::iter::once("here").chain(self.nodes.iter().map(|node| &*node.name));
        let word = |seen: Observation| match seen.age {
            0..=FRESH_MS => seen.state.as_str().to_owned(),
            _ => "not heard".to_owned(),
        };
        let seen = self.observations(id, entry, ticks).into_iter().map(word);
        names.map(str::to_owned).zip(seen).collect()
    }

    /// Logs a change of state, once for all pools of a name.
    pub(super) fn tell_flip(&self, id: u64, ticks: u64) {
        let Some(entry) = self.entries.get(&id) else { return };
        let pools: Vec<&Held> = entry.pools.iter().filter_map(|at| self.pools.get(*at)).collect();
        let Some(held) = pools.first() else { return };
        let Some((_, member)) = held.members().find(|(it, _)| *it == id) else { return };
        let views: Vec<&str> = pools.iter().map(|held| held.which.as_str()).collect();
        let votes: Vec<String> =
            self.votes(id, ticks).into_iter().map(|(node, state)| format!("{node} {state}")).collect();
        let own = self.health.get(&entry.target);
        let why = match (own, votes.len()) {
            (Some(own), 0) => own.why.clone(),
            (Some(own), _) => format!("{}; {}", own.why, votes.join(", ")),
            (None, _) => votes.join(", "),
        };
        let (from, to) = (entry.from.as_str(), entry.state.as_str());
        let (up, all) = (held.up(self), held.ids.len());
        tracing::info!(pool = %held.pool.owner, address = %member.address, views = views.join(", "), from, to, why,
            "{} is {to}: {why}; {up} of {all} members are up", member.address);
    }
}

/// For tests, and for nobody else: the pools that a target is for.
#[cfg(test)]
impl Inner {
    pub(super) fn users_of(&self) -> std::collections::HashMap<String, Vec<Vec<usize>>> {
        let pools = |ids: &Vec<u64>| ids.iter().map(|id| self.entries[id].pools.clone()).collect();
        self.users.iter().map(|(target, ids)| (target.to_string(), pools(ids))).collect()
    }
}
