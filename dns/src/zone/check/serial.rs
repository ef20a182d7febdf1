//! A zone that changed should say so in its serial, or secondaries keep the old one (RFC 1034 §4.3.5).

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::rtype::Type;
use crate::zone::{Problem, Record, Severity, Zone};

pub(super) fn judge(old: &Zone, new: &Zone) -> Option<Problem> {
    let (before, (now, soa)) = (soa(old)?.0, soa(new)?);
    // RFC 1982 §3.2: `now` is later when it is less than half the circle ahead.
    let is_later = now != before && now.wrapping_sub(before) < 1 << 31;
    if is_later || digest(old) == digest(new) {
        return None;
    }
    let message = if now == before {
        format!("the zone has changed, but its serial is still {now}")
    } else {
        format!("the serial went back from {before} to {now}")
    };
    let help =
        format!("raise it to {} or more, or secondaries keep the old zone", before.wrapping_add(1).max(1));
    Some(Problem {
        severity: Severity::Warning,
        code: "serial-not-raised",
        at: Some(soa.at),
        message,
        help: Some(help),
    })
}

fn soa(zone: &Zone) -> Option<(u32, &Record)> {
    let soa = zone.records.iter().find(|record| record.rtype == Type::SOA)?;
    let numbers = soa.rdata.last_chunk::<20>()?;
    Some((u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]), soa))
}

/// The same for the same records in any order.
fn digest(zone: &Zone) -> u64 {
    zone.records.iter().fold(0, |sum: u64, record| {
        let mut hasher = DefaultHasher::new();
        (&record.owner, record.rtype, record.ttl, &record.rdata).hash(&mut hasher);
        sum.wrapping_add(hasher.finish())
    })
}
