//! `GET /`: the status page. It is whole without JavaScript; with it, an event stream replaces its parts. `GET /hidden`: the
//! records that outsiders do not see.
//!
//! Invariant: all text goes through [`html::escaped`](super::html::escaped) on its way into the page: names of zones and members, files, log lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::html::{
    bytes, count, escaped, filled, level, number, seconds, some_of, span, standing, table, text,
};
use super::load::{Answers, Load, Point, Share, Told};
use crate::explain::shown::{HiddenRecord, Shown};
use crate::metrics::{CopyStatus, MemberStatus, Notice, PoolStatus, Status, ZoneStatus, worst_first};

/// The style, as a file of its own: the policy of the page allows no other.
pub(super) const STYLE: &str = include_str!("page/page.css");
/// The only script.
pub(super) const SCRIPT: &str = include_str!("page/page.js");
const FRAME: &str = include_str!("page/page.html");
const HIDDEN: &str = include_str!("page/hidden.html");

/// Nothing but its own files, no frame around it, and no form that goes elsewhere.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

/// Longer tables end here: a page is read by a person, and sent every two seconds.
const MOST_ROWS: usize = 100;
/// Hidden records of a page; a zone may have a million.
const MOST_RECORDS: usize = 1_000;

/// The page. `now` is in seconds since 1970.
pub(super) fn page(told: &Told, now: u64) -> String {
    filled(FRAME, &parts(told, now))
}

/// The parts of the page that change, by their ids.
fn parts(told: &Told, now: u64) -> [(&'static str, String); 10] {
    let Told { status, load } = told;
    [
        ("head", head(load, now)),
        ("now", tiles(status, load)),
        ("curve", curve(&load.points)),
        ("answers", answers(load)),
        ("ways", ways(load)),
        ("zones", zones(&status.zones)),
        ("hidden", hidden_counts(&status.zones)),
        ("pools", pools(&status.pools)),
        ("secondaries", secondaries(status, now)),
        ("troubles", troubles(load, now)),
    ]
}

/// A message of the event stream: the parts as JSON, which has no line end inside.
pub(super) fn event(told: &Told, now: u64) -> String {
    let parts: BTreeMap<_, _> = parts(told, now).into_iter().collect();
    format!("data: {}\n\n", serde_json::to_string(&parts).expect("texts are JSON"))
}

/// The hidden records, of one zone if it is named.
pub(super) fn hidden(zones: &[Shown], wanted: Option<&str>) -> String {
    let is_wanted = |zone: &&Shown| wanted.is_none_or(|wanted| zone.apex.to_string() == wanted);
    let count = |zone: &Shown| zone.divided.as_ref().map_or(0, |divided| divided.hidden.len());
    let all: usize = zones.iter().filter(is_wanted).map(count).sum();
    let mut records = Vec::new();
    for zone in zones.iter().filter(is_wanted) {
        let left = MOST_RECORDS - records.len();
        records.extend(zone.some_hidden(left));
    }
    let row = |record: &HiddenRecord| {
        let place = format!("{}:{}:{}", record.file, record.line, record.column);
        let extent = if record.partly { "a part of it" } else { "all of it" };
        vec![text(record.rule), text(&record.record), text(extent), text(&place)]
    };
    let caption = match all > MOST_RECORDS {
        true => format!(
            "{MOST_RECORDS} of {all} records; ?zone=NAME shows one zone's, and verge-dns check lists all"
        ),
        false => format!("{all} records; docs/privacy.md says what each rule means"),
    };
    let table =
        table(&caption, &["Rule", "Record", "Hidden", "Written in"], records.iter().map(row).collect());
    filled(HIDDEN, &[("records", table)])
}

fn head(load: &Load, now: u64) -> String {
    let class = if load.state == "ready" { "good" } else { "bad" };
    format!(
        "<span class=\"{class}\">{}</span>, version {}, up {}",
        escaped(&load.state),
        escaped(&load.version),
        span((now as f64 - load.started).max(0.0)),
    )
}

fn tiles(status: &Status, load: &Load) -> String {
    let of = |rcode: &str| {
        let (some, all) = load.answers.iter().fold((0.0, 0.0), |(some, all), it| {
            (some + if it.rcode == rcode { it.rate } else { 0.0 }, all + it.rate)
        });
        if all > 0.0 { format!("{:.1} %", some * 100.0 / all) } else { "–".to_owned() }
    };
    let at_fault = status.zones.iter().filter(|zone| zone.state != "current").count();
    let tiles = [
        (
            "Answers to outsiders",
            count(load.outside),
            format!("a second, of the last {}", span(load.window_secs)),
        ),
        ("Answers to insiders", count(load.inside), "a second".to_owned()),
        ("NXDOMAIN", of("NXDOMAIN"), "of the answers".to_owned()),
        ("SERVFAIL", of("SERVFAIL"), "of the answers".to_owned()),
        (
            "Latency, median",
            seconds(load.latency.p50),
            format!("95 %: {}, 99 %: {}", seconds(load.latency.p95), seconds(load.latency.p99)),
        ),
        ("Zones", count(status.zones.len() as f64), format!("{at_fault} not current")),
        ("Connections", count(load.connections), format!("egress guard: {}", count(load.guard_stopped))),
        ("Memory", bytes(load.resident_bytes), format!("{:.2} cores busy", load.cores)),
    ];
    let mut out = "<dl class=\"tiles\">".to_owned();
    for (name, value, note) in tiles {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
    }
    out + "</dl>"
}

/// Answers and, below them, those to insiders, of the last minutes.
fn curve(points: &[Point]) -> String {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 100.0;
    let most = points.iter().map(|point| point.all).fold(1.0, f64::max);
    let span_secs = points.first().map_or(1.0, |point| point.ago_secs.max(1.0));
    let across = |point: &Point| WIDTH * (1.0 - point.ago_secs / span_secs);
    let line = |of: fn(&Point) -> f64| -> String {
        let place = |point: &Point| (across(point), HEIGHT * (1.0 - of(point) / most));
        points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1} ")).collect()
    };
    let last = points.last().copied().unwrap_or_default();
    let from = points.first().map_or(0.0, across);
    format!(
        "<figure><svg viewBox=\"0 -2 {WIDTH} 104\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Answers a second, and those to insiders among them, over the last {}: now {} and {}, at most {}\">\
         <polygon class=\"part\" points=\"{from},{HEIGHT} {}{WIDTH},{HEIGHT}\"/><polyline class=\"all\" points=\"{}\"/></svg>\
         <figcaption>Answers a second (line) and those to insiders among them (area) over the last {}; at most {}</figcaption></figure>",
        span(span_secs),
        count(last.all),
        count(last.inside),
        count(most),
        line(|point| point.inside),
        line(|point| point.all),
        span(span_secs),
        count(most),
    )
}

