//! Sizes: truncation at whole RRsets, glue, TCP, and response rate limiting.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

/// No chance: the same buckets every time.
const KEY: limit::Key = [7; 16];

fn many(owner: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        writeln!(text, "{owner} TXT {}{at}", "x".repeat(90)).unwrap();
        text
    })
}

fn big() -> World {
    let mut text = format!(
        "@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\n{}{}",
        many("four", 4),
        many("many", 60)
    );
    text += "glued NS ns1\n";
    for at in 0..13 {
        writeln!(text, "cut NS n{at}.cut\nn{at}.cut A 192.0.2.{at}\nn{at}.cut AAAA 2001:db8::{at}").unwrap();
        writeln!(text, "sibs NS m{at}.far\nm{at}.far A 192.0.2.{at}\nm{at}.far AAAA 2001:db8::{at}").unwrap();
    }
    world(&[("ex.", &text)])
}

fn check(qname: &str, udp_bytes: Option<u16>, transport: Transport, expected: &str) {
    let mut ask = ask(qname, Type::TXT);
    let mut limit = 512;
    if let Some(bytes) = udp_bytes {
        ask = ask.edns(0, 0, bytes, b"");
        limit = usize::from(bytes.clamp(512, 1232));
    }
    let reply = reply(&big(), &ask.bytes(), transport);
    assert_eq!(summary(&reply), expected, "{qname} {udp_bytes:?} {transport:?}");
    assert!(reply.len() <= limit || transport == Transport::Tcp, "{} bytes", reply.len());
}

#[test]
fn answers_are_cut_at_whole_sets_and_the_client_is_told() {
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    check("four.ex.", None, udp, "opcode0 qr aa rcode0 1/4/0/0");
    check("many.ex.", None, udp, "opcode0 qr aa tc rcode0 1/0/0/0");
    check("many.ex.", Some(1232), udp, "opcode0 qr aa tc rcode0 1/0/0/1");
    check("many.ex.", Some(65535), udp, "opcode0 qr aa tc rcode0 1/0/0/1");
    check("many.ex.", Some(0), udp, "opcode0 qr aa tc rcode0 1/0/0/1");
    check("many.ex.", None, tcp, "opcode0 qr aa rcode0 1/60/0/0");
    check("many.ex.", Some(512), tcp, "opcode0 qr aa rcode0 1/60/0/1");
}

/// RFC 9471 §3: glue below the cut is required, that of siblings is not.
#[test]
fn missing_glue_is_told_if_it_is_in_the_zone_below() {
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    check("x.cut.ex.", None, udp, "opcode0 qr tc rcode0 1/0/13/11");
    check("x.cut.ex.", Some(1232), udp, "opcode0 qr rcode0 1/0/13/27");
    check("x.cut.ex.", None, tcp, "opcode0 qr rcode0 1/0/13/26");
    check("x.sibs.ex.", None, udp, "opcode0 qr rcode0 1/0/13/12");
    check("x.sibs.ex.", None, tcp, "opcode0 qr rcode0 1/0/13/26");
}

/// A message that does not fit in 65,535 bytes cannot be sent at all; the header still says so.
#[test]
fn a_set_larger_than_any_message_is_truncated_even_on_tcp() {
    let text = format!("@ SOA ns1 h 1 2 3 4 100\n{}", many("huge", 700));
    let reply = reply(&world(&[("ex.", &text)]), &ask("huge.ex.", Type::TXT).bytes(), Transport::Tcp);
    assert_eq!(summary(&reply), "opcode0 qr aa tc rcode0 1/0/0/0");
}

#[test]
fn many_names_compress_to_the_same_message_as_they_would_alone() {
    let mut text = String::from("@ SOA ns1 h 1 2 3 4 100\n");
    for at in 0..500 {
        writeln!(text, "ptr PTR host{at}.some.where.ex.").unwrap();
    }
    let reply = reply(&world(&[("ex.", &text)]), &ask("ptr.ex.", Type::PTR).bytes(), Transport::Tcp);
    let decoded = hickory_proto::op::Message::from_vec(&reply).unwrap();
    assert_eq!(decoded.answers.len(), 500);
    assert!(
        decoded
            .answers
            .iter()
            .enumerate()
            .all(|(at, record)| { record.data.to_string() == format!("host{at}.some.where.ex.") })
    );
    assert!(reply.len() < 500 * 24, "{} bytes", reply.len());
}

