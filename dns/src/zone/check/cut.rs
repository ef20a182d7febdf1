//! Records that a delegation hides: only NS, DS and glue belong to a cut (RFC 1034 §4.2.1, RFC 2181 §6).

use super::Found;
use super::nodes::Nodes;
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::Zone;

pub(super) fn judge(zone: &Zone, nodes: &Nodes<'_>, found: &mut Found) {
    if !nodes.has_cuts() {
        return;
    }
    let mut last: Option<(&Name, Option<&[u8]>)> = None;
    for record in &zone.records {
        let cut = match last {
            Some((owner, cut)) if *owner == record.owner => cut,
            _ => cut_of(&record.owner, zone, nodes),
        };
        last = Some((&record.owner, cut));
        let Some(cut) = cut else { continue };
        let is_at_cut = cut.len() == record.owner.as_wire().len();
        let belongs = match record.rtype {
            Type::A | Type::AAAA => true,
            Type::NS | Type::DS | Type::RRSIG | Type::NSEC => is_at_cut,
            _ => false,
        };
        if !belongs {
            let cut = Name::from_wire(cut).expect("a part of a name is one");
            let message = format!("nobody is ever given this {} record: {cut} is delegated", record.rtype);
            found.warning(Some(record.at), "occluded", message, "it belongs in the zone that is delegated");
        }
    }
    for record in zone.records.iter().filter(|record| record.rtype == Type::NS && record.owner.is_wildcard())
    {
        let message = format!("{} delegates by a wildcard, which has no defined meaning", record.owner);
        found.warning(Some(record.at), "wildcard-ns", message, "name each delegation (RFC 4592 §4.2)");
    }
}

/// The topmost cut at or above the owner.
fn cut_of<'n>(owner: &'n Name, zone: &Zone, nodes: &Nodes<'n>) -> Option<&'n [u8]> {
    if !owner.is_at_or_under(&zone.apex) {
        return None;
    }
    match nodes.above(owner.as_wire()) {
        Some((_, owns)) if owns.dname => None,
        Some((cut, _)) => Some(cut),
        None => (nodes.owns(owner).ns && *owner != zone.apex).then_some(owner.as_wire()),
    }
}