fn answers(load: &Load) -> String {
    let row =
        |it: &Answers| vec![text(&it.view), text(&it.rcode), number(count(it.rate)), number(count(it.total))];
    let rows = load.answers.iter().map(row).collect();
    table("By view and response code", &["View", "Code", "#a second", "#in all"], rows)
}

fn ways(load: &Load) -> String {
    let row = |it: &Share| vec![text(&it.name), number(count(it.rate)), number(count(it.total))];
    let mut out = table(
        "Answers by transport",
        &["Transport", "#a second", "#in all"],
        load.transports.iter().map(row).collect(),
    );
    if !load.silent.is_empty() {
        let rows = load.silent.iter().map(row).collect();
        out += &table("Packets that got no answer", &["Reason", "#a second", "#in all"], rows);
    }
    out
}

fn zones(zones: &[ZoneStatus]) -> String {
    let mut shown: Vec<&ZoneStatus> = zones.iter().collect();
    shown.sort_by_key(|zone| zone.state == "current");
    shown.truncate(MOST_ROWS);
    let serial =
        |serial: Option<u32>| number(serial.map_or_else(|| "–".to_owned(), |serial| serial.to_string()));
    let row = |zone: &&ZoneStatus| {
        vec![
            text(&zone.zone),
            standing(zone.state == "current", &zone.state),
            serial(zone.serial),
            serial(zone.outside),
            serial(zone.inside),
            text(zone.error.as_deref().unwrap_or_default()),
        ]
    };
    let caption = some_of(shown.len(), zones.len(), "Zones, those that are not current first");
    let head = ["Zone", "State", "#serial of the file", "#outside", "#inside", "Error"];
    table(&caption, &head, shown.iter().map(row).collect())
}

