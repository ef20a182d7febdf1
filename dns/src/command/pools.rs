//! `pools`: who is given, and why; `drain`: takes a member out of service, and says when it is safe to stop it.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::asked::{ask, table};
use super::{Failure, Format, Source, json, say, zones};
use crate::clock;
use crate::config::Admin;
use crate::metrics::{MemberStatus, PoolStatus, Status};

/// Between looks at a member that drains.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only pools at or below this name
    name: Option<String>,
    #[command(flatten)]
    source: Source,
    /// How it is shown
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The member's address, as answers give it
    address: IpAddr,
    /// Put it back in service
    #[arg(long)]
    undo: bool,
    /// Return when it is safe to stop it
    #[arg(long, conflicts_with = "undo")]
    wait: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let admin = admin(&args.source)?;
    let mut pools = pools(&admin)?;
    if let Some(name) = &args.name {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |pool: &PoolStatus| {
            let rest = pool.pool.trim_end_matches('.').strip_suffix(&*name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        pools.retain(is_below);
    }
    say(&match args.format {
        Format::Human => text(&pools, clock::moment().unix_seconds),
        Format::Json => json(&pools),
    });
    Ok(())
}

pub(super) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let admin = admin(&args.source)?;
    let path = if args.undo { "/undrain" } else { "/drain" };
    ask(&admin, "POST", &format!("{path}?address={}", args.address))
        .map_err(|error| Failure::NoStatus(admin.listen, error))?;
    if args.undo {
        say(&format!("{} is back in service\n", args.address));
        return Ok(());
    }
    loop {
        let left = left(&pools(&admin)?, args.address);
        say(&match left {
            Some(0) => format!("nobody is sent to {} any more; it is safe to stop it\n", args.address),
            Some(left) => {
                format!("nobody is sent to {} any more; safe to stop in {left} s\n", args.address)
            }
            None => format!("{} is still given, since all others of a pool are drained, too\n", args.address),
        });
        if !args.wait || left == Some(0) {
            return Ok(());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Seconds until nobody goes to a drained member; none if a pool gives it all the same.
fn left(pools: &[PoolStatus], address: IpAddr) -> Option<u64> {
    let members = pools.iter().flat_map(|pool| &pool.members).filter(|member| member.address == address);
    members.map(|member| member.safe_in).try_fold(0, |most, left| Some(left?.max(most)))
}

fn admin(source: &Source) -> Result<Admin, Failure> {
    zones::config(source)?.ok_or(Failure::NoConfig)?.admin.ok_or(Failure::NoAdmin)
}

/// The pools of a running server.
pub(super) fn pools(admin: &Admin) -> Result<Vec<PoolStatus>, Failure> {
    let asked = || -> io::Result<Status> { Ok(serde_json::from_slice(&ask(admin, "GET", "/status")?)?) };
    asked().map(|status| status.pools).map_err(|error| Failure::NoStatus(admin.listen, error))
}

/// The chain's table of each pool.
pub(super) fn text(pools: &[PoolStatus], now: u64) -> String {
    let mut out = String::new();
    for pool in pools {
        let PoolStatus { pool: name, rtype, view, mode, ttl, .. } = pool;
        writeln!(out, "{name} {rtype}, {view}: {mode}; answers may be kept {ttl} s")
            .expect("a String takes any text");
        let head = ["  member", "health", "since", "load", "priority", "weight", "share", "fate"];
        let rows = pool.members.iter().map(|member| row(member, now));
        out += &table(std::iter::once(head.map(str::to_owned)).chain(rows).collect());
        out.push('\n');
    }
    if pools.is_empty() {
        out.push_str("there are no pools; mark a record with `; verge: steer`\n");
    }
    out
}

fn row(member: &MemberStatus, now: u64) -> [String; 8] {
    let ago = |at: u64| match now.saturating_sub(at) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let held = if member.held { ", held: it went down too often" } else { "" };
    let why = if member.why.is_empty() { String::new() } else { format!(" ({}{held})", member.why) };
    let safe = match member.safe_in {
        Some(0) => "; safe to stop".to_owned(),
        Some(left) => format!("; safe to stop in {left} s"),
        None => String::new(),
    };
    [
        format!("  {}", member.address),
        format!("{}{why}", member.state),
        member.since.map_or_else(|| "-".to_owned(), ago),
        member.load.map_or_else(|| "-".to_owned(), |load| format!("{} %", load / 10)),
        member.priority.to_string(),
        member.weight.to_string(),
        format!("{}.{} %", member.share / 10, member.share % 10),
        format!("{}{safe}", member.fate),
    ]
}