#[test]
fn an_answer_that_the_network_does_not_take_says_come_back_by_tcp() {
    let world = world(&[("ex.", EX)]);
    for (ask, expected) in [
        (ask("www.ex.", Type::A), "opcode0 qr aa tc rcode0 1/0/0/0"),
        (ask("nothing.ex.", Type::A), "opcode0 qr aa tc rcode3 1/0/0/0"),
        (ask("WWW.ex.", Type::A).edns(0, 0, 1232, b""), "opcode0 qr aa tc rcode0 1/0/0/1"),
        (ask("a.sub.ex.", Type::A).edns(0, 0, 1232, b""), "opcode0 qr tc rcode0 1/0/0/1"),
    ] {
        let mut out = reply(&world, &ask.bytes(), Transport::Udp);
        let opt = out[out.len() - 11 * usize::from(ask.counts[3])..].to_vec();
        cut(&mut out);
        assert_eq!(summary(&out), expected);
        assert_eq!(out[12..], [ask.question, opt].concat(), "the question and the OPT record stay");
    }
    for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\0\x01\0\0\0\0\0\0\x03", b"\0\0\0\0\0\0\0\x01\0\0\0\0\0"]
    {
        let mut out = broken.to_vec();
        cut(&mut out);
        assert_eq!(out, b"", "{broken:?}");
    }
}

/// Asks `count` times at once and tells how many answers were sent, sent empty, and dropped.
fn flood(
    limits: &mut Limits,
    world: &World,
    qnames: impl Iterator<Item = String>,
    from: &Client,
    at: Moment,
) -> [usize; 3] {
    flood_as(limits, world, qnames, from, at, |ask| ask)
}

/// As [`flood`], with something more in each question.
fn flood_as(
    limits: &mut Limits,
    world: &World,
    qnames: impl Iterator<Item = String>,
    from: &Client,
    at: Moment,
    with: impl Fn(Ask) -> Ask,
) -> [usize; 3] {
    let mut tally = [0; 3];
    for qname in qnames {
        let mut out = Vec::new();
        let ask = with(ask(&qname, Type::A));
        match respond(world, limits, &ask.bytes(), from, at, &mut out) {
            Outcome::Sent(sent) if sent.truncated => {
                assert_eq!(sent.gist, Gist::Slipped);
                assert_eq!(summary(&out), format!("opcode0 qr tc rcode0 1/0/0/{}", ask.counts[3]));
                tally[1] += 1;
            }
            Outcome::Sent(_) => tally[0] += 1,
            Outcome::Silent(why) => {
                assert_eq!(why, Why::RateLimited);
                tally[2] += 1;
            }
        }
    }
    tally
}

#[test]
fn an_answer_says_what_it_tells() {
    let world = world(&[("ex.", &format!("{EX}away CNAME www.elsewhere.\n{}", many("long", 20)))]);
    let of = |ask: &Ask| {
        let mut out = Vec::new();
        match respond(
            &world,
            &mut Limits::default(),
            &ask.bytes(),
            &client(Transport::Udp),
            moment(),
            &mut out,
        ) {
            Outcome::Sent(sent) => (sent.gist, sent.truncated),
            Outcome::Silent(why) => panic!("silent: {why:?}"),
        }
    };
    for (ask, expected) in [
        (ask("www.ex.", Type::A), Gist::Answer(Kind::Positive)),
        (ask("case.ex.", Type::A), Gist::Answer(Kind::Positive)),
        (ask("www.ex.", Type::AAAA), Gist::Answer(Kind::NoData)),
        (ask("none.ex.", Type::A), Gist::Answer(Kind::NxDomain)),
        (ask("a.sub.ex.", Type::A), Gist::Answer(Kind::Referral)),
        (ask("away.ex.", Type::A), Gist::Answer(Kind::Partial)),
        (ask("www.elsewhere.", Type::A), Gist::Answer(Kind::NoZone)),
        (ask("ex.", Type::AXFR), Gist::Other),
        (ask("www.ex.", Type::A).class(3), Gist::Other),
        (ask("www.ex.", Type::A).edns(1, 0, 1232, b""), Gist::Other),
        (ask("ex.", Type::SOA).flags(0x20, 0), Gist::Other),
    ] {
        assert_eq!(of(&ask), (expected, false), "{ask:?}");
    }
    assert_eq!(of(&ask("long.ex.", Type::TXT)), (Gist::Answer(Kind::Positive), true));
}

