//! `verge-edge top`: how a running edge does, drawn again every two seconds; elsewhere than on a terminal, one line each time.

use std::io::IsTerminal;
use std::time::Duration;

use verge_edge::admin::Board;
use verge_edge::admin::board::{Latency, OriginBoard, Share, SiteBoard, Tier};
use verge_edge::admin::page::{bytes, count, percent, seconds, span};

use super::Failed;
use super::admin_client::WhichEdge;
use super::terminal::{Colour, fitted, is_coloured, painted};

#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// End after so many looks
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    #[command(flatten)]
    edge: WhichEdge,
}

/// Sites and origins of a screen; all of it fits in 24 lines of 80 columns.
const SHOWN: usize = 4;

impl Top {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let client = self.edge.client()?;
        let is_terminal = std::io::stdout().is_terminal();
        let mut looks = 0;
        loop {
            let board: Board = client.get("/status").await?;
            let is_heard = match is_terminal {
                // Home, each line's rest cleared, and all below.
                true => super::is_heard(format!(
                    "\x1b[H{}\x1b[K\x1b[J",
                    screen(&board, SHOWN, is_coloured()).join("\x1b[K\n")
                )),
                false => super::is_heard(line(&board)),
            };
            looks += 1;
            if !is_heard || self.count.is_some_and(|count| looks >= count) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }
}

/// All that matters in one line, `name=value` each.
fn line(board: &Board) -> String {
    let ms = |secs: Option<f64>| secs.map_or_else(|| "-".to_owned(), |secs| format!("{:.3}", secs * 1e3));
    let part = |part: Option<f64>| part.map_or_else(|| "-".to_owned(), |part| format!("{part:.4}"));
    let failed = board.statuses.iter().filter(|share| share.name == "5xx");
    let errors = failed.fold(0.0, |sum, share| sum + share.rate);
    format!(
        "state={} requests={:.1} hit_ratio={} byte_hit_ratio={} errors_5xx={errors:.1} hit_p99_ms={} miss_p99_ms={} connections={} fetches={} store_bytes={} origins_down={}",
        board.state,
        board.requests,
        part(board.hit_ratio),
        part(board.byte_hit_ratio),
        ms(board.hit.p99),
        ms(board.miss.p99),
        board.connections,
        board.fetches,
        board.memory.bytes,
        board.origins.iter().filter(|origin| !origin.is_up).count(),
    )
}

/// The lines of a screen, with so many sites and origins.
pub(super) fn screen(board: &Board, shown: usize, is_coloured: bool) -> Vec<String> {
    let bold = |text: String| painted(&text, Colour::Bold, is_coloured);
    let state = if board.state == "ready" { Colour::Plain } else { Colour::Yellow };
    let mut lines = vec![
        format!(
            "verge-edge {} {}, {} of memory, {:.2} cores; rates of the last {}",
            board.version,
            painted(&board.state, state, is_coloured),
            bytes(board.resident_bytes),
            board.cores,
            span(board.window_secs),
        ),
        String::new(),
        format!(
            "requests {:>8}/s   hits {:>7}   by bytes {:>7}   out {}/s   in {}/s",
            count(board.requests),
            percent(board.hit_ratio),
            percent(board.byte_hit_ratio),
            bytes(board.sent_bytes),
            bytes(board.origin_bytes),
        ),
        format!(
            "connections {} of {}   fetches {}",
            count(board.connections),
            count(board.connections_limit),
            count(board.fetches)
        ),
        latency("from memory", board.hit),
        latency("with origin", board.miss),
        shares("cache ", &board.outcomes, is_coloured),
        shares("status", &board.statuses, is_coloured),
    ];
    lines.extend(
        [&board.memory]
            .into_iter()
            .chain(board.disks.iter().take(shown))
            .map(|tier| store(tier, is_coloured)),
    );
    lines.push(String::new());
    lines.push(bold(format!(
        "{:<34} {:>9} {:>8} {:>8}",
        format!("site (of {})", board.sites_in_all),
        "requests",
        "hits",
        "5xx"
    )));
    lines.extend(board.sites.iter().take(shown).map(|it| site(it, is_coloured)));
    lines.push(String::new());
    lines.push(bold(format!(
        "{:<34} {:>9} {:>8} {:>8}",
        format!("origin (of {})", board.origins_in_all),
        "requests",
        "mean",
        "errors"
    )));
    lines.extend(board.origins.iter().take(shown).map(|it| origin(it, is_coloured)));
    if let Some(trouble) = board.troubles.first() {
        let colour = if trouble.level == "error" { Colour::Red } else { Colour::Yellow };
        lines.push(String::new());
        lines.push(painted(fitted(&trouble.text, 79).trim_end(), colour, is_coloured));
    }
    lines
}

