//! F03, F04: a record that becomes public although its own text did not change is told, and can be made to wait.

use std::time::Duration;

use super::*;
use crate::catalog::Unhide;

const LAB: &str = "intra CNAME db\n_ldap._tcp SRV 0 0 389 dc1.ad\ndb A 10.0.0.5\ndc1.ad A 10.0.0.10\n";

/// Records that a load tells, and why.
fn told(report: &Report) -> Vec<String> {
    let lines = report.unhidden.some.iter();
    assert_eq!(report.unhidden.count, report.unhidden.some.len());
    let mut told: Vec<String> =
        lines.map(|line| format!("{}: {}: {}", line.record, line.was, line.why)).collect();
    told.sort();
    told
}

/// Files of two zones before and after an edit, by rules before and after, and what is told.
struct Case {
    a: [&'static str; 2],
    b: [&'static str; 2],
    expected: &'static [&'static str],
}

const CASES: &[Case] = &[
    // A host is deleted and what named it stays.
    Case {
        a: [LAB, "intra CNAME db\n_ldap._tcp SRV 0 0 389 dc1.ad\n"],
        b: ["", ""],
        expected: &[
            "_ldap._tcp.a.example. SRV: D6: dc1.ad.a.example. does not exist any more",
            "intra.a.example. CNAME: D6: db.a.example. does not exist any more",
        ],
    },
    // A host gets a public address.
    Case {
        a: ["db A 10.0.0.5\ndb TXT x\nintra CNAME db\n", "db A 203.0.113.5\ndb TXT x\nintra CNAME db\n"],
        b: ["", ""],
        expected: &[
            "db.a.example. TXT: D7: its host, or the service, is no longer hidden",
            "intra.a.example. CNAME: D6: db.a.example. is no longer hidden",
        ],
    },
    // A mark is dropped elsewhere.
    Case {
        a: ["r A 203.0.113.1 ; verge: internal\nto CNAME r\n", "r A 203.0.113.1\nto CNAME r\n"],
        b: ["", ""],
        expected: &["to.a.example. CNAME: D6: r.a.example. is no longer hidden"],
    },
    // The edit of another zone.
    Case {
        a: ["wiki CNAME x.b.example.\n", "wiki CNAME x.b.example.\n"],
        b: ["x A 10.0.0.1\n", ""],
        expected: &["wiki.a.example. CNAME: D6: x.b.example. does not exist any more"],
    },
    // The record itself was edited, or is new: that was meant.
    Case { a: ["db A 10.0.0.5\n", "db A 203.0.113.5\n"], b: ["", ""], expected: &[] },
    Case { a: ["r A 203.0.113.1 ; verge: internal\n", "r A 203.0.113.1\n"], b: ["", ""], expected: &[] },
    Case { a: ["db A 10.0.0.5\n", "db A 10.0.0.5\nnew CNAME ns\n"], b: ["", ""], expected: &[] },
    // Hidden records stay hidden, and public ones stay public.
    Case { a: [LAB, LAB], b: ["x A 203.0.113.1\n", "x A 203.0.113.2\n"], expected: &[] },
    // Only a part of a record was hidden.
    Case {
        a: [
            "h HTTPS 1 x.b.example. ipv4hint=10.0.0.1,203.0.113.1\n",
            "h HTTPS 1 x.b.example. ipv4hint=10.0.0.1,203.0.113.1\n",
        ],
        b: ["x A 10.0.0.1\n", "x A 203.0.113.7\n"],
        expected: &["h.a.example. HTTPS: D6: x.b.example. is no longer hidden"],
    },
];

#[test]
fn records_that_become_public_though_their_own_text_is_the_same_are_told() {
    for case in CASES {
        let mut folder = Folder::new(&[("a.example.zone", case.a[0]), ("b.example.zone", case.b[0])]);
        assert_eq!(folder.load().unhidden.count, 0, "a start remembers nothing");
        folder.write("a.example.zone", case.a[1]);
        folder.write("b.example.zone", case.b[1]);
        folder.write("c.example.zone", "");
        let mut report = folder.load();
        assert_eq!(told(&report), case.expected, "{:?}", case.a[1]);
        folder.write("c.example.zone", "x A 203.0.113.1\n");
        report = folder.load();
        assert_eq!(report.unhidden.count, 0, "it is told once");
    }
}

#[test]
fn with_ask_the_edited_zones_wait_until_they_are_allowed() {
    for case in CASES {
        let mut folder = Folder::new(&[("a.example.zone", case.a[0]), ("b.example.zone", case.b[0])]);
        folder.write("c.example.zone", "");
        folder.catalog.terms.unhide = Unhide::Ask;
        folder.load();
        let edited = |at: usize| [case.a, case.b][at][0] != [case.a, case.b][at][1];
        folder.write("a.example.zone", case.a[1]);
        folder.write("b.example.zone", case.b[1]);
        folder.write("c.example.zone", "x A 203.0.113.1\n");
        let report = folder.load();
        assert_eq!(report.unhidden.count, 0, "{:?}", case.a[1]);
        for at in [0, 1] {
            let waits = edited(at) && !case.expected.is_empty();
            assert_eq!(report.zones[at].state == State::Previous, waits, "{:?} {at}", case.a[1]);
            let has_problem = report.zones[at].problems.iter().any(|problem| problem.code == "unhide");
            assert_eq!(has_problem, waits, "{:?} {at}", case.a[1]);
        }
        assert_eq!(folder.outside("x.c.example"), Kind::Positive, "other edits are served");
        // It goes on waiting, and it is told once.
        folder.write("c.example.zone", "x A 203.0.113.2\n");
        let report = folder.load();
        assert!(report.zones[..2].iter().all(|zone| zone.news.is_empty()), "{}", messages(&report));
        folder.catalog.allow();
        let loaded = folder.catalog.load(clock::system_now()).unwrap();
        assert_eq!(loaded.world.is_some(), !case.expected.is_empty());
        assert_eq!(told(&loaded.report), case.expected);
        folder.catalog.allow();
        assert!(folder.catalog.load(clock::system_now()).unwrap().world.is_none(), "nothing waits any more");
    }
}

#[test]
fn an_edit_that_waits_is_served_when_it_is_mended() {
    let mut folder = Folder::new(&[("a.example.zone", LAB)]);
    folder.catalog.terms.unhide = Unhide::Ask;
    folder.load();
    folder.write("a.example.zone", "intra CNAME db\nx A 203.0.113.9\n");
    folder.load();
    assert_eq!(
        (folder.outside("intra.a.example"), folder.outside("x.a.example")),
        (Kind::NxDomain, Kind::NxDomain)
    );
    assert_eq!(folder.inside("db.a.example"), Kind::Positive, "nobody loses what was there");
    folder.write("a.example.zone", "x A 203.0.113.9\n");
    let report = folder.load();
    assert_eq!((states(&report)[0].1, folder.outside("x.a.example")), (State::Current, Kind::Positive));
}

#[test]
fn a_zone_that_goes_is_told_and_waits_if_it_hid_something() {
    let later = |seconds| clock::system_now() + Duration::from_secs(seconds);
    for unhide in [Unhide::Tell, Unhide::Ask] {
        let mut folder = Folder::new(&[
            ("a.example.zone", "wiki CNAME db.lab.test.\n"),
            ("lab.test.zone", "db A 10.0.0.5\nx A 203.0.113.1\n"),
            ("other.test.zone", "x A 10.0.0.1\n"),
        ]);
        folder.catalog.terms.unhide = unhide;
        folder.catalog.terms.grace = Duration::from_secs(60);
        folder.load();
        fs::remove_file(folder.path("lab.test.zone")).unwrap();
        fs::remove_file(folder.path("other.test.zone")).unwrap();
        assert_eq!(folder.load().unhidden.count, 0);
        let loaded = folder.catalog.load(later(61)).unwrap();
        folder.world = loaded.world.unwrap();
        let removed: Vec<String> = loaded.report.removed.iter().map(Name::to_string).collect();
        assert_eq!(folder.outside("x.other.test"), Kind::NoZone, "nothing depends on it");
        if unhide == Unhide::Tell {
            assert_eq!(removed.len(), 2);
            assert_eq!(
                told(&loaded.report),
                ["wiki.a.example. CNAME: D6: db.lab.test. is in no zone here any more"]
            );
            continue;
        }
        assert_eq!(removed.len(), 1);
        assert_eq!(
            (folder.outside("wiki.a.example"), folder.outside("x.lab.test")),
            (Kind::NxDomain, Kind::Positive)
        );
        assert_eq!(folder.catalog.grace_left(later(61)), None, "no time ends it");
        assert!(folder.catalog.load(later(62)).unwrap().world.is_none());
        folder.catalog.allow();
        let loaded = folder.catalog.load(later(63)).unwrap();
        assert_eq!(
            told(&loaded.report),
            ["wiki.a.example. CNAME: D6: db.lab.test. is in no zone here any more"]
        );
    }
}

#[test]
fn a_new_zone_that_makes_records_public_waits() {
    let mut folder = Folder::new(&[("example.zone", "wiki CNAME db.sub\ndb.sub A 10.0.0.5\n")]);
    folder.catalog.terms.unhide = Unhide::Ask;
    folder.load();
    folder.write("sub.example.zone", "db A 203.0.113.5\n");
    folder.load();
    assert_eq!(
        (folder.outside("wiki.example"), folder.outside("db.sub.example")),
        (Kind::NxDomain, Kind::NxDomain)
    );
    assert_eq!(folder.inside("db.sub.example"), Kind::Positive);
    folder.catalog.allow();
    assert!(
        told(&folder.load())
            .contains(&"wiki.example. CNAME: D6: db.sub.example. is no longer hidden".to_owned())
    );
    assert_eq!(folder.outside("wiki.example"), Kind::Positive);
}

#[test]
fn what_the_config_no_longer_hides_is_told_and_needs_no_other_consent() {
    let rules = Rules {
        private: vec!["198.51.100.0/24".parse().unwrap()],
        internal_names: vec![Name::parse_absolute("lab.a.example").unwrap()],
        internal_zones: vec![Name::parse_absolute("b.example").unwrap()],
        ..Rules::default()
    };
    let mut folder = Folder::with_rules(
        &[("a.example.zone", "x.lab A 203.0.113.1\ny A 198.51.100.1\n"), ("b.example.zone", "")],
        rules,
    );
    folder.load();
    let terms = Terms { unhide: Unhide::Ask, ..Terms::default() };
    folder.catalog.set_terms(vec![folder.path("")], terms);
    // The server reads its config only when somebody asks for it.
    folder.catalog.allow();
    let told = told(&folder.load());
    assert_eq!(
        told,
        [
            "b.example. NS: D12: outsiders see the zone now",
            "b.example. SOA: D12: outsiders see the zone now",
            "ns.b.example. A: D12: outsiders see the zone now",
            "x.lab.a.example. A: internal_names: the config does not hide it any more",
            "y.a.example. A: private: the config does not hide it any more",
        ]
    );
}

#[test]
fn what_a_fault_kept_from_outsiders_was_not_hidden() {
    let fault = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 10.0.0.53\nwww A 203.0.113.1\n";
    let mut folder = Folder::new(&[("b.example.zone", "")]);
    folder.write_raw("a.example.zone", fault);
    assert!(codes(&folder.load()).contains(&"D13"));
    folder.write_raw("a.example.zone", &fault.replace("10.0.0.53", "203.0.113.53"));
    assert_eq!(folder.load().unhidden.count, 0);
}

#[test]
fn a_name_in_the_soa_that_is_shown_again_is_told() {
    let text = |mname: &str, serial: u32| {
        format!(
            "$TTL 60\n@ SOA ns0 hostmaster {serial} 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nns0 A {mname}\n"
        )
    };
    let mut folder = Folder::new(&[("b.example.zone", "")]);
    folder.write_raw("a.example.zone", &text("10.0.0.53", 1));
    folder.load();
    folder.write_raw("a.example.zone", &text("203.0.113.54", 2));
    assert_eq!(told(&folder.load()), ["a.example. SOA: D13: ns0.a.example. is no longer hidden"]);
}

#[test]
fn many_records_are_counted_and_the_first_are_told() {
    let lines: String = (0..300).map(|at| format!("c{at} CNAME db\n")).collect();
    let mut folder = Folder::new(&[("a.example.zone", &format!("{lines}db A 10.0.0.5\n"))]);
    folder.load();
    folder.write("a.example.zone", &lines);
    let report = folder.load();
    assert_eq!((report.unhidden.count, report.unhidden.some.len()), (300, 100));
    let shown = report.unhidden.to_string();
    assert_eq!(shown.lines().count(), 11, "{shown}");
    assert!(shown.ends_with("  and 290 more"), "{shown}");
    assert!(
        shown.contains("a.example.zone:5: c0.a.example. CNAME was hidden by D6, but db.a.example. does not"),
        "{shown}"
    );
}
