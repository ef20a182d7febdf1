//! The lines of a journal by which a change is made, and who gets what is added.
//!
//! Invariant: a key of one side neither deletes what only the other side sees, nor makes it seen by adding the same.
//! Invariant: what a key of the inside adds is for the inside, unless its policy says that it publishes.
//! Invariant: the mark of a pool is its name's. An address that comes to a pool has it, so that the pool outlasts the record that had it.

use super::overlay::{Data, data, is_address};
use super::{Overlay, Step};
use crate::name::Name;
use crate::transfer::Change;
use crate::view::Which;
use crate::zone::hash::HashMap;
use crate::zone::{Mark, Marks, Record};

/// The records of the zone in service that have the data of what a change is about, whoever sees them.
#[derive(Clone, Debug, Default)]
pub struct There {
    records: HashMap<Data, (Record, bool)>,
    /// Names with a record that is marked to make pools.
    steered: HashMap<Name, ()>,
}

impl There {
    /// `zone` are the zone's records; `in_file` tells those of the zone file from those of updates.
    pub fn of(change: &Change, zone: &[Record], in_file: impl Fn(&Record) -> bool) -> Self {
        let about = || change.gone.iter().chain(&change.come);
        let sets: HashMap<_, ()> = about().map(|record| ((&record.owner, record.rtype), ())).collect();
        let wanted: HashMap<Data, ()> = about().map(|record| (data(record), ())).collect();
        let names: HashMap<_, ()> = about().map(|record| (&record.owner, ())).collect();
        let marked = zone.iter().filter(|record| record.steer && names.contains_key(&record.owner));
        let steered = marked.map(|record| (record.owner.clone(), ())).collect();
        let of_sets = zone.iter().filter(|record| sets.contains_key(&(&record.owner, record.rtype)));
        let all = of_sets.map(|record| (data(record), (record.clone(), in_file(record))));
        Self { records: all.filter(|(data, _)| wanted.contains_key(data)).collect(), steered }
    }

    /// The pools by marks that the change touches, of which nothing in the zone as it is now says that they are pools, although they
    /// have addresses.
    pub fn unmarked_in(&self, zone: &[Record]) -> Vec<Name> {
        if self.steered.is_empty() {
            return Vec::new();
        }
        let mut marked: HashMap<&Name, bool> = HashMap::default();
        let is_member = |record: &&Record| is_address(record) && self.steered.contains_key(&record.owner);
        for record in zone.iter().filter(is_member) {
            *marked.entry(&record.owner).or_default() |= record.steer;
        }
        marked.into_iter().filter(|(_, is_marked)| !is_marked).map(|(name, _)| name.clone()).collect()
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
        let steer = is_address(come) && there.steered.contains_key(&come.owner);
        let add = |seen_by| Step::Add(marked(come, Marks { seen_by, steer }));
        let own = Some(author.own());
        if author.is_alone || there.find(come).is_some() {
            return add(own);
        }
        match self.hidden.find(come) {
            Some(hidden) if hidden.mark == Some(author.others()) => add(own),
            Some(hidden) if hidden.ttl == come.ttl => Step::Show(hidden.clone()),
            Some(hidden) => {
                let Marks { seen_by, steer: was } = hidden.marks();
                Step::Add(marked(come, Marks { seen_by, steer: was || steer }))
            }
            None if author.view == Which::Internal && !publishes(come) => add(own),
            None => add(None),
        }
    }
}

fn marked(record: &Record, marks: Marks) -> Record {
    Record { mark: marks.seen_by, steer: marks.steer, ..record.clone() }
}
