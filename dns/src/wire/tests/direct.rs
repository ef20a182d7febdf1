//! Answers that are written without a draft are the plain pipeline's, byte for byte; and the usual ones are.

use proptest::prelude::*;

use super::properties::{qtype, relative, signed, zone};
use super::*;
use crate::cookie::Secrets;
use crate::steer::rules::MemberRules;
use crate::steer::{Rules, Settings};
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::Tree;
use std::sync::Arc;

/// Both ways' answers to a question: the direct one may pass.
fn both(world: &World, view: Which, packet: &[u8], client: &Client) -> (Option<String>, String) {
    let message = query::read(packet).unwrap();
    let exchange = Exchange { view, ..Exchange::new(world, Signature::None, &message, client, moment()) };
    let shown = |outcome: Outcome<'_>, out: &[u8]| format!("{outcome:?} {out:x?}");
    let (mut direct, mut plain) = (Vec::new(), Vec::new());
    let outcome = exchange.answer_directly(&mut Limits::default(), moment(), &mut direct);
    let direct = outcome.map(|outcome| shown(outcome, &direct));
    let outcome = exchange.answer_by_draft(&mut Limits::default(), moment(), &mut plain);
    (direct, shown(outcome, &plain))
}

fn secrets() -> Option<Secrets> {
    Some(Secrets { active: [7; 16], accepted: Vec::new() })
}

/// The letters that `upper` says in upper case.
fn letters(name: &str, upper: u64) -> String {
    let case = |(at, letter): (usize, char)| match upper >> (at % 64) & 1 {
        1 => letter.to_ascii_uppercase(),
        _ => letter,
    };
    name.chars().enumerate().map(case).collect()
}

/// Options of an OPT record: a cookie of some length, NSID, keepalive, padding, some or none of them.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let cookie = (0..41_u8).prop_map(|len| [&[0, 10, 0, len][..], &vec![3; usize::from(len)]].concat());
    let other = prop_oneof![Just(vec![0, 3, 0, 0]), Just(vec![0, 11, 0, 0]), Just(vec![0, 12, 0, 1, 0])];
    let others = proptest::collection::vec(other, 0..3).prop_map(|others| others.concat());
    (prop_oneof![Just(vec![]), cookie], others).prop_map(|(cookie, others)| [cookie, others].concat())
}

/// Makes a pool of every address RRset that is not signed.
fn every_pool(view: &mut View, settings: &Settings) {
    let trees = view.zones.iter().filter_map(|(_, served)| match served {
        Served::Zone(tree) => Some(Arc::clone(tree)),
        Served::Broken => None,
    });
    let trees: Vec<Arc<Tree>> = trees.collect();
    for tree in trees {
        for node in tree.nodes() {
            view.pools.add(&tree, &Name::from_wire(node.name()).unwrap(), settings);
        }
    }
}

