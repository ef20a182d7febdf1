//! D3: hints of addresses that outsiders do not get at the name that the record leads to.
//!
//! An address that the author hides there is a secret as a private one is, though it is a public one by itself.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::super::direct::plain_address;
use super::super::hints::{self, Stripped};
use super::refer::substitute;
use super::{Closure, Facts, Work};
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::privacy::Rule;
use crate::zone::privacy::nodes::{Answering, NodeId, Nodes};
use crate::zone::{MOST_FOLLOWED, Mark, Record};

/// The trees of zones that the closure has none of and that a hint leads to, by zone: names there may be aliases, and their
/// addresses are public ones or those of an internal zone.
type Spare<'z> = HashMap<usize, Nodes<'z>>;

/// The addresses at the end of a name's aliases.
#[derive(Default)]
struct Addresses {
    public: HashSet<IpAddr>,
    hidden: HashSet<IpAddr>,
}

impl Addresses {
    fn is_hidden(&self, address: IpAddr) -> bool {
        self.hidden.contains(&address) && !self.public.contains(&address)
    }
}

/// A name on the way, and whether outsiders come that way.
struct Stop {
    name: Name,
    is_public: bool,
}

impl<'z> Closure<'z> {
    /// Hides all that follows, hints among it. A record that goes for its hints may take others along, whose addresses are
    /// then hidden, too.
    pub(super) fn run_with_hints(&mut self, facts: &mut [Facts]) {
        let mut spare = Spare::default();
        let given = self.given_hints(facts);
        loop {
            self.run();
            let suspects = self.hidden_among(&given);
            for (zone, facts) in facts.iter_mut().enumerate() {
                self.judge_hints(zone, facts, &suspects, &mut spare);
            }
            if self.worklist.is_empty() {
                return;
            }
        }
    }

    /// The addresses of all hints.
    fn given_hints(&self, facts: &[Facts]) -> HashSet<IpAddr> {
        let hinted = self
            .zones
            .iter()
            .zip(facts)
            .flat_map(|(zone, facts)| facts.hinted.iter().map(|at| &zone.records[*at as usize].rdata));
        hinted.flat_map(|rdata| hints::addresses(rdata)).collect()
    }

    /// Those of them that some record has that is hidden now. Few hints are, and only for these a tree is worth its memory.
    fn hidden_among(&self, given: &HashSet<IpAddr>) -> HashSet<IpAddr> {
        let mut found = HashSet::new();
        if given.is_empty() {
            return found;
        }
        for (zone, state) in self.zones.iter().zip(&self.states) {
            if state.internal.is_none() && state.nodes.is_none() {
                continue;
            }
            let is_hidden = |at: usize| state.internal.is_some() || state.why[at].is_some();
            let addresses = zone
                .records
                .iter()
                .enumerate()
                .filter(|(at, record)| matches!(record.rtype, Type::A | Type::AAAA) && is_hidden(*at));
            let addresses = addresses.filter_map(|(_, record)| plain_address(&record.rdata));
            found.extend(addresses.filter(|address| given.contains(address)));
        }
        found
    }

