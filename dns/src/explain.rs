//! The answer that one client would get, with its reasons: for the command and for a server that runs.

pub(crate) mod shown;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use self::shown::{HiddenRecord, Shown};
use crate::answer::{Answer, Class, Kind, Placed, Query, answer};
use crate::client::{Client, Listener, Proved, Transport};
use crate::metrics::PoolStatus;
use crate::name::Name;
use crate::rtype::Type;
use crate::steer::{Asker, Pool};
use crate::view::{View, Which, choose};
use crate::world::World;
use crate::zone::set::Served;
use crate::zone::text::write_record;
use crate::zone::tree::Node;

/// An answer with its reasons.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) rtype: String,
    pub(crate) from: IpAddr,
    /// The network for which it asks, if it named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subnet: Option<Subnet>,
    pub(crate) view: &'static str,
    pub(crate) view_because: String,
    pub(crate) zone: Option<ExplainedZone>,
    pub(crate) rcode: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) authoritative: bool,
    pub(crate) answer: Vec<String>,
    pub(crate) authority: Vec<String>,
    pub(crate) additional: Vec<String>,
    /// Records at or below the name, or at a wildcard above it, that outsiders do not see.
    pub(crate) hidden_from_outside: Vec<HiddenRecord>,
    /// Records there for which outsiders get SERVFAIL, since nobody knows yet whether they are hidden.
    pub(crate) undecided: Vec<HiddenRecord>,
    /// The pools that the answer was chosen from.
    pub(crate) steered: Vec<PoolStatus>,
    /// The names whose pools those are, as far as the files tell.
    #[serde(skip)]
    pub(crate) pools: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Subnet {
    pub(crate) network: IpNet,
    /// Whether the client is believed for whom it asks.
    pub(crate) believed: bool,
    /// The bits of it that mattered, as the answer tells.
    pub(crate) scope: u8,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExplainedZone {
    pub(crate) zone: String,
    pub(crate) file: String,
    pub(crate) state: &'static str,
    pub(crate) serial: Option<u32>,
}

/// A question of one client.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: Name,
    pub(crate) rtype: Type,
    pub(crate) from: IpAddr,
    /// The network for which it asks (client subnet, RFC 7871).
    pub(crate) subnet: Option<IpNet>,
}

/// Explains the answer of this world. `has_inside` is whether there is a listener of the inside.
pub(crate) fn explain(asked: &Asked, world: &World, has_inside: bool, zones: &[Shown]) -> Explained {
    let (view, view_because) = view(asked.from, world, has_inside);
    let query = Query {
        qname: asked.name.as_wire(),
        qtype: asked.rtype,
        qclass: Class::In,
        dnssec_ok: false,
        asker: asker(asked, world.view(view)),
    };
    let given = answer(world.view(view), query);
    let zone = given.zone.and_then(|apex| zones.iter().find(|zone| zone.apex == *apex));
    let Answer { rcode, authoritative, answer, authority, additional, kind, .. } = &given;
    Explained {
        name: asked.name.to_string(),
        rtype: asked.rtype.to_string(),
        from: asked.from,
        subnet: asked.subnet.map(|network| Subnet {
            network: network.trunc(),
            believed: world.view(view).pools.believes(asked.from),
            scope: given.scope,
        }),
        view: view.as_str(),
        view_because,
        zone: zone.map(explain_zone),
        rcode: rcode.as_str(),
        kind: kind_in_words(*kind),
        authoritative: *authoritative,
        answer: records(answer),
        authority: records(authority),
        additional: records(additional),
        hidden_from_outside: near(&asked.name, zones, Shown::hidden),
        undecided: near(&asked.name, zones, Shown::undecided),
        steered: Vec::new(),
        pools: pools(world.view(view), &given),
    }
}

/// The client as steering sees it: the network for which it asks, if it is believed (RFC 7871 §7.1.2: one of no bits says nothing).
fn asker(asked: &Asked, view: &View) -> Asker {
    let is_believed = view.pools.believes(asked.from);
    match asked.subnet.filter(|_| is_believed) {
        Some(network) if network.prefix_len() > 0 => Asker { address: network.network(), is_subnet: true },
        _ => Asker::at(asked.from),
    }
}

