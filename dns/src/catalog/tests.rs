//! Folders of zone files, edited between loads.

mod away;
mod hinted;
mod outside;
mod steered;
mod unhidden;
mod unknown;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::report::{Change, Report, State, ZoneReport};
use super::{Catalog, Loaded, Terms};
use crate::answer::{Class, Kind, Query, answer};
use crate::clock;
use crate::name::Name;
use crate::rtype::Type;
use crate::steer::Asker;
use crate::view::Which;
use crate::world::World;
use crate::zone::Severity;
use crate::zone::privacy::Rules;

const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n";

struct Folder {
    dir: TempDir,
    catalog: Catalog,
    world: World,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        Self::with_rules(files, Rules::default())
    }

    fn with_rules(files: &[(&str, &str)], rules: Rules) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("zones")).unwrap();
        let zones = dir.path().join("zones");
        let catalog = Catalog::new(vec![zones], Terms { rules, ..Terms::default() });
        let folder = Self { dir, catalog, world: World::default() };
        files.iter().for_each(|(name, body)| folder.write(name, body));
        folder
    }

    /// A zone file: the head and `body`.
    fn write(&self, name: &str, body: &str) {
        self.write_raw(name, &format!("{HEAD}{body}"));
    }

    fn write_raw(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("zones").join(name)
    }

    fn load(&mut self) -> Report {
        let Loaded { world, report } = self.catalog.load(clock::system_now()).unwrap();
        self.world = world.expect("something changed");
        report
    }

    fn ask(&self, which: Which, name: &str, qtype: Type) -> Kind {
        let name = Name::parse_absolute(name).unwrap();
        let query = Query {
            qname: name.as_wire(),
            qtype,
            qclass: Class::In,
            dnssec_ok: false,
            asker: Asker::default(),
        };
        answer(self.world.view(which), query).kind
    }

    fn outside(&self, name: &str) -> Kind {
        self.ask(Which::Public, name, Type::A)
    }

    fn inside(&self, name: &str) -> Kind {
        self.ask(Which::Internal, name, Type::A)
    }
}

/// File name and state of each zone.
fn states(report: &Report) -> Vec<(String, State)> {
    report.zones.iter().map(|zone| (file_name(zone.source.path()), zone.state)).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.zones.iter().flat_map(|zone| &zone.problems).map(|problem| problem.code).collect()
}

fn messages(report: &Report) -> String {
    let problems = report.zones.iter().flat_map(|zone| &zone.problems).chain(&report.nameless);
    problems.map(|problem| format!("{}: {}\n", problem.code, problem.message)).collect()
}

#[test]
fn only_files_that_end_in_zone_are_zones() {
    let mut folder = Folder::new(&[("a.example.zone", ""), ("b.example.zone~", ""), (".c.example.zone", "")]);
    folder.write("d.example.txt", "");
    let report = folder.load();
    assert_eq!(states(&report), [("a.example.zone".into(), State::Current)]);
    assert_eq!(folder.outside("ns.a.example"), Kind::Positive);
    assert_eq!(folder.outside("ns.b.example"), Kind::NoZone);
}

#[test]
fn an_edit_is_served_and_told_by_view() {
    let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n")]);
    assert_eq!(folder.load().zones[0].change, Change::Added);
    folder.write("a.example.zone", "x A 203.0.113.1\ndb A 10.0.0.5\n");
    let report = folder.load();
    let Change::Names { public, internal } = &report.zones[0].change else { panic!("no change") };
    assert_eq!((public.count, internal.some.as_slice()), (0, &["db.a.example.".to_owned()][..]));
    assert_eq!(
        (folder.outside("db.a.example"), folder.inside("db.a.example")),
        (Kind::NxDomain, Kind::Positive)
    );
}

