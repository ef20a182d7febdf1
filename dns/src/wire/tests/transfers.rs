//! Zones as streams of messages (AXFR, IXFR), read by another codec, and who gets none.

use aws_lc_rs::hmac;
use hickory_proto::op;
use hickory_proto::serialize::binary::BinDecodable;

use super::*;
use crate::transfer::{Delta, Rule};
use crate::tsig::{Algorithm, Key, SignedError, Signer};
use crate::view::View;
use crate::zone::set::Served;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const SMALL: &str = "@ SOA ns1 h 7 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\nwww A 192.0.2.2\nwww A 192.0.2.3\n";

fn small(more: &str) -> World {
    let mut world = world(&[("ex.", SMALL)]);
    world.internal = view(&[("ex.", &format!("{SMALL}{more}")), ("in.ex.", SMALL)]);
    let key = |text: &str, view| Key::new(name(text), Algorithm::HmacSha256, SECRET, view);
    world.protocol.keys = [key("out.", Which::Public), key("in.", Which::Internal)].into_iter().collect();
    let keyed = Rule { keys: vec![name("out."), name("in.")], ..Rule::default() };
    let listed = Rule {
        zones: vec![name("listed.")],
        clients: vec!["198.51.100.7/32".parse().unwrap()],
        ..Rule::default()
    };
    world.protocol.transfers = [keyed, listed].into_iter().collect();
    world
}

fn with_zone(zone: &str) -> World {
    let mut world = small("");
    world.public = view(&[("ex.", zone)]);
    world
}

