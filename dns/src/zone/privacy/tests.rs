//! One table for each rule id. A fixture is zone text whose lines say after a bar what becomes of their record:
//!
//! ```text
//! $ORIGIN example.              a zone begins; `| internal` if outside there is none
//! ns A 192.0.2.1                public, and the same inside
//! db A 10.0.0.1 | D1            hidden, for this reason
//! @ HTTPS 1 . … | D3 1 .        outsiders see this RDATA instead
//! www A 192.0.2.1 | split       public, but gives way inside
//! www HTTPS 1 . … | inside 1 .  the inside sees this RDATA instead
//! ```
//! A zone without a SOA line gets one.

use super::*;
use std::sync::Arc;

use crate::rtype::Type;
use crate::zone::{Mark, Position, text};

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

/// A zone and what its fixture says of it.
struct Fixture {
    zone: Zone,
    is_internal: bool,
    labels: Vec<String>,
}

fn read(fixture: &str) -> Vec<Fixture> {
    let mut zones: Vec<Fixture> = Vec::new();
    for (line, content) in (1..).zip(fixture.lines()) {
        let (content, label) = content.split_once(" | ").unwrap_or((content, ""));
        let (content, label) = (content.trim(), label.trim().to_owned());
        if let Some(apex) = content.strip_prefix("$ORIGIN ") {
            let zone = Zone { apex: name(apex), records: Vec::new(), files: Vec::new() };
            zones.push(Fixture { zone, is_internal: label == "internal", labels: Vec::new() });
        } else if !content.is_empty() {
            let fixture = zones.last_mut().expect("a fixture begins with $ORIGIN");
            fixture.zone.records.push(record(content, line, &fixture.zone.apex));
            fixture.labels.push(label);
        }
    }
    zones.into_iter().map(with_soa).collect()
}

fn with_soa(mut fixture: Fixture) -> Fixture {
    if fixture.zone.records.iter().all(|record| record.rtype != Type::SOA) {
        fixture.zone.records.push(record("@ SOA @ hostmaster 1 2 3 4 5", 0, &fixture.zone.apex));
        fixture.labels.push(if fixture.is_internal { "any".into() } else { String::new() });
    }
    fixture
}

fn record(content: &str, line: u32, apex: &Name) -> Record {
    let (content, mark) = match content.split_once(';').map(|(before, mark)| (before, mark.trim())) {
        Some((before, "verge: public")) => (before, Some(Mark::Public)),
        Some((before, "verge: internal")) => (before, Some(Mark::Internal)),
        _ => (content, None),
    };
    let mut words = content.splitn(3, ' ');
    let owner = Name::parse(words.next().unwrap(), Some(apex)).unwrap();
    let rtype: Type = words.next().unwrap().parse().unwrap();
    let rdata = text::read_rdata(rtype, words.next().unwrap(), apex)
        .unwrap_or_else(|fault| panic!("{content}: {fault:?}"));
    let at = Position { line, ..Position::default() };
    Record { owner, rtype, ttl: 60, rdata, at, mark }
}

fn rules() -> Rules {
    Rules {
        private: vec!["198.51.100.64/27".parse().unwrap()],
        internal_names: vec![name("int.example")],
        internal_zones: vec![name("closed.example")],
    }
}

/// Divides the fixture's zones in their order and in the reverse one, and holds each record to its label.
fn check(fixture: &str) {
    let mut fixtures = read(fixture);
    check_order(&fixtures);
    fixtures.reverse();
    check_order(&fixtures);
}

