//! Rules about zones as a whole, what their author is told, the inside, and dividing again.

use std::sync::Arc;

use super::super::*;
use super::fixture::{check, check_problems, name, read, rules};
use crate::rtype::Type;

#[test]
fn d12_zones_that_are_internal_as_a_whole() {
    check(
        "$ORIGIN closed.example. | internal
        @ NS ns.example. | D12
        www A 192.0.2.1 | D12
        $ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        closed NS ns | D12
        to CNAME www.closed | D6",
    );
    // Inferred: every apex NS is hidden and nothing else is public. Names in it are hidden, even missing ones.
    check(
        "$ORIGIN lab.example. | internal
        @ NS ns | D13
        ns A 10.0.0.1 | D1
        ns TXT gone | D7
        $ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        lab NS ns.lab | D13
        ns.lab A 10.0.0.1 | D1
        to CNAME missing.lab | D6",
    );
    // The parent's cut loses its servers before the child is known to be internal.
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        ns0 A 10.0.0.1 | D1
        late NS ns0 | D13
        late DS 1 8 2 DIGEST | D13
        $ORIGIN late.example. | internal
        @ NS a | D13
        a CNAME b | D6
        b CNAME c | D6
        c A 10.0.0.1 | D1"
            .replace("DIGEST", &"00".repeat(32))
            .as_str(),
    );
}

/// Nobody knows what is hidden in a zone that never had a good version; its name servers may still serve others.
#[test]
fn d6_what_leads_into_an_unknown_zone_is_undecided() {
    check(
        "$ORIGIN example.
        @ NS ns.broken
        @ MX 10 mail.broken | undecided
        ns A 192.0.2.1
        ns TXT here
        a CNAME broken | undecided
        to-a CNAME a | undecided
        _443._tcp.a TLSA 3 1 1 DIGEST | undecided
        b MX 10 x.broken | undecided
        b MX 10 ns | undecided
        b A 192.0.2.2
        c CNAME unbroken.example.
        *.w SRV 0 0 1 x.broken | undecided
        d DNAME broken | undecided
        x.d A 192.0.2.3 | undecided
        to-d MX 10 y.d | undecided
        r RP root.x.broken . | undecided
        published CNAME x.broken ; verge: public
        to-published CNAME published | undecided
        h A 10.0.0.1 | D1
        h MX 10 x.broken | undecided
        h TXT text | undecided
        h HINFO a b | D7
        mine.int CNAME x.broken | internal_names
        marked CNAME x.broken ; verge: internal | mark
        known CNAME www.below.broken
        shop NS ns.broken
        lan NS ns.lan | D13
        ns.lan A 10.0.0.2 | D1
        $ORIGIN below.broken.example.
        @ NS ns
        ns A 192.0.2.4
        www A 192.0.2.5"
            .replace("DIGEST", &"00".repeat(32))
            .as_str(),
    );
}

/// The readable part of an unknown zone counts where it hides something.
#[test]
fn d6_what_leads_to_a_hidden_name_of_a_draft_is_hidden() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        a CNAME db.broken | D6
        b CNAME www.broken | undecided
        c CNAME other.broken | undecided
        d CNAME below.db.broken | D6
        e CNAME db.lab.broken | D6
        $ORIGIN broken.example.
        @ NS ns.example.
        db A 10.0.0.1 | D1
        www A 192.0.2.2
        lab NS ns.example.
        $ORIGIN lab.broken.example. | internal
        @ NS ns | D13
        ns A 10.0.0.3 | D1
        db A 10.0.0.4 | D1",
    );
}

#[test]
fn d15_a_signed_zone_is_there_though_something_in_it_is_undecided() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        @ MX 10 x.broken | undecided
        @ NSEC ns SOA NS MX NSEC",
    );
}

