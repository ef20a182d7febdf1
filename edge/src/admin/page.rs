//! `GET /`: the status page. It is whole without JavaScript; with it, an event stream replaces its parts.
//!
//! Invariant: all text goes through `escaped` on its way into the page: names of hosts, origins and disks, and log lines.

use std::fmt::Write as _;

use super::board::{Board, Latency, OriginBoard, Point, Share, SiteBoard, Tier};

/// The style, as a file of its own: the policy of the page allows no other.
pub(super) const STYLE: &str = include_str!("page/page.css");
/// The only script.
pub(super) const SCRIPT: &str = include_str!("page/page.js");
const FRAME: &str = include_str!("page/page.html");

/// Nothing but its own files, no frame around it, and no form that goes elsewhere.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) fn page(board: &Board, now: f64) -> String {
    let parts = parts(board, now);
    let mut pieces = FRAME.split("{{");
    let mut page = pieces.next().unwrap_or_default().to_owned();
    // In one pass: a name with braces in it is no placeholder.
    for piece in pieces {
        let (id, behind) = piece.split_once("}}").unwrap_or(("", piece));
        page += parts.iter().find(|(own, _)| *own == id).map_or("", |(_, html)| html);
        page += behind;
    }
    page
}

/// The parts of the page that change, by their ids. `now` is in seconds since 1970.
pub(super) fn parts(board: &Board, now: f64) -> [(&'static str, String); 10] {
    [
        ("head", head(board, now)),
        ("now", tiles(board)),
        ("curve", curve(&board.points)),
        ("latency", latency(board)),
        ("outcomes", shares("Requests by how the cache answered them", "Result", &board.outcomes)),
        ("statuses", statuses(board)),
        ("store", store(board)),
        ("sites", sites(board)),
        ("origins", origins(board)),
        ("troubles", troubles(board, now)),
    ]
}

/// A message of the event stream: the parts as JSON, which has no line end inside.
pub(super) fn event(board: &Board, now: f64) -> String {
    let parts: std::collections::BTreeMap<_, _> = parts(board, now).into_iter().collect();
    format!("data: {}\n\n", serde_json::to_string(&parts).expect("texts are JSON"))
}

/// Text as it stands in HTML, in content and in a quoted attribute. Letters that change the order of others, and control
/// characters, could make a name look like another one.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.push('\u{fffd}')
            }
            control if control.is_control() && control != '\n' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

fn head(board: &Board, now: f64) -> String {
    let class = if board.state == "ready" { "good" } else { "bad" };
    format!(
        "<span class=\"{class}\">{}</span>, version {}, up {}",
        escaped(&board.state),
        escaped(&board.version),
        span((now - board.started).max(0.0)),
    )
}

fn tiles(board: &Board) -> String {
    let errors = share_of(&board.statuses, "5xx");
    let tiles = [
        ("Requests a second", count(board.requests), format!("of the last {}", span(board.window_secs))),
        ("Hit ratio", percent(board.hit_ratio), format!("by bytes {}", percent(board.byte_hit_ratio))),
        ("Answers 5xx", percent(errors), format!("{} a second", count(rate_of(&board.statuses, "5xx")))),
        (
            "To clients",
            format!("{}/s", bytes(board.sent_bytes)),
            format!("from origins {}/s", bytes(board.origin_bytes)),
        ),
        ("Connections", count(board.connections), format!("of {}", count(board.connections_limit))),
        ("Fetches under way", count(board.fetches), String::new()),
        ("Memory", bytes(board.resident_bytes), "of the process".to_owned()),
        ("CPU", format!("{:.2}", board.cores), "cores busy".to_owned()),
    ];
    let mut out = "<dl class=\"tiles\">".to_owned();
    for (name, value, note) in tiles {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
    }
    out + "</dl>"
}

/// Requests and, below them, hits of the last minutes.
fn curve(points: &[Point]) -> String {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 100.0;
    let most = points.iter().map(|point| point.requests).fold(1.0, f64::max);
    let span_secs = points.first().map_or(1.0, |point| point.ago_secs.max(1.0));
    let line = |of: fn(&Point) -> f64| -> String {
        let place =
            |point: &Point| (WIDTH * (1.0 - point.ago_secs / span_secs), HEIGHT * (1.0 - of(point) / most));
        points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1} ")).collect()
    };
    let last = points.last().copied().unwrap_or_default();
    let (from, to) = (points.first().map_or(0.0, |point| WIDTH * (1.0 - point.ago_secs / span_secs)), WIDTH);
    format!(
        "<figure><svg viewBox=\"0 -2 {WIDTH} 104\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Requests a second, and hits among them, over the last {}: now {} and {}, at most {}\">\
         <polygon class=\"part\" points=\"{from},{HEIGHT} {}{to},{HEIGHT}\"/><polyline class=\"all\" points=\"{}\"/></svg>\
         <figcaption>Requests a second (line) and hits among them (area) over the last {}; at most {}</figcaption></figure>",
        span(span_secs),
        count(last.requests),
        count(last.hits),
        count(most),
        line(|point| point.hits),
        line(|point| point.requests),
        span(span_secs),
        count(most),
    )
}