fn check_order(fixtures: &[Fixture]) {
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    for (fixture, divided) in fixtures.iter().zip(divide(&zones, &rules())) {
        let errors: Vec<_> = divided.problems.iter().filter(|it| it.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(divided.public.is_none(), fixture.is_internal, "{} is internal", fixture.zone.apex);
        for (index, expected) in fixture.labels.iter().enumerate().filter(|(_, expected)| *expected != "any")
        {
            let record = &fixture.zone.records[index];
            let line = format!("line {}: {} {}", record.at.line, record.owner, record.rtype);
            assert_eq!(label(&fixture.zone, &divided, index), *expected, "{line}");
        }
    }
}

/// What became of a record, as fixtures say it.
fn label(zone: &Zone, divided: &Divided, index: usize) -> String {
    let outside = divided.public.as_ref().and_then(|public| seen(zone, public, index));
    let inside = seen(zone, &divided.internal, index);
    let own = rdata_text(zone.records[index].rtype, &zone.records[index].rdata);
    let hidden = divided.hidden.iter().find(|hidden| hidden.record as usize == index);
    let extent = hidden.map(|hidden| (hidden.why.as_str(), hidden.extent));
    match (extent, outside, inside) {
        (None, Some(outside), Some(inside)) if outside == own && inside == own => String::new(),
        (None, Some(outside), Some(inside)) if outside == own => format!("inside {inside}"),
        (None, Some(outside), None) if outside == own => "split".into(),
        (Some((why, Extent::Record)), None, Some(inside)) if inside == own => why.into(),
        (Some((why, Extent::Part)), Some(outside), Some(inside)) if outside != own && inside == own => {
            format!("{why} {outside}")
        }
        (Some((why, Extent::Part)), Some(outside), Some(inside)) => {
            format!("{why} {outside} inside {inside}")
        }
        other => format!("unexpected: {other:?}"),
    }
}

fn seen(zone: &Zone, selection: &Selection, index: usize) -> Option<String> {
    let position = &zone.records[index];
    let found = selection.records(zone).find(|seen| std::ptr::eq(seen.record, position))?;
    Some(rdata_text(found.record.rtype, found.rdata))
}

fn rdata_text(rtype: Type, rdata: &[u8]) -> String {
    let mut out = String::new();
    text::write_rdata(rtype, rdata, &mut out).unwrap();
    // How text is quoted is not our subject.
    out.replace('"', "")
}

/// The problems of the fixture's first zone: severity, code, line.
fn check_problems(fixture: &str, expected: &[(Severity, &str, u32)]) {
    let fixtures = read(fixture);
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = &divide(&zones, &rules())[0];
    let found: Vec<_> =
        divided.problems.iter().map(|it| (it.severity, it.code, it.at.map_or(0, |at| at.line))).collect();
    assert_eq!(found, expected, "{:#?}", divided.problems);
    let is_refused = expected.iter().any(|(severity, ..)| *severity == Severity::Error);
    assert!(!is_refused || divided.public.is_none(), "an error fails closed");
}

#[test]
fn d1_special_purpose_addresses_and_what_cannot_be_decoded() {
    check(
        r"$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.5 | D1
        db6 AAAA fd00::1 | D1
        warehouse A 198.51.100.65 | private
        generic TYPE1 \# 4 0A000005 | D1
        unknown TYPE65280 \# 4 0A000005 | D1
        opaque NULL \# 4 0A000005 | D1
        known TYPE65280 \# 4 0A000005 ; verge: public
        web A 10.0.0.1 ; verge: public
        vpn A 192.0.2.7 ; verge: internal | mark
        x.int A 192.0.2.8 | internal_names
        y.int A 192.0.2.8 ; verge: public",
    );
    check("$ORIGIN corp. | internal\n@ NS ns.example. | D12\nns A 192.0.2.1 | D12");
    check("$ORIGIN .\n@ NS ns.example.\nns.example A 192.0.2.1\ndb.lan A 192.0.2.1 | special-use");
}

#[test]
fn d2_addresses_inside_addresses() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns AAAA 2001:db8::1
        mapped AAAA ::ffff:192.0.2.1 | D2
        sixtofour AAAA 2002:a00:1::1 | D2
        nat AAAA 64:ff9b::192.0.2.1 | split
        nat AAAA 64:ff9b::10.0.0.1 | D2",
    );
}

#[test]
fn d3_hints_are_stripped() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        @ HTTPS 1 . alpn=h2 ipv4hint=10.0.0.1,192.0.2.1 ipv6hint=fd00::1 | D3 1 . alpn=h2 ipv4hint=192.0.2.1
        web HTTPS 1 . mandatory=ipv4hint ipv4hint=10.0.0.1 | D3
        mix HTTPS 1 . mandatory=ipv4hint ipv4hint=10.0.0.1,192.0.2.1 | D3 1 . mandatory=ipv4hint ipv4hint=192.0.2.1
        pub HTTPS 1 . ipv4hint=10.0.0.1 ; verge: public
        fine SVCB 1 ns ipv4hint=192.0.2.1",
    );
}

#[test]
fn d4_other_types_that_bear_addresses() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        apl APL 1:192.0.2.0/24
        apl APL 1:192.0.2.0/24 !1:10.0.0.0/8 | D4
        key IPSECKEY 10 1 2 10.0.0.1 AQID | D4
        key IPSECKEY 10 1 2 192.0.2.1 AQID
        amt AMTRELAY 10 0 1 10.0.0.1 | D4
        l32 L32 10 10.0.0.1 | D4
        l64 L64 10 fd00:0:0:0 | D4
        l64 NID 10 14:4fff:ff20:ee64 | D7
        nid NID 10 0:5efe:0a00:1 | D4",
    );
}

