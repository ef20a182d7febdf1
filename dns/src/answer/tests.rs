//! Zones, questions and what is said to them, as NSD 4.6, Knot 3.2 and BIND 9.18 say it.

mod signed;

use std::fmt::Write as _;

use super::*;
use crate::view::View;
use crate::zone::text::write_rdata;
use crate::zone::tree::testing::{TTL, name, view};

const EX: &str = "
    @ 600 SOA ns1 h 1 2 3 4 100
    @ NS ns1
    @ NS ns2.other.
    @ MX 10 mail
    @ MX 20 m.wild
    ns1 A 192.0.2.1
    ns1 AAAA 2001:db8::1
    mail A 192.0.2.2
    *.wild A 192.0.2.3
    here.wild TXT x
    a.ent.wild TXT x
    *.wildcn CNAME mail
    *.wildcx CNAME nope
    *.wildloop CNAME a.wildloop
    *.wilddn DNAME mail
    *.wildns NS ns1
    srv SRV 0 0 1 mail
    srv SRV 0 0 1 ns1
    svcb HTTPS 1 mail
    svcb2 HTTPS 0 svcbdot
    svcbdot HTTPS 1 .
    svcbdot A 192.0.2.7
    alias HTTPS 0 .
    alias A 192.0.2.8
    kx KX 1 mail
    rt RT 1 mail
    mxcn MX 1 cn
    mxglue MX 1 g.sub
    cn CNAME mail
    cnx CNAME nope
    cnent CNAME ent
    cnsub CNAME a.sub
    cnout CNAME www.nowhere.
    cnbr CNAME www.broken.
    cn2 CNAME www.other2.
    cn3 CNAME no.other2.
    loop1 CNAME loop2
    loop2 CNAME loop1
    a.ent TXT e
    a.*.starent TXT x
    sub NS g.sub
    sub NS s.sib
    sub NS o.out.
    sub DS 1 8 2 aabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccdd
    g.sub A 192.0.2.9
    g.sub TXT occluded
    sib NS s.sib
    s.sib A 192.0.2.10
    wild.cut NS ns.wild.cut
    *.wild.cut A 192.0.2.11
    dn DNAME target
    dn A 192.0.2.20
    x.dn A 192.0.2.21
    a.target A 192.0.2.22
    dnl DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    dnself DNAME y.dnself
    dnsub DNAME sub
    dnapex DNAME other2.
    s.s.dnback DNAME s.dnback
    x.s.dnback A 192.0.2.23
    dnround DNAME dnsquare
    dnsquare DNAME dnround
    any A 192.0.2.30
    any TXT z
    *.a.b.c.d TXT five
";

const OTHER2: &str = "
    @ SOA ns1.ex. h.ex. 1 2 3 4 1000
    @ NS ns1.ex.
    www A 192.0.2.40
    mx MX 5 mail.ex.
";

const CHILD: &str = "
    @ SOA ns1.ex. h.ex. 1 2 3 4 100
    @ NS ns1.ex.
    @ TXT child
";

const DNAPEX: &str = "
    @ SOA ns1.ex. h.ex. 1 2 3 4 100
    @ NS ns1.ex.
    @ DNAME ex.
";

const SIGNED: &str = "
    @ SOA ns1.ex. h.ex. 1 2 3 4 100
    @ NS ns1.ex.
    @ DNSKEY 257 3 8 AwEAAaaa
    with NS ns1.ex.
    with DS 1 8 2 aabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccdd
    without NS ns1.ex.
";

fn zones() -> View {
    view(&[
        ("ex.", EX),
        ("other2.", OTHER2),
        ("nods.ex.", CHILD),
        ("deep.below.sub.ex.", CHILD),
        ("dnapex.", DNAPEX),
        ("signed.", SIGNED),
        ("broken.", "broken"),
    ])
}

/// One line a section: rcode and AA, then `answer`, `authority`, `additional` as far as they hold something.
fn shown(answer: &Answer<'_, '_>) -> String {
    let mut text = answer.rcode.to_string();
    if answer.authoritative {
        text += " aa";
    }
    for (section, placed) in
        [("answer", &answer.answer), ("authority", &answer.authority), ("additional", &answer.additional)]
    {
        for placed in placed {
            for rdata in placed.set.rdatas() {
                write!(text, "\n{section} {} ", Name::from_wire(&placed.owner).unwrap()).unwrap();
                if placed.ttl != TTL {
                    write!(text, "{} ", placed.ttl).unwrap();
                }
                write!(text, "{} ", placed.set.rtype).unwrap();
                write_rdata(placed.set.rtype, rdata, &mut text).unwrap();
            }
            for rdata in placed.covering() {
                let covered = Type(u16::from_be_bytes([rdata[0], rdata[1]]));
                write!(text, " +{covered} signed").unwrap();
            }
        }
    }
    text
}

