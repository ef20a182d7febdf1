//! Answers that need no draft: from the tree to bytes in one pass, without an allocation unless the names are many.
//!
//! ```text
//! question ─▶ zone ─▶ name ─┬─ records ──────────▶ copied behind a pointer to the question, then their additional data
//!                ▲          ├─ one alias ────────▶ written, and its target looked up ─┐
//!                │          ├─ delegation ───────▶ its NS and glue                    │
//!                │          └─ no data, no name ─▶ the SOA                            │
//!                └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! That is nearly all of the traffic, signatures and NSEC records of a signed zone included. Everything else
//! (substitutions, chains out of the zone, ANY, DS, types that are seldom asked for, names in RDATA with upper-case
//! letters that have additional data, sets of more than a few dozen bytes of new names, zones of which something is
//! withheld, what does not fit) is left to the plain pipeline, which is also the definition of right: a property test
//! holds both to the same bytes for whatever is answered here.
//!
//! Invariant: only RRsets of the view's own tree are written, and the egress guard reads the result as it reads any.

mod additional;
mod proof;
mod standing;
mod writer;

use super::encode::{self, Count};
use super::query::{Message, Question};
use crate::answer::{Kind, is_signed, negative_ttl};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::{Found, Node, RrSet, Tree};
use proof::Proved;
use writer::{Owner, Writer};

/// The facts of a written answer, for rates, flags and counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'v, 's> {
    pub(super) zone: &'v Name,
    pub(super) kind: Kind,
    /// As [`Answer::synthesized`](crate::answer::Answer::synthesized).
    pub(super) synthesized: Option<&'s [u8]>,
}

/// Writes header, question and RRsets of an answer in at most `limit_bytes`, its flags and what comes behind left to
/// the caller. None if the answer is not of a kind that is written here; `out` then holds anything.
pub(super) fn write<'v: 's, 's>(
    view: &'v View,
    message: &Message<'_>,
    question: &'s Question<'_>,
    limit_bytes: usize,
    out: &mut Vec<u8>,
) -> Option<Written<'v, 's>> {
    let (qname, qtype) = (question.name(), question.qtype);
    // The root is no pointer's target; DS is the parent's, and meta types are no data.
    if qname == [0] || qtype == Type::DS || qtype.is_meta() {
        return None;
    }
    let tree = zone(view, qname, qtype).filter(|tree| !tree.apex().is_root() && !tree.withholds())?;
    let dnssec_ok = tree.has_dnssec() && message.edns.is_some_and(|edns| edns.dnssec_ok);
    encode::begin_as_written(question, out);
    let mut draft = Draft {
        view,
        tree,
        qtype,
        dnssec_ok,
        followed: 0,
        synthesized: None,
        proved: Proved::default(),
        writer: Writer::new(qname, limit_bytes, out),
    };
    let owner = draft.writer.question();
    let kind = draft.look_up(owner)?;
    let synthesized = draft.synthesized;
    draft.writer.finish();
    Some(Written { zone: tree.apex(), kind, synthesized })
}

fn zone<'v>(view: &'v View, name: &[u8], qtype: Type) -> Option<&'v Tree> {
    match view.zones.find(name, qtype)?.1 {
        Served::Zone(tree) => Some(tree),
        Served::Broken => None,
    }
}

/// Aliases that are followed; longer chains are seldom, and one that is a loop ends here.
const MOST_FOLLOWED: usize = 4;

struct Draft<'a, 'o> {
    view: &'a View,
    tree: &'a Tree,
    qtype: Type,
    /// The client wants signatures, and there are some.
    dnssec_ok: bool,
    followed: usize,
    /// As [`Written::synthesized`].
    synthesized: Option<&'a [u8]>,
    proved: Proved<'a>,
    writer: Writer<'a, 'o>,
}

