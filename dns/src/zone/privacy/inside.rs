//! The internal view of one zone: everything but what is marked `; verge: outside`, and for A, AAAA and CNAME internal
//! records stand in for public ones (D5). A name that has both is *split*. Inside all its public addresses and hints give
//! way, lest a public AAAA that is left over sends dual-stack clients outside. But if the internal addresses are IPv6
//! alone, its public IPv4 addresses stay: a client without IPv6 would have none. A record that is marked `; verge: both`
//! never gives way.

use std::net::IpAddr;

use super::closure::{Closure, State};
use super::direct::Facts;
use super::hints::{self, Stripped};
use super::nodes::{Answering, NodeId, Nodes};
use super::{Rules, Selection};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone, address};

pub(super) fn select(index: usize, facts: &Facts, closure: &Closure<'_>, rules: &Rules) -> Selection {
    let zone = closure.zones[index];
    let state = closure.state(index);
    if state.internal.is_some() {
        let is_outside_only = |at: u32| facts.outside_only.binary_search(&at).is_ok();
        return match facts.outside_only.is_empty() {
            true => Selection::default(),
            false => Selection::without(zone.records.len(), is_outside_only, Vec::new()),
        };
    }
    let mut gone =
        state.nodes.as_ref().map_or(Vec::new(), |nodes| public_beside_internal(zone, state, nodes));
    let mut rewritten = Vec::new();
    for at in &facts.hinted {
        let record = &zone.records[*at as usize];
        let keeps_hints = is_hidden(state, *at) || record.mark == Some(Mark::Both);
        let split = if keeps_hints { Split::No } else { split_of_hints(record, closure) };
        if split == Split::No {
            continue;
        }
        let hidden = facts.hidden_hints.get(at);
        let stays = |address: IpAddr| {
            let is_hidden = address::hidden(address, &rules.private).is_some()
                || hidden.is_some_and(|hidden| hidden.contains(&address));
            (record.mark.is_none() && is_hidden) || (split == Split::Ipv6 && address.is_ipv4())
        };
        match hints::strip(&record.rdata, stays) {
            Stripped::Whole => {}
            Stripped::Rewritten(rdata) => rewritten.push((*at, rdata)),
            Stripped::Dropped | Stripped::Malformed => gone.push(*at),
        }
    }
    gone.extend(&facts.outside_only);
    gone.sort_unstable();
    gone.dedup();
    rewritten.retain(|(at, _)| gone.binary_search(at).is_err());
    if gone.is_empty() {
        return Selection::without(0, |_| false, rewritten);
    }
    Selection::without(zone.records.len(), |at| gone.binary_search(&at).is_ok(), rewritten)
}

fn is_hidden(state: &State<'_>, at: u32) -> bool {
    state.why.get(at as usize).is_some_and(Option::is_some)
}

/// Which of a name's public addresses give way inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Split {
    /// None: it has no internal addresses.
    No,
    /// IPv6 addresses and aliases: only internal IPv6 addresses stand in.
    Ipv6,
    /// All.
    Whole,
}

impl Split {
    fn takes(self, rtype: Type) -> bool {
        match self {
            Self::No => false,
            Self::Ipv6 => matches!(rtype, Type::AAAA | Type::CNAME),
            Self::Whole => matches!(rtype, Type::A | Type::AAAA | Type::CNAME),
        }
    }
}

fn public_beside_internal(zone: &Zone, state: &State<'_>, nodes: &Nodes<'_>) -> Vec<u32> {
    let ids = (0..).zip(&nodes.list).filter(|(_, node)| node.addresses > node.live_addresses);
    let split = ids.map(|(id, _)| (id, split(zone, state, nodes, id)));
    let records = split.flat_map(|(id, split)| nodes.records(id).iter().map(move |at| (*at, split)));
    records
        .filter(|(at, split)| {
            let record = &zone.records[*at as usize];
            split.takes(record.rtype) && record.mark != Some(Mark::Both) && !is_hidden(state, *at)
        })
        .map(|(at, _)| at)
        .collect()
}

fn split(zone: &Zone, state: &State<'_>, nodes: &Nodes<'_>, id: NodeId) -> Split {
    let internal = nodes.records(id).iter().filter(|at| is_hidden(state, **at));
    let split = internal.map(|at| match zone.records[*at as usize].rtype {
        Type::A | Type::CNAME => Split::Whole,
        Type::AAAA => Split::Ipv6,
        _ => Split::No,
    });
    split.max().unwrap_or(Split::No)
}

/// Hints are addresses of the target; `.` is the owner itself (RFC 9460 §2.5.2).
fn split_of_hints(record: &Record, closure: &Closure<'_>) -> Split {
    let target = record.rdata.get(2..).and_then(|rest| Some(&rest[..name::wire_len(rest)?]));
    let target = target.and_then(|wire| Name::from_wire(wire).ok()).filter(|name| !name.is_root());
    let of_target = target.map_or(Split::No, |name| split_of_name(&name, closure));
    of_target.max(split_of_name(&record.owner, closure))
}

fn split_of_name(name: &Name, closure: &Closure<'_>) -> Split {
    let Some(index) = closure.zone_of(name.as_wire()) else { return Split::No };
    let (zone, state) = (closure.zones[index], closure.state(index));
    match (&state.nodes, state.nodes.as_ref().map(|nodes| nodes.answering(name.as_wire()))) {
        (Some(nodes), Some(Answering::Own(id))) => split(zone, state, nodes, id),
        _ => Split::No,
    }
}