fn ask(view: &View, qname: &str, qtype: &str, dnssec_ok: bool, qclass: Class) -> String {
    let qname = name(qname);
    let query = Query {
        qname: qname.as_wire(),
        qtype: qtype.parse().unwrap(),
        qclass,
        dnssec_ok,
        asker: Asker::default(),
    };
    shown(&answer(view, query))
}

fn check(question: &str, expected: &str) {
    let words: Vec<&str> = question.split(' ').collect();
    let said = ask(&zones(), words[0], words[1], words.contains(&"+do"), Class::In);
    let lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
    let addresses = "additional ns1.ex. A 192.0.2.1\nadditional ns1.ex. AAAA 2001:db8::1";
    let soa = "authority ex. 100 SOA ns1.ex. h.ex. 1 2 3 4 100";
    let expected: Vec<&str> = lines
        .map(|line| match line {
            "ADDRESSES" => addresses,
            "SOA" => soa,
            line => line,
        })
        .collect();
    assert_eq!(said, expected.join("\n"), "{question}");
}

#[test]
fn positive_answers_carry_the_addresses_of_their_targets() {
    check("mail.ex. A", "NOERROR aa\nanswer mail.ex. A 192.0.2.2");
    check("ex. NS", "NOERROR aa\nanswer ex. NS ns1.ex.\nanswer ex. NS ns2.other.\nADDRESSES");
    check("ex. SOA", "NOERROR aa\nanswer ex. 600 SOA ns1.ex. h.ex. 1 2 3 4 100");
    check(
        "ex. MX",
        "NOERROR aa
         answer ex. MX 10 mail.ex.
         answer ex. MX 20 m.wild.ex.
         additional mail.ex. A 192.0.2.2
         additional m.wild.ex. A 192.0.2.3",
    );
    check(
        "srv.ex. SRV",
        "NOERROR aa
         answer srv.ex. SRV 0 0 1 mail.ex.
         answer srv.ex. SRV 0 0 1 ns1.ex.
         additional mail.ex. A 192.0.2.2
         ADDRESSES",
    );
    for (owner, text) in [("svcb", "HTTPS 1 mail.ex."), ("kx", "KX 1 mail.ex."), ("rt", "RT 1 mail.ex.")] {
        let qtype = text.split(' ').next().unwrap();
        check(
            &format!("{owner}.ex. {qtype}"),
            &format!("NOERROR aa\nanswer {owner}.ex. {text}\nadditional mail.ex. A 192.0.2.2"),
        );
    }
    check(
        "svcbdot.ex. HTTPS",
        "NOERROR aa
         answer svcbdot.ex. HTTPS 1 .
         additional svcbdot.ex. A 192.0.2.7",
    );
    check(
        "svcb2.ex. HTTPS",
        "NOERROR aa
         answer svcb2.ex. HTTPS 0 svcbdot.ex.
         additional svcbdot.ex. A 192.0.2.7
         additional svcbdot.ex. HTTPS 1 .",
    );
    check("alias.ex. HTTPS", "NOERROR aa\nanswer alias.ex. HTTPS 0 .");
    check("mxcn.ex. MX", "NOERROR aa\nanswer mxcn.ex. MX 1 cn.ex.");
    check("mxglue.ex. MX", "NOERROR aa\nanswer mxglue.ex. MX 1 g.sub.ex.");
    check("mx.other2. MX", "NOERROR aa\nanswer mx.other2. MX 5 mail.ex.");
    check("ns1.ex. A", "NOERROR aa\nanswer ns1.ex. A 192.0.2.1");
}

