//! A fixture is zone text whose lines say after a bar what becomes of their record:
//!
//! ```text
//! $ORIGIN example.              a zone begins; `| internal` if outside there is none
//! ns A 192.0.2.1                public, and the same inside
//! db A 10.0.0.1 | D1            hidden, for this reason
//! @ HTTPS 1 . … | D3 1 .        outsiders see this RDATA instead
//! www A 192.0.2.1 | split       public, but gives way inside
//! www HTTPS 1 . … | inside 1 .  the inside sees this RDATA instead
//! @ MX 10 broken. | undecided   outsiders get SERVFAIL
//! ```
//! A zone without a SOA line gets one.

use super::super::*;
use crate::rtype::Type;
use crate::zone::{Mark, Position, text};

pub(super) fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

/// A zone and what its fixture says of it.
pub(super) struct Fixture {
    pub(super) zone: Zone,
    is_internal: bool,
    labels: Vec<String>,
}

pub(super) fn read(fixture: &str) -> Vec<Fixture> {
    let mut zones: Vec<Fixture> = Vec::new();
    for (line, content) in (1..).zip(fixture.lines()) {
        let (content, label) = content.split_once(" | ").unwrap_or((content, ""));
        let (content, label) = (content.trim(), label.trim().to_owned());
        if let Some(apex) = content.strip_prefix("$ORIGIN ") {
            let zone = Zone::new(name(apex), Vec::new(), Vec::new());
            zones.push(Fixture { zone, is_internal: label == "internal", labels: Vec::new() });
        } else if !content.is_empty() {
            let fixture = zones.last_mut().expect("a fixture begins with $ORIGIN");
            fixture.zone.records.push(record(content, line, &fixture.zone.apex));
            fixture.labels.push(label);
        }
    }
    zones.into_iter().map(with_soa).collect()
}

pub(super) fn with_soa(mut fixture: Fixture) -> Fixture {
    if fixture.zone.records.iter().all(|record| record.rtype != Type::SOA) {
        fixture.zone.records.push(record("@ SOA a. hostmaster 1 2 3 4 5", 0, &fixture.zone.apex));
        fixture.labels.push(if fixture.is_internal { "any".into() } else { String::new() });
    }
    fixture
}

pub(super) fn record(content: &str, line: u32, apex: &Name) -> Record {
    let (content, mark) = match content.split_once(';').map(|(before, mark)| (before, mark.trim())) {
        Some((before, "verge: public")) => (before, Some(Mark::Public)),
        Some((before, "verge: internal")) => (before, Some(Mark::Internal)),
        Some((before, "verge: outside")) => (before, Some(Mark::Outside)),
        Some((before, "verge: both")) => (before, Some(Mark::Both)),
        _ => (content, None),
    };
    let mut words = content.splitn(3, ' ');
    let owner = Name::parse(words.next().unwrap(), Some(apex)).unwrap();
    let rtype: Type = words.next().unwrap().parse().unwrap();
    let rdata = text::read_rdata(rtype, words.next().unwrap(), apex)
        .unwrap_or_else(|fault| panic!("{content}: {fault:?}"));
    let at = Position { line, ..Position::default() };
    Record { owner, rtype, ttl: 60, rdata: rdata.into(), at, mark, steer: false }
}

pub(super) fn rules() -> Rules {
    Rules {
        private: vec!["198.51.100.64/27".parse().unwrap()],
        internal_names: vec![name("int.example")],
        internal_zones: vec![name("closed.example")],
        public_zones: vec![name("33.10.in-addr.arpa"), name("lab.home.arpa")],
        unknown_zones: vec![name("broken.example")],
    }
}

/// Divides the fixture's zones in their order and in the reverse one, and holds each record to its label.
pub(super) fn check(fixture: &str) {
    let mut fixtures = read(fixture);
    check_order(&fixtures);
    fixtures.reverse();
    check_order(&fixtures);
}

pub(super) fn check_order(fixtures: &[Fixture]) {
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    for (fixture, divided) in fixtures.iter().zip(divide(&zones, &rules())) {
        let errors: Vec<_> = divided.problems.iter().filter(|it| it.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(divided.public.is_none(), fixture.is_internal, "{} is internal", fixture.zone.apex);
        for (index, expected) in fixture.labels.iter().enumerate().filter(|(_, expected)| *expected != "any")
        {
            let record = &fixture.zone.records[index];
            let line = format!("line {}: {} {}", record.at.line, record.owner, record.rtype);
            assert_eq!(label(&fixture.zone, &divided, index), *expected, "{line}");
        }
    }
}

/// The fate of a record, as fixtures say it.
pub(super) fn label(zone: &Zone, divided: &Divided, index: usize) -> String {
    let outside = divided.public.as_ref().and_then(|public| seen(zone, public, index));
    let inside = seen(zone, &divided.internal, index);
    let own = rdata_text(zone.records[index].rtype, &zone.records[index].rdata);
    let hidden = divided.hidden.iter().find(|hidden| hidden.record as usize == index);
    let extent = hidden.map(|hidden| (hidden.why.as_str(), hidden.extent));
    if divided.undecided.iter().any(|undecided| *undecided as usize == index) {
        assert_eq!((extent, outside, inside), (None, None, Some(own)), "an undecided record");
        return "undecided".into();
    }
    match (extent, outside, inside) {
        (None, Some(outside), Some(inside)) if outside == own && inside == own => String::new(),
        (None, Some(outside), Some(inside)) if outside == own => format!("inside {inside}"),
        (None, Some(outside), None) if outside == own => "split".into(),
        (Some((why, Extent::Record)), None, Some(inside)) if inside == own => why.into(),
        (Some((why, Extent::Part)), Some(outside), Some(inside)) if outside != own && inside == own => {
            format!("{why} {outside}")
        }
        (Some((why, Extent::Part)), Some(outside), Some(inside)) => {
            format!("{why} {outside} inside {inside}")
        }
        other => format!("unexpected: {other:?}"),
    }
}

pub(super) fn seen(zone: &Zone, selection: &Selection, index: usize) -> Option<String> {
    let position = &zone.records[index];
    let found = selection.records(zone).find(|seen| std::ptr::eq(seen.record, position))?;
    Some(rdata_text(found.record.rtype, found.rdata))
}

pub(super) fn rdata_text(rtype: Type, rdata: &[u8]) -> String {
    let mut out = String::new();
    text::write_rdata(rtype, rdata, &mut out).unwrap();
    // How text is quoted is not our subject.
    out.replace('"', "")
}

/// The problems of the fixture's first zone: severity, code, line.
pub(super) fn check_problems(fixture: &str, expected: &[(Severity, &str, u32)]) {
    let fixtures = read(fixture);
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = &divide(&zones, &rules())[0];
    let found: Vec<_> =
        divided.problems.iter().map(|it| (it.severity, it.code, it.at.map_or(0, |at| at.line))).collect();
    assert_eq!(found, expected, "{:#?}", divided.problems);
    let is_refused = expected.iter().any(|(severity, ..)| *severity == Severity::Error);
    assert!(!is_refused || divided.public.is_none(), "an error fails closed");
}