#[test]
fn d5_mixed_sets_keep_their_public_part() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        api A 192.0.2.2 | split
        api A 10.0.0.2 | D1
        api TXT public",
    );
}

#[test]
fn d6_names_in_rdata_that_are_hidden() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.5 | D1
        a CNAME db | D6
        b CNAME a | D6
        c CNAME b | D6
        d DNAME db | D6
        @ MX 10 db | D6
        @ MX 20 ns
        s SRV 0 0 1 db | D6
        p PTR db | D6
        h HTTPS 1 db alpn=h2 | D6
        n NAPTR 1 1 S SIP \"\" db | D6
        f AFSDB 1 db | D6
        k KX 1 db | D6
        r RT 1 db | D6
        l LP 1 db | D6
        t TALINK ns db | D6
        m MINFO ns db | D6
        y DSYNC CDS NOTIFY 5300 db | D6
        rp RP ns db | D6
        rq RP db ns
        rs RP x.int ns | D6
        out CNAME db.elsewhere.
        suffix CNAME db.corp. | D6
        rev CNAME 1.0.0.10.in-addr.arpa. | D6
        missing CNAME nothing
        published CNAME db ; verge: public
        via CNAME published",
    );
}

#[test]
fn d6_the_node_that_answers_decides() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        * A 192.0.2.9
        ent CNAME sub | D6
        x.sub A 10.0.0.1 | D1
        *.w A 10.0.0.2 | D1
        from CNAME anything.w | D6
        any CNAME any.thing
        half.both A 192.0.2.3
        other.both A 10.0.0.3 | D1
        both2 CNAME both
        case CNAME X.SUB | D6",
    );
}

#[test]
fn d6_follows_names_across_zones_and_dnames() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        www CNAME db.other. | D6
        far CNAME x.d.third. | D6
        near CNAME y.d.third.
        gone CNAME ghost.dark. | D6
        round CNAME x.d.fifth. | D6
        $ORIGIN other.
        @ NS ns.example.
        db CNAME db.third. | D6
        $ORIGIN third.
        @ NS ns.example.
        db A 10.0.0.1 | D1
        d DNAME t.fourth.
        $ORIGIN fourth.
        @ NS ns.example.
        x.t A 10.0.0.1 | D1
        y.t A 192.0.2.1
        $ORIGIN fifth.
        @ NS ns.example.
        d DNAME d.third.
        loop DNAME loop.fifth.
        shown DNAME corp. ; verge: public
        into CNAME x.shown | D6
        $ORIGIN corp. | internal
        x A 192.0.2.1 | D12
        $ORIGIN dark. | internal
        @ NS ns | D13
        ns A 10.0.0.1 | D1",
    );
}

#[test]
fn d6_public_names_that_only_name_each_other_stay() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.1 | D1
        a CNAME b
        b CNAME a
        c SRV 0 0 1 d
        d SRV 0 0 1 c",
    );
}

#[test]
fn d7_other_data_goes_with_its_host() {
    check(
        "$ORIGIN example.
        @ NS ns
        @ A 10.0.0.1 | D1
        @ TXT stays
        _dmarc TXT stays
        ns A 192.0.2.1
        db A 10.0.0.1 | D1
        db AAAA fd00::1 | D1
        db TXT gone | D7
        db EUI48 00-00-5e-00-53-2a | D7
        _443._tcp.db TLSA 3 1 0 00 | D7
        x.y._tcp.db TXT gone | D7
        _a.ent.db TXT gone | D7
        pub.db A 192.0.2.5
        _b.pub.db TXT stays
        _acme-challenge.db TXT stays ; verge: public
        split A 10.0.0.2 | D1
        split A 192.0.2.2 | split
        split TXT stays
        _x.split TXT stays
        alias CNAME gone | D6
        gone A 10.0.0.3 | D1
        _x.alias TXT gone | D7
        out A 10.0.0.9 | D1
        out CNAME cdn.elsewhere. | split
        cut A 10.0.0.4 | D1
        cut NS ns
        cut DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000",
    );
}

#[test]
fn d7_a_public_mx_keeps_mx_txt_and_caa() {
    check(
        r#"$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        mail A 10.0.0.1 | D1
        mail MX 10 ns
        mail TXT "v=spf1 mx -all"
        mail CAA 0 issue "ca.example"
        mail EUI48 00-00-5e-00-53-2a | D7
        lost A 10.0.0.2 | D1
        lost MX 10 late | D6
        lost TXT gone | D7
        lost CAA 0 issue "ca.example" | D7
        late CNAME later | D6
        later CNAME mailhub | D6
        mailhub A 10.0.0.3 | D1"#,
    );
}

