//! Times that hurt: TTLs that differ within an RRset, are zero or very long, and timers of the SOA that disagree.

use std::net::IpAddr;

use super::{Context, Found};
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone};

/// A TTL above this keeps a mistake alive in caches for longer than anyone wants to wait.
const LONG_S: u32 = 7 * 86_400;
/// RFC 2308 §5 recommends one to three hours for negative answers.
const LONG_NEGATIVE_S: u32 = 86_400;

pub(super) fn judge(zone: &Zone, context: Context<'_>, found: &mut Found) {
    differing(zone, context, found);
    let (mut long, mut zero) = (Odd::default(), Odd::default());
    for record in &zone.records {
        long.note(record, record.ttl > LONG_S && !is_key(record.rtype));
        zero.note(record, record.ttl == 0 && !is_for_servers(record));
    }
    long.tell("ttl-long", "a TTL of more than a week", "changes will take that long to be seen", found);
    let help = "resolvers will ask again for every client; 60 is short enough";
    zero.tell("ttl-zero", "a TTL of 0", help, found);
    let others = zone.order().others().iter().map(|index| zone.record(*index));
    others.filter(|record| record.rtype == Type::SOA).for_each(|soa| timers(soa, found));
}

/// Nobody asks for NSEC3PARAM but servers of the zone (RFC 5155 §4), and signers write it with a TTL of 0.
fn is_for_servers(record: &Record) -> bool {
    let covered = || record.rdata.first_chunk().map(|bytes| Type(u16::from_be_bytes(*bytes)));
    record.rtype == Type::NSEC3PARAM || record.rtype == Type::RRSIG && covered() == Some(Type::NSEC3PARAM)
}

fn is_key(rtype: Type) -> bool {
    matches!(rtype, Type::DNSKEY | Type::DS)
}

/// Records of one oddity.
#[derive(Default)]
struct Odd<'z> {
    first: Option<&'z Record>,
    count: usize,
}

impl<'z> Odd<'z> {
    fn note(&mut self, record: &'z Record, is_odd: bool) {
        if is_odd {
            self.first.get_or_insert(record);
            self.count += 1;
        }
    }

    /// One warning for all of them, at the first: a `$TTL` makes many of one kind.
    fn tell(self, code: &'static str, what: &str, help: &str, found: &mut Found) {
        let Some(first) = self.first else { return };
        let message = match self.count - 1 {
            0 => format!("the record has {what}"),
            more => format!("the record and {more} more have {what}"),
        };
        found.warning(Some(first.at), code, message, help);
    }
}

/// The records of an RRset have one TTL; the least of them is served (RFC 2181 §5.2).
fn differing(zone: &Zone, context: Context<'_>, found: &mut Found) {
    for set in zone.order().sets().filter(|set| set.count() > 1) {
        let mut records = set.indices().map(|index| zone.record(index));
        let Some(first) = records.next() else { continue };
        let all = || set.indices().map(|index| zone.record(index));
        // Signatures have the TTL of what they sign (RFC 4034 §3).
        if first.rtype == Type::RRSIG || all().all(|record| record.ttl == first.ttl) {
            continue;
        }
        let hidden = |record: &&Record| is_hidden(record, context);
        let sides = [all().filter(|it| !hidden(it)).collect::<Vec<_>>(), all().filter(hidden).collect()];
        let is_split = sides.iter().all(|side| !side.is_empty());
        let mixed = sides.iter().find_map(|side| {
            let first = side.first()?;
            Some((*first, *side.iter().find(|other| other.ttl != first.ttl)?))
        });
        let Some((first, other)) = mixed else { continue };
        let message = format!(
            "the TTL is {}, but {} in line {} for the same name and type",
            other.ttl, first.ttl, first.at.line
        );
        found.warning(Some(other.at), "ttl-differs", message, &served(&sides, is_split, first.rtype));
    }
}

/// Records hidden by address or mark never meet public ones where internal addresses stand in for those.
fn is_hidden(record: &Record, context: Context<'_>) -> bool {
    let address = match (record.rtype, &*record.rdata) {
        (Type::A, rdata) => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
        (Type::AAAA, rdata) => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
        _ => return false,
    };
    match record.mark {
        Some(Mark::Internal) => true,
        Some(_) => false,
        None => address.is_some_and(context.hidden_address),
    }
}

/// The TTL that each side gets.
fn served(sides: &[Vec<&Record>; 2], is_split: bool, rtype: Type) -> String {
    let least = |side: &[&Record]| side.iter().map(|record| record.ttl).min();
    match (is_split, least(&sides[0]), least(&sides[1])) {
        (true, Some(outside), Some(inside)) => {
            format!("outside the {rtype} records have the least of theirs, {outside}, and inside {inside}")
        }
        (_, outside, inside) => {
            let least = outside.into_iter().chain(inside).min().unwrap_or_default();
            format!("all are served with the least one, {least}")
        }
    }
}

fn timers(soa: &Record, found: &mut Found) {
    let Some(numbers) = soa.rdata.last_chunk::<20>() else { return };
    let number =
        |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
    let (refresh, retry, expire, minimum) = (number(4), number(8), number(12), number(16));
    if u64::from(expire) < u64::from(refresh) + u64::from(retry) {
        let message =
            format!("EXPIRE ({expire}) is less than REFRESH and RETRY together ({refresh} + {retry})");
        found.warning(
            Some(soa.at),
            "soa-timers",
            message,
            "secondaries would drop the zone before they try twice",
        );
    }
    if minimum > LONG_NEGATIVE_S {
        let message = format!("MINIMUM ({minimum}) keeps negative answers in caches for more than a day");
        found.warning(Some(soa.at), "soa-timers", message, "RFC 2308 recommends one to three hours");
    }
}