fn latency(name: &str, latency: Latency) -> String {
    format!(
        "{name:<12} p50 {:>9}   p95 {:>9}   p99 {:>9}",
        seconds(latency.p50),
        seconds(latency.p95),
        seconds(latency.p99)
    )
}

fn shares(name: &str, shares: &[Share], is_coloured: bool) -> String {
    let share = |share: &Share| {
        let is_bad = matches!(&*share.name, "5xx" | "failed") && share.rate > 0.0;
        painted(
            &format!("{} {}/s", share.name, count(share.rate)),
            if is_bad { Colour::Red } else { Colour::Plain },
            is_coloured,
        )
    };
    format!("{name} {}", shares.iter().map(share).collect::<Vec<_>>().join("   "))
}

fn store(tier: &Tier, is_coloured: bool) -> String {
    let room = tier.capacity_bytes.map_or_else(String::new, |most| format!(" of {}", bytes(most)));
    let line = format!(
        "{} {}{room}   {} kept   {}/s evicted   {} errors",
        fitted(&tier.name, 18).trim_end(),
        bytes(tier.bytes),
        count(tier.objects),
        count(tier.evicted),
        count(tier.errors),
    );
    painted(&line, if tier.is_up { Colour::Plain } else { Colour::Red }, is_coloured)
}

fn site(site: &SiteBoard, is_coloured: bool) -> String {
    let line = format!(
        "{} {:>9} {:>8} {:>8}",
        fitted(&site.site, 34),
        count(site.requests),
        percent(site.hit_ratio),
        count(site.errors)
    );
    painted(&line, if site.errors > 0.0 { Colour::Yellow } else { Colour::Plain }, is_coloured)
}

fn origin(origin: &OriginBoard, is_coloured: bool) -> String {
    let errors = origin.errors.iter().fold(0.0, |sum, error| sum + error.total);
    let (word, colour) = if origin.is_up { ("", Colour::Plain) } else { ("  rests", Colour::Red) };
    let line = format!(
        "{} {:>9} {:>8} {:>8}{word}",
        fitted(&origin.origin, 34),
        count(origin.requests),
        seconds(origin.mean_secs),
        count(errors)
    );
    painted(&line, colour, is_coloured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board {
            version: "0.1.0".into(),
            state: "ready".into(),
            requests: 1_250.0,
            hit_ratio: Some(0.9),
            hit: Latency { p50: Some(0.000_02), p95: Some(0.000_1), p99: Some(0.001) },
            statuses: vec![Share { name: "5xx".into(), rate: 2.0, total: 9.0 }],
            sites: vec![
                SiteBoard {
                    site: "a\x1b[2J.example".into(),
                    requests: 1_250.0,
                    ..SiteBoard::default()
                };
                9
            ],
            sites_in_all: 900,
            origins: vec![OriginBoard { origin: "10.0.0.1:80".into(), ..OriginBoard::default() }; 9],
            disks: vec![Tier { name: "/var/cache/verge-edge/disk".into(), ..Tier::default() }],
            ..Board::default()
        }
    }

    #[test]
    fn a_screen_fits_and_nothing_in_it_steers_the_terminal() {
        let lines = screen(&board(), SHOWN, false);
        assert!(lines.len() <= 24, "{}", lines.len());
        for line in &lines {
            assert!(line.chars().count() <= 80 && !line.contains('\x1b'), "{line}");
        }
        assert!(
            lines.iter().any(|line| line.contains("10.0.0.1:80") && line.ends_with("rests")),
            "{lines:#?}"
        );
        assert!(screen(&board(), SHOWN, true).concat().contains("\x1b[31m"));
    }

    #[test]
    fn elsewhere_than_on_a_terminal_a_look_is_one_line_of_names_and_values() {
        let line = line(&board());
        assert_eq!(line.matches('\n').count(), 0);
        assert!(line.starts_with("state=ready requests=1250.0 hit_ratio=0.9000 byte_hit_ratio=- errors_5xx=2.0 hit_p99_ms=1.000 miss_p99_ms=- "), "{line}");
        assert!(line.ends_with(" origins_down=9"), "{line}");
    }
}
