//! Rules that hold before a zone is served, and warnings for what hurts later.
//!
//! Three questions, because they are asked of different things: [`check()`] of the zone as it was written, [`view()`] of
//! what one view holds of it (a lone CNAME and so on), [`cycles`] of all zones together.
//!
//! Invariant: nothing here looks at text; what only the text shows was reported when it was read.

mod advice;
mod apex;
mod cut;
mod cycle;
mod name;
mod nodes;
mod policy;
mod serial;
mod signature;
mod size;
mod target;
mod ttl;
mod view;

use std::net::IpAddr;

pub(crate) use self::advice::key_tag;
pub use self::signature::{NOTICE_S as SIGNATURE_NOTICE_S, expiring, signatures_expire};

use self::nodes::Nodes;
use super::tree::Tree;
use super::{Position, Problem, Severity, Zone};
use crate::name::Name;

/// Facts that the rules need beside the zone.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Whether an address must not reach outsiders (D1, D2, `private`).
    pub hidden_address: &'a dyn Fn(IpAddr) -> bool,
    /// Whether a name is internal by its suffix or by the config.
    pub internal_name: &'a dyn Fn(&Name) -> bool,
}

/// The rules on one zone as it was written, whatever its views; `tree` is that of all its records.
pub fn check(zone: &Zone, tree: &Tree, context: Context<'_>) -> Vec<Problem> {
    let nodes = Nodes::of(tree);
    let mut found = Found::default();
    apex::missing(zone, &mut found);
    present(zone, &nodes, context, &mut found);
    target::judge(zone, &nodes, &mut found);
    advice::unproved(zone, tree, &mut found);
    found.into_problems()
}

/// The rules on a zone of which all but the SOA was understood: that it is missing was told when it was read.
pub fn without_soa(zone: &Zone, tree: &Tree, context: Context<'_>) -> Vec<Problem> {
    let mut problems = check(zone, tree, context);
    problems.retain(|problem| problem.code != "no-soa");
    problems
}

/// The rules on a zone of which only a part was understood: none that complain of something missing.
pub fn partial(zone: &Zone, tree: &Tree, context: Context<'_>) -> Vec<Problem> {
    let mut found = Found::default();
    present(zone, &Nodes::of(tree), context, &mut found);
    found.into_problems()
}

/// Reports faults of records that are there.
fn present(zone: &Zone, nodes: &Nodes<'_>, context: Context<'_>, found: &mut Found) {
    apex::surplus(zone, found);
    name::judge(zone, nodes, found);
    ttl::judge(zone, context, found);
    cut::judge(zone, nodes, found);
    advice::judge(zone, found);
    policy::judge(zone, found);
    size::judge(zone, found);
}

/// The rules that hold per view (a lone CNAME and so on), on the records of a zone that one view shows, by their index.
pub fn view(zone: &Zone, shows: impl Fn(u32) -> bool) -> Vec<Problem> {
    let mut found = Found::default();
    view::judge(zone, &shows, &mut found);
    found.into_problems()
}

/// A problem that only shows when all zones are seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Across {
    /// Index of the zone whose files [`Problem::at`] counts in.
    pub zone: usize,
    /// The problem.
    pub problem: Problem,
}

/// Delegations that lead back to where they began (TsuNAME), over all loaded zones.
pub fn cycles(zones: &[&Zone]) -> Vec<Across> {
    cycle::find(zones)
}

/// A warning when `new` differs from `old` but its SOA serial was not raised (RFC 1982).
pub fn serial(old: &Zone, new: &Zone) -> Option<Problem> {
    serial::judge(old, new)
}

/// Most problems of one zone that are kept; a rule that a whole zone breaks says so more than often enough.
const MAX_PROBLEMS: usize = 1_000;

/// Collects problems.
#[derive(Debug, Default)]
struct Found {
    problems: Vec<Problem>,
    left_out: usize,
}

impl Found {
    fn error(&mut self, at: Option<Position>, code: &'static str, message: String, help: &str) {
        self.add(Severity::Error, at, code, message, help);
    }

    fn warning(&mut self, at: Option<Position>, code: &'static str, message: String, help: &str) {
        self.add(Severity::Warning, at, code, message, help);
    }

    fn add(
        &mut self,
        severity: Severity,
        at: Option<Position>,
        code: &'static str,
        message: String,
        help: &str,
    ) {
        if self.problems.len() >= MAX_PROBLEMS && severity != Severity::Error {
            self.left_out += 1;
            return;
        }
        let help = (!help.is_empty()).then(|| help.to_owned());
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { severity, code, at, message, help });
            return;
        }
        // An error is never the one that is left out: it takes the place of a warning.
        self.left_out += 1;
        if let Some(warning) = self.problems.iter_mut().rfind(|problem| problem.severity != Severity::Error) {
            *warning = Problem { severity, code, at, message, help };
        }
    }

    /// In the order of the text.
    fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.at);
        if self.left_out > 0 {
            self.problems.push(Problem {
                severity: Severity::Note,
                code: "too-many-problems",
                at: None,
                message: format!("{} more problems are not shown", self.left_out),
                help: None,
            });
        }
        self.problems
    }
}

#[cfg(test)]
mod tests;
