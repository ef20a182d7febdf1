//! Which records each view may hold: rules D1 to D13 and D15 as a least fixpoint over all loaded zones.
//!
//! ```text
//! zones ─▶ direct: what each record says by itself ─▶ closure: what would betray it ─▶ outside ─┐
//!            (D1–D4, D11, D12, marks, suffixes)         (D6, D7, D12, D13)          ─▶ inside  ─┴▶ Divided
//! ```
//!
//! # What is computed
//! A record is **hidden** when one of these rules says so, and the set of hidden records is the *least* one that
//! obeys them all: nothing is hidden without a reason that goes back to a record that is hidden by itself. So two
//! public names that only point at each other stay public, and the order of the zones and records does not matter.
//!
//! 1. By itself (`direct`): D1 and D2 and `private` (A, AAAA), D3 (SVCB, HTTPS), D4 (other addresses), D1 (a type
//!    that cannot be decoded), D6 and D13 (a name in RDATA under a hidden suffix), D11 (an owner in private reverse
//!    space, or one that decodes to a hidden address), D12 (the zone is internal by its name), `; verge: internal`,
//!    an owner at or under `internal_names` or a special-use suffix. D3 takes a hint as well whose address a hidden A or
//!    AAAA holds at the end of the aliases of the name that the record leads to, or of its owner, and no public one there.
//! 2. D6, D13 (NS): a name in its RDATA is a hidden target. One of three things makes it one:
//!    - the node that answers it in the full tree is **dead**: no public record is left at or below it (D8). The apex
//!      never is, nor is a cut whose child zone is public here (D13).
//!    - that node owns addresses or an alias in the full tree, and outsiders get none of them. An alias that a mark
//!      publishes although its target is hidden leads to no address.
//!    - nothing answers it, and its closest encloser is dead or a hidden host.
//!
//!    DNAMEs on the way are followed, as many as answers are followed through; CNAME chains close by induction. The
//!    mailboxes of SOA, RP and MINFO lead to the host behind their first label.
//! 3. D7: it is other data at a host (a name below the apex that is no cut) whose every A, AAAA, CNAME, A6, L32 and
//!    L64 is hidden, or lies below an underscore label under that host with no other host between. While one of its MX
//!    leads to a public address, its MX, TXT, CAA and mail policies stay. It is TXT of a service (a name with SRV and
//!    without addresses) whose every SRV is hidden, or a PTR to that service.
//! 4. D13: it lies at or below a cut none of whose NS is public, unless the cut's child zone is public here. D6: it
//!    lies below a DNAME that is hidden. So nothing that was occluded becomes visible.
//! 5. Its zone does not exist outside, and every name in it is a hidden target: no public record is left beside the SOA
//!    (D12), no apex NS is public (D12, D13), or the file is signed and something in it is hidden (D15).
//!
//! `; verge: public` holds against the rules about one record or its host (D1 to D7, D11, the suffixes), not
//! against 4 and 5. The SOA is never hidden; a hidden MNAME gives way to the first public apex NS (D13). D5, D9 and
//! D10 need no rule of their own: what is hidden is not in the public data, from which sets, wildcards and empty
//! non-terminals are made.
//!
//! # What is not known yet
//! Of a zone that has a file but never had a good version ([`Rules::unknown_zones`]) only its draft is known. A record is
//! **undecided** if it would be hidden if all names in such zones were, but is not hidden by what is known: see
//! `undecided`. Outsiders get SERVFAIL for its owner and type.
//!
//! # Cost
//! One pass over the records and one look-up for each name in RDATA; trees of names are made only for zones in which
//! something is hidden, and each record, node and reference is touched a bounded number of times. A zone of which
//! nothing is hidden is shared, not copied: see [`Selection`].
//!
//! [`Division`] divides again after an edit, at the cost of the zones that the edit can reach.
//!
//! # How to serve it
//! `divided.public` is none: outside there is no such zone. [`trees`] builds what each view serves. A zone with a
//! [fatal](Problem::is_fatal) problem must not be served: divide again with its last good version in its place. If it
//! has none, leave it in (its names stay hidden) and answer SERVFAIL for it.

