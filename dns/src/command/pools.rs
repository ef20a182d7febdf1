//! `pools`: who is given, and why; `drain`: takes a member out of service, and says when it is safe to stop it.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::asked::{ask, table};
use super::{Failure, Format, Shape, Source, json, say, zones};
use crate::clock;
use crate::config::Admin;
use crate::metrics::{LeavingStatus, MemberStatus, NodeStatus, PoolStatus, Status, Vote};

/// As `/status` says it of a name server.
const NOT_HEARD: &str = "not heard";
const NOT_REACHED: &str = "cannot be told";
/// Between looks at a member that drains.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For other name servers to obey a drain, once nothing but that is waited for and nothing changes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Below the tables: `explain` has the shares of one client's place.
const SHARES: &str = "share: the part of the answers to clients of no place that a member is first in\n\n";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only pools at or below this name
    name: Option<String>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    shape: Shape,
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
    let Status { mut pools, nodes, mut leaving, .. } = status(&admin)?;
    if let Some(name) = &args.name {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |pool: &PoolStatus| {
            let rest = pool.pool.trim_end_matches('.').strip_suffix(&*name);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        pools.retain(is_below);
        leaving.clear();
    }
    say(&match args.shape.format() {
        Format::Human => {
            let note = if pools.is_empty() { "" } else { SHARES };
            text(&pools, clock::moment().unix_seconds) + note + &left(&leaving) + &heard(&nodes)
        }
        Format::Json => json(&pools),
    });
    Ok(())
}

pub(super) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let admin = admin(&args.source)?;
    let path = if args.undo { "/undrain" } else { "/drain" };
    let done = ask(&admin, "POST", &format!("{path}?address={}", args.address))
        .map_err(|error| Failure::NoStatus(admin.listen.clone(), error))?;
    if args.undo {
        say(&undone(&pools(&admin)?, args.address));
        return Ok(());
    }
    let unsteered = unsteered(&String::from_utf8_lossy(&done));
    say(&unsteered);
    let mut last: Option<(Drained, Instant)> = None;
    loop {
        let Status { pools, leaving, .. } = status(&admin)?;
        let (mut drained, now) = (Drained::of(&pools, &leaving, args.address), clock::now());
        drained.is_alone = unsteered.is_empty();
        say(&drained.text(args.address));
        let since = last.filter(|(before, _)| *before == drained).map_or(now, |(_, since)| since);
        match drained.end(now.saturating_duration_since(since)) {
            _ if !args.wait && !drained.undone => return Ok(()),
            Some(true) => return Ok(()),
            Some(false) => return Err(Failure::Problems),
            None => std::thread::park_timeout(LOOK_EVERY),
        }
        last = Some((drained, since));
    }
}

/// How far a drain has come.
#[derive(Debug, PartialEq, Eq)]
struct Drained {
    /// Seconds until none of the name servers that are heard sends users there, nor an answer of theirs; none if a pool gives the
    /// member all the same.
    left: Option<u64>,
    /// The name servers that may send users there for longer.
    awaited: Vec<Vote>,
    /// A command, here or on another name server, has put it back in service.
    undone: bool,
    /// No other answers name it than those of pools.
    is_alone: bool,
}

/// The lines of the answer to a drain that tell which answers go on naming the member.
fn unsteered(done: &str) -> String {
    done.split_inclusive('\n').skip(1).collect()
}

impl Drained {
    fn of(pools: &[PoolStatus], leaving: &[LeavingStatus], address: IpAddr) -> Self {
        let members = || pools.iter().flat_map(|pool| &pool.members).filter(|it| it.address == address);
        let behind = leaving.iter().filter(|left| left.address == address).map(|left| left.safe_in).max();
        let mut left = members().map(|member| member.safe_in);
        let left = left.try_fold(behind.unwrap_or(0), |most, left| Some(left?.max(most)));
        let awaited = members().filter_map(|member| member.drain.as_ref()).next();
        let undone = members().any(|member| !member.drained);
        let awaited = awaited.map(|drain| drain.awaited.clone()).unwrap_or_default();
        Self { left, awaited, undone, is_alone: true }
    }

    /// Whether it is safe to stop the member, once waiting is of no more use. It was so for as long as `same`.
    fn end(&self, same: Duration) -> Option<bool> {
        match self.left {
            _ if self.undone => Some(false),
            // Nothing that this command does will change it.
            None => Some(false),
            Some(0) if self.awaited.is_empty() => Some(true),
            Some(0) if self.is_unheard() || same >= PATIENCE => Some(false),
            _ => None,
        }
    }

