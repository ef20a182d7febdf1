//! `status`: what a running server serves, and whether its secondaries know; asked of its admin listener.

use std::fmt::Write as _;

use super::asked::{ask, table};
use super::{Failure, Format, Shape, Source, json, say, zones};
use crate::admin::Told;
use crate::clock;
use crate::metrics::Status;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    shape: Shape,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let admin = config.admin.ok_or(Failure::NoAdmin)?;
    let body =
        ask(&admin, "GET", "/status").map_err(|error| Failure::NoStatus(admin.listen.clone(), error))?;
    let status: Told = serde_json::from_slice(&body)
        .map_err(|error| Failure::NoStatus(admin.listen.clone(), error.into()))?;
    say(&match args.shape.format() {
        Format::Human => text(&status.status, clock::moment().unix_seconds),
        Format::Json => json(&status),
    });
    Ok(())
}

fn text(status: &Status, now: u64) -> String {
    let shown = |serial: Option<u32>| serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string());
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let head = ["zone", "state", "file", "outside", "inside", "journal"].map(str::to_owned);
    let rows = status.zones.iter().map(|zone| {
        [
            zone.zone.clone(),
            zone.state.clone(),
            shown(zone.serial),
            shown(zone.outside),
            shown(zone.inside),
            bytes(zone.journal),
        ]
    });
    let mut out = table(std::iter::once(head).chain(rows).collect());
    if !status.notices.is_empty() {
        let head = ["zone", "secondary", "side", "told", "result"].map(str::to_owned);
        let rows = status.notices.iter().cloned().map(|notice| {
            [notice.zone, notice.secondary, notice.view, notice.serial.to_string(), notice.result]
        });
        out.push('\n');
        out += &table(std::iter::once(head).chain(rows).collect());
    }
    if !status.secondaries.is_empty() {
        let head = ["zone", "side", "copy", "serial", "primary", "its serial", "asked next", "expires"];
        let rows = status.secondaries.iter().map(|it| {
            [
                it.zone.clone(),
                it.view.clone(),
                it.state.clone(),
                shown(it.serial),
                it.primary.clone().unwrap_or_else(|| "-".to_owned()),
                shown(it.primary_serial),
                until(it.next_refresh, now),
                it.expires.map_or_else(|| "-".to_owned(), |expires| until(expires, now)),
            ]
        });
        out.push('\n');
        out += &table(std::iter::once(head.map(str::to_owned)).chain(rows).collect());
        for (zone, error) in status.secondaries.iter().filter_map(|it| Some((&it.zone, it.error.as_ref()?))) {
            writeln!(out, "{zone} could not be refreshed: {error}").expect("a String takes any text");
        }
    }
    out + &catalogs(status)
}

fn catalogs(status: &Status) -> String {
    if status.catalogs.is_empty() {
        return String::new();
    }
    let head = ["catalog", "zones", "kept"].map(str::to_owned);
    let rows = status.catalogs.iter();
    let rows = rows.map(|it| [it.catalog.clone(), it.zones.to_string(), it.waiting.to_string()]);
    let mut out = format!("\n{}", table(std::iter::once(head).chain(rows).collect()));
    for (catalog, error) in status.catalogs.iter().filter_map(|it| Some((&it.catalog, it.error.as_ref()?))) {
        writeln!(out, "{catalog} is not followed as a whole: {error}").expect("a String takes any text");
    }
    out
}

/// How long it is until then.
fn until(unix_seconds: u64, now: u64) -> String {
    match unix_seconds.saturating_sub(now) {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("in {seconds} s"),
        seconds @ 120..7200 => format!("in {} min", seconds / 60),
        seconds @ 7200..172_800 => format!("in {} h", seconds / 3600),
        seconds => format!("in {} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CatalogStatus, CopyStatus, Notice, ZoneStatus};

    #[test]
    fn zones_and_secondaries_stand_in_columns() {
        let status = Status {
            zones: vec![
                ZoneStatus {
                    zone: "example.com.".into(),
                    state: "current".into(),
                    serial: Some(12),
                    outside: Some(10),
                    inside: Some(12),
                    journal: Some(812),
                    ..ZoneStatus::default()
                },
                ZoneStatus { zone: "x.".into(), state: "broken".into(), ..ZoneStatus::default() },
            ],
            notices: vec![Notice {
                zone: "example.com.".into(),
                view: "outside".into(),
                secondary: "192.0.2.2:53".into(),
                serial: 10,
                result: "taken".into(),
            }],
            secondaries: vec![CopyStatus {
                zone: "example.net.".into(),
                view: "outside".into(),
                state: "late".into(),
                serial: Some(7),
                primary: Some("192.0.2.9:53".into()),
                primary_serial: Some(7),
                checked: Some(900),
                next_refresh: 1060,
                expires: Some(1000 + 86_400),
                error: Some("192.0.2.9:53: it does not answer in time".into()),
            }],
            catalogs: vec![CatalogStatus {
                catalog: "catalog.invalid.".into(),
                zones: 12,
                waiting: 11,
                error: Some("it takes away 11 zones at once".into()),
            }],
            ..Status::default()
        };
        let expected = "zone          state    file  outside  inside  journal\n\
                        example.com.  current  12    10       12      812\n\
                        x.            broken   -     -        -       -\n\
                        \n\
                        zone          secondary     side     told  result\n\
                        example.com.  192.0.2.2:53  outside  10    taken\n\
                        \n\
                        zone          side     copy  serial  primary       its serial  asked next  expires\n\
                        example.net.  outside  late  7       192.0.2.9:53  7           in 60 s     in 24 h\n\
                        example.net. could not be refreshed: 192.0.2.9:53: it does not answer in time\n\
                        \n\
                        catalog           zones  kept\n\
                        catalog.invalid.  12     11\n\
                        catalog.invalid. is not followed as a whole: it takes away 11 zones at once\n";
        assert_eq!(text(&status, 1000), expected);
    }
}