mod closure;
mod direct;
mod division;
mod hints;
mod inside;
mod mention;
mod names;
mod nodes;
mod outside;
mod problems;
mod shown;
mod spelled;
#[cfg(test)]
mod tests;
mod trees;
mod undecided;
mod unhidden;
mod wording;

pub use division::{Division, Part};
pub(crate) use hints::{Stripped, strip as strip_hints};
pub use trees::{Trees, trees, trees_beside};
pub use unhidden::{Unhidden, unhidden};

use std::net::IpAddr;

use ipnet::IpNet;

use self::direct::Facts;
use self::names::HiddenNames;
use super::{Problem, Record, Severity, Zone, address};
use crate::name::Name;

/// The config's rules beyond the zone files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Addresses that are hidden although they are public ones (`private = […]`).
    pub private: Vec<IpNet>,
    /// Names that are hidden with everything below them (`internal_names = […]`).
    pub internal_names: Vec<Name>,
    /// Zones that do not exist outside (`[internal] zones`), with everything below them.
    pub internal_zones: Vec<Name>,
    /// Zones that are published as a whole on purpose, private names and addresses and all (`[public] zones`): AS112
    /// servers and labs.
    pub public_zones: Vec<Name>,
    /// Zones that have a file but never had a good version: nobody knows what is hidden in them, so what leads into them
    /// is undecided (D6). Name servers are left to what was understood of the file, or one broken file would take down
    /// every zone that its name servers serve.
    pub unknown_zones: Vec<Name>,
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
    /// Public and internal addresses of one name; hides nothing by itself.
    D5,
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
    /// The file is signed, and outsiders may not see all of it.
    D15,
    /// An address in a prefix of the config's `private`.
    Private,
    /// `; verge: internal`.
    Mark,
    /// The owner is at or under one of the config's `internal_names`, but its zone is not.
    InternalNames,
    /// The owner is at or under a special-use suffix (.internal, .local, .lan, .home.arpa, .corp), but its zone is not.
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
            Self::D5 => "D5",
            Self::D6 => "D6",
            Self::D7 => "D7",
            Self::D11 => "D11",
            Self::D12 => "D12",
            Self::D13 => "D13",
            Self::D15 => "D15",
            Self::Private => "private",
            Self::Mark => "mark",
            Self::InternalNames => "internal_names",
            Self::SpecialUse => "special-use",
        }
    }
}

/// One zone, divided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divided {
    /// The records that outsiders may learn; none if outside there is no such zone (D11, D12).
    pub public: Option<Selection>,
    /// The records of the inside: the union, but internal A, AAAA and CNAME stand in for public ones.
    pub internal: Selection,
    /// The hidden records with their reasons, by rising record index.
    pub hidden: Vec<Hidden>,
    /// Records of which it is not known yet whether they are hidden, and the others of their RRsets: outsiders get SERVFAIL
    /// for them. By rising record index; neither in `public` nor in `hidden`.
    pub undecided: Vec<u32>,
    /// Hidden addresses that a mark published, with the owner as written (it may be a wildcard): the egress guard
    /// lets them pass.
    pub published: Vec<(Name, IpAddr)>,
    /// Errors, warnings and notes.
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

impl Seen<'_> {
    /// Whether the view shows other RDATA than the author wrote.
    pub fn is_changed(&self) -> bool {
        !std::ptr::eq(self.rdata, &*self.record.rdata)
    }
}

impl Selection {
    /// Whether the view holds exactly the zone's own records.
    pub fn is_whole(&self) -> bool {
        self.kept == Kept::All && self.rewritten.is_empty()
    }

    /// All records but those for which `leave_out` is true. `rewritten` stands by rising index.
    fn without(records: usize, leave_out: impl Fn(u32) -> bool, rewritten: Vec<(u32, Box<[u8]>)>) -> Self {
        let records = u32::try_from(records).expect("a zone has fewer than 2^32 records");
        let kept = if (0..records).any(&leave_out) {
            Kept::Only((0..records).filter(|index| !leave_out(*index)).collect())
        } else {
            Kept::All
        };
        Self { kept, rewritten }
    }

