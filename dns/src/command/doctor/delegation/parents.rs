//! Finding the parents of a zone, and asking them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable};

use super::ask::{Recursion, ask};
use super::{Delegated, Own, advice};
use crate::clock;
use crate::command::doctor::Advice;
use crate::name::Name;

/// The servers to ask.
#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Way {
    /// Finds the parents; none: those of the system.
    pub(in crate::command::doctor) resolver: Option<SocketAddr>,
    /// Asked in the place of the parents.
    pub(in crate::command::doctor) parent: Option<SocketAddr>,
}

/// The result of a look.
#[derive(Debug, Default)]
pub(in crate::command::doctor) struct Looked {
    pub(in crate::command::doctor) advice: Vec<Advice>,
    /// The questions without an answer, and why.
    pub(in crate::command::doctor) notes: Vec<String>,
}

const DNS_PORT: u16 = 53;
/// For all zones.
const PATIENCE: Duration = Duration::from_secs(30);
/// Zones that are asked about; more would keep their parents busy.
const MOST_ZONES: usize = 200;
/// Servers of a parent that are asked, one after the other, until one answers.
const MOST_SERVERS: usize = 4;

/// Reads `192.0.2.1` or `192.0.2.1:5353`.
pub(in crate::command::doctor) fn addressed(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    text.parse().or_else(|_| alone()).map_err(|_| "write an address: 192.0.2.1, or 192.0.2.1:5353".to_owned())
}

/// Asks the parents of these zones.
pub(in crate::command::doctor) fn looked(owns: &[Own], way: &Way) -> Looked {
    let deadline = clock::now() + PATIENCE;
    let resolvers = way.resolver.map_or_else(resolvers, |resolver| vec![resolver]);
    let mut looked = Looked::default();
    for (asked, own) in owns.iter().enumerate() {
        if asked == MOST_ZONES || clock::now() >= deadline {
            looked.notes.push(format!("the parents of {} more zones were not asked", owns.len() - asked));
            break;
        }
        let found = match way.parent {
            Some(parent) => Ok((parent.to_string(), vec![parent])),
            None => find(&own.apex, &resolvers, deadline),
        };
        match found.and_then(|(parent, servers)| Ok((delegated(own, &servers, deadline)?, parent))) {
            Ok((Seen::Delegated(delegated), parent)) => {
                looked.advice.extend(advice(own, &parent, Some(&delegated)));
            }
            Ok((Seen::Not, parent)) => looked.advice.extend(advice(own, &parent, None)),
            Ok((Seen::Itself, parent)) => looked.notes.push(format!(
                "cannot tell how {parent} delegates {}: its servers serve the zone itself",
                own.apex
            )),
            Err(why) => looked.notes.push(format!("cannot tell how {} is delegated: {why}", own.apex)),
        }
    }
    looked
}

/// Those of resolv.conf(5).
fn resolvers() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.filter_map(|rest| addressed(rest.trim()).ok()).collect()
}

/// The answer of the first resolver that gives one.
fn resolve(
    resolvers: &[SocketAddr],
    question: (&Name, RecordType),
    deadline: Instant,
) -> Result<Message, String> {
    let mut why = "/etc/resolv.conf names no resolver (--resolver ADDRESS)".to_owned();
    for resolver in resolvers {
        match ask(*resolver, question, Recursion::Wanted, deadline) {
            Ok(answer) => return Ok(answer),
            Err(error) => why = format!("the resolver {resolver} does not answer: {error}"),
        }
    }
    Err(why)
}

