//! Reports of records that became public although their own text did not change.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::name::Name;
use crate::rdata;
use crate::zone::privacy::{Divided, Part, Rule, Unhidden, unhidden};
use crate::zone::{Position, Zone};

/// A zone and its division.
#[derive(Clone, Copy)]
pub(crate) struct Version<'z> {
    pub(crate) zone: &'z Zone,
    pub(crate) divided: &'z Divided,
}

impl<'z> From<&'z Part> for Version<'z> {
    fn from(part: &'z Part) -> Self {
        Self { zone: &part.zone, divided: &part.divided }
    }
}

/// Records that became public: the first of them, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) count: usize,
    pub(crate) some: Vec<Line>,
}

/// One record that became public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) zone: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    #[serde(skip)]
    pub(crate) at: Position,
    /// Owner and type.
    pub(crate) record: String,
    /// The rule that hid it.
    pub(crate) was: &'static str,
    pub(crate) why: String,
}

/// Records that are told one by one.
const MOST_TOLD: usize = 100;
/// Of those, how many a log line or a problem shows.
const MOST_SHOWN: usize = 10;

/// The records of one zone that the step from `old` to `new` makes public.
pub(super) fn between(old: Version<'_>, new: Version<'_>) -> Vec<Unhidden> {
    if std::ptr::eq(old.divided, new.divided) && std::ptr::eq(old.zone, new.zone) {
        return Vec::new();
    }
    unhidden((old.zone, old.divided), (new.zone, new.divided))
}

/// The records of each zone in `after` that became public.
pub(crate) fn told<'z>(before: &HashMap<&Name, Version<'z>>, after: &[Version<'z>]) -> Told {
    let mut told = Told::default();
    for new in after {
        let Some(old) = before.get(&new.zone.apex) else { continue };
        told.add(*new, &between(*old, *new), after);
    }
    told
}

impl Told {
    /// `all` are the zones that are served beside that of `of`.
    pub(super) fn add(&mut self, of: Version<'_>, records: &[Unhidden], all: &[Version<'_>]) {
        self.count += records.len();
        let room = MOST_TOLD.saturating_sub(self.some.len());
        self.some.extend(records.iter().take(room).map(|unhidden| Line::of(of.zone, *unhidden, all)));
    }
}

impl Line {
    fn of(zone: &Zone, unhidden: Unhidden, all: &[Version<'_>]) -> Self {
        let record = zone.record(unhidden.record);
        let file = zone.files.get(record.at.file as usize);
        Self {
            zone: zone.apex.to_string(),
            file: file.map(|file| file.path.display().to_string()).unwrap_or_default(),
            line: record.at.line,
            at: record.at,
            record: format!("{} {}", record.owner, record.rtype),
            was: unhidden.was.as_str(),
            why: why(zone, unhidden, all),
        }
    }
}

fn why(zone: &Zone, Unhidden { record, was }: Unhidden, all: &[Version<'_>]) -> String {
    let record = zone.record(record);
    match was {
        Rule::D6 | Rule::D13 => {
            let names = rdata::names(record.rtype, &record.rdata).into_iter();
            let target =
                names.filter_map(|(_, wire)| Name::from_wire(wire).ok()).find(|name| !name.is_root());
            match target {
                Some(target) => format!("{target} {}", became(&target, all)),
                None => "the server that it named is no longer hidden".to_owned(),
            }
        }
        Rule::D7 => "its host, or the service, is no longer hidden".to_owned(),
        Rule::D12 | Rule::D15 => "outsiders see the zone now".to_owned(),
        _ => "the config does not hide it any more".to_owned(),
    }
}

/// The change that unhid a name, in words.
fn became(name: &Name, all: &[Version<'_>]) -> &'static str {
    let holds = |version: &&Version<'_>| name.is_at_or_under(&version.zone.apex);
    let Some(version) = all.iter().filter(holds).max_by_key(|version| version.zone.apex.label_count()) else {
        return "is in no zone here any more";
    };
    let exists = version.zone.records.iter().any(|record| record.owner.is_at_or_under(name));
    if exists { "is no longer hidden" } else { "does not exist any more" }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, record, was, why, .. } = self;
        write!(f, "{file}:{line}: {record} was hidden by {was}, but {why}")
    }
}

/// The first lines, each on its own, and how many more there are.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.some.iter().take(MOST_SHOWN);
        let count = shown.len();
        shown.enumerate().try_for_each(|(at, line)| {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}  {line}")
        })?;
        match self.count - count {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Told {
    /// In one line.
    pub(crate) fn in_line(&self) -> String {
        let mut text = String::new();
        for (at, line) in self.some.iter().take(MOST_SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(text, "{separator}{line}").expect("a String takes any text");
        }
        match self.count.saturating_sub(MOST_SHOWN) {
            0 => text,
            more => format!("{text}; and {more} more"),
        }
    }
}
