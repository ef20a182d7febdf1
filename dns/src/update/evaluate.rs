//! The rules of RFC 2136 §3, in their order: prerequisites, permission, form, and then the changes.

use std::collections::BTreeMap;

use super::{Item, Request, Rights};
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rdata::{self, is_same};
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;
use crate::transfer::{Change, record};
use crate::zone::Record;
use crate::zone::tree::Tree;

const IN: u16 = 1;
const NONE: u16 = 254;
const ANY: u16 = 255;
/// RFC 2181 §8.
const MOST_TTL: u32 = i32::MAX as u32;

/// The changes of a request in the zone as `tree` shows it, or why there are none. A request that is good in part changes
/// nothing at all.
pub fn evaluate(request: &Request, tree: &Tree, rights: &Rights<'_>) -> Result<Change, Rcode> {
    if tree.withholds() {
        // Part of the zone is not known yet, so no prerequisite can be judged.
        return Err(Rcode::ServFail);
    }
    prerequisites(request, tree)?;
    for item in &request.updates {
        form(item, &request.apex)?;
        if !permits(item, tree, rights) {
            return Err(Rcode::Refused);
        }
    }
    let mut nodes = Nodes { tree, apex: &request.apex, touched: BTreeMap::new() };
    for item in &request.updates {
        nodes.update(item);
    }
    Ok(nodes.change())
}

/// RFC 2136 §3.2.
fn prerequisites(request: &Request, tree: &Tree) -> Result<(), Rcode> {
    let mut exact: BTreeMap<(&[u8], Type), Vec<&Item>> = BTreeMap::new();
    for item in &request.prerequisites {
        if item.ttl != 0 {
            return Err(Rcode::FormErr);
        }
        if !item.owner.is_at_or_under(&request.apex) {
            return Err(Rcode::NotZone);
        }
        let node = tree.node(item.owner.as_wire());
        let is_used = node.is_some_and(|node| !node.is_empty());
        let has_set = node.is_some_and(|node| node.set(item.rtype).is_some());
        match (item.class, item.rtype) {
            (ANY | NONE, _) if !item.rdata.is_empty() => return Err(Rcode::FormErr),
            (ANY, Type::ANY) if !is_used => return Err(Rcode::NxDomain),
            (NONE, Type::ANY) if is_used => return Err(Rcode::YxDomain),
            (ANY | NONE, Type::ANY) => {}
            (_, rtype) if rtype.is_meta() => return Err(Rcode::FormErr),
            (ANY, _) if !has_set => return Err(Rcode::NxRrset),
            (NONE, _) if has_set => return Err(Rcode::YxRrset),
            (ANY | NONE, _) => {}
            (IN, rtype) => exact.entry((item.owner.as_wire(), rtype)).or_default().push(item),
            _ => return Err(Rcode::FormErr),
        }
    }
    exact.into_iter().try_for_each(|((owner, rtype), items)| is_exactly(tree, owner, rtype, &items))
}

/// Whether an RRset holds these records and no others.
fn is_exactly(tree: &Tree, owner: &[u8], rtype: Type, items: &[&Item]) -> Result<(), Rcode> {
    let set = tree.node(owner).and_then(|node| node.set(rtype)).ok_or(Rcode::NxRrset)?;
    let is_named = |rdata: &[u8]| items.iter().any(|item| is_same(rtype, &item.rdata, rdata));
    let is_there = |item: &&Item| set.rdatas().any(|rdata| is_same(rtype, &item.rdata, rdata));
    let is_same = set.rdatas().all(is_named) && items.iter().all(is_there);
    if is_same { Ok(()) } else { Err(Rcode::NxRrset) }
}

/// RFC 2136 §3.4.1.
fn form(item: &Item, apex: &Name) -> Result<(), Rcode> {
    if !item.owner.is_at_or_under(apex) {
        return Err(Rcode::NotZone);
    }
    let is_good = match item.class {
        IN => !item.rtype.is_meta() && item.ttl <= MOST_TTL && is_sound(item),
        ANY => item.ttl == 0 && item.rdata.is_empty() && (item.rtype == Type::ANY || !item.rtype.is_meta()),
        NONE => item.ttl == 0 && !item.rtype.is_meta() && is_sound(item),
        _ => false,
    };
    if is_good { Ok(()) } else { Err(Rcode::FormErr) }
}

fn is_sound(item: &Item) -> bool {
    rdata::spans(item.rtype, &item.rdata).all(|span| span.is_ok())
}

