//! Hints of HTTPS and SVCB records (RFC 9460 §7.3) follow the pools of the names that the records lead to.

use std::net::IpAddr;

use super::{Asker, Pool, Pools};
use crate::name;
use crate::rtype::Type;
use crate::zone::privacy::{Stripped, strip_hints};
use crate::zone::tree::RrSet;

impl Pools {
    /// Whether a record of this set (HTTPS or SVCB) leads to a pool, so that its hints have to be looked at.
    pub fn lead_from(&self, owner: &[u8], set: &RrSet<'_>) -> bool {
        lead_to_pools(self, owner, set)
    }

    /// How many bits of the client's address the hints of this set depend on.
    pub fn scope_of_hints(&self, owner: &[u8], set: &RrSet<'_>, asker: Asker) -> u8 {
        if asker.is_subnet { scope(self, owner, set, asker) } else { 0 }
    }

    /// The set with the hints that this client is given.
    pub fn with_hints<'a>(&self, owner: &[u8], set: &RrSet<'a>, asker: Asker) -> RrSet<'a> {
        follow(self, owner, set, asker).unwrap_or_else(|| set.clone())
    }
}

/// Whether any record of this set leads to a pool, so that its hints have to be looked at.
fn lead_to_pools(pools: &Pools, owner: &[u8], set: &RrSet<'_>) -> bool {
    set.rdatas().any(|rdata| of_record(pools, owner, rdata).iter().any(Option::is_some))
}

/// The set with the hints that this client is given; none if all of them stay.
fn follow(pools: &Pools, owner: &[u8], set: &RrSet<'_>, asker: Asker) -> Option<RrSet<'static>> {
    let (mut ttl, mut is_changed, mut records) = (set.ttl, false, Vec::new());
    for rdata in set.rdatas() {
        let there = of_record(pools, owner, rdata);
        let there: Vec<(&Pool, Vec<usize>)> =
            there.into_iter().flatten().map(|pool| (pool, pool.chosen(asker))).collect();
        ttl = there.iter().map(|(pool, _)| pool.answer_ttl()).fold(ttl, u32::min);
        let is_kept = |address: IpAddr| {
            there.iter().all(|(pool, chosen)| {
                let member = pool.members.iter().position(|member| member.address == address);
                member.is_none_or(|member| chosen.contains(&member))
            })
        };
        match strip_hints(rdata, is_kept) {
            Stripped::Whole | Stripped::Malformed => records.push(rdata.to_vec()),
            Stripped::Rewritten(rdata) => {
                is_changed = true;
                records.push(rdata.into());
            }
            Stripped::Dropped => is_changed = true,
        }
    }
    // Without a record the client would be told that there is no such service.
    let is_changed = is_changed && !records.is_empty();
    let whole = || RrSet::new(set.rtype, ttl, set.rdatas());
    match is_changed {
        true => Some(RrSet::new(set.rtype, ttl, records.iter().map(Vec::as_slice))),
        false => (ttl != set.ttl).then(whole),
    }
}

/// See [`Pool::scope`].
fn scope(pools: &Pools, owner: &[u8], set: &RrSet<'_>, asker: Asker) -> u8 {
    let all = set.rdatas().flat_map(|rdata| of_record(pools, owner, rdata)).flatten();
    all.map(|pool| pool.scope(asker)).max().unwrap_or(0)
}

/// The pools of the name that a record leads to.
fn of_record<'p>(pools: &'p Pools, owner: &[u8], rdata: &[u8]) -> [Option<&'p Pool>; 2] {
    let target = rdata.get(2..).and_then(|rest| rest.get(..name::wire_len(rest)?));
    let target = match target {
        // In service mode "." is the owner itself (RFC 9460 §2.5.2).
        Some([0]) => owner.to_vec(),
        Some(target) => target.to_ascii_lowercase(),
        None => return [None, None],
    };
    [Type::A, Type::AAAA].map(|rtype| pools.named(&target, rtype))
}
