//! `pools`: who is given, and why; `drain`: takes a member out of service, and says when it is safe to stop it.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::asked::{ask, table};
use super::{Failure, Format, Source, json, say, zones};
use crate::clock;
use crate::config::Admin;
use crate::metrics::{MemberStatus, NodeStatus, PoolStatus, Status, Vote};

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
    let Status { mut pools, nodes, .. } = status(&admin)?;
    if let Some(name) = &args.name {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |pool: &PoolStatus| {
            let rest = pool.pool.trim_end_matches('.').strip_suffix(&*name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        pools.retain(is_below);
    }
    say(&match args.format {
        Format::Human => text(&pools, clock::moment().unix_seconds) + &heard(&nodes),
        Format::Json => json(&pools),
    });
    Ok(())
}

pub(super) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let admin = admin(&args.source)?;
    let path = if args.undo { "/undrain" } else { "/drain" };
    ask(&admin, "POST", &format!("{path}?address={}", args.address))
        .map_err(|error| Failure::NoStatus(admin.listen.clone(), error))?;
    if args.undo {
        say(&undone(&pools(&admin)?, args.address));
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

/// The state after a drain was undone.
fn undone(pools: &[PoolStatus], address: IpAddr) -> String {
    let mut members = pools.iter().flat_map(|pool| &pool.members).filter(|member| member.address == address);
    match members.next() {
        None => format!("no pool has {address}; if it comes back, it is in service\n"),
        Some(first) if first.drained || members.any(|member| member.drained) => {
            format!("{address} stays out of service: the config says `drain = true`\n")
        }
        Some(_) => format!("{address} is back in service\n"),
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
    status(admin).map(|status| status.pools)
}

fn status(admin: &Admin) -> Result<Status, Failure> {
    let asked = || -> io::Result<Status> { Ok(serde_json::from_slice(&ask(admin, "GET", "/status")?)?) };
    asked().map_err(|error| Failure::NoStatus(admin.listen, error))
}

/// The other name servers, and whether their views count.
fn heard(nodes: &[NodeStatus]) -> String {
    let line = |node: &NodeStatus| {
        let heard = match (node.counts, node.heard) {
            (true, _) => "its view counts".to_owned(),
            (false, Some(ago)) => format!("not heard for {ago} s, so its view does not count"),
            (false, None) => "never heard, so its view does not count".to_owned(),
        };
        let told = node.error.as_ref().map(|why| format!("; it cannot be told who is up: {why}"));
        format!("name server {}: {heard}{}\n", node.node, told.unwrap_or_default())
    };
    nodes.iter().map(line).collect()
}

/// The chain's table of each pool.
pub(super) fn text(pools: &[PoolStatus], now: u64) -> String {
    let mut out = String::new();
    for pool in pools {
        let PoolStatus { pool: name, rtype, view, mode, ttl, .. } = pool;
        writeln!(out, "{name} {rtype}, {view}: {mode}; answers may be kept {ttl} s")
            .expect("a String takes any text");
        let head = ["  member", "health", "since", "load", "rtt", "priority", "weight", "share", "fate"];
        let rows = pool.members.iter().map(|member| row(member, now));
        out += &table(std::iter::once(head.map(str::to_owned)).chain(rows).collect());
        out.push('\n');
    }
    if pools.is_empty() {
        out.push_str("there are no pools; mark a record with `; verge: steer`\n");
    }
    out
}

/// How many name servers are of the opinion that holds, and which are not; nothing without others.
fn votes(member: &MemberStatus) -> String {
    let heard = member.votes.iter().filter(|vote| matches!(&*vote.state, "up" | "down"));
    let (agree, others): (Vec<&Vote>, Vec<&Vote>) = heard.partition(|vote| vote.state == member.state);
    let all = agree.len() + others.len();
    let others: Vec<String> = others.iter().map(|vote| format!("not {}", vote.node)).collect();
    match (member.votes.is_empty(), all) {
        (true, _) => String::new(),
        (_, 0) => "no name server sees it, so the last state holds".to_owned(),
        _ => [vec![format!("{} of {all} say so", agree.len())], others].concat().join(", "),
    }
}

fn row(member: &MemberStatus, now: u64) -> [String; 9] {
    let ago = |at: u64| match now.saturating_sub(at) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let held = if member.held { ", held: it went down too often" } else { "" };
    let votes = votes(member);
    let why = match (&*member.why, &*votes) {
        ("", "") => String::new(),
        ("", votes) => format!(" ({votes})"),
        (why, "") => format!(" ({why}{held})"),
        (why, votes) => format!(" ({why}{held}; {votes})"),
    };
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
        member.rtt.map_or_else(|| "-".to_owned(), rtt),
        member.priority.to_string(),
        member.weight.to_string(),
        format!("{}.{} %", member.share / 10, member.share % 10),
        format!("{}{safe}", member.fate),
    ]
}

/// Microseconds for people: `0.3 ms`, `42 ms`.
fn rtt(micros: u32) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        _ => format!("{} ms", micros / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(state: &str, votes: &[(&str, &str)]) -> MemberStatus {
        let vote =
            |(node, state): &(&str, &str)| Vote { node: (*node).to_owned(), state: (*state).to_owned() };
        MemberStatus {
            address: [192, 0, 2, 1].into(),
            state: state.to_owned(),
            since: None,
            checked: None,
            why: "status 200".to_owned(),
            held: false,
            flips: 0,
            votes: votes.iter().map(vote).collect(),
            load: None,
            followed: None,
            rtt: None,
            weight: 1,
            priority: 0,
            drained: false,
            fate: "given".to_owned(),
            share: 1000,
            safe_in: None,
        }
    }

    #[test]
    fn a_table_tells_how_many_name_servers_say_so_and_who_does_not() {
        for (state, votes, expected) in [
            ("up", &[][..], "up (status 200)"),
            ("up", &[("here", "up"), ("ns2", "not heard")], "up (status 200; 1 of 1 say so)"),
            (
                "down",
                &[("here", "up"), ("ns2", "down"), ("ns3", "down")],
                "down (status 200; 2 of 3 say so, not here)",
            ),
            (
                "up",
                &[("here", "unknown"), ("ns2", "not heard")],
                "up (status 200; no name server sees it, so the last state holds)",
            ),
        ] {
            assert_eq!(row(&member(state, votes), 0)[1], expected);
        }
    }

    #[test]
    fn an_undone_drain_tells_what_is_so_now() {
        let pool = |drained| PoolStatus {
            members: vec![MemberStatus { drained, ..member("up", &[]) }],
            ..PoolStatus::default()
        };
        let address: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(undone(&[pool(false)], address), "192.0.2.1 is back in service\n");
        let stays = "192.0.2.1 stays out of service: the config says `drain = true`\n";
        assert_eq!(undone(&[pool(false), pool(true)], address), stays);
        assert_eq!(undone(&[], address), "no pool has 192.0.2.1; if it comes back, it is in service\n");
    }
}
