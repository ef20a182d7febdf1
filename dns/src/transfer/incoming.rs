//! A zone that comes from a primary, record by record (AXFR, RFC 5936 §2.2; IXFR, RFC 1995 §4). Nothing of it is believed: class,
//! owner, type, order, sizes and the SOA at both ends are judged before anything is kept.
//!
//! ```text
//! SOA ─┬─ records … ─ SOA                                              the whole zone
//!      ├─ (SOA before, what goes …, SOA after, what comes …)+ ─ SOA    what changed
//!      └─ nothing                                                      our version is the primary's
//! ```
//!
//! Invariant: memory is bounded by the limit that the caller gives.

use std::fmt;

use super::is_newer;
use crate::name::Name;
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;
use crate::zone::hash::HashMap;
use crate::zone::{Position, Record};

/// The question that the transfer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it (AXFR).
    Whole,
    /// The changes since the version of this serial (IXFR).
    ChangesSince(u32),
}

/// The step from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Records that go, without the SOA.
    pub gone: Vec<Record>,
    /// Records that come, without the SOA.
    pub come: Vec<Record>,
}

/// A transfer that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Our version is the primary's.
    Current,
    /// All records; the SOA is the first.
    Whole(Vec<Record>),
    /// The SOA after all changes, and the changes in their order.
    Changes(Box<Record>, Vec<Change>),
}

/// A record that came, with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// 1 is IN.
    pub class: u16,
    /// The record.
    pub record: Record,
}

/// Why a transfer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first record is not the zone's SOA.
    NoSoaFirst,
    /// The SOA has no serial, or one of another version stands where the last is due.
    OtherSoa,
    /// A class that is not IN.
    Class(u16),
    /// An owner outside the zone.
    OutOfZone(Name),
    /// A type that no zone holds.
    Meta(Type),
    /// The RDATA does not fit the type.
    Malformed(Name, Type),
    /// More bytes than are taken.
    TooLong,
    /// The changes begin at another version than ours, or leave a gap.
    Gap,
    /// The changes take away what is not there.
    NotThere(Name, Type),
    /// Something follows the last SOA.
    AfterEnd,
    /// It ended before the last SOA.
    Unfinished,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSoaFirst => f.write_str("the first record is not the zone's SOA"),
            Self::OtherSoa => f.write_str("it holds two different SOAs"),
            Self::Class(class) => write!(f, "a record has the class {class}, which is not IN"),
            Self::OutOfZone(name) => write!(f, "{name} is not in the zone"),
            Self::Meta(rtype) => write!(f, "a record has the type {rtype}, which no zone holds"),
            Self::Malformed(name, rtype) => write!(f, "the data of {name} {rtype} does not fit its type"),
            Self::TooLong => f.write_str("it is longer than any zone that is taken"),
            Self::Gap => f.write_str("the changes do not begin at our version, or leave a gap"),
            Self::NotThere(name, rtype) => {
                write!(f, "the changes take {name} {rtype} away, which is not there")
            }
            Self::AfterEnd => f.write_str("something follows the last SOA"),
            Self::Unfinished => f.write_str("it ended before the last SOA"),
        }
    }
}

/// A zone on its way here.
#[derive(Debug)]
pub struct Incoming {
    apex: Name,
    asked: Asked,
    left_bytes: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing came yet.
    Start,
    /// The first SOA came, and its serial.
    First(Box<Record>, u32),
    /// The SOA and what follows it.
    Whole(Vec<Record>),
    Changes(Box<Changes>),
    Done(Content),
}

#[derive(Debug)]
struct Changes {
    last: Record,
    to: u32,
    done: Vec<Change>,
    now: Change,
    /// The version that `now` leads to, once its SOA has come.
    reached: Option<u32>,
}

/// Bytes that a record takes beside its owner and data.
const FIXED_BYTES: usize = size_of::<Record>();

impl Incoming {
    /// At most `most_bytes` of memory are used for the records.
    pub fn new(apex: Name, asked: Asked, most_bytes: usize) -> Self {
        Self { apex, asked, left_bytes: most_bytes, stage: Stage::Start }
    }

    /// Takes the records of the next message.
    pub fn take(&mut self, arrived: impl IntoIterator<Item = Arrived>) -> Result<(), Fault> {
        for Arrived { class, record } in arrived {
            self.judge(class, &record)?;
            let stage = std::mem::replace(&mut self.stage, Stage::Start);
            self.stage = self.step(stage, record)?;
        }
        // RFC 1995 §4: the SOA alone says that there is nothing newer.
        if let (Stage::First(_, serial), Asked::ChangesSince(ours)) = (&self.stage, self.asked)
            && !is_newer(*serial, ours)
        {
            self.stage = Stage::Done(Content::Current);
        }
        Ok(())
    }

    /// Whether the last SOA has come.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }

    /// The transfer, if it is complete.
    pub fn finish(self) -> Result<Content, Fault> {
        match self.stage {
            Stage::Done(content) => Ok(content),
            _ => Err(Fault::Unfinished),
        }
    }

