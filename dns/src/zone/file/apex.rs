//! Whether the name of the zone can be believed, and what happens to records outside of it.

use super::reader::Reader;
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::{Problem, Severity};

/// The one error to tell when the zone's name is wrong; none when there is no reason to doubt it.
pub(super) fn mistaken(reader: &Reader) -> Option<Problem> {
    let is_at_apex = |owner: &Name| *owner == reader.apex;
    let soa = reader.records.iter().find(|record| record.rtype == Type::SOA && is_at_apex(&record.owner));
    match soa {
        Some(soa) if above_its_zone(reader) => {
            let (apex, named) = (&reader.apex, &reader.named);
            let message = format!(
                "the SOA is at {apex}, but the file is named after {named}, where all other records are"
            );
            let help = Some(format!("write the SOA as `{named} … IN SOA …`"));
            Some(Problem { severity: Severity::Error, code: "soa-owner", at: Some(soa.at), message, help })
        }
        Some(_) => None,
        None => without_soa(reader),
    }
}

/// An old Cloudflare export begins with `$ORIGIN .` and `@ SOA`. Its other records are where the file's name says.
fn above_its_zone(reader: &Reader) -> bool {
    let (apex, named) = (&reader.apex, &reader.named);
    let mut others = reader.records.iter().filter(|record| record.rtype != Type::SOA).peekable();
    named != apex
        && named.is_at_or_under(apex)
        && others.peek().is_some()
        && others.all(|record| record.owner.is_at_or_under(named))
}

/// A SOA that belongs elsewhere, and the records with it: then the file or its `$ORIGIN` has the wrong name.
fn without_soa(reader: &Reader) -> Option<Problem> {
    let wrong = reader.report.problems().find(|problem| problem.code == "soa-owner")?;
    let is_outside = |owner: &Name| !owner.is_at_or_under(&reader.apex);
    reader.records.iter().any(|record| is_outside(&record.owner)).then(|| wrong.clone())
}

/// Leaves records out that belong to other zones, as BIND and Knot DNS do: Windows DNS writes the addresses of name servers
/// into every zone that they serve.
pub(super) fn leave_out_others(reader: &mut Reader) {
    let apex = reader.apex.clone();
    let records = std::mem::take(&mut reader.records);
    let report = &mut reader.report;
    let mut index = 0;
    let inside = records.into_iter().filter(|record| {
        index += 1;
        let is_inside = record.owner.is_at_or_under(&apex);
        if !is_inside {
            let message = || format!("{} is not in the zone {apex}; the record is left out", record.owner);
            report.late_warning(index - 1, record.at, "out-of-zone", message);
        }
        is_inside
    });
    reader.records = inside.collect();
}
