//! The answer to a query: RFC 1034 §4.3.2 as one pipeline over one enum of outcomes.
//!
//! ```text
//! question ─▶ zone ─▶ name ─┬─ records ──▶ answer, the zone's NS, additional
//!                ▲          ├─ CNAME, DNAME ─▶ follow ─┐
//!                │          ├─ delegation ──▶ referral │
//!                │          └─ no data, no name ─▶ SOA │
//!                └─────────────────────────────────────┘
//! ```
//!
//! An [`Answer`] is a plain value: RRsets by section. The [`View`] it is made from decides what it may hold;
//! `wire` decides what fits.
//!
//! Where RFCs leave room this does what Knot, NSD and PowerDNS agree on: a positive answer carries no NS RRset (the
//! resolver found us by it, and it makes every answer larger), additional data comes from the zone of the record that
//! asks for it, and ANY gets one RRset (RFC 8482 §4.1).
//!
//! Invariant: no code here hides a record. A tree holds only what its view may show.

pub(crate) mod additional;
pub(crate) mod denial;
mod substitute;
#[cfg(test)]
mod tests;
mod withheld;

use std::borrow::Cow;

use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::{Found, Node, RrSet, Tree};

/// A question as `wire` read it.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Lower-case wire form.
    pub qname: &'a [u8],
    /// The type asked for.
    pub qtype: Type,
    /// The class asked for.
    pub qclass: Class,
    /// Whether the client understands DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
}

/// The classes that have data here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The Internet.
    In,
    /// Any class: answered from IN, never with authority (RFC 1034 §3.7.1).
    Any,
}

/// The answer to a question, before it is fitted into a message.
#[derive(Clone, Debug)]
pub struct Answer<'v, 'a> {
    /// How it ended: of the last name, if the question was followed (RFC 6604 §3).
    pub rcode: Rcode,
    /// The AA bit: of the first name (RFC 1034 §4.3.1).
    pub authoritative: bool,
    /// Records that answer.
    pub answer: Vec<Placed<'a>>,
    /// Records that say who knows more, or that there is no more.
    pub authority: Vec<Placed<'a>>,
    /// Records that a client is likely to ask for next.
    pub additional: Vec<Placed<'a>>,
    /// The zone that the last name fell into.
    pub zone: Option<&'v Name>,
    /// The kind of the answer.
    pub kind: Kind,
    /// The wildcard's or DNAME's owner that stood for the name asked for, lower-case wire form; none if it stands for
    /// itself.
    pub synthesized: Option<&'v [u8]>,
}

/// The kinds of answers, as rate limiting and metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The name has records of the type.
    Positive,
    /// The name exists, but has none of the type (RFC 2308 §2.2).
    NoData,
    /// The name does not exist (RFC 2308 §2.1).
    NxDomain,
    /// Other servers know (RFC 1034 §4.3.2 step 3b).
    Referral,
    /// The question left our zones, or led nowhere.
    Partial,
    /// A substitution made the name too long (RFC 6672 §2.2).
    TooLong,
    /// No zone here.
    NoZone,
    /// The zone never had a good version.
    BrokenZone,
    /// Nobody knows yet whether outsiders may get what was asked for: it leads into a zone that never had a good version.
    Undecided,
}

impl Kind {
    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Referral => "referral",
            Self::Partial => "partial",
            Self::TooLong => "too_long",
            Self::NoZone => "no_zone",
            Self::BrokenZone => "broken_zone",
            Self::Undecided => "undecided",
        }
    }

    /// How such an answer ends.
    pub fn rcode(self) -> Rcode {
        match self {
            Self::Positive | Self::NoData | Self::Referral | Self::Partial => Rcode::NoError,
            Self::NxDomain => Rcode::NxDomain,
            Self::TooLong => Rcode::YxDomain,
            Self::NoZone => Rcode::Refused,
            Self::BrokenZone | Self::Undecided => Rcode::ServFail,
        }
    }
}

/// An RRset in a section.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// Lower-case wire form; of a wildcard the name that was asked for (RFC 4592 §3.3.1).
    pub owner: Cow<'a, [u8]>,
    /// The records.
    pub set: RrSet<'a>,
    /// Seconds; the set's own, or less for a negative answer's SOA.
    pub ttl: u32,
    /// Whether an answer without it must be marked as truncated.
    pub need: Need,
    /// The owner's RRSIG RRset if the client wants signatures; those that cover `set` go with it (RFC 4035 §3.1.1).
    pub signatures: Option<RrSet<'a>>,
}

impl Placed<'_> {
    /// The RDATA of the signatures that cover this RRset.
    pub fn covering(&self) -> impl Iterator<Item = &[u8]> {
        let covered = self.set.rtype.0.to_be_bytes();
        let all = self.signatures.iter().flat_map(RrSet::rdatas);
        all.filter(move |rdata| rdata.starts_with(&covered))
    }
}

/// Whether an answer is of use without an RRset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No: if it does not fit, the client must be told (TC).
    Required,
    /// Yes: it is left out in silence.
    Optional,
}

