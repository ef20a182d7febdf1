//! The sink that writes: from the walk over the tree to bytes in one pass, without an allocation unless the names are many.
//!
//! That serves nearly all of the traffic, signatures and NSEC records of a signed zone included. Everything else
//! (substitutions, chains out of the zone, ANY, DS, types that are seldom asked for, names in RDATA with upper-case
//! letters that have additional data, sets of more than a few dozen bytes of new names, zones of which something is
//! withheld, proofs by hash, what does not fit) is left to [`crate::answer::answer`], whose value is fitted into the message
//! RRset by RRset. A property test holds both to the same bytes for whatever is answered here.
//!
//! Invariant: the egress guard reads the result as it reads any.

mod standing;
mod writer;

use super::encode;
use super::query::{Message, Question};
use crate::answer::walk::{Chosen, End, Piece, Put, Section, Sink, walk};
use crate::answer::{Class, Query};
use crate::rtype::Type;
use crate::steer::Asker;
use crate::view::View;
use crate::zone::tree::Tree;
use writer::{Owner, Writer};

/// Writes header, question and RRsets of an answer in at most `limit_bytes`, its flags and what comes behind left to
/// the caller. None if the answer is not of a kind that is written here; `out` then holds anything.
pub(super) fn write<'v: 's, 's>(
    view: &'v View,
    asker: Asker,
    message: &Message<'_>,
    question: &'s Question<'_>,
    limit_bytes: usize,
    out: &mut Vec<u8>,
) -> Option<End<'v>> {
    let (qname, qtype) = (question.name(), question.qtype);
    // The root is no pointer's target; DS is the parent's, and meta types are no data.
    if qname == [0] || qtype == Type::DS || qtype.is_meta() {
        return None;
    }
    let dnssec_ok = message.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
    encode::begin_as_written(question, out);
    let mut sink =
        Direct { tree: None, section: Section::Answer, writer: Writer::new(qname, limit_bytes, out) };
    let query = Query { qname, qtype, qclass: Class::In, dnssec_ok, asker };
    let end = walk(view, &query, &mut sink).ok()?;
    sink.writer.finish();
    Some(end)
}

/// Aliases that are followed; longer chains are seldom, and one that is a loop ends here.
const MOST_FOLLOWED: usize = 4;

struct Direct<'a, 'o> {
    /// The zone of the answer.
    tree: Option<&'a Tree>,
    /// The section of the last RRset.
    section: Section,
    writer: Writer<'a, 'o>,
}

/// The error for an answer of a kind that is not written here.
struct Unusual;

impl<'a> Sink<'a> for Direct<'a, '_> {
    type Owner = Owner<'a>;
    type Left = Unusual;

    #[inline]
    fn owner(&mut self, name: &'a [u8]) -> Owner<'a> {
        self.writer.owner(name)
    }

    /// Names match byte for byte, so letters as an author wrote them would not be found again as an owner.
    #[inline]
    fn target(&mut self, name: &'a [u8]) -> Result<Owner<'a>, Unusual> {
        if name == [0] || name.iter().any(u8::is_ascii_uppercase) {
            return Err(Unusual);
        }
        Ok(self.writer.owner(name))
    }

    fn made(&mut self, _name: Vec<u8>) -> Result<Owner<'a>, Unusual> {
        Err(Unusual)
    }

    #[inline]
    fn enter(&mut self, tree: &'a Tree, followed: usize) -> Result<(), Unusual> {
        let is_first = self.tree.is_none_or(|first| std::ptr::eq(first, tree));
        self.tree = Some(tree);
        if is_first && !tree.apex().is_root() && followed <= MOST_FOLLOWED { Ok(()) } else { Err(Unusual) }
    }

    #[inline]
    fn unusual(&mut self) -> Result<(), Unusual> {
        Err(Unusual)
    }

    /// An RRset that does not fit is a matter of the whole answer.
    #[inline]
    fn put(&mut self, section: Section, piece: Piece<'_, 'a, Owner<'a>>) -> Result<Put, Unusual> {
        if section < self.section {
            return Err(Unusual);
        }
        self.section = section;
        let Piece { owner, set, ttl, signatures, .. } = piece;
        self.writer.set(section, *owner, set, ttl, signatures.as_ref()).ok_or(Unusual)?;
        Ok(Put::New)
    }

    #[inline]
    fn put_chosen(&mut self, section: Section, chosen: Chosen<'_, Owner<'a>>) -> Result<Put, Unusual> {
        if section < self.section {
            return Err(Unusual);
        }
        self.section = section;
        self.writer.chosen(section, *chosen.owner, chosen.pool, chosen.asker).ok_or(Unusual)?;
        Ok(Put::New)
    }
}