#[test]
fn negative_answers_carry_the_soa_with_the_lesser_of_ttl_and_minimum() {
    check("nope.ex. A", "NXDOMAIN aa\nSOA");
    check("x.nope.ex. A", "NXDOMAIN aa\nSOA");
    check("mail.ex. MX", "NOERROR aa\nSOA");
    check("mail.ex. TYPE666", "NOERROR aa\nSOA");
    check("x.mail.ex. A", "NXDOMAIN aa\nSOA");
    check("ent.ex. A", "NOERROR aa\nSOA");
    check("ent.ex. ANY", "NOERROR aa\nSOA");
    check("mail.ex. RRSIG", "NOERROR aa\nSOA");
    check("mail.ex. MAILB", "NOERROR aa\nSOA");
    check("no.other2. A", "NXDOMAIN aa\nauthority other2. SOA ns1.ex. h.ex. 1 2 3 4 1000");
}

#[test]
fn wildcards_answer_what_does_not_exist_below_their_parent() {
    check("x.wild.ex. A", "NOERROR aa\nanswer x.wild.ex. A 192.0.2.3");
    check("x.y.wild.ex. A", "NOERROR aa\nanswer x.y.wild.ex. A 192.0.2.3");
    check("*.wild.ex. A", "NOERROR aa\nanswer *.wild.ex. A 192.0.2.3");
    check("x.*.wild.ex. A", "NXDOMAIN aa\nSOA");
    check("x.wild.ex. MX", "NOERROR aa\nSOA");
    check("wild.ex. A", "NOERROR aa\nSOA");
    check("here.wild.ex. A", "NOERROR aa\nSOA");
    check("x.here.wild.ex. A", "NXDOMAIN aa\nSOA");
    check("ent.wild.ex. A", "NOERROR aa\nSOA");
    check("x.ent.wild.ex. A", "NXDOMAIN aa\nSOA");
    check("x.starent.ex. A", "NOERROR aa\nSOA");
    check("x.a.b.c.d.ex. TXT", "NOERROR aa\nanswer x.a.b.c.d.ex. TXT \"five\"");
    check("x.b.c.d.ex. TXT", "NXDOMAIN aa\nSOA");
    check(
        "x.wildcn.ex. A",
        "NOERROR aa
         answer x.wildcn.ex. CNAME mail.ex.
         answer mail.ex. A 192.0.2.2",
    );
    check("x.wildcx.ex. A", "NXDOMAIN aa\nanswer x.wildcx.ex. CNAME nope.ex.\nSOA");
    check("x.wilddn.ex. A", "NOERROR aa\nSOA");
    check("x.wilddn.ex. DNAME", "NOERROR aa\nanswer x.wilddn.ex. DNAME mail.ex.");
    check(
        "y.*.wilddn.ex. A",
        "NXDOMAIN aa\nanswer *.wilddn.ex. DNAME mail.ex.\nanswer y.*.wilddn.ex. CNAME y.mail.ex.\nSOA",
    );
    check("*.wildns.ex. A", "NOERROR\nauthority *.wildns.ex. NS ns1.ex.\nADDRESSES");
}

#[test]
fn aliases_are_followed_and_the_last_name_decides() {
    check("cn.ex. A", "NOERROR aa\nanswer cn.ex. CNAME mail.ex.\nanswer mail.ex. A 192.0.2.2");
    check("cn.ex. CNAME", "NOERROR aa\nanswer cn.ex. CNAME mail.ex.");
    check("cn.ex. MX", "NOERROR aa\nanswer cn.ex. CNAME mail.ex.\nSOA");
    check("cnx.ex. A", "NXDOMAIN aa\nanswer cnx.ex. CNAME nope.ex.\nSOA");
    check("cnent.ex. A", "NOERROR aa\nanswer cnent.ex. CNAME ent.ex.\nSOA");
    check("cnout.ex. A", "NOERROR aa\nanswer cnout.ex. CNAME www.nowhere.");
    check("cnbr.ex. A", "NOERROR aa\nanswer cnbr.ex. CNAME www.broken.");
    check(
        "cn2.ex. A",
        "NOERROR aa
         answer cn2.ex. CNAME www.other2.
         answer www.other2. A 192.0.2.40",
    );
    check(
        "cn3.ex. A",
        "NXDOMAIN aa
         answer cn3.ex. CNAME no.other2.
         authority other2. SOA ns1.ex. h.ex. 1 2 3 4 1000",
    );
    check("loop1.ex. A", "NOERROR aa\nanswer loop1.ex. CNAME loop2.ex.\nanswer loop2.ex. CNAME loop1.ex.");
    check(
        "b.wildloop.ex. A",
        "NOERROR aa\nanswer b.wildloop.ex. CNAME a.wildloop.ex.\nanswer a.wildloop.ex. CNAME a.wildloop.ex.",
    );
    check(
        "cnsub.ex. A",
        "NOERROR aa
         answer cnsub.ex. CNAME a.sub.ex.
         authority sub.ex. NS g.sub.ex.
         authority sub.ex. NS s.sib.ex.
         authority sub.ex. NS o.out.
         additional g.sub.ex. A 192.0.2.9
         additional s.sib.ex. A 192.0.2.10",
    );
}