    /// Whether `other` has all of these records, with the same RDATA. `records` is how many the zone has.
    pub(crate) fn is_within(&self, other: &Self, records: usize) -> bool {
        let (mine, theirs) = (self.as_set(records), other.as_set(records));
        let records = u32::try_from(records).expect("a zone has fewer than 2^32 records");
        (0..records)
            .filter(|at| mine.has(*at))
            .all(|at| theirs.has(at) && self.rewritten(at) == other.rewritten(at))
    }

    /// The RDATA that stands in for that of a record.
    fn rewritten(&self, record: u32) -> Option<&[u8]> {
        let at = self.rewritten.binary_search_by_key(&record, |(at, _)| *at).ok()?;
        Some(&self.rewritten[at].1)
    }

    /// Takes out records; `gone` stands by rising index, and `records` is how many the zone has.
    fn leave_out(&mut self, gone: &[u32], records: usize) {
        let has = self.as_set(records);
        let is_gone = |index: &u32| gone.binary_search(index).is_ok();
        self.rewritten.retain(|(at, _)| !is_gone(at));
        let rewritten = std::mem::take(&mut self.rewritten);
        *self = Self::without(records, |index| !has.has(index) || is_gone(&index), rewritten);
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
                Some((_, rdata)) => &**rdata,
                None => &record.rdata,
            };
            Seen { record, rdata }
        })
    }
}

/// Divides all loaded zones at once; the results stand in the order of `zones`, whose apexes must differ.
pub fn divide(zones: &[&Zone], rules: &Rules) -> Vec<Divided> {
    let names = HiddenNames::new(rules);
    let facts = zones.iter().map(|zone| direct::facts(zone, &names, rules)).collect();
    divide_judged(zones, facts, &names, rules)
}

/// Divides zones of which each record has been judged by itself.
fn divide_judged(
    zones: &[&Zone],
    mut facts: Vec<Facts>,
    names: &HiddenNames<'_>,
    rules: &Rules,
) -> Vec<Divided> {
    let mut closure = closure::close(zones, &mut facts, names);
    let divided = facts.iter().enumerate().map(|(zone, facts)| {
        let outside = outside::select(zone, facts, &closure, names);
        let problems = problems::find(zone, facts, &closure, names, rules, &outside);
        let is_refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        Divided {
            // Fails closed: no fault may show outsiders more.
            public: outside.selection.filter(|_| !is_refused),
            internal: inside::select(zone, facts, &closure, rules),
            published: published(zones[zone], facts, &outside.hidden, rules),
            hidden: outside.hidden,
            undecided: Vec::new(),
            problems,
        }
    });
    let mut divided: Vec<Divided> = divided.collect();
    // All else is what is known for sure, so this comes last.
    for ((zone, divided), records) in zones.iter().zip(&mut divided).zip(closure.doubt()) {
        undecided::withhold(zone, divided, &records, names);
    }
    divided
}

/// Whether a zone with this apex is internal as a whole by its name alone (D11, D12, the config): also for zones
/// that never loaded, which outside must be as if they were not there.
pub fn is_internal_zone(apex: &Name, rules: &Rules) -> bool {
    HiddenNames::new(rules).rule(apex.as_wire()).is_some()
}

/// The hidden addresses of records that a mark made public.
fn published(zone: &Zone, facts: &Facts, hidden: &[Hidden], rules: &Rules) -> Vec<(Name, IpAddr)> {
    let gone = |index: &u32| hidden.binary_search_by_key(index, |hidden| hidden.record).is_ok();
    let records =
        facts.marked.iter().filter(|index| !gone(index)).map(|index| &zone.records[*index as usize]);
    let pairs = records.flat_map(|record| {
        let addresses = address::addresses(record.rtype, &record.rdata).into_iter();
        addresses.map(|address| (record.owner.clone(), address))
    });
    pairs.filter(|(_, address)| address::hidden(*address, &rules.private).is_some()).collect()
}