#[test]
fn d8_empty_non_terminals_are_pruned() {
    let fixtures =
        read("$ORIGIN example.\n@ NS ns\nns A 192.0.2.1\na.b.c A 10.0.0.1\nx CNAME c\ny CNAME b.c");
    let divided = &divide(&[&fixtures[0].zone], &rules())[0];
    let owners: Vec<_> = divided.public.as_ref().unwrap().records(&fixtures[0].zone).collect();
    let under_c = owners.iter().filter(|seen| seen.record.owner.is_at_or_under(&name("c.example")));
    assert_eq!(under_c.count(), 0);
    assert_eq!(owners.len(), 3, "NS, A and SOA; who names an empty non-terminal that is gone goes too");
}

#[test]
fn d9_and_d10_wildcards() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        *.apps A 192.0.2.2
        admin.apps A 10.0.0.1 | D1
        to-admin CNAME admin.apps | D6
        *.lab A 10.0.0.2 | D1
        *.lab TXT gone | D7
        shown.lab A 192.0.2.3",
    );
}

#[test]
fn d11_private_reverse_space() {
    check("$ORIGIN 10.in-addr.arpa. | internal\n@ NS ns.example. | D11\n1.0.0 PTR db.example. | D11");
    check(
        "$ORIGIN 100.51.198.in-addr.arpa.
        @ NS ns.example.
        1 PTR www.example.
        2 PTR db.example. | D6
        65 PTR www.example. | D11
        $ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        www A 198.51.100.1
        db A 10.0.0.1 | D1",
    );
    check(
        "$ORIGIN arpa.\n@ NS ns.example.\n1.0.0.10.in-addr A 192.0.2.1 | D11\n10.in-addr NS x.example. | D11",
    );
    for (apex, expected) in [
        ("10.in-addr.arpa", true),
        ("5.16.172.in-addr.arpa", true),
        ("32.172.in-addr.arpa", false),
        ("home.arpa", true),
        ("x.closed.example", true),
        ("example", false),
    ] {
        assert_eq!(is_internal_zone(&name(apex), &rules()), expected, "{apex}");
    }
}

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
    check_problems("$ORIGIN example.\n@ NS ns0\nns0 A 10.0.0.1\nwww TXT x", &[(Severity::Error, "D13", 2)]);
    check_problems(
        "$ORIGIN example.\n@ SOA ns0.corp. h 1 2 3 4 5\nwww TXT x",
        &[(Severity::Error, "D13", 2)],
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
fn d15_signed_files_with_hidden_data_are_refused() {
    let signature = "RRSIG A 8 2 60 20300101000000 20200101000000 1 example. AAAA";
    let signed = |tail: &str| format!("$ORIGIN example.\n@ NS a.\nwww {signature}\nwww TXT x\n{tail}");
    check_problems(&signed(""), &[]);
    check_problems(&signed("db A 10.0.0.1"), &[(Severity::Error, "D15", 3)]);
    check_problems(&signed("h HTTPS 1 . ipv4hint=10.0.0.1"), &[(Severity::Error, "D15", 3)]);
    check_problems("$ORIGIN example.\n@ NS a.\n@ NSEC b NS\ndb A 10.0.0.1", &[(Severity::Error, "D15", 3)]);
    check_problems("$ORIGIN corp.\n@ NS a.\n@ NSEC b NS\ndb A 10.0.0.1", &[]);
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
    check_problems(&zone("m A 10.0.0.1\n_dmarc.m TXT x"), &[]);
    check_problems(&zone("m A 10.0.0.1\nm MX 1 a.\n_dmarc.m TXT x"), &[(Severity::Warning, "D7", 5)]);
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
fn equal_sets_and_equal_trees_are_one_value() {
    let fixtures = read(
        "$ORIGIN example.\n@ NS a.\nx A 8.8.8.8\nx TXT t\nx A 10.0.0.1\n$ORIGIN open.\n@ NS a.\nx A 8.8.8.8",
    );
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = divide(&zones, &rules());
    let mixed = trees(zones[0], &divided[0]);
    let set = |tree: &Arc<crate::zone::tree::Tree>, rtype| {
        let x = name("x.example");
        Arc::clone(tree.node(x.as_wire()).unwrap().set(rtype).unwrap())
    };
    let public = mixed.public.unwrap();
    assert!(Arc::ptr_eq(&set(&public, Type::TXT), &set(&mixed.internal, Type::TXT)));
    assert_eq!(set(&public, Type::A).rdatas().collect::<Vec<_>>(), [[8, 8, 8, 8]]);
    assert_eq!(set(&mixed.internal, Type::A).rdatas().collect::<Vec<_>>(), [[10, 0, 0, 1]]);
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
