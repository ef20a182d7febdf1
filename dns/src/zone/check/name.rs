//! Names that look as if their final dot, or their encoding, was forgotten.

use super::Found;
use crate::name::Name;
use crate::rdata;
use crate::zone::Zone;

/// Top-level domains that are seldom the names of hosts.
const TOP_LEVEL: &[&[u8]] = &[b"com", b"net", b"org", b"arpa", b"edu", b"gov"];

pub(super) fn judge(zone: &Zone, found: &mut Found) {
    let apex = &zone.apex;
    let mut last: Option<&Name> = None;
    for record in &zone.records {
        if last.is_none_or(|last| *last != record.owner) {
            judge_owner(zone, record, found);
        }
        last = Some(&record.owner);
        if matches!(record.rtype.0, 1 | 16 | 28) {
            continue;
        }
        for (_, wire) in rdata::names(record.rtype, &record.rdata) {
            let Ok(name) = Name::from_wire(wire) else { continue };
            if is_doubled(&name, apex) || ends_twice(&name, apex) {
                let message =
                    format!("{name} ends with the name of the zone twice, or with another domain before it");
                let help = format!("if {apex} was added by mistake, end the name with a dot");
                found.warning(Some(record.at), "missing-dot", message, &help);
            } else if is_address(&name) {
                let message = format!("{name} looks like an address, but is a name");
                found.warning(
                    Some(record.at),
                    "address-as-name",
                    message,
                    "point to a name that owns the address",
                );
            }
        }
    }
}

fn judge_owner(zone: &Zone, record: &crate::zone::Record, found: &mut Found) {
    let owner = &record.owner;
    if is_doubled(owner, &zone.apex) || ends_twice(owner, &zone.apex) {
        let message =
            format!("{owner} ends with the name of the zone twice, or with another domain before it");
        let help = format!("if {} was added by mistake, end the name with a dot", zone.apex);
        found.warning(Some(record.at), "missing-dot", message, &help);
    }
    if !owner.as_wire().is_ascii() {
        let message = format!("{owner} is not ASCII; no browser or mail server will ask for it like this");
        found.warning(
            Some(record.at),
            "not-ascii",
            message,
            "write international names as A-labels (`xn--…`)",
        );
    }
}

/// `www.example.com.example.com.` in example.com.
fn is_doubled(name: &Name, apex: &Name) -> bool {
    below(name, apex).is_some_and(|below| {
        !apex.is_root()
            && below.ends_with(&apex.labels().collect::<Vec<_>>())
            && below.len() >= apex.label_count()
    })
}

/// `ns1.provider.net.example.com.` in example.com.
fn ends_twice(name: &Name, apex: &Name) -> bool {
    below(name, apex).is_some_and(|below| {
        !apex.is_root() && below.len() >= 2 && below.last().is_some_and(|last| TOP_LEVEL.contains(last))
    })
}

/// The labels of `name` below `apex`; none when it is not below.
fn below<'n>(name: &'n Name, apex: &Name) -> Option<Vec<&'n [u8]>> {
    // Nearly all names of a large zone are one label below it: too few to end with its name, or another's.
    let first = usize::from(name.as_wire()[0]) + 1;
    if name.as_wire().len() == first + apex.as_wire().len() && apex.label_count() > 1 {
        return None;
    }
    let more = name.as_wire().len() > apex.as_wire().len() && name.is_at_or_under(apex);
    more.then(|| name.labels().take(name.label_count() - apex.label_count()).collect())
}

/// Four numbers: `192.0.2.1.`
fn is_address(name: &Name) -> bool {
    name.label_count() == 4
        && name.labels().all(|label| label.len() <= 3 && label.iter().all(u8::is_ascii_digit))
}
