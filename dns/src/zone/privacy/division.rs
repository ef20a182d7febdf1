//! Dividing again after an edit, without looking at zones that the edit cannot have changed.
//!
//! ```text
//! edited zones ─▶ those that lead to them, however far ─▶ all that these lead to ─▶ facts, closure ─▶ new results
//!                 (only their results can change)          (what the results depend on)
//! ```
//!
//! The hidden records of a zone depend on the zones that its records lead to, and on nothing else; so the
//! closure over those zones alone is exact.
//!
//! Invariant: the result equals that of [`divide`](super::divide) over all zones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::direct::{self, Facts};
use super::mention::Mention;
use super::names::{HiddenNames, ancestry};
use super::{Divided, Rules, divide_judged};
use crate::name::Name;
use crate::rdata;
use crate::rtype::Type;
use crate::zone::Zone;

/// All zones as they were divided last.
#[derive(Clone, Debug, Default)]
pub struct Division {
    rules: Rules,
    parts: Vec<Part>,
}

/// One zone of a [`Division`].
#[derive(Clone, Debug)]
pub struct Part {
    /// The zone, every record.
    pub zone: Arc<Zone>,
    /// The result of its division.
    pub divided: Arc<Divided>,
    /// Positions of the zones that its records lead to.
    leads_to: Arc<[usize]>,
}

impl Division {
    /// The zones in the order they were given, divided.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The rules by which they were divided.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The positions of these zones and of all on whose records their division depends.
    pub(crate) fn upstream(&self, of: impl Iterator<Item = usize>) -> HashSet<usize> {
        let leads_to: Vec<Arc<[usize]>> = self.parts.iter().map(|part| Arc::clone(&part.leads_to)).collect();
        reach(of, &leads_to)
    }

    /// Divides these zones. A zone is unchanged if it is the same value ([`Arc::ptr_eq`]) as before; what the edit of
    /// another zone cannot reach keeps its result, as the same value.
    pub fn again(&self, zones: &[Arc<Zone>], rules: &Rules) -> Self {
        let names = HiddenNames::new(rules);
        let apexes = Apexes::new(zones);
        let known = self.known(zones, rules);
        let mut judged: HashMap<usize, Facts> = HashMap::new();
        let mut leads_to: Vec<Arc<[usize]>> = Vec::with_capacity(zones.len());
        for (at, zone) in zones.iter().enumerate() {
            leads_to.push(match known[at] {
                Some(part) => Arc::clone(&part.leads_to),
                None => apexes.leads(zone, judged.entry(at).or_insert(direct::facts(zone, &names, rules))),
            });
        }
        let edited = (0..zones.len()).filter(|at| known[*at].is_none());
        let affected = reach(edited, &reversed(&leads_to));
        let mut needed: Vec<usize> = reach(affected.iter().copied(), &leads_to).into_iter().collect();
        needed.sort_unstable();
        let some: Vec<&Zone> = needed.iter().map(|at| &*zones[*at]).collect();
        let facts =
            |at: &usize| judged.remove(at).unwrap_or_else(|| direct::facts(&zones[*at], &names, rules));
        let facts = needed.iter().map(facts).collect();
        let mut fresh: HashMap<usize, Divided> =
            needed.iter().copied().zip(divide_judged(&some, facts, &names, rules)).collect();
        let parts = zones.iter().zip(leads_to).enumerate().map(|(at, (zone, leads_to))| {
            let kept = known[at].filter(|_| !affected.contains(&at)).map(|part| Arc::clone(&part.divided));
            let divided =
                kept.unwrap_or_else(|| Arc::new(fresh.remove(&at).expect("affected zones are divided")));
            Part { zone: Arc::clone(zone), divided, leads_to }
        });
        Self { parts: parts.collect(), rules: rules.clone() }
    }

