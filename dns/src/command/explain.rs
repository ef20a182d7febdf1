//! `explain`: the answer that one client would get, and why.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::check::{HiddenRecord, hidden_of, undecided_of};
use super::{Failure, Format, RULES_PAGE, Source, json, say, zones};
use crate::answer::{Answer, Class, Kind, Placed, Query, answer};
use crate::catalog::report::{Report, ZoneReport};
use crate::client::{Client, Listener, Transport};
use crate::clock;
use crate::config::Config;
use crate::metrics::PoolStatus;
use crate::name::Name;
use crate::rtype::Type;
use crate::steer::{Asker, Pool};
use crate::view::{View, Which, choose};
use crate::world::World;
use crate::zone::text::write_record;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name asked for; the final dot may be left out
    #[arg(value_parser = Name::parse_absolute)]
    name: Name,
    /// The type asked for
    #[arg(value_name = "TYPE", value_parser = parse_type)]
    rtype: Type,
    /// The client's address
    #[arg(long, value_name = "IP")]
    from: IpAddr,
    /// The network for which it asks (client subnet, RFC 7871): it counts if `subnet_from` lists the client
    #[arg(long, value_name = "NET")]
    subnet: Option<IpNet>,
    #[command(flatten)]
    source: Source,
    /// A folder of zone files, or a zone file [default: the config's folder, or zones]
    #[arg(long, value_name = "PATH")]
    zones: Vec<PathBuf>,
    /// The shape of the output
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

fn parse_type(text: &str) -> Result<Type, &'static str> {
    text.parse().map_err(|_| "no such type; write A, AAAA, MX …, or TYPE and a number")
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let zones = zones::load(&args.zones, &args.source)?;
    let world = zones.loaded.world.expect("the first load always makes a world");
    let live = live(&world, zones.config.as_ref());
    let mut explained = explain(args, &world, zones.config.as_ref(), &zones.loaded.report);
    explained.steered = steered(&explained, &world, live.as_deref());
    say(&match args.format {
        Format::Human => explained.to_string(),
        Format::Json => json(&explained),
    });
    Ok(())
}

