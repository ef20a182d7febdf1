//! Facts that one record shows by itself, before any other record is asked: marks, owners, addresses (D1
//! to D4), names under a hidden suffix; and the names that it leads to.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::hints::{self, Stripped};
use super::mention::{self, Mention};
use super::names::HiddenNames;
use super::{Rule, Rules};
use crate::name::Name;
use crate::rdata::{self, Field, Role};
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone, address};

/// Facts that the records of one zone show by themselves. Only the zone and the config decide them.
#[derive(Default)]
pub(super) struct Facts {
    /// The zone is internal as a whole, by its name.
    pub(super) internal: Option<Rule>,
    /// Records that are hidden, by rising index.
    pub(super) seeds: Vec<(u32, Rule)>,
    /// Records that lose hints (D3) unless they are hidden in full, by rising index. The closure adds those whose hints are
    /// addresses that are hidden where the record leads to.
    pub(super) stripped: Vec<(u32, Box<[u8]>)>,
    /// Names in RDATA that may turn out to be hidden targets.
    pub(super) references: Vec<Lead>,
    /// MNAME, and the host of RNAME.
    pub(super) soa_names: Vec<Name>,
    /// Records that a mark publishes, by rising index.
    pub(super) marked: Vec<u32>,
    /// Aliases and MX among them that lead to a name under a hidden suffix.
    pub(super) faded: Vec<u32>,
    /// The first record with a documentation address.
    pub(super) documentation: Option<u32>,
    /// SVCB and HTTPS records with hints, marked or not.
    pub(super) hinted: Vec<u32>,
    /// The hints of each that are such addresses: the closure finds them.
    pub(super) hidden_hints: HashMap<u32, HashSet<IpAddr>>,
    /// A name below a DNAME is answered by what it is substituted with.
    pub(super) has_dname: bool,
    /// D15: somebody signed the file.
    pub(super) is_signed: bool,
    /// `[public] zones` publishes the zone: every record counts as marked.
    pub(super) is_published: bool,
    /// Records that insiders do not get (`; verge: outside`), by rising index.
    pub(super) outside_only: Vec<u32>,
    /// Names and addresses in the texts of unmarked records, by rising index.
    pub(super) mentions: Vec<(u32, Mention)>,
    /// Registry texts of external-dns.
    pub(super) registered: Vec<u32>,
}

/// A name in RDATA that may turn out to be a hidden target.
pub(super) struct Lead {
    pub(super) record: u32,
    pub(super) name: Name,
    /// The name is the host of a mailbox.
    pub(super) is_mailbox: bool,
}

/// D15: what a signer writes into a zone.
pub(super) fn is_of_signer(rtype: Type) -> bool {
    matches!(rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::ZONEMD)
}

/// Judges every record of `zone` by itself.
pub(super) fn facts(zone: &Zone, names: &HiddenNames<'_>, rules: &Rules) -> Facts {
    let mut facts = Facts { internal: internal_by_name(zone, names), ..Facts::default() };
    if facts.internal.is_some() {
        return facts;
    }
    facts.is_published = names.publishes(&zone.apex);
    let owners = names.reach_into(&zone.apex);
    let judge = Judge { names, rules, owners, is_published: facts.is_published };
    facts.is_signed = zone.records.iter().any(|record| is_of_signer(record.rtype));
    for (index, record) in (0..).zip(&zone.records) {
        judge.note(index, record, &mut facts);
    }
    facts
}

/// D11 is the reason for private reverse space, D12 whatever else makes a whole zone internal.
fn internal_by_name(zone: &Zone, names: &HiddenNames<'_>) -> Option<Rule> {
    let rule = names.rule(zone.apex.as_wire())?;
    Some(if rule == Rule::D11 { rule } else { Rule::D12 })
}

struct Judge<'r> {
    names: &'r HiddenNames<'r>,
    rules: &'r Rules,
    /// Whether owners in this zone can be hidden by their name.
    owners: bool,
    /// Whether what has no mark is published.
    is_published: bool,
}

enum Verdict {
    Stays,
    Hidden(Rule),
    Stripped(Box<[u8]>),
}

