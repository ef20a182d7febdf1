//! F01: unknown is not "no". A zone file that never was good takes nothing from other zones but what leads into it.

use super::*;

const MAIN: &str = "@ A 203.0.113.1
@ MX 10 mail.other.test.
@ TXT text
www CNAME www.other.test.
mail MX 10 ns
mail MX 20 mail.other.test.
*.w MX 10 mail.other.test.
d DNAME other.test.
f A 203.0.113.2
f SRV 0 0 1 x.other.test.
db A 10.0.0.5
old-db CNAME db
";

/// Questions for names in `example.`, and the outside's answers while nothing is known of `other.test.`.
const UNKNOWN: &[(&str, Type, Kind)] = &[
    ("example", Type::MX, Kind::Undecided),
    ("example", Type::A, Kind::Positive),
    ("example", Type::TXT, Kind::Positive),
    ("example", Type::AAAA, Kind::NoData),
    ("example", Type::ANY, Kind::Positive),
    ("www.example", Type::A, Kind::Undecided),
    ("www.example", Type::MX, Kind::Undecided),
    ("www.example", Type::CNAME, Kind::Undecided),
    ("www.example", Type::ANY, Kind::Undecided),
    ("mail.example", Type::MX, Kind::Undecided),
    ("mail.example", Type::A, Kind::NoData),
    ("x.w.example", Type::MX, Kind::Undecided),
    ("x.w.example", Type::A, Kind::NoData),
    ("w.example", Type::MX, Kind::NoData),
    ("d.example", Type::DNAME, Kind::Undecided),
    ("d.example", Type::A, Kind::NoData),
    ("x.d.example", Type::A, Kind::Undecided),
    ("f.example", Type::SRV, Kind::Undecided),
    ("f.example", Type::A, Kind::Positive),
    ("db.example", Type::A, Kind::NxDomain),
    ("old-db.example", Type::A, Kind::NxDomain),
    ("nothing.example", Type::A, Kind::NxDomain),
];

fn check(folder: &Folder, text: &str) {
    for (name, rtype, expected) in UNKNOWN {
        assert_eq!(folder.ask(Which::Public, name, *rtype), *expected, "{name} {rtype}: {text:?}");
        let inside = folder.ask(Which::Internal, name, *rtype);
        assert_ne!(inside, Kind::Undecided, "{name} {rtype}: insiders get everything");
    }
    assert_eq!(folder.ask(Which::Internal, "example", Type::MX), Kind::Positive);
    assert_eq!(folder.inside("db.example"), Kind::Positive);
}

#[test]
fn what_leads_into_a_zone_that_never_was_good_is_servfail_until_it_is() {
    let broken = format!("{HEAD}mail A 203.0.113.2x\n");
    for text in ["", "$TTL", "@ SOA (", &broken] {
        let mut folder = Folder::new(&[("example.zone", MAIN)]);
        folder.write_raw("other.test.zone", text);
        let report = folder.load();
        check(&folder, text);
        let told = report.zones[0].problems.iter().find(|problem| problem.code == "undecided").unwrap();
        assert_eq!(told.severity, Severity::Warning);
        assert!(told.message.contains("other.test."), "{}", told.message);
        assert!(told.message.contains("example. MX (line 6)"), "{}", told.message);

        folder.write("other.test.zone", "mail A 203.0.113.3\nwww A 10.0.0.3\nx A 203.0.113.4\n");
        let report = folder.load();
        assert!(!codes(&report).contains(&"undecided"), "{text:?}");
        for (name, rtype, expected) in [
            ("example", Type::MX, Kind::Positive),
            ("www.example", Type::A, Kind::NxDomain),
            ("mail.example", Type::MX, Kind::Positive),
            ("x.w.example", Type::MX, Kind::Positive),
            ("x.d.example", Type::A, Kind::Positive),
            ("f.example", Type::SRV, Kind::Positive),
        ] {
            assert_eq!(folder.ask(Which::Public, name, rtype), expected, "{name} {rtype}: {text:?}");
        }
    }
}

/// A name may be on the way to another server: what its file says is unknown from the first moment on.
#[test]
fn what_leads_into_a_new_file_is_servfail_until_it_is_good() {
    let mut folder = Folder::new(&[("example.zone", MAIN)]);
    folder.load();
    assert_eq!(folder.ask(Which::Public, "example", Type::MX), Kind::Positive);
    folder.write_raw("other.test.zone", "");
    let report = folder.load();
    check(&folder, "");
    assert!(report.zones[0].news.iter().any(|problem| problem.code == "undecided"));
    assert_eq!(folder.outside("mail.other.test"), Kind::NoZone, "the zone is not there before it is good");
    fs::remove_file(folder.path("other.test.zone")).unwrap();
    folder.load();
    assert_eq!(folder.ask(Which::Public, "example", Type::MX), Kind::Positive);
}

#[test]
fn what_a_draft_hides_does_not_exist() {
    let lab = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 10.0.0.53\ndb A 10.0.0.x\n";
    let body = "wiki CNAME db.lab.test.\nbox CNAME box.part.test.\nweb CNAME web.part.test.\n";
    let mut folder =
        Folder::new(&[("example.zone", body), ("part.test.zone", "box A 10.0.0.5\nweb A nonsense\n")]);
    folder.write_raw("lab.test.zone", lab);
    folder.load();
    for (name, expected) in
        [("wiki.example", Kind::NxDomain), ("box.example", Kind::NxDomain), ("web.example", Kind::Undecided)]
    {
        assert_eq!(folder.outside(name), expected, "{name}");
    }
}

/// A file that is broken now has been good, so it is known what it hides.
#[test]
fn what_leads_into_a_zone_with_a_last_good_version_is_decided() {
    let mut folder = Folder::new(&[("example.zone", MAIN), ("other.test.zone", "mail A 203.0.113.3\n")]);
    folder.load();
    folder.write_raw("other.test.zone", "");
    folder.load();
    assert_eq!(folder.ask(Which::Public, "example", Type::MX), Kind::Positive);
}

#[test]
fn an_undecided_record_that_turns_out_hidden_is_a_change() {
    let mut folder = Folder::new(&[("example.zone", "x A 203.0.113.1\nx MX 10 db.other.test.\n")]);
    folder.write_raw("other.test.zone", "");
    folder.load();
    assert_eq!(folder.ask(Which::Public, "x.example", Type::MX), Kind::Undecided);
    folder.write("other.test.zone", "db A 10.0.0.5\n");
    let report = folder.load();
    assert_eq!(folder.ask(Which::Public, "x.example", Type::MX), Kind::NoData);
    let Change::Names { public, .. } = &report.zones[0].change else { panic!("no change") };
    assert_eq!(public.some, ["x.example."]);
}
