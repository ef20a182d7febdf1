//! `compare`: what an old server answers, or would from its files, beside what this configuration answers.
//!
//! Every name of both sides is asked for, outside and inside, and each difference is shown with its reason.

mod ask;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use self::ask::Server;
use super::{Failure, Source, old, say, zones};
use crate::answer::{Answer, Class, Placed, Query, answer};
use crate::catalog::report::{Report, ZoneReport};
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::steer::Asker;
use crate::view::{View, Which};
use crate::zone::privacy::Selection;
use crate::zone::set::Served;
use crate::zone::text::write_rdata;
use crate::zone::tree::Tree;
use crate::zone::{Record, Zone};

/// OLD is a zone file, a folder of zone files, or a server as @ADDRESS or @ADDRESS:PORT (asked over TCP). Exit status 1: there
/// is a difference.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where outsiders have been asking until now
    #[arg(long, value_name = "OLD", required_unless_present = "inside")]
    outside: Option<String>,
    /// Where insiders have been asking until now
    #[arg(long, value_name = "OLD")]
    inside: Option<String>,
    /// Folders of zone files, or zone files [default: the config's folder, or zones]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let zones = zones::load(&args.paths, &args.source)?;
    let (world, report) =
        (zones.loaded.world.expect("the first load always makes a world"), zones.loaded.report);
    let sides = [(Which::Public, &args.outside), (Which::Internal, &args.inside)];
    let mut sides = sides
        .into_iter()
        .filter_map(|(which, old)| Some(Old::open(old.as_deref()?).map(|old| (which, old))))
        .collect::<Result<Vec<_>, Failure>>()?;
    let questions = questions(&report, &sides);
    let count = questions.len();
    let mut differences = 0;
    for (which, old) in &mut sides {
        let which = *which;
        let before = differences;
        for Question { name, rtype } in questions.iter().cloned() {
            let then = old.reply(&name, rtype)?;
            let query = Query {
                qname: name.as_wire(),
                qtype: rtype,
                qclass: Class::In,
                dnssec_ok: false,
                asker: Asker::default(),
            };
            let now = Reply::of(&answer(world.view(which), query));
            if let Some(difference) = Difference::between(then, now) {
                differences += 1;
                let reasons = reasons(&difference, &name, which, &report);
                say(&format!("{} {name} {rtype}\n{difference}{reasons}\n", which.as_str()));
            }
        }
        say(&format!("{}: {count} questions, {} answered otherwise\n", which.as_str(), differences - before));
    }
    if differences == 0 { Ok(()) } else { Err(Failure::Problems) }
}

/// The source of the answers until now.
enum Old {
    Files { zones: Vec<Zone>, view: Box<View> },
    Server(Server),
}

impl Old {
    fn open(text: &str) -> Result<Self, Failure> {
        if let Some(address) = text.strip_prefix('@') {
            let with_port = address.parse::<SocketAddr>();
            let address = with_port.or_else(|_| address.parse().map(|ip| SocketAddr::new(ip, DNS_PORT)));
            return address
                .map(|address| Self::Server(Server::new(address)))
                .map_err(|_| Failure::NoServer(text.into()));
        }
        let zones = old::read_all(text.as_ref())?;
        let trees = zones.iter().map(|zone| (zone.apex.clone(), Served::Zone(Tree::of(zone).into())));
        let view = View { zones: trees.collect(), ..View::default() };
        Ok(Self::Files { zones, view: Box::new(view) })
    }

    fn zones(&self) -> impl Iterator<Item = &Zone> {
        let zones = match self {
            Self::Files { zones, .. } => zones.as_slice(),
            Self::Server(_) => &[],
        };
        zones.iter()
    }

    /// The owners and types that a server has in a zone; files were read as a whole.
    fn transfer(&self, apex: &Name) -> Option<Vec<(Name, Type)>> {
        match self {
            Self::Files { .. } => Some(Vec::new()),
            Self::Server(server) => server.transfer(apex),
        }
    }