#[test]
fn a_client_network_gets_its_rate_and_every_so_often_a_slip() {
    let world = world(&[("ex.", EX)]);
    let rates = Rates { per_second: 5, burst: 10, slip: 2 };
    let mut limits = Limits::new(Some(rates), KEY);
    let start = moment();
    let later = Moment { instant: start.instant + Duration::from_secs(1), ..start };
    let from = |address: &str, transport| Client { address: address.parse().unwrap(), ..client(transport) };
    let same = || std::iter::repeat_n("www.ex.".to_owned(), 20);
    let random = || (0..20).map(|at| format!("r{at}.ex."));
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);

    assert_eq!(flood(&mut limits, &world, same(), &from("192.0.2.1", udp), start), [10, 5, 5]);
    assert_eq!(flood(&mut limits, &world, same(), &from("192.0.2.200", udp), start), [0, 10, 10], "same /24");
    assert_eq!(
        flood(&mut limits, &world, same(), &from("192.0.2.1", tcp), start),
        [20, 0, 0],
        "TCP is proved"
    );
    assert_eq!(flood(&mut limits, &world, same(), &from("192.0.3.1", udp), start), [10, 5, 5], "another /24");
    assert_eq!(
        flood(&mut limits, &world, random(), &from("192.0.2.1", udp), start),
        [10, 5, 5],
        "NXDOMAIN by zone"
    );
    assert_eq!(
        flood(&mut limits, &world, same(), &from("192.0.2.1", udp), later),
        [5, 7, 8],
        "a second later"
    );
    assert_eq!(flood(&mut limits, &world, same(), &from("2001:db8::1", udp), start), [10, 5, 5]);
    assert_eq!(
        flood(&mut limits, &world, same(), &from("2001:db8:0:ff::1", udp), start),
        [0, 10, 10],
        "same /56"
    );
    assert_eq!(
        flood(&mut limits, &world, same(), &from("2001:db8:0:100::1", udp), start),
        [10, 5, 5],
        "another"
    );
}

#[test]
fn this_machine_and_insiders_are_not_limited() {
    let access = Access { clients: vec!["10.0.0.0/8".parse().unwrap()], is_shared: false };
    let mut world = World { access, internal: view(&[("ex.", EX)]), ..world(&[("ex.", EX)]) };
    for (address, listener, is_shared, expected) in [
        ("127.0.0.1", Listener::Outside, false, [20, 0, 0]),
        ("::1", Listener::Outside, false, [20, 0, 0]),
        ("::ffff:127.0.0.1", Listener::Outside, false, [20, 0, 0]),
        ("127.0.0.1", Listener::Inside, true, [20, 0, 0]),
        ("10.0.0.99", Listener::Inside, false, [20, 0, 0]),
        // Anybody can write an address of the inside on a packet to where outsiders ask (V5).
        ("10.0.0.99", Listener::Outside, false, [10, 5, 5]),
        ("10.0.0.99", Listener::Inside, true, [10, 5, 5]),
        ("192.0.2.1", Listener::Inside, false, [10, 5, 5]),
    ] {
        world.access.is_shared = is_shared;
        let mut limits = Limits::new(Some(Rates { per_second: 5, burst: 10, slip: 2 }), KEY);
        let from = Client { address: address.parse().unwrap(), listener, ..client(Transport::Udp) };
        let same = std::iter::repeat_n("www.ex.".to_owned(), 20);
        let tally = flood(&mut limits, &world, same, &from, moment());
        assert_eq!(tally, expected, "{address} at {listener:?} {is_shared}");
    }
}

#[test]
fn slips_come_between_the_rate_and_twice_the_rate_too() {
    let world = world(&[("ex.", EX)]);
    let mut limits = Limits::new(Some(Rates { per_second: 10, burst: 2, slip: 2 }), KEY);
    let start = moment();
    let mut tally = [0; 3];
    // 15 a second: a third is refused, but never two in a row.
    for at in 0..150 {
        let now = Moment { instant: start.instant + Duration::from_millis(1000 * at / 15), ..start };
        let one = std::iter::once("www.ex.".to_owned());
        let asked = flood(&mut limits, &world, one, &client(Transport::Udp), now);
        (0..3).for_each(|outcome| tally[outcome] += asked[outcome]);
    }
    let [sent, slipped, dropped] = tally;
    assert!((95..=105).contains(&sent), "{tally:?}");
    assert!(slipped.abs_diff(dropped) <= 1, "every second refused one is a slip: {tally:?}");
}