/// The name of the zone above, and its servers.
pub(super) fn find(
    apex: &Name,
    resolvers: &[SocketAddr],
    deadline: Instant,
) -> Result<(String, Vec<SocketAddr>), String> {
    let above = apex.parent().ok_or("the root has no parent")?;
    let answer = resolve(resolvers, (&above, RecordType::SOA), deadline)?;
    let mut all = answer.answers.iter().chain(&answer.authorities);
    let soa = all.find(|record| record.record_type() == RecordType::SOA);
    let parent =
        soa.and_then(|soa| own_name(&soa.name)).ok_or_else(|| format!("no resolver knows {above}"))?;
    let servers = resolve(resolvers, (&parent, RecordType::NS), deadline)?;
    let mut found = Vec::new();
    for server in servers.answers.iter().filter_map(server_of).filter_map(|name| own_name(&name)) {
        for rtype in [RecordType::A, RecordType::AAAA] {
            let answer = resolve(resolvers, (&server, rtype), deadline);
            let addresses = answer.map(|answer| answer.answers).unwrap_or_default();
            let addresses = addresses.iter().filter_map(|record| record.data.ip_addr());
            found.extend(addresses.map(|address| SocketAddr::new(address, DNS_PORT)));
        }
        if found.len() >= MOST_SERVERS {
            break;
        }
    }
    match found.is_empty() {
        true => Err(format!("no server of {parent} has an address")),
        false => Ok((parent.to_string(), found)),
    }
}

/// How a parent sees a zone.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Delegated(Delegated),
    Not,
    /// It serves the zone itself, and its delegation cannot be seen.
    Itself,
}

fn delegated(own: &Own, servers: &[SocketAddr], deadline: Instant) -> Result<Seen, String> {
    let mut why = "it has no server".to_owned();
    for server in servers.iter().take(MOST_SERVERS) {
        let answer = match ask(*server, (&own.apex, RecordType::NS), Recursion::None, deadline) {
            Ok(answer) => answer,
            Err(error) => {
                why = format!("{server} does not answer: {error}");
                continue;
            }
        };
        let code = answer.metadata.response_code;
        if ![ResponseCode::NoError, ResponseCode::NXDomain].contains(&code) {
            why = format!("{server} answers {code}");
            continue;
        }
        let mut seen = seen(&own.apex, &answer);
        if let Seen::Delegated(delegated) = &mut seen {
            let asked = ask(*server, (&own.apex, RecordType::DS), Recursion::None, deadline);
            let answer = asked.map_err(|error| format!("{server} does not tell the DS: {error}"))?;
            let ds = records(&answer.answers, &own.apex, RecordType::DS);
            delegated.ds = ds.map(|record| rdata(&record.data)).collect();
        }
        return Ok(seen);
    }
    Err(why)
}

/// The view of a parent, by its answer to a question for the NS.
fn seen(apex: &Name, answer: &Message) -> Seen {
    if records(&answer.answers, apex, RecordType::NS).next().is_some() {
        return Seen::Itself;
    }
    let referral = records(&answer.authorities, apex, RecordType::NS);
    let names: BTreeSet<HickoryName> =
        referral.filter_map(server_of).map(|name| name.to_lowercase()).collect();
    if names.is_empty() {
        return Seen::Not;
    }
    let addresses = |name: &HickoryName| {
        let glue = answer.additionals.iter().filter(|record| record.name.to_lowercase() == *name);
        glue.filter_map(|record| record.data.ip_addr()).collect()
    };
    let servers: BTreeMap<String, BTreeSet<IpAddr>> =
        names.iter().map(|name| (name.to_ascii(), addresses(name))).collect();
    Seen::Delegated(Delegated { servers, ds: Vec::new() })
}

fn records<'a>(section: &'a [Record], owner: &Name, rtype: RecordType) -> impl Iterator<Item = &'a Record> {
    let owner = HickoryName::from_bytes(owner.as_wire()).map(|name| name.to_lowercase()).ok();
    section
        .iter()
        .filter(move |record| record.record_type() == rtype && Some(record.name.to_lowercase()) == owner)
}

fn server_of(record: &Record) -> Option<HickoryName> {
    match &record.data {
        RData::NS(server) => Some(server.0.clone()),
        _ => None,
    }
}

fn rdata(data: &RData) -> Vec<u8> {
    BinEncodable::to_bytes(data).unwrap_or_default()
}

fn own_name(name: &HickoryName) -> Option<Name> {
    Name::parse_absolute(&name.to_ascii()).ok()
}
