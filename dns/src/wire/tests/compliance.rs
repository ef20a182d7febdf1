//! The list of `design/DNS.md` §2.3, one row a test of the public compliance testers, and some more.

use super::*;

/// OPT of a reply without options: 1232 bytes, version 0.
const OPT: &[u8] = &[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];
const OPT_DO: &[u8] = &[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0];
const BADVERS: &[u8] = &[0, 0, 41, 0x04, 0xd0, 1, 0, 0, 0, 0, 0];
const BADVERS_DO: &[u8] = &[0, 0, 41, 0x04, 0xd0, 1, 0, 0x80, 0, 0, 0];

const NSID: &[u8] = &[0, 3, 0, 0];
const SUBNET: &[u8] = &[0, 8, 0, 4, 0, 1, 0, 0];
const EXPIRE: &[u8] = &[0, 9, 0, 0];
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const OPTION_100: &[u8] = &[0, 100, 0, 0];

/// A row: what is asked, what header and counts of the answer say, how it ends.
type Check<'c> = &'c mut dyn FnMut(&str, &Ask, &str, &[u8]);

/// Every row, for whoever has another way to ask; the zone is [`EX`].
pub(in crate::wire) fn rows(check: Check<'_>) {
    for table in [plain_rows, opcode_rows, edns_rows, malformed_rows, tsig_rows] {
        table(check);
    }
}

/// Asserts what must hold of the reply to a row.
pub(in crate::wire) fn judge(test: &str, ask: &Ask, expected: &str, opt: &[u8], reply: &[u8]) {
    assert_eq!(summary(reply), expected, "{test}");
    assert!(reply.ends_with(opt), "{test}: {reply:x?}");
    if reply[5] == 1 {
        assert_eq!(&reply[12..12 + ask.question.len()], ask.question, "{test}: the question");
    }
}

fn check(test: &str, ask: &Ask, expected: &str, opt: &[u8]) {
    let world = world(&[("ex.", EX)]);
    for transport in [Transport::Udp, Transport::Tcp] {
        let reply = reply(&world, &ask.bytes(), transport);
        judge(test, ask, expected, opt, &reply);
        assert_eq!(&reply[..2], [0xab, 0xcd], "{test}: the ID");
    }
}

#[test]
fn plain_questions() {
    plain_rows(&mut check);
}

fn plain_rows(check: Check<'_>) {
    let soa = || ask("ex.", Type::SOA);
    for (test, ask, expected) in [
        ("dns", soa(), "opcode0 qr aa rcode0 1/1/0/0"),
        ("aa", soa().flags(0x04, 0), "opcode0 qr aa rcode0 1/1/0/0"),
        ("ad", soa().flags(0, 0x20), "opcode0 qr aa rcode0 1/1/0/0"),
        ("cd", soa().flags(0, 0x10), "opcode0 qr aa cd rcode0 1/1/0/0"),
        ("ra", soa().flags(0, 0x80), "opcode0 qr aa rcode0 1/1/0/0"),
        ("rd", soa().flags(1, 0), "opcode0 qr aa rd rcode0 1/1/0/0"),
        ("tc", soa().flags(2, 0), "opcode0 qr aa rcode0 1/1/0/0"),
        ("zflag", soa().flags(0, 0x40), "opcode0 qr aa rcode0 1/1/0/0"),
        ("type666", ask("ex.", Type(666)), "opcode0 qr aa rcode0 1/0/1/0"),
        ("letters", ask("wWw.eX.", Type::A), "opcode0 qr aa rcode0 1/1/0/0"),
        ("nxdomain", ask("nope.ex.", Type::A), "opcode0 qr aa rcode3 1/0/1/0"),
        ("referral", ask("a.sub.ex.", Type::A), "opcode0 qr rcode0 1/0/1/1"),
        ("elsewhere", ask("nowhere.", Type::A), "opcode0 qr rcode5 1/0/0/0"),
        ("chaos", ask("version.bind.", Type::TXT).class(3), "opcode0 qr rcode5 1/0/0/0"),
        ("hesiod", ask("ex.", Type::SOA).class(4), "opcode0 qr rcode5 1/0/0/0"),
        ("class none", ask("ex.", Type::SOA).class(254), "opcode0 qr rcode5 1/0/0/0"),
        ("class any", ask("www.ex.", Type::A).class(255), "opcode0 qr rcode0 1/1/0/0"),
        ("axfr", ask("ex.", Type::AXFR), "opcode0 qr rcode5 1/0/0/0"),
        ("ixfr", ask("ex.", Type::IXFR), "opcode0 qr rcode5 1/0/0/0"),
        ("axfr elsewhere", ask("nowhere.", Type::AXFR), "opcode0 qr rcode5 1/0/0/0"),
    ] {
        check(test, &ask, expected, b"");
    }
    // The reply to a request with OPT has one, whatever was asked (RFC 6891 §6.1.1).
    for (test, ask, expected) in [
        ("opcode 3 with OPT", ask("ex.", Type::SOA).flags(0x18, 0), "opcode3 qr rcode4 0/0/0/1"),
        ("notify with OPT", ask("ex.", Type::SOA).flags(0x24, 0), "opcode4 qr rcode4 0/0/0/1"),
        ("update with OPT", ask("ex.", Type::SOA).flags(0x28, 0), "opcode5 qr rcode4 0/0/0/1"),
    ] {
        check(test, &ask.edns(0, 0, 512, b""), expected, OPT);
    }
}

