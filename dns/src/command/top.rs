//! `top`: how a running server does, drawn again every two seconds; elsewhere than on a terminal, one line each time.

use std::io::IsTerminal;
use std::time::Duration;

use super::asked::ask;
use super::terminal::{Colour, fitted, is_coloured, painted};
use super::{Failure, Source, is_heard, zones};
use crate::admin::{Latency, Load, Told, bytes, count, seconds, span};
use crate::config::Admin;
use crate::metrics::{MemberStatus, PoolStatus, Status, ZoneStatus, worst_first};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// End after so many looks
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Zones at fault, and members of pools with those at fault first, of a screen; all of it fits in 24 lines of 80 columns.
const SHOWN: usize = 4;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let admin = config.admin.ok_or(Failure::NoAdmin)?;
    let is_terminal = std::io::stdout().is_terminal();
    let mut looks = 0;
    loop {
        let told = told(&admin)?;
        let is_heard = match is_terminal {
            // Home, each line's rest cleared, and all below.
            true => {
                is_heard(&format!("\x1b[H{}\x1b[K\n\x1b[J", screen(&told, is_coloured()).join("\x1b[K\n")))
            }
            false => is_heard(&format!("{}\n", line(&told.load, &told.status))),
        };
        looks += 1;
        if !is_heard || args.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_secs(args.every));
    }
}

fn told(admin: &Admin) -> Result<Told, Failure> {
    let body =
        ask(admin, "GET", "/status").map_err(|error| Failure::NoStatus(admin.listen.clone(), error))?;
    serde_json::from_slice(&body).map_err(|error| Failure::NoStatus(admin.listen.clone(), error.into()))
}

fn at_fault(status: &Status) -> impl Iterator<Item = &ZoneStatus> {
    status.zones.iter().filter(|zone| zone.state != "current")
}

fn rate_of(load: &Load, rcode: &str) -> f64 {
    load.answers.iter().filter(|it| it.rcode == rcode).fold(0.0, |sum, it| sum + it.rate)
}

/// All that matters in one line, `name=value` each.
fn line(load: &Load, status: &Status) -> String {
    let us = |secs: Option<f64>| secs.map_or_else(|| "-".to_owned(), |secs| format!("{:.1}", secs * 1e6));
    let silent = load.silent.iter().fold(0.0, |sum, share| sum + share.rate);
    format!(
        "state={} outside={:.1} inside={:.1} nxdomain={:.1} servfail={:.1} silent={silent:.1} p50_us={} p99_us={} connections={} zones={} zones_at_fault={} guard_stopped={}",
        load.state.replace(' ', "_"),
        load.outside,
        load.inside,
        rate_of(load, "NXDOMAIN"),
        rate_of(load, "SERVFAIL"),
        us(load.latency.p50),
        us(load.latency.p99),
        load.connections,
        status.zones.len(),
        at_fault(status).count(),
        load.guard_stopped,
    )
}

/// The lines of a screen.
fn screen(told: &Told, is_coloured: bool) -> Vec<String> {
    let Told { load, status } = told;
    let state = if load.state == "ready" { Colour::Plain } else { Colour::Yellow };
    let shares = |name: &str, shares: Vec<(String, f64)>| {
        let shares = shares.into_iter().map(|(name, rate)| format!("{name} {}/s", count(rate)));
        fitted(&format!("{name} {}", shares.collect::<Vec<_>>().join("   ")), COLUMNS).trim_end().to_owned()
    };
    let answers = load.answers.iter().map(|it| (format!("{} {}", it.view, it.rcode), it.rate)).collect();
    let transports = load.transports.iter().map(|it| (it.name.clone(), it.rate)).collect();
    let silent = load.silent.iter().map(|it| (it.name.clone(), it.rate)).collect();
    let mut lines = vec![
        head(load, state, is_coloured),
        String::new(),
        format!(
            "answers {:>9}/s outside   {:>9}/s inside   connections {}",
            count(load.outside),
            count(load.inside),
            count(load.connections)
        ),
        latency(load.latency),
        shares("codes ", answers),
        shares("by    ", transports),
        shares("silent", silent),
        String::new(),
    ];
    let faults = at_fault(status).count();
    let head = format!("{} zones, {faults} not current", status.zones.len());
    lines.push(painted(&head, Colour::Bold, is_coloured));
    for zone in at_fault(status).take(SHOWN) {
        let error = zone.error.as_deref().unwrap_or_default();
        let text = format!(
            "{} {} {}",
            fitted(&zone.zone, 28),
            fitted(&zone.state, 10),
            fitted(error, 39).trim_end()
        );
        lines.push(painted(text.trim_end(), Colour::Red, is_coloured));
    }
    if !status.pools.is_empty() {
        lines.push(String::new());
        let members = worst_first(&status.pools).into_iter().take(SHOWN);
        lines.extend(members.map(|(pool, it)| member(pool, it, is_coloured)));
    }
    if let Some(trouble) = load.troubles.first() {
        let colour = if trouble.level == "error" { Colour::Red } else { Colour::Yellow };
        lines.push(String::new());
        lines.push(painted(fitted(&trouble.text.replace('\n', " "), 79).trim_end(), colour, is_coloured));
    }
    lines
}

