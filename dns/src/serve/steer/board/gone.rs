//! Members that a reload took out of all pools, while answers that name them are kept.

use std::collections::HashSet;
use std::net::IpAddr;

use super::{Board, Held, Inner, given_until};
use crate::metrics::LeavingStatus;
use crate::view::Which;
use crate::world::World;
use crate::zone::set::Served;

impl Board {
    /// The members that no pool has any more, and how long answers may name them.
    pub(crate) fn leaving(&self) -> Vec<LeavingStatus> {
        let ticks = self.ticks();
        let inner = self.lock();
        let left = inner.left_behind.iter().map(|(address, until)| LeavingStatus {
            address: *address,
            safe_in: until.saturating_sub(ticks).div_ceil(1000),
        });
        let mut leaving: Vec<LeavingStatus> = left.filter(|left| left.safe_in > 0).collect();
        leaving.sort_unstable_by_key(|left| left.address);
        leaving
    }
}

impl Inner {
    /// Notes until when answers may be kept that name members of before which are in no pool of their view any more. A
    /// record that is none of a pool now, and still there, is given as ever: it leaves nobody.
    pub(super) fn note_gone(&mut self, old: &[Held], world: &World, ticks: u64) {
        let there: HashSet<(Which, IpAddr)> = self.pools.iter().flat_map(addresses).collect();
        for held in old {
            let until_now = given_until(ticks, held.pool.answer_ttl());
            for (at, (id, member)) in held.members().enumerate() {
                let address = member.address;
                if there.contains(&(held.which, address)) || is_plain(world, held, address) {
                    continue;
                }
                let until = match held.pool.gives(at) {
                    true => until_now,
                    false => self.given_until.get(&(held.which, id)).copied().unwrap_or_default(),
                };
                let noted = self.left_behind.entry(address).or_default();
                *noted = until.max(*noted);
            }
        }
        let is_back = |address: &IpAddr| there.iter().any(|(_, other)| other == address);
        self.left_behind.retain(|address, until| *until > ticks && !is_back(address));
    }
}

fn addresses(held: &Held) -> impl Iterator<Item = (Which, IpAddr)> {
    held.pool.members.iter().map(|member| (held.which, member.address))
}

/// Whether the name of a pool of before has this address without being steered.
fn is_plain(world: &World, held: &Held, address: IpAddr) -> bool {
    let (owner, rtype) = (held.pool.owner.as_wire().to_ascii_lowercase(), held.pool.rtype);
    let found = world.view(held.which).zones.find(&owner, rtype);
    let Some((_, Served::Zone(tree))) = found else { return false };
    let set = tree.node(&owner).and_then(|node| node.set(rtype));
    let is_same = |rdata: &[u8]| match address {
        IpAddr::V4(address) => rdata == address.octets(),
        IpAddr::V6(address) => rdata == address.octets(),
    };
    set.is_some_and(|set| set.rdatas().any(is_same))
}