/// Name and type of the pools that an answer was chosen from.
fn pools(view: &View, given: &Answer<'_, '_>) -> Vec<(String, String)> {
    let placed = given.answer.iter().chain(&given.additional);
    let owners = placed.flat_map(|placed| [Some(&*placed.owner), wildcard(view, &placed.owner)]);
    let owners = owners.flatten().chain(given.synthesized);
    let pools = owners.flat_map(|owner| [Type::A, Type::AAAA].map(|rtype| view.pools.named(owner, rtype)));
    let is_service = |placed: &&Placed<'_>| matches!(placed.set.rtype, Type::HTTPS | Type::SVCB);
    let services = given.answer.iter().chain(&given.additional).filter(is_service);
    let of_hints = services.flat_map(|placed| {
        let owner = wildcard(view, &placed.owner).unwrap_or(&placed.owner);
        view.pools.led_from(owner, &placed.set)
    });
    let mut pools: Vec<(String, String)> = pools
        .flatten()
        .chain(of_hints)
        .map(|pool| (pool.owner.to_string(), pool.rtype.to_string()))
        .collect();
    pools.sort();
    pools.dedup();
    pools
}

/// The wildcard that a name's records come from, if they do: an alias may lead into it.
fn wildcard<'v>(view: &'v View, owner: &[u8]) -> Option<&'v [u8]> {
    match view.zones.find(owner, Type::A)? {
        (_, Served::Zone(tree)) => tree.find(owner).synthesizes_from().map(Node::name),
        (_, Served::Broken) => None,
    }
}

/// The tables of the pools that an answer was chosen from.
pub(crate) fn steered(explained: &Explained, world: &World, live: Option<&[PoolStatus]>) -> Vec<PoolStatus> {
    let is_of = |status: &&PoolStatus| {
        let names =
            explained.pools.iter().any(|(owner, rtype)| *owner == status.pool && *rtype == status.rtype);
        names && status.view == explained.view
    };
    let mut tables: Vec<PoolStatus> = live.into_iter().flatten().filter(is_of).cloned().collect();
    let views = [&world.public, &world.internal];
    for table in &mut tables {
        let view = views[usize::from(table.view == Which::Internal.as_str())];
        let is_it =
            |pool: &&Arc<Pool>| pool.owner.to_string() == table.pool && pool.rtype.to_string() == table.rtype;
        let Some(pool) = view.pools.iter().find(is_it) else { continue };
        // The server tells what clients of no place are given; this one may be somewhere.
        let asker =
            explained.subnet.as_ref().filter(|subnet| subnet.believed && subnet.network.prefix_len() > 0);
        let address = asker.map_or(explained.from, |subnet| subnet.network.network());
        let decision = pool.decide(&table.known(pool), Some(Asker::at(address)));
        for (at, (member, fate)) in table.members.iter_mut().zip(&decision.fates).enumerate() {
            (member.fate, member.share) = (fate.as_str().to_owned(), decision.plan.share(at));
        }
    }
    tables
}

/// The view of a client that asks the listener which could show it most.
fn view(from: IpAddr, world: &World, has_inside: bool) -> (Which, String) {
    let listener = if has_inside { Listener::Inside } else { Listener::Outside };
    let (transport, proved) = (Transport::Tcp, Proved::default());
    let client = Client { address: from, port: 0, listener, transport, proved, is_to_close: false };
    let view = choose(&world.access, &client);
    let prefix = world.access.clients.iter().find(|net| net.contains(&client.real_address()));
    let because = match (view, has_inside, prefix) {
        (Which::Internal, _, Some(net)) => {
            format!(
                "{from} is in {net} of internal.clients; a listener of the outside would give it the outside"
            )
        }
        (_, false, _) => "no listener is inside".to_owned(),
        (_, true, _) => format!("{from} is in no prefix of internal.clients"),
    };
    (view, because)
}

fn explain_zone(zone: &Shown) -> ExplainedZone {
    ExplainedZone {
        zone: zone.apex.to_string(),
        file: zone.file.clone(),
        state: zone.state,
        serial: zone.serial,
    }
}

