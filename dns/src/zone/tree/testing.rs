//! Zones for tests: one record a line, `owner [ttl] TYPE rdata`, names relative to the apex.

use super::Tree;
use crate::name::Name;
use crate::rtype::Type;
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::text::read_rdata;
use crate::zone::{Position, Record};
use std::sync::Arc;

/// Seconds of a record that says none.
pub(crate) const TTL: u32 = 300;

pub(crate) fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

pub(crate) fn records(apex: &str, text: &str) -> Vec<Record> {
    let apex = name(apex);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| record(line, &apex)).collect()
}

pub(crate) fn tree(apex: &str, text: &str) -> Tree {
    Tree::build(name(apex), &records(apex, text))
}

pub(crate) fn view(zones: &[(&str, &str)]) -> View {
    let zones = zones.iter().map(|(apex, text)| (name(apex), served(apex, text)));
    View { zones: zones.collect(), ..View::default() }
}

fn served(apex: &str, text: &str) -> Served {
    if text == "broken" { Served::Broken } else { Served::Zone(Arc::new(tree(apex, text))) }
}

fn record(line: &str, apex: &Name) -> Record {
    let (owner, rest) = word(line);
    let (first, after) = word(rest);
    let (ttl, rest) = first.parse().map_or((TTL, rest), |ttl| (ttl, after));
    let (rtype, rdata) = word(rest);
    let rtype: Type = rtype.parse().unwrap_or_else(|_| panic!("no type: {line}"));
    let rdata = read_rdata(rtype, rdata, apex).unwrap_or_else(|_| panic!("bad RDATA: {line}"));
    let owner = Name::parse(owner, Some(apex)).unwrap();
    Record { owner, rtype, ttl, rdata: rdata.into(), at: Position::default(), mark: None, steer: false }
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim_start()))
}
