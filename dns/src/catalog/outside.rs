//! A stand-in for outsiders, when a zone's current text may not be shown to them (D13, D15): the last text that might, if every
//! rule of now holds for it, and if it shows nothing that the current text hides. Else nothing, as without the zone.
//!
//! ```text
//! zones as chosen ─┬─ the last text in the place of each one at fault ─▶ what outsiders would get ─┐
//!                  └─ the current text as if its fault was mended ─────▶ what it hides ───────────┴▶ may it stand in?
//! ```
//!
//! Insiders get the current text in any case.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::good::{Good, Shown, is_at_fault};
use super::unhidden;
use crate::name::{self, Name};
use crate::rdata;
use crate::rtype::Type;
use crate::zone::privacy::{Divided, Division, Part};
use crate::zone::{Mark, Position, Record, Severity, Zone, check};

/// By apex, what outsiders get of zones where that is not what the chosen versions say. With `holds` nothing that was
/// hidden becomes public.
pub(super) fn stand_ins(
    division: &Division,
    served: &HashMap<Name, Good>,
    holds: bool,
) -> HashMap<Name, Shown> {
    let parts = division.parts();
    let at_fault = parts.iter().enumerate().filter(|(_, part)| is_at_fault(&part.divided));
    let mut standing: BTreeMap<usize, Arc<Zone>> = at_fault
        .filter_map(|(at, part)| Some((at, served.get(&part.zone.apex)?.publishable.clone()?)))
        .filter(|(at, zone)| !Arc::ptr_eq(zone, &parts[*at].zone))
        .collect();
    while !standing.is_empty() {
        let stood = with(division, |at| standing.get(&at).map(Arc::clone));
        let mended =
            with(division, |at| standing.contains_key(&at).then(|| Arc::new(mended(&parts[at].zone))));
        let compared = Compared { stood: stood.parts(), mended: mended.parts(), served, holds };
        let count = standing.len();
        standing.retain(|at, _| compared.may_stand_in(*at));
        if standing.len() < count {
            continue;
        }
        let affected: Vec<usize> = (0..parts.len())
            .filter(|at| !Arc::ptr_eq(&parts[*at].divided, &stood.parts()[*at].divided))
            .collect();
        if !affected.iter().all(|at| standing.contains_key(at) || compared.shows_no_more(*at)) {
            break;
        }
        let shown = |at: usize| {
            let Part { zone, divided, .. } = &stood.parts()[at];
            (zone.apex.clone(), Shown { zone: Arc::clone(zone), divided: Arc::clone(divided) })
        };
        return affected.into_iter().map(shown).collect();
    }
    HashMap::new()
}

fn with(division: &Division, other: impl Fn(usize) -> Option<Arc<Zone>>) -> Division {
    let zones = division.parts().iter().enumerate();
    let zones: Vec<Arc<Zone>> =
        zones.map(|(at, part)| other(at).unwrap_or_else(|| Arc::clone(&part.zone))).collect();
    division.again(&zones, division.rules())
}

/// The zone without signatures (D15) and with a name server that outsiders see (D13): what is hidden of it then is hidden
/// for itself.
fn mended(zone: &Zone) -> Zone {
    let mut records: Vec<Record> =
        zone.records.iter().filter(|record| !is_of_signer(record.rtype)).cloned().collect();
    let server = Name::parse_absolute("ns.invalid").expect("it is a name");
    records.push(Record {
        owner: zone.apex.clone(),
        rtype: Type::NS,
        ttl: 0,
        rdata: server.as_wire().into(),
        at: Position::default(),
        mark: Some(Mark::Public),
        steer: false,
    });
    Zone::new(zone.apex.clone(), records, zone.files.clone())
}

fn is_of_signer(rtype: Type) -> bool {
    matches!(rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::ZONEMD)
}

/// All zones, once with the last texts and once with the mended ones.
struct Compared<'d> {
    stood: &'d [Part],
    mended: &'d [Part],
    served: &'d HashMap<Name, Good>,
    holds: bool,
}

