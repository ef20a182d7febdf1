//! `explain`: the answer that one client would get, and why.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Failure, Format, RULES_PAGE, Shape, Source, json, say, zones};
use crate::clock;
use crate::config::Config;
use crate::explain::shown::Shown;
use crate::explain::{Asked, Explained, Subnet, explain, steered};
use crate::metrics::PoolStatus;
use crate::name::Name;
use crate::rtype::Type;
use crate::view::Which;
use crate::world::World;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name asked for; the final dot may be left out
    #[arg(value_parser = Name::parse_absolute)]
    name: Name,
    /// The type asked for: AAAA, HTTPS …
    #[arg(value_name = "TYPE", value_parser = parse_type, default_value = "A")]
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
    #[command(flatten)]
    shape: Shape,
}

fn parse_type(text: &str) -> Result<Type, &'static str> {
    text.parse().map_err(|_| "no such type; write A, AAAA, MX …, or TYPE and a number")
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let zones = zones::load(&args.zones, &args.source)?;
    if let Some(fault) = zones.config.as_ref().and_then(Config::database_fault) {
        eprintln!("{fault}\nnote: prefixes alone say where clients are");
    }
    let world = zones.loaded.world.expect("the first load always makes a world");
    let live = live(&world, zones.config.as_ref());
    let has_inside = zones.config.as_ref().is_some_and(Config::has_inside);
    let shown: Vec<Shown> = zones.loaded.report.zones.iter().map(Shown::of).collect();
    let asked = Asked { name: args.name.clone(), rtype: args.rtype, from: args.from, subnet: args.subnet };
    let mut explained = explain(&asked, &world, has_inside, &shown);
    explained.steered = steered(&explained, &world, live.as_deref());
    say(&match args.shape.format() {
        Format::Human => explained.to_string(),
        Format::Json => json(&explained),
    });
    Ok(())
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
