//! Delegations that cannot be followed to an end, because the names of their servers depend on each other (TsuNAME,
//! Moura et al., IMC 2021): resolvers ask round and round, and the zones are unreachable.

use std::collections::{HashMap, HashSet};

use super::Across;
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::{Problem, Record, Severity, Zone};

/// The name servers of one zone, as the zone or its parent names them.
struct Delegation<'z> {
    zone: usize,
    first: &'z Record,
    /// Delegated names that have to be followed to reach a server; empty when some server needs none.
    needs: Vec<&'z [u8]>,
    is_free: bool,
}

pub(super) fn find(zones: &[&Zone]) -> Vec<Across> {
    let mut delegations = collect(zones);
    let reachable = reachable(&delegations);
    delegations.retain(|owner, _| !reachable.contains(owner));
    let mut found: Vec<Across> = delegations.values().flatten().map(problem).collect();
    found.sort_by_key(|across| (across.zone, across.problem.at));
    found
}

/// A delegation that needs no other one is reachable, then each that needs reachable ones only, and so on.
fn reachable<'z>(delegations: &HashMap<&'z [u8], Vec<Delegation<'z>>>) -> HashSet<&'z [u8]> {
    let mut waiting: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
    let mut next: Vec<&[u8]> = Vec::new();
    for (owner, delegations) in delegations {
        if delegations.iter().any(|delegation| delegation.is_free) {
            next.push(owner);
            continue;
        }
        for need in delegations.iter().flat_map(|delegation| &delegation.needs) {
            waiting.entry(need).or_default().push(owner);
        }
    }
    let mut reachable: HashSet<&[u8]> = HashSet::with_capacity(delegations.len());
    while let Some(owner) = next.pop() {
        if reachable.insert(owner) {
            next.extend(waiting.remove(owner).unwrap_or_default());
        }
    }
    reachable
}

fn problem(delegation: &Delegation<'_>) -> Across {
    let owner = &delegation.first.owner;
    let needs = delegation.needs.first().and_then(|wire| Name::from_wire(wire).ok());
    let through = needs.map(|name| format!(" ({name} comes first)")).unwrap_or_default();
    Across {
        zone: delegation.zone,
        problem: Problem {
            severity: Severity::Warning,
            code: "ns-cycle",
            at: Some(delegation.first.at),
            message: format!(
                "no name server of {owner} can be found: their names depend on each other{through}"
            ),
            help: Some(format!(
                "give {owner} a name server below itself with glue, or one that is found elsewhere"
            )),
        },
    }
}

/// All delegations by the name that is delegated: NS at an apex and NS at a cut.
fn collect<'z>(zones: &[&'z Zone]) -> HashMap<&'z [u8], Vec<Delegation<'z>>> {
    let owners: HashSet<&[u8]> =
        zones.iter().flat_map(|zone| delegating(zone)).map(|record| record.owner.as_wire()).collect();
    let mut all: HashMap<&[u8], Vec<Delegation<'_>>> = HashMap::new();
    for (index, zone) in zones.iter().enumerate() {
        let mut here: HashMap<&[u8], Delegation<'_>> = HashMap::new();
        let glue = glue(zone);
        for record in delegating(zone) {
            let delegation = here.entry(record.owner.as_wire()).or_insert_with(|| Delegation {
                zone: index,
                first: record,
                needs: Vec::new(),
                is_free: false,
            });
            match needed(record, zone, &glue, &owners) {
                Some(need) => delegation.needs.push(need),
                None => delegation.is_free = true,
            }
        }
        for (owner, delegation) in here {
            all.entry(owner).or_default().push(delegation);
        }
    }
    all
}

fn delegating(zone: &Zone) -> impl Iterator<Item = &Record> {
    let others = zone.order().others().iter().map(|index| zone.record(*index));
    others.filter(|record| record.rtype == Type::NS)
}

/// Names at or below a cut that have an address in the zone of the parent.
fn glue(zone: &Zone) -> HashSet<&[u8]> {
    let cuts: HashSet<&[u8]> = delegating(zone)
        .filter(|record| record.owner != zone.apex)
        .map(|record| record.owner.as_wire())
        .collect();
    if cuts.is_empty() {
        return HashSet::new();
    }
    let addresses = zone.records.iter().filter(|record| matches!(record.rtype, Type::A | Type::AAAA));
    addresses
        .map(|record| record.owner.as_wire())
        .filter(|wire| ancestors(wire).any(|wire| cuts.contains(wire)))
        .collect()
}

/// The name itself, its parent, and so on to the root.
fn ancestors(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |wire| name::parent(wire))
}

/// The delegation that must be followed to find the address of this name server; none when it is at hand.
fn needed<'z>(
    record: &'z Record,
    zone: &Zone,
    glue: &HashSet<&[u8]>,
    owners: &HashSet<&'z [u8]>,
) -> Option<&'z [u8]> {
    let target = Name::from_wire(&record.rdata).ok()?;
    // The parent of a zone holds glue for servers below the zone's own apex.
    let is_below_itself = record.owner == zone.apex && target.is_at_or_under(&zone.apex);
    if is_below_itself || glue.contains(target.as_wire()) {
        return None;
    }
    ancestors(target.as_wire()).find_map(|wire| owners.get(wire).copied())
}
