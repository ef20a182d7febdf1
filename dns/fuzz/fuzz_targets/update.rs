//! Whatever a client that has a key sends as an update: no panic, nothing is changed that its policy does not name, nothing leaves
//! the zone, and the answer can be read.
//!
//! The input is a message without a signature; it is signed here.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use verge_dns::client::{Client, Listener, Proved, Transport};
use verge_dns::name::Name;
use verge_dns::rcode::Rcode;
use verge_dns::rtype::Type;
use verge_dns::transfer::record;
use verge_dns::tsig::{Algorithm, Key, SignedError, Signer};
use verge_dns::update::{Pattern, Policy, Rights, evaluate};
use verge_dns::view::Which;
use verge_dns::wire::{Moment, submitted};
use verge_dns::world::{Protocol, World};
use verge_dns::zone::set::Served;
use verge_dns::zone::tree::Tree;

const NOW: u64 = 1_700_000_000;

static WORLD: LazyLock<World> = LazyLock::new(world);

fuzz_target!(|input: &[u8]| {
    if input.len() < 12 || input.len() > 60_000 {
        return;
    }
    let key = WORLD.protocol.keys.get(&name("acme")).expect("it was put there");
    let mut packet = input.to_vec();
    Signer::of_request(key).sign(&mut packet, SignedError::None, NOW);
    let client =
        Client { address: [192, 0, 2, 1].into(), port: 4000, listener: Listener::Outside, transport: Transport::Tcp, proved: Proved::default(), is_to_close: false };
    let now = Moment { instant: Instant::now(), unix_seconds: NOW };
    let Some(submitted) = submitted(&WORLD, &packet, &client, now) else { return };
    let Some(Served::Zone(tree)) = WORLD.public.zones.get(&submitted.apex) else { panic!("no such zone is here") };
    let rights = Rights::of(&WORLD.protocol.updates, &submitted.apex, &submitted.key).expect("it may change something");
    if let Some(Ok(change)) = submitted.request.as_ref().map(|request| evaluate(request, tree, &rights)) {
        for record in change.gone.iter().chain(&change.come) {
            assert!(rights.permit(&record.owner, record.rtype), "{record:?}");
            assert!(record.owner.is_at_or_under(&submitted.apex), "{record:?}");
        }
    }
    let answer = submitted.answer(Rcode::NoError, NOW);
    Message::from_vec(&answer).expect("hickory reads the answer");
});

fn name(text: &str) -> Name {
    Name::parse_absolute(text).expect("a name")
}

fn world() -> World {
    let key = Key::new(name("acme"), Algorithm::HmacSha256, b"0123456789abcdef", Which::Public);
    let policy = Policy {
        zones: Vec::new(),
        keys: vec![name("acme")],
        names: vec![Pattern::parse("_acme-challenge.*").expect("a pattern"), Pattern::parse("www").expect("a pattern")],
        types: vec![Type::TXT, Type::A, Type::CNAME],
        publish: false,
    };
    let soa = [b"\x02ns\x02ex\0\x01h\x02ex\0".as_slice(), &[1, 2, 3, 4, 5].map(u32::to_be_bytes).concat()].concat();
    let records = [
        record(name("ex"), Type::SOA, 60, soa.into()),
        record(name("ex"), Type::NS, 60, b"\x02ns\x02ex\0".as_slice().into()),
        record(name("ns.ex"), Type::A, 60, [192, 0, 2, 1].into()),
        record(name("www.ex"), Type::A, 60, [192, 0, 2, 2].into()),
        record(name("_acme-challenge.ex"), Type::TXT, 60, b"\x01x".as_slice().into()),
    ];
    let tree = Arc::new(Tree::build(name("ex"), &records));
    let protocol = Protocol { keys: [key].into_iter().collect(), updates: [policy].into(), ..Protocol::default() };
    let mut world = World { protocol, ..World::default() };
    world.public.zones.insert(name("ex"), Served::Zone(Arc::clone(&tree)));
    world.internal.zones.insert(name("ex"), Served::Zone(tree));
    world
}
