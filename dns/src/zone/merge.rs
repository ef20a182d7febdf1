//! One zone file from the two that other servers keep for two views (BIND's `view`): what both have stands there once, and
//! marks tell the rest apart where an address does not.
//!
//! The rules of [`privacy`](super::privacy) are not known here. The records are divided by them, what comes out is held
//! against the two files, and records that went astray get a mark, until nothing changes.

use std::fmt::Write as _;
use std::sync::Arc;

use super::hash::HashMap;
use super::privacy::{Divided, Division, Rules, Selection};
use super::text::write_rdata;
use super::{Mark, Position, Record, Zone};
use crate::name::Name;
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// One zone file for both views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The zone file.
    pub text: String,
    /// Cases that no mark can express, for the author to decide; each stands in the text as a comment, too.
    pub open: Vec<String>,
}

/// Rounds of dividing and marking. Each gives at least one record its mark, and most need two or three rounds.
const MOST_ROUNDS: usize = 12;

/// Merges two versions of one zone.
pub fn merge(outside: &Zone, inside: &Zone, rules: &Rules) -> Merged {
    let mut entries = join(outside, inside);
    mark_members(&mut entries);
    let apex = &outside.apex;
    let mut open = Vec::new();
    for _ in 0..MOST_ROUNDS {
        let (zone, divided) = divide(apex, &entries, rules);
        let Some(public) = &divided.public else {
            open.push(format!("outside {apex} does not exist: {}", why_internal(&divided)));
            break;
        };
        let (outside, inside) = (whole(public, &zone), whole(&divided.internal, &zone));
        let mut is_changed = false;
        for (at, entry) in entries.iter_mut().enumerate() {
            is_changed |= entry.mend(Side::of(outside[at]), Side::of(inside[at]));
        }
        if !is_changed {
            break;
        }
    }
    open.extend(entries.iter().filter_map(|entry| entry.open.clone()));
    Merged { text: write(apex, &entries), open }
}

/// A record with the views that it belongs to.
struct Entry {
    record: Record,
    outside: bool,
    inside: bool,
    /// The case that its author has to decide.
    open: Option<String>,
}

/// Whether a view shows a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Shows,
    Hides,
}

impl Side {
    fn of(shows: bool) -> Self {
        if shows { Self::Shows } else { Self::Hides }
    }

    fn is(self, wanted: bool) -> bool {
        wanted == (self == Self::Shows)
    }
}

impl Entry {
    /// Gives a record that is not where it belongs a mark; whether anything is different.
    fn mend(&mut self, outside: Side, inside: Side) -> bool {
        if outside.is(self.outside) && inside.is(self.inside) {
            // The mark of another record may have settled it since.
            self.open = None;
            return false;
        }
        if self.open.is_some() {
            return false;
        }
        if self.record.mark.is_none() {
            self.record.mark = Some(match (self.outside, self.inside) {
                (false, _) => Mark::Internal,
                (true, false) => Mark::Outside,
                (true, true) if inside == Side::Hides => Mark::Both,
                (true, true) => Mark::Public,
            });
            return true;
        }
        if self.record.mark == Some(Mark::Public) && self.inside {
            self.record.mark = Some(Mark::Both);
            return true;
        }
        let (has, shows) = match (outside.is(self.outside), self.outside) {
            (false, true) => ("is to be seen outside", "hide it: publish it, or leave it out"),
            (false, false) => ("is not to be seen outside", "show it"),
            (true, _) if self.inside => ("is to be seen inside", "hide it there"),
            (true, _) => ("is not to be seen inside", "show it there"),
        };
        self.open = Some(format!("this {} record {has}, but the rules {shows}", self.record.rtype));
        true
    }
}

/// The records of both, each once; those of the apex first, then in canonical order.
fn join(outside: &Zone, inside: &Zone) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<(Name, Type, Vec<u8>), usize> = HashMap::default();
    let sides = [(outside, true), (inside, false)];
    let records =
        sides.iter().flat_map(|(zone, is_outside)| zone.records.iter().map(move |it| (it, *is_outside)));
    for (record, is_outside) in records {
        let key = (record.owner.clone(), record.rtype, without_case(record));
        match places.get(&key) {
            Some(&at) => entries[at].also(record, is_outside),
            None => {
                places.insert(key, entries.len());
                // The files' own marks, if there are any, said something else.
                let record = Record { mark: None, at: Position::default(), ..record.clone() };
                entries.push(Entry { record, outside: is_outside, inside: !is_outside, open: None });
            }
        }
    }
    one_soa(&mut entries);
    let rank = |rtype: Type| match rtype {
        Type::SOA => 0,
        Type::NS => 1,
        Type(number) => u32::from(number) + 2,
    };
    entries.sort_by(|a, b| {
        a.record.owner.canonical_cmp(&b.record.owner).then(rank(a.record.rtype).cmp(&rank(b.record.rtype)))
    });
    entries
}

impl Entry {
    /// The record stands in the other file, too. One record has one TTL: the shorter.
    fn also(&mut self, record: &Record, is_outside: bool) {
        self.outside |= is_outside;
        self.inside |= !is_outside;
        self.record.steer |= record.steer;
        self.record.ttl = self.record.ttl.min(record.ttl);
    }
}