impl Judge<'_> {
    fn note(&self, index: u32, record: &Record, facts: &mut Facts) {
        if record.mark == Some(Mark::Outside) {
            facts.outside_only.push(index);
        }
        if record.rtype == Type::SOA {
            return self.note_soa(index, record, facts);
        }
        facts.has_dname |= record.rtype == Type::DNAME;
        if matches!(record.rtype, Type::SVCB | Type::HTTPS) && hints::has_hints(&record.rdata) {
            facts.hinted.push(index);
        }
        match self.verdict(record) {
            Verdict::Hidden(rule) => return facts.seeds.push((index, rule)),
            Verdict::Stripped(rdata) => facts.stripped.push((index, rdata)),
            Verdict::Stays => {}
        }
        if self.is_public(record) {
            facts.marked.push(index);
            // A record marked public stays. Whether it leads to an address decides about others (D6, D7).
            if matches!(record.rtype, Type::CNAME | Type::MX) {
                match self.lead(index, record) {
                    Led::Hidden(_) => facts.faded.push(index),
                    Led::To(leads) => facts.references.extend(leads),
                }
            }
            return;
        }
        facts.mentions.extend(mention::mentions(record).into_iter().map(|mention| (index, mention)));
        if !mention::registered(record).is_empty() {
            facts.registered.push(index);
        }
        if facts.documentation.is_none() && holds(record, address::is_documentation) {
            facts.documentation = Some(index);
        }
        match self.lead(index, record) {
            Led::Hidden(rule) => facts.seeds.push((index, rule)),
            Led::To(leads) => facts.references.extend(leads),
        }
    }

    /// D13: a SOA is never dropped; its names are looked at when everything else is known. But its signature covers
    /// them (D15).
    fn note_soa(&self, index: u32, record: &Record, facts: &mut Facts) {
        let names = rdata::names(record.rtype, &record.rdata).into_iter();
        let name = |(role, wire): (Role, &[u8])| match (role, Name::from_wire(wire).ok()?) {
            (Role::Target, name) => Some(name),
            (Role::Mailbox, name) => name.parent(),
        };
        facts.soa_names.extend(names.filter_map(name));
        if !facts.is_signed || self.is_public(record) {
            return;
        }
        match self.lead(index, record) {
            Led::Hidden(rule) => facts.seeds.push((index, rule)),
            Led::To(_) if record.mark == Some(Mark::Internal) => facts.seeds.push((index, Rule::Mark)),
            Led::To(leads) => facts.references.extend(leads),
        }
    }

    fn is_public(&self, record: &Record) -> bool {
        record.mark.is_some_and(Mark::publishes) || (self.is_published && record.mark != Some(Mark::Internal))
    }

    fn verdict(&self, record: &Record) -> Verdict {
        match record.mark {
            Some(Mark::Internal) => return Verdict::Hidden(Rule::Mark),
            // On purpose: no rule about this record or its owner holds against it.
            _ if self.is_public(record) => return Verdict::Stays,
            _ => {}
        }
        if let Some(rule) = self.owner_rule(&record.owner) {
            return Verdict::Hidden(rule);
        }
        match record.rtype {
            Type::A | Type::AAAA => self.of_address(record),
            Type::SVCB | Type::HTTPS => self.of_hints(record),
            _ if !is_decodable(record) => Verdict::Hidden(Rule::D1),
            _ if holds(record, |address| self.is_hidden(address)) => Verdict::Hidden(Rule::D4),
            _ => Verdict::Stays,
        }
    }

    fn owner_rule(&self, owner: &Name) -> Option<Rule> {
        self.owners.then(|| self.names.rule(owner.as_wire())).flatten()
    }

    fn is_hidden(&self, address: IpAddr) -> bool {
        address::hidden(address, &self.rules.private).is_some()
    }

    fn of_address(&self, record: &Record) -> Verdict {
        let Some(address) = plain_address(&record.rdata) else { return Verdict::Hidden(Rule::D1) };
        match address::hidden(address, &self.rules.private) {
            None => Verdict::Stays,
            Some("D2") => Verdict::Hidden(Rule::D2),
            Some("private") => Verdict::Hidden(Rule::Private),
            Some(_) => Verdict::Hidden(Rule::D1),
        }
    }

    fn of_hints(&self, record: &Record) -> Verdict {
        match hints::strip(&record.rdata, |address| !self.is_hidden(address)) {
            Stripped::Whole => Verdict::Stays,
            Stripped::Rewritten(rdata) => Verdict::Stripped(rdata),
            Stripped::Dropped => Verdict::Hidden(Rule::D3),
            Stripped::Malformed => Verdict::Hidden(Rule::D1),
        }
    }

    fn lead(&self, record_index: u32, record: &Record) -> Led {
        let mut leads = Vec::new();
        let mut add = |name, is_mailbox| leads.push(Lead { record: record_index, name, is_mailbox });
        for (role, wire) in judged_names(record) {
            let Ok(name) = Name::from_wire(wire) else { continue };
            if self.names.rule(name.as_wire()).is_some() {
                return Led::Hidden(closure_rule(record.rtype));
            }
            if role == Role::Mailbox
                && let Some(host) = name.parent().filter(|host| !host.is_root())
            {
                add(host, true);
            }
            // D6 lists MINFO among the targets (RFC 1035 §3.3.7: its mailboxes are domain names).
            if role == Role::Target || record.rtype == Type::MINFO {
                add(name, false);
            }
        }
        Led::To(leads)
    }
}

/// Where the names in RDATA lead.
enum Led {
    Hidden(Rule),
    To(Vec<Lead>),
}

/// The rule under which a record with a hidden name in its RDATA is hidden.
pub(super) fn closure_rule(rtype: Type) -> Rule {
    if rtype == Type::NS { Rule::D13 } else { Rule::D6 }
}

/// The names in RDATA that D6 and D13 judge; the root stands for "none" and is not one.
fn judged_names(record: &Record) -> Vec<(Role, &[u8])> {
    match record.rtype {
        Type::A | Type::AAAA | Type::TXT => return Vec::new(),
        // D15 is the rule for what a signer wrote.
        Type::RRSIG | Type::NSEC => return Vec::new(),
        _ => {}
    }
    let mut names = rdata::names(record.rtype, &record.rdata);
    names.retain(|(_, wire)| *wire != [0]);
    names
}

/// Whether we know what is in this RDATA; a type without a shape may hold anything (D1).
fn is_decodable(record: &Record) -> bool {
    let known = rdata::shape(record.rtype).is_some_and(|fields| !fields.contains(&Field::Opaque));
    known && rdata::spans(record.rtype, &record.rdata).all(|span| span.is_ok())
}

pub(super) fn plain_address(rdata: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(rdata).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(rdata).map(IpAddr::from)).ok()
}

fn holds(record: &Record, test: impl Fn(IpAddr) -> bool) -> bool {
    match record.rtype {
        Type::A | Type::AAAA => plain_address(&record.rdata).is_some_and(test),
        rtype => address::addresses(rtype, &record.rdata).into_iter().any(test),
    }
}