fn latency(board: &Board) -> String {
    let row = |name: &str, latency: Latency| {
        vec![
            text(name),
            number(seconds(latency.p50)),
            number(seconds(latency.p95)),
            number(seconds(latency.p99)),
        ]
    };
    let rows = vec![row("from memory", board.hit), row("with an origin in between", board.miss)];
    table("Until the head of an answer, of the last seconds", &["Answers", "#50 %", "#95 %", "#99 %"], rows)
}

fn shares(caption: &str, what: &str, shares: &[Share]) -> String {
    let row = |share: &Share| vec![text(&share.name), number(count(share.rate)), number(count(share.total))];
    table(caption, &[what, "#a second", "#in all"], shares.iter().map(row).collect())
}

fn statuses(board: &Board) -> String {
    let mut out = shares("Responses by the class of their status", "Status", &board.statuses);
    if !board.refused.is_empty() {
        out += &shares("Refused before a site was found", "Reason", &board.refused);
    }
    out
}

fn store(board: &Board) -> String {
    let row = |tier: &Tier| {
        let part = tier.capacity_bytes.filter(|most| *most > 0.0).map(|most| tier.bytes / most);
        vec![
            text(&tier.name),
            standing(tier.is_up, "in use", "not used"),
            number(bytes(tier.bytes)),
            number(tier.capacity_bytes.map_or_else(|| "–".to_owned(), bytes)),
            number(percent(part)),
            number(count(tier.objects)),
            number(count(tier.evicted)),
            number(count(tier.errors)),
        ]
    };
    let rows = [&board.memory].into_iter().chain(&board.disks).map(row).collect();
    table(
        "Keys in memory and responses on disks",
        &["Tier", "State", "#taken", "#room", "#full", "#kept", "#evicted a second", "#errors"],
        rows,
    )
}

fn sites(board: &Board) -> String {
    let row = |site: &SiteBoard| {
        vec![
            text(&site.site),
            number(count(site.requests)),
            number(percent(site.hit_ratio)),
            number(count(site.errors)),
            number(count(site.total)),
        ]
    };
    let caption = some_of(board.sites.len(), board.sites_in_all, "Sites, those with the most requests first");
    table(
        &caption,
        &["Site", "#requests a second", "#hit ratio", "#5xx a second", "#requests in all"],
        board.sites.iter().map(row).collect(),
    )
}

fn origins(board: &Board) -> String {
    let row = |origin: &OriginBoard| {
        let errors = origin.errors.iter().map(|error| format!("{}: {}", error.name, count(error.total)));
        vec![
            text(&origin.origin),
            text(&origin.site),
            standing(origin.is_up, "up", "rests"),
            number(count(origin.requests)),
            number(count(origin.in_flight)),
            number(seconds(origin.mean_secs)),
            text(&errors.collect::<Vec<_>>().join(", ")),
        ]
    };
    let caption =
        some_of(board.origins.len(), board.origins_in_all, "Origins, those that rest or fail first");
    let head =
        ["Origin", "Site", "State", "#requests a second", "#in flight", "#mean", "Errors since the start"];
    table(&caption, &head, board.origins.iter().map(row).collect())
}

fn troubles(board: &Board, now: f64) -> String {
    if board.troubles.is_empty() {
        return "<p>The log has no line at the levels warn and error since the start.</p>".to_owned();
    }
    let rows = board.troubles.iter().map(|trouble| {
        let ago = format!("{} ago", span((now - trouble.at as f64).max(0.0)));
        vec![text(&ago), level(&trouble.level), text(&trouble.text)]
    });
    table(
        "The last lines of the log at the levels warn and error",
        &["When", "Level", "Message"],
        rows.collect(),
    )
}

fn some_of(shown: usize, all: usize, what: &str) -> String {
    if shown == all { format!("{what}: {all}") } else { format!("{what}: {shown} of {all}") }
}

/// A cell of a table, as HTML.
type Cell = String;

fn text(text: &str) -> Cell {
    format!("<td class=\"t\">{}</td>", escaped(text))
}

fn number(text: String) -> Cell {
    format!("<td class=\"n\">{text}</td>")
}

/// A word and its colour: the colour alone would tell some readers nothing.
fn standing(is_good: bool, good: &str, bad: &str) -> Cell {
    let (class, word) = if is_good { ("good", good) } else { ("bad", bad) };
    format!("<td><span class=\"{class}\">{}</span></td>", escaped(word))
}

/// The level of a log line; only errors stand out.
fn level(word: &str) -> Cell {
    let class = if word == "error" { "bad" } else { "dim" };
    format!("<td><span class=\"{class}\">{}</span></td>", escaped(word))
}

