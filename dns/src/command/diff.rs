//! `diff`: names that the outside and the inside do not see alike, side by side.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Format, Shape, Source, json, say, zones};
use crate::catalog::report::ZoneReport;
use crate::catalog::unhidden::{Line, Told};
use crate::name;
use crate::rtype::Type;
use crate::zone::text::write_rdata;
use crate::zone::tree::changes::differences;
use crate::zone::tree::{Node, Tree};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of zone files, or zone files [default: the config's folder, or zones]
    paths: Vec<PathBuf>,
    /// Zone files as they were: show each record that is public now and was hidden there, although its own text is the same
    #[arg(long, value_name = "PATH")]
    before: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    shape: Shape,
}

/// The widest that the outside's column gets.
const MOST_WIDTH: usize = 48;

/// The RRsets of one type at one name, as each side sees them.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    outside: Vec<String>,
    inside: Vec<String>,
}

#[derive(Serialize)]
struct ZoneDiff {
    zone: String,
    /// Whether there is such a zone outside.
    outside: bool,
    rows: Vec<Row>,
    /// Records that were hidden before, although their own text is the same.
    unhidden: Vec<Line>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let zones = zones::load(&args.paths, &args.source)?;
    let report = &zones.loaded.report;
    let unhidden = match args.before.as_slice() {
        [] => Told::default(),
        before => report.unhidden_since(&zones::load(before, &args.source)?.loaded.report),
    };
    let diffs: Vec<ZoneDiff> = report.zones.iter().filter_map(|zone| diff(zone, &unhidden)).collect();
    say(&match args.shape.format() {
        Format::Human => diffs.iter().map(ZoneDiff::to_string).collect(),
        Format::Json => json(&diffs),
    });
    match report.zones.iter().find(|zone| zone.internal.is_none()) {
        Some(zone) if zone.problems.iter().any(|problem| problem.code == "two-files") => {
            Err(Failure::TwoVersions(zone.apex.clone()))
        }
        Some(zone) => Err(Failure::Broken(zone.apex.clone())),
        None => Ok(()),
    }
}

fn diff(zone: &ZoneReport, unhidden: &Told) -> Option<ZoneDiff> {
    let internal = zone.internal.as_deref()?;
    let nothing;
    let public = match zone.public.as_deref() {
        Some(tree) => tree,
        None => {
            nothing = Tree::build(zone.apex.clone(), [] as [&crate::zone::Record; 0]);
            &nothing
        }
    };
    let pairs = differences(public, internal);
    let rows = pairs.flat_map(|pair| rows(pair.left, pair.right)).collect();
    let apex = zone.apex.to_string();
    let unhidden = unhidden.some.iter().filter(|line| line.zone == apex).cloned().collect();
    Some(ZoneDiff { zone: apex, outside: zone.public.is_some(), rows, unhidden })
}

fn rows(outside: Option<Node<'_>>, inside: Option<Node<'_>>) -> Vec<Row> {
    let Some(node) = outside.or(inside) else { return Vec::new() };
    let mut name = String::new();
    name::write_wire(node.name(), &mut name).expect("a String takes any text");
    let sides = [outside, inside];
    let mut types: Vec<Type> = sides
        .iter()
        .flatten()
        .flat_map(|node| node.sets().map(|set| set.rtype).chain(node.withheld()))
        .collect();
    types.sort_unstable();
    types.dedup();
    let rows = types.into_iter().map(|rtype| Row {
        name: name.clone(),
        rtype: rtype.to_string(),
        outside: records(outside, rtype),
        inside: records(inside, rtype),
    });
    rows.filter(|row| row.outside != row.inside).collect()
}

fn records(node: Option<Node<'_>>, rtype: Type) -> Vec<String> {
    if node.is_some_and(|node| node.withheld().any(|withheld| withheld == rtype)) {
        return vec!["SERVFAIL".to_owned()];
    }
    let Some(set) = node.and_then(|node| node.set(rtype)) else { return Vec::new() };
    set.rdatas()
        .map(|rdata| {
            let mut text = format!("{} ", set.ttl);
            write_rdata(rtype, rdata, &mut text).expect("a String takes any text");
            text
        })
        .collect()
}

impl fmt::Display for ZoneDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outside, self.rows.is_empty()) {
            (_, true) => {
                writeln!(f, "{}: the same outside and inside", self.zone)?;
                return self.end(f);
            }
            (true, false) => writeln!(f, "{}", self.zone)?,
            (false, false) => writeln!(f, "{}: there is no such zone outside", self.zone)?,
        }
        let heads = self.rows.iter().map(|row| row.name.len() + row.rtype.len() + 1);
        let head_width = heads.max().unwrap_or_default();
        let outside = self.rows.iter().flat_map(|row| &row.outside).map(String::len);
        let width = outside.max().unwrap_or_default().clamp("outside".len(), MOST_WIDTH);
        writeln!(f, "  {:head_width$}  {:width$}  inside", "", "outside")?;
        for row in &self.rows {
            let mut head = format!("{} {}", row.name, row.rtype);
            for (outside, inside) in side_by_side(row) {
                writeln!(f, "  {head:head_width$}  {outside:width$}  {inside}")?;
                head.clear();
            }
        }
        self.end(f)
    }
}

impl ZoneDiff {
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.unhidden.is_empty() {
            writeln!(f, "  public now although their own text did not change:")?;
        }
        self.unhidden.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f)
    }
}

/// A record that both see stands on one line.
fn side_by_side(row: &Row) -> Vec<(&str, &str)> {
    let outside = row.outside.iter().map(|record| {
        let inside = if row.inside.contains(record) { record.as_str() } else { "-" };
        (record.as_str(), inside)
    });
    let only_inside = row.inside.iter().filter(|record| !row.outside.contains(record));
    outside.chain(only_inside.map(|record| ("-", record.as_str()))).collect()
}
