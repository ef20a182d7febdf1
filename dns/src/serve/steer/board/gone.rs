//! Members that a reload took out of all pools, while answers that name them are kept.

use std::collections::HashSet;
use std::net::IpAddr;

use super::ends::set_of;
use super::{Board, Held, Inner};
use crate::metrics::LeavingStatus;
use crate::world::World;

impl Board {
    /// The members that no pool has any more, and how long answers may name them.
    pub(crate) fn leaving(&self) -> Vec<LeavingStatus> {
        let ticks = self.ticks();
        let inner = self.lock();
        let left = inner.left_behind.iter().map(|address| LeavingStatus {
            address: *address,
            safe_in: inner.ends.left(address, ticks).div_ceil(1000),
        });
        let mut leaving: Vec<LeavingStatus> = left.filter(|left| left.safe_in > 0).collect();
        leaving.sort_unstable_by_key(|left| left.address);
        leaving
    }
}

impl Inner {
    /// Notes the members of before that are in no pool any more. A record that is none of a pool now, and still there, is given
    /// as ever: it leaves nobody.
    pub(super) fn note_gone(&mut self, old: &[Held], world: &World, ticks: u64) {
        let members = self.pools.iter().flat_map(|held| &held.pool.members);
        let there: HashSet<IpAddr> = members.map(|member| member.address).collect();
        for held in old {
            let addresses = held.pool.members.iter().map(|member| member.address);
            let gone: Vec<IpAddr> = addresses.filter(|address| !there.contains(address)).collect();
            if !gone.is_empty() {
                let plain = set_of(world, held);
                let is_plain = |address: &IpAddr| plain.as_ref().is_some_and(|set| set.has_address(*address));
                self.left_behind.extend(gone.into_iter().filter(|address| !is_plain(address)));
            }
        }
        let ends = &self.ends;
        self.left_behind.retain(|address| ends.left(address, ticks) > 0 && !there.contains(address));
    }
}