fn kind_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Positive => "there are such records",
        Kind::NoData => "the name exists, but has no records of this type",
        Kind::NxDomain => "there is no such name",
        Kind::Referral => "the name is delegated; other servers know",
        Kind::Partial => "the name leads to where no zone here knows more",
        Kind::TooLong => "the substitution of a DNAME made the name too long",
        Kind::NoZone => "there is no zone for this name",
        Kind::BrokenZone => "the zone has errors; see verge-dns check",
        Kind::Undecided => {
            "it leads into a zone whose file was never good, so nobody knows yet whether it is hidden"
        }
    }
}

fn records(section: &[Placed<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for placed in section {
        let owner = Name::from_wire(&placed.owner).expect("answers hold valid names");
        for rdata in placed.set.rdatas() {
            let mut line = String::new();
            write_record(&owner, placed.ttl, placed.set.rtype, rdata, &mut line)
                .expect("a String takes any text");
            lines.push(line);
        }
    }
    lines
}

/// The records that `of` gives for each zone, if they lie at or below the name, or at a wildcard above it.
fn near(
    name: &Name,
    zones: &[Shown],
    of: impl Fn(&Shown) -> Vec<(&Name, HiddenRecord)>,
) -> Vec<HiddenRecord> {
    let mut near = Vec::new();
    for zone in zones {
        let records = of(zone).into_iter().filter(|(owner, _)| {
            let wildcard_above =
                || owner.is_wildcard() && owner.parent().is_some_and(|up| name.is_at_or_under(&up));
            owner.is_at_or_under(name) && (*owner == name || *name != zone.apex) || wildcard_above()
        });
        near.extend(records.map(|(_, record)| record));
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::{Pools, Settings};
    use crate::zone::tree::testing::{name, view};

    #[test]
    fn the_pools_of_an_answer_are_those_of_its_names_and_of_wildcards_that_they_come_from() {
        let zone = "www A 192.0.2.1\n*.x A 192.0.2.2\n*.x AAAA 2001:db8::2\nhere CNAME www\nthere CNAME b.x\nother A 192.0.2.3";
        let other = "s HTTPS 1 www.ex. ipv4hint=192.0.2.1\n*.t HTTPS 1 www.ex. ipv4hint=192.0.2.1\nl HTTPS 1 here.ex. ipv4hint=192.0.2.1";
        let mut public = view(&[("ex.", zone), ("b.", other)]);
        let Some(Served::Zone(tree)) = public.zones.get(&name("ex.")) else { panic!("the zone is there") };
        let (tree, settings) = (Arc::clone(tree), Settings::default());
        public.pools = Pools::of(&settings);
        ["www.ex.", "*.x.ex."].iter().for_each(|owner| public.pools.add(&tree, &name(owner), &settings));
        let alias = [name("here.ex.")];
        public.pools.follow(&public.zones, &alias);
        let world = World { public, ..World::default() };
        for (asked, expected) in [
            ("www.ex.", &[("www.ex.", "A")][..]),
            ("here.ex.", &[("www.ex.", "A")]),
            ("a.x.ex.", &[("*.x.ex.", "A"), ("*.x.ex.", "AAAA")]),
            ("there.ex.", &[("*.x.ex.", "A"), ("*.x.ex.", "AAAA")]),
            ("other.ex.", &[]),
            ("none.ex.", &[]),
            ("s.b.", &[("www.ex.", "A")]),
            ("x.t.b.", &[("www.ex.", "A")]),
            ("l.b.", &[("www.ex.", "A")]),
        ] {
            let from = [198, 51, 100, 1].into();
            let rtype = if asked.ends_with(".b.") { Type::HTTPS } else { Type::A };
            let question = Asked { name: name(asked), rtype, from, subnet: None };
            let pools = explain(&question, &world, false, &[]).pools;
            let pools: Vec<(&str, &str)> = pools.iter().map(|(owner, rtype)| (&**owner, &**rtype)).collect();
            assert_eq!(pools, expected, "{asked}");
        }
    }
}