    fn reply(&mut self, name: &Name, rtype: Type) -> Result<Reply, Failure> {
        match self {
            Self::Files { view, .. } => {
                let query = Query {
                    qname: name.as_wire(),
                    qtype: rtype,
                    qclass: Class::In,
                    dnssec_ok: false,
                    asker: Asker::default(),
                };
                Ok(Reply::of(&answer(view, query)))
            }
            Self::Server(server) => {
                let address = server.address();
                server.ask(name, rtype).map_err(|error| Failure::Unanswered(address, error))
            }
        }
    }
}

const DNS_PORT: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    name: Name,
    rtype: Type,
}

/// Types that every name is asked for, whether it has them or not.
const USUAL: &[Type] = &[Type::A, Type::AAAA, Type::MX, Type::TXT, Type::CNAME];
/// A label that no zone has.
const MISSING: &[u8] = b"verge-dns-compare-no-such-name";

/// Every name that is known here or was known there, with every type that it has anywhere, and one name in each zone that
/// is nowhere.
fn questions(report: &Report, sides: &[(Which, Old)]) -> Vec<Question> {
    let mut questions = Vec::new();
    let now = || report.zones.iter().filter_map(|zone| zone.zone.as_deref());
    let old = sides.iter().flat_map(|(_, old)| old.zones());
    let mut known: Vec<(Name, Type)> = Vec::new();
    for zone in now().chain(old) {
        let missing = zone.apex.child(MISSING);
        questions.extend(missing.map(|name| Question { name, rtype: Type::A }));
        known.extend(zone.records.iter().map(|record| (record.owner.clone(), record.rtype)));
    }
    for (which, old) in sides {
        for zone in now() {
            match old.transfer(&zone.apex) {
                Some(records) => known.extend(records),
                None => say(&format!(
                    "{}: the old server does not hand out {} (AXFR), so names that it alone has are not asked for\n",
                    which.as_str(),
                    zone.apex
                )),
            }
        }
    }
    for (name, rtype) in known.into_iter().filter(|(_, rtype)| is_asked_for(*rtype)) {
        let types = USUAL.iter().copied().chain([rtype]);
        questions.extend(types.map(|rtype| Question { name: name.clone(), rtype }));
    }
    let mut asked = HashSet::new();
    questions.retain(|question| asked.insert(question.clone()));
    questions
}

/// The server of the zone makes the records that prove and sign.
fn is_asked_for(rtype: Type) -> bool {
    !matches!(rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::NSEC3PARAM | Type::DNSKEY | Type::ZONEMD)
}

/// The content of an answer, whatever the order of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    /// The four bits of the header.
    rcode: u8,
    records: BTreeSet<String>,
}

impl Reply {
    fn of(answer: &Answer<'_, '_>) -> Self {
        let delegation = answer.authority.iter().filter(|placed| placed.set.rtype == Type::NS);
        let records = answer.answer.iter().chain(delegation.filter(|_| answer.answer.is_empty()));
        Self { rcode: answer.rcode.low(), records: records.flat_map(lines).collect() }
    }
}

fn lines(placed: &Placed<'_>) -> Vec<String> {
    let owner = Name::from_wire(&placed.owner).expect("answers hold valid names");
    placed.set.rdatas().map(|rdata| line(&owner, placed.ttl, placed.set.rtype, rdata)).collect()
}

/// A record as it is compared: names in lower case, a SOA without its serial, which every server raises on its own.
fn line(owner: &Name, ttl: u32, rtype: Type, rdata: &[u8]) -> String {
    let mut rdata = rdata.to_vec();
    if let (Type::SOA, Some(serial)) = (rtype, rdata.len().checked_sub(20)) {
        rdata[serial..serial + 4].fill(0);
    }
    let mut text = format!("{owner} {ttl} {rtype} ");
    write_rdata(rtype, &rdata, &mut text).expect("a String takes any text");
    if crate::rdata::names(rtype, &rdata).is_empty() { text } else { text.to_ascii_lowercase() }
}

/// How two replies differ.
#[derive(Debug)]
struct Difference {
    then: u8,
    now: u8,
    only_then: Vec<String>,
    only_now: Vec<String>,
}