    /// The known part of each zone. With another config or other zones (names then lead elsewhere): none.
    fn known(&self, zones: &[Arc<Zone>], rules: &Rules) -> Vec<Option<&Part>> {
        let same_apexes =
            self.parts.iter().map(|part| &part.zone.apex).eq(zones.iter().map(|zone| &zone.apex));
        if self.rules != *rules || !same_apexes {
            return vec![None; zones.len()];
        }
        let same = |(part, zone): (&'_ Part, &Arc<Zone>)| Arc::ptr_eq(&part.zone, zone);
        self.parts.iter().zip(zones).map(|(part, zone)| same((part, zone)).then_some(part)).collect()
    }
}

/// Where the zones are.
struct Apexes<'z> {
    zones: &'z [Arc<Zone>],
    by_name: HashMap<&'z [u8], usize>,
}

impl<'z> Apexes<'z> {
    fn new(zones: &'z [Arc<Zone>]) -> Self {
        let by_name = zones.iter().enumerate().map(|(at, zone)| (zone.apex.as_wire(), at)).collect();
        Self { zones, by_name }
    }

    /// The zones on which the division of `zone` depends.
    fn leads(&self, zone: &Zone, facts: &Facts) -> Arc<[usize]> {
        let mut found: HashSet<usize> = HashSet::new();
        if facts.internal.is_none() {
            let names = facts.references.iter().map(|lead| &lead.name).chain(&facts.soa_names);
            found.extend(names.filter_map(|name| self.holding(name)));
            // D19: what is told of a text depends on the zones that it speaks of.
            let in_texts = facts.mentions.iter().filter_map(|(_, mention)| match mention {
                Mention::Name(name) => self.holding(name),
                Mention::Net(_) => None,
            });
            found.extend(in_texts);
            // Marked records refer to nobody, but split hints and DNAMEs among them still lead somewhere.
            found.extend(facts.marked.iter().flat_map(|at| self.named(zone, *at as usize)));
            // D3: hints are judged by the hidden addresses at the end of hidden aliases, too.
            let is_alias = |at: &u32| zone.record(*at).rtype == Type::CNAME;
            let seeds = facts.seeds.iter().map(|(at, _)| *at).filter(is_alias);
            found.extend(seeds.flat_map(|at| self.named(zone, at as usize)));
            for &at in zone.order().others() {
                let record = zone.record(at);
                match record.rtype {
                    // D13: a cut depends on the child that is served here.
                    Type::NS => found.extend(self.by_name.get(record.owner.as_wire())),
                    Type::DNAME => found.extend(self.below(&record.rdata)),
                    _ => {}
                }
            }
        }
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_unstable();
        found.into()
    }

    fn holding(&self, name: &Name) -> Option<usize> {
        ancestry(name.as_wire()).find_map(|suffix| self.by_name.get(suffix).copied())
    }

    fn named(&self, zone: &Zone, at: usize) -> Vec<usize> {
        let record = &zone.records[at];
        let names = rdata::names(record.rtype, &record.rdata).into_iter();
        names.filter_map(|(_, wire)| self.holding(&Name::from_wire(wire).ok()?)).collect()
    }

    /// A name that a DNAME substitutes may lie in any zone below its target.
    fn below(&self, target: &[u8]) -> Vec<usize> {
        let Ok(target) = Name::from_wire(target) else { return Vec::new() };
        let below = self.zones.iter().enumerate().filter(|(_, zone)| zone.apex.is_at_or_under(&target));
        below.map(|(at, _)| at).chain(self.holding(&target)).collect()
    }
}

fn reversed(edges: &[Arc<[usize]>]) -> Vec<Vec<usize>> {
    let mut reversed = vec![Vec::new(); edges.len()];
    for (from, to) in edges.iter().enumerate() {
        to.iter().for_each(|to| reversed[*to].push(from));
    }
    reversed
}

/// `start` and all that can be reached from there.
fn reach<E: AsRef<[usize]>>(start: impl Iterator<Item = usize>, edges: &[E]) -> HashSet<usize> {
    let mut open: Vec<usize> = start.collect();
    let mut found: HashSet<usize> = open.iter().copied().collect();
    while let Some(at) = open.pop() {
        open.extend(edges[at].as_ref().iter().copied().filter(|to| found.insert(*to)));
    }
    found
}
