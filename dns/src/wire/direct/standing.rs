//! Name compression (RFC 1035 §4.1.4) for a message of few names: the names themselves are kept, not their hashes.
//!
//! Invariant: what is written is what [`super::super::names::Names`] writes, as long as there is room; when there is
//! none nothing is written here at all.

use super::super::names::{MAX_POINTER, MOST_NAMES};
use super::super::query::HEADER_BYTES;

/// Names that stand in a message, the question's first.
pub(super) struct Names<'n> {
    question: Standing<'n>,
    /// The next ones, filled from the first: made and looked through for each answer, hence small.
    few: [Option<Standing<'n>>; FEW_STANDING],
    /// The names behind them: an allocation where there are any.
    many: Vec<Standing<'n>>,
    /// Bytes of all that stands: no name that [`MOST_NAMES`] would leave out is compressed here.
    bytes: usize,
}

/// Besides the question. The NS RRset of the root zone has 13 names.
const MOST_STANDING: usize = 16;
/// The two of an SOA record and the owners of two NSEC records: a missing name of a signed zone has no more.
const FEW_STANDING: usize = 4;
const QUESTION_AT: u16 = HEADER_BYTES as u16;
/// A label takes two bytes at least.
const MOST_BYTES: usize = 2 * MOST_NAMES;

/// A name in the message: its first `written` bytes stand at `at`, a pointer or the root stands behind them.
#[derive(Clone, Copy)]
struct Standing<'n> {
    name: &'n [u8],
    at: u16,
    written: u8,
}

impl<'n> Names<'n> {
    /// Of a message that holds a question of this name so far.
    #[inline]
    pub(super) fn of(question: &'n [u8]) -> Self {
        let bytes = question.len();
        let written = u8::try_from(question.len() - 1).expect("a name has at most 255 bytes");
        let question = Standing { name: question, at: QUESTION_AT, written };
        Self { question, few: [None; FEW_STANDING], many: Vec::new(), bytes }
    }

    /// Where `name`, which is not the root, stands in full or as a beginning with a pointer behind it.
    #[inline]
    pub(super) fn place(&self, name: &[u8]) -> Option<usize> {
        let few = self.few.iter().map_while(Option::as_ref);
        self.question.find(name).or_else(|| few.chain(&self.many).find_map(|standing| standing.find(name)))
    }

    /// Writes `name` with as long an ending as possible replaced by a pointer: where it now stands, which means nothing
    /// for the root. None if there is no room to remember it.
    pub(super) fn write(&mut self, name: &'n [u8], out: &mut Vec<u8>) -> Option<usize> {
        let at = out.len();
        let mut rest = name;
        while rest.len() > 1 {
            if let Some(found) = self.place(rest) {
                let written = name.len() - rest.len();
                out.extend_from_slice(&name[..written]);
                out.extend_from_slice(&pointer(found));
                return if written == 0 { Some(found) } else { self.remember(name, at, written) };
            }
            rest = &rest[usize::from(rest[0]) + 1..];
        }
        out.extend_from_slice(name);
        self.remember(name, at, name.len() - 1)
    }

    fn remember(&mut self, name: &'n [u8], at: usize, written: usize) -> Option<usize> {
        self.bytes += written;
        if self.bytes > MOST_BYTES || at + written > MAX_POINTER {
            return None;
        }
        let standing = Standing { name, at: u16::try_from(at).ok()?, written: u8::try_from(written).ok()? };
        match self.few.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(standing),
            None if self.many.len() < MOST_STANDING - FEW_STANDING => self.many.push(standing),
            None => return None,
        }
        Some(at)
    }
}

impl Standing<'_> {
    #[inline]
    fn find(&self, suffix: &[u8]) -> Option<usize> {
        let offset = self.name.len().checked_sub(suffix.len())?;
        let is_there = offset < usize::from(self.written)
            && self.name[offset..] == *suffix
            && is_label_start(self.name, offset);
        is_there.then(|| usize::from(self.at) + offset)
    }
}

/// Whether a label of `name` begins at `offset`, and not only bytes that look like one.
#[inline]
fn is_label_start(name: &[u8], offset: usize) -> bool {
    let mut at = 0;
    while at < offset {
        at += usize::from(name[at]) + 1;
    }
    at == offset
}

/// A pointer to a place below [`MAX_POINTER`].
#[inline]
pub(super) fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(at).expect("what is pointed at was held to 14 bits")).to_be_bytes()
}
