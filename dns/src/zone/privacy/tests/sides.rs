//! Records of one side only, and zones that are published as a whole.

use super::super::*;
use super::fixture::{check, check_problems, read, rules};
use crate::rtype::Type;

/// `; verge: outside` beside `; verge: internal`: another SPF, another mail host, other servers and numbers.
#[test]
fn marks_give_each_side_records_of_its_own() {
    check(
        r#"$ORIGIN example.
        @ SOA ns1 hostmaster 7 2 3 4 5 ; verge: outside | split
        @ SOA ns0 hostmaster 8 2 3 4 5 ; verge: internal | mark
        @ NS ns1 ; verge: outside | split
        @ NS ns0 ; verge: internal | mark
        ns1 A 192.0.2.53
        ns0 A 10.0.0.53 | D1
        @ TXT "v=spf1 ip4:192.0.2.25 -all" ; verge: outside | split
        @ TXT "v=spf1 ip4:10.0.0.25 -all" ; verge: internal | mark
        @ TXT both
        @ MX 10 mx.elsewhere. ; verge: outside | split
        @ MX 10 mail ; verge: internal | mark
        mail A 10.0.0.25 | D1
        only TXT outside ; verge: outside | split"#,
    );
}

/// `; verge: both` keeps a record on both sides: no rule hides it, and internal records do not stand in for it.
#[test]
fn a_record_that_is_marked_for_both_sides_stays_on_both() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        www A 192.0.2.2 | split
        www A 192.0.2.3 ; verge: both
        www A 10.0.0.2 | D1
        www HTTPS 1 . ipv4hint=192.0.2.2 | inside 1 .
        api HTTPS 1 www ipv4hint=192.0.2.3 ; verge: both
        db A 10.0.0.3 ; verge: both",
    );
}

/// The mark takes a record from insiders; what outsiders see, the rules say.
#[test]
fn an_outside_mark_publishes_nothing() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.1 | D1",
    );
    let fixtures = read("$ORIGIN example.\n@ NS a.\ndb A 10.0.0.1 ; verge: outside");
    let divided = divide(&[&fixtures[0].zone], &rules()).remove(0);
    assert_eq!(divided.hidden.iter().map(|hidden| hidden.why).collect::<Vec<_>>(), [Rule::D1]);
    assert!(divided.published.is_empty());
    check_problems(
        "$ORIGIN example.\n@ NS a.\ndb A 10.0.0.1 ; verge: outside\nw A 8.8.8.8",
        &[(Severity::Warning, "mark", 3)],
    );
}

/// A zone that is published as a whole publishes no record that a mark makes internal, and no hint that repeats it.
#[test]
fn a_public_zone_gives_no_hint_of_a_record_that_is_marked_internal() {
    check(
        "$ORIGIN lab.home.arpa.
        @ NS db
        db A 10.33.0.1
        www A 192.0.2.2 | split
        www A 192.0.2.3 ; verge: internal | mark
        www HTTPS 1 . ipv4hint=192.0.2.2,192.0.2.3 | D3 1 . ipv4hint=192.0.2.2 inside 1 . ipv4hint=192.0.2.3
        www HTTPS 2 . ipv4hint=192.0.2.3 ; verge: public | inside 2 .
        only HTTPS 1 www mandatory=ipv4hint ipv4hint=192.0.2.3 | D3
        lab HTTPS 1 db ipv4hint=10.33.0.1",
    );
}

/// Case 17: AS112 servers (RFC 7534) and labs publish private names and addresses on purpose.
#[test]
fn public_zones_are_published_as_a_whole() {
    check(
        "$ORIGIN 33.10.in-addr.arpa.
        @ SOA prisoner.iana.org. hostmaster.root-servers.org. 1 2 3 4 5
        @ NS blackhole-1.iana.org.
        1.0 PTR db.lab.home.arpa.
        2.0 PTR db.lab.home.arpa. ; verge: internal | mark
        $ORIGIN lab.home.arpa.
        @ NS db
        db A 10.33.0.1
        db MX 10 db
        db HTTPS 1 . ipv4hint=10.33.0.1
        x CNAME db
        $ORIGIN home.arpa. | internal
        @ NS ns | D12
        $ORIGIN example.
        @ NS a.
        to CNAME db.lab.home.arpa.
        other CNAME db.corp. | D6",
    );
    let fixtures = read("$ORIGIN lab.home.arpa.\n@ NS db\ndb A 10.33.0.1\nweb A 8.8.8.8");
    let divided = divide(&[&fixtures[0].zone], &rules()).remove(0);
    assert_eq!(divided.published.len(), 1, "the guard lets its addresses pass");
    assert_eq!(
        divided.problems[0].message,
        "`[public] zones` publishes everything in lab.home.arpa. on purpose; 1 of its records hold private addresses"
    );
    assert_eq!(fixtures[0].zone.records.iter().filter(|record| record.rtype == Type::SOA).count(), 1);
}
