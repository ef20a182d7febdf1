//! Nanoseconds a question takes from packet to packet, without a socket: `cargo bench -p verge-dns [-- KIND …]`.
//!
//! Each kind of question is asked of the same zone of 100,000 names, in both views, many times over. The figures of a
//! shared machine are noise except against each other; for decisions count instructions:
//! `valgrind --tool=callgrind --toggle-collect='*respond*round*' target/release/deps/respond-* --once --few hit`, where
//! `--few` makes a zone of 1,000 names, which is read sooner and costs as many instructions.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::HashSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verge_dns::client::{Client, Listener, Proved, Transport};
use verge_dns::limit::{Limits, Rates};
use verge_dns::name::Name;
use verge_dns::steer::{Pools, Settings};
use verge_dns::view::View;
use verge_dns::wire::{self, Moment};
use verge_dns::world::{Guard, World};
use verge_dns::zone::privacy::{Rules, divide, trees};
use verge_dns::zone::set::{Served, Zones};
use verge_dns::zone::{SourceFile, file};

const NAMES: usize = 100_000;
const FEW_NAMES: usize = 1_000;
/// Different questions of one kind, so that caches are as cold as under load.
const QUESTIONS: usize = 20_000;

fn main() {
    let mut kinds: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let once = kinds.iter().any(|arg| arg == "--once");
    let names = if kinds.iter().any(|arg| arg == "--few") { FEW_NAMES } else { NAMES };
    kinds.retain(|kind| !kind.starts_with("--"));
    let world = world(names);
    for (kind, questions) in questions(names) {
        if !kinds.is_empty() && !kinds.iter().any(|wanted| wanted == kind) {
            continue;
        }
        if once {
            round(&world, &questions, &mut Limits::default());
            continue;
        }
        let mut unlimited = Limits::default();
        let mut limited =
            Limits::new(Some(Rates { per_second: u32::MAX, burst: 1_000_000, slip: 0 }), [7; 16]);
        let plain = best(|| round(&world, &questions, &mut unlimited));
        let rated = best(|| round(&world, &questions, &mut limited));
        println!("{kind:12} {plain:6.0} ns   with rate limiting {rated:6.0} ns");
    }
}

fn best(mut run: impl FnMut() -> Duration) -> f64 {
    let best = (0..10).map(|_| run()).min().expect("ten rounds were run");
    best.as_secs_f64() * 1e9 / QUESTIONS as f64
}