#[test]
fn d13_soa_and_apex_ns() {
    check(
        "$ORIGIN example.
        @ SOA ns0 admin.int 1 2 3 4 5 | D13 ns1.example. hostmaster.example. 1 2 3 4 5
        @ NS ns0 | D13
        @ NS ns1
        @ NS ns.corp. | D13
        ns0 A 10.0.0.1 | D1
        ns1 A 192.0.2.1",
    );
    check("$ORIGIN example.\n@ SOA ns.corp. h 1 2 3 4 5 | D13 a. h.example. 1 2 3 4 5\n@ NS a.");
    check("$ORIGIN example.\n@ SOA b. h 1 2 3 4 5 ; verge: internal | D13 a. h.example. 1 2 3 4 5\n@ NS a.");
    check("$ORIGIN example.\n@ SOA ns0 h 1 2 3 4 5 ; verge: public\n@ NS a.\nns0 A 10.0.0.1 | D1");
    check(
        "$ORIGIN example.\n@ SOA a. root.db 1 2 3 4 5 | D13 a. hostmaster.example. 1 2 3 4 5\n@ NS a.\ndb A 10.0.0.1 | D1",
    );
    check("$ORIGIN example.\n@ SOA a. root.db 1 2 3 4 5\n@ NS a.\ndb A 192.0.2.1\n@ A 10.0.0.1 | D1");
    check_problems(
        "$ORIGIN example.\n@ SOA ns0.corp. h 1 2 3 4 5\nwww TXT x",
        &[(Severity::Error, "D13", 2)],
    );
}

/// Case 07: outsiders get what there would be without the zone; the author is told what is of use to outsiders.
#[test]
fn d13_a_zone_whose_name_servers_are_all_hidden() {
    let head = "$ORIGIN example.\n@ NS ns\nns A 10.0.0.1\n";
    for (tail, expected) in [
        ("@ MX 5 mail", None),
        ("@ DNSKEY 257 3 13 AAAA", None),
        ("@ TXT x\n_dmarc TXT y\nw CAA 0 issue ca.example", None),
        ("ns MX 10 ns", None),
        ("nas A 192.168.1.5", None),
        ("blog CNAME user.elsewhere.", Some(Severity::Warning)),
        ("@ MX 10 mx.elsewhere.", Some(Severity::Warning)),
        ("www A 192.0.2.1", Some(Severity::Error)),
        ("www HTTPS 1 . alpn=h2", Some(Severity::Error)),
        ("www TXT x ; verge: public", Some(Severity::Error)),
        ("www A 192.0.2.1 ; verge: internal", None),
    ] {
        let expected: Vec<_> = expected.map(|severity| (severity, "D13", 2)).into_iter().collect();
        check_problems(&format!("{head}{tail}"), &expected);
        let fixtures = read(&format!("{head}{tail}\n$ORIGIN other.\n@ NS a.\nx CNAME www.example."));
        let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
        let divided = divide(&zones, &rules());
        assert!(divided[0].public.is_none(), "{tail}");
        assert_eq!(divided[0].internal.records(zones[0]).count(), zones[0].records.len(), "{tail}");
        assert_eq!(divided[1].hidden.len(), 1, "{tail}: outside, nothing is at www.example");
    }
}

#[test]
fn the_author_is_told_which_records_make_a_zone_public_and_how_to_say_that_it_is_not() {
    let fixtures =
        read("$ORIGIN lab.example.\n@ NS ns\nns A 10.0.0.1\nblog CNAME user.elsewhere.\nnas A 10.0.0.2");
    let problems = divide(&[&fixtures[0].zone], &rules()).remove(0).problems;
    assert!(problems[0].message.ends_with("public data: blog.lab.example. CNAME (line 4)"), "{problems:?}");
    let help = problems[0].help.as_deref().unwrap();
    assert!(
        help.contains(r#"`[internal] zones = ["lab.example"]`"#) && help.contains("`; verge: public`"),
        "{help}"
    );
}

#[test]
fn d13_cuts() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        half NS ns1.half
        half NS ns2.half | D13
        ns1.half A 192.0.2.2
        ns2.half A 10.0.0.2 | D1
        gone NS ns.gone | D13
        gone DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000 | D13
        ns.gone A 10.0.0.3 | D1
        www.gone A 192.0.2.3 ; verge: public | D13
        to CNAME deep.down.gone | D6
        keep NS ns.keep ; verge: public
        ns.keep A 10.0.0.4 | D1
        outer NS ns.x.outer
        x.outer NS db.int | D13
        ns.x.outer A 192.0.2.9",
    );
}

#[test]
fn d13_a_cut_stays_for_its_public_child() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        sub NS old | D13 ns.example.
        sub NS older | D13
        sub DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
        old A 10.0.0.1 | D1
        older A 10.0.0.2 | D1
        bare NS old | D13 ns.example.
        $ORIGIN sub.example.
        @ NS ns.example.
        @ TXT public
        $ORIGIN bare.example.
        @ NS ns.example.
        @ TXT public",
    );
}

