//! Do we read zone text as the field reads it? Debian's `named-checkzone`, `nsd-checkzone` and `kzonecheck` beside our reader.
//!
//! `oracles` reads three tables, all of which are ours to extend:
//! - `dns/src/zone/text/forms.txt`: a text form of every type. Oracles that know the type must take it. If
//!   one prints what it understood (BIND, NSD), that must be our bytes.
//! - `dns/src/zone/text/faults.txt`: RDATA that we refuse. At least one of the three refuses it, too.
//! - `tests/oracles/{good,bad}.txt`: odd zone files. The good ones mean the same to all; a bad one is refused by us and by at
//!   least one of them.
//!
//! Where the others differ for a reason of their own, that stands in [`justified`]. It is a program and not a test, because `cargo test` must pass where no
//! foreign program is installed.

#![expect(clippy::print_stdout, reason = "a program that reports")]

mod checkers;
mod justified;
mod zones;

use std::process::ExitCode;

use checkers::{Checker, Said};
use verge_dns::rtype::Type;
use zones::Records;

fn main() -> ExitCode {
    let scratch = match tempfile::tempdir() {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!("oracles: no scratch folder: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut tally = Tally { passed: 0, failed: Vec::new() };
    let checkers = Checker::all(scratch.path());
    for form in rows(include_str!("../../dns/src/zone/text/forms.txt")) {
        tally.form(&checkers, &form);
    }
    for fault in rows(include_str!("../../dns/src/zone/text/faults.txt")) {
        tally.refused(&checkers, &format!("{} {}", fault[0], fault[1]), &zones::around(&fault[0], &fault[1]));
    }
    for (title, text) in zones::corpus(include_str!("good.txt")) {
        tally.good(&checkers, title, text);
    }
    for (title, text) in zones::corpus(include_str!("bad.txt")) {
        tally.refused(&checkers, title, text);
    }
    for failure in &tally.failed {
        println!("FAILED {failure}");
    }
    println!("oracles: {} passed, {} failed", tally.passed, tally.failed.len());
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lines of columns, without comments.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(|column| column.trim().to_owned()).collect()).collect()
}

struct Tally {
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    /// A text form of a type: whoever knows it takes it, and prints our bytes if it prints.
    fn form(&mut self, checkers: &[Checker], form: &[String]) {
        let (mnemonic, wire) = (&form[0], form[2].replace(' ', ""));
        let title = format!("{mnemonic} {}", form[1]);
        let zone = zones::around(mnemonic, &form[1]);
        let rtype: Type = mnemonic.parse().expect("a type of the table");
        let mut known = 0;
        for checker in checkers {
            let complaint = match checker.check(&zone) {
                Said::Refused(why) => Some(format!("refuses: {why}")),
                Said::Fine => None,
                Said::Printed(records) => {
                    let theirs = zones::rdata_of(&records, rtype);
                    (!checker.prints(&theirs, &wire)).then(|| format!("understands: {theirs:?}"))
                }
            };
            known += usize::from(complaint.is_none());
            self.judge(checker, &title, complaint, justified::form(checker.name(), mnemonic, &title));
        }
        if known == 0 && !justified::is_ours_alone(mnemonic, &title) {
            self.failed.push(format!("{title}: nobody else knows it"));
        }
    }

    /// A zone file that means the same to all.
    fn good(&mut self, checkers: &[Checker], title: &str, text: &str) {
        let ours = match zones::read(text) {
            Ok(ours) => ours,
            Err(why) => return self.failed.push(format!("{title}: verge refuses: {why}")),
        };
        for checker in checkers {
            let complaint = match checker.check(text) {
                Said::Fine => None,
                Said::Printed(theirs) => (theirs != ours).then(|| difference(&ours, &theirs)),
                Said::Refused(why) => Some(format!("refuses: {why}")),
            };
            self.judge(checker, title, complaint, justified::zone(checker.name(), title));
        }
        // BIND reads our text as we meant it.
        match checkers[0].check(&zones::written(&ours)) {
            Said::Printed(theirs) if theirs == ours => self.passed += 1,
            _ => self.failed.push(format!("{title}: BIND does not understand what we write")),
        }
    }

    /// Text that we refuse, and not as the only ones.
    fn refused(&mut self, checkers: &[Checker], title: &str, text: &str) {
        if zones::read(text).is_ok() {
            return self.failed.push(format!("{title}: verge takes it"));
        }
        let others =
            checkers.iter().filter(|checker| matches!(checker.check(text), Said::Refused(_))).count();
        match others {
            0 => self.failed.push(format!("{title}: only verge refuses it")),
            _ => self.passed += 1,
        }
    }

    fn judge(&mut self, checker: &Checker, title: &str, complaint: Option<String>, is_on_purpose: bool) {
        match complaint {
            Some(complaint) if !is_on_purpose => {
                self.failed.push(format!("{title}: {} {complaint}", checker.name()));
            }
            _ => self.passed += 1,
        }
    }
}

fn difference(ours: &Records, theirs: &Records) -> String {
    format!(
        "understands {:?} and not {:?}",
        theirs.difference(ours).collect::<Vec<_>>(),
        ours.difference(theirs).collect::<Vec<_>>()
    )
}
