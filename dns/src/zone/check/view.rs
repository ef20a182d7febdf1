//! Rules of one view: a CNAME stands alone (RFC 1034 §3.6.2); one DNAME, and nothing below it (RFC 6672).

use super::Found;
use crate::name;
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::{Record, Zone};

pub(super) fn judge(zone: &Zone, shows: &dyn Fn(u32) -> bool, found: &mut Found) {
    for owner in zone.order().owners().filter(|owner| owner.count() > 1) {
        let records = || owner.indices().filter(|index| shows(*index)).map(|index| zone.record(index));
        let first_of = |rtype: Type| records().find(|record| record.rtype == rtype);
        if let Some(alias) = first_of(Type::CNAME) {
            records().for_each(|record| beside_alias(record, alias, found));
        }
        if let Some(first) = first_of(Type::DNAME) {
            records().for_each(|record| beside_dname(record, first, found));
        }
    }
    let others = zone.order().others().iter().filter(|index| shows(**index)).map(|index| zone.record(*index));
    let rewrites = others.filter(|record| record.rtype == Type::DNAME);
    let rewrites: Rewrites<'_> = rewrites.map(|record| (record.owner.as_wire(), record)).collect();
    if rewrites.is_empty() {
        return;
    }
    for record in (0..).zip(&zone.records).filter(|(index, _)| shows(*index)).map(|(_, record)| record) {
        if let Some(rewrite) = above(record, zone, &rewrites) {
            let message = format!("nobody is ever given {}: {} has a DNAME", record.owner, rewrite.owner);
            let help = "nothing may stand below a DNAME (RFC 6672 §2.4)";
            found.error(Some(record.at), "below-dname", message, help);
        }
    }
}

/// DNAME records by owner.
type Rewrites<'z> = HashMap<&'z [u8], &'z Record>;

fn beside_dname(record: &Record, first: &Record, found: &mut Found) {
    if record.rtype == Type::DNAME && first.rdata != record.rdata {
        let message =
            format!("{} has a second DNAME; the first stands in line {}", record.owner, first.at.line);
        found.error(Some(record.at), "several-dnames", message, "remove one of them (RFC 6672 §2.4)");
    }
}

fn beside_alias(record: &Record, alias: &Record, found: &mut Found) {
    match record.rtype {
        Type::CNAME if record.rdata == alias.rdata => {}
        Type::CNAME => {
            let message =
                format!("{} has a second CNAME; the first stands in line {}", record.owner, alias.at.line);
            found.error(
                Some(record.at),
                "several-cnames",
                message,
                "an alias has one target (RFC 2181 §10.1)",
            );
        }
        // RFC 4034 §2.5 and RFC 3007 §3.2.
        Type::RRSIG | Type::NSEC | Type::KEY | Type::SIG | Type::NXT => {}
        rtype => {
            let message = format!(
                "{} has a CNAME in line {}, so it must not have other data such as this {rtype}",
                record.owner, alias.at.line
            );
            let help = "remove one of them; an alias takes everything from its target (RFC 1034 §3.6.2)";
            found.error(Some(record.at), "cname-and-other-data", message, help);
        }
    }
}

/// The DNAME of an ancestor within the zone.
fn above<'r>(record: &Record, zone: &Zone, rewrites: &Rewrites<'r>) -> Option<&'r Record> {
    // NSEC3 and its signatures have hashed owners below an apex that may own a DNAME.
    if record.rtype == Type::NSEC3 || record.rtype == Type::RRSIG {
        return None;
    }
    let mut above = name::parent(record.owner.as_wire());
    while let Some(wire) = above.filter(|wire| wire.len() >= zone.apex.as_wire().len()) {
        if let Some(rewrite) = rewrites.get(wire) {
            return Some(rewrite);
        }
        above = name::parent(wire);
    }
    None
}