pub use crate::zone::MOST_FOLLOWED;

/// Answers a question from one view.
pub fn answer<'v: 'a, 'a>(view: &'v View, query: Query<'a>) -> Answer<'v, 'a> {
    let mut draft = Draft { query, followed: 0, answer: Answer::empty() };
    let mut name = Cow::Borrowed(query.qname);
    while let Step::Follow(next) = draft.look_up(view, name) {
        if draft.followed == MOST_FOLLOWED {
            draft.end(Kind::Partial);
            break;
        }
        draft.followed += 1;
        name = Cow::Owned(next);
    }
    draft.answer
}

impl Answer<'_, '_> {
    fn empty() -> Self {
        Self {
            rcode: Rcode::NoError,
            authoritative: false,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            zone: None,
            kind: Kind::Partial,
            synthesized: None,
        }
    }
}

struct Draft<'v, 'a> {
    query: Query<'a>,
    followed: usize,
    answer: Answer<'v, 'a>,
}

/// The result of one look-up step.
enum Step {
    Done,
    /// Lower-case wire form of the name to look up next.
    Follow(Vec<u8>),
}

/// A section of a message.
#[derive(Clone, Copy)]
enum Section {
    Answer,
    Authority,
    Additional,
}

/// Whether an RRset was put in, or was there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    New,
    AlreadyThere,
}

