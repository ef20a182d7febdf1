//! A zone in service as the operator is told of it: its state, its first error, and the records that outsiders do not see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::catalog::report::ZoneReport;
use crate::log::recent::TELLS_MORE;
use crate::metrics::LoadError;
use crate::name::Name;
use crate::zone::diagnostic;
use crate::zone::privacy::{Divided, Extent, Hidden};
use crate::zone::text::write_record;
use crate::zone::{Severity, Zone};

/// A zone in service. It holds what the catalog holds anyway.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) apex: Name,
    pub(crate) file: String,
    /// The file is the operator's: not a copy of a zone that is taken from others.
    pub(crate) is_own: bool,
    pub(crate) state: &'static str,
    pub(crate) serial: Option<u32>,
    /// The first error of the last load, with its place.
    pub(crate) error: Option<LoadError>,
    pub(crate) zone: Option<Arc<Zone>>,
    pub(crate) divided: Option<Arc<Divided>>,
}

impl Shown {
    pub(crate) fn of(zone: &ZoneReport) -> Self {
        let error = zone.problems.iter().find(|problem| problem.severity == Severity::Error);
        Self {
            apex: zone.apex.clone(),
            file: zone.source.to_string(),
            is_own: !zone.source.is_copy(),
            state: zone.state_word(),
            serial: zone.serial,
            error: error.map(|error| {
                let plain = diagnostic::plain(error, &zone.files);
                let (text, place) = match (plain.file, plain.line, plain.column) {
                    (Some(file), Some(line), Some(column)) => {
                        let place = format!("{file}:{line}:{column}");
                        (format!("{place}: {}", plain.message), format!(" {place}"))
                    }
                    _ => (plain.message, String::new()),
                };
                LoadError { text, open: format!("{}{place}; {TELLS_MORE}", plain.code) }
            }),
            zone: zone.zone.clone(),
            divided: zone.divided.clone(),
        }
    }

    pub(crate) fn hidden(&self) -> Vec<(&Name, HiddenRecord)> {
        hidden_of(self.zone.as_deref(), self.divided.as_deref()).collect()
    }

    /// The first of them.
    pub(crate) fn some_hidden(&self, most: usize) -> impl Iterator<Item = HiddenRecord> {
        hidden_of(self.zone.as_deref(), self.divided.as_deref()).take(most).map(|(_, record)| record)
    }

    pub(crate) fn undecided(&self) -> Vec<(&Name, HiddenRecord)> {
        undecided_of(self.zone.as_deref(), self.divided.as_deref()).collect()
    }

    /// The number of hidden records by the rule that hides them.
    pub(crate) fn hidden_by_rule(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::<&str, usize>::new();
        for hidden in self.divided.iter().flat_map(|divided| &divided.hidden) {
            *counts.entry(hidden.why.as_str()).or_default() += 1;
        }
        counts.into_iter().map(|(rule, count)| (rule.to_owned(), count)).collect()
    }
}

/// One hidden record, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HiddenRecord {
    /// The rule that hides it.
    pub(crate) rule: &'static str,
    /// Whether only a part of it is hidden.
    pub(crate) partly: bool,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) record: String,
}

impl HiddenRecord {
    fn of(zone: &Zone, hidden: &Hidden) -> Self {
        let partly = hidden.extent == Extent::Part;
        Self { partly, ..Self::at(zone, hidden.record, hidden.why.as_str()) }
    }

    fn at(zone: &Zone, record: u32, rule: &'static str) -> Self {
        let record = &zone.records[record as usize];
        let mut text = String::new();
        write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut text)
            .expect("a String takes any text");
        let file = &zone.files[record.at.file as usize];
        Self {
            rule,
            partly: false,
            file: file.path.display().to_string(),
            line: record.at.line,
            column: record.at.column,
            record: text,
        }
    }
}

impl fmt::Display for HiddenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, file, line, column, record, .. } = self;
        let extent = if self.partly { " (a part of it)" } else { "" };
        write!(f, "  {rule:<14} {file}:{line}:{column}: {record}{extent}")
    }
}

/// The hidden records of a zone with their owners, in the order they were written.
pub(crate) fn hidden_of<'z>(
    zone: Option<&'z Zone>,
    divided: Option<&'z Divided>,
) -> impl Iterator<Item = (&'z Name, HiddenRecord)> {
    zone.zip(divided).into_iter().flat_map(|(zone, divided)| {
        let owner = |hidden: &Hidden| &zone.records[hidden.record as usize].owner;
        divided.hidden.iter().map(move |hidden| (owner(hidden), HiddenRecord::of(zone, hidden)))
    })
}

/// The records for which outsiders get SERVFAIL, since nobody knows yet whether they are hidden.
pub(crate) fn undecided_of<'z>(
    zone: Option<&'z Zone>,
    divided: Option<&'z Divided>,
) -> impl Iterator<Item = (&'z Name, HiddenRecord)> {
    zone.zip(divided).into_iter().flat_map(|(zone, divided)| {
        let told = |at: &u32| (&zone.records[*at as usize].owner, HiddenRecord::at(zone, *at, "undecided"));
        divided.undecided.iter().map(told)
    })
}
