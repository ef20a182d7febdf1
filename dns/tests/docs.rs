//! docs/privacy.md: every id that the program prints has a heading there, and every example says what is so.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read fails the test")]

#[path = "privacy/ask.rs"]
#[expect(dead_code, reason = "only the answers are asked for here")]
mod ask;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use verge_dns::name::Name;
use verge_dns::zone::file::{self, Include, NotIncluded};
use verge_dns::zone::privacy::{Divided, Rules, divide};
use verge_dns::zone::{Record, Severity, SourceFile, Zone, text};

const PAGE: &str = include_str!("../../docs/privacy.md");

fn headings() -> BTreeSet<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect()
}

/// Every string literal in the sources that is an id of a rule, tests left out.
fn printed(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            printed(&path, found);
        } else if path.is_file() && name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.extend(
                lines
                    .flat_map(|line| line.split('"').skip(1).step_by(2))
                    .filter(|it| is_id(it))
                    .map(str::to_owned),
            );
        }
    }
}

fn is_id(text: &str) -> bool {
    let number = text.strip_prefix(['D', 'V', 'S']).unwrap_or_default();
    (1..=2).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit())
}

#[test]
fn every_id_that_the_program_prints_has_a_heading() {
    let mut ids = BTreeSet::new();
    printed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut ids);
    assert!(ids.len() > 10, "{ids:?}");
    // The words that stand where an id could stand.
    ids.extend(["mark", "private", "internal_names", "special-use", "public-zone"].map(str::to_owned));
    let headings = headings();
    let missing: Vec<_> = ids.iter().filter(|id| !headings.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "no heading for {missing:?}");
}

#[test]
fn every_rule_of_the_catalogue_has_a_heading() {
    let headings = headings();
    for (letter, last) in [("D", 20), ("V", 9), ("S", 3)] {
        for number in 1..=last {
            assert!(headings.contains(format!("{letter}{number}").as_str()), "{letter}{number}");
        }
    }
}

/// An example: the apex, and lines with what outsiders get.
struct Example {
    apex: Name,
    lines: Vec<(String, String)>,
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_open = false;
    for line in PAGE.lines() {
        if let Some(apex) = line.strip_prefix("```zone") {
            let apex = if apex.is_empty() { "example.com" } else { apex.trim() };
            examples.push(Example { apex: Name::parse_absolute(apex).unwrap(), lines: Vec::new() });
            is_open = true;
        } else if line == "```" {
            is_open = false;
        } else if is_open {
            let (record, outside) = line.split_once("; outside: ").unwrap_or_else(|| panic!("{line}"));
            examples.last_mut().unwrap().lines.push((record.to_owned(), outside.to_owned()));
        }
    }
    examples
}

fn rules() -> Rules {
    let name = |text: &str| Name::parse_absolute(text).unwrap();
    Rules {
        private: vec!["198.51.100.64/27".parse().unwrap()],
        internal_names: vec![name("router.example.com")],
        internal_zones: vec![name("corp.example.net")],
        public_zones: vec![name("10.in-addr.arpa")],
        unknown_zones: vec![name("partner.example")],
    }
}

/// The text above the lines of each example.
const HEAD: &str = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 2w 5m\n";
const HEAD_RECORDS: usize = 3;

fn read(example: &Example) -> Zone {
    let servers = match example.apex.to_string().ends_with("arpa.") {
        true => "@ NS ns1.example.com.\n@ NS ns2.example.com.\n",
        false => "@ NS ns1\nns1 A 192.0.2.53\n",
    };
    let lines: String = example.lines.iter().map(|(record, _)| format!("{record}\n")).collect();
    let text = format!("{HEAD}{servers}{lines}");
    let source = SourceFile { path: "example.zone".into(), text: text.as_bytes().into() };
    let mut load = |_: Include<'_>| Err(NotIncluded("no".to_owned()));
    let parsed = file::read(example.apex.clone(), source, &mut load);
    let errors: Vec<_> = parsed.problems.iter().filter(|it| it.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{text}: {errors:?}");
    parsed.zone.unwrap()
}

/// The RDATA of a record outside; none if outsiders do not get it.
fn shown(zone: &Zone, divided: &Divided, record: &Record) -> Option<String> {
    let seen = divided.public.as_ref()?.records(zone).find(|seen| std::ptr::eq(seen.record, record))?;
    let mut out = String::new();
    text::write_rdata(record.rtype, seen.rdata, &mut out).unwrap();
    // How text is quoted is not the page's subject.
    Some(out.replace('"', ""))
}

fn written(record: &Record) -> String {
    let mut out = String::new();
    text::write_rdata(record.rtype, &record.rdata, &mut out).unwrap();
    out.replace('"', "")
}

#[test]
fn every_example_says_what_outsiders_get() {
    let examples = examples();
    assert!(examples.len() > 15, "{}", examples.len());
    for example in &examples {
        let zone = read(example);
        let divided = divide(&[&zone], &rules());
        let world = ask::divided_world(&[&zone], &divided, &rules());
        let records = &zone.records[HEAD_RECORDS..];
        assert_eq!(records.len(), example.lines.len());
        for (record, (line, expected)) in records.iter().zip(&example.lines) {
            let question = ask::Question { name: record.owner.clone(), rtype: record.rtype };
            let answer = ask::ask(&world, &question);
            let (rcode, answers) = (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]]));
            let shown = shown(&zone, &divided[0], record);
            let found = match (rcode, &shown) {
                (3, None) => "NXDOMAIN".to_owned(),
                (5, None) => "REFUSED".to_owned(),
                (2, None) => "SERVFAIL".to_owned(),
                (0, None) if answers == 0 => "no data".to_owned(),
                (0, None) => "hidden".to_owned(),
                (0, Some(rdata)) if *rdata == written(record) => "answered".to_owned(),
                (0, Some(rdata)) => format!("answered as {rdata}"),
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(found, *expected, "{line}");
        }
    }
}
