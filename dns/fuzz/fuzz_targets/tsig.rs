//! Signatures (TSIG): whatever a record says, no panic, and an answer that can be read. A question that was changed after it was
//! signed gets nothing of the key's view.
//!
//! The first byte says which: 0, and the rest is a packet; else the rest is pairs of a place and a change in a signed question.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use libfuzzer_sys::fuzz_target;
use verge_dns::client::{Client, Listener, Proved, Transport};
use verge_dns::limit::Limits;
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::transfer::record;
use verge_dns::tsig::{Algorithm, Key, SignedError, Signer};
use verge_dns::view::Which;
use verge_dns::wire::{Moment, Outcome, respond};
use verge_dns::world::{Protocol, World};
use verge_dns::zone::set::Served;
use verge_dns::zone::tree::Tree;

const NOW: u64 = 1_700_000_000;
const HIDDEN: [u8; 4] = [10, 0, 0, 5];
/// For the address of db.ex.
const QUESTION: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x02db\x02ex\0\0\x01\0\x01";

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|input: &[u8]| {
    let Some((which, rest)) = input.split_first() else { return };
    if *which == 0 {
        answer(rest);
        return;
    }
    let key = WORLD.protocol.keys.get(&name("in")).expect("it was put there");
    let mut packet = QUESTION.to_vec();
    Signer::of_request(key).sign(&mut packet, SignedError::None, NOW);
    assert!(shows(&answer(&packet)), "the key shows its view");
    let before = packet.clone();
    for pair in rest.chunks_exact(2) {
        // The ID and the signature's own record are judged apart from this: some of their bytes do not count.
        let place = 2 + usize::from(pair[0]) % (QUESTION.len() - 2);
        packet[place] ^= pair[1];
    }
    // Nor do capitals count in names.
    if !packet.eq_ignore_ascii_case(&before) {
        assert!(!shows(&answer(&packet)), "{packet:x?}");
    }
});

fn answer(packet: &[u8]) -> Vec<u8> {
    let client =
        Client { address: [192, 0, 2, 1].into(), port: 4000, listener: Listener::Outside, transport: Transport::Tcp, proved: Proved::default(), is_to_close: false };
    let now = Moment { instant: Instant::now(), unix_seconds: NOW };
    let mut out = Vec::new();
    if let Outcome::Sent(_) = respond(&WORLD, &mut Limits::default(), packet, &client, now, &mut out) {
        Message::from_vec(&out).expect("hickory reads the answer");
    }
    out
}

/// An error repeats the question, which may have any octets.
fn shows(answer: &[u8]) -> bool {
    let is_hidden = |record: &Record| matches!(&record.data, RData::A(address) if address.octets() == HIDDEN);
    let sections = Message::from_vec(answer).map(|it| [it.answers, it.authorities, it.additionals]);
    sections.is_ok_and(|all| all.iter().flatten().any(is_hidden))
}

fn name(text: &str) -> Name {
    Name::parse_absolute(text).expect("a name")
}

fn world() -> World {
    let key = |text, view| Key::new(name(text), Algorithm::HmacSha256, b"0123456789abcdef", view);
    let keys = [key("in", Which::Internal), key("out", Which::Public)].into_iter().collect();
    let soa = [b"\x02ns\x02ex\0\x01h\x02ex\0".as_slice(), &[1, 2, 3, 4, 5].map(u32::to_be_bytes).concat()].concat();
    let records = [
        record(name("ex"), Type::SOA, 60, soa.into()),
        record(name("ex"), Type::NS, 60, b"\x02ns\x02ex\0".as_slice().into()),
        record(name("ns.ex"), Type::A, 60, [192, 0, 2, 1].into()),
        record(name("db.ex"), Type::A, 60, HIDDEN.into()),
    ];
    let mut world = World { protocol: Protocol { keys, ..Protocol::default() }, ..World::default() };
    world.public.zones.insert(name("ex"), Served::Zone(Arc::new(Tree::build(name("ex"), &records[..3]))));
    world.internal.zones.insert(name("ex"), Served::Zone(Arc::new(Tree::build(name("ex"), &records))));
    world
}
