//! Names that records point to, as far as this zone knows them.

use super::Found;
use super::nodes::{Lookup, Nodes};
use crate::name::Name;
use crate::rdata::{self, Role};
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::{Record, Zone};

pub(super) fn judge(zone: &Zone, nodes: &Nodes<'_>, found: &mut Found) {
    for record in &zone.records {
        match record.rtype {
            Type::NS | Type::MX | Type::SRV | Type::CNAME | Type::SVCB | Type::HTTPS | Type::DNAME => {
                if let Some(target) = target(record) {
                    judge_target(record, &target, nodes, found);
                }
            }
            _ => {}
        }
    }
    if zone.records.iter().any(|record| leads_to_alias(record, nodes)) {
        loops(zone, found);
    }
}

fn leads_to_alias(record: &Record, nodes: &Nodes<'_>) -> bool {
    record.rtype == Type::CNAME
        && Name::from_wire(&record.rdata).is_ok_and(|target| nodes.owns(&target).cname)
}

/// Where the record points; none for the root, which says "nowhere" (RFC 7505) or "here" (RFC 9460 §2.5).
fn target(record: &Record) -> Option<Name> {
    let names = rdata::names(record.rtype, &record.rdata);
    let (_, wire) = names.into_iter().find(|(role, _)| *role == Role::Target)?;
    Name::from_wire(wire).ok().filter(|name| !name.is_root())
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
    let aliases: HashMap<&Name, (&Record, Name)> = zone
        .records
        .iter()
        .filter(|record| record.rtype == Type::CNAME)
        .filter_map(|record| Some((&record.owner, (record, target(record)?))))
        .collect();
    // 0: not seen; otherwise the walk that saw it first.
    let mut seen: HashMap<&Name, usize> =
        HashMap::with_capacity_and_hasher(aliases.len(), Default::default());
    for (walk, start) in zone.records.iter().filter(|record| record.rtype == Type::CNAME).enumerate() {
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
