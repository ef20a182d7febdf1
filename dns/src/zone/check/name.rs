//! Names that look as if their final dot, or their encoding, was forgotten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Found;
use super::nodes::Nodes;
use crate::name::Name;
use crate::rdata;
use crate::rtype::Type;
use crate::zone::{Record, Zone};

/// Top-level domains that are seldom the names of hosts.
const TOP_LEVEL: &[&[u8]] = &[b"com", b"net", b"org", b"arpa", b"edu", b"gov"];

pub(super) fn judge(zone: &Zone, nodes: &Nodes<'_>, found: &mut Found) {
    let apex = &zone.apex;
    let lists_domains = lists_domains(zone);
    let mut last: Option<&Name> = None;
    for record in &zone.records {
        if last.is_none_or(|last| *last != record.owner) && !lists_domains {
            judge_owner(zone, record, found);
        }
        last = Some(&record.owner);
        if matches!(record.rtype.0, 1 | 16 | 28) {
            continue;
        }
        for (_, wire) in rdata::names(record.rtype, &record.rdata) {
            let Ok(name) = Name::from_wire(wire) else { continue };
            if let Some(message) = repeats(&name, apex) {
                let help = format!("if {apex} was added by mistake, end the name with a dot");
                found.warning(Some(record.at), "missing-dot", message, &help);
            } else if let Some(address) = address(record.rtype, &name, apex).filter(|_| !nodes.has(&name)) {
                let message =
                    format!("the address {address} stands where a name belongs, and is read as {name}");
                found.warning(
                    Some(record.at),
                    "address-as-name",
                    message,
                    "point to a name that has this address",
                );
            }
        }
    }
}

fn judge_owner(zone: &Zone, record: &Record, found: &mut Found) {
    let owner = &record.owner;
    if let Some(message) = repeats(owner, &zone.apex) {
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

/// Reports a name to which the zone's name was added once more.
fn repeats(name: &Name, apex: &Name) -> Option<String> {
    if is_doubled(name, apex) {
        return Some(format!("{name} has the name of the zone twice"));
    }
    ends_twice(name, apex).then(|| format!("{name} has the name of another domain before that of the zone"))
}

/// `www.example.com.example.com.` in example.com.
fn is_doubled(name: &Name, apex: &Name) -> bool {
    below(name, apex).is_some_and(|below| {
        !apex.is_root()
            && below.ends_with(&apex.labels().collect::<Vec<_>>())
            && below.len() >= apex.label_count()
    })
}

/// `ns1.provider.net.example.com.` in example.com. A provider keeps keys and reports for other domains below their names
/// (`s1._domainkey.customer.com.dkim.example.com.`), and no host has an underscore.
fn ends_twice(name: &Name, apex: &Name) -> bool {
    below(name, apex).is_some_and(|below| {
        !apex.is_root()
            && below.len() >= 2
            && below.last().is_some_and(|last| TOP_LEVEL.contains(last))
            && !below.iter().any(|label| label.starts_with(b"_"))
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

/// The address that was written for a name: `192.0.2.1.`, or `192.0.2.1`, which is below the apex.
pub(super) fn address(rtype: Type, name: &Name, apex: &Name) -> Option<IpAddr> {
    if !matches!(
        rtype,
        Type::NS | Type::MX | Type::CNAME | Type::DNAME | Type::SRV | Type::SVCB | Type::HTTPS
    ) {
        return None;
    }
    // Names of reverse zones are made of numbers.
    if name.labels().last() == Some(b"arpa") {
        return None;
    }
    let written: Vec<&[u8]> = match below(name, apex) {
        Some(below) => below,
        None if name.is_at_or_under(apex) && name != apex && !apex.is_root() => {
            name.labels().take(1).collect()
        }
        None => name.labels().collect(),
    };
    let text = written.iter().map(|label| std::str::from_utf8(label)).collect::<Result<Vec<_>, _>>().ok()?;
    match text.as_slice() {
        [label] => label.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        labels => labels.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Zones whose owners are other people's domains: response policy zones and lists of domains (RFC 5782 §2.2).
fn lists_domains(zone: &Zone) -> bool {
    zone.records.iter().any(|record| match record.rtype {
        Type::CNAME => is_policy(&record.rdata),
        Type::A => {
            record.rdata.starts_with(&[127, 0])
                && record.owner != zone.apex
                && ends_twice(&record.owner, &zone.apex)
        }
        _ => false,
    })
}

/// Whether a CNAME states a response policy: NXDOMAIN, NODATA, pass, drop, or ask again over TCP.
fn is_policy(target: &[u8]) -> bool {
    let mut labels = crate::name::labels(target);
    match (labels.next(), labels.next()) {
        (None, _) => true,
        (Some(only), None) => {
            only == b"*" || only.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"rpz-"))
        }
        _ => false,
    }
}