/// Rules by which answers give `count` members, or all that are fit for 0; with one that is often drained.
fn settings(count: usize, down: bool) -> Settings {
    let drained = MemberRules { drain: down, ..MemberRules::of([192, 0, 2, 1].into()) };
    let rules = Rules {
        count: (count > 0).then_some(count),
        ttl: Some(30),
        members: vec![drained],
        ..Rules::default()
    };
    Settings { defaults: Arc::new(rules), ..Settings::default() }
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![4 => Just(Transport::Udp), 1 => Just(Transport::Tcp), 1 => Just(Transport::Tls)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_direct_way_says_what_the_plain_one_says(
        (outside, inside, child) in (zone(), signed(), zone()),
        (apex, soa) in (prop_oneof![Just("ex."), Just("a.ex."), Just("b.")], prop_oneof![Just("ns"), Just("a"), Just("X.other.")]),
        qname in relative(5), qtype in prop_oneof![20 => qtype(), 1 => any::<u16>().prop_map(Type)], upper in any::<u64>(),
        (edns, options) in (proptest::option::of((0..1400_u16, any::<bool>())), options()),
        (transport, internal, flags, is_to_close) in (transport(), any::<bool>(), any::<u8>(), any::<bool>()),
        (count, down) in (0..3_usize, any::<bool>()),
    ) {
        let mended = |text: &str| text.replacen("SOA ns", &format!("SOA {soa}"), 1);
        let zones = |text: &str| view(&[(apex, &mended(text)), ("a.b.ex.", &child), ("broken.ex.", "broken")]);
        let mut world = World { public: zones(&outside), internal: zones(&inside), ..World::default() };
        let settings = settings(count, down);
        for view in [&mut world.public, &mut world.internal] {
            every_pool(view, &settings);
        }
        world.protocol.cookies = secrets();
        world.protocol.nsid = Some(b"one"[..].into());
        let qname = if qname.is_empty() { "ex.".to_owned() } else { format!("{qname}.ex.") };
        let mut ask = ask(&letters(&qname, upper), qtype).flags(flags & 1, flags & 0x10);
        if let Some((bytes, dnssec_ok)) = edns {
            ask = ask.edns(0, u16::from(dnssec_ok) << 15, bytes, &options);
        }
        let view = if internal { Which::Internal } else { Which::Public };
        let client = Client { is_to_close, ..client(transport) };
        if let (Some(direct), plain) = both(&world, view, &ask.bytes(), &client) {
            prop_assert_eq!(direct, plain);
        }
    }
}

const PLAIN: &str = "
    @ SOA ns1 h 1 2 3 4 100
    @ NS ns1
    ns1 A 192.0.2.1
    www A 192.0.2.2
    www A 192.0.2.3
    www HTTPS 1 .
    www TXT t
    alias CNAME www
    far CNAME www.other.
    long CNAME alias
    round CNAME round
    *.wild TXT w
    *.aliases CNAME www
    4.3 PTR WWW
    a.b.c A 192.0.2.4
    sub NS ns.sub
    sub NS ns1
    sub NS ns.other.
    ns.sub A 192.0.2.5
    mail MX 10 www
    mail MX 20 WWW
    box MX 10 www
    box MX 20 ns1
    _sip._tcp SRV 1 2 3 www
    d DNAME www
    x ZONEMD 1 1 240 AAAA
";
const PROVED: &str = "
    @ SOA ns h 1 2 3 4 5
    @ DNSKEY 256 3 13 AAAA
    @ NSEC sub NS
    sub NS ns.sub
    sub NSEC w NS
    w A 192.0.2.1
    w NSEC *.wild A
    w RRSIG A 13 2 300 20300101000000 20200101000000 7 @ AAAA
    *.wild A 192.0.2.2
    *.wild NSEC @ A
";

/// Otherwise the property could hold because nothing is answered directly.
#[test]
fn the_usual_answers_are_direct() {
    let mut world = world(&[("ex.", PLAIN), ("sig.", PROVED)]);
    world.protocol.cookies = secrets();
    for (qname, qtype, expected) in [
        ("www.ex.", Type::A, true),
        ("wWw.eX.", Type::TXT, true),
        ("ns1.ex.", Type::AAAA, true),
        ("nothing.ex.", Type::A, true),
        ("a.b.c.d.nothing.ex.", Type::A, true),
        ("b.c.ex.", Type::A, true),
        ("x.wild.ex.", Type::TXT, true),
        ("x.wild.ex.", Type::A, true),
        ("alias.ex.", Type::A, true),
        ("alias.ex.", Type::CNAME, true),
        ("x.aliases.ex.", Type::A, true),
        ("4.3.ex.", Type::PTR, true),
        ("long.ex.", Type::A, true),
        ("alias.ex.", Type::HTTPS, true),
        ("alias.ex.", Type::AAAA, true),
        ("www.ex.", Type::HTTPS, true),
        ("ex.", Type::NS, true),
        ("ex.", Type::SOA, true),
        ("box.ex.", Type::MX, true),
        ("_sip._tcp.ex.", Type::SRV, true),
        ("sub.ex.", Type::NS, true),
        ("x.sub.ex.", Type::A, true),
        ("w.sig.", Type::A, true),
        ("w.sig.", Type::AAAA, true),
        ("v.sig.", Type::A, true),
        ("x.wild.sig.", Type::A, true),
        ("x.wild.sig.", Type::AAAA, true),
        ("x.sub.sig.", Type::A, true),
        ("mail.ex.", Type::MX, false),
        ("round.ex.", Type::A, false),
        ("x.ex.", Type::ZONEMD, false),
        ("www.ex.", Type::ANY, false),
        ("www.ex.", Type::DS, false),
        ("www.ex.", Type::AXFR, false),
        ("far.ex.", Type::A, false),
        ("x.d.ex.", Type::A, false),
        ("elsewhere.", Type::A, false),
    ] {
        let packet = ask(qname, qtype).edns(0, 0x8000, 1232, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]).bytes();
        let (direct, plain) = both(&world, Which::Public, &packet, &client(Transport::Udp));
        assert_eq!(direct.is_some(), expected, "{qname} {qtype}");
        assert!(direct.is_none_or(|direct| direct == plain), "{qname} {qtype}");
    }
}

#[test]
fn what_does_not_fit_is_not_direct() {
    let text = format!("@ SOA ns h 1 2 3 4 5\nbig TXT {0}\nbig TXT x{0}\nbig TXT y{0}", "t".repeat(200));
    let world = world(&[("ex.", &text)]);
    let direct =
        |transport| both(&world, Which::Public, &ask("big.ex.", Type::TXT).bytes(), &client(transport)).0;
    assert!(direct(Transport::Udp).is_none() && direct(Transport::Tcp).is_some());
}

/// The direct way keeps few names; the plain one's table of names has an end, too.
#[test]
fn sets_of_many_names_are_the_same() {
    let line = |at: usize| {
        format!(
            "@ NS n{at}\nn{at} A 192.0.2.1\n@ MX {at} m.a{at}.{}\n@ SRV 1 1 {at} s{at}\ns{at} AAAA ::1\n",
            "b.".repeat(at) + "c"
        )
    };
    for (count, expected) in [(1, true), (16, true), (17, false), (40, false)] {
        let text = (0..count).fold("@ SOA ns h 1 2 3 4 5\n".to_owned(), |text, at| text + &line(at));
        let world = world(&[("ex.", &text)]);
        for qtype in [Type::NS, Type::MX, Type::SRV] {
            let (direct, plain) =
                both(&world, Which::Public, &ask("ex.", qtype).bytes(), &client(Transport::Tcp));
            assert!(expected || qtype == Type::SRV || direct.is_none(), "{count} {qtype}");
            assert!(direct.is_none_or(|direct| direct == plain), "{count} {qtype}");
        }
        let (direct, _) = both(&world, Which::Public, &ask("ex.", Type::NS).bytes(), &client(Transport::Tcp));
        assert_eq!(direct.is_some(), expected, "{count}");
    }
}
