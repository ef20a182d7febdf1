//! Names that records point to, as far as this zone knows them.

use super::Found;
use super::name;
use super::nodes::{Lookup, Nodes};
use crate::name::Name;
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::{Record, Zone};

pub(super) fn judge(zone: &Zone, nodes: &Nodes<'_>, found: &mut Found) {
    let mut has_chain = false;
    for record in others(zone) {
        match record.rtype {
            Type::NS | Type::MX | Type::SRV | Type::CNAME | Type::SVCB | Type::HTTPS | Type::DNAME => {
                let Some(target) = target(record) else { continue };
                judge_target(record, &target, nodes, found);
                has_chain |= record.rtype == Type::CNAME && nodes.owns(&target).cname;
            }
            _ => {}
        }
    }
    if has_chain {
        loops(zone, found);
    }
}

fn others(zone: &Zone) -> impl Iterator<Item = &Record> {
    zone.order().others().iter().map(|index| zone.record(*index))
}

/// Where the record points; none for the root, which says "nowhere" (RFC 7505) or "here" (RFC 9460 §2.5).
fn target(record: &Record) -> Option<Name> {
    let mut spans = rdata::spans(record.rtype, &record.rdata).map_while(Result::ok);
    let name = spans.find(|span| matches!(span.field, Field::Compressible | Field::Name))?;
    Name::from_wire(name.bytes).ok().filter(|name| !name.is_root())
}

fn judge_target(record: &Record, target: &Name, nodes: &Nodes<'_>, found: &mut Found) {
    let (at, rtype) = (Some(record.at), record.rtype);
    let needs_address = matches!(rtype, Type::NS | Type::MX | Type::SRV);
    match nodes.lookup(target) {
        Lookup::Delegated(glue) if rtype == Type::NS && !glue.address => {
            if needs_glue(record, target) {
                let message =
                    format!("the name server {target} is below its own delegation, but has no address here");
                found.warning(at, "missing-glue", message, "add its A or AAAA record (glue) to this zone");
            }
        }
        Lookup::Outside | Lookup::Delegated(_) | Lookup::Rewritten => {}
        // Told as what it is.
        Lookup::Missing if name::address(rtype, target, nodes.apex()).is_some() => {}
        Lookup::Missing => {
            let message = format!("{target} does not exist in this zone");
            found.warning(
                at,
                "missing-target",
                message,
                "add it, or mend the name (is a final dot missing?)",
            );
        }
        Lookup::Exists(owns) if needs_address && owns.cname => {
            let message = format!("{rtype} points to {target}, which is an alias");
            found.warning(
                at,
                "target-is-alias",
                message,
                "point to the name that owns the address (RFC 2181 §10.3)",
            );
        }
        Lookup::Exists(owns) if needs_address && !owns.address => {
            let message = format!("{rtype} points to {target}, which has no address");
            let code = if rtype == Type::NS { "missing-glue" } else { "target-without-address" };
            found.warning(at, code, message, "add an A or AAAA record");
        }
        Lookup::Exists(_) => {}
    }
}

/// A resolver can find the address of a name server elsewhere, unless it is below what it serves.
fn needs_glue(record: &Record, target: &Name) -> bool {
    target.is_at_or_under(&record.owner)
}

/// CNAMEs of the zone that lead back to where they began.
fn loops(zone: &Zone, found: &mut Found) {
    let aliases: HashMap<&Name, (&Record, Name)> = others(zone)
        .filter(|record| record.rtype == Type::CNAME)
        .filter_map(|record| Some((&record.owner, (record, target(record)?))))
        .collect();
    // 0: not seen; otherwise the walk that saw it first.
    let mut seen: HashMap<&Name, usize> =
        HashMap::with_capacity_and_hasher(aliases.len(), Default::default());
    for (walk, start) in others(zone).filter(|record| record.rtype == Type::CNAME).enumerate() {
        let mut at = &start.owner;
        while let Some((record, next)) = aliases.get(at) {
            match seen.insert(at, walk) {
                None => at = next,
                Some(earlier) => {
                    if earlier == walk {
                        let message = format!("following {at} leads back to {at}");
                        found.warning(
                            Some(record.at),
                            "cname-loop",
                            message,
                            "one of the aliases must end at a name with data",
                        );
                    }
                    break;
                }
            }
        }
    }
}