fn query(qname: &str, qtype: Type, have: Option<u32>) -> Ask {
    let mut ask = ask(qname, qtype);
    if let Some(serial) = have {
        ask.counts[2] = 1;
        // Both names are the root.
        ask.rest.extend_from_slice(&[0, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
        ask.rest.extend_from_slice(&serial.to_be_bytes());
        ask.rest.extend_from_slice(&[0; 16]);
    }
    ask
}

fn signed(world: &World, key: &str, ask: &Ask) -> Vec<u8> {
    let mut packet = ask.bytes();
    let mut signer = Signer::of_request(world.protocol.keys.get(&name(key)).unwrap());
    signer.sign(&mut packet, SignedError::None, moment().unix_seconds);
    packet
}

/// All messages of a transfer; none if there is none.
fn take(world: &World, packet: &[u8], transport: Transport) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let Some(Ok(mut transfer)) = transfer(world, packet, &client(transport), moment()) else {
        return messages;
    };
    loop {
        let mut message = Vec::new();
        let next = transfer.next(moment().unix_seconds, &mut message);
        assert!(matches!(next, Next::More | Next::Done), "{next:?}");
        messages.push(message);
        if next == Next::Done {
            return messages;
        }
    }
}

fn denied(world: &World, packet: &[u8], client: &Client) -> Option<Denied> {
    transfer(world, packet, client, moment())?.err()
}

fn records(messages: &[Vec<u8>]) -> Vec<String> {
    let read = |message: &Vec<u8>| {
        let message = op::Message::from_bytes(message).unwrap();
        message.answers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    messages.iter().flat_map(read).collect()
}

fn count(world: &World, key: &str, ask: &Ask) -> usize {
    records(&take(world, &signed(world, key, ask), Transport::Tcp)).len()
}

#[test]
fn a_whole_zone_is_all_its_records_between_two_soas() {
    let world = small("db A 10.0.0.5\n");
    let axfr = query("ex.", Type::AXFR, None);
    for transport in [Transport::Tcp, Transport::Tls] {
        let outside = records(&take(&world, &signed(&world, "out.", &axfr), transport));
        assert_eq!(outside.len(), 6, "{outside:?}");
        assert_eq!((outside.first(), outside[0].contains(" SOA ")), (outside.last(), true));
        assert!(!outside.iter().any(|record| record.contains("10.0.0.5") || record.contains("db.ex")));
        let inside = records(&take(&world, &signed(&world, "in.", &axfr), transport));
        assert!(inside.iter().any(|record| record.contains("10.0.0.5")), "{inside:?}");
    }
    assert_eq!(count(&world, "in.", &query("in.ex.", Type::AXFR, None)), 6);
}

#[test]
fn a_large_zone_is_many_messages_that_each_keep_their_size() {
    let text = "x".repeat(200);
    let lines: String = (0..3000).map(|at| format!("n{at} TXT {text}\n")).collect();
    // One RRset is longer than a message is.
    let many: String =
        (0..2000).map(|at| format!("many A 203.0.{}.{}\n", 113 + at / 256, at % 256)).collect();
    let zone =
        format!("{SMALL}{lines}{many}long TXT {}\n", "\"123456789012345678901234567890\" ".repeat(1000));
    let world = with_zone(&zone);
    let messages = take(&world, &signed(&world, "out.", &query("ex.", Type::AXFR, None)), Transport::Tcp);
    assert!(messages.len() > 40, "{}", messages.len());
    for (at, message) in messages.iter().enumerate() {
        assert!(message.len() <= 16 * 1024 || message.len() < 40_000 && message[7] == 1, "{}", message.len());
        assert_eq!((message[5], message[11]), (u8::from(at == 0), 1), "question and TSIG of message {at}");
        assert_eq!(message[..2], [0xab, 0xcd]);
    }
    let mut all = records(&messages);
    assert_eq!(all.len(), 5 + 1 + 3000 + 2000 + 1);
    all.pop();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5006, "each record comes once");
}

/// RFC 8945 §5.3.1, computed here in another way.
#[test]
fn each_message_is_signed_over_the_one_before() {
    let lines: String = (0..2000).map(|at| format!("n{at} TXT {}\n", "x".repeat(60))).collect();
    let world = with_zone(&format!("{SMALL}{lines}"));
    let packet = signed(&world, "out.", &query("ex.", Type::AXFR, None));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let mut prior = tsig_of(&packet).unwrap().mac.to_vec();
    let messages = take(&world, &packet, Transport::Tcp);
    assert!(messages.len() > 3);
    for (at, message) in messages.iter().enumerate() {
        let tsig = tsig_of(message).unwrap();
        let mut covered = [&[0, 32][..], &prior, tsig.covered].concat();
        covered[34 + 11] -= 1;
        if at == 0 {
            covered.extend_from_slice(b"\x03out\0\x00\xff\x00\x00\x00\x00\x0bhmac-sha256\0");
            covered.extend_from_slice(&tsig.time);
            covered.extend_from_slice(&[0; 4]);
        } else {
            covered.extend_from_slice(&tsig.time);
        }
        assert_eq!(hmac::sign(&key, &covered).as_ref(), tsig.mac, "message {at}");
        prior = tsig.mac.to_vec();
    }
}

/// RFC 5936 §2.2.5, RFC 7828 §3.3.2: each message may have an OPT record, which says how it stands with the connection by then.
#[test]
fn a_transfer_tells_to_close_from_the_message_on_at_which_the_server_is_about_to() {
    const CLOSE: &[u8] = &[0, 11, 0, 2, 0, 0];
    let lines: String = (0..2000).map(|at| format!("n{at} TXT {}\n", "x".repeat(60))).collect();
    let mut world = with_zone(&format!("{SMALL}{lines}"));
    world.protocol.idle_timeout = std::time::Duration::from_secs(10);
    let asking: &[u8] = &[0, 11, 0, 0];
    let stay: &[u8] = &[0, 11, 0, 2, 0, 100];
    let bare: &[u8] = &[0, 0, 0, 0, 0, 0];
    for (edns, transport, before, after) in [
        (Some(asking), Transport::Tcp, stay, CLOSE),
        (Some(asking), Transport::Tls, stay, CLOSE),
        (Some(b""), Transport::Tcp, bare, CLOSE),
        (Some(b""), Transport::Quic, bare, bare),
        (None, Transport::Tcp, &[], &[]),
    ] {
        let ask = query("ex.", Type::AXFR, None);
        let ask = edns.map_or(ask.clone(), |options: &[u8]| ask.edns(0, 0, 1232, options));
        let mut packet = ask.bytes();
        // As DNS over QUIC wants it.
        packet[..2].fill(0);
        let mut signer = Signer::of_request(world.protocol.keys.get(&name("out.")).unwrap());
        signer.sign(&mut packet, SignedError::None, moment().unix_seconds);
        let mut transfer = transfer(&world, &packet, &client(transport), moment()).unwrap().ok().unwrap();
        let mut messages = Vec::new();
        loop {
            if messages.len() == 2 {
                transfer.tell_to_close();
                // Once more changes nothing.
                transfer.tell_to_close();
            }
            let mut message = Vec::new();
            let next = transfer.next(moment().unix_seconds, &mut message);
            messages.push(message);
            if next == Next::Done {
                break;
            }
        }
        assert!(messages.len() > 4, "{}", messages.len());
        for (at, message) in messages.iter().enumerate() {
            let unsigned = tsig_of(message).unwrap().covered;
            let expected = if at < 2 { before } else { after };
            assert!(unsigned.ends_with(expected), "{edns:?} {transport:?}, message {at}");
            assert_eq!(message[11], 1 + u8::from(edns.is_some()), "OPT and TSIG of message {at}");
        }
        assert_eq!(records(&messages).len(), 2000 + 6);
    }
}

/// D14, D17: no byte says whether there is such a zone, or whether others may take it.
#[test]
fn those_who_may_not_take_a_zone_learn_nothing_of_it() {
    let there = small("");
    let mut empty = small("");
    empty.public = View::default();
    empty.internal = View::default();
    let mut closed = small("");
    closed.protocol.transfers = [].into_iter().collect();
    for (key, qname, qtype, transport) in [
        (None, "ex.", Type::AXFR, Transport::Tcp),
        (None, "ex.", Type::IXFR, Transport::Tcp),
        (None, "ex.", Type::AXFR, Transport::Udp),
        (None, "ex.", Type::IXFR, Transport::Udp),
        (None, "in.ex.", Type::AXFR, Transport::Tls),
        (Some("out."), "in.ex.", Type::AXFR, Transport::Tcp),
        (Some("out."), "in.ex.", Type::IXFR, Transport::Udp),
        (Some("out."), "www.ex.", Type::AXFR, Transport::Tcp),
        (Some("out."), "listed.", Type::AXFR, Transport::Tcp),
        (Some("out."), "ex.", Type::AXFR, Transport::Udp),
        (Some("out."), "ex.", Type::AXFR, Transport::Https),
    ] {
        let ask = query(qname, qtype, (qtype == Type::IXFR).then_some(1));
        let packet = key.map_or_else(|| ask.bytes(), |key| signed(&there, key, &ask));
        for world in [&there, &empty, &closed] {
            assert!(take(world, &packet, transport).is_empty(), "{key:?} {qname} {qtype} {transport:?}");
        }
        let replies = [&there, &empty, &closed].map(|world| reply(world, &packet, transport));
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{key:?} {qname} {qtype} {transport:?}");
        assert!(summary(&replies[0]).contains("rcode5"), "{}", summary(&replies[0]));
    }
    let mut forged = signed(&there, "in.", &query("ex.", Type::AXFR, None));
    let last = forged.len() - 7;
    forged[last] ^= 1;
    assert_eq!(denied(&there, &forged, &client(Transport::Tcp)), Some(Denied::Signature));
    assert!(summary(&reply(&there, &forged, Transport::Tcp)).contains("rcode9"));
}

#[test]
fn an_address_is_enough_where_a_rule_says_so_and_gets_the_outside() {
    let mut world = small("");
    world.public = view(&[("listed.", SMALL)]);
    world.internal = view(&[("listed.", &format!("{SMALL}db A 10.0.0.5\n"))]);
    world.access = Access { clients: vec!["198.51.100.0/24".parse().unwrap()], ..Access::default() };
    let packet = query("listed.", Type::AXFR, None).bytes();
    for listener in [Listener::Outside, Listener::Inside] {
        let client = Client { listener, ..client(Transport::Tcp) };
        let mut transfer = transfer(&world, &packet, &client, moment()).unwrap().unwrap();
        let mut message = Vec::new();
        assert_eq!(transfer.next(0, &mut message), Next::Done);
        assert_eq!(records(&[message]).len(), 6, "{listener:?}");
        let other = Client { address: "198.51.100.8".parse().unwrap(), ..client.clone() };
        assert_eq!(denied(&world, &packet, &other), Some(Denied::Rule));
    }
}

#[test]
fn a_secondary_gets_what_changed_since_its_version() {
    let zone = |serial: u32, rest: &str| {
        format!("@ SOA ns1 h {serial} 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\n{rest}{MORE}")
    };
    let (old, new) = (zone(5, "www A 192.0.2.2\ngone TXT x\n"), zone(6, "www A 192.0.2.9\ncome TXT y\n"));
    let mut world = with_zone(&new);
    let tree = |text: &str| crate::zone::tree::testing::tree("ex.", text);
    let delta = Delta::between(&tree(&old), &tree(&new), 10_000).unwrap();
    world.versions.insert(Which::Public, name("ex."), [std::sync::Arc::new(delta)].into());
    for (have, expected) in [
        // The SOA, two SOAs and four changes, the SOA.
        (Some(5), 1 + 2 + 4 + 1),
        (Some(6), 1),
        // The secondary has been told of more than there is: RFC 1995 §2.
        (Some(7), 1),
        (Some(4), 50 + 6),
        (None, 50 + 6),
    ] {
        assert_eq!(count(&world, "out.", &query("ex.", Type::IXFR, have)), expected, "{have:?}");
    }
    let all =
        records(&take(&world, &signed(&world, "out.", &query("ex.", Type::IXFR, Some(5))), Transport::Tcp));
    let serials: Vec<_> =
        all.iter().filter(|it| it.contains(" SOA ")).map(|it| it.contains("h.ex. 5 ")).collect();
    assert_eq!(serials, [false, true, false, false]);
    assert_eq!(count(&world, "out.", &query("ex.", Type::AXFR, Some(5))), 50 + 6, "AXFR is for all of it");
    let by_udp = reply(&world, &signed(&world, "out.", &query("ex.", Type::IXFR, Some(5))), Transport::Udp);
    assert_eq!(summary(&by_udp), "opcode0 qr aa rcode0 1/1/0/1");
    assert!(records(&[by_udp])[0].contains(" SOA "));
}

/// Neither a deleted record that a mark published nor one that the config hides by now breaks a transfer off.
#[test]
fn changes_with_an_address_that_is_hidden_by_now_give_way_to_the_whole_zone() {
    let zone = |serial: u32, rest: &str| {
        format!("@ SOA ns1 h {serial} 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\n{rest}{MORE}")
    };
    let (old, new) = (zone(5, "pub A 10.0.0.9\n"), zone(6, "new TXT x\n"));
    let mut world = with_zone(&new);
    let tree = |text: &str| crate::zone::tree::testing::tree("ex.", text);
    let delta = std::sync::Arc::new(Delta::between(&tree(&old), &tree(&new), 10_000).unwrap());
    world.versions.insert(Which::Public, name("ex."), [delta].into());
    let ixfr = query("ex.", Type::IXFR, Some(5));
    assert_eq!(count(&world, "out.", &ixfr), 50 + 5);
    world.guard.published.insert((name("pub.ex."), "10.0.0.9".parse().unwrap()));
    assert_eq!(count(&world, "out.", &ixfr), 1 + 2 + 2 + 1);
}

/// So that what changed is shorter than all of it.
const MORE: &str = "
    a TXT 1\na TXT 2\na TXT 3\na TXT 4\na TXT 5\na TXT 6\na TXT 7\na TXT 8\na TXT 9\na TXT 10
    b TXT 1\nb TXT 2\nb TXT 3\nb TXT 4\nb TXT 5\nb TXT 6\nb TXT 7\nb TXT 8\nb TXT 9\nb TXT 10
    c TXT 1\nc TXT 2\nc TXT 3\nc TXT 4\nc TXT 5\nc TXT 6\nc TXT 7\nc TXT 8\nc TXT 9\nc TXT 10
    d TXT 1\nd TXT 2\nd TXT 3\nd TXT 4\nd TXT 5\nd TXT 6\nd TXT 7\nd TXT 8\nd TXT 9\nd TXT 10
    e TXT 1\ne TXT 2\ne TXT 3\ne TXT 4\ne TXT 5\ne TXT 6\ne TXT 7\ne TXT 8\ne TXT 9\ne TXT 10
";

#[test]
fn a_zone_that_never_was_good_is_not_given_away() {
    let mut world = small("");
    world.public.zones.insert(name("ex."), Served::Broken);
    assert!(
        take(&world, &signed(&world, "out.", &query("ex.", Type::AXFR, None)), Transport::Tcp).is_empty()
    );
}

/// The guard is the last to look, also at transfers.
#[test]
fn a_hidden_address_stops_a_transfer() {
    let world = with_zone(&format!("{SMALL}leak A 10.0.0.5\n"));
    let packet = signed(&world, "out.", &query("ex.", Type::AXFR, None));
    let mut transfer = transfer(&world, &packet, &client(Transport::Tcp), moment()).unwrap().unwrap();
    assert_eq!(transfer.next(0, &mut Vec::new()), Next::Stopped);
}

#[test]
fn a_server_with_too_many_transfers_says_so_and_signs_it() {
    let world = small("");
    let packet = signed(&world, "out.", &query("ex.", Type::AXFR, None));
    let transfer = transfer(&world, &packet, &client(Transport::Tcp), moment()).unwrap().unwrap();
    let mut message = Vec::new();
    transfer.busy(moment().unix_seconds, &mut message);
    assert_eq!(summary(&message), "opcode0 qr aa rcode2 1/0/0/1");
}