impl<'v: 'a, 'a> Draft<'v, 'a> {
    fn look_up(&mut self, view: &'v View, name: Cow<'a, [u8]>) -> Step {
        match view.zones.find(&name, self.query.qtype) {
            Some((_, Served::Zone(tree))) => self.in_zone(view, tree, name),
            Some((apex, Served::Broken)) => self.without_zone(Some(apex), Kind::BrokenZone),
            None => self.without_zone(None, Kind::NoZone),
        }
    }

    /// Only the first name can make the whole answer fail; a chain that leaves our zones is an answer.
    fn without_zone(&mut self, apex: Option<&'v Name>, first: Kind) -> Step {
        if self.followed > 0 {
            return self.end(Kind::Partial);
        }
        self.answer.zone = apex;
        self.end(first)
    }

    fn in_zone(&mut self, view: &'v View, tree: &'v Tree, name: Cow<'a, [u8]>) -> Step {
        self.answer.zone = Some(tree.apex());
        let found = tree.find(&name);
        if tree.withholds() && withheld::asks(tree, found, &name, self.query.qtype) {
            return self.undecided();
        }
        if self.followed == 0 {
            // AA speaks of the first name (RFC 1034 §4.3.1), so a referral at the end of a chain keeps it.
            let refers = matches!(found, Found::Delegation(cut) if !self.is_ds_at(cut, &name));
            self.answer.authoritative = !refers && self.query.qclass == Class::In;
            self.answer.synthesized = found.synthesizes_from().map(Node::name);
        }
        match found {
            // The parent's side of a cut owns the DS RRset (RFC 4035 §3.1.4.1).
            Found::Delegation(cut) if self.is_ds_at(cut, &name) => self.records(tree, cut, name),
            Found::Delegation(cut) => self.refer(tree, cut),
            Found::Dname(owner) => self.substitute(tree, owner, name),
            Found::Records(node) => self.records(tree, node, name),
            Found::EmptyNonTerminal(_) => {
                self.prove_no_name(tree, &name);
                self.negative(tree, Kind::NoData)
            }
            // The zone below is served here, so its apex exists although this zone has no such name.
            Found::Missing { .. } if self.is_ds_of_served_child(view, &name) => {
                self.prove_no_name(tree, &name);
                self.negative(tree, Kind::NoData)
            }
            Found::Missing { wildcard: Some(source), .. } => self.records(tree, source, name),
            Found::Missing { wildcard: None, closest_encloser } => {
                self.prove_no_name(tree, &name);
                self.prove_no_wildcard(tree, closest_encloser, &name);
                self.negative(tree, Kind::NxDomain)
            }
        }
    }

    fn is_ds_at(&self, cut: Node<'_>, name: &[u8]) -> bool {
        self.query.qtype == Type::DS && cut.name() == name
    }

    /// `Zones::find` sends DS to the zone above only at the apex of a zone that is served here.
    fn is_ds_of_served_child(&self, view: &View, name: &[u8]) -> bool {
        self.query.qtype == Type::DS && view.zones.has_apex(name)
    }

    /// The name owns records, or a wildcard's records are its own.
    fn records(&mut self, tree: &'v Tree, node: Node<'v>, owner: Cow<'a, [u8]>) -> Step {
        if self.query.qtype == Type::ANY {
            return self.one_of_any(tree, node, owner);
        }
        if let Some(set) = node.set(self.query.qtype) {
            self.put(Section::Answer, owner.clone(), node, set.clone(), Need::Required);
            self.prove_expansion(tree, node, &owner);
            self.add_additional(tree, &owner, &set);
            return self.end(Kind::Positive);
        }
        match node.set(Type::CNAME) {
            Some(set) => {
                self.prove_expansion(tree, node, &owner);
                self.alias(owner, node, set)
            }
            None => {
                self.prove_no_data(tree, node, &owner);
                self.negative(tree, Kind::NoData)
            }
        }
    }

    /// RFC 1034 §4.3.2 step 3a. An alias that is in the answer already closes a loop: what there is, is sent.
    fn alias(&mut self, owner: Cow<'a, [u8]>, node: Node<'v>, set: RrSet<'v>) -> Step {
        let target = set.first().map(<[u8]>::to_ascii_lowercase);
        match (self.put(Section::Answer, owner, node, set, Need::Required), target) {
            (Put::New, Some(target)) => Step::Follow(target),
            _ => self.end(Kind::Partial),
        }
    }

    /// One RRset is answer enough to ANY (RFC 8482 §4.1): a small one that clients can use.
    fn one_of_any(&mut self, tree: &'v Tree, node: Node<'v>, owner: Cow<'a, [u8]>) -> Step {
        match node.sets().min_by_key(|set| preference(set.rtype)) {
            Some(set) => {
                self.prove_expansion(tree, node, &owner);
                self.put(Section::Answer, owner, node, set, Need::Required);
                self.end(Kind::Positive)
            }
            None => {
                self.prove_no_data(tree, node, &owner);
                self.negative(tree, Kind::NoData)
            }
        }
    }

    /// RFC 2308 §3: the SOA's TTL is how long the negative answer may be kept.
    fn negative(&mut self, tree: &'v Tree, kind: Kind) -> Step {
        if let Some(soa) = tree.soa() {
            let ttl = negative_ttl(&soa);
            let apex = tree.apex_node();
            self.put(Section::Authority, Cow::Borrowed(apex.name()), apex, soa, Need::Required);
            if let Some(placed) = self.answer.authority.last_mut() {
                placed.ttl = ttl;
            }
        }
        self.end(kind)
    }

    /// RFC 1034 §4.3.2 step 3b.
    fn refer(&mut self, tree: &'v Tree, cut: Node<'v>) -> Step {
        if let Some(ns) = cut.set(Type::NS) {
            self.put(Section::Authority, Cow::Borrowed(cut.name()), cut, ns.clone(), Need::Required);
            self.add_glue(tree, cut, &ns);
        }
        // A DS means something only to a client that can check the zone that holds it.
        if self.query.dnssec_ok && is_signed(tree) {
            self.prove_delegation(tree, cut);
        }
        self.end(Kind::Referral)
    }

    /// Puts in a set of `node`, under the name that it is asked for.
    fn put(
        &mut self,
        section: Section,
        owner: Cow<'a, [u8]>,
        node: Node<'v>,
        set: RrSet<'v>,
        need: Need,
    ) -> Put {
        let signatures = if self.query.dnssec_ok { node.set(Type::RRSIG) } else { None };
        self.put_placed(section, Placed { owner, ttl: set.ttl, set, need, signatures })
    }

    /// An RRset is in a message once; one that was only additional is not moved, since nothing stronger follows it.
    fn put_placed(&mut self, section: Section, placed: Placed<'a>) -> Put {
        let Answer { answer, authority, additional, .. } = &self.answer;
        let mut all = answer.iter().chain(authority).chain(additional);
        if all.any(|other| other.set.rtype == placed.set.rtype && other.owner == placed.owner) {
            return Put::AlreadyThere;
        }
        match section {
            Section::Answer => self.answer.answer.push(placed),
            Section::Authority => self.answer.authority.push(placed),
            Section::Additional => self.answer.additional.push(placed),
        }
        Put::New
    }

    /// Unknown is not "no", and half of a chain would read as one.
    fn undecided(&mut self) -> Step {
        let zone = self.answer.zone;
        self.answer = Answer { zone, ..Answer::empty() };
        self.end(Kind::Undecided)
    }

    fn end(&mut self, kind: Kind) -> Step {
        self.answer.kind = kind;
        self.answer.rcode = kind.rcode();
        Step::Done
    }
}

/// Smaller is better; the order of types decides among equals.
fn preference(rtype: Type) -> u8 {
    match rtype {
        Type::A | Type::AAAA | Type::CNAME | Type::MX | Type::PTR | Type::SOA => 0,
        Type::DNSKEY | Type::RRSIG | Type::NSEC | Type::NSEC3 => 2,
        _ => 1,
    }
}

/// RFC 2308 §5: no longer than the SOA itself and than its MINIMUM, which are the last four bytes.
pub fn negative_ttl(soa: &RrSet<'_>) -> u32 {
    let minimum = soa.first().and_then(<[u8]>::last_chunk).copied().map(u32::from_be_bytes);
    minimum.map_or(soa.ttl, |minimum| minimum.min(soa.ttl))
}

/// Whether the zone can be validated: without keys nobody asks for its proofs.
pub(crate) fn is_signed(tree: &Tree) -> bool {
    tree.apex_node().set(Type::DNSKEY).is_some()
}