#[test]
fn d13_nothing_occluded_becomes_visible_below_a_dname() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        d DNAME x.int | D6
        d TXT stays
        www.d A 192.0.2.2 | D6",
    );
}

#[test]
fn d15_signed_files_with_hidden_data_are_not_there_outside() {
    let signature = "RRSIG A 8 2 60 20300101000000 20200101000000 1 example. AAAA";
    let signed = |tail: &str| format!("$ORIGIN example.\n@ NS a.\nwww {signature}\nwww TXT x\n{tail}");
    check_problems(&signed(""), &[]);
    check_problems(&signed("db A 10.0.0.1"), &[(Severity::Error, "D15", 3)]);
    check_problems(&signed("h HTTPS 1 . ipv4hint=10.0.0.1"), &[(Severity::Error, "D15", 3)]);
    let beside = "$ORIGIN other.\n@ NS a.\nx A 192.0.2.1\nx A 192.0.2.2 ; verge: internal";
    let led = signed(&format!("h HTTPS 1 x.other. ipv4hint=192.0.2.2\n{beside}"));
    check_problems(&led, &[(Severity::Error, "D15", 3)]);
    let fixtures = read(&led);
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let message = divide(&zones, &rules())[0].problems[0].message.clone();
    let hint =
        "h.example. HTTPS (line 5); the hint 192.0.2.2 is an address that x.other. has for insiders alone";
    assert!(message.ends_with(hint), "{message}");
    let fixtures = read(&signed("db A 10.0.0.1\ndb TXT with-it\nto CNAME db"));
    let message = divide(&[&fixtures[0].zone], &rules())[0].problems[0].message.clone();
    assert!(message.ends_with(": db.example. A (line 5)"), "{message}");
    check_problems("$ORIGIN example.\n@ NS a.\n@ NSEC b NS\ndb A 10.0.0.1", &[(Severity::Error, "D15", 3)]);
    check_problems("$ORIGIN corp.\n@ NS a.\n@ NSEC b NS\ndb A 10.0.0.1", &[]);
    check_problems(&signed("@ SOA db h 1 2 3 4 5\ndb A 10.0.0.1"), &[(Severity::Error, "D15", 3)]);
    check_problems(&signed("@ SOA a. root.int 1 2 3 4 5"), &[(Severity::Error, "D15", 3)]);
    check_problems(&signed("@ SOA a. h 1 2 3 4 5 ; verge: internal"), &[(Severity::Error, "D15", 3)]);
    check_problems(&signed("@ SOA a. h.example. 1 2 3 4 5"), &[]);
    let fixtures =
        read(&format!("{}\n$ORIGIN other.\n@ NS a.\nx CNAME www.example.", signed("db A 10.0.0.1")));
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = divide(&zones, &rules());
    assert!(divided[0].public.is_none() && divided[0].internal.is_whole(), "insiders lose nothing");
    assert_eq!(divided[1].hidden.len(), 1, "outside, nothing is at www.example");
}

#[test]
fn warnings_for_what_hurts_later() {
    let zone = |tail: &str| format!("$ORIGIN example.\n@ NS a.\n{tail}");
    check_problems(&zone("@ A 8.8.8.8\n@ MX 1 db\ndb A 10.0.0.1"), &[(Severity::Warning, "D19", 4)]);
    check_problems(&zone("@ A 8.8.8.8\n@ MX 1 db\n@ MX 2 a.\ndb A 10.0.0.1"), &[]);
    check_problems(
        &zone("db A 10.0.0.1\n_acme-challenge.db TXT x ; verge: public"),
        &[(Severity::Warning, "D7", 4)],
    );
    check_problems(&zone("m TXT x\nm MX 1 db\ndb A 10.0.0.1"), &[]);
    check_problems(&zone("a A 8.8.8.8 ; verge: internal\nb A 8.8.8.8"), &[(Severity::Note, "mark", 3)]);
    check_problems(&zone("a A 192.0.2.1\nb A 192.0.2.1"), &[(Severity::Note, "D1", 3)]);
    check_problems("$ORIGIN lan.\n@ NS a.\nb A 8.8.8.8 ; verge: public", &[(Severity::Warning, "D12", 3)]);
    check_problems("$ORIGIN example.\n@ SOA m.corp. h 1 2 3 4 5\n@ NS a.", &[(Severity::Note, "D13", 2)]);
}

