//! The matrix: every row of the protocol's and of privacy's tables over every transport. The reply is the
//! row's, and byte for byte that of [`wire::respond`].

use std::path::Path;
use std::sync::Arc;

use crate::catalog::{Catalog, Terms};
use crate::client::{Client, Listener, Proved, Transport};
use crate::clock;
use crate::limit::Limits;
use crate::name::Name;
use crate::rtype::Type;
use crate::serve::testing::{Carrier, Servers};
use crate::view::Access;
use crate::wire;
use crate::world::World;
use crate::zone::address;
use crate::zone::privacy::Rules;
use crate::zone::set::Served;

const SIDES: [Listener; 2] = [Listener::Outside, Listener::Inside];
const LOOPBACK: &str = "127.0.0.0/8";

/// As asked over `transport`: QUIC has no IDs (RFC 9250 §4.2.1).
fn fit(packet: &[u8], transport: Transport) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if transport == Transport::Quic {
        packet[..2].fill(0);
    }
    packet
}

fn direct(world: &World, packet: &[u8], transport: Transport, listener: Listener) -> Vec<u8> {
    direct_from(world, packet, transport, (listener, "127.0.0.1"))
}

/// As a client of this address is answered.
fn direct_from(
    world: &World,
    packet: &[u8],
    transport: Transport,
    (listener, address): (Listener, &str),
) -> Vec<u8> {
    let (address, proved) = (address.parse().unwrap(), Proved::default());
    let client = Client { address, port: 4000, listener, transport, proved, is_to_close: false };
    let mut out = Vec::new();
    wire::respond(world, &mut Limits::default(), packet, &client, clock::moment(), &mut out);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_compliance_holds_over_every_transport() {
    let (world, rows) = wire::tests::compliance();
    let servers = Servers::new(wire::tests::compliance().0);
    assert!(rows.len() > 70, "{}", rows.len());
    for carrier in Carrier::ALL {
        let mut client = servers.client(carrier, Listener::Outside).await;
        for row in &rows {
            let packet = fit(&row.packet, carrier.transport());
            let reply = client.ask(&packet).await;
            assert_eq!(reply[..2], packet[..2], "{carrier:?} {}: the ID", row.test);
            (row.judge)(&reply);
            let expected = direct(&world, &packet, carrier.transport(), Listener::Outside);
            assert_eq!(reply, expected, "{carrier:?} {}", row.test);
        }
    }
    servers.end().await;
}

/// A zone with a pool of ten members, of whom each client network is given three.
const STEERED: &str =
    "$TTL 300\n@ SOA ns h 1 2h 30m 2w 5m\n@ NS ns\nns A 192.0.2.53\nplain A 192.0.2.1\nplain A 192.0.2.2\n";

fn steered() -> World {
    let folder = tempfile::tempdir().unwrap();
    let member = |number: u8| {
        format!("www A 203.0.113.{number} ; verge: steer\nwww AAAA 2001:db8::{number} ; verge: steer\n")
    };
    let text = STEERED.to_owned() + &(1..=10).map(member).collect::<String>();
    std::fs::write(folder.path().join("example.com.zone"), text).unwrap();
    let defaults = Arc::new(crate::steer::Rules { count: Some(3), ttl: Some(30), ..Default::default() });
    let steer = crate::steer::Settings { defaults, ..Default::default() };
    let terms = Terms { steer, ..Terms::default() };
    let loaded = Catalog::new(vec![folder.path().to_owned()], terms).load(clock::system_now()).unwrap();
    loaded.world.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steered_answer_is_the_same_over_every_transport() {
    let world = steered();
    let servers = Servers::new(steered());
    for qtype in [Type::A, Type::AAAA, Type::HTTPS] {
        let packet = question(b"\x03www\x07example\x03com\0", qtype);
        let mut first: Option<Vec<u8>> = None;
        for carrier in Carrier::ALL {
            let mut client = servers.client(carrier, Listener::Outside).await;
            let reply = client.ask(&fit(&packet, carrier.transport())).await;
            let members = if qtype == Type::HTTPS { 0 } else { 3 };
            assert_eq!(reply[6..8], [0, members], "{carrier:?} {qtype}");
            assert_eq!(
                reply,
                direct(&world, &fit(&packet, carrier.transport()), carrier.transport(), Listener::Outside)
            );
            // OPT tells how long an idle connection stays, and is padded where nobody may see the length.
            let answers = answer_section(&reply);
            assert_eq!(*first.get_or_insert_with(|| answers.clone()), answers, "{carrier:?} {qtype}");
        }
    }
    servers.end().await;
}

/// Counts, question, answer and authority, byte for byte: all but ID, flags and OPT.
fn answer_section(reply: &[u8]) -> Vec<u8> {
    let opt = reply.windows(3).rposition(|bytes| bytes == [0, 0, 41]).unwrap();
    reply[4..opt].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_stops_hidden_addresses_on_every_transport() {
    let (_, packets) = wire::tests::leaks(LOOPBACK);
    let servers = Servers::new(wire::tests::leaks(LOOPBACK).0);
    for carrier in Carrier::ALL {
        for side in SIDES {
            let mut client = servers.client(carrier, side).await;
            for packet in &packets {
                let reply = client.ask(&fit(packet, carrier.transport())).await;
                let rcode = if side == Listener::Outside { 2 } else { 0 };
                assert_eq!(reply[3] & 15, rcode, "{carrier:?} {side:?} {packet:x?}");
            }
        }
    }
    servers.end().await;
}

/// The sample zones, with all that they hide.
fn sample() -> World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zones");
    let access = Access { clients: vec![LOOPBACK.parse().unwrap()], ..Access::default() };
    let terms = Terms { rules: Rules::default(), access, ..Terms::default() };
    let loaded = Catalog::new(vec![folder], terms).load(clock::system_now()).unwrap();
    loaded.world.unwrap()
}

/// With an option that claims a client inside (V1).
fn question(name: &[u8], qtype: Type) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(name);
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12]);
    packet.extend_from_slice(&[0, 8, 0, 8, 0, 1, 32, 0, 10, 0, 0, 1]);
    packet
}