impl<'a> Draft<'a, '_> {
    fn look_up(&mut self, owner: Owner<'a>) -> Option<Kind> {
        match self.tree.find(owner.name) {
            Found::Records(node) => self.records(node, owner),
            Found::Missing { wildcard: Some(node), .. } => {
                if self.followed == 0 {
                    self.synthesized = Some(node.name());
                }
                self.records(node, owner)
            }
            Found::EmptyNonTerminal(_) => {
                self.prove_no_name(owner.name)?;
                self.negative(Kind::NoData)
            }
            Found::Missing { wildcard: None, closest_encloser } => {
                self.prove_no_name(owner.name)?;
                self.prove_no_wildcard(closest_encloser)?;
                self.negative(Kind::NxDomain)
            }
            Found::Delegation(cut) if self.followed == 0 => self.refer(cut),
            Found::Delegation(_) | Found::Dname(_) => None,
        }
    }

    /// The name owns records, or a wildcard's records are its own.
    fn records(&mut self, node: Node<'a>, owner: Owner<'a>) -> Option<Kind> {
        if let Some(set) = node.set(self.qtype) {
            self.put(Count::Answers, owner, node, &set)?;
            self.prove_expansion(node, owner.name)?;
            self.add_additional(owner, &set)?;
            return Some(Kind::Positive);
        }
        match node.set(Type::CNAME) {
            Some(alias) => self.alias(node, owner, &alias),
            None => {
                self.prove_no_data(node, owner.name)?;
                self.negative(Kind::NoData)
            }
        }
    }

    /// An alias whose target is in the same zone.
    fn alias(&mut self, node: Node<'a>, owner: Owner<'a>, alias: &RrSet<'a>) -> Option<Kind> {
        let target = alias.lent()?.next()?;
        // Names match byte for byte, so the target's own letters would not be found again as an owner.
        if self.followed == MOST_FOLLOWED || target == [0] || target.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        // The proof of an expansion would come behind the target's records.
        if self.dnssec_ok && node.name() != owner.name {
            return None;
        }
        if !self.answers_for(target) {
            return None;
        }
        self.put(Count::Answers, owner, node, alias)?;
        self.followed += 1;
        let target = self.writer.owner(target);
        self.look_up(target)
    }

    /// Whether the zone of the answer is also the one to ask about this name.
    fn answers_for(&self, name: &[u8]) -> bool {
        let apex = self.tree.apex().as_wire();
        if self.view.zones.has_none_below(apex) {
            return name::is_at_or_under(name, apex);
        }
        zone(self.view, name, self.qtype).is_some_and(|tree| std::ptr::eq(tree, self.tree))
    }

    /// RFC 2308 §3: the SOA with the TTL that the negative answer may be kept for.
    fn negative(&mut self, kind: Kind) -> Option<Kind> {
        let (soa, apex) = (self.tree.soa()?, self.tree.apex_node());
        let owner = self.writer.owner(apex.name());
        let signatures = self.signatures(apex);
        self.writer.set(Count::Authorities, owner, &soa, negative_ttl(&soa), signatures.as_ref())?;
        Some(kind)
    }

    /// RFC 1034 §4.3.2 step 3b.
    fn refer(&mut self, cut: Node<'a>) -> Option<Kind> {
        let owner = self.writer.owner(cut.name());
        let ns = cut.set(Type::NS)?;
        self.put(Count::Authorities, owner, cut, &ns)?;
        if self.dnssec_ok && is_signed(self.tree) {
            self.prove_delegation(cut, owner)?;
        }
        self.add_glue(cut, &ns)?;
        Some(Kind::Referral)
    }

    /// Writes a set of `node`, under the name that it is asked for.
    #[inline]
    fn put(&mut self, section: Count, owner: Owner<'a>, node: Node<'a>, set: &RrSet<'a>) -> Option<()> {
        let signatures = self.signatures(node);
        self.writer.set(section, owner, set, set.ttl, signatures.as_ref())
    }

    fn signatures(&self, node: Node<'a>) -> Option<RrSet<'a>> {
        if self.dnssec_ok { node.set(Type::RRSIG) } else { None }
    }
}