/// An answer with its reasons.
#[derive(Debug, Serialize)]
struct Explained {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    from: IpAddr,
    /// The network for which it asks, if it named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    subnet: Option<Subnet>,
    view: &'static str,
    view_because: String,
    zone: Option<ExplainedZone>,
    rcode: &'static str,
    kind: &'static str,
    authoritative: bool,
    answer: Vec<String>,
    authority: Vec<String>,
    additional: Vec<String>,
    /// Records at or below the name, or at a wildcard above it, that outsiders do not see.
    hidden_from_outside: Vec<HiddenRecord>,
    /// Records there for which outsiders get SERVFAIL, since nobody knows yet whether they are hidden.
    undecided: Vec<HiddenRecord>,
    /// The pools that the answer was chosen from.
    steered: Vec<PoolStatus>,
    /// The names whose pools those are, as far as the files tell.
    #[serde(skip)]
    pools: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Subnet {
    network: IpNet,
    /// Whether the client is believed for whom it asks.
    believed: bool,
    /// The bits of it that mattered, as the answer tells.
    scope: u8,
}

#[derive(Debug, Serialize)]
struct ExplainedZone {
    zone: String,
    file: String,
    state: &'static str,
    serial: Option<u32>,
}

fn explain(args: &Args, world: &World, config: Option<&Config>, report: &Report) -> Explained {
    let (view, view_because) = view(args.from, world, config);
    let query = Query {
        qname: args.name.as_wire(),
        qtype: args.rtype,
        qclass: Class::In,
        dnssec_ok: false,
        asker: asker(args, world.view(view)),
    };
    let given = answer(world.view(view), query);
    let zone = given.zone.and_then(|apex| report.zones.iter().find(|zone| zone.apex == *apex));
    let Answer { rcode, authoritative, answer, authority, additional, kind, .. } = &given;
    Explained {
        name: args.name.to_string(),
        rtype: args.rtype.to_string(),
        from: args.from,
        subnet: args.subnet.map(|network| Subnet {
            network: network.trunc(),
            believed: world.view(view).pools.believes(args.from),
            scope: given.scope,
        }),
        view: view.as_str(),
        view_because,
        zone: zone.map(explain_zone),
        rcode: rcode.as_str(),
        kind: kind_in_words(*kind),
        authoritative: *authoritative,
        answer: records(answer),
        authority: records(authority),
        additional: records(additional),
        hidden_from_outside: near(&args.name, report, hidden_of),
        undecided: near(&args.name, report, undecided_of),
        steered: Vec::new(),
        pools: pools(world.view(view), &given),
    }
}

/// The client as steering sees it: the network for which it asks, if it is believed (RFC 7871 §7.1.2: one of no bits says nothing).
fn asker(args: &Args, view: &View) -> Asker {
    let is_believed = view.pools.believes(args.from);
    match args.subnet.filter(|_| is_believed) {
        Some(network) if network.prefix_len() > 0 => Asker { address: network.network(), is_subnet: true },
        _ => Asker::at(args.from),
    }
}

/// Name and type of the pools that an answer was chosen from.
fn pools(view: &View, given: &Answer<'_, '_>) -> Vec<(String, String)> {
    let placed = given.answer.iter().chain(&given.additional);
    let owners = placed.map(|placed| &*placed.owner).chain(given.synthesized);
    let pools = owners.flat_map(|owner| [Type::A, Type::AAAA].map(|rtype| view.pools.named(owner, rtype)));
    let mut pools: Vec<(String, String)> =
        pools.flatten().map(|pool| (pool.owner.to_string(), pool.rtype.to_string())).collect();
    pools.sort();
    pools.dedup();
    pools
}

/// The pools of the server that runs by this config, if there is one; the world's answers then follow what it knows.
fn live(world: &World, config: Option<&Config>) -> Option<Vec<PoolStatus>> {
    let is_steered = [&world.public, &world.internal].iter().any(|view| !view.pools.is_empty());
    let admin = config.filter(|_| is_steered)?.admin.as_ref()?;
    let live = super::pools::pools(admin).ok()?;
    for which in [Which::Public, Which::Internal] {
        for pool in world.view(which).pools.iter() {
            let (owner, rtype) = (pool.owner.to_string(), pool.rtype.to_string());
            let is_it = |it: &&PoolStatus| it.pool == owner && it.rtype == rtype && it.view == which.as_str();
            if let Some(status) = live.iter().find(is_it) {
                pool.replan(&status.known(pool));
            }
        }
    }
    Some(live)
}

/// The tables of the pools that an answer was chosen from.
fn steered(explained: &Explained, world: &World, live: Option<&[PoolStatus]>) -> Vec<PoolStatus> {
    let is_of = |status: &&PoolStatus| {
        let names =
            explained.pools.iter().any(|(owner, rtype)| *owner == status.pool && *rtype == status.rtype);
        names && status.view == explained.view
    };
    let mut tables: Vec<PoolStatus> = live.into_iter().flatten().filter(is_of).cloned().collect();
    let views = [&world.public, &world.internal];
    for table in &mut tables {
        let view = views[usize::from(table.view == Which::Internal.as_str())];
        let is_it =
            |pool: &&Arc<Pool>| pool.owner.to_string() == table.pool && pool.rtype.to_string() == table.rtype;
        let Some(pool) = view.pools.iter().find(is_it) else { continue };
        // The server tells what clients of no place are given; this one may be somewhere.
        let asker =
            explained.subnet.as_ref().filter(|subnet| subnet.believed && subnet.network.prefix_len() > 0);
        let address = asker.map_or(explained.from, |subnet| subnet.network.network());
        let decision = pool.decide(&table.known(pool), Some(Asker::at(address)));
        for (at, (member, fate)) in table.members.iter_mut().zip(&decision.fates).enumerate() {
            (member.fate, member.share) = (fate.as_str().to_owned(), decision.plan.share(at));
        }
    }
    tables
}

/// The view of a client that asks the listener which could show it most.
fn view(from: IpAddr, world: &World, config: Option<&Config>) -> (Which, String) {
    let internal =
        config.filter(|config| !config.internal.listen.is_empty() || !config.internal.encrypted.is_empty());
    let listener = if internal.is_some() { Listener::Inside } else { Listener::Outside };
    let client = Client { address: from, port: 0, listener, transport: Transport::Tcp };
    let view = choose(&world.access, &client);
    let prefix = world.access.clients.iter().find(|net| net.contains(&client.real_address()));
    let because = match (view, internal, prefix) {
        (Which::Internal, _, Some(net)) => {
            format!(
                "{from} is in {net} of internal.clients; a listener of the outside would give it the outside"
            )
        }
        (_, None, _) => "no listener is inside".to_owned(),
        (_, Some(_), _) => format!("{from} is in no prefix of internal.clients"),
    };
    (view, because)
}

fn explain_zone(zone: &ZoneReport) -> ExplainedZone {
    ExplainedZone {
        zone: zone.apex.to_string(),
        file: zone.source.to_string(),
        state: zone.state_word(),
        serial: zone.serial,
    }
}

fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Positive => "there are such records",
        Kind::NoData => "the name exists, but has no records of this type",
        Kind::NxDomain => "there is no such name",
        Kind::Referral => "the name is delegated; other servers know",
        Kind::Partial => "the name leads to where no zone here knows more",
        Kind::TooLong => "the substitution of a DNAME made the name too long",
        Kind::NoZone => "there is no zone for this name",
        Kind::BrokenZone => "the zone has errors; see verge-dns check",
        Kind::Undecided => {
            "it leads into a zone whose file was never good, so nobody knows yet whether it is hidden"
        }
    }
}

