//! Signed questions (RFC 8945): the key decides the view, the answer is signed, and what proves nothing is refused alike.

use super::*;
use crate::tsig::{Algorithm, Key, Keys, SignedError, Signer};

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Bytes of a TSIG record behind its signature: ID, error and the length of other data.
const BEHIND_MAC: usize = 6;
const MAC: usize = 32;

fn key(text: &str, view: Which) -> Key {
    Key::new(name(text), Algorithm::HmacSha256, SECRET, view)
}

fn two_sides() -> World {
    let mut world =
        world(&[("ex.", "@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\nwww A 192.0.2.2\n")]);
    world.internal = view(&[(
        "ex.",
        "@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\nwww A 192.0.2.2\ndb A 10.0.0.5\n",
    )]);
    world.protocol.keys = [key("out.", Which::Public), key("in.", Which::Internal)].into_iter().collect();
    world
}

fn signer(world: &World, text: &str) -> Signer {
    Signer::of_request(world.protocol.keys.get(&name(text)).unwrap())
}

/// The packet as signed, and what its answer must be signed with.
fn signed(world: &World, key: &str, qname: &str, at: u64) -> (Vec<u8>, Signer) {
    let (mut packet, mut signer) = (ask(qname, Type::A).bytes(), signer(world, key));
    signer.sign(&mut packet, SignedError::None, at);
    (packet, signer)
}

fn at(mut packet: Vec<u8>, from_end: usize) -> Vec<u8> {
    let place = packet.len() - from_end;
    packet[place] ^= 1;
    packet
}

/// The packet with as many bytes of its signature as `left`, or more.
fn with_mac(packet: &[u8], left: usize) -> Vec<u8> {
    let rdlength = 13 + 8 + 2 + MAC + BEHIND_MAC;
    let (mac, behind) = (packet.len() - BEHIND_MAC - MAC, packet.len() - BEHIND_MAC);
    let mut signature = packet[mac..behind].to_vec();
    signature.resize(left, 0);
    let mut other = [&packet[..mac], &signature, &packet[behind..]].concat();
    other[mac - 1] = u8::try_from(left).unwrap();
    other[packet.len() - rdlength - 1] = u8::try_from(rdlength + left - MAC).unwrap();
    other
}

fn error_of(reply: &[u8]) -> Option<u16> {
    tsig_of(reply).map(|tsig| tsig.error)
}

#[test]
fn a_key_decides_the_view_and_the_answer_is_signed() {
    let world = two_sides();
    for (key, qname, expected) in [
        ("out.", "www.ex.", "opcode0 qr aa rcode0 1/1/0/1"),
        ("out.", "db.ex.", "opcode0 qr aa rcode3 1/0/1/1"),
        ("in.", "db.ex.", "opcode0 qr aa rcode0 1/1/0/1"),
        ("in.", "nope.ex.", "opcode0 qr aa rcode3 1/0/1/1"),
        ("in.", "elsewhere.", "opcode0 qr rcode5 1/0/0/1"),
    ] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https] {
            let (packet, signer) = signed(&world, key, qname, NOW);
            let reply = reply(&world, &packet, transport);
            assert_eq!(summary(&reply), expected, "{key} {qname}");
            assert!(signer.accepts(&tsig_of(&reply).unwrap(), NOW), "{key} {qname}");
            for place in [3, 14, reply.len() - BEHIND_MAC - MAC] {
                let mut forged = reply.clone();
                forged[place] ^= 1;
                assert!(!signer.accepts(&tsig_of(&forged).unwrap(), NOW), "{key} {qname} {place}");
            }
        }
    }
}

/// An insider who proves the key of the outside gets what outsiders get: a secondary for outsiders may stand inside.
#[test]
fn the_key_of_the_outside_shows_the_outside_to_insiders_too() {
    let mut world = two_sides();
    world.access = Access { clients: vec!["198.51.100.0/24".parse().unwrap()], ..Access::default() };
    let (packet, _) = signed(&world, "out.", "db.ex.", NOW);
    let inside = Client { listener: Listener::Inside, ..client(Transport::Udp) };
    let mut out = Vec::new();
    respond(&world, &mut Limits::default(), &packet, &inside, moment(), &mut out);
    assert_eq!(summary(&out), "opcode0 qr aa rcode3 1/0/1/1");
    respond(&world, &mut Limits::default(), &ask("db.ex.", Type::A).bytes(), &inside, moment(), &mut out);
    assert_eq!(summary(&out), "opcode0 qr aa rcode0 1/1/0/0");
}

