//! Answers that need no draft: from the tree to bytes in one pass, without an allocation.
//!
//! ```text
//! question ─▶ zone ─▶ name ─┬─ records of a type without names in it ──▶ copied behind a pointer to the question
//!                           ├─ one alias, one PTR, an alias's records ─▶ the same, names against the question
//!                           └─ no data, no name ──────────────────────▶ the SOA, names against the question
//! ```
//!
//! That is nearly all of the traffic. Everything else (referrals, additional data, DNSSEC where there is some,
//! chains, substitutions, what does not fit) is left to the plain pipeline, which is also the definition of right: a
//! property test holds both to the same bytes for whatever is answered here.
//!
//! Invariant: only RRsets of the view's own tree are written, and the egress guard reads the result as it reads any.

use super::encode::{self, Count};
use super::query::{HEADER_OCTETS, Message, Question};
use crate::answer::{Kind, negative_ttl};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::{Found, Node, RrSet, Tree};

/// What was written, for rates and counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'v> {
    pub(super) zone: &'v Name,
    pub(super) kind: Kind,
}

/// Writes header, question and RRsets of an authoritative answer in at most `limit_octets`, its flags and what comes
/// behind left to the caller. None if the answer is not of a kind that is written here; `out` then holds anything.
pub(super) fn write<'v>(
    view: &'v View,
    message: &Message<'_>,
    question: &Question<'_>,
    limit_octets: usize,
    out: &mut Vec<u8>,
) -> Option<Written<'v>> {
    let (qname, qtype) = (question.name(), question.qtype);
    // The root is no pointer's target; DS is the parent's, and meta types are no data.
    if qname == [0] || qtype == Type::DS || qtype.is_meta() {
        return None;
    }
    let tree = zone(view, qname, qtype)?;
    if tree.has_dnssec() && message.edns.is_some_and(|edns| edns.dnssec_ok) {
        return None;
    }
    encode::begin_as_written(message, out);
    let mut draft = Draft { view, tree, question, limit_octets, out };
    let kind = match tree.find(qname) {
        Found::Records(node) | Found::Missing { wildcard: Some(node), .. } => draft.records(node)?,
        Found::EmptyNonTerminal(_) => draft.negative(Kind::NoData)?,
        Found::Missing { wildcard: None, .. } => draft.negative(Kind::NxDomain)?,
        Found::Delegation(_) | Found::Dname(_) => return None,
    };
    (out.len() <= limit_octets).then(|| Written { zone: tree.apex(), kind })
}

fn zone<'v>(view: &'v View, name: &[u8], qtype: Type) -> Option<&'v Tree> {
    match view.zones.find(name, qtype)?.1 {
        Served::Zone(tree) => Some(tree),
        Served::Broken => None,
    }
}

struct Draft<'v, 'q> {
    view: &'v View,
    tree: &'v Tree,
    question: &'q Question<'q>,
    limit_octets: usize,
    out: &'q mut Vec<u8>,
}

