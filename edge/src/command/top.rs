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
        head(board, state, is_coloured),
        String::new(),
        cut(&format!(
            "requests {:>8}/s   hits {:>7}   by bytes {:>7}   out {}/s   in {}/s",
            count(board.requests),
            percent(board.hit_ratio),
            percent(board.byte_hit_ratio),
            bytes(board.sent_bytes),
            bytes(board.origin_bytes),
        )),
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

/// The widest line.
const COLUMNS: usize = 80;

/// A line, cut where a screen ends.
fn cut(line: &str) -> String {
    fitted(line, COLUMNS).trim_end().to_owned()
}

fn head(board: &Board, colour: Colour, is_coloured: bool) -> String {
    let name = format!("verge-edge {} ", fitted(&board.version, 20).trim_end());
    let rest = format!(
        ", {} of memory, {:.2} cores; rates of the last {}",
        bytes(board.resident_bytes),
        board.cores,
        span(board.window_secs),
    );
    let room = COLUMNS.saturating_sub(name.chars().count() + board.state.chars().count());
    format!("{name}{}{}", painted(&board.state, colour, is_coloured), fitted(&rest, room).trim_end())
}

fn latency(name: &str, latency: Latency) -> String {
    format!(
        "{name:<12} p50 {:>9}   p95 {:>9}   p99 {:>9}",
        seconds(latency.p50),
        seconds(latency.p95),
        seconds(latency.p99)
    )
}

/// As many as fit in a line. If not all do, those that are bad come first.
fn shares(name: &str, shares: &[Share], is_coloured: bool) -> String {
    let is_bad = |share: &Share| matches!(&*share.name, "5xx" | "failed") && share.rate > 0.0;
    let (mut line, mut columns) = (name.to_owned(), name.chars().count());
    let mut shares: Vec<(&Share, String)> =
        shares.iter().map(|share| (share, format!("{} {}/s", share.name, count(share.rate)))).collect();
    let all = shares.iter().map(|(_, text)| text.chars().count() + 3).sum::<usize>();
    if columns + all > COLUMNS {
        shares.sort_by_key(|(share, _)| !is_bad(share));
    }
    for (at, (share, text)) in shares.iter().enumerate() {
        let gap = if at == 0 { " " } else { "   " };
        columns += gap.len() + text.chars().count();
        // One column is left to say that there are more.
        if columns >= COLUMNS {
            line.push('…');
            break;
        }
        let colour = if is_bad(share) { Colour::Red } else { Colour::Plain };
        line += &format!("{gap}{}", painted(text, colour, is_coloured));
    }
    line
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
    painted(&cut(&line), if tier.is_up { Colour::Plain } else { Colour::Red }, is_coloured)
}

fn site(site: &SiteBoard, is_coloured: bool) -> String {
    let line = format!(
        "{} {:>9} {:>8} {:>8}",
        fitted(&site.site, 34),
        count(site.requests),
        percent(site.hit_ratio),
        count(site.errors)
    );
    painted(&cut(&line), if site.errors > 0.0 { Colour::Yellow } else { Colour::Plain }, is_coloured)
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
    painted(&cut(&line), colour, is_coloured)
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
    fn a_screen_of_a_busy_edge_fits_too() {
        let share = |name: &str| Share { name: name.into(), rate: 99_999.0, total: 1e12 };
        let names = ["hit", "stale", "revalidated", "miss", "collapsed", "pass", "refused", "failed"];
        let busy = Board {
            version: "10.20.30".into(),
            state: "not ready".into(),
            requests: 999_999.0,
            hit_ratio: Some(1.0),
            byte_hit_ratio: Some(1.0),
            sent_bytes: 1023.9 * (1 << 20) as f64,
            origin_bytes: 1023.9 * (1 << 20) as f64,
            resident_bytes: 1023.9 * (1 << 20) as f64,
            cores: 127.99,
            window_secs: 20.0,
            outcomes: names.map(share).into(),
            statuses: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(share).into(),
            disks: vec![
                Tier {
                    name: "/var/cache/verge-edge/disk".into(),
                    bytes: 1023.9 * (1_u64 << 30) as f64,
                    capacity_bytes: Some(1023.9 * (1_u64 << 30) as f64),
                    objects: 999_999.0,
                    evicted: 99_999.0,
                    errors: 99_999.0,
                    ..Tier::default()
                };
                9
            ],
            ..board()
        };
        for is_coloured in [false, true] {
            let lines = screen(&busy, SHOWN, is_coloured);
            for line in &lines {
                let plain = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m"];
                let plain = plain.iter().fold(line.clone(), |line, code| line.replace(code, ""));
                assert!(plain.chars().count() <= 80, "{} columns: {line}", plain.chars().count());
            }
            let cache = lines.iter().find(|line| line.starts_with("cache")).unwrap();
            assert!(cache.contains("failed") && cache.contains("stale") && cache.ends_with('…'), "{cache}");
        }
    }

    #[test]
    fn elsewhere_than_on_a_terminal_a_look_is_one_line_of_names_and_values() {
        let line = line(&board());
        assert_eq!(line.matches('\n').count(), 0);
        assert!(line.starts_with("state=ready requests=1250.0 hit_ratio=0.9000 byte_hit_ratio=- errors_5xx=2.0 hit_p99_ms=1.000 miss_p99_ms=- "), "{line}");
        assert!(line.ends_with(" origins_down=9"), "{line}");
    }
}
