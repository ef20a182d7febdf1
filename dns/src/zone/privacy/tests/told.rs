//! Notes to the author that are no faults: names that still show, and records that outsiders miss.

use super::super::*;
use super::fixture::{read, rules};

const HEAD: &str = "$ORIGIN example.\n@ NS a.\nweb A 8.8.8.8\nrelay A 10.0.0.25\n";

/// The problems of a zone whose own records begin in line 5, as `LINE SEVERITY[CODE] MESSAGE`.
fn check(tail: &str, expected: &[&str]) {
    let fixtures = read(&format!("{HEAD}{tail}"));
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let problems = divide(&zones, &rules()).remove(0).problems;
    let shown: Vec<String> = problems
        .iter()
        .map(|it| format!("{} {}[{}] {}", it.at.map_or(0, |at| at.line), it.severity, it.code, it.message))
        .collect();
    assert_eq!(shown, expected, "{tail}");
    assert!(problems.iter().all(|it| it.help.is_some()), "{problems:?}");
}

/// F07: hidden hosts and addresses, wherever text can hold them.
#[test]
fn d19_text_that_tells_of_what_is_hidden() {
    for (record, kind, what) in [
        (r#"@ TXT "v=spf1 a:relay.example -all""#, "TXT", "the hidden host relay.example."),
        (r#"@ TXT "v=spf1 ip4:10.0.0.0/8 -all""#, "TXT", "the network 10.0.0.0/8"),
        (r#"@ TXT "v=spf1 ip4:0.0.0.0/0 -all""#, "", ""),
        (r#"@ TXT "v=spf1 redirect=_spf.relay.example""#, "TXT", "the hidden host _spf.relay.example."),
        (r#"_dmarc TXT "v=DMARC1; rua=mailto:x@relay.example""#, "TXT", "the hidden host relay.example."),
        (r#"_dmarc TXT "v=DMARC1; rua=mailto:x@example""#, "", ""),
        (
            r#"n NAPTR 100 10 U E2U+sip "!^.*$!sip:info@relay.example!" ."#,
            "NAPTR",
            "the hidden host relay.example.",
        ),
        (r#"_http._tcp URI 10 1 "http://relay.example/""#, "URI", "the hidden host relay.example."),
        (r#"@ CAA 0 iodef "mailto:sec@relay.example""#, "CAA", "the hidden host relay.example."),
        (r#"@ CAA 0 iodef "mailto:sec@pbx.corp""#, "CAA", "the internal name pbx.corp."),
        (r#"t TXT "Address is 10.0.0.25.""#, "TXT", "the address 10.0.0.25"),
        (r#"t TXT "ask 8.8.8.8 and web.example.""#, "", ""),
        (r#"h HINFO "x86" "behind relay.example""#, "HINFO", "the hidden host relay.example."),
        (r"s SVCB 1 web key65333=\010\000\000\025", "SVCB", "the address 10.0.0.25"),
        ("s CNAME 10.0.0.5.nip.io.", "CNAME", "the address 10.0.0.5"),
        ("s CNAME 10.0.0.5.nip.io. ; verge: public", "", ""),
        ("s CNAME 8-8-8-8.nip.io.", "", ""),
        (r#"t TXT "relay.example" ; verge: public"#, "", ""),
        (r#"relay TXT "relay.example""#, "", ""),
    ] {
        let told = format!("5 warning[D19] this {kind} record tells outsiders of {what}");
        let expected = [told.as_str()];
        check(record, &expected[..usize::from(!kind.is_empty())]);
    }
}

#[test]
fn d19_notes_that_external_dns_keeps_of_hidden_names() {
    const NOTE: &str = "TXT heritage=external-dns,external-dns/owner=k8s";
    for (owner, is_told) in
        [("t", false), ("a-relay", true), ("x-a-relay", true), ("relay-txt", true), ("a-web", false)]
    {
        let told = ["5 warning[D19] this text is external-dns's note on relay.example., which is hidden"];
        check(&format!("{owner} {NOTE}"), &told[..usize::from(is_told)]);
    }
}

/// Case 16.
#[test]
fn d7_what_others_ask_for_below_a_hidden_host() {
    check(
        "_acme-challenge.relay CNAME x.acme.",
        &[
            "5 warning[D7] hidden with its host, but a certificate authority asks for it from outside: _acme-challenge.relay.example. CNAME (line 5)",
        ],
    );
    check(
        "_acme-challenge.relay TXT x ; verge: internal",
        &["5 note[mark] only a comment hides this: _acme-challenge.relay.example. TXT (line 5)"],
    );
    check(
        "_dmarc.relay TXT x\ns._domainkey.relay TXT y",
        &[
            "5 note[D7] hidden with its host, but mail servers outside ask for it: _dmarc.relay.example. TXT (line 5), s._domainkey.relay.example. TXT (line 6)",
        ],
    );
    check("_acme-challenge.web TXT x\n_443._tcp.relay TLSA 3 1 0 00", &[]);
}

/// Case 18, F18.
#[test]
fn d5_names_that_are_split_by_family() {
    check(
        "p A 192.168.1.6\np AAAA 2a00:1450:1:2::6\np TXT room",
        &[
            "6 note[D5] its IPv4 address is internal, but outsiders get this IPv6 address and what else the name owns; insiders do not get it: p.example. AAAA (line 6)",
        ],
    );
    check(
        "p AAAA fd00::6\np A 8.8.8.6",
        &[
            "6 note[D5] its IPv6 address is internal, but there is no internal IPv4 address, so insiders get this one, too: p.example. A (line 6)",
        ],
    );
    check("p A 10.0.0.6\np AAAA fd00::6\np A 8.8.8.6\np AAAA 2a00:1450:1:2::6", &[]);
}

/// F21.
#[test]
fn d12_a_zone_that_is_only_there_for_its_name() {
    let fixtures = read("$ORIGIN lab.example.\n@ NS a.\ndb A 10.0.0.1\n$ORIGIN open.\n@ NS a.");
    let zones: Vec<&Zone> = fixtures.iter().map(|fixture| &fixture.zone).collect();
    let divided = divide(&zones, &rules());
    assert_eq!(
        divided[0].problems[0].message,
        "outside, lab.example. is only SOA and NS records: everything else in it is hidden"
    );
    let soa = fixtures[0].zone.records.iter().find(|record| record.rtype == crate::zone::Type::SOA).unwrap();
    assert_eq!(divided[0].problems[0].at, Some(soa.at));
    assert!(divided[0].problems[0].help.as_ref().unwrap().contains("[internal] zones = [\"lab.example\"]"));
    assert!(divided[1].problems.is_empty());
}
