//! Whatever a client sends: no panic, no answer to an answer, nothing larger than allowed, nothing that an independent
//! decoder cannot read, and no hidden address to outsiders.
//!
//! The first byte says who asks and how, the rest is the packet. The zones are those of the demo. A client that asks for one of them
//! as a whole (AXFR, IXFR) gets what outsiders may see.

#![no_main]

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use libfuzzer_sys::fuzz_target;
use verge_dns::limit::Limits;
use verge_dns::name::Name;
use verge_dns::client::{Client, Listener, Proved, Transport};
use verge_dns::view::{Access, View, Which};
use verge_dns::world::{Guard, Protocol, UDP_LIMIT_BYTES, World};
use verge_dns::transfer::Rule;
use verge_dns::tsig::{Algorithm, Key};
use verge_dns::wire::{Moment, Next, Outcome, Transfer, respond, transfer};
use verge_dns::zone::file::{self, NotIncluded};
use verge_dns::zone::privacy::{Rules, divide, trees};
use verge_dns::zone::set::Served;
use verge_dns::zone::{SourceFile, Zone};

const ZONES: [(&str, &[u8]); 3] = [
    ("example.com.", include_bytes!("../../../zones/example.com.zone")),
    ("corp.internal.", include_bytes!("../../../zones/corp.internal.zone")),
    ("10.in-addr.arpa.", include_bytes!("../../../zones/10.in-addr.arpa.zone")),
];

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|input: &[u8]| {
    let Some((who, packet)) = input.split_first() else { return };
    let client = client(*who);
    let mut out = Vec::new();
    let now = Moment { instant: Instant::now(), unix_seconds: 1_700_000_000 };
    if let Some(Ok(transfer)) = transfer(&WORLD, packet, &client, now) {
        take(transfer);
    }
    let outcome = respond(&WORLD, &mut Limits::default(), packet, &client, now, &mut out);
    if packet.len() < 12 || packet[2] & 0x80 != 0 {
        assert!(matches!(outcome, Outcome::Silent(_)), "answered what is no query");
    }
    match outcome {
        Outcome::Silent(_) => assert!(out.is_empty()),
        Outcome::Sent(_) => inspect(packet, &client, &out),
    }
});

/// Every message of a transfer is read, and there is an end.
fn take(mut transfer: Transfer) {
    for _ in 0..1000 {
        let mut out = Vec::new();
        let next = transfer.next(1_700_000_000, &mut out);
        let message = Message::from_vec(&out).expect("hickory reads the message");
        assert!(message.answers.iter().all(|record| !is_hidden(&record.data)), "a hidden address in a transfer");
        match next {
            Next::More => {}
            Next::Done => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("the transfer has no end");
}

fn inspect(packet: &[u8], client: &Client, out: &[u8]) {
    assert!(out[2] & 0x80 != 0 && out[..2] == packet[..2], "the ID or the QR bit is wrong");
    assert!(out.len() <= allowed(packet, client), "{} bytes", out.len());
    let message = Message::from_vec(out).expect("hickory reads the answer");
    if client.address.to_string() == OUTSIDER {
        for record in message.answers.iter().chain(&message.authorities).chain(&message.additionals) {
            assert!(!is_hidden(&record.data), "{record} to an outsider");
        }
    }
}

/// Bytes: what the client says that it can take, but no more than we send by UDP.
fn allowed(packet: &[u8], client: &Client) -> usize {
    if client.transport != Transport::Udp {
        return usize::from(u16::MAX);
    }
    let most = usize::from(UDP_LIMIT_BYTES);
    match Message::from_vec(packet).map(|query| query.edns) {
        Ok(Some(edns)) => usize::from(edns.max_payload()).clamp(512, most),
        Ok(None) => 512,
        Err(_) => most,
    }
}

/// The demo's zones publish 127.0.0.1 by a mark; everything else that is internal is in these two.
fn is_hidden(data: &RData) -> bool {
    match data {
        RData::A(address) => address.octets()[0] == 10,
        RData::AAAA(address) => address.octets()[0] == 0xfd,
        _ => false,
    }
}

const OUTSIDER: &str = "198.51.100.7";
const INSIDER: &str = "10.0.0.99";

fn client(who: u8) -> Client {
    Client {
        address: address(if who & 1 == 0 { OUTSIDER } else { INSIDER }),
        port: 4000,
        listener: if who & 2 == 0 { Listener::Outside } else { Listener::Inside },
        transport: if who & 4 == 0 { Transport::Udp } else { Transport::Tcp },
        proved: Proved::default(),
        is_to_close: who & 8 != 0,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn world() -> World {
    let zones: Vec<Zone> = ZONES.iter().map(|(apex, text)| read(apex, text)).collect();
    let (mut public, mut internal) = (View::default(), View::default());
    let mut guard = Guard::default();
    let all: Vec<&Zone> = zones.iter().collect();
    for (zone, divided) in zones.iter().zip(divide(&all, &Rules::default())) {
        let trees = trees(zone, &divided);
        internal.zones.insert(zone.apex.clone(), Served::Zone(trees.internal));
        if let Some(tree) = trees.public {
            public.zones.insert(zone.apex.clone(), Served::Zone(tree));
        }
        guard.published.extend(divided.published);
    }
    let access = Access { clients: vec![address(INSIDER).into()], ..Access::default() };
    let key = |name, view| {
        Key::new(Name::parse_absolute(name).expect("a name"), Algorithm::HmacSha256, b"0123456789abcdef", view)
    };
    let keys = [key("out", Which::Public), key("in", Which::Internal)].into_iter().collect();
    // All who ask may take zones; without a key, what outsiders may see.
    let clients = vec![address(OUTSIDER).into(), address(INSIDER).into()];
    let transfers = [Rule { clients, ..Rule::default() }].into_iter().collect();
    let protocol = Protocol { keys, transfers, ..Protocol::default() };
    World { public, internal, access, guard, protocol, ..World::default() }
}

fn read(apex: &str, text: &[u8]) -> Zone {
    let file = SourceFile { path: PathBuf::from(apex), text: Arc::from(text) };
    let none = &mut |_: file::Include<'_>| Err(NotIncluded("there is no other file".to_owned()));
    file::read(Name::parse_absolute(apex).expect("a name"), file, none).zone.expect("a good zone")
}
