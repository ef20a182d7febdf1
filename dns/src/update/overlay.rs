//! The changes of updates, beside the zone file: the file stays its author's.
//!
//! ```text
//! zone = (file without what is hidden) and what is added
//! ```

use std::ops::Deref;

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
    pub added: Records,
    /// Records of the file that are taken out.
    pub hidden: Records,
}

/// Records in the order in which they came, each once; whether one is there takes one look-up.
#[derive(Clone, Debug, Default)]
pub struct Records {
    all: Vec<Record>,
    there: HashMap<(Name, Type, u32, SmallBytes), ()>,
}

impl Records {
    fn has(&self, record: &Record) -> bool {
        self.there.contains_key(&owned(record))
    }

    fn add(&mut self, record: Record) {
        if self.there.insert(owned(&record), ()).is_none() {
            self.all.push(record);
        }
    }

    fn drop(&mut self, record: &Record) {
        if self.there.remove(&owned(record)).is_some() {
            self.all.retain(|it| key(it) != key(record));
        }
    }
}

fn owned(record: &Record) -> (Name, Type, u32, SmallBytes) {
    (record.owner.clone(), record.rtype, record.ttl, record.rdata.clone())
}

impl Deref for Records {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        &self.all
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut all = Self::default();
        records.into_iter().for_each(|record| all.add(record));
        all
    }
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
            if self.added.has(gone) {
                steps.push(Step::Drop(gone.clone()));
            }
            if in_file(gone) && !self.hidden.has(gone) {
                steps.push(Step::Hide(gone.clone()));
            }
        }
        for come in &change.come {
            steps.push(match self.hidden.has(come) {
                true => Step::Show(come.clone()),
                false => Step::Add(come.clone()),
            });
        }
        steps
    }

    /// Takes one step.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Add(record) => self.added.add(record),
            Step::Drop(record) => self.added.drop(&record),
            Step::Hide(record) => self.hidden.add(record),
            Step::Show(record) => self.hidden.drop(&record),
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