/// V9: whether there is a key of this name, or of this algorithm, makes no difference to those who do not have it.
#[test]
fn an_unknown_key_and_a_wrong_signature_are_refused_alike() {
    let known = two_sides();
    let mut unknown = two_sides();
    unknown.protocol.keys = Keys::default();
    let mut other = two_sides();
    other.protocol.keys =
        std::iter::once(Key::new(name("in."), Algorithm::HmacSha512, SECRET, Which::Internal)).collect();
    for qname in ["db.ex.", "www.ex.", "elsewhere."] {
        let (packet, _) = signed(&known, "in.", qname, NOW);
        for forged in [
            at(packet.clone(), BEHIND_MAC + 1),
            at(packet.clone(), BEHIND_MAC + MAC),
            at(packet, BEHIND_MAC + MAC + 5),
        ] {
            let replies = [&known, &unknown, &other].map(|world| reply(world, &forged, Transport::Udp));
            assert_eq!(summary(&replies[0]), "opcode0 qr rcode9 1/0/0/1");
            assert_eq!(error_of(&replies[0]), Some(17));
            assert!(replies.iter().all(|reply| *reply == replies[0]), "{qname}");
        }
    }
}

/// V9: nor does a signature of a length that none may have.
#[test]
fn a_malformed_signature_does_not_tell_which_keys_there_are() {
    let known = two_sides();
    let mut unknown = two_sides();
    unknown.protocol.keys = Keys::default();
    let (packet, _) = signed(&known, "in.", "db.ex.", NOW);
    for bytes in [0, 9, 10, 15, 33, 64, 200] {
        let replies = [&known, &unknown].map(|world| reply(world, &with_mac(&packet, bytes), Transport::Udp));
        assert_eq!(summary(&replies[0]), "opcode0 qr rcode1 1/0/0/0", "{bytes}");
        assert_eq!(replies[0], replies[1], "{bytes}");
    }
}

/// dnspython points from the key's name at the question's.
#[test]
fn the_name_of_a_key_may_end_in_a_pointer() {
    let mut world = two_sides();
    world.protocol.keys = std::iter::once(key("k.ex.", Which::Internal)).collect();
    let (packet, signer) = signed(&world, "k.ex.", "db.ex.", NOW);
    let owner = ask("db.ex.", Type::A).bytes().len();
    let with_owner =
        |name: &[u8]| [&packet[..owner], name, &packet[owner + b"\x01k\x02ex\0".len()..]].concat();
    let reply_to = |packet: &[u8]| reply(&world, packet, Transport::Udp);
    let good = reply_to(&with_owner(b"\x01k\xc0\x0f"));
    assert_eq!(summary(&good), "opcode0 qr aa rcode0 1/1/0/1");
    assert!(signer.accepts(&tsig_of(&good).unwrap(), NOW));
    let to_itself = [0xc0 | u8::try_from(owner >> 8).unwrap(), u8::try_from(owner & 0xff).unwrap()];
    for bad in [&to_itself[..], &[1, b'k', 0xff, 0xff], &[1, b'k', to_itself[0], to_itself[1]]] {
        assert!(summary(&reply_to(&with_owner(bad))).contains("rcode1"), "{bad:?}");
    }
}

#[test]
fn clocks_that_are_apart_are_told_so_and_signed() {
    let world = two_sides();
    for (signed_at, expected) in
        [(NOW - 300, 0), (NOW + 300, 0), (NOW - 301, 18), (NOW + 301, 18), (NOW - 3600, 18), (0, 18)]
    {
        let (packet, signer) = signed(&world, "out.", "www.ex.", signed_at);
        let reply = reply(&world, &packet, Transport::Udp);
        let tsig = tsig_of(&reply).unwrap();
        assert_eq!(tsig.error, expected, "{signed_at}");
        if expected == 18 {
            assert_eq!(summary(&reply), "opcode0 qr rcode9 1/0/0/1");
            assert_eq!(tsig.other, &NOW.to_be_bytes()[2..]);
            assert!(
                signer.accepts(&tsig, signed_at),
                "a clock that is wrong must be told by someone it can believe"
            );
        }
    }
}