impl Compared<'_> {
    fn may_stand_in(&self, at: usize) -> bool {
        let Part { zone, divided, .. } = &self.stood[at];
        let Some(public) = divided.public.as_ref().filter(|_| self.is_right(at)) else { return false };
        let current = Current::of(&self.mended[at]);
        let mut others: HashMap<usize, Option<Current<'_>>> = HashMap::new();
        let Some(current) = current else { return false };
        public.records(zone).all(|seen| {
            let record = seen.record;
            let is_told =
                record.rtype == Type::SOA || is_of_signer(record.rtype) || current.shows(record, seen.rdata);
            let mut leads = rdata::names(record.rtype, seen.rdata).into_iter();
            is_told
                || !current.names(record)
                    && !current.hides(record.owner.as_wire())
                    && leads.all(|(_, wire)| {
                        let Some(zone) = self.zone_of(wire) else { return true };
                        let other = others.entry(zone).or_insert_with(|| Current::of(&self.mended[zone]));
                        other.as_ref().is_some_and(|other| !other.hides(&wire.to_ascii_lowercase()))
                    })
        })
    }

    /// Whether what outsiders get of another zone is no more than what they get beside the current texts.
    fn shows_no_more(&self, at: usize) -> bool {
        let (stood, mended) = (&self.stood[at], &self.mended[at]);
        let is_within = |one: &Divided, other: &Divided| match (&one.public, &other.public) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => one.is_within(other, stood.zone.records.len()),
        };
        self.is_right(at)
            && is_within(&stood.divided, &mended.divided)
            && stood.divided.undecided.iter().all(|record| mended.divided.undecided.contains(record))
    }

    /// Whether the rules for zones hold for what outsiders would see, and nothing is unhidden that has to wait.
    fn is_right(&self, at: usize) -> bool {
        let part = &self.stood[at];
        let shown = part.divided.public.as_ref().map(|public| public.as_set(part.zone.records.len()));
        let problems =
            shown.map(|shown| check::view(&part.zone, |index| shown.has(index))).unwrap_or_default();
        let is_bad = problems.iter().any(|problem| problem.severity == Severity::Error);
        let before = self.served.get(&part.zone.apex).filter(|_| self.holds);
        let unhides = before.is_some_and(|good| !unhidden::between(good.version(), part.into()).is_empty());
        !is_bad && !unhides && !is_at_fault(&part.divided)
    }

    fn zone_of(&self, wire: &[u8]) -> Option<usize> {
        let wire = wire.to_ascii_lowercase();
        let holds = |(_, part): &(usize, &Part)| name::is_at_or_under(&wire, part.zone.apex.as_wire());
        let holding = self.mended.iter().enumerate().filter(holds);
        holding.max_by_key(|(_, part)| part.zone.apex.label_count()).map(|(at, _)| at)
    }
}

/// The names and records of a current text, hidden and shown.
struct Current<'z> {
    apex: &'z Name,
    /// Records that outsiders would see, as they would see them.
    shown: HashSet<(&'z Name, Type, &'z [u8])>,
    /// All of them.
    written: HashSet<(&'z Name, Type, &'z [u8])>,
    /// Names that exist, and those that exist outside, empty ones included.
    names: HashSet<&'z [u8]>,
    public: HashSet<&'z [u8]>,
    /// Owners with an address or an alias, and those of which outsiders see one.
    hosts: HashSet<&'z [u8]>,
    public_hosts: HashSet<&'z [u8]>,
}

impl<'z> Current<'z> {
    /// None if outside there is no such zone even when its fault is mended.
    fn of(part: &'z Part) -> Option<Self> {
        let (zone, public) = (&*part.zone, part.divided.public.as_ref()?);
        let mut new = Self {
            apex: &zone.apex,
            shown: HashSet::new(),
            written: HashSet::new(),
            names: HashSet::new(),
            public: HashSet::new(),
            hosts: HashSet::new(),
            public_hosts: HashSet::new(),
        };
        for record in &zone.records {
            new.written.insert((&record.owner, record.rtype, &record.rdata));
            add_ancestors(&mut new.names, &zone.apex, &record.owner);
            if is_address(record.rtype) {
                new.hosts.insert(record.owner.as_wire());
            }
        }
        for seen in public.records(zone) {
            new.shown.insert((&seen.record.owner, seen.record.rtype, seen.rdata));
            add_ancestors(&mut new.public, &zone.apex, &seen.record.owner);
            if is_address(seen.record.rtype) {
                new.public_hosts.insert(seen.record.owner.as_wire());
            }
        }
        Some(new)
    }

    fn shows(&self, record: &Record, rdata: &[u8]) -> bool {
        self.shown.contains(&(&record.owner, record.rtype, rdata))
    }

    fn names(&self, record: &Record) -> bool {
        self.written.contains(&(&record.owner, record.rtype, &record.rdata))
    }

    /// Whether this lower-case wire name is hidden, or would be if it was there.
    fn hides(&self, wire: &[u8]) -> bool {
        let mut above = std::iter::successors(Some(wire), |name| name::parent(name));
        let Some(encloser) = above.find(|name| self.names.contains(name)) else { return false };
        let is_lost = |name: &[u8]| {
            !self.public.contains(name) || (self.hosts.contains(name) && !self.public_hosts.contains(name))
        };
        let wildcard = [b"\x01*", encloser].concat();
        let is_synthesized = encloser != wire && self.names.contains(wildcard.as_slice());
        // An apex without an address is no hidden host for what does not exist below it.
        let is_below_apex = encloser != wire && encloser == self.apex.as_wire();
        (!is_below_apex && is_lost(encloser)) || (is_synthesized && is_lost(&wildcard))
    }
}

fn add_ancestors<'z>(names: &mut HashSet<&'z [u8]>, apex: &Name, owner: &'z Name) {
    let mut next = Some(owner.as_wire());
    while let Some(name) =
        next.filter(|name| name::is_at_or_under(name, apex.as_wire()) && names.insert(name))
    {
        next = name::parent(name);
    }
}

fn is_address(rtype: Type) -> bool {
    matches!(rtype, Type::A | Type::AAAA | Type::CNAME)
}