const TYPES: [Type; 12] = [
    Type::A,
    Type::AAAA,
    Type::MX,
    Type::TXT,
    Type::SRV,
    Type::CNAME,
    Type::NS,
    Type::SOA,
    Type::PTR,
    Type::HTTPS,
    Type::ANY,
    Type::AXFR,
];

#[tokio::test(flavor = "multi_thread")]
async fn no_transport_shows_an_outsider_what_is_inside() {
    let world = sample();
    let servers = Servers::new(sample());
    let questions = sample_questions(&world);
    assert!(questions.len() > 500, "{}", questions.len());
    for carrier in Carrier::ALL {
        let transport = carrier.transport();
        let mut shown = [0, 0];
        // Outside, inside, outside again: what was asked inside stays in nothing that outsiders are answered from (V8).
        for (pass, side) in [Listener::Outside, Listener::Inside, Listener::Outside].into_iter().enumerate() {
            let mut client = servers.client(carrier, side).await;
            for packet in &questions {
                let packet = fit(packet, transport);
                let reply = client.ask(&packet).await;
                assert_eq!(
                    reply,
                    direct(&world, &packet, transport, side),
                    "{carrier:?} {side:?} {packet:x?}"
                );
                shown[pass % 2] += usize::from(shows_hidden(&reply));
            }
        }
        assert_eq!(shown[0], 0, "{carrier:?} shows hidden addresses outside");
        assert!(shown[1] > 10, "{carrier:?} shows {} inside, so that nothing is proved", shown[1]);
    }
    servers.end().await;
}

/// V7: sockets that this program makes take no mapped addresses; one that was handed over may.
#[test]
fn v7_an_address_that_is_mapped_into_ipv6_is_that_of_ipv4() {
    let world = sample();
    let questions = sample_questions(&world);
    for transport in [Transport::Udp, Transport::Tcp] {
        for (side, address, is_inside) in [
            (Listener::Inside, "127.0.0.2", true),
            (Listener::Inside, "198.51.100.7", false),
            (Listener::Outside, "127.0.0.2", false),
        ] {
            let mut shown = 0;
            for packet in &questions {
                let reply = |address: &str| direct_from(&world, packet, transport, (side, address));
                let plain = reply(address);
                assert_eq!(plain, reply(&format!("::ffff:{address}")), "{side:?} {address} {packet:x?}");
                // The older form, without ffff, is another address.
                assert!(!shows_hidden(&reply(&format!("::{address}"))), "{side:?} {address} {packet:x?}");
                shown += usize::from(shows_hidden(&plain));
            }
            assert_eq!(shown > 10, is_inside, "{side:?} {address}: {shown}");
            assert!(is_inside || shown == 0, "{side:?} {address}: {shown}");
        }
    }
}

fn sample_questions(world: &World) -> Vec<Vec<u8>> {
    let apexes = ["example.com.", "corp.internal.", "10.in-addr.arpa."];
    let names = apexes.iter().flat_map(|apex| names_of(world, apex));
    names.flat_map(|name| TYPES.map(|qtype| question(&name, qtype))).collect()
}

/// Every name of the zone as the inside has it, and one that is not there.
fn names_of(world: &World, apex: &str) -> Vec<Vec<u8>> {
    let apex = Name::parse_absolute(apex).unwrap();
    let Some(Served::Zone(tree)) = world.internal.zones.get(&apex) else { panic!("no zone {apex}") };
    let mut names: Vec<Vec<u8>> = tree.nodes().map(|node| node.name().to_vec()).collect();
    names.push([b"\x07missing", apex.as_wire()].concat());
    names
}

/// Whether a reply holds an address that outsiders must not see.
fn shows_hidden(reply: &[u8]) -> bool {
    let message = hickory_proto::op::Message::from_vec(reply).unwrap();
    let records = message.answers.iter().chain(&message.authorities).chain(&message.additionals);
    records
        .filter_map(|record| record.data.ip_addr())
        .any(|ip| address::hidden(ip, &[]).is_some_and(|_| !ip.is_loopback()))
}