fn round(world: &World, questions: &[Vec<u8>], limits: &mut Limits) -> Duration {
    let client = Client {
        address: [198, 51, 100, 7].into(),
        port: 4000,
        listener: Listener::Outside,
        transport: Transport::Udp,
        proved: Proved::default(),
        is_to_close: false,
    };
    let mut out = Vec::with_capacity(1500);
    let begin = now();
    let moment = Moment { instant: begin, unix_seconds: 1_700_000_000 };
    for question in questions {
        black_box(wire::respond(world, limits, question, &client, moment, &mut out));
    }
    begin.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn world(names: usize) -> World {
    let mut text = String::from(
        "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 300\n@ NS ns1\n@ NS ns2\nns1 A 198.51.100.1\n\
         ns2 A 198.51.100.2\n*.wild A 198.51.100.77\nmail MX 10 ns1\nsub NS ns.sub\nsub NS ns2.sub\n\
         ns.sub A 198.51.100.3\nns2.sub A 198.51.100.4\n@ TXT \"v=spf1 -all\"\n@ HTTPS 1 . alpn=h2\n\
         @ A 198.51.100.10\n_sip._tcp SRV 1 2 5060 ns1\n",
    );
    for i in 0..names {
        text += &format!("h{i} A 203.0.{}.{}\n", i >> 8 & 255, i & 255);
        if i % 10 == 0 {
            text += &format!("c{i} CNAME h{i}\n");
            let k = i / 10;
            for name in [format!("p{k}"), format!("s{k}")] {
                text += &format!("{name} A 203.0.113.1\n{name} A 203.0.113.2\n");
            }
        }
    }
    let (mut public, mut internal) = (Zones::default(), Zones::default());
    for (apex, text) in [("example.com.", text), ("signed.example.", signed(names))] {
        let apex = Name::parse_absolute(apex).expect("it is a name");
        let source = SourceFile { path: PathBuf::from("a.zone"), text: Arc::from(text.as_bytes()) };
        let parsed = file::read(apex.clone(), source, &mut |_| unreachable!("nothing is included"));
        let zone = parsed.zone.expect("the zone is good");
        let divided = divide(&[&zone], &Rules::default()).pop().expect("one zone was divided");
        let trees = trees(&zone, &divided);
        public.insert(apex.clone(), Served::Zone(trees.public.expect("it is a public zone")));
        internal.insert(apex, Served::Zone(trees.internal));
    }
    World {
        public: View { pools: pools(&public, names), zones: public },
        internal: View { pools: pools(&internal, names), zones: internal },
        guard: Guard { private: Vec::new(), published: HashSet::new() },
        ..World::default()
    }
}

/// A pool of each `s` name.
fn pools(zones: &Zones, names: usize) -> Pools {
    let apex = Name::parse_absolute("example.com.").expect("it is a name");
    let (mut pools, settings) = (Pools::default(), Settings::default());
    if let Some(Served::Zone(tree)) = zones.get(&apex) {
        for i in 0..names / 10 {
            let owner = Name::parse_absolute(&format!("s{i}.example.com.")).expect("it is a name");
            pools.add(tree, &owner, &settings);
        }
    }
    pools
}

/// As a signer leaves a zone: an NSEC and signatures of 64 bytes at each name.
fn signed(names: usize) -> String {
    let signature = |owner: &str, covered: &str| {
        format!("{owner} RRSIG {covered} 13 3 300 20300101000000 20200101000000 7 @ {}==\n", "A".repeat(86))
    };
    let mut text = String::from(
        "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 300\n@ NS ns1\n@ DNSKEY 256 3 13 AAAA\n@ NSEC h0 SOA NS RRSIG\n\
         ns1 A 198.51.100.1\n",
    );
    text += &["SOA", "NS", "NSEC"].map(|covered| signature("@", covered)).concat();
    for i in 0..names / 10 {
        text += &format!("h{i} A 203.0.{}.{}\nh{i} NSEC h{i}x A RRSIG NSEC\n", i >> 8 & 255, i & 255);
        text += &["A", "NSEC"].map(|covered| signature(&format!("h{i}"), covered)).concat();
    }
    text
}

fn questions(names: usize) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let all = |name: &dyn Fn(usize) -> String, qtype: u16, edns: bool| {
        // A stride that is prime to the number of names visits them in no order.
        (0..QUESTIONS).map(|k| question(&name(k * 7919 % names), qtype, edns)).collect::<Vec<_>>()
    };
    let signed = |name: &dyn Fn(usize) -> String| {
        let all = all(&|i| format!("{}.signed.example.", name(i / 10)), 1, true).into_iter();
        all.map(with_dnssec_ok).collect::<Vec<_>>()
    };
    let host = |i: usize| format!("h{i}.example.com.");
    vec![
        ("hit", all(&host, 1, false)),
        // Two addresses, plain and of a pool.
        ("pair", all(&|i| format!("p{}.example.com.", i / 10), 1, false)),
        ("steered", all(&|i| format!("s{}.example.com.", i / 10), 1, false)),
        ("hit-edns", all(&host, 1, true)),
        ("nodata", all(&host, 28, true)),
        ("nxdomain", all(&|i| format!("nx{i}.example.com."), 1, true)),
        ("nx-deep", all(&|i| format!("a.b.{i}.c.nx{i}.example.com."), 1, true)),
        ("alias", all(&|i| format!("c{}.example.com.", i / 10 * 10), 1, true)),
        ("wildcard", all(&|i| format!("x{i}.wild.example.com."), 1, true)),
        ("apex-ns", all(&|_| "example.com.".into(), 2, true)),
        ("mail", all(&|_| "mail.example.com.".into(), 15, true)),
        ("text", all(&|_| "example.com.".into(), 16, true)),
        ("https", all(&|_| "example.com.".into(), 65, true)),
        ("service", all(&|_| "_sip._tcp.example.com.".into(), 33, true)),
        ("signed", signed(&|i| format!("h{i}"))),
        ("signed-nx", signed(&|i| format!("nx{i}"))),
        ("referral", all(&|i| format!("x{i}.sub.example.com."), 1, true)),
        ("refused", all(&|i| format!("x{i}.example.net."), 1, true)),
    ]
}

fn question(name: &str, qtype: u16, edns: bool) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    let wire = verge_dns::name::parse_to_wire(name.as_bytes(), None).expect("it is a name");
    packet.extend_from_slice(&wire);
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    if edns {
        packet.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    packet
}

/// DO is the highest bit of the TTL of OPT, which ends the packet (RFC 3225 §3).
fn with_dnssec_ok(mut packet: Vec<u8>) -> Vec<u8> {
    let at = packet.len() - 4;
    packet[at] |= 0x80;
    packet
}