#[test]
fn a_chain_is_cut_after_so_many_names() {
    let mut zone = String::from("@ SOA ns1.ex. h.ex. 1 2 3 4 100\n");
    for at in 0..40 {
        writeln!(zone, "c{at} CNAME c{}", at + 1).unwrap();
    }
    let view = view(&[("ex.", &zone)]);
    let said = ask(&view, "c0.ex.", "A", false, Class::In);
    assert_eq!(said.lines().count(), 1 + MOST_FOLLOWED + 1);
    assert!(said.starts_with("NOERROR aa"), "{said}");
}

const SUB: &str = "
    authority sub.ex. NS g.sub.ex.
    authority sub.ex. NS s.sib.ex.
    authority sub.ex. NS o.out.
    additional g.sub.ex. A 192.0.2.9
    additional s.sib.ex. A 192.0.2.10";

#[test]
fn delegations_refer_with_glue_and_hide_what_is_below() {
    for question in ["sub.ex. A", "q.sub.ex. A", "g.sub.ex. A", "g.sub.ex. TXT", "sub.ex. NS", "q.sub.ex. DS"]
    {
        check(question, &format!("NOERROR\n{SUB}"));
    }
    // An unsigned zone has no use for DS in a referral; NSD, Knot and BIND agree.
    check("sub.ex. A +do", &format!("NOERROR\n{SUB}"));
    check("q.sib.ex. A", "NOERROR\nauthority sib.ex. NS s.sib.ex.\nadditional s.sib.ex. A 192.0.2.10");
}

#[test]
fn ds_belongs_to_the_parents_side() {
    let ds = "answer sub.ex. DS 1 8 2 AABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDD";
    check("sub.ex. DS", &format!("NOERROR aa\n{ds}"));
    check("sib.ex. DS", "NOERROR aa\nSOA");
    check("ex. DS", "NOERROR aa\nSOA");
    // The child is served here too, and the parent knows nothing of it.
    check("nods.ex. DS", "NOERROR aa\nSOA");
    check("x.nods.ex. DS", "NXDOMAIN aa\nauthority nods.ex. 100 SOA ns1.ex. h.ex. 1 2 3 4 100");
    check("deep.below.sub.ex. DS", &format!("NOERROR\n{SUB}"));
    check(
        "x.with.signed. A +do",
        "NOERROR
         authority with.signed. NS ns1.ex.
         authority with.signed. DS 1 8 2 AABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDDAABBCCDD",
    );
    check("x.with.signed. A", "NOERROR\nauthority with.signed. NS ns1.ex.");
    check("x.without.signed. A +do", "NOERROR\nauthority without.signed. NS ns1.ex.");
}