#[test]
fn every_type_is_answered() {
    for (rtype, _) in crate::rtype::NAMED {
        let reply = reply(&world(&[("ex.", EX)]), &ask("ex.", *rtype).bytes(), Transport::Udp);
        let refused = matches!(*rtype, Type::AXFR | Type::IXFR);
        assert_eq!(reply[3] & 15, if refused { 5 } else { 0 }, "{rtype}");
    }
}

#[test]
fn operations_that_we_do_not_know_get_a_bare_header() {
    opcode_rows(&mut check);
}

fn opcode_rows(check: Check<'_>) {
    let header = |flags: [u8; 2]| Ask { flags, counts: [0; 4], question: Vec::new(), rest: Vec::new() };
    for (test, ask, expected) in [
        ("opcode", header([0x78, 0]), "opcode15 qr rcode4 0/0/0/0"),
        ("opcodeflg", header([0x7f, 0xf0]), "opcode15 qr rcode4 0/0/0/0"),
        ("status", ask("ex.", Type::SOA).flags(0x10, 0), "opcode2 qr rcode4 0/0/0/0"),
        ("notify", ask("ex.", Type::SOA).flags(0x24, 0), "opcode4 qr rcode4 0/0/0/0"),
        ("update", ask("ex.", Type::SOA).flags(0x28, 0), "opcode5 qr rcode4 0/0/0/0"),
        (
            "garbage behind",
            ask("ex.", Type::SOA).flags(0x78, 0).additional(b"\xff"),
            "opcode15 qr rcode4 0/0/0/0",
        ),
    ] {
        check(test, &ask, expected, b"");
    }
}

#[test]
fn edns() {
    edns_rows(&mut check);
}

