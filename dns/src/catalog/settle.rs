//! Which version of each zone is served: the new one if it is good together with all others, else the last good one.
//!
//! A zone can be at fault because of another (an alias that has become public beside other data), so all zones are
//! divided together, those at fault step back, and the rest is divided again. Each round takes at least one new version
//! away, so there is an end. A fault that concerns outsiders alone (D13, D15, D20) is no reason to step back: insiders get what
//! the file says now, and `outside` decides what outsiders get, who are given no private member of a pool (D20).
//!
//! With `[reload] unhide = "ask"` an edit that makes hidden records public, although their own text did not change, is
//! such a fault: the zones that were edited wait, as far as the records depend on them.
//!
//! A load costs what its edits can reach: see [`Division`]. All else is the same value as before, and is not checked again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::good::{Good, Shown};
use super::outside;
use super::source::Source;
use super::unhidden::{self, Told, Version};
use crate::name::Name;
use crate::rdata;
use crate::steer::{Settings, marks};
use crate::zone::check;
use crate::zone::privacy::{Divided, Division, Part, Rules, Selection};
use crate::zone::tree::Tree;
use crate::zone::{Problem, Severity, SourceFile, Zone};

/// A zone that has a file.
pub(super) struct Candidate {
    pub(super) apex: Name,
    pub(super) source: Source,
    pub(super) files: Vec<SourceFile>,
    /// Of the file and of the zone on its own.
    pub(super) problems: Vec<Problem>,
    /// The file's version, if it is good on its own.
    pub(super) new: Option<Arc<Zone>>,
    /// The file's version if it is not good, but was understood.
    pub(super) withheld: Option<Arc<Zone>>,
    /// The last good version.
    pub(super) good: Option<Arc<Zone>>,
    /// All records of the file's version, if it was just read.
    pub(super) full: Option<Arc<Tree>>,
    /// Its file is gone, and so is the zone unless that makes hidden records public.
    pub(super) is_leaving: bool,
}

/// The version of a zone that is served.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    /// The current text of the file.
    New(Arc<Zone>),
    /// The zone as it was before, divided by the rules of now: names that the operator hides now are hidden
    /// in it, too. It is served even if others changed so that it would not pass again.
    Good(Arc<Zone>),
    /// Nothing: it never was good. A name that leads into it is undecided ([`Rules::unknown_zones`]).
    /// The text of its file takes part in the division.
    Nothing(Option<Arc<Zone>>),
    /// Nothing, and for all other zones it is not there: it is new and waits, or it leaves.
    Absent,
}

/// The result for a candidate.
pub(super) struct Settled {
    pub(super) chosen: Chosen,
    /// It waits until somebody allows that it makes records public.
    pub(super) waits: bool,
    /// All that was found, of versions that were turned down, too.
    pub(super) problems: Vec<Problem>,
    pub(super) divided: Option<Arc<Divided>>,
    /// The version for outsiders, where it is not the one that `chosen` and `divided` say.
    pub(super) outside: Option<Shown>,
}

/// Results of the last load, so that the next one need not compute them again.
#[derive(Default)]
pub(super) struct Memory {
    division: Division,
    judged: HashMap<Name, Judged>,
}

/// A zone as it was divided, and all that is to say of it.
struct Judged {
    divided: Arc<Divided>,
    problems: Arc<[Problem]>,
}

impl Candidate {
    /// A second file whose text is for the same zone, though its name is another: a copy that was kept beside it.
    pub(super) fn copied_in(&mut self, copy: &Source) {
        self.problems.push(Problem {
            severity: Severity::Warning,
            code: "two-files",
            at: None,
            message: format!(
                "{copy} is for the zone {}, too, and is not read: {} is named after it",
                self.apex, self.source
            ),
            help: Some(
                "move the copy out of the folder, or give it a name that does not end in .zone".to_owned(),
            ),
        });
    }

    /// A second file for the same zone: neither is believed.
    pub(super) fn also_in(&mut self, other: &Source) {
        self.withheld = self.new.take().or(self.withheld.take());
        self.problems.push(Problem {
            severity: Severity::Error,
            code: "two-files",
            at: None,
            message: format!("two files are for the zone {}: {} and {}", self.apex, self.source, other),
            help: Some("remove one of them, or mend its $ORIGIN".to_owned()),
        });
    }
}

impl Chosen {
    fn first(candidate: &Candidate) -> Self {
        match (&candidate.new, &candidate.good) {
            _ if candidate.is_leaving => Self::Absent,
            (Some(zone), _) => Self::New(Arc::clone(zone)),
            (None, Some(zone)) => Self::Good(Arc::clone(zone)),
            (None, None) => Self::Nothing(candidate.withheld.clone()),
        }
    }