    /// Whether nobody is left who will ever say more.
    fn is_unheard(&self) -> bool {
        self.awaited.iter().all(|node| matches!(&*node.state, NOT_HEARD | NOT_REACHED))
    }

    fn text(&self, address: IpAddr) -> String {
        if self.undone {
            return format!("{address} was put back in service: users are sent there\n");
        }
        let sent = match (self.awaited.is_empty(), self.is_alone) {
            (true, true) => format!("nobody is sent to {address} any more"),
            (true, false) => format!("no pool sends users to {address} any more"),
            (false, true) => format!("this name server sends nobody to {address} any more"),
            (false, false) => format!("no pool of this name server sends users to {address} any more"),
        };
        let so_far = if self.is_alone { "" } else { "as far as pools give it, " };
        let text = match self.left {
            Some(0) if self.awaited.is_empty() => format!("{sent}; {so_far}it is safe to stop it"),
            Some(0) => sent,
            Some(left) => format!("{sent}; {so_far}safe to stop in {left} s"),
            None => format!(
                "{address} is still given, since all others of a pool are drained, too; put one back in service: verge-dns drain --undo ADDRESS"
            ),
        };
        let awaited = self.awaited.iter().map(|node| match &*node.state {
            NOT_HEARD => format!("; {} is not heard: if it runs, it may still send users there", node.node),
            NOT_REACHED => format!("; {} cannot be told: it may still send users there", node.node),
            state => format!("; {}: {state}", node.node),
        });
        format!("{text}{}\n", awaited.collect::<String>())
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

fn admin(source: &Source) -> Result<Admin, Failure> {
    zones::config(source)?.ok_or(Failure::NoConfig)?.admin.ok_or(Failure::NoAdmin)
}

/// The pools of a running server.
pub(super) fn pools(admin: &Admin) -> Result<Vec<PoolStatus>, Failure> {
    status(admin).map(|status| status.pools)
}

fn status(admin: &Admin) -> Result<Status, Failure> {
    let asked = || -> io::Result<Status> { Ok(serde_json::from_slice(&ask(admin, "GET", "/status")?)?) };
    asked().map_err(|error| Failure::NoStatus(admin.listen.clone(), error))
}

/// The members that no pool has any more.
fn left(leaving: &[LeavingStatus]) -> String {
    let line = |left: &LeavingStatus| {
        format!("{} is in no pool any more; safe to stop in {} s\n", left.address, left.safe_in)
    };
    leaving.iter().map(line).collect()
}

/// The other name servers, and whether their views count.
fn heard(nodes: &[NodeStatus]) -> String {
    let line = |node: &NodeStatus| {
        let heard = match (node.counts, node.heard) {
            (true, _) => "its view counts".to_owned(),
            (false, Some(ago)) => format!("not heard for {ago} s, so its view does not count"),
            (false, None) => "never heard, so its view does not count".to_owned(),
        };
        let told = node
            .error
            .as_ref()
            .map(|why| format!("; it cannot be told who is up: {why} ({} failed attempts)", node.failed));
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
    let drain = member.drain.as_ref();
    let by = drain.filter(|drain| drain.by != "here").map(|drain| format!(", as {} was told", drain.by));
    let awaited =
        drain.map(|drain| drain.awaited.iter().map(|node| format!("; {}: {}", node.node, node.state)));
    let (by, awaited) = (by.unwrap_or_default(), awaited.into_iter().flatten().collect::<String>());
    [
        format!("  {}", member.address),
        format!("{}{why}", member.state),
        member.since.map_or_else(|| "-".to_owned(), ago),
        member.load.map_or_else(|| "-".to_owned(), |load| format!("{} %", load / 10)),
        member.rtt.map_or_else(|| "-".to_owned(), rtt),
        member.priority.to_string(),
        member.weight.to_string(),
        format!("{}.{} %", member.share / 10, member.share % 10),
        format!("{}{by}{safe}{awaited}", member.fate),
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
    use crate::metrics::DrainStatus;

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
            drain: None,
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
    fn a_drain_tells_which_name_servers_do_not_obey_it_yet() {
        let vote =
            |(node, state): &(&str, &str)| Vote { node: (*node).to_owned(), state: (*state).to_owned() };
        for (left, awaited, expected) in [
            (Some(0), &[][..], "nobody is sent to 192.0.2.1 any more; it is safe to stop it\n"),
            (Some(9), &[], "nobody is sent to 192.0.2.1 any more; safe to stop in 9 s\n"),
            (
                Some(9),
                &[("ns2", "not told yet")],
                "this name server sends nobody to 192.0.2.1 any more; safe to stop in 9 s; ns2: not told yet\n",
            ),
            (
                Some(0),
                &[("ns3", "not heard")],
                "this name server sends nobody to 192.0.2.1 any more; ns3 is not heard: if it runs, it may still send users there\n",
            ),
            (
                Some(0),
                &[("ns2", "cannot be told")],
                "this name server sends nobody to 192.0.2.1 any more; ns2 cannot be told: it may still send users there\n",
            ),
            (
                None,
                &[],
                "192.0.2.1 is still given, since all others of a pool are drained, too; put one back in service: verge-dns drain --undo ADDRESS\n",
            ),
        ] {
            let drain = DrainStatus { awaited: awaited.iter().map(vote).collect(), ..DrainStatus::default() };
            let of = MemberStatus { safe_in: left, drain: Some(drain), drained: true, ..member("up", &[]) };
            let pools = [PoolStatus { members: vec![of], ..PoolStatus::default() }];
            assert_eq!(Drained::of(&pools, &[], [192, 0, 2, 1].into()).text([192, 0, 2, 1].into()), expected);
        }
    }

    #[test]
    fn waiting_for_a_drain_ends_when_it_is_safe_or_nobody_will_say_more() {
        let drained = |left, states: &[&str]| {
            let vote = |state: &&str| Vote { node: "ns2".to_owned(), state: (*state).to_owned() };
            Drained { left, awaited: states.iter().map(vote).collect(), undone: false, is_alone: true }
        };
        for (left, states, same, expected) in [
            (Some(0), &[][..], 0, Some(true)),
            (Some(3), &[], 0, None),
            (Some(0), &["not heard"], 0, Some(false)),
            (Some(0), &["cannot be told", "not heard"], 0, Some(false)),
            (Some(0), &["not told yet", "not heard"], 29, None),
            (Some(0), &["not told yet", "not heard"], 30, Some(false)),
            (Some(0), &["still gives it"], 30, Some(false)),
            (None, &[], 0, Some(false)),
        ] {
            assert_eq!(drained(left, states).end(Duration::from_secs(same)), expected, "{left:?} {states:?}");
        }
        // Another name server was told to undo it meanwhile.
        let address: IpAddr = [192, 0, 2, 1].into();
        let pools = [PoolStatus { members: vec![member("up", &[])], ..PoolStatus::default() }];
        let undone = Drained::of(&pools, &[], address);
        assert_eq!(undone.end(Duration::ZERO), Some(false));
        assert_eq!(undone.text(address), "192.0.2.1 was put back in service: users are sent there\n");
    }

    #[test]
    fn a_member_that_no_pool_has_any_more_is_safe_when_no_answer_names_it() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let leaving = [LeavingStatus { address, safe_in: 58 }];
        let drained = Drained::of(&[], &leaving, address);
        assert_eq!((drained.left, drained.end(Duration::ZERO)), (Some(58), None));
        assert_eq!(left(&leaving), "192.0.2.1 is in no pool any more; safe to stop in 58 s\n");
        // It is in a pool of the other view, and was drained there before.
        let of = MemberStatus { safe_in: Some(9), drained: true, ..member("up", &[]) };
        let pools = [PoolStatus { members: vec![of], ..PoolStatus::default() }];
        assert_eq!(Drained::of(&pools, &leaving, address).left, Some(58));
        assert_eq!(Drained::of(&[], &[], address).end(Duration::ZERO), Some(true));
    }

    #[test]
    fn nobody_is_told_that_it_is_safe_to_stop_what_other_answers_name() {
        let others = unsteered("drained\n192.0.2.1 is also in ex. A, which is not steered\n");
        assert_eq!(others, "192.0.2.1 is also in ex. A, which is not steered\n");
        assert_eq!(unsteered("drained\n"), "");
        let of = |left, states: &[&str]| {
            let vote = |state: &&str| Vote { node: "ns2".to_owned(), state: (*state).to_owned() };
            Drained { left, awaited: states.iter().map(vote).collect(), undone: false, is_alone: false }
        };
        for (drained, expected) in [
            (
                of(Some(0), &[]),
                "no pool sends users to 192.0.2.1 any more; as far as pools give it, it is safe to stop it\n",
            ),
            (
                of(Some(9), &[]),
                "no pool sends users to 192.0.2.1 any more; as far as pools give it, safe to stop in 9 s\n",
            ),
            (
                of(Some(0), &["not told yet"]),
                "no pool of this name server sends users to 192.0.2.1 any more; ns2: not told yet\n",
            ),
        ] {
            assert_eq!(drained.text([192, 0, 2, 1].into()), expected);
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