impl Difference {
    fn between(then: Reply, now: Reply) -> Option<Self> {
        let only = |one: &Reply, other: &Reply| one.records.difference(&other.records).cloned().collect();
        let (only_then, only_now): (Vec<String>, Vec<String>) = (only(&then, &now), only(&now, &then));
        let same = then.rcode == now.rcode && only_then.is_empty() && only_now.is_empty();
        (!same).then_some(Self { then: then.rcode, now: now.rcode, only_then, only_now })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.then != self.now {
            writeln!(f, "  - {}\n  + {}", in_words(self.then), in_words(self.now))?;
        }
        self.only_then.iter().try_for_each(|line| writeln!(f, "  - {line}"))?;
        self.only_now.iter().try_for_each(|line| writeln!(f, "  + {line}"))
    }
}

fn in_words(rcode: u8) -> String {
    let known =
        [Rcode::NoError, Rcode::FormErr, Rcode::ServFail, Rcode::NxDomain, Rcode::NotImp, Rcode::Refused];
    let known = known.iter().find(|known| known.low() == rcode);
    known.map_or_else(|| format!("response code {rcode}"), |known| known.as_str().to_owned())
}

/// Why this configuration answers otherwise: each record that came or went with its place and the rule about it.
fn reasons(difference: &Difference, name: &Name, which: Which, report: &Report) -> String {
    let holding = report.zones.iter().filter(|zone| name.is_at_or_under(&zone.apex));
    let Some(zone) = holding.max_by_key(|zone| zone.apex.label_count()) else {
        return format!("  = no zone here holds {name}\n");
    };
    let Some(all) = zone.zone.as_deref() else {
        return format!("  = {} has errors and is not served\n", zone.source);
    };
    let mut text = String::new();
    let mut unknown = difference.only_then.len();
    for (at, record) in (0..).zip(&all.records) {
        let now = line(&record.owner, record.ttl, record.rtype, &record.rdata);
        let reason = if difference.only_now.contains(&now) {
            shown(record, which)
        } else if difference.only_then.iter().any(|then| same_but_ttl(then, &now)) {
            unknown -= 1;
            gone(at, which, zone)
        } else {
            continue;
        };
        text += &format!("  = {}: {reason}\n", place(record, all));
    }
    if unknown > 0 {
        text += &format!("  = {} has no such record\n", zone.source);
    }
    if difference.only_now.is_empty() && difference.only_then.is_empty() {
        let there = all.records.iter().find(|record| record.owner.is_at_or_under(name));
        if let Some(record) = there {
            text += &format!("  = {}: {} has this record here\n", place(record, all), record.owner);
        }
    }
    text
}

fn place(record: &Record, zone: &Zone) -> String {
    format!("{}:{}", zone.files[record.at.file as usize].path.display(), record.at.line)
}

/// Whether two lines differ in their second word at most.
fn same_but_ttl(one: &str, other: &str) -> bool {
    let words = |line: &str| -> Vec<String> {
        let mut words: Vec<String> = line.splitn(3, ' ').map(str::to_owned).collect();
        words.get_mut(1).map(String::clear);
        words
    };
    words(one) == words(other)
}

/// Why a record is there that was not.
fn shown(record: &Record, which: Which) -> String {
    let rtype = record.rtype;
    match which {
        Which::Public => {
            format!("outsiders see this {rtype} record; `; verge: internal` at its end would hide it")
        }
        Which::Internal => {
            format!("insiders see this {rtype} record; `; verge: outside` at its end would hide it from them")
        }
    }
}

/// Why a record is not there that was, or has another TTL.
fn gone(at: u32, which: Which, zone: &ZoneReport) -> String {
    let hidden = zone.divided.iter().flat_map(|divided| &divided.hidden).find(|hidden| hidden.record == at);
    let shows = |selection: &Selection| {
        let records = zone.zone.as_deref().map_or(0, |all| all.records.len());
        selection.as_set(records).has(at)
    };
    match (which, hidden, zone.divided.as_deref()) {
        (Which::Public, Some(hidden), _) => {
            let why = hidden.why.as_str();
            format!("hidden outside ({why}); `; verge: public` at its end would show it")
        }
        (Which::Internal, _, Some(divided)) if !shows(&divided.internal) => {
            "internal addresses stand in for it inside (D5), or its mark hides it; `; verge: both` would show it".to_owned()
        }
        _ => "its TTL is another here".to_owned(),
    }
}
