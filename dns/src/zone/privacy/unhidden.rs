//! Records that an edit makes public although their own text is the same: their target was deleted, their host got a public
//! address, another zone is gone, the config hides less. Nobody may have meant that.

use std::collections::HashMap;

use super::{Divided, Extent, Rule};
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::{Mark, Record, Severity, Zone};

/// A record that outsiders get, or get more of, than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unhidden {
    /// Index into the records of the new version.
    pub record: u32,
    /// The rule that hid it.
    pub was: Rule,
}

/// Compares two versions of one zone, each with its division. The text of a record is its owner, type, RDATA and mark; of a
/// SOA, its names.
pub fn unhidden(old: (&Zone, &Divided), new: (&Zone, &Divided)) -> Vec<Unhidden> {
    let Some(public) = new.1.public.as_ref().filter(|_| !old.1.hidden.is_empty()) else { return Vec::new() };
    let before = Before::new(old.0, old.1);
    let shown = public.as_set(new.0.records.len());
    let mut found = Vec::new();
    for (index, record) in (0..).zip(&new.0.records).filter(|(index, _)| shown.has(*index)) {
        let Some((at, hidden)) = before.find(record) else { continue };
        let is_more = match hidden.extent {
            Extent::Record => true,
            Extent::Part => shown_bytes(new, index) > shown_bytes(old, at),
        };
        if is_more {
            found.push(Unhidden { record: index, was: hidden.why });
        }
    }
    found
}

/// How much of a record's RDATA is its own text. Elsewhere a name that stands in for a hidden one may be longer.
fn shown_bytes((zone, divided): (&Zone, &Divided), at: u32) -> usize {
    let record = zone.record(at);
    let rewritten = divided.public.as_ref().and_then(|public| public.rewritten(at));
    match (rewritten, record.rtype) {
        (None, _) => record.rdata.len(),
        (Some(rdata), Type::SVCB | Type::HTTPS) => rdata.len(),
        (Some(_), _) => 0,
    }
}

/// The hidden records of the old version by their text.
struct Before<'z> {
    by_text: HashMap<Text<'z>, (u32, super::Hidden)>,
}

#[derive(PartialEq, Eq, Hash)]
struct Text<'z> {
    owner: &'z Name,
    rtype: Type,
    rdata: &'z [u8],
    mark: Option<&'static str>,
}

impl<'z> Text<'z> {
    fn of(record: &'z Record) -> Self {
        // Every edit changes the serial, and MINIMUM and the timers name nobody.
        let numbers = if record.rtype == Type::SOA { 20 } else { 0 };
        let names = record.rdata.len().saturating_sub(numbers);
        Self {
            owner: &record.owner,
            rtype: record.rtype,
            rdata: &record.rdata[..names],
            mark: record.mark.map(Mark::as_str),
        }
    }
}

impl<'z> Before<'z> {
    fn new(zone: &'z Zone, divided: &Divided) -> Self {
        // A record that a fault took from outsiders was not hidden for that.
        let is_at_fault = divided.problems.iter().any(|problem| problem.severity == Severity::Error);
        let by_fault = |why| is_at_fault && matches!(why, Rule::D12 | Rule::D13 | Rule::D15);
        let hidden = divided.hidden.iter().filter(|hidden| !by_fault(hidden.why));
        let by_text = hidden.map(|hidden| (Text::of(zone.record(hidden.record)), (hidden.record, *hidden)));
        Self { by_text: by_text.collect() }
    }

    fn find(&self, record: &Record) -> Option<(u32, super::Hidden)> {
        self.by_text.get(&Text::of(record)).copied()
    }
}
