//! The lines of a journal by which a change is made, and who gets what is added.
//!
//! Invariant: a key of one side neither deletes what only the other side sees, nor makes it seen by adding the same.
//! Invariant: what a key of the inside adds is for the inside, unless its policy says that it publishes.

use super::overlay::{Data, data};
use super::{Overlay, Step};
use crate::transfer::Change;
use crate::view::Which;
use crate::zone::hash::HashMap;
use crate::zone::{Mark, Marks, Record};

/// The records of the zone in service that have the data of what a change is about, whoever sees them.
#[derive(Clone, Debug, Default)]
pub struct There {
    records: HashMap<Data, (Record, bool)>,
}

impl There {
    /// `zone` are the zone's records; `in_file` tells those of the zone file from those of updates.
    pub fn of(change: &Change, zone: &[Record], in_file: impl Fn(&Record) -> bool) -> Self {
        let about = || change.gone.iter().chain(&change.come);
        let sets: HashMap<_, ()> = about().map(|record| ((&record.owner, record.rtype), ())).collect();
        let wanted: HashMap<Data, ()> = about().map(|record| (data(record), ())).collect();
        let of_sets = zone.iter().filter(|record| sets.contains_key(&(&record.owner, record.rtype)));
        let all = of_sets.map(|record| (data(record), (record.clone(), in_file(record))));
        Self { records: all.filter(|(data, _)| wanted.contains_key(data)).collect() }
    }

    fn find(&self, record: &Record) -> Option<&(Record, bool)> {
        self.records.get(&data(record))
    }
}

/// The author of a change, as the author of what it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    /// The view of its key.
    pub view: Which,
    /// Its records are for its own side alone.
    pub is_alone: bool,
}

impl Author {
    /// The mark of what is for its side alone.
    fn own(self) -> Mark {
        match self.view {
            Which::Internal => Mark::Internal,
            Which::Public => Mark::Outside,
        }
    }

    /// The mark of what its side does not see.
    fn others(self) -> Mark {
        match self.view {
            Which::Internal => Mark::Outside,
            Which::Public => Mark::Internal,
        }
    }
}

impl Overlay {
    /// The steps by which a change of this author is made. `publishes` tells what a key of the inside may add for all.
    pub fn steps(
        &self,
        change: &Change,
        there: &There,
        author: Author,
        publishes: impl Fn(&Record) -> bool,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let stays: HashMap<Data, ()> = change.come.iter().map(|come| (data(come), ())).collect();
        for gone in &change.gone {
            match stays.contains_key(&data(gone)) {
                true => self.lose(gone, there, None, &mut steps),
                false => self.lose(gone, there, Some(author), &mut steps),
            }
        }
        let goes: HashMap<Data, ()> = change.gone.iter().map(|gone| (data(gone), ())).collect();
        for come in &change.come {
            steps.push(match goes.contains_key(&data(come)) {
                true => self.renew(come, there),
                false => self.gain(come, there, author, &publishes),
            });
        }
        steps
    }

    /// `author` is none if the record comes again, with another TTL.
    fn lose(&self, gone: &Record, there: &There, author: Option<Author>, steps: &mut Vec<Step>) {
        let added = self.added.find(gone);
        // The zone file gives it to this side, and an update gave it to the other, which keeps it.
        if let (Some(added), Some(author)) = (added, author)
            && added.mark == Some(author.others())
        {
            let mark = Some(author.own());
            return steps.push(Step::Hide(Record { mark, ..added.clone() }));
        }
        steps.extend(added.cloned().map(Step::Drop));
        if let Some((record, true)) = there.find(gone) {
            steps.push(Step::Hide(record.clone()));
        }
    }

    /// A record that was there, with another TTL.
    fn renew(&self, come: &Record, there: &There) -> Step {
        let added = self.added.find(come);
        let known = added.or(there.find(come).map(|(record, _)| record));
        let marks = known.map(Record::marks).unwrap_or_default();
        match self.hidden.find(come) {
            Some(hidden) if hidden.ttl == come.ttl && hidden.marks() == marks => Step::Show(hidden.clone()),
            _ => Step::Add(marked(come, marks)),
        }
    }

    /// A record that the author's view did not have.
    fn gain(
        &self,
        come: &Record,
        there: &There,
        author: Author,
        publishes: impl Fn(&Record) -> bool,
    ) -> Step {
        let own = Marks { seen_by: Some(author.own()), steer: false };
        if author.is_alone || there.find(come).is_some() {
            return Step::Add(marked(come, own));
        }
        match self.hidden.find(come) {
            Some(hidden) if hidden.mark == Some(author.others()) => Step::Add(marked(come, own)),
            Some(hidden) if hidden.ttl == come.ttl => Step::Show(hidden.clone()),
            Some(hidden) => Step::Add(marked(come, hidden.marks())),
            None if author.view == Which::Internal && !publishes(come) => Step::Add(marked(come, own)),
            None => Step::Add(marked(come, Marks::default())),
        }
    }
}

fn marked(record: &Record, marks: Marks) -> Record {
    Record { mark: marks.seen_by, steer: marks.steer, ..record.clone() }
}
