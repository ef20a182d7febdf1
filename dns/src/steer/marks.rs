//! Marked records of a zone: which names are pools, and what of them is an error.

use std::collections::HashSet;

use super::choose::MOST_MEMBERS;
use super::rules::Settings;
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::privacy::Divided;
use crate::zone::{Mark, PRIVATE_MEMBER, Problem, Record, Severity, Zone};

/// The names in a zone whose address RRsets are pools: those with a marked record, and those that the config names.
pub fn owners(zone: &Zone, settings: &Settings) -> Vec<Name> {
    let marked = zone.records.iter().filter(|record| record.steer).map(|record| &record.owner);
    let named = settings.pools.keys().filter(|name| name.is_at_or_under(&zone.apex));
    let mut owners: Vec<Name> = marked.chain(named).cloned().collect();
    owners.sort_by(Name::canonical_cmp);
    owners.dedup();
    owners
}

/// Errors and warnings for the pools of a zone.
///
/// D20: an author who makes a pool of public addresses and one that is hidden has either forgotten to publish it, or sends
/// insiders where nobody else goes without saying so. Outsiders are never given the hidden one: no tree of theirs has it.
pub(crate) fn problems(zone: &Zone, divided: &Divided, settings: &Settings) -> Vec<Problem> {
    let owners = owners(zone, settings);
    if owners.is_empty() {
        return Vec::new();
    }
    let views = [divided.public.as_ref(), Some(&divided.internal)];
    let views = views.map(|view| view.map(|selection| selection.as_set(zone.records.len())));
    let mut sets: HashMap<(&Name, Type), Set<'_>> = HashMap::default();
    let is_pool = |name: &Name| owners.binary_search_by(|owner| owner.canonical_cmp(name)).is_ok();
    for (index, record) in (0_u32..).zip(&zone.records).filter(|(_, record)| is_pool(&record.owner)) {
        match record.rtype {
            Type::A | Type::AAAA => {
                let is_hidden = divided.public.is_none()
                    || divided.hidden.binary_search_by_key(&index, |it| it.record).is_ok();
                let set = sets.entry((&record.owner, record.rtype)).or_default();
                set.records.push((record, is_hidden));
                for (count, view) in set.in_views.iter_mut().zip(&views) {
                    *count += usize::from(view.as_ref().is_some_and(|view| view.has(index)));
                }
            }
            Type::RRSIG => {
                let covered = record.rdata.first_chunk().map(|covered| Type(u16::from_be_bytes(*covered)));
                let set = covered.map(|covered| sets.entry((&record.owner, covered)).or_default());
                set.into_iter().for_each(|set| set.is_signed = true);
            }
            _ => {}
        }
    }
    let mut problems: Vec<Problem> = sets.values().flat_map(|set| set.problems(settings)).collect();
    problems.extend(below_cuts(zone, &owners));
    problems.sort_by_key(|problem| problem.at);
    problems
}

/// Marks of which no answer knows: what lies below a cut is the other zone's, and nobody is given what lies below a DNAME.
fn below_cuts(zone: &Zone, owners: &[Name]) -> Vec<Problem> {
    let covers = Covers::of(zone, owners.iter());
    let mut told: HashSet<&Name> = HashSet::new();
    let mut problems = Vec::new();
    for record in zone.records.iter().filter(|record| record.steer && !covers.is_empty()) {
        let Some((cover, rtype)) = covers.over(&record.owner) else { continue };
        if !told.insert(&record.owner) {
            continue;
        }
        let (message, help) = match rtype {
            Type::NS => (
                format!(
                    "the mark steers nothing: {cover} is delegated, so the addresses of {} are glue",
                    record.owner
                ),
                "mark the records in the zone that it is delegated to, or remove the mark",
            ),
            _ => (
                format!(
                    "the mark steers nothing: nobody is given {}, since it lies below the DNAME of {cover}",
                    record.owner
                ),
                "mark the records where the DNAME leads, or remove the mark",
            ),
        };
        problems.push(Problem {
            severity: Severity::Warning,
            code: "mark-below-cut",
            at: Some(record.at),
            message,
            help: Some(help.to_owned()),
        });
    }
    problems
}

