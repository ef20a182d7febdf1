//! The internal view of one zone: everything, except that for A, AAAA and CNAME internal records stand in for public
//! ones. A name that has both is *split*; inside all its public addresses and hints give way, lest a public AAAA
//! that is left over sends dual-stack clients outside.

use super::closure::{Closure, State};
use super::direct::Facts;
use super::hints::{self, Stripped};
use super::nodes::{Answering, NodeId, Nodes};
use super::{Rules, Selection};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::{Record, Zone, address};

pub(super) fn select(index: usize, facts: &Facts, closure: &Closure<'_>, rules: &Rules) -> Selection {
    let zone = closure.zones[index];
    let state = closure.state(index);
    if state.internal.is_some() {
        return Selection::default();
    }
    let mut gone =
        state.nodes.as_ref().map_or(Vec::new(), |nodes| public_beside_internal(zone, state, nodes));
    let mut rewritten = Vec::new();
    for at in &facts.hinted {
        let record = &zone.records[*at as usize];
        if is_hidden(state, *at) || !concerns_split_name(record, closure) {
            continue;
        }
        let is_internal =
            |address| record.mark.is_none() && address::hidden(address, &rules.private).is_some();
        match hints::strip(&record.rdata, is_internal) {
            Stripped::Whole => {}
            Stripped::Rewritten(rdata) => rewritten.push((*at, rdata)),
            Stripped::Dropped | Stripped::Malformed => gone.push(*at),
        }
    }
    if gone.is_empty() {
        return Selection::without(0, |_| false, rewritten);
    }
    gone.sort_unstable();
    Selection::without(zone.records.len(), |at| gone.binary_search(&at).is_ok(), rewritten)
}

fn is_hidden(state: &State<'_>, at: u32) -> bool {
    state.why.get(at as usize).is_some_and(Option::is_some)
}

/// The types for which one view's records stand in for the other's.
fn gives_way(rtype: Type) -> bool {
    matches!(rtype, Type::A | Type::AAAA | Type::CNAME)
}

fn public_beside_internal(zone: &Zone, state: &State<'_>, nodes: &Nodes<'_>) -> Vec<u32> {
    let ids = (0..).zip(&nodes.list).filter(|(_, node)| node.addresses > node.live_addresses);
    let split = ids.map(|(id, _)| id).filter(|id| is_split(zone, state, nodes, *id));
    let records = split.flat_map(|id| nodes.records(id));
    records
        .copied()
        .filter(|at| gives_way(zone.records[*at as usize].rtype) && !is_hidden(state, *at))
        .collect()
}

fn is_split(zone: &Zone, state: &State<'_>, nodes: &Nodes<'_>, id: NodeId) -> bool {
    let internal = |at: &u32| is_hidden(state, *at) && gives_way(zone.records[*at as usize].rtype);
    nodes.records(id).iter().any(internal)
}

/// Hints are addresses of the target; `.` is the owner itself (RFC 9460 §2.5.2).
fn concerns_split_name(record: &Record, closure: &Closure<'_>) -> bool {
    let target = record.rdata.get(2..).and_then(|rest| Some(&rest[..name::wire_len(rest)?]));
    let target = target.and_then(|wire| Name::from_wire(wire).ok()).filter(|name| !name.is_root());
    is_split_name(&record.owner, closure) || target.is_some_and(|name| is_split_name(&name, closure))
}

fn is_split_name(name: &Name, closure: &Closure<'_>) -> bool {
    let Some(index) = closure.zone_of(name.as_wire()) else { return false };
    let (zone, state) = (closure.zones[index], closure.state(index));
    let Some(nodes) = &state.nodes else { return false };
    matches!(nodes.answering(name.as_wire()), Answering::Own(id) if is_split(zone, state, nodes, id))
}
