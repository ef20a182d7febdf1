//! Until when answers that were given may be kept: a member may be stopped when all of them are past that name it.
//!
//! An answer is kept for the TTL that it was given with. A reload may shorten that, or take a pool away that had a longer one, while
//! answers of before are still kept: so the latest end counts, whichever pool, view or plain RRset gave them.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Held, Inner};
use crate::name::Name;
use crate::rtype::Type;
use crate::view::Which;
use crate::world::World;
use crate::zone::set::Served;
use crate::zone::tree::RrSet;

/// An answer may be on its way for as long as this after the plan that it was chosen from is gone.
const LAST_ANSWER_MS: u64 = 1000;
/// Addresses whose ends are kept; of more, those that end last.
const MOST: usize = 1 << 17;

/// By address, the end in ticks of all answers that name it and that no pool would give now.
#[derive(Default)]
pub(super) struct Ends(HashMap<IpAddr, u64>);

impl Ends {
    /// Notes that answers which name this address may be kept until then.
    pub(super) fn note(&mut self, address: IpAddr, until: u64) {
        let end = self.0.entry(address).or_default();
        *end = until.max(*end);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Milliseconds until no answer that was noted is kept any more.
    pub(super) fn left(&self, address: &IpAddr, ticks: u64) -> u64 {
        self.0.get(address).map_or(0, |until| until.saturating_sub(ticks))
    }

    /// Those that are still to come: milliseconds until then.
    pub(super) fn all_left(&self, ticks: u64) -> impl Iterator<Item = (IpAddr, u64)> {
        self.0.keys().map(move |address| (*address, self.left(address, ticks))).filter(|(_, left)| *left > 0)
    }

    /// Forgets the ends that are past; and of too many those that come first.
    pub(super) fn tidy(&mut self, ticks: u64) {
        self.0.retain(|_, until| *until > ticks);
        let mut surplus = self.0.len().saturating_sub(MOST);
        if surplus == 0 {
            return;
        }
        let mut all: Vec<u64> = self.0.values().copied().collect();
        let (_, bound, _) = all.select_nth_unstable(surplus - 1);
        let bound = *bound;
        self.0.retain(|_, until| {
            let goes = *until <= bound && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// The end of all answers of this moment.
pub(super) fn given_until(ticks: u64, ttl: u32) -> u64 {
    ticks + u64::from(ttl) * 1000 + LAST_ANSWER_MS
}

/// The records of before, or of now, at the name of a pool, steered or not.
pub(super) fn set_of<'w>(world: &'w World, held: &Held) -> Option<RrSet<'w>> {
    let (owner, rtype) = (held.pool.owner.as_wire().to_ascii_lowercase(), held.pool.rtype);
    let Some((_, Served::Zone(tree))) = world.view(held.which).zones.find(&owner, rtype) else { return None };
    tree.node(&owner)?.set(rtype)
}

type Key<'h> = (Which, &'h Name, Type);

impl Held {
    fn key(&self) -> Key<'_> {
        (self.which, &self.pool.owner, self.pool.rtype)
    }

    /// Whether answers of now name this address, which may stand at this place.
    fn names(&self, at: usize, address: IpAddr) -> bool {
        let members = &self.pool.members;
        let is_it = |at: &usize| members.get(*at).is_some_and(|member| member.address == address);
        let found = Some(at).filter(is_it).or_else(|| (0..members.len()).find(is_it));
        found.is_some_and(|at| self.pool.gives(at))
    }
}

impl Inner {
    /// Notes until when answers of the pools and of the world of before may be kept, as far as the pools of now give their
    /// addresses no more, or for a shorter time.
    pub(super) fn note_given(&mut self, old: &[Held], before: &World, ticks: u64) {
        let (mut ends, noted) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.noted_before));
        let now: HashMap<Key<'_>, &Held> = self.pools.iter().map(|held| (held.key(), held)).collect();
        for held in old {
            let ttl = held.pool.answer_ttl();
            let now = now.get(&held.key()).filter(|now| now.pool.answer_ttl() >= ttl);
            for (at, (_, member)) in held.members().enumerate() {
                let is_noted_later = now.is_some_and(|now| now.names(at, member.address));
                if !is_noted_later && held.pool.gives(at) {
                    ends.note(member.address, given_until(ticks, ttl));
                }
            }
        }
        let old: HashMap<Key<'_>, &Held> = old.iter().map(|held| (held.key(), held)).collect();
        for held in &self.pools {
            let (ttl, of_before) = (held.pool.answer_ttl(), old.get(&held.key()));
            let plain = if of_before.is_some() { None } else { set_of(before, held) };
            for (at, (_, member)) in held.members().enumerate() {
                let gives = held.pool.gives(at);
                // It was no pool before, and gave all of its records for as long as they said.
                let plain = plain.as_ref().filter(|set| set.has_address(member.address)).map(|set| set.ttl);
                if let Some(plain) = plain.filter(|plain| !gives || *plain > ttl) {
                    ends.note(member.address, given_until(ticks, plain));
                }
                // The run before this one may have given it until a moment ago, unless it has noted when it did last.
                let is_new = || of_before.is_none_or(|old| !old.has(member.address));
                if !gives && self.is_drained(member) && is_new() && !noted.contains(&held.number(at)) {
                    ends.note(member.address, given_until(ticks, ttl));
                }
            }
        }
        ends.tidy(ticks);
        self.ends = ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_end_counts_and_of_too_many_those_that_end_last_are_kept() {
        let mut ends = Ends::default();
        let address = |at: usize| IpAddr::from(u32::try_from(at).unwrap().to_be_bytes());
        ends.note(address(1), 5000);
        ends.note(address(1), 3000);
        assert_eq!((ends.left(&address(1), 1000), ends.left(&address(2), 1000)), (4000, 0));
        ends.tidy(5000);
        assert!(ends.0.is_empty());
        (0..MOST + 10).for_each(|at| ends.note(address(at), if at < 20 { 6000 } else { 7000 }));
        ends.tidy(5000);
        assert_eq!((ends.0.len(), ends.left(&address(20), 5000)), (MOST, 2000));
        assert_eq!((0..20).filter(|at| ends.left(&address(*at), 5000) > 0).count(), 10);
    }
}
