//! `health`: whether a server on this machine is ready, for the health checks of containers.

use super::asked::ask;
use super::{Failure, Source, say, zones};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Only whether it runs; one that drains is well, too
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let admin = config.admin.ok_or(Failure::NoAdmin)?;
    let path = if args.live { "/healthz" } else { "/readyz" };
    let word = ask(&admin, "GET", path)
        .map_err(|error| Failure::Unwell(format!("{} is not well: {error}", admin.listen)))?;
    say(&String::from_utf8_lossy(&word));
    Ok(())
}