/// A heading that begins with `#` is above numbers.
fn table(caption: &str, head: &[&str], rows: Vec<Vec<Cell>>) -> String {
    let mut out = format!("<table><caption>{}</caption><thead><tr>", escaped(caption));
    for name in head {
        let (class, name) = name.strip_prefix('#').map_or(("", *name), |name| (" class=\"n\"", name));
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out += "</tr></thead><tbody>";
    if rows.is_empty() {
        let _ = write!(out, "<tr><td colspan=\"{}\" class=\"dim\">none</td></tr>", head.len());
    }
    for row in rows {
        let _ = write!(out, "<tr>{}</tr>", row.concat());
    }
    out + "</tbody></table>"
}

fn rate_of(shares: &[Share], name: &str) -> f64 {
    shares.iter().filter(|share| share.name == name).fold(0.0, |sum, share| sum + share.rate)
}

fn share_of(shares: &[Share], name: &str) -> Option<f64> {
    let all: f64 = shares.iter().map(|share| share.rate).sum();
    (all > 0.0).then(|| rate_of(shares, name) / all)
}

/// A count or a rate in a few letters.
pub fn count(value: f64) -> String {
    match value {
        value if value >= 1e10 => format!("{:.1} G", value / 1e9),
        value if value >= 1e7 => format!("{:.1} M", value / 1e6),
        value if value >= 1e5 => format!("{:.1} k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// Bytes in a few letters.
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (value, "B");
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if value < 10.0 && unit != "B" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A part of all, in percent.
pub fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "–".to_owned(), |part| format!("{:.1} %", part * 100.0))
}

/// A duration with a fitting unit.
pub fn seconds(secs: Option<f64>) -> String {
    match secs {
        None => "–".to_owned(),
        Some(secs) if secs < 0.001 => format!("{:.0} µs", secs * 1e6),
        Some(secs) if secs < 1.0 => format!("{:.1} ms", secs * 1e3),
        Some(secs) => format!("{secs:.1} s"),
    }
}

/// How long something lasts or lasted.
pub fn span(secs: f64) -> String {
    match secs {
        secs if secs < 120.0 => format!("{secs:.0} s"),
        secs if secs < 7_200.0 => format!("{:.0} min", secs / 60.0),
        secs if secs < 172_800.0 => format!("{:.0} h", secs / 3_600.0),
        secs => format!("{:.0} days", secs / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::board::Trouble;

    const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&\u{202e}\u{7}{{now}}";

    fn hostile() -> Board {
        let share = || vec![Share { name: HOSTILE.into(), rate: 1.0, total: 1.0 }];
        Board {
            version: HOSTILE.into(),
            state: HOSTILE.into(),
            outcomes: share(),
            statuses: share(),
            refused: share(),
            disks: vec![Tier { name: HOSTILE.into(), ..Tier::default() }],
            sites: vec![SiteBoard { site: HOSTILE.into(), ..SiteBoard::default() }],
            sites_in_all: 7,
            origins: vec![OriginBoard {
                site: HOSTILE.into(),
                origin: HOSTILE.into(),
                errors: share(),
                ..OriginBoard::default()
            }],
            origins_in_all: 1,
            troubles: vec![Trouble { at: 7, level: HOSTILE.into(), text: HOSTILE.into() }],
            ..Board::default()
        }
    }

    #[test]
    fn no_name_and_no_log_line_is_taken_for_html() {
        for html in [page(&hostile(), 10.0), parts(&hostile(), 10.0).map(|(_, html)| html).concat()] {
            assert!(
                !html.contains("<img") && !html.contains("\u{202e}") && !html.contains('\u{7}'),
                "{html}"
            );
            // Each name, state and line.
            assert_eq!(
                html.matches("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}{{now}}")
                    .count(),
                12,
                "{html}"
            );
        }
        let event = event(&hostile(), 10.0);
        assert_eq!(event.matches('\n').count(), 2, "an event is one line of data: {event}");
    }

    #[test]
    fn every_part_has_its_place_in_the_page_and_no_placeholder_stays() {
        let page = page(&Board::default(), 0.0);
        for (id, html) in parts(&Board::default(), 0.0) {
            assert!(page.contains(&format!("id=\"{id}\"")) && page.contains(&html), "{id}");
        }
        assert!(!page.contains("{{"), "{page}");
    }

    #[test]
    fn the_page_needs_nothing_that_its_policy_forbids() {
        let page = page(&Board::default(), 0.0);
        for forbidden in ["style=", "<style", "onclick", "javascript:", "http://", "//"] {
            let found = page.matches(forbidden).count();
            assert_eq!(found, usize::from(forbidden == "//"), "{forbidden}");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn numbers_are_short_and_have_units() {
        let counts = [0.0, 0.25, 9.96, 12.4, 99_999.0, 1.5e6, 2e7, 3e10].map(count);
        assert_eq!(counts, ["0", "0.2", "10.0", "12", "99999", "1500.0 k", "20.0 M", "30.0 G"]);
        assert_eq!([10.0, 2048.0, 5e8, 3e12].map(bytes), ["10 B", "2.0 KiB", "477 MiB", "2.7 TiB"]);
        assert_eq!(
            [None, Some(0.000_02), Some(0.5), Some(2.0)].map(seconds),
            ["–", "20 µs", "500.0 ms", "2.0 s"]
        );
        assert_eq!([90.0, 300.0, 9_000.0, 200_000.0].map(span), ["90 s", "5 min", "2 h", "2 days"]);
        assert_eq!(percent(Some(0.995)), "99.5 %");
    }
}
