//! `merge`: one zone file from the two that another server keeps for two views.

use std::path::PathBuf;

use super::{Failure, Source, old, say, zones};
use crate::name::Name;
use crate::zone::merge;

/// Exit status 1: the author has something to decide.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The zone file that outsiders were served from
    #[arg(long, value_name = "FILE")]
    outside: PathBuf,
    /// The zone file that insiders were served from
    #[arg(long, value_name = "FILE")]
    inside: PathBuf,
    /// The zone's name, where the files' names do not tell it
    #[arg(long, value_name = "NAME", value_parser = Name::parse_absolute)]
    zone: Option<Name>,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?;
    let rules = config.as_ref().map(|config| config.terms().rules).unwrap_or_default();
    let [outside, inside] = [&args.outside, &args.inside].map(|path| old::read(path, args.zone.as_ref()));
    let (outside, inside) = (outside?, inside?);
    if outside.apex != inside.apex {
        return Err(Failure::OtherZones(outside.apex, inside.apex));
    }
    let merged = merge::merge(&outside, &inside, &rules);
    let [from_outside, from_inside] = [&args.outside, &args.inside].map(|path| path.display());
    say(&format!(
        "; {} outside and inside, merged by verge-dns from {from_outside} and {from_inside}.\n\
         ; Their comments are not here. A record without a mark is on both sides unless its address hides it.\n{}",
        outside.apex, merged.text
    ));
    for open in &merged.open {
        eprintln!("verge-dns: to decide: {open}");
    }
    if merged.open.is_empty() { Ok(()) } else { Err(Failure::Problems) }
}