/// A member of a pool that insiders alone have says so: beside public ones `check` refuses a private one that does not (D20).
fn mark_members(entries: &mut [Entry]) {
    // By its name, whether outsiders get an A, and an AAAA record of it.
    let mut pools: HashMap<Name, [bool; 2]> = HashMap::default();
    for entry in entries.iter().filter(|entry| entry.record.steer) {
        pools.entry(entry.record.owner.clone()).or_default();
    }
    let place = |record: &Record| match record.rtype {
        Type::A => Some(0),
        Type::AAAA => Some(1),
        _ => None,
    };
    for Entry { record, .. } in entries.iter().filter(|entry| entry.outside) {
        if let (Some(at), Some(public)) = (place(record), pools.get_mut(&record.owner)) {
            public[at] = true;
        }
    }
    for Entry { record, .. } in entries.iter_mut().filter(|entry| !entry.outside) {
        if let (Some(at), Some(public)) = (place(record), pools.get(&record.owner))
            && public[at]
        {
            record.mark = Some(Mark::Internal);
        }
    }
}

/// Copies that differ in their serial alone are one SOA, with the later serial.
fn one_soa(entries: &mut Vec<Entry>) {
    let soas: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].record.rtype == Type::SOA).collect();
    let [first, second] = soas[..] else { return };
    let apart = |rdata: &[u8]| {
        Some((rdata.len().checked_sub(20)?, u32::from_be_bytes(*rdata[rdata.len() - 20..].first_chunk()?)))
    };
    let (one, other) = (&entries[first].record, &entries[second].record);
    let (Some((at, serial)), Some((_, other_serial))) = (apart(&one.rdata), apart(&other.rdata)) else {
        return;
    };
    let without = |record: &Record| {
        let mut rest = without_case(record);
        rest.drain(at..at + 4);
        rest
    };
    if one.rdata.len() == other.rdata.len() && without(one) == without(other) {
        let later = if (other_serial.wrapping_sub(serial) as i32) > 0 { second } else { first };
        entries[first].record = entries[later].record.clone();
        (entries[first].outside, entries[first].inside) = (true, true);
        entries.remove(second);
    } else {
        for at in [first, second] {
            entries[at].record.mark = Some(if entries[at].outside { Mark::Outside } else { Mark::Internal });
        }
    }
}

/// RDATA with its names in lower case, as names are compared.
fn without_case(record: &Record) -> Vec<u8> {
    let mut lowered = Vec::with_capacity(record.rdata.len());
    for span in rdata::spans(record.rtype, &record.rdata) {
        let Ok(span) = span else { return record.rdata.to_vec() };
        let is_name = matches!(
            span.field,
            Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox
        );
        lowered.extend_from_slice(span.bytes);
        if is_name {
            let start = lowered.len() - span.bytes.len();
            lowered[start..].make_ascii_lowercase();
        }
    }
    lowered
}

fn divide(apex: &Name, entries: &[Entry], rules: &Rules) -> (Arc<Zone>, Arc<Divided>) {
    let records = entries.iter().map(|entry| entry.record.clone()).collect();
    let zone = Arc::new(Zone::new(apex.clone(), records, Vec::new()));
    let division = Division::default().again(&[Arc::clone(&zone)], rules);
    let divided = division.parts().first().map(|part| Arc::clone(&part.divided));
    (zone, divided.expect("one zone is divided into one part"))
}

fn why_internal(divided: &Divided) -> String {
    let told = divided.problems.iter().find(|problem| matches!(problem.code, "D13" | "D15"));
    told.map_or_else(
        || "its name, the config or its name servers make it internal (D11, D12)".to_owned(),
        |problem| problem.message.clone(),
    )
}

/// Which records a view shows as they were written.
fn whole(selection: &Selection, zone: &Zone) -> Vec<bool> {
    let mut shown = vec![false; zone.records.len()];
    let all = selection.as_set(zone.records.len());
    for (at, shown) in (0..).zip(&mut shown) {
        *shown = all.has(at);
    }
    for seen in selection.records(zone).filter(|seen| seen.is_changed()) {
        if let Some(at) = zone.records.iter().position(|record| std::ptr::eq(record, seen.record)) {
            shown[at] = false;
        }
    }
    shown
}

fn write(apex: &Name, entries: &[Entry]) -> String {
    let mut text = format!("$ORIGIN {apex}\n");
    let owners: Vec<String> = entries.iter().map(|entry| relative(&entry.record.owner, apex)).collect();
    let width = owners.iter().map(String::len).max().unwrap_or_default().min(MOST_WIDTH);
    for (entry, owner) in entries.iter().zip(owners) {
        let Record { ttl, rtype, rdata, mark, steer, .. } = &entry.record;
        if let Some(open) = &entry.open {
            writeln!(text, "; decide: {open}").expect(INFALLIBLE);
        }
        write!(text, "{owner:width$} {ttl:<6} IN {:<6} ", rtype.to_string()).expect(INFALLIBLE);
        write_rdata(*rtype, rdata, &mut text).expect(INFALLIBLE);
        let marks: Vec<&str> =
            mark.iter().map(|mark| mark.as_str()).chain(steer.then_some("steer")).collect();
        if !marks.is_empty() {
            write!(text, " ; verge: {}", marks.join(" ")).expect(INFALLIBLE);
        }
        text.push('\n');
    }
    text
}

const INFALLIBLE: &str = "a String takes all that is written to it";
/// Columns that owners are aligned to, at most.
const MOST_WIDTH: usize = 32;

fn relative(owner: &Name, apex: &Name) -> String {
    let Some(below) = owner.as_wire().strip_suffix(apex.as_wire()).filter(|_| owner.is_at_or_under(apex))
    else {
        return owner.to_string();
    };
    if below.is_empty() {
        return "@".to_owned();
    }
    let name = Name::from_wire(&[below, &[0]].concat()).map(|name| name.to_string());
    name.map_or_else(|_| owner.to_string(), |name| name.strip_suffix('.').unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests;
