//! Reads a journal back: what was held, and what was purged.
//!
//! A journal that was cut loses what was cut. One that is damaged before its end may have lost a purge there, and says
//! so: nothing of its folder can be trusted then.
//!
//! Invariant: what it gathers is bounded by the journal's length.

#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::index::Index;
use super::record::{Identity, Mark, Place, RECORD_BYTES, Record, TEXT_BYTES, decode};

/// The version of everything in a folder that this program reads and writes.
pub const VERSION: u32 = 1;

/// The content of a journal, beside the files that are in the index now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The format, and the edge that wrote it.
    pub identity: Identity,
    /// The purges of more than one key, in order.
    pub marks: Vec<Noted>,
    /// Files from before this epoch are void.
    pub floor: u64,
    /// The highest epoch that it knows of.
    pub epoch: u64,
    /// Good records, from its beginning.
    pub records: u32,
    /// How it ends.
    pub ending: Ending,
}

/// A purge of more than one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Which, and how.
    pub mark: Mark,
    /// The text of a prefix or a pattern; else empty.
    pub text: Box<[u8]>,
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its edge stopped in order: every file is in it.
    Stopped,
    /// Somewhere: files may be there that are not in it.
    Cut,
    /// There are good records behind a bad one.
    Damaged,
}

/// Why there is nothing to read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It does not begin as a journal does.
    NoJournal,
    /// Another version of this program wrote it.
    Foreign(u32),
}

/// Reads all of a journal into an index that is empty.
///
/// # Errors
/// As `journal` has them. The inner one: it is no journal of ours.
pub fn replay(journal: &mut impl Read, index: &mut Index) -> io::Result<Result<Replayed, Unreadable>> {
    let mut blocks = Blocks { journal, number: 0 };
    let identity = match blocks.next()?.map(|bytes| decode(&bytes, 0)) {
        Some(Some(Record::Begin(identity))) if identity.version == VERSION => identity,
        Some(Some(Record::Begin(identity))) => return Ok(Err(Unreadable::Foreign(identity.version))),
        _ => return Ok(Err(Unreadable::NoJournal)),
    };
    let (marks, ending) = (Vec::new(), Ending::Cut);
    let mut replayed = Replayed { identity, marks, floor: 0, epoch: 0, records: 1, ending };
    let mut open: Option<Open> = None;
    while let Some(bytes) = blocks.next()? {
        let good = decode(&bytes, blocks.number - 1).filter(|record| fits(record, open.as_ref()));
        let Some(record) = good else {
            replayed.ending = if blocks.has_good()? { Ending::Damaged } else { Ending::Cut };
            return Ok(Ok(replayed));
        };
        replayed.ending = if record == Record::Stopped { Ending::Stopped } else { Ending::Cut };
        open = replayed.take(record, open, index);
        if open.is_none() {
            // A mark counts with all of its text.
            replayed.records = blocks.number;
        }
    }
    Ok(Ok(replayed))
}

/// Does to the index what a record says; the numbers of the files that are no longer held.
pub fn apply(record: &Record, index: &mut Index) -> Vec<u64> {
    let gone = match *record {
        Record::Put(put) => {
            index.insert(put, None);
            Vec::new()
        }
        Record::Remove { hash, file } => index.remove(hash, file).into_iter().collect(),
        Record::RemoveVariant { hash, variant } => index.remove_where(hash, |put| put.variant == variant),
        Record::RemoveKey { hash, .. } => index.remove_where(hash, |_| true),
        Record::Clear { .. } => return index.clear(),
        Record::ExpireKey { hash, at_secs, .. } => {
            index.expire(hash, at_secs);
            Vec::new()
        }
        // These say nothing of one file.
        Record::Begin(_) | Record::Mark(_) | Record::Text(_) | Record::Floor { .. } | Record::Stopped => {
            Vec::new()
        }
    };
    gone.into_iter().map(|put| put.file).collect()
}

impl Noted {
    /// Its records.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let texts = self.text.chunks(TEXT_BYTES).map(|text| Record::Text(text.into()));
        [Record::Mark(self.mark)].into_iter().chain(texts).collect()
    }
}

/// A mark whose text is still to come.
struct Open {
    noted: Noted,
    length: usize,
    texts: usize,
    text: Vec<u8>,
}

/// Text comes behind its mark and nowhere else.
fn fits(record: &Record, open: Option<&Open>) -> bool {
    matches!(record, Record::Text(_)) == open.is_some() && !matches!(record, Record::Begin(_))
}

impl Replayed {
    fn take(&mut self, record: Record, open: Option<Open>, index: &mut Index) -> Option<Open> {
        apply(&record, index);
        match record {
            Record::RemoveKey { epoch, .. } | Record::ExpireKey { epoch, .. } | Record::Clear { epoch } => {
                self.saw(epoch);
            }
            Record::Floor { epoch } => {
                self.floor = self.floor.max(epoch);
                self.saw(epoch);
            }
            Record::Mark(mark) => {
                self.saw(mark.epoch);
                let noted = Noted { mark, text: Box::default() };
                let length = match mark.place {
                    Place::Named(_) | Place::AnyTag => 0,
                    Place::Prefix { length } | Place::Pattern { length } => usize::from(length),
                };
                match mark.place.texts() {
                    0 => self.marks.push(noted),
                    texts => return Some(Open { noted, length, texts, text: Vec::new() }),
                }
            }
            Record::Text(text) => {
                let mut open = open.expect("looked at by the caller");
                open.text.extend_from_slice(&text);
                open.texts -= 1;
                if open.texts > 0 {
                    return Some(open);
                }
                open.text.truncate(open.length);
                self.marks.push(Noted { text: open.text.into(), ..open.noted });
            }
            _ => {}
        }
        None
    }

    fn saw(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }
}

/// The records of a journal, not decoded yet.
struct Blocks<'a, R> {
    journal: &'a mut R,
    /// Of the next.
    number: u32,
}

impl<R: Read> Blocks<'_, R> {
    /// The next whole record; none at the end, or once there are more than any journal has.
    fn next(&mut self) -> io::Result<Option<[u8; RECORD_BYTES]>> {
        let Some(next) = self.number.checked_add(1) else { return Ok(None) };
        let mut bytes = [0; RECORD_BYTES];
        match self.journal.read_exact(&mut bytes) {
            Ok(()) => self.number = next,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(bytes))
    }

    /// Whether a good record follows.
    fn has_good(&mut self) -> io::Result<bool> {
        while let Some(bytes) = self.next()? {
            if decode(&bytes, self.number - 1).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
