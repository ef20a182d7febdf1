//! Marked records of a zone: which names are pools, and what of them is an error.

use super::rules::Settings;
use crate::name::Name;
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
    let mut sets: HashMap<(&Name, Type), Set<'_>> = HashMap::default();
    let is_pool = |name: &Name| owners.binary_search_by(|owner| owner.canonical_cmp(name)).is_ok();
    for (index, record) in (0_u32..).zip(&zone.records).filter(|(_, record)| is_pool(&record.owner)) {
        match record.rtype {
            Type::A | Type::AAAA => {
                let is_hidden = divided.public.is_none()
                    || divided.hidden.binary_search_by_key(&index, |it| it.record).is_ok();
                sets.entry((&record.owner, record.rtype)).or_default().records.push((record, is_hidden));
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
    problems.sort_by_key(|problem| problem.at);
    problems
}

/// An address RRset of a pool.
#[derive(Default)]
struct Set<'z> {
    /// With whether outsiders do not see it.
    records: Vec<(&'z Record, bool)>,
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
