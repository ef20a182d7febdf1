//! Client subnets (RFC 7871): they choose among members of pools, for listed resolvers only, and never the view.

use std::sync::Arc;

use ipnet::IpNet;

use super::*;
use crate::steer::place::{Place, Places};
use crate::steer::rules::MemberRules;
use crate::steer::{Pools, Rules, Settings};
use crate::zone::set::Served;

const ZONE: &str = "
    @ SOA ns1 h 1 2 3 4 100
    @ NS ns1
    ns1 A 192.0.2.1
    www A 203.0.113.1
    www A 203.0.113.2
    www HTTPS 1 . ipv4hint=203.0.113.1,203.0.113.2
    other A 203.0.113.9
";
const INSIDE: &str = "
    @ SOA ns1 h 1 2 3 4 100
    @ NS ns1
    ns1 A 192.0.2.1
    www A 10.0.0.1
";

/// Two places; `www` has a member in each.
fn settings(listed: &str) -> Settings {
    let place = |name: &str, near: &[u16]| Place { name: name.to_owned(), near: near.to_vec() };
    let nets: [(IpNet, u16); 3] = [
        ("198.51.100.0/25".parse().unwrap(), 0),
        ("198.51.100.128/25".parse().unwrap(), 1),
        ("2001:db8:1::/48".parse().unwrap(), 1),
    ];
    let member = |last: u8, place: u16| MemberRules {
        place: Some(place),
        ..MemberRules::of([203, 0, 113, last].into())
    };
    let rules = Rules { members: vec![member(1, 0), member(2, 1)], ..Rules::default() };
    Settings {
        defaults: Arc::new(rules),
        places: Arc::new(Places::new(vec![place("a", &[0]), place("b", &[1])], &nets)),
        subnet_from: [listed.parse::<IpAddr>().unwrap().into()].into(),
        ..Settings::default()
    }
}

fn steered_world(listed: &str) -> World {
    let settings = settings(listed);
    let mut world =
        World { public: view(&[("ex.", ZONE)]), internal: view(&[("ex.", INSIDE)]), ..World::default() };
    world.access.clients = vec!["10.0.0.0/8".parse().unwrap()];
    for view in [&mut world.public, &mut world.internal] {
        view.pools = Pools::of(&settings);
        let tree = match view.zones.get(&name("ex.")) {
            Some(Served::Zone(tree)) => Arc::clone(tree),
            _ => panic!("the zone is there"),
        };
        view.pools.add(&tree, &name("www.ex."), &settings);
    }
    world
}

fn subnet(data: &[u8]) -> Vec<u8> {
    [&[0, 8, 0, u8::try_from(data.len()).unwrap()], data].concat()
}

/// The code, the addresses of the answer section, and the scope of the client subnet in OPT.
fn answered(world: &World, qname: &str, qtype: Type, options: &[u8]) -> (u8, Vec<IpAddr>, Option<u8>) {
    let packet = ask(qname, qtype).edns(0, 0, 1232, options).bytes();
    let mut out = Vec::new();
    respond(world, &mut Limits::default(), &packet, &client(Transport::Udp), moment(), &mut out);
    let message = hickory_proto::op::Message::from_vec(&out).unwrap();
    let addresses = message.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
    let at = out.windows(2).rposition(|pair| pair == [0, 41]).unwrap();
    let mut rest = &out[at + 10..];
    let mut scope = None;
    while let [0, code, 0, len, tail @ ..] = rest {
        let (data, next) = tail.split_at(usize::from(*len));
        if *code == 8 {
            scope = Some(data[3]);
        }
        rest = next;
    }
    (out[3] & 0x0f, addresses, scope)
}

/// The client of these tests is 198.51.100.7, in the first place.
#[test]
fn a_listed_resolver_gets_the_answer_of_its_client_and_the_bits_that_mattered() {
    let (one, two) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
    let other = IpAddr::from([203, 0, 113, 9]);
    let listed = steered_world("198.51.100.7");
    let stranger = steered_world("198.51.100.8");
    let second = subnet(&[0, 1, 25, 0, 198, 51, 100, 128]);
    for (world, qname, options, expected) in [
        (&listed, "www.ex.", &[][..], (0, vec![one], None)),
        (&listed, "www.ex.", &second, (0, vec![two], Some(25))),
        (&listed, "www.ex.", &subnet(&[0, 1, 24, 0, 198, 51, 100]), (0, vec![one], Some(25))),
        (&listed, "www.ex.", &subnet(&[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 1]), (0, vec![two], Some(48))),
        // It asks for itself, or says nothing of its client.
        (&listed, "www.ex.", &subnet(&[0, 1, 0, 0]), (0, vec![one], Some(0))),
        // An answer that is not steered holds for everybody.
        (&listed, "other.ex.", &second, (0, vec![other], Some(0))),
        (&listed, "none.ex.", &second, (3, vec![], Some(0))),
        (&listed, "www.ex.", &subnet(&[0, 1, 23, 0, 198, 51, 101]), (1, vec![], None)),
        (&listed, "www.ex.", &subnet(&[0, 1, 24, 24, 198, 51, 100]), (1, vec![], None)),
        // Nobody else is believed, and nobody else is told.
        (&stranger, "www.ex.", &second, (0, vec![one], None)),
        (&stranger, "www.ex.", &subnet(&[0, 1, 23, 0, 198, 51, 101]), (0, vec![one], None)),
    ] {
        assert_eq!(answered(world, qname, Type::A, options), expected, "{qname} {options:?}");
    }
    assert_eq!(answered(&listed, "www.ex.", Type::HTTPS, &second).2, Some(25), "hints are steered, too");
}

/// V1.
#[test]
fn a_client_subnet_of_the_inside_never_chooses_the_view() {
    let world = steered_world("198.51.100.7");
    for options in [subnet(&[0, 1, 8, 0, 10]), subnet(&[0, 1, 32, 0, 10, 0, 0, 1])] {
        let (code, addresses, _) = answered(&world, "www.ex.", Type::A, &options);
        assert_eq!(code, 0);
        assert!(addresses.iter().all(|address| *address != IpAddr::from([10, 0, 0, 1])), "{addresses:?}");
        assert!(!addresses.is_empty());
    }
}
