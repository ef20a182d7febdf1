//! Whatever a zone file holds: no panic in reading, checking, dividing and showing what is wrong; every problem has a place in
//! the text; and a zone that was read is the same when it is written out and read again.

#![no_main]

use std::path::PathBuf;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::zone::check::{self, Context};
use verge_dns::zone::diagnostic::{Style, render};
use verge_dns::zone::file::{self, NotIncluded, Parsed};
use verge_dns::zone::privacy::{Rules, divide, trees};
use verge_dns::zone::text::write_record;
use verge_dns::zone::tree::Tree;
use verge_dns::zone::{Mark, Problem, SourceFile, Zone, address};

/// `$GENERATE` makes many records of few bytes; dividing them all would leave no time for other inputs.
const MOST_RECORDS: usize = 2000;

fuzz_target!(|text: &[u8]| {
    let apex = Name::parse_absolute("fuzz.test.").expect("a name");
    let parsed = read(apex, text);
    show(&parsed.problems, &parsed.files);
    let context = Context {
        hidden_address: &|address| address::hidden(address, &[]).is_some(),
        internal_name: &|_| false,
    };
    if let Some(draft) = &parsed.draft
        && draft.records.len() <= MOST_RECORDS
    {
        show(&check::partial(draft, &Tree::of(draft), context), &parsed.files);
    }
    let Some(zone) = parsed.zone else { return };
    if zone.records.len() <= MOST_RECORDS {
        show(&check::check(&zone, &Tree::of(&zone), context), &parsed.files);
        let divided = divide(&[&zone], &Rules::default()).remove(0);
        show(&divided.problems, &parsed.files);
        let trees = trees(&zone, &divided);
        let has_outside = zone.records.iter().any(|record| record.mark == Some(Mark::Outside));
        let outside = trees.public.map_or(0, |tree| tree.len());
        assert!(has_outside || trees.internal.len() >= outside, "outside there is more");
        comes_back(&zone);
    }
});

fn read(apex: Name, text: &[u8]) -> Parsed {
    let file = SourceFile { path: PathBuf::from("fuzz.zone"), text: Arc::from(text) };
    let none = &mut |_: file::Include<'_>| Err(NotIncluded("there is no other file".to_owned()));
    file::read(apex, file, none)
}

fn show(problems: &[Problem], files: &[SourceFile]) {
    for problem in problems {
        let shown = render(problem, files, Style::Plain);
        assert!(shown.contains(problem.code), "{shown}");
        if let Some(at) = problem.at {
            let text = &files[at.file as usize].text;
            let lines = text.split(|byte| *byte == b'\n').count();
            assert!(at.line >= 1 && at.line as usize <= lines, "line {} of {lines}: {shown}", at.line);
            assert!(at.column >= 1 && at.width >= 1, "{shown}");
        }
    }
}

fn comes_back(zone: &Zone) {
    let mut text = String::new();
    for record in &zone.records {
        write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut text)
            .expect("a string grows");
        text.push('\n');
    }
    let again = read(zone.apex.clone(), text.as_bytes());
    let Some(again) = again.zone else { panic!("{text}\n{:?}", again.problems) };
    assert!(plain(zone).eq(plain(&again)), "{text}");
}

fn plain(zone: &Zone) -> impl Iterator<Item = (&Name, u32, Type, &[u8])> {
    zone.records.iter().map(|record| (&record.owner, record.ttl, record.rtype, &*record.rdata))
}