fn hidden_counts(zones: &[ZoneStatus]) -> String {
    let rows: Vec<_> =
        zones.iter().flat_map(|zone| zone.hidden.iter().map(move |(rule, n)| (zone, rule, *n))).collect();
    let records: usize = rows.iter().map(|(_, _, n)| n).sum();
    let shown = rows.iter().take(MOST_ROWS);
    let row = |(zone, rule, n): &(&ZoneStatus, &String, usize)| {
        vec![text(&zone.zone), text(rule), number(n.to_string())]
    };
    let caption =
        format!("Records: {records}. {}", some_of(rows.len().min(MOST_ROWS), rows.len(), "Zones and rules"));
    table(&caption, &["Zone", "Rule", "#records"], shown.map(row).collect())
}

fn pools(pools: &[PoolStatus]) -> String {
    let members = worst_first(pools);
    let row = |(pool, member): &(&PoolStatus, &MemberStatus)| {
        vec![
            text(&format!("{} {}", pool.pool, pool.rtype)),
            text(&pool.view),
            text(&member.address.to_string()),
            standing(member.state != "down", &member.state),
            number(format!("{:.1} %", f64::from(member.share) / 10.0)),
            text(&member.fate),
        ]
    };
    let what = "Members of pools, those that are down, drained or loaded first, with their shares of clients of no place";
    let caption = some_of(members.len().min(MOST_ROWS), members.len(), what);
    let head = ["Pool", "View", "Member", "State", "#share", "Fate"];
    table(&caption, &head, members.iter().take(MOST_ROWS).map(row).collect())
}

fn secondaries(status: &Status, now: u64) -> String {
    let row = |notice: &Notice| {
        vec![
            text(&notice.zone),
            text(&notice.secondary),
            text(&notice.view),
            number(notice.serial.to_string()),
            standing(notice.result == "taken", &notice.result),
        ]
    };
    let (shown, all) = (status.notices.len().min(MOST_ROWS), status.notices.len());
    let caption = some_of(shown, all, "Notices of change, the last to each secondary");
    let rows = status.notices.iter().take(MOST_ROWS).map(row).collect();
    let mut out = table(&caption, &["Zone", "Secondary", "Side", "#told", "Result"], rows);
    if !status.secondaries.is_empty() {
        out += &copies(&status.secondaries, now);
    }
    out
}

fn copies(copies: &[CopyStatus], now: u64) -> String {
    let is_good = |copy: &CopyStatus| matches!(&*copy.state, "good" | "primary");
    let mut shown: Vec<&CopyStatus> = copies.iter().collect();
    shown.sort_by_key(|copy| is_good(copy));
    shown.truncate(MOST_ROWS);
    let row = |copy: &&CopyStatus| {
        let left = |at: u64| span(at.saturating_sub(now) as f64);
        vec![
            text(&copy.zone),
            standing(is_good(copy), &copy.state),
            number(copy.serial.map_or_else(|| "–".to_owned(), |serial| serial.to_string())),
            text(copy.primary.as_deref().unwrap_or("–")),
            number(copy.expires.map_or_else(|| "–".to_owned(), left)),
            text(copy.error.as_deref().unwrap_or_default()),
        ]
    };
    let caption = some_of(shown.len(), copies.len(), "Zones that are taken from others");
    let head = ["Zone", "Copy", "#serial", "Primary", "#expires in", "Error"];
    table(&caption, &head, shown.iter().map(row).collect())
}

