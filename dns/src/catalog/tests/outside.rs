//! D13, D15: outsiders keep the last text that they might see, as long as it shows nothing that is hidden now.

use super::*;
use crate::catalog::Unhide;

/// A zone whose name server is `ns`, and the text behind its SOA and NS records.
fn text(ns: &str, body: &str) -> String {
    format!("$TTL 60\n@ SOA ns1 hostmaster 1 2h 30m 2w 5m\n@ NS {ns}\n{body}")
}

const OLD: &str = "ns1 A 203.0.113.53\nwww A 203.0.113.1\ngone A 203.0.113.2\nto CNAME x.b.example.\n";

fn folder(a: &str) -> Folder {
    let mut folder = Folder::new(&[("b.example.zone", "x A 203.0.113.9\nfrom CNAME www.a.example.\n")]);
    folder.write_raw("a.example.zone", a);
    assert!(folder.load().is_good());
    folder
}

/// `expected` is the kinds of the answers to outsiders for `www.a.example` and `gone.a.example` after the edit.
fn check(old: &str, new: &str, code: &str, expected: [Kind; 2]) {
    let mut folder = folder(old);
    folder.write_raw("a.example.zone", new);
    let report = folder.load();
    assert!(codes(&report).contains(&code), "{new}: {}", messages(&report));
    assert_eq!(states(&report)[0].1, State::Current, "{new}");
    let word = if expected[0] == Kind::NoZone { "inside_only" } else { "outside_previous" };
    assert_eq!(report.zones[0].state_word(), word, "{new}");
    assert_eq!([folder.outside("www.a.example"), folder.outside("gone.a.example")], expected, "{new}");
    assert_eq!(folder.inside("db.a.example"), Kind::Positive, "insiders get the new text: {new}");
    assert_ne!(folder.outside("db.a.example"), Kind::Positive, "{new}");
    // Zones that lead there follow.
    let from = if expected[0] == Kind::NoZone { Kind::NxDomain } else { Kind::Positive };
    assert_eq!(folder.outside("from.b.example"), from, "{new}");
    // Nothing new, nothing else.
    folder.write("c.example.zone", "");
    folder.load();
    assert_eq!([folder.outside("www.a.example"), folder.outside("gone.a.example")], expected, "{new}");
    // Mended, it is served.
    folder.write_raw("a.example.zone", &text("ns1", "ns1 A 203.0.113.53\nwww A 203.0.113.1\n"));
    assert!(folder.load().is_good());
    assert_eq!(folder.outside("gone.a.example"), Kind::NxDomain);
    assert_eq!(folder.outside("from.b.example"), Kind::Positive);
}

const KEPT: [Kind; 2] = [Kind::Positive, Kind::Positive];
const REFUSED: [Kind; 2] = [Kind::NoZone, Kind::NoZone];

#[test]
fn a_new_text_without_public_servers_leaves_outsiders_the_old_one() {
    let old = text("ns1", OLD);
    for (body, expected) in [
        // The old text shows nothing that is hidden now.
        ("ns1 A 203.0.113.53\nwww A 203.0.113.1\n", KEPT),
        ("ns1 A 203.0.113.53\n", [Kind::Positive, Kind::Positive]),
        ("ns1 A 203.0.113.53\nwww A 203.0.113.77\n", KEPT),
        // It shows a record, an address, a name, a server or a target that is.
        ("ns1 A 203.0.113.53\nwww A 203.0.113.1\ngone A 203.0.113.2 ; verge: internal\n", REFUSED),
        ("ns1 A 203.0.113.53\nwww A 203.0.113.1\ngone A 10.0.0.2\n", REFUSED),
        ("ns1 A 203.0.113.53\nwww A 203.0.113.1\ngone A 10.0.0.2\ngone MX 1 mx.test.\n", REFUSED),
        ("ns1 A 203.0.113.53\nwww A 203.0.113.1\n*.a.example. A 10.0.0.2\n", REFUSED),
        ("ns1 A 10.0.0.53\nwww A 203.0.113.1\n", REFUSED),
    ] {
        // Without public data of its own the zone would be internal, which is no fault.
        let new = text("ns-int", &format!("ns-int A 10.0.0.54\ndb A 10.0.0.5\n{body}"));
        check(&old, &new, "D13", expected);
    }
}

#[test]
fn a_new_signed_text_with_something_hidden_leaves_outsiders_the_old_one() {
    let signed = |body: &str| text("ns1", &format!("@ NSEC ns1 SOA NS NSEC\n{OLD}{body}"));
    check(&signed(""), &signed("db A 10.0.0.5\n"), "D15", KEPT);
    check(&signed("old A 203.0.113.3\n"), &signed("old A 10.0.0.3\ndb A 10.0.0.5\n"), "D15", REFUSED);
}

#[test]
fn a_server_that_another_zone_hides_takes_the_old_text_away_too() {
    let mut folder = Folder::new(&[("b.example.zone", "host A 203.0.113.2\n")]);
    let old = text("host.b.example.", "ns1 A 203.0.113.53\nwww A 203.0.113.1\n");
    folder.write_raw("a.example.zone", &old);
    folder.load();
    folder.write("b.example.zone", "host A 10.0.0.2\n");
    folder.write_raw("a.example.zone", &format!("{old}new A 203.0.113.3\n"));
    assert!(codes(&folder.load()).contains(&"D13"));
    assert_eq!(
        (folder.outside("www.a.example"), folder.inside("new.a.example")),
        (Kind::NoZone, Kind::Positive)
    );
}

