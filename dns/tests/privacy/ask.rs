//! Questions as bytes in, answers as bytes out, of a world that is made of zones.

use std::net::Ipv4Addr;
use std::sync::Arc;

use verge_dns::client::{Client, Listener, Proved, Transport};
use verge_dns::limit::Limits;
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::view::View;
use verge_dns::wire::{self, Guarded, Moment, Outcome};
use verge_dns::world::{Guard, World};
use verge_dns::zone::Zone;
use verge_dns::zone::privacy::{Divided, Rules, trees};
use verge_dns::zone::set::Served;
use verge_dns::zone::tree::Tree;

pub(crate) const HEADER_BYTES: usize = 12;

/// An outsider's question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) rtype: Type,
}

pub(crate) fn divided_world(zones: &[&Zone], divided: &[Divided], rules: &Rules) -> World {
    let mut world = World::default();
    for (zone, divided) in zones.iter().zip(divided) {
        let trees = trees(zone, divided);
        if let Some(tree) = trees.public {
            world.public.zones.insert(zone.apex.clone(), Served::Zone(tree));
        }
        world.internal.zones.insert(zone.apex.clone(), Served::Zone(trees.internal));
        world.guard.published.extend(divided.published.iter().cloned());
    }
    world.guard.private = rules.private.clone();
    break_unknown(&mut world.public, rules);
    world
}

/// Takes a zone that never had a good version out of service.
fn break_unknown(view: &mut View, rules: &Rules) {
    for apex in &rules.unknown_zones {
        view.zones.insert(apex.clone(), Served::Broken);
    }
}

pub(crate) fn plain_world(zones: &[Zone], guard: &Guard, rules: &Rules) -> World {
    let mut public = View::default();
    for zone in zones {
        let tree = Tree::build(zone.apex.clone(), &zone.records);
        public.zones.insert(zone.apex.clone(), Served::Zone(Arc::new(tree)));
    }
    break_unknown(&mut public, rules);
    World { public, guard: guard.clone(), ..World::default() }
}

/// The answer to an outsider who asks by TCP, so that nothing is cut off.
pub(crate) fn ask(world: &World, question: &Question) -> Vec<u8> {
    let client = Client {
        address: Ipv4Addr::new(198, 51, 100, 1).into(),
        port: 5353,
        listener: Listener::Outside,
        transport: Transport::Tcp,
        proved: Proved::default(),
        is_to_close: false,
    };
    let mut out = Vec::new();
    let outcome = wire::respond(world, &mut Limits::default(), &packet(question), &client, now(), &mut out);
    let Outcome::Sent(sent) = outcome else { panic!("nothing was sent: {outcome:?}") };
    assert_ne!(sent.guard, Guarded::Stopped, "the guard had to stop {question:?}");
    out
}

fn packet(question: &Question) -> Vec<u8> {
    let header = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let class = [0, 1];
    let opt = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
    [&header[..], question.name.as_wire(), &question.rtype.0.to_be_bytes(), &class, &opt].concat()
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be read from the clock; no answer depends on it"
)]
fn now() -> Moment {
    Moment { instant: std::time::Instant::now(), unix_seconds: 0 }
}
