//! Answers from a zone that was signed before it came to us.

use std::fmt::Write as _;

use super::super::Class;
use super::ask;
use crate::view::View;
use crate::zone::tree::testing::view;

/// A zone that was signed before it came to us; the signatures' bytes are nobody's business here.
fn pre_signed() -> View {
    let mut zone = String::from(
        "@ SOA ns1 h 1 2 3 4 100
         @ NS ns1
         @ DNSKEY 257 3 8 AwEAAaaa
         @ NSEC a.ent SOA
         a.ent TXT e
         a.ent NSEC mail TXT
         mail A 192.0.2.2
         mail NSEC ns1 A
         ns1 A 192.0.2.1
         ns1 NSEC sec A
         sec NS ns1
         sec DS 1 8 2 aabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccddaabbccdd
         sec NSEC uns NS
         uns NS g.uns
         uns NSEC *.wild NS
         g.uns A 192.0.2.9
         *.wild A 192.0.2.3
         *.wild NSEC @ A\n",
    );
    for (owner, types) in [
        ("@", &["SOA", "NS", "DNSKEY", "NSEC"][..]),
        ("a.ent", &["TXT", "NSEC"]),
        ("mail", &["A", "NSEC"]),
        ("ns1", &["A", "NSEC"]),
        ("sec", &["DS", "NSEC"]),
        ("uns", &["NSEC"]),
        ("*.wild", &["A", "NSEC"]),
    ] {
        for covered in types {
            writeln!(zone, "{owner} RRSIG {covered} 8 1 300 20300101000000 20200101000000 1 ex. AAAA")
                .unwrap();
        }
    }
    view(&[("ex.", &zone)])
}

#[test]
fn a_pre_signed_zone_proves_what_it_says() {
    let soa = "authority ex. 100 SOA ns1.ex. h.ex. 1 2 3 4 100 +SOA signed";
    let apex = "authority ex. NSEC a.ent.ex. SOA +NSEC signed";
    let mail = "authority mail.ex. NSEC ns1.ex. A +NSEC signed";
    let wild = "authority *.wild.ex. NSEC ex. A +NSEC signed";
    for (qname, qtype, expected) in [
        ("mail.ex.", "A", "NOERROR aa\nanswer mail.ex. A 192.0.2.2 +A signed".to_owned()),
        ("mail.ex.", "TXT", format!("NOERROR aa\n{mail}\n{soa}")),
        ("ent.ex.", "TXT", format!("NOERROR aa\n{apex}\n{soa}")),
        ("nope.ex.", "A", format!("NXDOMAIN aa\n{mail}\n{apex}\n{soa}")),
        ("x.mail.ex.", "A", format!("NXDOMAIN aa\n{mail}\n{soa}")),
        ("x.wild.ex.", "A", format!("NOERROR aa\nanswer x.wild.ex. A 192.0.2.3 +A signed\n{wild}")),
        ("x.wild.ex.", "TXT", format!("NOERROR aa\n{wild}\n{soa}")),
        ("*.wild.ex.", "A", "NOERROR aa\nanswer *.wild.ex. A 192.0.2.3 +A signed".to_owned()),
        ("sec.ex.", "DS", {
            let digest = "AABBCCDD".repeat(8);
            format!("NOERROR aa\nanswer sec.ex. DS 1 8 2 {digest} +DS signed")
        }),
        ("uns.ex.", "DS", format!("NOERROR aa\nauthority uns.ex. NSEC *.wild.ex. NS +NSEC signed\n{soa}")),
        (
            "x.uns.ex.",
            "A",
            "NOERROR
authority uns.ex. NS g.uns.ex.
authority uns.ex. NSEC *.wild.ex. NS +NSEC signed
additional g.uns.ex. A 192.0.2.9"
                .to_owned(),
        ),
        // The cut's NSEC passes over a name after the cut; glue has none.
        (
            "v.ex.",
            "A",
            format!("NXDOMAIN aa\nauthority uns.ex. NSEC *.wild.ex. NS +NSEC signed\n{apex}\n{soa}"),
        ),
    ] {
        assert_eq!(ask(&pre_signed(), qname, qtype, true, Class::In), expected, "{qname} {qtype}");
    }
    let plain = ask(&pre_signed(), "nope.ex.", "A", false, Class::In);
    assert_eq!(plain, "NXDOMAIN aa\nauthority ex. 100 SOA ns1.ex. h.ex. 1 2 3 4 100", "without DO");
}