#[test]
fn nothing_new_makes_no_new_world() {
    let mut folder = Folder::new(&[("a.example.zone", "")]);
    folder.load();
    folder.write("a.example.zone", "");
    assert!(folder.catalog.load(clock::system_now()).unwrap().world.is_none());
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_stops_nobody() {
    let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n"), ("b.example.zone", "")]);
    folder.load();
    folder.write("a.example.zone", "x A not-an-address\n");
    folder.write("b.example.zone", "y A 203.0.113.2\n");
    let report = folder.load();
    let expected = [("a.example.zone".into(), State::Previous), ("b.example.zone".into(), State::Current)];
    assert_eq!(states(&report), expected);
    assert_eq!(
        (folder.outside("x.a.example"), folder.outside("y.b.example")),
        (Kind::Positive, Kind::Positive)
    );
    folder.write("a.example.zone", "x A 203.0.113.9\n");
    assert_eq!(states(&folder.load())[0].1, State::Current);
}

#[test]
fn half_a_file_and_an_empty_file_change_nothing() {
    for text in ["", "$TTL 60\n@ SOA ns hostmaster 1 2h 30m", "@ SOA (", "\0\0\0", "x A 203.0.113.1\n"] {
        let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n")]);
        folder.load();
        folder.write_raw("a.example.zone", text);
        assert_eq!(states(&folder.load())[0].1, State::Previous, "{text:?}");
        assert_eq!(folder.outside("x.a.example"), Kind::Positive, "{text:?}");
    }
}

#[test]
fn a_zone_that_never_was_good_is_servfail_and_not_its_parents_business() {
    let mut folder =
        Folder::new(&[("example.zone", "*.sub A 203.0.113.1\n"), ("sub.example.zone", "x A nonsense\n")]);
    folder.load();
    for name in ["sub.example", "x.sub.example", "y.z.sub.example"] {
        assert_eq!(folder.outside(name), Kind::BrokenZone, "{name}");
        assert_eq!(folder.inside(name), Kind::BrokenZone, "{name}");
    }
    assert_eq!(folder.outside("ns.example"), Kind::Positive);
}

#[test]
fn a_broken_internal_zone_is_as_if_it_was_not_there_outside() {
    let rules =
        || Rules { internal_zones: vec![Name::parse_absolute("lab.example").unwrap()], ..Rules::default() };
    for (file, name) in [
        ("lab.example.zone", "x.lab.example"),
        ("corp.internal.zone", "x.corp.internal"),
        ("10.in-addr.arpa.zone", "1.0.0.10.in-addr.arpa"),
    ] {
        let mut folder = Folder::with_rules(&[(file, "x A nonsense\n")], rules());
        folder.load();
        assert_eq!((folder.outside(name), folder.inside(name)), (Kind::NoZone, Kind::BrokenZone), "{name}");
    }
}

#[test]
fn a_vanished_file_removes_its_zone() {
    let mut folder = Folder::new(&[("a.example.zone", ""), ("b.example.zone", "")]);
    folder.load();
    fs::remove_file(folder.path("a.example.zone")).unwrap();
    let report = folder.load();
    assert_eq!(report.removed, [Name::parse_absolute("a.example").unwrap()]);
    assert_eq!(
        (folder.outside("ns.a.example"), folder.outside("ns.b.example")),
        (Kind::NoZone, Kind::Positive)
    );
}

#[test]
fn two_files_for_one_zone_are_an_error_that_names_both() {
    let mut folder = Folder::new(&[]);
    folder.write_raw("one.zone", &format!("$ORIGIN a.example.\n{HEAD}x A 203.0.113.1\n"));
    folder.load();
    folder.write_raw("other.zone", &format!("$ORIGIN a.example.\n{HEAD}"));
    let report = folder.load();
    let said = messages(&report);
    assert!(said.contains("two-files") && said.contains("one.zone") && said.contains("other.zone"), "{said}");
    assert_eq!((states(&report)[0].1, folder.outside("x.a.example")), (State::Previous, Kind::Positive));
    fs::remove_file(folder.path("other.zone")).unwrap();
    assert_eq!(states(&folder.load())[0].1, State::Current);
}

#[test]
fn the_file_that_is_named_after_the_zone_outweighs_a_copy_of_any_name() {
    for copy in ["a.example.backup.zone", "0-old.zone"] {
        let mut folder = Folder::new(&[("a.example.zone", "www A 203.0.113.1\n")]);
        folder.write_raw(copy, &format!("$ORIGIN a.example.\n{HEAD}www A 203.0.113.1\n"));
        assert!(messages(&folder.load()).contains(copy));
        folder.write("a.example.zone", "www A 10.0.0.1\n");
        let report = folder.load();
        assert_eq!(states(&report), [("a.example.zone".into(), State::Current)]);
        assert_eq!(folder.outside("www.a.example"), Kind::NxDomain, "{copy}");
        let told = report.zones[0].problems.iter().find(|problem| problem.code == "two-files").unwrap();
        assert_eq!(told.severity, Severity::Warning);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_and_keeps_the_last_good_version() {
    let mut folder = Folder::new(&[]);
    let elsewhere = folder.dir.path().join("s.example.zone");
    fs::write(&elsewhere, format!("{HEAD}x A 203.0.113.1\n")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path("s.example.zone")).unwrap();
    folder.load();
    fs::remove_file(&elsewhere).unwrap();
    let report = folder.load();
    assert!(messages(&report).contains("s.example.zone: the link leads to"), "{}", messages(&report));
    assert_eq!((states(&report)[0].1, folder.outside("x.s.example")), (State::Previous, Kind::Positive));
}

#[test]
fn a_file_named_after_no_zone_is_told_and_stops_nobody() {
    let mut folder = Folder::new(&[("a.example.zone", ""), ("b..example.zone", "")]);
    let report = folder.load();
    assert!(messages(&report).contains("b..example.zone"), "{}", messages(&report));
    assert_eq!(folder.outside("ns.a.example"), Kind::Positive);
}

#[test]
fn includes_stay_in_the_folder() {
    for (include, link_to, served) in [
        ("hosts.inc", None, true),
        ("sub/../hosts.inc", None, true),
        ("../outside.inc", None, false),
        ("sub/../../outside.inc", None, false),
        ("link.inc", Some("../outside.inc"), false),
        ("link.inc", Some("hosts.inc"), true),
        ("/etc/hostname", None, false),
        ("missing.inc", None, false),
    ] {
        let mut folder = Folder::new(&[("a.example.zone", &format!("$INCLUDE {include}\n"))]);
        fs::create_dir(folder.path("sub")).unwrap();
        folder.write_raw("hosts.inc", "x A 203.0.113.1\n");
        folder.write_raw("../outside.inc", "x A 203.0.113.1\n");
        if let Some(target) = link_to {
            std::os::unix::fs::symlink(target, folder.path("link.inc")).unwrap();
        }
        let state = states(&folder.load())[0].1;
        assert_eq!(state == State::Current, served, "{include} {link_to:?}");
        let expected = if served { Kind::Positive } else { Kind::BrokenZone };
        assert_eq!(folder.outside("x.a.example"), expected, "{include} {link_to:?}");
    }
}

#[test]
fn an_edit_of_an_included_file_is_seen() {
    let mut folder = Folder::new(&[("a.example.zone", "$INCLUDE hosts.inc\n")]);
    folder.write_raw("hosts.inc", "x A 203.0.113.1\n");
    folder.load();
    folder.write_raw("hosts.inc", "y A 203.0.113.1\n");
    folder.load();
    assert_eq!(
        (folder.outside("x.a.example"), folder.outside("y.a.example")),
        (Kind::NxDomain, Kind::Positive)
    );
}

#[test]
fn a_zone_that_loses_all_its_public_servers_is_not_there_outside() {
    // The only name server of a.example becomes internal by an edit of b.example, then a.example itself is edited.
    let zone =
        |ns: &str| format!("$TTL 60\n@ SOA {ns} hostmaster 1 2h 30m 2w 5m\n@ NS {ns}\nx A 203.0.113.1\n");
    let mut folder = Folder::new(&[("b.example.zone", "host A 203.0.113.2\n")]);
    folder.write_raw("a.example.zone", &zone("host.b.example."));
    assert!(folder.load().zones.iter().all(|zone| zone.state == State::Current));
    folder.write("b.example.zone", "host A 10.0.0.2\n");
    let report = folder.load();
    assert!(codes(&report).contains(&"D13"), "{}", messages(&report));
    assert_eq!(folder.outside("host.b.example"), Kind::NxDomain);
    // A fault that concerns outsiders takes nothing from insiders.
    assert_eq!(report.zones[0].state, State::Current);
    assert_eq!((folder.outside("x.a.example"), folder.inside("x.a.example")), (Kind::NoZone, Kind::Positive));
}

/// F06: the last good text is served, but by the rules of now.
#[test]
fn what_is_hidden_now_is_hidden_in_a_zone_that_serves_its_last_good_text() {
    let mut folder = Folder::new(&[
        ("a.example.zone", "secret A 203.0.113.99\n"),
        ("b.example.zone", "alias CNAME secret.a.example.\nx A 203.0.113.7\n"),
    ]);
    folder.load();
    folder.write("b.example.zone", "alias CNAME secret.a.example.\nx A not-an-address\n");
    folder.write("a.example.zone", "secret A 10.0.0.99\n");
    assert_eq!(states(&folder.load())[1].1, State::Previous);
    assert_eq!(
        (folder.outside("alias.b.example"), folder.inside("alias.b.example")),
        (Kind::NxDomain, Kind::Positive)
    );
    assert_eq!(folder.outside("x.b.example"), Kind::Positive);
}

#[test]
fn a_folder_that_vanishes_takes_no_zone_with_it() {
    let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n")]);
    folder.load();
    let (zones, away) = (folder.path(""), folder.dir.path().join("away"));
    fs::rename(&zones, &away).unwrap();
    assert!(folder.catalog.load(clock::system_now()).is_err());
    fs::rename(&away, &zones).unwrap();
    folder.write("a.example.zone", "x A not-an-address\n");
    assert_eq!(states(&folder.load())[0].1, State::Previous);
    assert_eq!(folder.outside("x.a.example"), Kind::Positive);
}

#[test]
fn an_edit_touches_only_zones_that_lead_to_it() {
    let mut folder = Folder::new(&[
        ("a.example.zone", "x A 203.0.113.1\n"),
        ("b.example.zone", "to CNAME x.a.example.\n"),
        ("c.example.zone", "y A 203.0.113.2\ndb A 10.0.0.1\n"),
    ]);
    let before = folder.load();
    folder.write("a.example.zone", "x A 10.0.0.5\n");
    let after = folder.load();
    let kept = |at: usize| {
        let (before, after): (&ZoneReport, &ZoneReport) = (&before.zones[at], &after.zones[at]);
        let one = Arc::ptr_eq(before.divided.as_ref().unwrap(), after.divided.as_ref().unwrap());
        let two = Arc::ptr_eq(before.public.as_ref().unwrap(), after.public.as_ref().unwrap());
        let three = Arc::ptr_eq(before.internal.as_ref().unwrap(), after.internal.as_ref().unwrap());
        [one, two, three]
    };
    assert_eq!([kept(0), kept(1), kept(2)], [[false; 3], [false; 3], [true; 3]]);
    assert_eq!(folder.outside("to.b.example"), Kind::NxDomain);
}

#[test]
fn zones_that_come_and_go_are_divided_with_all_others() {
    let mut folder = Folder::new(&[("b.example.zone", "to CNAME x.a.example.\n")]);
    folder.load();
    assert_eq!(folder.outside("to.b.example"), Kind::Partial);
    folder.write("a.example.zone", "x A 10.0.0.5\n");
    folder.load();
    assert_eq!(folder.outside("to.b.example"), Kind::NxDomain);
    fs::remove_file(folder.path("a.example.zone")).unwrap();
    assert_eq!(folder.load().removed.len(), 1);
    assert_eq!(folder.outside("to.b.example"), Kind::Partial);
}

#[test]
fn a_zone_at_fault_because_of_another_recovers_with_it() {
    let mut folder = Folder::new(&[("a.example.zone", "ns2 A 203.0.113.1\n"), ("b.example.zone", "")]);
    let text = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns2.a.example.\nwww A 203.0.113.9\n";
    folder.write_raw("b.example.zone", text);
    folder.load();
    folder.write("a.example.zone", "ns2 A 10.0.0.1\n");
    let report = folder.load();
    assert!(!report.is_good(), "{}", messages(&report));
    assert_eq!(folder.outside("www.b.example"), Kind::NoZone);
    folder.write("a.example.zone", "ns2 A 203.0.113.2\n");
    let report = folder.load();
    assert!(report.zones.iter().all(|zone| zone.state == State::Current), "{}", messages(&report));
}

#[test]
fn a_serial_that_was_not_raised_is_told_once() {
    let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n"), ("b.example.zone", "")]);
    folder.load();
    folder.write("a.example.zone", "x A 203.0.113.2\n");
    let news = |report: &Report| -> Vec<&'static str> {
        report.zones.iter().flat_map(|zone| &zone.news).map(|problem| problem.code).collect()
    };
    assert!(news(&folder.load()).contains(&"serial-not-raised"));
    folder.write("b.example.zone", "x A 203.0.113.2\n");
    assert_eq!(news(&folder.load()), ["serial-not-raised"]);
}

#[test]
fn only_trees_that_are_not_in_service_are_moved_in_memory() {
    let bodies = |n: u8| format!("x A 203.0.113.{n}\ndb A 10.0.0.{n}\n");
    let mut folder = Folder::new(&[("a.example.zone", &bodies(1)), ("b.example.zone", &bodies(1))]);
    folder.load();
    let apexes = |world: &World, before: &World| {
        let mut apexes: Vec<_> = world.new_trees(before).iter().map(|(apex, _)| apex.to_string()).collect();
        apexes.sort();
        apexes
    };
    let all = ["a.example.", "a.example.", "b.example.", "b.example."];
    assert_eq!(apexes(&folder.world, &World::default()), all, "each has a tree for each view");
    folder.write("b.example.zone", &bodies(2));
    let before = std::mem::take(&mut folder.world);
    folder.load();
    assert_eq!(apexes(&folder.world, &before), ["b.example.", "b.example."]);
    assert!(apexes(&folder.world, &folder.world).is_empty());
}

/// F15: SERVFAIL would show that the zone exists, and would stand before what the zone above answers.
#[test]
fn a_broken_zone_of_which_all_is_hidden_is_not_there_outside() {
    let mut folder = Folder::new(&[("example.com.zone", "* A 203.0.113.200\n")]);
    let lab = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 10.0.0.53\ndb A 10.0.0.x\n";
    folder.write_raw("lab.example.com.zone", lab);
    folder.write("shop.example.com.zone", "x A nonsense\n");
    folder.load();
    assert_eq!(folder.outside("x.lab.example.com"), Kind::Positive);
    assert_eq!(folder.inside("x.lab.example.com"), Kind::BrokenZone);
    assert_eq!(folder.outside("x.shop.example.com"), Kind::BrokenZone);
}