fn troubles(load: &Load, now: u64) -> String {
    if load.troubles.is_empty() {
        return "<p>The log has no line at the levels warn and error since the start.</p>".to_owned();
    }
    let rows = load.troubles.iter().map(|trouble| {
        let ago = format!("{} ago", span(now.saturating_sub(trouble.at) as f64));
        vec![text(&ago), level(&trouble.level), text(&trouble.text)]
    });
    let caption = "The last lines of the log at the levels warn and error";
    table(caption, &["When", "Level", "Message"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::recent::Trouble;
    use crate::metrics::CatalogStatus;

    const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&\u{202e}\u{7}{{now}}";

    fn member(last: u8, text: &str) -> MemberStatus {
        MemberStatus {
            address: [192, 0, 2, last].into(),
            state: text.to_owned(),
            since: None,
            checked: None,
            why: text.to_owned(),
            held: false,
            flips: 0,
            votes: Vec::new(),
            load: None,
            followed: None,
            rtt: None,
            weight: 1,
            priority: 1,
            drained: false,
            fate: text.to_owned(),
            share: 1000,
            safe_in: None,
            drain: None,
        }
    }

    fn hostile() -> Told {
        let text = || HOSTILE.to_owned();
        let share = || vec![Share { name: text(), rate: 1.0, total: 1.0 }];
        let member = member(1, HOSTILE);
        let status = Status {
            zones: vec![ZoneStatus {
                zone: text(),
                state: text(),
                error: Some(text()),
                hidden: BTreeMap::from([(text(), 3)]),
                ..ZoneStatus::default()
            }],
            notices: vec![Notice {
                zone: text(),
                view: text(),
                secondary: text(),
                serial: 1,
                result: text(),
            }],
            secondaries: vec![CopyStatus {
                zone: text(),
                state: text(),
                primary: Some(text()),
                error: Some(text()),
                ..CopyStatus::default()
            }],
            catalogs: vec![CatalogStatus { catalog: text(), ..CatalogStatus::default() }],
            pools: vec![PoolStatus {
                pool: text(),
                rtype: text(),
                view: text(),
                members: vec![member],
                ..PoolStatus::default()
            }],
            ..Status::default()
        };
        let load = Load {
            version: text(),
            state: text(),
            answers: vec![Answers { view: text(), rcode: text(), rate: 1.0, total: 1.0 }],
            transports: share(),
            silent: share(),
            troubles: vec![Trouble { at: 7, level: text(), text: text() }],
            ..Load::default()
        };
        Told { status, load }
    }

    #[test]
    fn no_label_no_host_and_no_log_line_is_taken_for_html() {
        for html in [page(&hostile(), 10), parts(&hostile(), 10).map(|(_, html)| html).concat()] {
            assert!(
                !html.contains("<img") && !html.contains("\u{202e}") && !html.contains('\u{7}'),
                "{html}"
            );
            let escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}{{now}}";
            // Head 2, answers 2, ways 2, zones 3, hidden 2, pools 5, notices 4, copies 4, the log 2.
            assert_eq!(html.matches(escaped).count(), 26, "{html}");
        }
        assert_eq!(event(&hostile(), 10).matches('\n').count(), 2, "an event is one line of data");
    }

    #[test]
    fn every_part_has_its_place_in_the_page_and_no_placeholder_stays() {
        let page = page(&Told::default(), 0);
        for (id, html) in parts(&Told::default(), 0) {
            assert!(page.contains(&format!("id=\"{id}\"")) && page.contains(&html), "{id}");
        }
        assert!(!page.contains("{{") && !hidden(&[], None).contains("{{"), "{page}");
        for forbidden in ["style=", "<style", "onclick", "javascript:", "//"] {
            assert!(!page.contains(forbidden), "the policy forbids {forbidden}");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn tables_are_bounded_and_those_at_fault_come_first() {
        let zone = |n: usize| ZoneStatus {
            zone: format!("z{n}.example."),
            state: if n == 9_999 { "broken" } else { "current" }.to_owned(),
            hidden: BTreeMap::from([("D1".to_owned(), 2)]),
            ..ZoneStatus::default()
        };
        let told = Told {
            status: Status { zones: (0..10_000).map(zone).collect(), ..Status::default() },
            ..Told::default()
        };
        let page = page(&told, 0);
        assert!(
            page.contains("first: 100 of 10000")
                && page.contains("Records: 20000. Zones and rules: 100 of 10000")
        );
        assert!(page.find("z9999.example.").unwrap() < page.find("z0.example.").unwrap());
        assert!(page.len() < 64_000, "{}", page.len());
    }

    #[test]
    fn members_that_are_down_drained_or_loaded_are_not_cut_off() {
        let mut members: Vec<MemberStatus> = (0..250).map(|last| member(last, "up")).collect();
        members[247].load = Some(960);
        members[248].drained = true;
        members[249].state = "down".to_owned();
        let pool =
            |members: &[MemberStatus]| PoolStatus { members: members.to_vec(), ..PoolStatus::default() };
        let html = pools(&[pool(&members[..100]), pool(&members[100..])]);
        assert!(html.contains("of no place: 100 of 250"), "{html}");
        let places: Vec<_> = [249, 248, 247, 0, 1]
            .map(|last| html.find(&format!(">192.0.2.{last}<")).expect("it is shown"))
            .into();
        assert!(places.is_sorted(), "{places:?}");
    }
}
