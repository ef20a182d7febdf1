//! The answers that name an address and that no pool decides on: they go on while the address is drained.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::World;
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::view::{View, Which};
use crate::zone::address::addresses;
use crate::zone::privacy::{Stripped, strip_hints};
use crate::zone::set::Served;
use crate::zone::tree::{Found, Node, Tree};

/// Sentences for people; more are counted.
const MOST_TOLD: usize = 20;

/// Each RRset that gives this address whatever its pools decide, and the zones with such a pool that secondaries take, which
/// give all of its records: in words, a line each.
pub fn unsteered(world: &World, address: IpAddr) -> Vec<String> {
    let mut found = Lines::default();
    for which in [Which::Public, Which::Internal] {
        let view = world.view(which);
        for (apex, served) in view.zones.iter() {
            let Served::Zone(tree) = served else { continue };
            if !in_zone(view, tree, address, &mut found) {
                continue;
            }
            in_referrals(view, tree, address, &mut found);
            if is_given(world, which, apex) {
                found.insert(format!(
                    "secondaries that take {apex} still give {address}, unless they steer it themselves"
                ));
            }
        }
    }
    let Lines { lines, surplus } = found;
    let mut told: Vec<String> = lines.into_iter().collect();
    told.extend((surplus > 0).then(|| format!("and {surplus} more such answers name {address}")));
    told
}

/// The first lines, and how many more there are: one that both views give may count twice.
#[derive(Default)]
struct Lines {
    lines: BTreeSet<String>,
    surplus: usize,
}

impl Lines {
    fn insert(&mut self, line: String) {
        if self.lines.insert(line) && self.lines.len() > MOST_TOLD {
            self.lines.pop_last();
            self.surplus += 1;
        }
    }
}

fn rtype(address: IpAddr) -> Type {
    if address.is_ipv4() { Type::A } else { Type::AAAA }
}

/// Finds the RRsets of a zone that have this address, or the hint, and are not steered; whether one that is steered has it, too.
fn in_zone(view: &View, tree: &Tree, address: IpAddr, found: &mut Lines) -> bool {
    let (rtype, mut is_in_pool) = (rtype(address), false);
    for node in tree.nodes() {
        is_in_pool |= in_hints(view, node, address, found);
        if !node.set(rtype).is_some_and(|set| set.has_address(address)) {
            continue;
        }
        let why = match node.hider() {
            Some(hider) if hider.is_cut() => "which is glue",
            // Nobody is given what lies below a DNAME.
            Some(_) => continue,
            None if view.pools.get(node, rtype).is_some() => {
                is_in_pool = true;
                continue;
            }
            None => "which is not steered",
        };
        found.insert(format!("{address} is also in {} {rtype}, {why}", shown(node.name())));
    }
    is_in_pool
}

/// Finds the HTTPS and SVCB RRsets of a name that go on giving this hint; whether one that is steered has it, too.
fn in_hints(view: &View, node: Node<'_>, address: IpAddr, found: &mut Lines) -> bool {
    let mut is_steered = false;
    for rtype in [Type::HTTPS, Type::SVCB] {
        let Some(set) = node.set(rtype).filter(|_| node.hider().is_none()) else { continue };
        let has_hint = |rdata: &&[u8]| addresses(rtype, rdata).contains(&address);
        if !set.rdatas().any(|rdata| has_hint(&rdata)) {
            continue;
        }
        let is_free =
            set.rdatas().filter(has_hint).any(|rdata| !view.pools.decides(node, rtype, rdata, address));
        is_steered |= !is_free;
        // The last record is given even if it must have a hint and has none left.
        let needs_it = |rdata: &[u8]| matches!(strip_hints(rdata, |hint| hint != address), Stripped::Dropped);
        let why = match (is_free, set.rdatas().all(needs_it)) {
            (true, _) => "which is not steered",
            (false, true) => "which is not given without it",
            (false, false) => continue,
        };
        found.insert(format!("{address} is also a hint of {} {rtype}, {why}", shown(node.name())));
    }
    is_steered
}

/// Referrals give all addresses of a name server, those of a pool as well.
fn in_referrals(view: &View, tree: &Tree, address: IpAddr, found: &mut Lines) {
    let is_of_pool = |target: &[u8]| {
        let is_here = name::is_at_or_under(target, tree.apex().as_wire());
        let node = match is_here.then(|| tree.find(target)) {
            Some(Found::Records(node) | Found::Missing { wildcard: Some(node), .. }) => node,
            _ => return false,
        };
        view.pools.get(node, rtype(address)).is_some_and(|pool| pool.has(address))
    };
    for cut in tree.nodes().filter(|node| node.is_cut()) {
        let targets = cut.set(Type::NS);
        for target in targets.iter().flat_map(|set| set.rdatas()).map(<[u8]>::to_ascii_lowercase) {
            if is_of_pool(&target) {
                let (zone, server) = (shown(cut.name()), shown(&target));
                found.insert(format!(
                    "{address} is also given with referrals to {zone}, of which {server} is a name server"
                ));
            }
        }
    }
}

