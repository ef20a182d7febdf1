//! The ends of answers outlast this run: a drain counts down over a restart as if there was none.
//!
//! The disk keeps how long each still was, and when that was. Where a clock was not set yet, or
//! is set back, too long a time is told rather than too short. One that was behind and is set forward between the two runs takes
//! as much from the countdown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Inner;
use super::ends::given_until;
use super::time::{CLOCK_IS_SET_MS, Time};
use crate::serve::steer::kept::KeptEnds;
use crate::steer::health::State;

/// By what is checked: whether it is up and since when, and when the last check ended.
type KeptHealth = (BTreeMap<String, (bool, u64)>, BTreeMap<String, u64>);

/// The longest TTL (RFC 2181 §8), and more than an answer is on its way.
const LONGEST_MS: u64 = (1 << 31) * 1000 + 10_000;

impl Inner {
    /// The states of what is checked as the disk keeps them.
    pub(super) fn kept_health(&self, now: Time) -> KeptHealth {
        let known = self.health.iter().filter(|(_, health)| health.state != State::Unknown);
        let (mut states, mut checked) = KeptHealth::default();
        for (target, health) in known {
            let target = target.to_string();
            let last = health.last_checked().map(|at| (target.clone(), now.unix_at(at)));
            checked.extend(last);
            states.insert(target, (health.state == State::Up, now.unix_at(health.since)));
        }
        (states, checked)
    }

    /// The ends as the disk keeps them.
    pub(super) fn kept_ends(&self, now: Time) -> KeptEnds {
        let noted = self.pools.iter().flat_map(|held| {
            let drained = held.pool.members.iter().enumerate().filter(|(_, member)| self.is_drained(member));
            drained.filter(|(at, _)| !held.pool.gives(*at)).map(|(at, _)| held.number(at))
        });
        KeptEnds {
            at: now.unix,
            left: self.ends.all_left(now.ticks).collect(),
            noted: noted.collect(),
            left_behind: self.left_behind.iter().copied().collect(),
        }
    }

    /// Takes over the ends that the run before has kept.
    pub(super) fn outlast(&mut self, kept: &KeptEnds, now: Time) {
        let since = if kept.at < CLOCK_IS_SET_MS { 0 } else { now.unix.saturating_sub(kept.at) };
        for (address, left) in &kept.left {
            let left = (*left).min(LONGEST_MS).saturating_sub(since);
            if left > 0 {
                self.ends.note(*address, now.ticks + left);
            }
        }
        self.ends.tidy(now.ticks);
        let (ends, pools) = (&self.ends, &self.pools);
        let is_behind = |address: &&IpAddr| {
            ends.left(address, now.ticks) > 0 && !pools.iter().any(|held| held.has(**address))
        };
        self.left_behind.extend(kept.left_behind.iter().filter(is_behind));
    }

    /// Notes drained members that the process before gave until now, as far as it does not say that it has noted when it did last.
    pub(super) fn note_all_but(&mut self, noted: &BTreeSet<(bool, u64)>, ticks: u64) {
        let mut ends = std::mem::take(&mut self.ends);
        for held in &self.pools {
            let until = given_until(ticks, held.pool.answer_ttl());
            for (at, (_, member)) in held.members().enumerate() {
                if self.is_drained(member) && !held.pool.gives(at) && !noted.contains(&held.number(at)) {
                    ends.note(member.address, until);
                }
            }
        }
        self.ends = ends;
    }
}
