//! The egress guard fires when a tree wrongly holds what it must not.

use super::*;

const LEAKY: &str = "
    @ SOA ns1 h 1 2 3 4 100
    @ NS ns1
    ns1 A 192.0.2.1
    db A 10.0.0.5
    db6 AAAA fd00::5
    mapped AAAA ::ffff:10.0.0.5
    hint HTTPS 1 . ipv4hint=10.0.0.5
    mixed A 192.0.2.7
    mixed A 10.0.0.6
    mail MX 1 db
    alias CNAME db
    sub NS ns.sub
    ns.sub A 10.0.0.7
    *.wild A 10.0.0.8
    shown A 10.0.0.9
    *.shownwild A 10.0.0.10
    ours A 203.0.113.65
    apl APL 1:10.0.0.0/8
";

/// A world whose both trees hold hidden addresses, and who may know them.
pub(in crate::wire) fn leaky_world(clients: &str) -> World {
    let guard = Guard {
        private: vec!["203.0.113.64/27".parse().unwrap()],
        published: [
            (name("shown.ex."), "10.0.0.9".parse().unwrap()),
            (name("*.shownwild.ex."), "10.0.0.10".parse().unwrap()),
        ]
        .into(),
    };
    let access = Access { clients: vec![clients.parse().unwrap()], ..Access::default() };
    World { guard, access, internal: view(&[("ex.", LEAKY)]), ..world(&[("ex.", LEAKY)]) }
}

fn check(qname: &str, qtype: Type, expected: Guarded) {
    let world = leaky_world("198.51.100.0/24");
    for transport in [Transport::Udp, Transport::Tcp] {
        let send = |listener| {
            let mut out = Vec::new();
            let client = Client { listener, ..client(transport) };
            let packet = ask(qname, qtype).edns(0, 0, 1232, b"").bytes();
            let Outcome::Sent(sent) =
                respond(&world, &mut Limits::default(), &packet, &client, moment(), &mut out)
            else {
                panic!("silent")
            };
            (sent, out)
        };
        let (sent, out) = send(Listener::Outside);
        assert_eq!(sent.guard, expected, "{qname} {qtype}");
        if expected == Guarded::Stopped {
            assert_eq!(summary(&out), "opcode0 qr rcode2 1/0/0/1", "{qname} {qtype}");
            assert_eq!(sent.rcode, Rcode::ServFail);
            assert!(!out.windows(2).any(|bytes| bytes == [10, 0]), "{out:x?}");
        }
        let (sent, out) = send(Listener::Inside);
        assert_eq!((sent.view, sent.guard), (Which::Internal, Guarded::NotNeeded));
        assert_ne!(out[7], 0);
    }
}

#[test]
fn a_hidden_address_never_leaves_by_the_public_view() {
    for (qname, qtype) in STOPPED {
        check(qname, *qtype, Guarded::Stopped);
    }
}

/// Questions whose answers hold a hidden address.
pub(in crate::wire) const STOPPED: &[(&str, Type)] = &[
    ("db.ex.", Type::A),
    ("db6.ex.", Type::AAAA),
    ("mapped.ex.", Type::AAAA),
    ("hint.ex.", Type::HTTPS),
    ("mixed.ex.", Type::A),
    ("mail.ex.", Type::MX),
    ("alias.ex.", Type::A),
    ("x.wild.ex.", Type::A),
    ("ours.ex.", Type::A),
    ("apl.ex.", Type::APL),
    ("db.ex.", Type::ANY),
];

#[test]
fn public_and_published_addresses_leave() {
    for (qname, qtype) in
        [("ns1.ex.", Type::A), ("shown.ex.", Type::A), ("x.shownwild.ex.", Type::A), ("ex.", Type::SOA)]
    {
        check(qname, qtype, Guarded::Clean);
    }
}

#[test]
fn glue_is_guarded_too() {
    let world = world(&[("ex.", LEAKY)]);
    let mut out = Vec::new();
    let packet = ask("x.sub.ex.", Type::A).bytes();
    let outcome =
        respond(&world, &mut Limits::default(), &packet, &client(Transport::Udp), moment(), &mut out);
    let stopped = |sent: &Sent<'_>| (sent.guard, sent.gist) == (Guarded::Stopped, Gist::Other);
    assert!(matches!(&outcome, Outcome::Sent(sent) if stopped(sent)), "{outcome:?}");
}

#[test]
fn what_cannot_be_read_is_stopped() {
    let guard = Guard::default();
    let good = reply(&world(&[("ex.", EX)]), &ask("www.ex.", Type::A).bytes(), Transport::Udp);
    assert_eq!(guard::inspect(&good, &guard), Ok(()));
    for end in 0..good.len() {
        assert_eq!(guard::inspect(&good[..end], &guard), Err(guard::Stop::Unreadable), "{end}");
    }
    assert_eq!(guard::inspect(&[&good[..], b"\0"].concat(), &guard), Err(guard::Stop::Unreadable));
}