/// The cuts and DNAMEs of a zone at and above some names.
pub(crate) struct Covers<'z> {
    by_owner: HashMap<&'z [u8], (&'z Name, Type)>,
}

impl<'z> Covers<'z> {
    /// Those that cover any of these names.
    pub(crate) fn of<'n>(zone: &'z Zone, names: impl Iterator<Item = &'n Name>) -> Self {
        let mut above: Vec<&[u8]> = names.flat_map(upwards).collect();
        above.sort_unstable();
        above.dedup();
        let records = zone.order().others().iter().map(|at| zone.record(*at));
        let covering = records.filter(|record| match record.rtype {
            Type::NS => record.owner != zone.apex,
            rtype => rtype == Type::DNAME,
        });
        let covering = covering.filter(|record| above.binary_search(&record.owner.as_wire()).is_ok());
        Self { by_owner: covering.map(|it| (it.owner.as_wire(), (&it.owner, it.rtype))).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }

    /// The cut at or above this name, or the DNAME above it.
    pub(crate) fn over(&self, name: &Name) -> Option<(&'z Name, Type)> {
        let mut found = upwards(name).filter_map(|owner| self.by_owner.get(owner));
        found.find(|(owner, rtype)| *rtype == Type::NS || *owner != name).copied()
    }
}

/// The name and those above it.
fn upwards(name: &Name) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name.as_wire()), |name| name::parent(name))
}

/// An address RRset of a pool.
#[derive(Default)]
struct Set<'z> {
    /// With whether outsiders do not see it.
    records: Vec<(&'z Record, bool)>,
    /// How many of them outsiders get, and how many insiders.
    in_views: [usize; 2],
    is_signed: bool,
}

impl Set<'_> {
    fn problems(&self, settings: &Settings) -> Vec<Problem> {
        let Some((first, _)) = self.records.first() else { return Vec::new() };
        let owner = &first.owner;
        let (pool, mark, cure) = match settings.named(owner) {
            Some(_) => (
                format!("the pool {owner}, which `[[steer.pool]]` names,"),
                "`; verge: public`",
                ", or take the name out of `[[steer.pool]]`",
            ),
            None => (format!("the pool {owner}"), "`; verge: public steer`", ""),
        };
        let mut problems = Vec::new();
        // A record that outsiders alone get stands beside no private one in any view, and its line says what is meant.
        if self.records.iter().any(|(it, is_hidden)| !is_hidden && it.mark != Some(Mark::Outside)) {
            let private =
                self.records.iter().filter(|(it, is_hidden)| *is_hidden && it.mark != Some(Mark::Internal));
            problems.extend(private.map(|(record, _)| Problem {
                severity: Severity::Error,
                code: PRIVATE_MEMBER,
                at: Some(record.at),
                message: format!(
                    "{pool} is public, but this member of it is private (D20): outsiders are not given it"
                ),
                help: Some(format!(
                    "end the line with {mark} to publish it, or with `; verge: internal` to keep it inside{cure}"
                )),
            }));
        }
        if let Some(most) = self.in_views.into_iter().max().filter(|most| *most > MOST_MEMBERS) {
            problems.push(Problem {
                severity: Severity::Warning,
                code: "too-many-members",
                at: Some(first.at),
                message: format!(
                    "{owner} has {most} {} records, so they are neither checked nor steered: a pool has {MOST_MEMBERS} \
                     members at most",
                    first.rtype
                ),
                help: Some("divide them among several names".to_owned()),
            });
        }
        if self.is_signed {
            problems.push(Problem {
                severity: Severity::Warning,
                code: "signed-pool",
                at: Some(first.at),
                message: format!(
                    "the {} records of {owner} are signed, so they are not steered",
                    first.rtype
                ),
                help: Some(SIGNED.to_owned()),
            });
        }
        problems
    }
}

const SIGNED: &str = "a part of a signed RRset proves nothing: put the pool into an unsigned zone of its own, and lead to \
                      it by a CNAME";