    fn zone(&self) -> Option<&Arc<Zone>> {
        match self {
            Self::New(zone) | Self::Good(zone) => Some(zone),
            Self::Nothing(zone) => zone.as_ref(),
            Self::Absent => None,
        }
    }

    fn step_back(&mut self, candidate: &Candidate) {
        *self = match (&*self, &candidate.good) {
            (Self::New(_), Some(good)) => Self::Good(Arc::clone(good)),
            (Self::New(new), None) => Self::Nothing(Some(Arc::clone(new))),
            (settled, _) => settled.clone(),
        };
    }

    fn may_step_back(&self) -> bool {
        matches!(self, Self::New(_))
    }

    /// Whether it is another version than the one that is served.
    fn is_edited(&self, candidate: &Candidate) -> bool {
        let Self::New(new) = self else { return false };
        candidate.good.as_ref().is_none_or(|good| !Arc::ptr_eq(good, new))
    }
}

/// `served` are the zones in service. Without `holds` nothing waits for it being allowed.
pub(super) fn settle(
    candidates: &mut [Candidate],
    (rules, steer): (&Rules, &Settings),
    memory: &mut Memory,
    served: &HashMap<Name, Good>,
    holds: bool,
) -> Vec<Settled> {
    let mut chosen: Vec<Chosen> = candidates.iter().map(Chosen::first).collect();
    let mut turned_down: Vec<TurnedDown> = candidates.iter().map(|_| TurnedDown::default()).collect();
    loop {
        memory.divide(&chosen, &with_unknown(rules, candidates, &chosen), steer);
        let mut again = false;
        for (at, chosen) in chosen.iter_mut().enumerate() {
            let Some(judged) = memory.judged.get(&candidates[at].apex) else { continue };
            if chosen.may_step_back() && judged.problems.iter().any(Problem::is_fatal) {
                add_new(&mut turned_down[at].problems, judged.problems.to_vec());
                chosen.step_back(&candidates[at]);
                again = true;
            }
        }
        again = again || holds && hold(candidates, &mut chosen, &mut turned_down, memory, served);
        if !again {
            let outside = outside::stand_ins(&memory.division, served, holds);
            return finish(candidates, chosen, turned_down, memory, outside);
        }
    }
}

/// Versions of a zone that were turned down.
#[derive(Default)]
struct TurnedDown {
    problems: Vec<Problem>,
    waits: bool,
}

/// Takes back the edits on which records depend that would become public; whether there was any.
fn hold(
    candidates: &[Candidate],
    chosen: &mut [Chosen],
    turned_down: &mut [TurnedDown],
    memory: &Memory,
    served: &HashMap<Name, Good>,
) -> bool {
    let parts = memory.division.parts();
    let all: Vec<Version<'_>> = parts.iter().map(Version::from).collect();
    let mut told = Told::default();
    let mut affected = Vec::new();
    for (at, new) in all.iter().enumerate() {
        let Some(good) = served.get(&new.zone.apex) else { continue };
        let records = unhidden::between(good.version(), *new);
        if !records.is_empty() {
            told.add(*new, &records, &all);
            affected.push(at);
        }
    }
    if affected.is_empty() {
        return false;
    }
    let places: HashSet<&Name> =
        memory.division.upstream(affected.into_iter()).into_iter().map(|at| &parts[at].zone.apex).collect();
    let edited = (0..candidates.len())
        .filter(|at| places.contains(&candidates[*at].apex) && chosen[*at].is_edited(&candidates[*at]));
    let mut held: Vec<usize> = edited.collect();
    if held.is_empty() {
        held = leaving(candidates, chosen, &all, served);
    }
    for at in &held {
        chosen[*at] =
            candidates[*at].good.as_ref().map_or(Chosen::Absent, |good| Chosen::Good(Arc::clone(good)));
        add_new(&mut turned_down[*at].problems, vec![waiting(&told)]);
        turned_down[*at].waits = true;
    }
    !held.is_empty()
}

