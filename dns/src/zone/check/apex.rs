//! Every zone has one SOA and name servers at its apex (RFC 1035 §5.2).

use super::Found;
use crate::rtype::Type;
use crate::zone::{Mark, Zone};

/// Reports records that the apex must have and lacks.
pub(super) fn missing(zone: &Zone, found: &mut Found) {
    let apex = &zone.apex;
    let others = || zone.order().others().iter().map(|index| zone.record(*index));
    let has = |rtype: Type| others().any(|record| record.rtype == rtype && record.owner == *apex);
    if !has(Type::SOA) {
        let help = format!(
            "begin the zone with a line such as `@ 1h IN SOA ns1 hostmaster 1 2h 15m 1w 5m` at {apex}"
        );
        found.error(None, "no-soa", format!("the zone {apex} has no SOA record"), &help);
    }
    if !has(Type::NS) {
        let help = format!("add the name servers of the zone, such as `{apex} IN NS ns1.{apex}`");
        found.error(None, "no-ns", format!("the zone {apex} has no NS record at its apex"), &help);
    }
}

/// Reports records that the zone must not have.
pub(super) fn surplus(zone: &Zone, found: &mut Found) {
    let mut soa_line = None;
    for record in zone.order().others().iter().map(|index| zone.record(*index)) {
        if record.rtype == Type::SOA {
            // One for each view: `; verge: internal` and `; verge: outside` tell them apart.
            let is_told_apart = |other: Option<Mark>| {
                matches!(
                    (other, record.mark),
                    (Some(Mark::Internal), Some(Mark::Outside)) | (Some(Mark::Outside), Some(Mark::Internal))
                )
            };
            if let Some((line, mark)) = soa_line
                && !is_told_apart(mark)
            {
                let message = format!("the zone has a second SOA record; the first stands in line {line}");
                found.error(
                    Some(record.at),
                    "several-soa",
                    message,
                    "remove one of them, or mark one `; verge: internal` and the other `; verge: outside`",
                );
            }
            soa_line.get_or_insert((record.at.line, record.mark));
        }
    }
}