/// RFC 8945 §5.2.2.1, §5.2.4.
#[test]
fn signatures_that_are_cut_short_prove_nothing() {
    let world = two_sides();
    let (packet, _) = signed(&world, "in.", "db.ex.", NOW);
    for (left, expected) in [(31, "rcode9"), (16, "rcode9"), (15, "rcode1"), (10, "rcode1"), (0, "rcode1")] {
        let reply = reply(&world, &with_mac(&packet, left), Transport::Udp);
        assert!(summary(&reply).contains(expected), "{left}: {}", summary(&reply));
        if expected == "rcode9" {
            let tsig = tsig_of(&reply).unwrap();
            assert_eq!((tsig.error, tsig.mac.len()), (22, MAC), "it is signed");
        }
    }
}

#[test]
fn a_signed_answer_keeps_within_what_the_client_takes() {
    let text: String = (0..40).map(|at| format!("big TXT {}\n", "x".repeat(20 + at % 3))).collect();
    let mut world = two_sides();
    world.public = view(&[("ex.", &format!("@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\n{text}"))]);
    for bytes in [512, 600, 1232] {
        let mut packet = ask("big.ex.", Type::TXT).edns(0, 0, bytes, b"").bytes();
        signer(&world, "out.").sign(&mut packet, SignedError::None, NOW);
        let reply = reply(&world, &packet, Transport::Udp);
        assert!(reply.len() <= usize::from(bytes), "{} of {bytes}", reply.len());
        assert!(tsig_of(&reply).is_some_and(|tsig| tsig.error == 0));
    }
}

/// RFC 7314; D16: who may not take the zone learns nothing.
#[test]
fn the_time_that_a_zone_is_good_for_is_told_to_those_who_may_take_it() {
    let rule = crate::transfer::Rule { keys: vec![name("out."), name("in.")], ..Default::default() };
    let mut world = two_sides();
    let asked = |world: &World, key: Option<&str>, qname: &str, qtype: Type| {
        let mut packet = ask(qname, qtype).bytes();
        packet[11] = 1;
        packet.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 9, 0, 0]);
        if let Some(key) = key {
            signer(world, key).sign(&mut packet, SignedError::None, NOW);
        }
        let reply = reply(world, &packet, Transport::Udp);
        let at = reply.windows(4).position(|bytes| bytes == [0, 9, 0, 4]);
        at.map(|at| u32::from_be_bytes(reply[at + 4..at + 8].try_into().unwrap()))
    };
    assert_eq!(asked(&world, Some("out."), "ex.", Type::SOA), None, "nobody may take it");
    world.protocol.transfers = [rule].into_iter().collect();
    for (key, qname, qtype, expected) in [
        (Some("out."), "ex.", Type::SOA, Some(4)),
        (Some("in."), "ex.", Type::SOA, Some(4)),
        (None, "ex.", Type::SOA, None),
        (Some("out."), "ex.", Type::A, None),
        (Some("out."), "www.ex.", Type::SOA, None),
        (Some("out."), "elsewhere.", Type::SOA, None),
    ] {
        assert_eq!(asked(&world, key, qname, qtype), expected, "{key:?} {qname} {qtype}");
    }
    let secondary = crate::transfer::Secondary {
        apex: name("ex."),
        view: Which::Public,
        primaries: Vec::new(),
        key: None,
    };
    world.protocol.secondaries = [secondary].into_iter().collect();
    assert_eq!(asked(&world, Some("out."), "ex.", Type::SOA), None, "nobody knows when the copy ends");
    world.expiries.note(&name("ex."), Some(NOW + 77));
    assert_eq!(asked(&world, Some("out."), "ex.", Type::SOA), Some(77));
    world.expiries.note(&name("ex."), Some(NOW - 1));
    assert_eq!(asked(&world, Some("out."), "ex.", Type::SOA), Some(0));
}