fn records(section: &[Placed<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for placed in section {
        let owner = Name::from_wire(&placed.owner).expect("answers hold valid names");
        for rdata in placed.set.rdatas() {
            let mut line = String::new();
            write_record(&owner, placed.ttl, placed.set.rtype, rdata, &mut line)
                .expect("a String takes any text");
            lines.push(line);
        }
    }
    lines
}

/// The records that `of` gives for each zone, if they lie at or below the name, or at a wildcard above it.
fn near(
    name: &Name,
    report: &Report,
    of: impl Fn(&ZoneReport) -> Vec<(&Name, HiddenRecord)>,
) -> Vec<HiddenRecord> {
    let mut near = Vec::new();
    for zone in &report.zones {
        let records = of(zone).into_iter().filter(|(owner, _)| {
            let wildcard_above =
                || owner.is_wildcard() && owner.parent().is_some_and(|up| name.is_at_or_under(&up));
            owner.is_at_or_under(name) && (*owner == name || *name != zone.apex) || wildcard_above()
        });
        near.extend(records.map(|(_, record)| record));
    }
    near
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} asked from {}", self.name, self.rtype, self.from)?;
        match &self.subnet {
            Some(Subnet { network, believed: true, scope }) => {
                writeln!(f, "subnet  {network}: it is in `subnet_from`, so this chooses; scope /{scope}")?;
            }
            Some(Subnet { network, .. }) => {
                writeln!(f, "subnet  {network}: ignored, since {} is not in `subnet_from`", self.from)?;
            }
            None => {}
        }
        writeln!(f, "view    {}: {}", self.view, self.view_because)?;
        match &self.zone {
            Some(zone) => {
                write!(f, "zone    {} ({}", zone.zone, zone.file)?;
                match zone.serial {
                    Some(serial) => writeln!(f, ", serial {serial})")?,
                    None => writeln!(f, ", {})", zone.state)?,
                }
            }
            None => writeln!(f, "zone    none in this view")?,
        }
        let aa = if self.authoritative { ", authoritative" } else { "" };
        writeln!(f, "answer  {}{aa}: {}", self.rcode, self.kind)?;
        for (section, lines) in
            [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)]
        {
            if !lines.is_empty() {
                writeln!(f, "\n;; {section}")?;
            }
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        if !self.steered.is_empty() {
            let now = clock::moment().unix_seconds;
            write!(
                f,
                "\n;; steered, as the server that runs knows it\n{}",
                super::pools::text(&self.steered, now)
            )?;
        } else if let [(first, _), ..] = &self.pools[..] {
            writeln!(
                f,
                "\n;; {first} is a pool; no server was reached that knows who is up, so all count as up"
            )?;
        }
        if !self.hidden_from_outside.is_empty() {
            writeln!(f, "\n;; hidden from outsiders here; {RULES_PAGE} says what each rule means")?;
        }
        for hidden in &self.hidden_from_outside {
            writeln!(f, "{hidden}")?;
        }
        if !self.undecided.is_empty() {
            writeln!(f, "\n;; SERVFAIL for outsiders here until it is known what they lead to")?;
        }
        for undecided in &self.undecided {
            writeln!(f, "{undecided}")?;
        }
        Ok(())
    }
}
