//! The public view of one zone: what is left, what stands in for hidden servers (D13), and why the rest is gone.

use std::collections::HashSet;

use super::closure::{Closure, State};
use super::direct::Facts;
use super::names::HiddenNames;
use super::nodes::Nodes;
use super::{Extent, Hidden, Rule, Selection};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone};

/// The public view of one zone, before it is known whether the zone may be served.
pub(super) struct Outside {
    /// None if outside there is no such zone.
    pub(super) selection: Option<Selection>,
    /// By rising record index.
    pub(super) hidden: Vec<Hidden>,
    /// The SOA of which a name was replaced, and what of it.
    pub(super) soa: Option<Soa>,
}

/// The hidden fields of the SOA.
#[derive(Clone, Copy)]
pub(super) struct Soa {
    pub(super) record: u32,
    pub(super) mname_hidden: bool,
    pub(super) rname_hidden: bool,
}

pub(super) fn select(index: usize, facts: &Facts, closure: &Closure<'_>, names: &HiddenNames<'_>) -> Outside {
    let zone = closure.zones[index];
    let state = closure.state(index);
    if let Some(rule) = state.internal {
        return Outside { selection: None, hidden: all_hidden(zone, state, rule), soa: None };
    }
    let spare_soa = spare_soa(zone, facts);
    let is_hidden = |record: u32| {
        Some(record) == spare_soa || state.why.get(record as usize).is_some_and(Option::is_some)
    };
    let mut rewritten: Vec<_> = facts.stripped.iter().filter(|(at, _)| !is_hidden(*at)).cloned().collect();
    let mut hidden: Vec<_> = rewritten.iter().map(|(at, _)| part(*at, Rule::D3)).collect();
    let soa = find_soa(zone, closure, names).filter(|_| !facts.is_published);
    if let Some((soa, rdata)) = soa.and_then(|soa| Some((soa, soa_outside(zone, state, soa)?))) {
        rewritten.push((soa.record, rdata));
    }
    hidden.extend(soa.map(|soa| part(soa.record, Rule::D13)));
    let kept_cuts = state.nodes.as_ref().map_or(Vec::new(), |nodes| kept_cuts(zone, nodes, closure));
    hidden.extend(kept_cuts.iter().map(|(at, _)| part(*at, Rule::D13)));
    let stand_ins: HashSet<u32> = kept_cuts.iter().map(|(at, _)| *at).collect();
    rewritten.extend(kept_cuts);
    rewritten.sort_unstable_by_key(|(at, _)| *at);
    let gone = |record: u32| is_hidden(record) && !stand_ins.contains(&record);
    hidden.extend(reasons(state).filter(|hidden| gone(hidden.record)));
    hidden.extend(spare_soa.map(|record| Hidden { record, why: Rule::Mark, extent: Extent::Record }));
    hidden.sort_unstable_by_key(|hidden| hidden.record);
    let selection = if state.why.is_empty() && spare_soa.is_none() {
        Selection::without(0, |_| false, rewritten)
    } else {
        Selection::without(zone.records.len(), gone, rewritten)
    };
    Outside { selection: Some(selection), hidden, soa }
}

/// The SOA of the inside, if the outside has its own.
fn spare_soa(zone: &Zone, facts: &Facts) -> Option<u32> {
    let is_soa = |at: &u32| zone.records[*at as usize].rtype == Type::SOA;
    facts.outside_only.iter().find(|at| is_soa(at))?;
    let all = 0..u32::try_from(zone.records.len()).expect("a zone has fewer than 2^32 records");
    all.into_iter().find(|at| is_soa(at) && zone.records[*at as usize].mark == Some(Mark::Internal))
}

fn part(record: u32, why: Rule) -> Hidden {
    Hidden { record, why, extent: Extent::Part }
}

/// The records that are hidden in full, each with the first reason.
fn reasons<'s>(state: &'s State<'_>) -> impl Iterator<Item = Hidden> + 's {
    let known = (0..).zip(&state.why);
    known.filter_map(|(record, why)| Some(Hidden { record, why: (*why)?, extent: Extent::Record }))
}

