//! Which record says the same as one before it: same owner, type and data (RFC 2181 §5), letters of names aside.

use std::hash::{BuildHasher, Hasher};

use super::report::Report;
use crate::rdata;
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::Zone;
use crate::zone::hash::{HashMap, Keyed};

/// Takes out of the zone what says the same as a record before it, which then has the least TTL and either's mark, and
/// reports it.
pub(super) fn take_out(zone: &mut Zone, report: &mut Report) {
    let again = find(zone);
    if again.is_empty() {
        return;
    }
    for Again { known, again } in &again {
        join(&mut zone.records, *known as usize, *again as usize, report);
    }
    let gone: Vec<u32> = again.iter().map(|pair| pair.again).collect();
    zone.take_out(&gone);
}

/// A record and the first that says the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Again {
    again: u32,
    known: u32,
}

/// By rising index of what is there again.
fn find(zone: &Zone) -> Vec<Again> {
    let mut found = Vec::new();
    for set in zone.order().sets() {
        match set.count() {
            1 => {}
            2..=FEW => by_comparison(zone, set.indices(), &mut found),
            _ => by_hash(zone, set.indices(), &mut found),
        }
    }
    found.sort_unstable();
    found
}

/// Fewer records are compared with each other sooner than hashed.
const FEW: usize = 8;

fn by_comparison(zone: &Zone, set: impl Iterator<Item = u32>, found: &mut Vec<Again>) {
    let mut different: [u32; FEW] = [0; FEW];
    let mut count = 0;
    for again in set {
        let known = different[..count].iter().find(|known| same(zone.record(**known), zone.record(again)));
        match known {
            Some(known) => found.push(Again { again, known: *known }),
            None => {
                different[count] = again;
                count += 1;
            }
        }
    }
}

fn by_hash(zone: &Zone, set: impl Iterator<Item = u32>, found: &mut Vec<Again>) {
    let keyed = Keyed::default();
    let mut different: HashMap<u64, Vec<u32>> = HashMap::default();
    for again in set {
        let alike = different.entry(hash(keyed, zone.record(again))).or_default();
        match alike.iter().find(|known| same(zone.record(**known), zone.record(again))) {
            Some(known) => found.push(Again { again, known: *known }),
            None => alike.push(again),
        }
    }
}

fn join(records: &mut [Record], known: usize, again: usize, report: &mut Report) {
    let Record { ttl, at, mark, steer, .. } = records[again].clone();
    let first = &mut records[known];
    let line = first.at.line;
    first.ttl = first.ttl.min(ttl);
    first.steer |= steer;
    match (first.mark, mark) {
        (Some(a), Some(b)) if a != b => {
            let message = format!("the same record stands in line {line} with the other mark");
            report.late_error(again, at, "conflicting-marks", message);
        }
        (None, mark) => first.mark = mark,
        _ => {}
    }
    report.late_warning(again, at, "duplicate", || format!("the same record stands in line {line} already"));
}

/// Letters are lowered where names may differ in them, which joins a few records that differ; [`same`] tells them
/// apart.
fn hash(keyed: Keyed, record: &Record) -> u64 {
    let mut hasher = keyed.build_hasher();
    if matches!(record.rtype, Type::A | Type::AAAA | Type::TXT) {
        hasher.write(&record.rdata);
        return hasher.finish();
    }
    let mut lowered = [0; 64];
    for chunk in record.rdata.chunks(lowered.len()) {
        let lowered = &mut lowered[..chunk.len()];
        lowered.copy_from_slice(chunk);
        lowered.make_ascii_lowercase();
        hasher.write(lowered);
    }
    hasher.finish()
}

fn same(left: &Record, right: &Record) -> bool {
    rdata::is_same(left.rtype, &left.rdata, &right.rdata)
}