/// To delete all of a name, its sender must be allowed to delete each RRset of it.
fn permits(item: &Item, tree: &Tree, rights: &Rights<'_>) -> bool {
    match (item.class, item.rtype) {
        (ANY, Type::ANY) => {
            let sets = tree.node(item.owner.as_wire()).into_iter().flat_map(|node| node.sets());
            rights.reach(&item.owner) && sets.into_iter().all(|set| rights.permit(&item.owner, set.rtype))
        }
        (_, rtype) => rights.permit(&item.owner, rtype),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Datum {
    ttl: u32,
    rdata: SmallBytes,
}

type Sets = BTreeMap<Type, Vec<Datum>>;

/// Names that a request touches, with their records as they become.
struct Nodes<'t> {
    tree: &'t Tree,
    apex: &'t Name,
    touched: BTreeMap<Box<[u8]>, (Name, Sets)>,
}

impl Nodes<'_> {
    fn before(&self, owner: &Name) -> Sets {
        let node = self.tree.node(owner.as_wire());
        let sets = node.into_iter().flat_map(|node| node.sets());
        let all = |set: &crate::zone::tree::RrSet<'_>| {
            set.rdatas().map(|rdata| Datum { ttl: set.ttl, rdata: rdata.into() }).collect::<Vec<_>>()
        };
        sets.map(|set| (set.rtype, all(&set))).collect()
    }

    /// RFC 2136 §3.4.2.
    fn update(&mut self, item: &Item) {
        let is_apex = item.owner == *self.apex;
        if !self.touched.contains_key(item.owner.as_wire()) {
            let before = (item.owner.clone(), self.before(&item.owner));
            self.touched.insert(item.owner.as_wire().into(), before);
        }
        let Some((_, sets)) = self.touched.get_mut(item.owner.as_wire()) else { return };
        let is_kept = |rtype: Type| is_apex && matches!(rtype, Type::SOA | Type::NS);
        match (item.class, item.rtype) {
            (IN, _) => add(item, sets),
            (ANY, Type::ANY) => sets.retain(|rtype, _| is_kept(*rtype)),
            (ANY, rtype) if is_kept(rtype) => {}
            (ANY, rtype) => drop(sets.remove(&rtype)),
            (_, Type::SOA) => {}
            (_, rtype) => {
                let Some(set) = sets.get_mut(&rtype) else { return };
                // The last name server of the zone stays.
                let is_last = set.len() == 1 && is_kept(rtype);
                if !is_last {
                    set.retain(|datum| !is_same(rtype, &datum.rdata, &item.rdata));
                }
                if set.is_empty() {
                    sets.remove(&rtype);
                }
            }
        }
    }

    /// All that is different at the end.
    fn change(self) -> Change {
        let mut change = Change { gone: Vec::new(), come: Vec::new() };
        for (owner, after) in self.touched.values() {
            let before = self.before(owner);
            change.gone.extend(missing(owner, &before, after));
            change.come.extend(missing(owner, after, &before));
        }
        change
    }
}

/// Records of `here` that are not `there`, or have another TTL there.
fn missing<'s>(owner: &'s Name, here: &'s Sets, there: &'s Sets) -> impl Iterator<Item = Record> + 's {
    here.iter().flat_map(move |(rtype, set)| {
        let others = there.get(rtype).map_or(&[][..], Vec::as_slice);
        let missing = set.iter().filter(|datum| !others.contains(datum));
        missing.map(|datum| record(owner.clone(), *rtype, datum.ttl, datum.rdata.clone()))
    })
}

/// RFC 2136 §3.4.2.2: what is there already is there once, a CNAME and other data exclude each other, and of one RRset all
/// records have one TTL (RFC 2181 §5.2).
fn add(item: &Item, sets: &mut Sets) {
    let is_proof = |rtype: Type| matches!(rtype, Type::RRSIG | Type::NSEC | Type::NSEC3);
    let others = sets.keys().any(|rtype| *rtype != Type::CNAME && !is_proof(*rtype));
    match item.rtype {
        Type::SOA => return,
        Type::CNAME if others => return,
        Type::CNAME => drop(sets.remove(&Type::CNAME)),
        _ if sets.contains_key(&Type::CNAME) => return,
        _ => {}
    }
    let set = sets.entry(item.rtype).or_default();
    set.iter_mut().for_each(|datum| datum.ttl = item.ttl);
    if !set.iter().any(|datum| is_same(item.rtype, &datum.rdata, &item.rdata)) {
        set.push(Datum { ttl: item.ttl, rdata: item.rdata.clone() });
    }
}