fn edns_rows(check: Check<'_>) {
    let soa = |version, flags, options: &[u8]| ask("ex.", Type::SOA).edns(version, flags, 4096, options);
    let all = [NSID, SUBNET, EXPIRE, COOKIE].concat();
    let answered = "opcode0 qr aa rcode0 1/1/0/1";
    let refused = "opcode0 qr rcode0 1/0/0/1";
    for (test, ask, expected, opt) in [
        ("edns", soa(0, 0, b""), answered, OPT),
        ("edns@512", ask("ex.", Type::DNSKEY).edns(0, 0, 512, b""), "opcode0 qr aa rcode0 1/0/1/1", OPT),
        ("ednsopt", soa(0, 0, OPTION_100), answered, OPT),
        ("do", soa(0, 0x8000, b""), answered, OPT_DO),
        ("docd", soa(0, 0x8000, b"").flags(0, 0x10), "opcode0 qr aa cd rcode0 1/1/0/1", OPT_DO),
        ("ednsflags", soa(0, 0x0080, b""), answered, OPT),
        ("ednsflags all", soa(0, 0x7fff, b""), answered, OPT),
        ("ednsnsid", soa(0, 0, NSID), answered, OPT),
        ("ednsexpire", soa(0, 0, EXPIRE), answered, OPT),
        ("ednssubnet", soa(0, 0, SUBNET), answered, OPT),
        ("optlist", soa(0, 0, &all), answered, OPT),
        ("two cookies", soa(0, 0, &[COOKIE, COOKIE].concat()), answered, OPT),
        ("edns1", soa(1, 0, b""), refused, BADVERS),
        ("edns1do", soa(1, 0x8000, b""), refused, BADVERS_DO),
        ("edns1opt", soa(1, 0, OPTION_100), refused, BADVERS),
        ("edns1nsid", soa(1, 0, NSID), refused, BADVERS),
        ("edns1cookie", soa(1, 0, COOKIE), refused, BADVERS),
        ("edns1expire", soa(1, 0, EXPIRE), refused, BADVERS),
        ("edns1subnet", soa(1, 0, SUBNET), refused, BADVERS),
        ("edns100", soa(100, 0, b""), refused, BADVERS),
        ("edns255", soa(255, 0, b""), refused, BADVERS),
        (
            "unknown record first",
            ask("ex.", Type::SOA).additional(b"\0\xff\x01\0\x01\0\0\0\0\0\0").edns(0, 0, 4096, b""),
            answered,
            OPT,
        ),
    ] {
        check(test, &ask, expected, opt);
    }
}

#[test]
fn malformed_questions_are_formerr() {
    malformed_rows(&mut check);
}