/// Whether a rule gives a zone of this view to secondaries.
fn is_given(world: &World, which: Which, apex: &Name) -> bool {
    let is_of_view = |key: &Name| world.protocol.keys.get(key).is_some_and(|key| key.view == which);
    world.protocol.transfers.about(apex).any(|rule| match rule.keys.is_empty() {
        true => which == Which::Public,
        false => rule.keys.iter().any(is_of_view),
    })
}

fn shown(name: &[u8]) -> String {
    Name::from_wire(name).map(|name| name.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::steer::{Pools, Settings};
    use crate::transfer::Rule;
    use crate::world::Protocol;
    use crate::zone::tree::testing::{name, view};

    const ZONE: &str = "@ A 192.0.2.1\nwww A 192.0.2.1\nwww A 192.0.2.2\nsub NS ns.sub\nsub NS www\n\
                        ns.sub A 192.0.2.1\nother A 192.0.2.9\nold DNAME new\nx.old A 192.0.2.1\n\
                        h HTTPS 1 www ipv4hint=192.0.2.1,192.0.2.2\nx.old HTTPS 1 www ipv4hint=192.0.2.9\n\
                        i HTTPS 1 other ipv4hint=192.0.2.9\ni SVCB 1 other.test. ipv4hint=192.0.2.2\n\
                        j HTTPS 1 www mandatory=ipv4hint ipv4hint=192.0.2.2";

    fn world(rules: &[Rule]) -> World {
        let mut public: View = view(&[("ex.", ZONE)]);
        let Some(Served::Zone(tree)) = public.zones.get(&name("ex.")) else { panic!("the zone is there") };
        let (tree, settings) = (Arc::clone(tree), Settings::default());
        public.pools = Pools::of(&settings);
        public.pools.add(&tree, &name("www.ex."), &settings);
        let protocol = Protocol { transfers: rules.into(), ..Protocol::default() };
        World { public, protocol, ..World::default() }
    }

    #[test]
    fn all_answers_are_told_that_name_an_address_and_follow_no_pool() {
        let anybody = Rule { clients: vec!["198.51.100.0/24".parse().unwrap()], ..Rule::default() };
        let insiders = Rule { keys: vec![name("inner.")], ..Rule::default() };
        let elsewhere = Rule { zones: vec![name("other.")], ..anybody.clone() };
        let referral = "is also given with referrals to sub.ex., of which www.ex. is a name server";
        let [free, needed] = [
            "192.0.2.2 is also a hint of i.ex. SVCB, which is not steered".to_owned(),
            "192.0.2.2 is also a hint of j.ex. HTTPS, which is not given without it".to_owned(),
        ];
        let taken = "secondaries that take ex. still give 192.0.2.2, unless they steer it themselves";
        for (rules, address, expected) in [
            (
                vec![],
                "192.0.2.1",
                vec![
                    format!("192.0.2.1 {referral}"),
                    "192.0.2.1 is also in ex. A, which is not steered".to_owned(),
                    "192.0.2.1 is also in ns.sub.ex. A, which is glue".to_owned(),
                ],
            ),
            (
                vec![anybody],
                "192.0.2.2",
                vec![free.clone(), needed.clone(), format!("192.0.2.2 {referral}"), taken.to_owned()],
            ),
            (vec![insiders, elsewhere], "192.0.2.2", vec![free, needed, format!("192.0.2.2 {referral}")]),
            (
                vec![],
                "192.0.2.9",
                vec![
                    "192.0.2.9 is also a hint of i.ex. HTTPS, which is not steered".to_owned(),
                    "192.0.2.9 is also in other.ex. A, which is not steered".to_owned(),
                ],
            ),
            (vec![], "192.0.2.3", vec![]),
            (vec![], "2001:db8::1", vec![]),
        ] {
            assert_eq!(unsteered(&world(&rules), address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn of_many_such_answers_some_are_told_and_the_others_counted() {
        let zone: String = (0..50).map(|at| format!("h{at} A 192.0.2.1\n")).collect();
        let world = World { public: view(&[("ex.", &zone)]), ..World::default() };
        let told = unsteered(&world, "192.0.2.1".parse().unwrap());
        assert_eq!(told.len(), MOST_TOLD + 1);
        assert_eq!(told.last().unwrap(), "and 30 more such answers name 192.0.2.1");
    }
}
