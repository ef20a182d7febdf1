//! What may stand beside what in one view: CNAME alone (RFC 1034 §3.6.2), one DNAME and nothing below it (RFC 6672).

use super::Found;
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::hash::HashMap;

pub(super) fn judge(apex: &Name, records: &[Record], found: &mut Found) {
    let first_of = |rtype: Type| {
        let mut first: HashMap<&[u8], &Record> = HashMap::default();
        for record in records.iter().filter(|record| record.rtype == rtype) {
            first.entry(record.owner.as_wire()).or_insert(record);
        }
        first
    };
    let (aliases, rewrites) = (first_of(Type::CNAME), first_of(Type::DNAME));
    if aliases.is_empty() && rewrites.is_empty() {
        return;
    }
    for record in records {
        if let Some(alias) = aliases.get(record.owner.as_wire()) {
            beside_alias(record, alias, found);
        }
        if let Some(first) = rewrites.get(record.owner.as_wire())
            && record.rtype == Type::DNAME
            && first.rdata != record.rdata
        {
            let message =
                format!("{} has a second DNAME; the first stands in line {}", record.owner, first.at.line);
            found.error(Some(record.at), "several-dnames", message, "remove one of them (RFC 6672 §2.4)");
        }
        if let Some(rewrite) = above(record, apex, &rewrites) {
            let message = format!("{} is hidden by the DNAME of {}", record.owner, rewrite.owner);
            found.error(
                Some(record.at),
                "below-dname",
                message,
                "nothing may stand below a DNAME (RFC 6672 §2.4)",
            );
        }
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
fn above<'r>(record: &Record, apex: &Name, rewrites: &HashMap<&[u8], &'r Record>) -> Option<&'r Record> {
    // NSEC3 and its signatures have hashed owners below an apex that may own a DNAME.
    if rewrites.is_empty() || record.rtype == Type::NSEC3 || record.rtype == Type::RRSIG {
        return None;
    }
    let mut above = name::parent(record.owner.as_wire());
    while let Some(wire) = above.filter(|wire| wire.len() >= apex.as_wire().len()) {
        if let Some(rewrite) = rewrites.get(wire) {
            return Some(rewrite);
        }
        above = name::parent(wire);
    }
    None
}