    fn judge(&mut self, class: u16, record: &Record) -> Result<(), Fault> {
        if class != 1 {
            return Err(Fault::Class(class));
        }
        if record.rtype.is_meta() {
            return Err(Fault::Meta(record.rtype));
        }
        if !record.owner.is_at_or_under(&self.apex) {
            return Err(Fault::OutOfZone(record.owner.clone()));
        }
        if record.rtype == Type::SOA && record.owner != self.apex {
            return Err(Fault::OtherSoa);
        }
        let bytes = FIXED_BYTES + record.owner.as_wire().len() + record.rdata.len();
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(Fault::TooLong)?;
        Ok(())
    }

    fn step(&self, stage: Stage, record: Record) -> Result<Stage, Fault> {
        let soa = (record.rtype == Type::SOA).then(|| serial(&record.rdata).ok_or(Fault::OtherSoa));
        let soa = soa.transpose()?;
        Ok(match (stage, soa) {
            (Stage::Start, Some(serial)) => Stage::First(Box::new(record), serial),
            (Stage::Start, None) => return Err(Fault::NoSoaFirst),
            (Stage::First(first, _), None) => Stage::Whole(vec![*first, record]),
            (Stage::First(first, to), Some(from)) => self.second_soa(*first, to, (record, from))?,
            (Stage::Whole(mut records), None) => {
                records.push(record);
                Stage::Whole(records)
            }
            (Stage::Whole(records), Some(_)) => match records.first() {
                Some(first) if first.rdata == record.rdata => Stage::Done(Content::Whole(records)),
                _ => return Err(Fault::OtherSoa),
            },
            (Stage::Changes(changes), soa) => changes.step(record, soa)?,
            (Stage::Done(_), _) => return Err(Fault::AfterEnd),
        })
    }

    /// Two SOAs in a row: the start of the changes, or a zone with nothing else in it.
    fn second_soa(&self, first: Record, to: u32, (record, from): (Record, u32)) -> Result<Stage, Fault> {
        match self.asked {
            Asked::ChangesSince(ours) if ours == from && from != to => {
                let now = Change { gone: Vec::new(), come: Vec::new() };
                let changes = Changes { last: first, to, done: Vec::new(), now, reached: None };
                Ok(Stage::Changes(Box::new(changes)))
            }
            _ if first.rdata == record.rdata => Ok(Stage::Done(Content::Whole(vec![first]))),
            Asked::ChangesSince(_) => Err(Fault::Gap),
            Asked::Whole => Err(Fault::OtherSoa),
        }
    }
}

impl Changes {
    fn step(mut self: Box<Self>, record: Record, soa: Option<u32>) -> Result<Stage, Fault> {
        match (soa, self.reached) {
            (None, None) => self.now.gone.push(record),
            (None, Some(_)) => self.now.come.push(record),
            (Some(serial), None) => self.reached = Some(serial),
            (Some(serial), Some(reached)) => {
                if serial != reached {
                    return Err(Fault::Gap);
                }
                let next = Change { gone: Vec::new(), come: Vec::new() };
                self.done.push(std::mem::replace(&mut self.now, next));
                if reached == self.to && record.rdata == self.last.rdata {
                    return Ok(Stage::Done(Content::Changes(Box::new(self.last), self.done)));
                }
                self.reached = None;
            }
        }
        Ok(Stage::Changes(self))
    }
}

/// The serial of a SOA's RDATA (RFC 1035 §3.3.13).
pub fn serial(soa: &[u8]) -> Option<u32> {
    let numbers = soa.len().checked_sub(super::SOA_NUMBERS_BYTES)?;
    soa.get(numbers..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

type Key = (Name, Type, SmallBytes);

fn key(record: &Record) -> Key {
    (record.owner.clone(), record.rtype, record.rdata.clone())
}

/// A zone after its changes; the SOA is the first record. A record that goes must have been there; one that comes twice is there once.
pub fn apply(zone: Vec<Record>, soa: Record, changes: Vec<Change>) -> Result<Vec<Record>, Fault> {
    // By record: whether it is there at the end, with its TTL. Only what changes is looked up.
    let mut net: HashMap<Key, Option<Record>> = HashMap::default();
    let mut needed: Vec<Key> = Vec::new();
    for change in changes {
        for record in &change.gone {
            match net.insert(key(record), None) {
                None => needed.push(key(record)),
                Some(Some(_)) => {}
                Some(None) => return Err(Fault::NotThere(record.owner.clone(), record.rtype)),
            }
        }
        for record in change.come {
            net.insert(key(&record), Some(record));
        }
    }
    let mut found: HashMap<Key, ()> = HashMap::default();
    let mut kept = vec![soa];
    for record in zone.into_iter().filter(|record| record.rtype != Type::SOA) {
        let own = key(&record);
        match net.contains_key(&own) {
            true => drop(found.insert(own, ())),
            false => kept.push(record),
        }
    }
    if let Some((owner, rtype, _)) = needed.iter().find(|needed| !found.contains_key(*needed)) {
        return Err(Fault::NotThere(owner.clone(), *rtype));
    }
    kept.extend(net.into_values().flatten());
    Ok(kept)
}

/// A record that stands in no file.
pub fn record(owner: Name, rtype: Type, ttl: u32, rdata: SmallBytes) -> Record {
    Record { owner, rtype, ttl, rdata, at: Position::default(), mark: None, steer: false }
}

#[cfg(test)]
mod tests;