impl<'v> Draft<'v, '_> {
    /// The name owns records, or a wildcard's records are its own.
    fn records(&mut self, node: Node<'v>) -> Option<Kind> {
        if let Some(set) = node.set(self.question.qtype) {
            let records = self.set(&set, HEADER_OCTETS)?;
            encode::set_count(self.out, Count::Answers, records);
            return Some(Kind::Positive);
        }
        match node.set(Type::CNAME) {
            Some(alias) => self.alias(&alias),
            None => self.negative(Kind::NoData),
        }
    }

    /// Writes an RRset whose owner stands at `owner_at`: how many records.
    fn set(&mut self, set: &RrSet<'_>, owner_at: usize) -> Option<u16> {
        match form(set.rtype) {
            Form::Plain => self.plain(set, owner_at),
            Form::Name => self.one_name(set, owner_at).map(|_| 1),
            Form::Other => None,
        }
    }

    fn plain(&mut self, set: &RrSet<'_>, owner_at: usize) -> Option<u16> {
        let mut records = 0;
        for rdata in set.rdatas() {
            let octets = u16::try_from(rdata.len()).ok()?;
            self.begin(owner_at, set.rtype, set.ttl, octets);
            self.out.extend_from_slice(rdata);
            records += 1;
            if self.out.len() > self.limit_octets {
                return None;
            }
        }
        Some(records)
    }

    /// A record that is one name, such as PTR: where that name now stands.
    fn one_name(&mut self, set: &RrSet<'_>, owner_at: usize) -> Option<usize> {
        let name = set.only()?;
        self.begin(owner_at, set.rtype, set.ttl, 0);
        let at = self.out.len();
        let standing = write_name(name, &[standing(self.question)], self.out);
        self.close(at);
        Some(standing.at)
    }

    /// An alias and the records of its target, which is in the same zone and is no alias itself.
    fn alias(&mut self, alias: &RrSet<'_>) -> Option<Kind> {
        let target = alias.only()?;
        // Names match octet for octet, so the target's own letters would not be found again as an owner.
        if target == [0] || target.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let tree =
            zone(self.view, target, self.question.qtype).filter(|tree| std::ptr::eq(*tree, self.tree))?;
        let Found::Records(node) = tree.find(target) else { return None };
        let set = node.set(self.question.qtype).filter(|set| form(set.rtype) == Form::Plain)?;
        let target_at = self.one_name(alias, HEADER_OCTETS)?;
        let records = self.plain(&set, target_at)?.checked_add(1)?;
        encode::set_count(self.out, Count::Answers, records);
        Some(Kind::Positive)
    }

    /// RFC 2308 §3: the SOA with the TTL that the negative answer may be kept for.
    fn negative(&mut self, kind: Kind) -> Option<Kind> {
        let (soa, apex) = (self.tree.soa()?, self.tree.apex());
        let rdata = soa.only().filter(|_| !apex.is_root())?;
        let (mname, rest) = rdata.split_at(name::wire_len(rdata)?);
        let (rname, numbers) = rest.split_at(name::wire_len(rest)?);
        let question = standing(self.question);
        self.begin(
            HEADER_OCTETS + question.name.len() - apex.as_wire().len(),
            Type::SOA,
            negative_ttl(&soa),
            0,
        );
        let at = self.out.len();
        let primary = write_name(mname, &[question], self.out);
        write_name(rname, &[question, primary], self.out);
        self.out.extend_from_slice(numbers);
        self.close(at);
        encode::set_count(self.out, Count::Authorities, 1);
        Some(kind)
    }

    /// Everything of a record before its RDATA.
    fn begin(&mut self, owner_at: usize, rtype: Type, ttl: u32, octets: u16) {
        let ([o1, o2], [t1, t2], [s1, s2, s3, s4], [n1, n2]) =
            (pointer(owner_at), rtype.0.to_be_bytes(), ttl.to_be_bytes(), octets.to_be_bytes());
        self.out.extend_from_slice(&[o1, o2, t1, t2, 0, 1, s1, s2, s3, s4, n1, n2]);
    }

    /// The length of RDATA that begins at `at` and ends here.
    fn close(&mut self, at: usize) {
        let octets = u16::try_from(self.out.len() - at).expect("two names and five numbers at most");
        self.out[at - 2..at].copy_from_slice(&octets.to_be_bytes());
    }
}

/// How RDATA of a type is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is; no other record goes with it.
    Plain,
    /// It is one name that may be compressed; no other record goes with it.
    Name,
    Other,
}

fn form(rtype: Type) -> Form {
    match rtype {
        Type::A | Type::AAAA | Type::TXT | Type::CAA | Type::TLSA | Type::SSHFP | Type::URI | Type::NAPTR => {
            Form::Plain
        }
        Type::CNAME | Type::PTR => Form::Name,
        _ => Form::Other,
    }
}

/// A name in the message: its first `written` octets stand at `at`, a pointer or the root stands behind them.
#[derive(Clone, Copy)]
struct Standing<'n> {
    at: usize,
    name: &'n [u8],
    written: usize,
}

fn standing<'q>(question: &'q Question<'_>) -> Standing<'q> {
    let name = question.name();
    Standing { at: HEADER_OCTETS, name, written: name.len() - 1 }
}

/// Writes `name` with as long an ending as possible replaced by a pointer into those that stand there already.
fn write_name<'n>(name: &'n [u8], standing: &[Standing<'_>], out: &mut Vec<u8>) -> Standing<'n> {
    let at = out.len();
    let mut rest = name;
    while rest.len() > 1 {
        if let Some(found) = standing.iter().find_map(|standing| standing.find(rest)) {
            let written = name.len() - rest.len();
            out.extend_from_slice(&name[..written]);
            out.extend_from_slice(&pointer(found));
            return Standing { at: if written == 0 { found } else { at }, name, written };
        }
        rest = &rest[usize::from(rest[0]) + 1..];
    }
    out.extend_from_slice(name);
    Standing { at, name, written: name.len() - 1 }
}

impl Standing<'_> {
    /// Where `suffix` stands in full or as a beginning with a pointer behind it.
    fn find(&self, suffix: &[u8]) -> Option<usize> {
        let offset = self.name.len().checked_sub(suffix.len()).filter(|offset| *offset < self.written)?;
        (self.name[offset..] == *suffix && is_label_start(self.name, offset)).then(|| self.at + offset)
    }
}

/// Whether a label of `name` begins at `offset`, and not only octets that look like one.
fn is_label_start(name: &[u8], offset: usize) -> bool {
    let mut at = 0;
    while at < offset {
        at += usize::from(name[at]) + 1;
    }
    at == offset
}

/// RFC 1035 §4.1.4. What is pointed at stands in the first few hundred octets.
fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(at).expect("names that are pointed at stand at the beginning")).to_be_bytes()
}