#[test]
fn inside_internal_records_stand_in_for_public_ones() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        git A 192.0.2.20 | split
        git AAAA 2001:db8::20 | split
        git A 10.0.0.20 | D1
        git HTTPS 1 . alpn=h2 ipv4hint=192.0.2.20 ipv6hint=2001:db8::20 | inside 1 . alpn=h2
        shop HTTPS 1 git ipv4hint=192.0.2.20,10.0.0.20 | D3 1 git.example. ipv4hint=192.0.2.20 inside 1 git.example. ipv4hint=10.0.0.20
        other HTTPS 1 . ipv4hint=192.0.2.20
        www CNAME cdn.elsewhere. | split
        www A 10.0.0.5 | D1
        app A 192.0.2.5 | split
        app CNAME db | D6
        db A 10.0.0.6 | D1
        six AAAA 2001:db8::6 | split
        six A 192.0.2.6
        six AAAA fd00::6 | D1
        six HTTPS 1 . ipv4hint=192.0.2.6 ipv6hint=2001:db8::6 | inside 1 . ipv4hint=192.0.2.6
        two A 10.0.0.7 ; verge: public | split
        two A 10.0.0.8 | D1
        one A 10.0.0.9 ; verge: public",
    );
}

#[test]
fn a_mark_publishes_pairs_for_the_guard() {
    let fixtures =
        read("$ORIGIN example.\n@ NS a.\n*.w A 10.0.0.1 ; verge: public\nx A 8.8.8.8 ; verge: public");
    let divided = &divide(&[&fixtures[0].zone], &rules())[0];
    assert_eq!(divided.published, [(name("*.w.example"), "10.0.0.1".parse().unwrap())]);
    assert!(divided.public.as_ref().unwrap().is_whole() && divided.internal.is_whole(), "nothing is copied");
}

#[test]
fn equal_trees_are_one_value() {
    let fixtures = read(
        "$ORIGIN example.\n@ NS a.\nx A 8.8.8.8\nx TXT t\nx A 10.0.0.1\n$ORIGIN open.\n@ NS a.\nx A 8.8.8.8",
    );
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = divide(&zones, &rules());
    let mixed = trees(zones[0], &divided[0]);
    let x = name("x.example");
    let set = |tree: &'_ crate::zone::tree::Tree, rtype| {
        let node = tree.node(x.as_wire()).unwrap();
        node.set(rtype).unwrap().rdatas().map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let public = mixed.public.unwrap();
    assert_eq!(set(&public, Type::TXT), set(&mixed.internal, Type::TXT));
    assert_eq!(set(&public, Type::A), [[8, 8, 8, 8]]);
    assert_eq!(set(&mixed.internal, Type::A), [[10, 0, 0, 1]]);
    let open = trees(zones[1], &divided[1]);
    assert!(Arc::ptr_eq(&open.public.unwrap(), &open.internal));
}

#[test]
fn an_edit_touches_only_zones_that_lead_to_the_edited_one() {
    let fixtures = read(
        "$ORIGIN hub.
        @ NS ns
        ns A 192.0.2.1
        $ORIGIN leaf.
        @ NS ns.hub.
        www A 192.0.2.1
        $ORIGIN other.
        @ NS ns.hub.
        @ MX 1 www.leaf.
        $ORIGIN primary.
        @ SOA www.leaf. h 1 2 3 4 5
        @ NS ns.hub.
        $ORIGIN moved.
        @ NS ns.hub.
        d DNAME target.
        $ORIGIN deep.target.
        @ NS ns.hub.",
    );
    let zones: Vec<Arc<Zone>> = fixtures.into_iter().map(|fixture| Arc::new(fixture.zone)).collect();
    let before = Division::default().again(&zones, &rules());
    for (edited, touched) in [
        (0, [true, true, true, true, true, true]),
        (1, [false, true, true, true, false, false]),
        (2, [false, false, true, false, false, false]),
        (5, [false, false, false, false, true, true]),
    ] {
        let mut zones = zones.clone();
        zones[edited] = Arc::new(Zone::clone(&zones[edited]));
        let after = before.again(&zones, &rules());
        let found = before.parts().iter().zip(after.parts());
        let found: Vec<bool> = found.map(|(old, new)| !Arc::ptr_eq(&old.divided, &new.divided)).collect();
        assert_eq!(found, touched, "zone {edited}");
    }
    let other_rules = before.again(&zones, &Rules::default());
    assert!(!Arc::ptr_eq(&before.parts()[0].divided, &other_rules.parts()[0].divided));
}