/// The widest line.
const COLUMNS: usize = 80;

fn head(load: &Load, colour: Colour, is_coloured: bool) -> String {
    let name = format!("verge-dns {} ", fitted(&load.version, 20).trim_end());
    let rest = format!(
        ", {} of memory, {:.2} cores; rates of the last {}",
        bytes(load.resident_bytes),
        load.cores,
        span(load.window_secs),
    );
    let room = COLUMNS.saturating_sub(name.chars().count() + load.state.chars().count());
    format!("{name}{}{}", painted(&load.state, colour, is_coloured), fitted(&rest, room).trim_end())
}

fn latency(latency: Latency) -> String {
    let Latency { p50, p95, p99 } = latency;
    format!("latency p50 {:>9}   p95 {:>9}   p99 {:>9}", seconds(p50), seconds(p95), seconds(p99))
}

fn member(pool: &PoolStatus, member: &MemberStatus, is_coloured: bool) -> String {
    let share = format!("{:.1} %", f64::from(member.share) / 10.0);
    let drained = if member.drained { ", drained" } else { "" };
    let text = format!(
        "{} {} {:>8} {}{drained}",
        fitted(&pool.pool, 28),
        fitted(&member.address.to_string(), 24),
        share,
        member.state
    );
    painted(&text, if member.state == "down" { Colour::Red } else { Colour::Plain }, is_coloured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let zone = ZoneStatus {
            zone: "a\\027[2J.example.".into(),
            state: "broken".into(),
            error: Some("zones/a.zone:1:1: \x1b[2J is no name".into()),
            ..ZoneStatus::default()
        };
        Told {
            load: Load {
                version: "10.20.30".into(),
                state: "not ready".into(),
                resident_bytes: 1023.9 * (1 << 20) as f64,
                cores: 127.99,
                window_secs: 20.0,
                outside: 12_000.0,
                latency: Latency { p50: Some(0.000_012), p95: None, p99: Some(0.001) },
                ..Load::default()
            },
            status: Status { zones: vec![zone; 9], ..Status::default() },
        }
    }

    #[test]
    fn a_screen_fits_and_nothing_in_it_steers_the_terminal() {
        let lines = screen(&told(), false);
        assert!(lines.len() <= 24, "{}", lines.len());
        for line in &lines {
            assert!(line.chars().count() <= 80 && !line.contains('\x1b'), "{line}");
        }
        assert!(lines.contains(&"9 zones, 9 not current".to_owned()), "{lines:#?}");
        assert!(screen(&told(), true).concat().contains("\x1b[31m"));
    }

    #[test]
    fn a_screen_has_the_members_that_are_down_however_many_there_are() {
        let member = |last: u8| MemberStatus {
            address: [192, 0, 2, last].into(),
            state: if last == 8 { "down" } else { "up" }.to_owned(),
            since: None,
            checked: None,
            why: String::new(),
            held: false,
            flips: 0,
            votes: Vec::new(),
            load: None,
            followed: None,
            rtt: None,
            weight: 1,
            priority: 0,
            drained: last == 7,
            fate: String::new(),
            share: 125,
            safe_in: None,
            drain: None,
        };
        let pool = PoolStatus { members: (1..=8).map(member).collect(), ..PoolStatus::default() };
        let told = Told { status: Status { pools: vec![pool], ..Status::default() }, ..told() };
        let lines = screen(&told, false);
        let shown: Vec<&String> = lines.iter().filter(|line| line.contains("192.0.2.")).collect();
        assert_eq!(shown.len(), SHOWN, "{lines:#?}");
        assert!(shown[0].contains("192.0.2.8") && shown[0].ends_with(" down"), "{shown:?}");
        assert!(shown[1].contains("192.0.2.7") && shown[1].ends_with("up, drained"), "{shown:?}");
        assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
    }

    #[test]
    fn elsewhere_than_on_a_terminal_a_look_is_one_line_of_names_and_values() {
        let Told { load, status } = told();
        assert_eq!(
            line(&load, &status),
            "state=not_ready outside=12000.0 inside=0.0 nxdomain=0.0 servfail=0.0 silent=0.0 p50_us=12.0 p99_us=1000.0 connections=0 zones=9 zones_at_fault=9 guard_stopped=0"
        );
    }
}
