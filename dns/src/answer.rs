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
//! The walk (`answer/walk.rs`) finds the RRsets. A sink takes them: one (`answer/collect.rs`) makes an [`Answer`], a plain value
//! of RRsets by section, the other (`wire/direct.rs`) writes bytes. The view that is walked decides what an answer may hold;
//! `wire` decides what fits.
//!
//! Where RFCs leave room this does what Knot, NSD and PowerDNS agree on: a positive answer carries no NS RRset (the
//! resolver found us by it, and it makes every answer larger), additional data comes from the zone of the record that
//! asks for it, and ANY gets one RRset (RFC 8482 §4.1).

mod additional;
mod collect;
mod denial;
mod reach;
mod substitute;
#[cfg(test)]
mod tests;
pub(crate) mod walk;
mod withheld;

use std::borrow::Cow;

pub use collect::answer;

use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::steer::Asker;
use crate::zone::tree::{RrSet, Tree};

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
    /// The client, for RRsets that are steered.
    pub asker: Asker,
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
    /// How many bits of the client's network the answer depends on (RFC 7871 §7.2.1).
    pub scope: u8,
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
    /// All of them, in the order of the enum.
    pub(crate) const ALL: [Self; 9] = [
        Self::Positive,
        Self::NoData,
        Self::NxDomain,
        Self::Referral,
        Self::Partial,
        Self::TooLong,
        Self::NoZone,
        Self::BrokenZone,
        Self::Undecided,
    ];

    /// The label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Referral => "referral",
            Self::Partial => "alias",
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
fn is_signed(tree: &Tree) -> bool {
    tree.apex_node().set(Type::DNSKEY).is_some()
}
