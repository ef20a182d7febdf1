//! One table for each rule id.

mod fixture;
mod hosts;
mod sides;
mod targets;
mod told;
mod zones;

use fixture::{check, name, read, rules};

use super::*;

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

/// An address that is hidden where a record leads to is no hint for outsiders, though it is a public one by itself.
#[test]
fn d3_hints_that_repeat_hidden_addresses_are_stripped() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        www A 192.0.2.2 | split
        www A 192.0.2.3 ; verge: internal | mark
        www HTTPS 1 . ipv4hint=192.0.2.2,192.0.2.3 | D3 1 . ipv4hint=192.0.2.2 inside 1 . ipv4hint=192.0.2.3
        www HTTPS 2 . mandatory=ipv4hint ipv4hint=192.0.2.3 | D3
        www HTTPS 3 . mandatory=ipv4hint ipv4hint=10.0.0.1,192.0.2.3 | D3
        www HTTPS 4 . ipv4hint=10.0.0.1,192.0.2.3 alpn=h2 | D3 4 . alpn=h2
        _dns.www SVCB 1 www alpn=dot ipv4hint=192.0.2.3 | D3 1 www.example. alpn=dot
        own HTTPS 1 other.test. ipv4hint=192.0.2.9 | D3 1 other.test.
        own A 192.0.2.9 ; verge: internal | mark
        own A 192.0.2.8 | split
        al CNAME www
        h HTTPS 1 al ipv4hint=192.0.2.3 | D3 1 al.example.
        both A 192.0.2.3
        b HTTPS 1 both ipv4hint=192.0.2.3
        pub HTTPS 1 al ipv4hint=192.0.2.3 ; verge: public
        *.w A 192.0.2.4 | split
        *.w A 192.0.2.5 ; verge: internal | mark
        x HTTPS 1 a.w ipv4hint=192.0.2.5,192.0.2.6 | D3 1 a.w.example. ipv4hint=192.0.2.6 inside 1 a.w.example. ipv4hint=192.0.2.5
        d DNAME w
        y HTTPS 1 q.d ipv4hint=192.0.2.5 | D3 1 q.d.example.
        sub NS ns.sub
        ns.sub A 192.0.2.6 | split
        ns.sub A 192.0.2.7 ; verge: internal | mark
        g HTTPS 1 ns.sub ipv4hint=192.0.2.7 | D3 1 ns.sub.example.
        t A 192.0.2.10 ; verge: outside | split
        t CNAME db ; verge: internal | mark
        t HTTPS 1 . ipv4hint=192.0.2.10,192.0.2.11 | D3 1 . ipv4hint=192.0.2.10 inside 1 . ipv4hint=192.0.2.11
        db A 192.0.2.11 ; verge: internal | mark
        only HTTPS 1 www mandatory=ipv4hint ipv4hint=192.0.2.3 | D3
        to-only MX 1 only | D6
        $ORIGIN other.
        @ NS ns.example.
        x HTTPS 1 www.example. ipv4hint=192.0.2.3 | D3 1 www.example.
        y CNAME al.example.
        z HTTPS 1 y ipv4hint=192.0.2.3 | D3 1 y.other.",
    );
}

/// Other records at the name to which the record leads are no reason.
#[test]
fn d3_a_hint_stays_that_is_a_public_address_where_the_record_leads_to() {
    for beside in ["c CNAME t", "c TXT t"] {
        check(&format!(
            "$ORIGIN example.
            @ NS ns.other.
            own A 192.0.2.8 | split
            own A 192.0.2.9 ; verge: internal | mark
            own HTTPS 1 t.other. ipv4hint=192.0.2.9 | inside 1 t.other.
            $ORIGIN other.
            @ NS ns
            ns A 192.0.2.1
            t A 192.0.2.9
            {beside}"
        ));
    }
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

/// Cases 01 and 02: what keeps a target's node outside is not an address.
/// F13: what the server does not follow to its end it does not begin.
/// F08: a name that does not exist below a hidden one would tell of it.
/// F19: outsiders who send to a name, or get mail from it, ask for these.
/// F10: SRV and TXT of a name describe one service (RFC 6763 §6).
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
