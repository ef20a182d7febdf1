//! Notices of change (NOTIFY): which are passed on.

use super::*;
use crate::transfer::Secondary;
use crate::tsig::{Algorithm, Key, SignedError, Signer};
use crate::view::Which;

const PRIMARY: &str = "198.51.100.7";

fn secondary(apex: &str, key: Option<&str>) -> Secondary {
    let primaries = vec![PRIMARY.parse().unwrap()];
    Secondary { apex: name(apex), view: Which::Public, primaries, key: key.map(name) }
}

/// A server that takes `ex.`, whose primary may sign, and `open.`.
fn taker() -> World {
    let mut world = world(&[]);
    let key = |text: &str| Key::new(name(text), Algorithm::HmacSha256, &[7; 32], Which::Public);
    world.protocol.keys = [key("theirs."), key("other.")].into_iter().collect();
    world.protocol.secondaries =
        [secondary("ex.", Some("theirs.")), secondary("open.", None)].into_iter().collect();
    world
}

fn notice(world: &World, apex: &str, key: Option<&str>) -> Vec<u8> {
    let mut packet = ask(apex, Type::SOA).flags(0x24, 0).bytes();
    if let Some(key) = key {
        let mut signer = Signer::of_request(world.protocol.keys.get(&name(key)).unwrap());
        signer.sign(&mut packet, SignedError::None, moment().unix_seconds);
    }
    packet
}

/// The answer's rcode, and whether a notice is passed on, and as proved.
fn hear(world: &World, limits: &mut Limits, packet: &[u8], from: &str) -> (Option<u8>, Option<bool>) {
    let client = Client { address: from.parse().unwrap(), ..client(Transport::Udp) };
    let mut out = Vec::new();
    let outcome = respond(world, limits, packet, &client, moment(), &mut out);
    let heard = noticed(world, packet, &outcome, &client, moment());
    assert!(heard.iter().all(|it| it.from == client.real_address()));
    let rcode = matches!(outcome, Outcome::Sent(_)).then(|| out[3] & 15);
    (rcode, heard.map(|it| it.is_proved))
}

#[test]
fn a_notice_is_passed_on_for_a_primary_and_is_proved_by_the_key_of_its_zone() {
    let world = taker();
    for (apex, key, from, expected) in [
        ("ex.", None, PRIMARY, (Some(0), Some(false))),
        ("ex.", Some("theirs."), PRIMARY, (Some(0), Some(true))),
        ("ex.", Some("other."), PRIMARY, (Some(5), None)),
        ("ex.", Some("theirs."), "192.0.2.1", (Some(5), None)),
        ("open.", None, PRIMARY, (Some(0), Some(false))),
        ("open.", None, "::ffff:198.51.100.7", (Some(0), Some(false))),
        ("open.", Some("other."), PRIMARY, (Some(5), None)),
        ("open.", None, "192.0.2.1", (Some(5), None)),
        ("elsewhere.", None, PRIMARY, (Some(5), None)),
    ] {
        let packet = notice(&world, apex, key);
        let found = hear(&world, &mut Limits::default(), &packet, from);
        assert_eq!(found, expected, "{apex} {key:?} {from}");
    }
}

#[test]
fn a_notice_beyond_the_rate_is_not_looked_at() {
    let world = taker();
    let mut limits = Limits::new(Some(Rates { per_second: 1, burst: 3, slip: 2 }), [0; 16]);
    let packet = notice(&world, "open.", None);
    let heard: Vec<_> = (0..6).map(|_| hear(&world, &mut limits, &packet, PRIMARY)).collect();
    assert_eq!(heard, [[(Some(0), Some(false)); 3], [(None, None); 3]].concat());
    let signed = notice(&world, "ex.", Some("theirs."));
    assert_eq!(hear(&world, &mut limits, &signed, PRIMARY), (Some(0), Some(true)), "a key is not limited");
}