#[test]
fn dname_replaces_what_is_below_its_owner() {
    let redirected = "answer dn.ex. DNAME target.ex.\nanswer a.dn.ex. CNAME a.target.ex.";
    check("a.dn.ex. A", &format!("NOERROR aa\n{redirected}\nanswer a.target.ex. A 192.0.2.22"));
    check("a.dn.ex. CNAME", &format!("NOERROR aa\n{redirected}"));
    check("a.dn.ex. DNAME", &format!("NOERROR aa\n{redirected}\nSOA"));
    check(
        "b.dn.ex. A",
        "NXDOMAIN aa\nanswer dn.ex. DNAME target.ex.\nanswer b.dn.ex. CNAME b.target.ex.\nSOA",
    );
    check(
        "x.dn.ex. A",
        "NXDOMAIN aa\nanswer dn.ex. DNAME target.ex.\nanswer x.dn.ex. CNAME x.target.ex.\nSOA",
    );
    check("dn.ex. A", "NOERROR aa\nanswer dn.ex. A 192.0.2.20");
    check("dn.ex. DNAME", "NOERROR aa\nanswer dn.ex. DNAME target.ex.");
    check("dn.ex. MX", "NOERROR aa\nSOA");
    check(
        "a.dnself.ex. A",
        "NOERROR aa\nanswer dnself.ex. DNAME y.dnself.ex.\nanswer a.dnself.ex. CNAME a.y.dnself.ex.",
    );
    check(
        "a.dnsub.ex. A",
        &format!("NOERROR aa\nanswer dnsub.ex. DNAME sub.ex.\nanswer a.dnsub.ex. CNAME a.sub.ex.\n{SUB}"),
    );
    check(
        "www.dnapex.ex. A",
        "NOERROR aa
         answer dnapex.ex. DNAME other2.
         answer www.dnapex.ex. CNAME www.other2.
         answer www.other2. A 192.0.2.40",
    );
    check(
        "mail.dnapex. A",
        "NOERROR aa
         answer dnapex. DNAME ex.
         answer mail.dnapex. CNAME mail.ex.
         answer mail.ex. A 192.0.2.2",
    );
    check(
        "x.s.s.s.dnback.ex. A",
        "NOERROR aa
         answer s.s.dnback.ex. DNAME s.dnback.ex.
         answer x.s.s.s.dnback.ex. CNAME x.s.s.dnback.ex.
         answer x.s.s.dnback.ex. CNAME x.s.dnback.ex.
         answer x.s.dnback.ex. A 192.0.2.23",
    );
    check(
        "x.dnround.ex. A",
        "NOERROR aa
         answer dnround.ex. DNAME dnsquare.ex.
         answer x.dnround.ex. CNAME x.dnsquare.ex.
         answer dnsquare.ex. DNAME dnround.ex.
         answer x.dnsquare.ex. CNAME x.dnround.ex.",
    );
    check("dnapex. A", "NOERROR aa\nauthority dnapex. 100 SOA ns1.ex. h.ex. 1 2 3 4 100");
}

#[test]
fn a_substitution_that_is_too_long_is_yxdomain() {
    let long = format!("{}.dnl.ex. A", "a".repeat(40));
    let said = ask(&zones(), long.split(' ').next().unwrap(), "A", false, Class::In);
    assert!(said.starts_with("YXDOMAIN aa\nanswer dnl.ex. DNAME"), "{said}");
    assert_eq!(said.lines().count(), 2);
}

#[test]
fn any_gets_one_small_set() {
    check("any.ex. ANY", "NOERROR aa\nanswer any.ex. A 192.0.2.30");
    check("cn.ex. ANY", "NOERROR aa\nanswer cn.ex. CNAME mail.ex.");
    check("nope.ex. ANY", "NXDOMAIN aa\nSOA");
    check("x.wild.ex. ANY", "NOERROR aa\nanswer x.wild.ex. A 192.0.2.3");
    check("sub.ex. ANY", &format!("NOERROR\n{SUB}"));
}

#[test]
fn any_gets_what_clients_can_use_rather_than_what_only_zones_and_validators_need() {
    let any = view(&[(
        "any.",
        "@ SOA ns1.ex. h.ex. 1 2 3 4 100
         @ NS ns1.ex.
         v6 TXT text
         v6 AAAA 2001:db8::1
         mail HINFO cpu os
         mail MX 1 v6
         key DNSKEY 257 3 8 AwEAAaaa
         key CAA 0 issue ca.example
         proof NSEC @ TXT
         proof URI 1 1 x
         only DNSKEY 257 3 8 AwEAAaaa",
    )]);
    for (name, expected) in [
        ("any.", "SOA"),
        ("v6.any.", "AAAA"),
        ("mail.any.", "MX"),
        ("key.any.", "CAA"),
        ("proof.any.", "URI"),
        ("only.any.", "DNSKEY"),
    ] {
        let said = ask(&any, name, "ANY", false, Class::In);
        let records: Vec<&str> = said.lines().skip(1).collect();
        assert_eq!(records.len(), 1, "{said}");
        assert!(records[0].contains(&format!(" {expected} ")), "{name} {said}");
    }
}

#[test]
fn unknown_and_broken_zones() {
    check("nowhere. A", "REFUSED");
    check("broken. A", "SERVFAIL");
    check("x.y.broken. A", "SERVFAIL");
    check(". NS", "REFUSED");
}

#[test]
fn class_any_is_never_authoritative() {
    assert_eq!(ask(&zones(), "mail.ex.", "A", false, Class::Any), "NOERROR\nanswer mail.ex. A 192.0.2.2");
}