/// The zones that leave and to which records lead that would become public; all that leave if no record says which.
fn leaving(
    candidates: &[Candidate],
    chosen: &[Chosen],
    all: &[Version<'_>],
    served: &HashMap<Name, Good>,
) -> Vec<usize> {
    let leave = |at: &usize| candidates[*at].is_leaving && matches!(chosen[*at], Chosen::Absent);
    let leaving: Vec<usize> = (0..candidates.len()).filter(leave).collect();
    let records = all.iter().flat_map(|new| {
        let good = served.get(&new.zone.apex);
        let found = good.map(|good| unhidden::between(good.version(), *new)).unwrap_or_default();
        found.into_iter().map(|unhidden| new.zone.record(unhidden.record))
    });
    let names: HashSet<Name> = records
        .flat_map(|record| rdata::names(record.rtype, &record.rdata))
        .filter_map(|(_, wire)| Name::from_wire(wire).ok())
        .collect();
    let is_named = |at: &&usize| names.iter().any(|name| name.is_at_or_under(&candidates[**at].apex));
    let named: Vec<usize> = leaving.iter().filter(is_named).copied().collect();
    if named.is_empty() { leaving } else { named }
}

fn waiting(told: &Told) -> Problem {
    let message = format!(
        "this edit waits, since it makes records public although their own text did not change: {}",
        told.in_line()
    );
    let help = "SIGHUP or POST /reload lets it pass; `; verge: internal` hides a record for good".to_owned();
    Problem { severity: Severity::Error, code: "unhide", at: None, message, help: Some(help) }
}

/// The rules, and the zones of which nothing is known for sure. A zone that is declared internal is hidden anyway.
fn with_unknown(rules: &Rules, candidates: &[Candidate], chosen: &[Chosen]) -> Rules {
    let unknown = candidates.iter().zip(chosen).filter(|(_, chosen)| matches!(chosen, Chosen::Nothing(_)));
    let unknown_zones = unknown.map(|(candidate, _)| candidate.apex.clone()).collect();
    Rules { unknown_zones, ..rules.clone() }
}

impl Memory {
    /// Divides and checks what is chosen, as far as it is not the same as before.
    fn divide(&mut self, chosen: &[Chosen], rules: &Rules, steer: &Settings) {
        let zones: Vec<Arc<Zone>> = chosen.iter().filter_map(Chosen::zone).map(Arc::clone).collect();
        self.division = self.division.again(&zones, rules);
        let mut before = std::mem::take(&mut self.judged);
        for part in self.division.parts() {
            let apex = part.zone.apex.clone();
            let same = before.remove(&apex).filter(|judged| Arc::ptr_eq(&judged.divided, &part.divided));
            self.judged.insert(apex, same.unwrap_or_else(|| Judged::of(part, steer)));
        }
    }
}

impl Judged {
    /// Zone rules hold for what each view sees: a CNAME may stand beside an address that only the other view has.
    fn of(part: &Part, steer: &Settings) -> Self {
        let Part { zone, divided, .. } = part;
        let mut problems = divided.problems.clone();
        let mut in_views = check_view(zone, &divided.internal);
        if let Some(public) = divided.public.as_ref().filter(|public| **public != divided.internal) {
            add_new(&mut in_views, check_view(zone, public));
        }
        add_new(&mut problems, in_views);
        add_new(&mut problems, marks::problems(zone, divided, steer));
        Self { divided: Arc::clone(divided), problems: problems.into() }
    }
}

fn check_view(zone: &Zone, selection: &Selection) -> Vec<Problem> {
    let shown = selection.as_set(zone.records.len());
    check::view(zone, |index| shown.has(index))
}

fn finish(
    candidates: &mut [Candidate],
    chosen: Vec<Chosen>,
    turned_down: Vec<TurnedDown>,
    memory: &Memory,
    mut outside: HashMap<Name, Shown>,
) -> Vec<Settled> {
    let cycles = cycles(&chosen);
    let all = candidates.iter_mut().zip(chosen).zip(turned_down).zip(cycles);
    all.map(|(((candidate, chosen), turned_down), cycles)| {
        let judged = memory.judged.get(&candidate.apex).filter(|_| chosen.zone().is_some());
        let mut problems = std::mem::take(&mut candidate.problems);
        add_new(&mut problems, turned_down.problems);
        // Positions in an older version mean nothing in the file as it is now.
        if matches!(chosen, Chosen::New(_)) {
            add_new(&mut problems, judged.map(|judged| judged.problems.to_vec()).unwrap_or_default());
            add_new(&mut problems, cycles);
        }
        Settled {
            chosen,
            waits: turned_down.waits,
            problems,
            divided: judged.map(|judged| Arc::clone(&judged.divided)),
            outside: outside.remove(&candidate.apex),
        }
    })
    .collect()
}

/// Delegations that lead in circles, by candidate.
fn cycles(chosen: &[Chosen]) -> Vec<Vec<Problem>> {
    let (places, zones): (Vec<usize>, Vec<&Zone>) =
        chosen.iter().enumerate().filter_map(|(at, chosen)| chosen.zone().map(|zone| (at, &**zone))).unzip();
    let mut found: Vec<Vec<Problem>> = chosen.iter().map(|_| Vec::new()).collect();
    for across in check::cycles(&zones) {
        found[places[across.zone]].push(across.problem);
    }
    found
}

fn add_new(to: &mut Vec<Problem>, problems: Vec<Problem>) {
    for problem in problems {
        if !to.contains(&problem) {
            to.push(problem);
        }
    }
}
