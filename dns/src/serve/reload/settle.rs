//! Which version of each zone is served: the new one if it is good together with all others, else the last good one.
//!
//! A zone can be at fault because of another (a name server that has become internal), so all zones are divided
//! together, those at fault step back, and the rest is divided again. Each round takes at least one version away, so
//! there is an end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::library::seen;
use crate::name::Name;
use crate::zone::check;
use crate::zone::privacy::{Divided, Rules, Selection, divide};
use crate::zone::{Problem, Severity, SourceFile, Zone};

/// A zone that has a file.
pub(super) struct Candidate {
    pub(super) apex: Name,
    pub(super) path: PathBuf,
    pub(super) files: Vec<SourceFile>,
    /// Of the file and of the zone on its own.
    pub(super) problems: Vec<Problem>,
    /// The file's version, if it is good on its own.
    pub(super) new: Option<Arc<Zone>>,
    /// The file's version if it is not good, but was understood.
    pub(super) withheld: Option<Arc<Zone>>,
    /// The last good version.
    pub(super) good: Option<Arc<Zone>>,
}

/// What is served of a zone.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    /// What the file says now.
    New(Arc<Zone>),
    /// What it said before.
    Good(Arc<Zone>),
    /// What it said before, as it was compiled then: others changed so that it would not pass again.
    Frozen(Arc<Zone>),
    /// Nothing: it never was good. What its file says takes part in the division, so that the names in it that are
    /// hidden stay hidden in other zones.
    Nothing(Option<Arc<Zone>>),
}

/// What became of a candidate.
pub(super) struct Settled {
    pub(super) chosen: Chosen,
    /// All that was found, of versions that were turned down, too.
    pub(super) problems: Vec<Problem>,
    pub(super) divided: Option<Divided>,
}

impl Candidate {
    /// A second file for the same zone: neither is believed.
    pub(super) fn also_in(&mut self, other: &Path) {
        self.withheld = self.new.take().or(self.withheld.take());
        self.problems.push(Problem {
            severity: Severity::Error,
            code: "two-files",
            at: None,
            message: format!(
                "two files are for the zone {}: {} and {}",
                self.apex,
                self.path.display(),
                other.display()
            ),
            help: Some("remove one of them, or mend its $ORIGIN".to_owned()),
        });
    }
}

impl Chosen {
    fn first(candidate: &Candidate) -> Self {
        match (&candidate.new, &candidate.good) {
            (Some(zone), _) => Self::New(Arc::clone(zone)),
            (None, Some(zone)) => Self::Good(Arc::clone(zone)),
            (None, None) => Self::Nothing(candidate.withheld.clone()),
        }
    }

    fn zone(&self) -> Option<&Zone> {
        match self {
            Self::New(zone) | Self::Good(zone) | Self::Frozen(zone) => Some(zone),
            Self::Nothing(zone) => zone.as_deref(),
        }
    }

    fn step_back(&mut self, candidate: &Candidate) {
        *self = match (&*self, &candidate.good) {
            (Self::New(new), Some(good)) if !Arc::ptr_eq(new, good) => Self::Good(Arc::clone(good)),
            (Self::New(_) | Self::Good(_), Some(good)) => Self::Frozen(Arc::clone(good)),
            (Self::New(new), None) => Self::Nothing(Some(Arc::clone(new))),
            (settled, _) => settled.clone(),
        };
    }

    fn may_step_back(&self) -> bool {
        matches!(self, Self::New(_) | Self::Good(_))
    }
}

pub(super) fn settle(candidates: &mut [Candidate], rules: &Rules) -> Vec<Settled> {
    let mut chosen: Vec<Chosen> = candidates.iter().map(Chosen::first).collect();
    let mut turned_down: Vec<Vec<Problem>> = candidates.iter().map(|_| Vec::new()).collect();
    loop {
        let mut divided = divide_all(&chosen, rules);
        let mut again = false;
        for (at, divided) in divided.iter_mut().enumerate() {
            let Some(divided) = divided else { continue };
            check_views(&chosen[at], divided);
            if chosen[at].may_step_back() && has_error(&divided.problems) {
                add_new(&mut turned_down[at], std::mem::take(&mut divided.problems));
                chosen[at].step_back(&candidates[at]);
                again = true;
            }
        }
        if !again {
            return finish(candidates, chosen, turned_down, divided);
        }
    }
}

fn divide_all(chosen: &[Chosen], rules: &Rules) -> Vec<Option<Divided>> {
    let zones: Vec<&Zone> = chosen.iter().filter_map(Chosen::zone).collect();
    let mut divided = divide(&zones, rules).into_iter();
    chosen.iter().map(|chosen| chosen.zone().and_then(|_| divided.next())).collect()
}

/// Zone rules hold for what each view sees: a CNAME may stand beside an address that only the other view has.
fn check_views(chosen: &Chosen, divided: &mut Divided) {
    let Some(zone) = chosen.zone() else { return };
    let mut problems = check_view(zone, &divided.internal);
    if let Some(public) = divided.public.as_ref().filter(|public| **public != divided.internal) {
        add_new(&mut problems, check_view(zone, public));
    }
    add_new(&mut divided.problems, problems);
}

fn check_view(zone: &Zone, selection: &Selection) -> Vec<Problem> {
    match selection.is_whole() {
        true => check::view(&zone.apex, &zone.records),
        false => check::view(&zone.apex, &seen(zone, selection)),
    }
}

fn finish(
    candidates: &mut [Candidate],
    chosen: Vec<Chosen>,
    turned_down: Vec<Vec<Problem>>,
    divided: Vec<Option<Divided>>,
) -> Vec<Settled> {
    let cycles = cycles(&chosen);
    let all = candidates.iter_mut().zip(chosen).zip(turned_down).zip(divided).zip(cycles);
    all.map(|((((candidate, chosen), turned_down), mut divided), cycles)| {
        let mut problems = std::mem::take(&mut candidate.problems);
        add_new(&mut problems, turned_down);
        // Positions in an older version mean nothing in the file as it is now.
        if matches!(chosen, Chosen::New(_)) {
            let found = divided.as_mut().map(|divided| std::mem::take(&mut divided.problems));
            add_new(&mut problems, found.unwrap_or_default());
            add_new(&mut problems, cycles);
        }
        Settled { chosen, problems, divided }
    })
    .collect()
}

/// Delegations that lead in circles, by candidate.
fn cycles(chosen: &[Chosen]) -> Vec<Vec<Problem>> {
    let (places, zones): (Vec<usize>, Vec<&Zone>) =
        chosen.iter().enumerate().filter_map(|(at, chosen)| chosen.zone().map(|zone| (at, zone))).unzip();
    let mut found: Vec<Vec<Problem>> = chosen.iter().map(|_| Vec::new()).collect();
    for across in check::cycles(&zones) {
        found[places[across.zone]].push(across.problem);
    }
    found
}

fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

fn add_new(to: &mut Vec<Problem>, problems: Vec<Problem>) {
    for problem in problems {
        if !to.contains(&problem) {
            to.push(problem);
        }
    }
}
