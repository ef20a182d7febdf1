//! The changes of updates, beside the zone file: the file stays its author's.
//!
//! ```text
//! zone = (file without what is hidden) and what is added
//! ```

use crate::name::Name;
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;
use crate::transfer::Change;
use crate::zone::hash::HashMap;
use crate::zone::{Position, Record};

/// All changes that lie over one zone file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// Records that the file lacks, each with its line in the journal.
    pub added: Vec<Record>,
    /// Records of the file that are taken out.
    pub hidden: Vec<Record>,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The record is there, though not in the file.
    Add(Record),
    /// It is added no longer.
    Drop(Record),
    /// A record of the file is not there.
    Hide(Record),
    /// It is there again.
    Show(Record),
}

impl Step {
    /// The word and the record of a line.
    pub fn parts(&self) -> (&'static str, &Record) {
        match self {
            Self::Add(record) => ("add", record),
            Self::Drop(record) => ("drop", record),
            Self::Hide(record) => ("hide", record),
            Self::Show(record) => ("show", record),
        }
    }

    /// The step of a line.
    pub fn of(word: &str, record: Record) -> Option<Self> {
        Some(match word {
            "add" => Self::Add(record),
            "drop" => Self::Drop(record),
            "hide" => Self::Hide(record),
            "show" => Self::Show(record),
            _ => return None,
        })
    }
}

type Key<'r> = (&'r Name, Type, u32, &'r SmallBytes);

fn key(record: &Record) -> Key<'_> {
    (&record.owner, record.rtype, record.ttl, &record.rdata)
}

type Data<'r> = (&'r Name, Type, &'r SmallBytes);

fn data(record: &Record) -> Data<'_> {
    (&record.owner, record.rtype, &record.rdata)
}

fn has(records: &[Record], record: &Record) -> bool {
    records.iter().any(|it| key(it) == key(record))
}

impl Overlay {
    /// Whether nothing lies over the file.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.hidden.is_empty()
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.added.len() + self.hidden.len()
    }

    /// The steps by which a change is made; `in_file` tells the file's own records.
    pub fn steps(&self, change: &Change, in_file: impl Fn(&Record) -> bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for gone in &change.gone {
            if has(&self.added, gone) {
                steps.push(Step::Drop(gone.clone()));
            }
            if in_file(gone) && !has(&self.hidden, gone) {
                steps.push(Step::Hide(gone.clone()));
            }
        }
        for come in &change.come {
            steps.push(match has(&self.hidden, come) {
                true => Step::Show(come.clone()),
                false => Step::Add(come.clone()),
            });
        }
        steps
    }

    /// Takes one step.
    pub fn take(&mut self, step: Step) {
        let without =
            |records: &mut Vec<Record>, record: &Record| records.retain(|it| key(it) != key(record));
        match step {
            Step::Add(record) if has(&self.added, &record) => {}
            Step::Add(record) => self.added.push(record),
            Step::Drop(record) => without(&mut self.added, &record),
            Step::Hide(record) if has(&self.hidden, &record) => {}
            Step::Hide(record) => self.hidden.push(record),
            Step::Show(record) => without(&mut self.hidden, &record),
        }
    }

    /// The zone's records: those of the file, and what is added with its place in the file of this index.
    pub fn over(&self, mut records: Vec<Record>, journal: u32) -> Vec<Record> {
        let hidden: HashMap<Key<'_>, ()> = self.hidden.iter().map(|record| (key(record), ())).collect();
        let added: HashMap<Data<'_>, ()> = self.added.iter().map(|record| (data(record), ())).collect();
        // The file may have by now what was added.
        let in_file = records.iter().map(data).filter(|data| added.contains_key(data));
        let in_file: HashMap<Data<'_>, ()> = in_file.map(|data| (data, ())).collect();
        let new = self.added.iter().filter(|record| !in_file.contains_key(&data(record)));
        let placed =
            |record: &Record| Record { at: Position { file: journal, ..record.at }, ..record.clone() };
        let new: Vec<Record> = new.map(placed).collect();
        let mut stays =
            records.iter().map(|record| !hidden.contains_key(&key(record))).collect::<Vec<_>>().into_iter();
        records.retain(|_| stays.next().unwrap_or(true));
        records.extend(new);
        records
    }
}
