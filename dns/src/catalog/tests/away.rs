//! Files and folders that are away for a moment, or being written.

use std::fs;
use std::time::Duration;

use super::*;
use crate::catalog::HeldCopy;
use crate::world::Standing;

#[test]
fn a_file_that_is_away_is_served_and_hides_for_its_grace() {
    let mut folder = Folder::new(&[
        ("a.example.zone", "wiki CNAME db.lab.test.\n"),
        ("lab.test.zone", "db A 10.0.0.5\nx A 203.0.113.1\n"),
    ]);
    folder.catalog.terms.grace = Duration::from_secs(60);
    folder.load();
    let away = folder.dir.path().join("away");
    for (how, end) in [("in time", 59), ("late", 60), ("on demand", 1)] {
        let start = clock::system_now();
        fs::rename(folder.path("lab.test.zone"), &away).unwrap();
        let report = folder.load();
        assert_eq!(states(&report)[1].1, State::Previous, "{how}");
        assert!(codes(&report).contains(&"gone"), "{how}");
        assert_eq!(folder.outside("x.lab.test"), Kind::Positive, "{how}");
        assert_eq!(folder.outside("wiki.a.example"), Kind::NxDomain, "{how}: it names a hidden host");
        assert!(
            folder.catalog.grace_left(start + Duration::from_secs(50)).unwrap() <= Duration::from_secs(11)
        );
        match how {
            "in time" => {
                let now = start + Duration::from_secs(end);
                assert!(folder.catalog.load(now).unwrap().world.is_none());
            }
            "on demand" => {
                folder.catalog.allow();
                folder.load();
                assert_eq!(folder.outside("x.lab.test"), Kind::NoZone);
            }
            _ => {
                // The clock has gone on a little since `start`.
                let now = clock::system_now() + Duration::from_secs(end);
                let loaded = folder.catalog.load(now).unwrap();
                assert_eq!(loaded.report.removed, [Name::parse_absolute("lab.test").unwrap()]);
            }
        }
        fs::rename(&away, folder.path("lab.test.zone")).unwrap();
        assert!(folder.load().zones.iter().all(|zone| zone.state == State::Current), "{how}");
        assert_eq!(folder.catalog.grace_left(start), None);
    }
}

#[test]
fn a_file_that_only_has_another_name_is_not_gone() {
    let mut folder = Folder::new(&[]);
    folder.catalog.terms.grace = Duration::from_secs(60);
    folder.write_raw("a.zone", &format!("$ORIGIN a.example.\n{HEAD}x A 203.0.113.1\n"));
    folder.write("b.example.zone", "");
    folder.load();
    fs::rename(folder.path("a.zone"), folder.path("other.zone")).unwrap();
    let report = folder.load();
    assert_eq!(
        states(&report),
        [("b.example.zone".into(), State::Current), ("other.zone".into(), State::Current)]
    );
    assert_eq!(folder.outside("x.a.example"), Kind::Positive);
}

#[test]
fn a_folder_that_is_empty_at_once_is_an_error_and_keeps_all() {
    let mut folder = Folder::new(&[("a.example.zone", "x A 203.0.113.1\n")]);
    folder.load();
    fs::remove_file(folder.path("a.example.zone")).unwrap();
    for _ in 0..2 {
        folder.catalog.allow();
        let error = folder.catalog.load(clock::system_now()).err().unwrap().to_string();
        assert!(
            error.ends_with("no zone file is left here; put one back, or restart to serve none"),
            "{error}"
        );
    }
    folder.write("a.example.zone", "x A 203.0.113.2\n");
    assert_eq!(states(&folder.load())[0].1, State::Current);
}

#[test]
fn a_file_that_says_no_longer_which_zone_it_is_for_stays_with_its_zone() {
    let text = format!("$ORIGIN a.example.\n{HEAD}x A 203.0.113.1\n");
    for broken in [Some(""), Some("$ORIG"), Some("$ORIGIN b.example.\n@ SOA (\n"), None] {
        let mut folder = Folder::new(&[("b.example.zone", "")]);
        folder.write_raw("corp.zone", &text);
        folder.load();
        match broken {
            Some(text) => folder.write_raw("corp.zone", text),
            None => {
                fs::remove_file(folder.path("corp.zone")).unwrap();
                std::os::unix::fs::symlink("nowhere", folder.path("corp.zone")).unwrap();
            }
        }
        let report = folder.load();
        assert_eq!(states(&report)[1], ("corp.zone".into(), State::Previous), "{broken:?}");
        assert_eq!(folder.outside("x.a.example"), Kind::Positive, "{broken:?}");
        assert!(report.removed.is_empty(), "{broken:?}");
    }
}