fn malformed_rows(check: Check<'_>) {
    let soa = || ask("ex.", Type::SOA);
    let with_counts = |counts: [u8; 4]| Ask { counts, ..soa() };
    let raw = |question: &[u8]| Ask { question: question.to_vec(), ..soa() };
    let a = b"\0\0\x01\0\x01\0\0\0\0\0\0".as_slice();
    for (test, ask, expected) in [
        ("no question", Ask { counts: [0; 4], question: Vec::new(), ..soa() }, "opcode0 qr rcode1 0/0/0/0"),
        ("two questions", with_counts([2, 0, 0, 0]), "opcode0 qr rcode1 0/0/0/0"),
        ("256 questions", with_counts([0xff, 0, 0, 0]), "opcode0 qr rcode1 0/0/0/0"),
        ("trailing bytes", Ask { rest: vec![0], ..soa() }, "opcode0 qr rcode1 1/0/0/0"),
        ("missing record", with_counts([1, 0, 0, 1]), "opcode0 qr rcode1 1/0/0/0"),
        ("missing answer", with_counts([1, 1, 0, 0]), "opcode0 qr rcode1 1/0/0/0"),
        ("pointer to itself", raw(b"\xc0\x0c\0\x06\0\x01"), "opcode0 qr rcode1 0/0/0/0"),
        ("pointer to the header", raw(b"\x01a\xc0\x00\0\x06\0\x01"), "opcode0 qr rcode1 0/0/0/0"),
        ("reserved label", raw(b"\x41aaa\0\0\x06\0\x01"), "opcode0 qr rcode1 0/0/0/0"),
        ("no class", raw(b"\x02ex\0\0\x06\0"), "opcode0 qr rcode1 0/0/0/0"),
        (
            "name of 256 bytes",
            raw(&[[63_u8; 64].repeat(4), vec![0, 0, 6, 0, 1]].concat()),
            "opcode0 qr rcode1 0/0/0/0",
        ),
        (
            "OPT among the answers",
            Ask { counts: [1, 1, 0, 0], rest: OPT.to_vec(), ..soa() },
            "opcode0 qr rcode1 1/0/0/0",
        ),
        (
            "OPT among the authority",
            Ask { counts: [1, 0, 1, 0], rest: OPT.to_vec(), ..soa() },
            "opcode0 qr rcode1 1/0/0/0",
        ),
        (
            "OPT of a name",
            soa().additional(b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0"),
            "opcode0 qr rcode1 1/0/0/0",
        ),
    ] {
        check(test, &ask, expected, b"");
    }
    for (test, ask) in [
        ("two OPTs", soa().edns(0, 0, 4096, b"").edns(0, 0, 4096, b"")),
        ("option longer than the OPT", soa().edns(0, 0, 4096, &[0, 3, 0, 9])),
        ("half an option", soa().edns(0, 0, 4096, &[0, 3, 0])),
        ("bytes behind the OPT", Ask { rest: [OPT, b"\0"].concat(), counts: [1, 0, 0, 1], ..soa() }),
        ("a record is missing behind the OPT", Ask { rest: OPT.to_vec(), counts: [1, 0, 0, 2], ..soa() }),
    ] {
        check(test, &ask, "opcode0 qr rcode1 1/0/0/1", OPT);
    }
    check(
        "an answer in the question is not asked for",
        &Ask { counts: [1, 1, 0, 0], rest: a.to_vec(), ..soa() },
        "opcode0 qr aa rcode0 1/1/0/0",
        b"",
    );
}

#[test]
fn silence_is_kept_to_what_must_not_be_answered() {
    let world = world(&[("ex.", EX)]);
    let good = ask("ex.", Type::SOA).bytes();
    let answer = ask("ex.", Type::SOA).flags(0x80, 0).bytes();
    let udp = |port| Client { port, ..client(Transport::Udp) };
    for (packet, client, expected) in [
        (&answer[..], udp(4000), Some(Why::NotAQuery)),
        (&answer, client(Transport::Tcp), Some(Why::NotAQuery)),
        (&good[..11], udp(4000), Some(Why::TooShort)),
        (&[], udp(4000), Some(Why::TooShort)),
        (&good, udp(0), Some(Why::ReflectionPort)),
        (&good, udp(7), Some(Why::ReflectionPort)),
        (&good, udp(19), Some(Why::ReflectionPort)),
        (&good, udp(53), None),
        (&good, Client { port: 7, ..client(Transport::Tcp) }, None),
        (&good[..12], udp(4000), None),
    ] {
        let mut out = vec![1, 2, 3];
        let outcome = respond(&world, &mut Limits::default(), packet, &client, moment(), &mut out);
        let why = if let Outcome::Silent(why) = outcome { Some(why) } else { None };
        assert_eq!(why, expected, "{packet:x?} {client:?}");
        assert_eq!(out.is_empty(), expected.is_some());
    }
}

/// RFC 8945 §5.2.1: a signature by a key that is not ours.
#[test]
fn tsig_is_notauth_with_badkey() {
    tsig_rows(&mut check);
}

fn tsig_rows(check: Check<'_>) {
    let time = [0, 0, 0x5c, 0xf7, 0x9f, 0x11, 0x01, 0x2c];
    let mut rdata = b"\x0bhmac-sha256\0".to_vec();
    rdata.extend_from_slice(&time);
    rdata.extend_from_slice(&[&[0, 32][..], &[0xaa; 32], &[0xab, 0xcd, 0, 0, 0, 0]].concat());
    let tsig = |rdata: &[u8]| {
        let mut record = b"\x03key\0\0\xfa\0\xff\0\0\0\0".to_vec();
        record.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        record.extend_from_slice(rdata);
        record
    };
    let mut expected = b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0".to_vec();
    expected.extend_from_slice(&time);
    expected.extend_from_slice(&[0, 0, 0xab, 0xcd, 0, 17, 0, 0]);
    check("tsig", &ask("ex.", Type::SOA).additional(&tsig(&rdata)), "opcode0 qr rcode9 1/0/0/1", &expected);
    check(
        "tsig of AXFR",
        &ask("ex.", Type::AXFR).additional(&tsig(&rdata)),
        "opcode0 qr rcode9 1/0/0/1",
        &expected,
    );
    check(
        "tsig not last",
        &ask("ex.", Type::SOA).additional(&tsig(&rdata)).edns(0, 0, 512, b""),
        "opcode0 qr rcode1 1/0/0/1",
        OPT,
    );
    check(
        "tsig too short",
        &ask("ex.", Type::SOA).additional(&tsig(&rdata[..20])),
        "opcode0 qr rcode1 1/0/0/0",
        b"",
    );
}

#[test]
fn cookies_and_identifiers_when_configured() {
    let secrets = Secrets { active: [7; 16], accepted: Vec::new() };
    let protocol = Protocol { nsid: Some((*b"dns-1").into()), cookies: Some(secrets), ..Protocol::default() };
    let world = World { protocol, ..world(&[("ex.", EX)]) };
    let soa = |options: &[u8]| ask("ex.", Type::SOA).edns(0, 0, 4096, options);
    let send = |ask: &Ask| reply(&world, &ask.bytes(), Transport::Udp);

    let first = send(&soa(COOKIE));
    let cookie = first[first.len() - 24..].to_vec();
    assert_eq!(&first[first.len() - 28..first.len() - 24], [0, 10, 0, 24]);
    assert_eq!(&cookie[..12], [1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0], "the client's part is unchanged");

    let full = [&[0, 10, 0, 24], &cookie[..]].concat();
    assert_eq!(send(&soa(&full))[..], first[..], "a fresh cookie is given back as it is");
    assert!(send(&soa(NSID)).ends_with(&[0, 3, 0, 5, b'd', b'n', b's', b'-', b'1']));
    for bytes in [0, 1, 7, 9, 15, 41] {
        let option = [vec![0, 10, 0, bytes], vec![9; usize::from(bytes)]].concat();
        assert_eq!(summary(&send(&soa(&option))), "opcode0 qr rcode1 1/0/0/1", "{bytes}");
    }
    let only = Ask { counts: [0, 0, 0, 1], question: Vec::new(), ..soa(COOKIE) };
    let reply = send(&only);
    assert_eq!(summary(&reply), "opcode0 qr rcode0 0/0/0/1", "RFC 7873 §5.4");
    assert!(reply.ends_with(&cookie));
    let nothing = Ask { counts: [0, 0, 0, 1], question: Vec::new(), ..soa(b"") };
    assert_eq!(summary(&send(&nothing)), "opcode0 qr rcode1 0/0/0/1");
}

#[test]
fn extended_errors_say_nothing_of_what_is_inside() {
    let world = world(&[("ex.", EX), ("broken.", "broken")]);
    for (qname, qclass, expected) in [("nowhere.", 1, 20), ("broken.", 1, 14), ("ex.", 3, 21)] {
        let ask = ask(qname, Type::A).class(qclass).edns(0, 0, 4096, b"");
        let reply = reply(&world, &ask.bytes(), Transport::Udp);
        assert!(reply.ends_with(&[0, 15, 0, 2, 0, expected]), "{qname}: {reply:x?}");
    }
}

/// Byte for byte: compression points at the question, whatever its letters, and RDATA keeps its own.
#[test]
fn the_bytes_of_an_answer() {
    let world = world(&[("ex.", EX)]);
    let reply = reply(&world, &ask("cASE.eX.", Type::CNAME).bytes(), Transport::Udp);
    let expected = [
        &b"\xab\xcd\x84\0\0\x01\0\x01\0\0\0\0"[..],
        b"\x04cASE\x02eX\0\0\x05\0\x01",
        b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x06\x03WWW\xc0\x11",
    ]
    .concat();
    assert_eq!(reply, expected, "{reply:x?}");
}