#[test]
fn names_that_one_record_answers_share_its_rate() {
    const SYNTHESIS: &str = "
        @ SOA ns1 h 1 2 3 4 100
        @ NS ns1
        ns1 A 192.0.2.1
        *.wild A 192.0.2.2
        *.alias CNAME ns1
        *.out CNAME elsewhere.example.
        *.text TXT t
        old DNAME new
        *.new A 192.0.2.3
        away DNAME elsewhere.example.
        a A 192.0.2.4
        b A 192.0.2.5
    ";
    let world = world(&[("ex.", SYNTHESIS)]);
    for (suffix, expected) in [
        ("wild.ex.", [10, 5, 5]),
        ("alias.ex.", [10, 5, 5]),
        ("out.ex.", [10, 5, 5]),
        ("text.ex.", [10, 5, 5]),
        ("old.ex.", [10, 5, 5]),
        ("away.ex.", [10, 5, 5]),
    ] {
        for edns in [false, true] {
            let mut limits = Limits::new(Some(Rates { per_second: 5, burst: 10, slip: 2 }), KEY);
            let names = (0..20).map(|at| format!("r{at}.{suffix}"));
            let from = client(Transport::Udp);
            let tally = flood_as(&mut limits, &world, names, &from, moment(), |ask| {
                if edns { ask.edns(0, 0x8000, 1232, b"") } else { ask }
            });
            assert_eq!(tally, expected, "{suffix} edns: {edns}");
            let others = ["a.ex.", "b.ex."].map(str::to_owned).into_iter();
            assert_eq!(
                flood(&mut limits, &world, others, &from, moment()),
                [2, 0, 0],
                "others have their own"
            );
        }
    }
}

#[test]
fn only_questions_are_told_to_come_back_by_tcp() {
    let world = world(&[("ex.", EX)]);
    let mut limits = Limits::new(Some(Rates { per_second: 1, burst: 1, slip: 1 }), KEY);
    let mut spent = Vec::new();
    let from = client(Transport::Udp);
    let refused = ask("www.elsewhere.", Type::A);
    let update = ask("ex.", Type::SOA).flags(0x28, 0);
    for (ask, expected) in [
        (&refused, Some("opcode0 qr rcode5 1/0/0/0")),
        (&refused, Some("opcode0 qr tc rcode0 1/0/0/0")),
        (&update, None),
        (&ask("ex.", Type::SOA).flags(0x20, 0), None),
        (&ask("ex.", Type::SOA).edns(1, 0, 1232, b""), None),
        (&refused, Some("opcode0 qr tc rcode0 1/0/0/0")),
    ] {
        let outcome = respond(&world, &mut limits, &ask.bytes(), &from, moment(), &mut spent);
        let said = matches!(outcome, Outcome::Sent(_)).then(|| summary(&spent));
        assert_eq!(said.as_deref(), expected);
    }
}

#[test]
fn a_good_cookie_is_not_limited() {
    let secrets = Secrets { active: [7; 16], accepted: Vec::new() };
    let protocol = Protocol { cookies: Some(secrets.clone()), ..Protocol::default() };
    let world = World { protocol, ..world(&[("ex.", EX)]) };
    let from = client(Transport::Udp);
    let (_, cookie) = secrets.judge(&[1; 8], from.address, moment().unix_seconds);
    let good = ask("www.ex.", Type::A).edns(0, 0, 1232, &[&[0, 10, 0, 24], &cookie[..]].concat());
    let bad = ask("www.ex.", Type::A).edns(0, 0, 1232, &[0, 10, 0, 8, 1, 1, 1, 1, 1, 1, 1, 1]);
    let mut limits = Limits::new(Some(Rates { per_second: 1, burst: 1, slip: 0 }), KEY);
    let now = moment();
    let mut sent = |ask: &Ask| {
        let mut out = Vec::new();
        matches!(respond(&world, &mut limits, &ask.bytes(), &from, now, &mut out), Outcome::Sent(_))
    };
    assert!(sent(&bad) && !sent(&bad));
    assert!((0..10).all(|_| sent(&good)));
}
