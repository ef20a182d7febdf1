//! Hints of HTTPS and SVCB records (RFC 9460 §7.3) follow the pools of the names that the records lead to.
//!
//! A name leads to a pool through as many aliases as an answer follows, and into a wildcard. Where it leads is found once for each
//! world, since a look-up of each name on the way would be many times the cost of an answer.

use std::net::IpAddr;

use super::pool::is_signed;
use super::{Asker, Pool, Pools};
use crate::name::{self, MAX_NAME_BYTES, Name};
use crate::rtype::Type;
use crate::zone::privacy::{Stripped, strip_hints};
use crate::zone::set::{Served, Zones};
use crate::zone::tree::{Found, Node, RrSet};
use crate::zone::{MOST_FOLLOWED, Zone, address};

impl Pools {
    /// Finds the pools to which these names lead in the zones of the view, for the names that are not pools themselves.
    pub fn follow<'n>(&mut self, zones: &Zones, names: impl IntoIterator<Item = &'n Name>) {
        for name in names {
            if self.is_empty() || self.of_owner(name.as_wire()).is_some() || self.led.contains_key(name) {
                continue;
            }
            let there = end(zones, name).and_then(|node| self.of_owner(node.name())).cloned();
            self.led.extend(there.map(|there| (name.clone(), there)));
        }
    }

    /// Whether a pool decides that this address is among the hints of a record that this node owns: it has it, and the hints are not
    /// signed.
    pub fn decides(&self, node: Node<'_>, rtype: Type, rdata: &[u8], address: IpAddr) -> bool {
        !is_signed(node, rtype) && self.leads(node.name(), rdata, address)
    }

    /// Whether a record of this owner leads to a pool that has this address.
    pub(crate) fn leads(&self, owner: &[u8], rdata: &[u8], address: IpAddr) -> bool {
        of_record(self, owner, rdata).into_iter().flatten().any(|pool| pool.has(address))
    }

    /// The pools to which the records of this set (HTTPS or SVCB) lead.
    pub fn led_from<'p>(&'p self, owner: &'p [u8], set: &'p RrSet<'_>) -> impl Iterator<Item = &'p Pool> {
        set.rdatas().flat_map(|rdata| of_record(self, owner, rdata)).flatten()
    }

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
    let Some(target) = target(owner, rdata) else { return [None, None] };
    let there = pools.of_owner(&target).or_else(|| pools.led.get(target.as_slice()));
    [Type::A, Type::AAAA].map(|rtype| there?.of(rtype))
}

/// The name that a record leads to, in lower-case wire form.
pub(crate) fn target(owner: &[u8], rdata: &[u8]) -> Option<Vec<u8>> {
    match rdata.get(2..).and_then(|rest| rest.get(..name::wire_len(rest)?))? {
        // In service mode "." is the owner itself (RFC 9460 §2.5.2).
        [0] => Some(owner.to_vec()),
        target => Some(target.to_ascii_lowercase()),
    }
}

/// The names to which the records with hints in a zone lead, but for their own owners: those own no alias.
pub fn targets(zone: &Zone) -> Vec<Name> {
    let mut names: Vec<Name> = hinted(zone)
        .filter_map(|at| {
            let record = zone.record(at);
            Name::from_wire(&target(record.owner.as_wire(), &record.rdata)?)
                .ok()
                .filter(|it| *it != record.owner)
        })
        .collect();
    names.sort_by(Name::canonical_cmp);
    names.dedup();
    names
}

/// The HTTPS and SVCB records of a zone that have hints.
pub(crate) fn hinted(zone: &Zone) -> impl Iterator<Item = u32> {
    zone.order().others().iter().copied().filter(|at| {
        let record = zone.record(*at);
        matches!(record.rtype, Type::HTTPS | Type::SVCB)
            && !address::addresses(record.rtype, &record.rdata).is_empty()
    })
}

/// The node whose records a name leads to, as answers follow it; none if it leads out of the zones, into a delegation, or to nothing.
pub(crate) fn end<'v>(zones: &'v Zones, name: &Name) -> Option<Node<'v>> {
    let mut name = name.as_wire().to_vec();
    for _ in 0..=MOST_FOLLOWED {
        let Some((_, Served::Zone(tree))) = zones.find(&name, Type::A) else { return None };
        name = match tree.find(&name) {
            Found::Records(node) | Found::Missing { wildcard: Some(node), .. } => {
                match node.set(Type::CNAME) {
                    Some(set) => set.first()?.to_ascii_lowercase(),
                    None => return Some(node),
                }
            }
            Found::Dname(source) => {
                let set = source.set(Type::DNAME)?;
                let kept = &name[..name.len() - source.name().len()];
                let made = [kept, &set.first()?.to_ascii_lowercase()].concat();
                Some(made).filter(|made| made.len() <= MAX_NAME_BYTES)?
            }
            _ => return None,
        };
    }
    None
}
