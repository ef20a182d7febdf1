//! Records that lead into a zone that never had a good version (D6): unknown is not "no".
//!
//! The division takes what was understood of such a zone for the zone. Then the closure goes on as if every name in it was
//! hidden, and what it hides on top is undecided: if it was left out, an RRset would be denied that outsiders may have
//! had for years, and if it was shown, it might name a hidden host. Three things are never undecided:
//!
//! - what is hidden by what is known, also by the draft of the zone itself: it does not exist outside;
//! - NS records, and so whether a zone or a cut exists;
//! - a record that a mark publishes.

use std::collections::{BTreeSet, HashSet};

use super::wording::Named;
use super::{Divided, HiddenNames};
use crate::name::Name;
use crate::rdata;
use crate::rtype::Type;
use crate::zone::{Problem, Record, Severity, Zone};

/// The code of the warning.
pub(super) const CODE: &str = "undecided";

/// Takes the RRsets of undecided records out of what outsiders get, and tells the author.
pub(super) fn withhold(zone: &Zone, divided: &mut Divided, undecided: &[u32], names: &HiddenNames<'_>) {
    let Some(public) = divided.public.as_mut().filter(|_| !undecided.is_empty()) else { return };
    let key = |record: &Record| (record.owner.clone(), record.rtype);
    let sets: HashSet<(Name, Type)> = undecided.iter().map(|at| key(zone.record(*at))).collect();
    let shown = public.as_set(zone.records.len());
    let withheld =
        (0..).zip(&zone.records).filter(|(at, record)| shown.has(*at) && sets.contains(&key(record)));
    divided.undecided = withheld.map(|(at, _)| at).collect();
    public.leave_out(&divided.undecided, zone.records.len());
    divided.problems.extend(told(zone, undecided, names));
}

fn told(zone: &Zone, undecided: &[u32], names: &HiddenNames<'_>) -> Option<Problem> {
    let records: Vec<&Record> = undecided.iter().map(|at| zone.record(*at)).collect();
    let at = records.first()?.at;
    let targets = records.iter().flat_map(|record| rdata::names(record.rtype, &record.rdata));
    let unknown: BTreeSet<String> =
        targets.filter_map(|(_, wire)| Some(names.unknown_zone(wire)?.to_string())).collect();
    let unknown = match unknown.into_iter().collect::<Vec<_>>().as_slice() {
        [] => "where it leads".to_owned(),
        zones => zones.join(" and "),
    };
    let message = format!(
        "outsiders get SERVFAIL for this, since nobody knows what is hidden in {unknown}, whose file was never good: {}",
        Named(records)
    );
    let help = format!("mend the file of {unknown}, or publish the record on purpose: `; verge: public`");
    Some(Problem { severity: Severity::Warning, code: CODE, at: Some(at), message, help: Some(help) })
}