    fn judge_hints(
        &mut self,
        zone: usize,
        facts: &mut Facts,
        suspects: &HashSet<IpAddr>,
        spare: &mut Spare<'z>,
    ) {
        for at in facts.hinted.iter().copied() {
            let state = &self.states[zone];
            let is_hidden = state.why.get(at as usize).is_some_and(Option::is_some);
            let record = &self.zones[zone].records[at as usize];
            // A zone that is published as a whole still hides what a mark makes internal.
            let is_published = record.mark.is_some_and(Mark::publishes);
            if state.internal.is_some() || is_hidden || is_published {
                continue;
            }
            if !hints::addresses(&record.rdata).any(|address| suspects.contains(&address)) {
                continue;
            }
            let place = facts.stripped.binary_search_by_key(&at, |(at, _)| *at);
            let rdata = place.map_or(&*record.rdata, |place| &facts.stripped[place].1);
            let gone = self.hidden_hints(record, spare);
            let stripped = hints::strip(rdata, |address| !gone.contains(&address));
            if !gone.is_empty() {
                facts.hidden_hints.insert(at, gone);
            }
            match stripped {
                Stripped::Whole => {}
                Stripped::Rewritten(rdata) => {
                    match place {
                        Ok(place) => facts.stripped[place].1 = rdata,
                        Err(place) => facts.stripped.insert(place, (at, rdata)),
                    }
                    if facts.is_signed {
                        self.worklist.push_back(Work::Close { zone, why: Rule::D15 });
                    }
                }
                Stripped::Dropped | Stripped::Malformed => {
                    self.worklist.push_back(Work::Hide { zone, record: at, why: Rule::D3 });
                }
            }
        }
    }

    /// The addresses of hidden records at the name that this record leads to, or at its owner, that are not public there.
    fn hidden_hints(&self, record: &'z Record, spare: &mut Spare<'z>) -> HashSet<IpAddr> {
        let there = hints::target(record).map(|name| self.addresses(name, spare)).unwrap_or_default();
        let here = self.addresses(record.owner.clone(), spare);
        let all = there.hidden.iter().chain(&here.hidden).copied();
        all.filter(|address| {
            there.is_hidden(*address) || here.is_hidden(*address) && !there.public.contains(address)
        })
        .collect()
    }

    fn addresses(&self, name: Name, spare: &mut Spare<'z>) -> Addresses {
        let mut found = Addresses::default();
        let mut open = vec![Stop { name, is_public: true }];
        // Each side may have an alias of its own.
        for _ in 0..2 * MOST_FOLLOWED {
            let Some(stop) = open.pop() else { break };
            let Some(index) = self.zone_of(stop.name.as_wire()) else { continue };
            let (zone, state) = (self.zones[index], &self.states[index]);
            let nodes = match &state.nodes {
                Some(nodes) => nodes,
                None => spare.entry(index).or_insert_with(|| Nodes::build(zone)),
            };
            // The zones to which an internal one leads are not those on which others depend by it: see `Division`.
            let leads_on = state.nodes.is_some() || state.internal.is_none();
            match nodes.answering(stop.name.as_wire()) {
                Answering::Own(id) => {
                    let next = self.at_node(index, (nodes, id), stop.is_public, &mut found);
                    open.extend(next.into_iter().filter(|_| leads_on));
                }
                answering @ Answering::Above(id) => {
                    let is_public = stop.is_public && nodes.list[id as usize].live_dname > 0;
                    let next = substitute(zone, nodes, answering, stop.name.as_wire());
                    open.extend(next.filter(|_| leads_on).map(|name| Stop { name, is_public }));
                }
                Answering::Nothing { .. } => {}
            }
        }
        found
    }

    /// Notes the addresses of a node; the names to which its aliases lead.
    fn at_node(
        &self,
        zone: usize,
        (nodes, id): (&Nodes<'_>, NodeId),
        is_public: bool,
        found: &mut Addresses,
    ) -> Vec<Stop> {
        let state = &self.states[zone];
        let mut aliases = Vec::new();
        for at in nodes.records(id) {
            let record = &self.zones[zone].records[*at as usize];
            let is_hidden =
                state.internal.is_some() || state.why.get(*at as usize).is_some_and(Option::is_some);
            match record.rtype {
                Type::A | Type::AAAA => {
                    let address = plain_address(&record.rdata);
                    found.hidden.extend(address.filter(|_| is_hidden));
                    found.public.extend(address.filter(|_| is_public && !is_hidden));
                }
                Type::CNAME => {
                    let name = Name::from_wire(&record.rdata).ok();
                    aliases.extend(name.map(|name| Stop { name, is_public: is_public && !is_hidden }));
                }
                _ => {}
            }
        }
        aliases
    }
}
