//! When the signatures of a zone that was signed elsewhere expire (RFC 4034 §3.1.5). From then on validating resolvers answer
//! SERVFAIL for it.

use crate::name::Name;
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::{Problem, Severity, Zone};

/// Signers renew signatures a week before they expire, or earlier; after that something has stopped.
pub const NOTICE_S: i64 = 3 * 86_400;

/// The second, counted from 1970, at which the first RRset of the zone is left without a valid signature; none if nothing is
/// signed.
pub fn signatures_expire(zone: &Zone) -> Option<u32> {
    first_to_expire(zone).map(|(_, expires)| expires)
}

/// The record with the signature that expires first. A set that was signed again keeps its latest signature for each
/// algorithm.
fn first_to_expire(zone: &Zone) -> Option<(usize, u32)> {
    let mut latest: HashMap<(&Name, [u8; 3]), (usize, u32)> = HashMap::default();
    for (index, record) in zone.records.iter().enumerate().filter(|(_, record)| record.rtype == Type::RRSIG) {
        let (Some(covered), Some(expires)) = (record.rdata.first_chunk::<3>(), expiration(&record.rdata))
        else {
            continue;
        };
        let latest = latest.entry((&record.owner, *covered)).or_insert((index, expires));
        if is_before(latest.1, expires) {
            *latest = (index, expires);
        }
    }
    latest.into_values().reduce(|first, other| {
        let earlier = is_before(other.1, first.1) || other.1 == first.1 && other.0 < first.0;
        if earlier { other } else { first }
    })
}

/// Behind type, algorithm, labels and original TTL (RFC 4034 §3.1).
fn expiration(rdata: &[u8]) -> Option<u32> {
    rdata.get(8..12)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Serial number arithmetic (RFC 1982), so that the year 2106 is no end.
fn is_before(one: u32, other: u32) -> bool {
    (other.wrapping_sub(one) as i32) > 0
}

/// A warning when the first signature has expired at `now`, in seconds from 1970, or will soon.
pub fn expiring(zone: &Zone, now: u64) -> Option<Problem> {
    let (index, expires) = first_to_expire(zone)?;
    let left = i64::from(expires.wrapping_sub(now as u32) as i32);
    let record = &zone.records[index];
    let what = format!("the signature over the {} records of {}", covered(&record.rdata), record.owner);
    let message = match left {
        ..0 => format!("{what} expired {} ago: validating resolvers answer SERVFAIL", span(-left)),
        0..NOTICE_S => format!("{what} expires in {}; it is the first of the zone", span(left)),
        _ => return None,
    };
    let help = Some("sign the zone again".to_owned());
    Some(Problem { severity: Severity::Warning, code: "signatures", at: Some(record.at), message, help })
}

fn covered(rdata: &[u8]) -> Type {
    Type(rdata.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes)))
}

/// In the unit that people count in.
fn span(seconds: i64) -> String {
    let counted = |count: i64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..7_200 => counted(seconds / 60, "minute"),
        7_200..172_800 => counted(seconds / 3_600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::zone_of;
    use super::*;

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    fn check(signatures: &[(&str, &str, u8, &str)], first: Option<u32>, warning: Option<&str>) {
        let mut text = "$TTL 1h\n@ SOA ns.x. h 1 2h 1h 1w 5m\n".to_owned();
        for (owner, covered, algorithm, expires) in signatures {
            text += &format!(
                "{owner} RRSIG {covered} {algorithm} 2 3600 {expires} 20250101000000 1 example.com. AAAA\n"
            );
        }
        let zone = zone_of("example.com", &text);
        assert_eq!(signatures_expire(&zone), first, "{text}");
        assert_eq!(expiring(&zone, NOW).map(|problem| problem.message).as_deref(), warning, "{text}");
    }

    #[test]
    fn the_first_set_without_a_valid_signature_counts() {
        check(&[], None, None);
        check(
            &[("@", "SOA", 13, "20270101000000"), ("@", "NS", 13, "20260601000000")],
            Some(1_780_272_000),
            None,
        );
        // Signed again, or with a second algorithm.
        check(
            &[("@", "SOA", 13, "20250601000000"), ("@", "SOA", 13, "20270101000000")],
            Some(1_798_761_600),
            None,
        );
        check(
            &[("@", "SOA", 8, "20251231000000"), ("@", "SOA", 13, "20270101000000")],
            Some(1_767_139_200),
            Some(
                "the signature over the SOA records of example.com. expired 24 hours ago: validating resolvers answer SERVFAIL",
            ),
        );
    }

    #[test]
    fn what_expires_soon_or_has_expired_is_told() {
        let of = |expires| [("www", "A", 13, expires)];
        check(
            &of("20260103120000"),
            Some(1_767_441_600),
            Some(
                "the signature over the A records of www.example.com. expires in 2 days; it is the first of the zone",
            ),
        );
        check(
            &of("20260101003000"),
            Some(1_767_227_400),
            Some(
                "the signature over the A records of www.example.com. expires in 30 minutes; it is the first of the zone",
            ),
        );
        check(&of("20260105000000"), Some(1_767_571_200), None);
        check(
            &of("20250301000000"),
            Some(1_740_787_200),
            Some(
                "the signature over the A records of www.example.com. expired 306 days ago: validating resolvers answer SERVFAIL",
            ),
        );
    }

    #[test]
    fn times_compare_across_2106() {
        assert!(is_before(u32::MAX, 5));
        assert!(!is_before(5, u32::MAX));
    }
}