#[test]
fn a_file_without_a_line_end_at_its_end_is_being_written() {
    let whole = format!("{HEAD}intra CNAME db\nrouter A 203.0.113.1 ; verge: internal\ndb A 10.0.0.5\n");
    for bytes in 1..whole.len() {
        let mut folder = Folder::new(&[("b.example.zone", "")]);
        folder.write_raw("a.example.zone", &whole);
        folder.write_raw("b.example.zone", &format!("{HEAD}$INCLUDE part\n"));
        folder.write_raw("part", &whole[HEAD.len()..]);
        folder.load();
        let torn = &whole[..bytes];
        if torn.ends_with('\n') {
            continue;
        }
        folder.write_raw("a.example.zone", torn);
        folder.write_raw("part", torn.get(HEAD.len()..).filter(|text| !text.is_empty()).unwrap_or("x"));
        let report = folder.load();
        assert_eq!(
            codes(&report).iter().filter(|code| **code == crate::zone::file::UNFINISHED).count(),
            2,
            "{torn}"
        );
        for name in ["intra.a.example", "router.a.example", "intra.b.example", "router.b.example"] {
            assert_eq!(folder.outside(name), Kind::NxDomain, "{name}: {torn}");
        }
    }
}

#[test]
fn a_new_file_makes_no_zone_before_it_is_good_once() {
    let mut folder =
        Folder::new(&[("example.zone", "*.sub A 203.0.113.1\n"), ("first.test.zone", "x A no\n")]);
    folder.load();
    for text in ["", "x A nonsense\n"] {
        folder.write_raw("sub.example.zone", text);
        folder.write_raw("other.test.zone", text);
        let report = folder.load();
        assert!(
            report
                .zones
                .iter()
                .any(|zone| zone.apex.to_string() == "sub.example." && zone.state == State::Broken)
        );
        assert_eq!(folder.outside("x.sub.example"), Kind::Positive, "the parent serves on");
        assert_eq!(folder.inside("x.sub.example"), Kind::Positive, "the parent serves on");
        assert_eq!(folder.outside("x.other.test"), Kind::NoZone);
        assert_eq!(folder.outside("x.first.test"), Kind::BrokenZone, "it was there at the first load");
    }
    folder.write("sub.example.zone", "y A 203.0.113.2\n");
    folder.load();
    assert_eq!(
        (folder.outside("x.sub.example"), folder.outside("y.sub.example")),
        (Kind::NxDomain, Kind::Positive)
    );
}

/// A server that was promoted leads the zone by its file; its copy is older, or not there.
#[test]
fn a_zone_that_this_server_leads_is_served_for_its_grace_when_its_file_is_away() {
    for (how, end, is_led) in [("in time", 59, true), ("late", 60, false), ("on demand", 1, false)] {
        let mut folder =
            Folder::new(&[("a.example.zone", "x A 203.0.113.1\n"), ("b.example.zone", "x A 203.0.113.1\n")]);
        let apex = Name::parse_absolute("a.example").unwrap();
        let copy = HeldCopy::new(apex.clone(), Which::Public, &folder.dir.path().join("copies"), false);
        copy.lead(7).unwrap();
        folder.catalog.terms.copies = vec![copy];
        folder.catalog.terms.grace = Duration::from_secs(60);
        folder.load();
        let start = clock::system_now();
        fs::remove_file(folder.path("a.example.zone")).unwrap();
        let report = folder.load();
        assert_eq!(folder.outside("x.a.example"), Kind::Positive, "{how}");
        assert!(codes(&report).contains(&"gone"), "{how}");
        if how == "on demand" {
            folder.catalog.allow();
        }
        // The clock has gone on a little since `start`.
        let later = if is_led { start } else { clock::system_now() };
        if let Some(world) = folder.catalog.load(later + Duration::from_secs(end)).unwrap().world {
            folder.world = world;
        }
        // A zone whose copy has not come is SERVFAIL, and no parent's.
        let expected = if is_led { Kind::Positive } else { Kind::BrokenZone };
        assert_eq!(folder.outside("x.a.example"), expected, "{how}");
        let standing = folder.world.standing.get(&apex).copied();
        assert_eq!(standing, is_led.then_some(Standing::Leads), "{how}");
        assert_eq!(folder.catalog.grace_left(start).is_some(), is_led, "{how}");
        folder.write("a.example.zone", "x A 203.0.113.2\n");
        let loaded = folder.catalog.load(clock::system_now()).unwrap();
        assert!(loaded.report.zones.iter().all(|zone| zone.state == State::Current), "{how}");
    }
}