fn all_hidden(zone: &Zone, state: &State<'_>, rule: Rule) -> Vec<Hidden> {
    let why = |record: usize| state.why.get(record).copied().flatten().unwrap_or(rule);
    let hidden = |(at, record): (u32, usize)| Hidden { record: at, why: why(record), extent: Extent::Record };
    (0..).zip(0..zone.records.len()).map(hidden).collect()
}

/// The SOA, if a name in it is hidden. RNAME is judged by its suffix and by the host behind its first label (D6).
fn find_soa(zone: &Zone, closure: &Closure<'_>, names: &HiddenNames<'_>) -> Option<Soa> {
    let is_soa = |record: &Record| record.rtype == Type::SOA;
    // Beside a SOA for the outside, that of the inside is hidden as a whole.
    let for_outside = |record: &Record| is_soa(record) && record.mark == Some(Mark::Outside);
    let at = zone.records.iter().position(for_outside).or_else(|| zone.records.iter().position(is_soa))?;
    let record = &zone.records[at];
    if record.mark.is_some_and(Mark::publishes) {
        return None;
    }
    let (mname, rname, _) = soa_names(&record.rdata)?;
    let (mname, rname) = (Name::from_wire(mname).ok()?, Name::from_wire(rname).ok()?);
    let mname_hidden = record.mark == Some(Mark::Internal)
        || names.rule(mname.as_wire()).is_some()
        || closure.is_hidden_target(&mname);
    let host = rname.parent().filter(|host| !host.is_root());
    let rname_hidden =
        names.rule(rname.as_wire()).is_some() || host.is_some_and(|host| closure.is_hidden_mail_host(&host));
    let record = u32::try_from(at).expect("a zone has fewer than 2^32 records");
    (mname_hidden || rname_hidden).then_some(Soa { record, mname_hidden, rname_hidden })
}

/// MNAME, RNAME and the five numbers (RFC 1035 §3.3.13).
fn soa_names(rdata: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (mname, rest) = rdata.split_at(name::wire_len(rdata)?);
    let (rname, numbers) = rest.split_at(name::wire_len(rest)?);
    Some((mname, rname, numbers))
}

/// The SOA as outsiders see it; none if no public server is left to stand in.
fn soa_outside(zone: &Zone, state: &State<'_>, soa: Soa) -> Option<Box<[u8]>> {
    let (mname, rname, numbers) = soa_names(&zone.records[soa.record as usize].rdata)?;
    let mname = if soa.mname_hidden { first_public_ns(zone, state)? } else { mname };
    // RFC 2142 §4 names this mailbox for every zone.
    let stand_in = zone.apex.child(b"hostmaster").unwrap_or_else(|| zone.apex.clone());
    let rname = if soa.rname_hidden { stand_in.as_wire() } else { rname };
    Some([mname, rname, numbers].concat().into())
}

/// The RDATA of the first apex NS that outsiders see.
pub(super) fn first_public_ns<'z>(zone: &'z Zone, state: &State<'_>) -> Option<&'z [u8]> {
    let is_apex_ns = |at: &usize| zone.records[*at].rtype == Type::NS && zone.records[*at].owner == zone.apex;
    let is_public = |at: &usize| state.why.get(*at).is_none_or(Option::is_none);
    let at = (0..zone.records.len()).find(|at| is_apex_ns(at) && is_public(at))?;
    Some(&zone.records[at].rdata)
}

/// Cuts that stay for their child zone although all their NS are hidden: the child's first public NS stands in.
fn kept_cuts(zone: &Zone, nodes: &Nodes<'_>, closure: &Closure<'_>) -> Vec<(u32, Box<[u8]>)> {
    let cuts = (0..).zip(&nodes.list).filter(|(_, node)| node.is_cut && node.live_ns == 0 && !node.is_dead);
    let stand_ins = cuts.filter_map(|(id, node)| {
        let child = closure.public_zone_at(node.name)?;
        let rdata = first_public_ns(closure.zones[child], closure.state(child))?;
        let is_ns = |at: &&u32| zone.records[**at as usize].rtype == Type::NS;
        Some((*nodes.records(id).iter().find(is_ns)?, rdata.into()))
    });
    stand_ins.collect()
}