#[test]
fn what_is_hidden_after_an_old_text_stood_in_is_hidden() {
    let mut folder = folder(&text("ns1", OLD));
    let at_fault = text("ns-int", "ns-int A 10.0.0.54\nns1 A 203.0.113.53\nwww A 203.0.113.1\n");
    folder.write_raw("a.example.zone", &at_fault);
    folder.load();
    assert_eq!(
        (folder.outside("www.a.example"), folder.outside("to.a.example")),
        (Kind::Positive, Kind::Positive)
    );
    // By another zone: the rules of now hold for the old text.
    folder.write("b.example.zone", "x A 10.0.0.9\n");
    folder.load();
    assert_eq!(
        (folder.outside("www.a.example"), folder.outside("to.a.example")),
        (Kind::Positive, Kind::NxDomain)
    );
    // By a new edit of the zone itself, and the other way round.
    folder.write_raw(
        "a.example.zone",
        &at_fault.replace("www A 203.0.113.1", "www A 10.0.0.1\nw2 A 203.0.113.4"),
    );
    folder.load();
    assert_eq!(folder.outside("gone.a.example"), Kind::NoZone);
    folder.write_raw("a.example.zone", &at_fault);
    folder.load();
    assert_eq!(folder.outside("www.a.example"), Kind::Positive, "the old text has not been forgotten");
    // By the config.
    let rules =
        Rules { internal_zones: vec![Name::parse_absolute("a.example").unwrap()], ..Rules::default() };
    folder.catalog.set_terms(vec![folder.path("")], Terms { rules, ..Terms::default() });
    folder.load();
    assert_eq!(
        (folder.outside("www.a.example"), folder.inside("www.a.example")),
        (Kind::NoZone, Kind::Positive)
    );
}

#[test]
fn another_zone_shows_nothing_that_the_new_text_hides() {
    let mut folder = folder(&text("ns1", OLD));
    // db.a.example is in no text yet, so a record that leads to it is public; the new text hides it.
    folder.write("b.example.zone", "x A 203.0.113.9\nleads CNAME db.a.example.\n");
    folder.load();
    assert_eq!(folder.outside("leads.b.example"), Kind::NxDomain, "an alias to nowhere");
    let leads = |folder: &Folder| folder.ask(Which::Public, "leads.b.example", Type::CNAME);
    assert_eq!(leads(&folder), Kind::Positive);
    folder.write_raw(
        "a.example.zone",
        &text("ns-int", "ns-int A 10.0.0.54\nns1 A 203.0.113.53\nwww A 203.0.113.1\ndb A 10.0.0.5\n"),
    );
    folder.load();
    assert_eq!(leads(&folder), Kind::NxDomain);
    assert_eq!(folder.outside("www.a.example"), Kind::NoZone);
}

#[test]
fn an_old_text_that_shows_what_the_new_one_hides_at_a_public_name_does_not_stand_in() {
    let old = text("ns1", &format!("{OLD}www TXT secret\nleads CNAME db\n"));
    for (www, expected) in [("www TXT other\n", KEPT), ("www TXT secret ; verge: internal\n", REFUSED)] {
        let body =
            format!("ns1 A 203.0.113.53\nwww A 203.0.113.1\n{www}leads A 203.0.113.8\ndb2 A 10.0.0.5\n");
        let mut folder = folder(&old);
        folder.write_raw("a.example.zone", &text("ns-int", &format!("ns-int A 10.0.0.54\n{body}")));
        folder.load();
        assert_eq!(folder.outside("www.a.example"), expected[0], "{www}");
    }
    // The old text leads to a name that was not there, and that is a hidden host now.
    check(
        &old,
        &text("ns-int", "ns-int A 10.0.0.54\nns1 A 203.0.113.53\nwww A 203.0.113.1\ndb A 10.0.0.5\n"),
        "D13",
        REFUSED,
    );
}

#[test]
fn an_old_text_does_not_stand_in_where_it_would_show_what_has_to_wait() {
    let mut folder = Folder::new(&[("b.example.zone", "x A 10.0.0.9\n")]);
    folder.catalog.terms.unhide = Unhide::Ask;
    folder.write_raw("a.example.zone", &text("ns1", OLD));
    assert!(folder.load().is_good());
    let at_fault = "ns-int A 10.0.0.54\nns1 A 203.0.113.53\nwww A 203.0.113.1\n";
    folder.write_raw("a.example.zone", &text("ns-int", at_fault));
    folder.load();
    let both = |folder: &Folder| (folder.outside("www.a.example"), folder.outside("to.a.example"));
    assert_eq!(both(&folder), (Kind::Positive, Kind::NxDomain));
    folder.write("b.example.zone", "x A 203.0.113.9\n");
    folder.load();
    assert_eq!(both(&folder), (Kind::NoZone, Kind::NoZone));
}
