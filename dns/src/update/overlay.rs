//! The changes of updates, beside the zone file: the file stays its author's.
//!
//! ```text
//! zone = (file without what is hidden) and what is added
//! ```
//!
//! A record is known by its [data](Data): a TTL that its author or an update changes makes no other record of it.

use std::ops::Deref;

use crate::name::Name;
use crate::rdata;
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::{Mark, Position, Record};

/// All changes that lie over one zone file.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Records that the file lacks, each with its line in the journal.
    pub added: Records,
    /// Records of the file that are taken out.
    pub hidden: Records,
}

/// Owner, type and RDATA, letters of names in it aside.
pub(super) type Data = (Name, Type, Vec<u8>);

pub(super) fn data(record: &Record) -> Data {
    (record.owner.clone(), record.rtype, rdata::lowered(record.rtype, &record.rdata))
}

/// Records in the order in which they came, each once; whether one is there takes one look-up.
#[derive(Clone, Debug, Default)]
pub struct Records {
    all: Vec<Record>,
    there: HashMap<Data, ()>,
}

impl Records {
    /// The record with the same data.
    pub(super) fn find(&self, record: &Record) -> Option<&Record> {
        let is_there = self.there.contains_key(&data(record));
        if is_there { self.all.iter().find(|it| have_same_data(it, record)) } else { None }
    }

    /// In the place of what has the same data. A record that each side added for itself is for both.
    fn add(&mut self, mut record: Record) {
        if let Some(known) = self.find(&record).cloned() {
            if are_opposite(known.mark, record.mark) {
                record.mark = None;
            }
            self.drop(&known);
        }
        self.there.insert(data(&record), ());
        self.all.push(record);
    }

    fn drop(&mut self, record: &Record) {
        if self.there.remove(&data(record)).is_some() {
            self.all.retain(|it| !have_same_data(it, record));
        }
    }
}

/// As by [`data`], without making it: this is asked of each record that an update lies over.
fn have_same_data(one: &Record, other: &Record) -> bool {
    one.rtype == other.rtype
        && one.owner == other.owner
        && rdata::is_same(one.rtype, &one.rdata, &other.rdata)
}

/// One is for insiders alone, the other for outsiders alone.
fn are_opposite(one: Option<Mark>, other: Option<Mark>) -> bool {
    use Mark::{Internal, Outside};
    matches!((one, other), (Some(Internal), Some(Outside)) | (Some(Outside), Some(Internal)))
}

impl Deref for Records {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        &self.all
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

impl Overlay {
    /// Whether nothing lies over the file.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.hidden.is_empty()
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.added.len() + self.hidden.len()
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
    ///
    /// Of what stands in the file, its author says who sees it, although an update has given it another TTL. If its author
    /// gave it to one side alone, and an update to the other, both have it, by the rules. A name that the file marks as a pool stays
    /// one, whatever becomes of the record at which the mark stands.
    pub fn over(&self, file: Vec<Record>, journal: u32) -> Vec<Record> {
        let touched = self.added.iter().chain(self.hidden.iter());
        let touched: HashMap<(&Name, Type), ()> =
            touched.map(|record| ((&record.owner, record.rtype), ())).collect();
        let (mut taken_out, mut in_file) = (HashMap::default(), HashMap::default());
        let mut records = Vec::with_capacity(file.len() + self.added.len());
        for record in file {
            if touched.contains_key(&(&record.owner, record.rtype)) {
                let data = data(&record);
                if self.hidden.there.contains_key(&data) {
                    taken_out.insert(data, record.marks());
                    continue;
                }
                in_file.insert(data, records.len());
            }
            records.push(record);
        }
        for added in self.added.iter() {
            let data = data(added);
            let mut placed = Record { at: Position { file: journal, ..added.at }, ..added.clone() };
            if let Some(at) = in_file.get(&data) {
                let own: &mut Record = &mut records[*at];
                // The file may have by now what was added.
                if are_opposite(own.mark, added.mark) {
                    placed.mark = None;
                    placed.steer |= own.steer;
                    *own = placed;
                }
                continue;
            }
            if let Some(marks) = taken_out.get(&data) {
                placed.steer |= marks.steer;
                // One side's own stays so, although the other has lost its.
                if added.mark != Some(Mark::Outside) && !are_opposite(added.mark, marks.seen_by) {
                    placed.mark = marks.seen_by;
                }
            }
            records.push(placed);
        }
        let lost = taken_out.into_iter().filter(|(_, marks)| marks.steer);
        keep_pools(&mut records, lost.map(|((owner, ..), _)| (owner, ())).collect());
        records
    }
}

/// Marks an address of each of these names that has addresses and no mark.
fn keep_pools(records: &mut [Record], mut names: HashMap<Name, ()>) {
    if names.is_empty() {
        return;
    }
    for record in records.iter().filter(|record| record.steer) {
        names.remove(&record.owner);
    }
    for record in records.iter_mut().filter(|record| is_address(record)) {
        record.steer |= names.remove(&record.owner).is_some();
    }
}

/// Whether it can be the member of a pool.
pub(super) fn is_address(record: &Record) -> bool {
    matches!(record.rtype, Type::A | Type::AAAA)
}
