//! D19: free text that tells outsiders what other rules hide. Dropping such a record in silence would break mail, so
//! its author has to decide: mend it, hide it, or publish it with a mark.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nodes::Nodes;
use super::{Context, Found};
use crate::name::Name;
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone};

pub(super) fn judge(zone: &Zone, nodes: &Nodes<'_>, context: Context<'_>, found: &mut Found) {
    if (context.internal_name)(&zone.apex) {
        return;
    }
    for record in zone.order().others().iter().map(|index| zone.record(*index)) {
        let is_text = matches!(record.rtype, Type::TXT | Type::SPF | Type::URI | Type::CAA | Type::NAPTR);
        if !is_text || record.mark.is_some() || (context.internal_name)(&record.owner) {
            continue;
        }
        let text = text(record);
        let Some(told) = words(&text).into_iter().find_map(|word| hidden(word, context)) else { continue };
        if is_hidden_host(record, zone, nodes, context) {
            continue;
        }
        let message = format!("this {} record tells outsiders of {told}", record.rtype);
        let help = "remove it, or end the line with `; verge: public` to publish it or `; verge: internal` to hide it";
        found.warning(Some(record.at), "D19", message, help);
    }
}

/// All text of the record; strings of one TXT are one text (RFC 7208 §3.3).
fn text(record: &Record) -> String {
    let mut octets = Vec::new();
    for span in rdata::spans(record.rtype, &record.rdata).flatten() {
        match span.field {
            Field::Text => octets.extend(span.octets.iter().skip(1)),
            Field::RestText => {
                octets.push(b' ');
                octets.extend_from_slice(span.octets);
            }
            Field::Texts => strings(span.octets, &mut octets),
            _ => {}
        }
        if record.rtype == Type::NAPTR {
            octets.push(b' ');
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn strings(mut octets: &[u8], out: &mut Vec<u8>) {
    while let Some((len, rest)) = octets.split_first() {
        let (string, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        out.extend_from_slice(string);
        octets = rest;
    }
}

/// Runs of characters that names and addresses are made of.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')))
        .filter(|word| word.contains(['.', ':']))
        .collect()
}

/// What an outsider must not learn in `word`, in words.
fn hidden(word: &str, context: Context<'_>) -> Option<String> {
    // `ip6:fd00::1`, `sip:10.0.0.1:5060`, `fd00::1`.
    let after_scheme = word.split_once(':').map_or(word, |(_, rest)| rest);
    for candidate in [word, after_scheme] {
        if let Ok(address) = candidate.parse::<Ipv6Addr>() {
            let is_hidden = (context.hidden_address)(IpAddr::V6(address));
            return is_hidden.then(|| format!("the address {address}"));
        }
    }
    word.split(':').find_map(|part| {
        if let Ok(address) = part.parse::<Ipv4Addr>() {
            return (context.hidden_address)(IpAddr::V4(address)).then(|| format!("the address {address}"));
        }
        let name =
            Name::parse_absolute(part.trim_matches('.')).ok().filter(|name| name.label_count() >= 2)?;
        (context.internal_name)(&name).then(|| format!("the internal name {name}"))
    })
}

/// The record goes with a host all of whose addresses are hidden (D7).
fn is_hidden_host(record: &Record, zone: &Zone, nodes: &Nodes<'_>, context: Context<'_>) -> bool {
    if record.owner == zone.apex || !nodes.owns(&record.owner).address {
        return false;
    }
    zone.records.iter().filter(|other| other.owner == record.owner).all(|other| {
        match (other.rtype, &*other.rdata) {
            _ if other.mark == Some(Mark::Internal) => true,
            (Type::A | Type::AAAA, _) if other.mark == Some(Mark::Public) => false,
            (Type::A, rdata) => {
                <[u8; 4]>::try_from(rdata).is_ok_and(|octets| (context.hidden_address)(octets.into()))
            }
            (Type::AAAA, rdata) => {
                <[u8; 16]>::try_from(rdata).is_ok_and(|octets| (context.hidden_address)(octets.into()))
            }
            // A name that keeps a public MX keeps its TXT.
            (rtype, _) => rtype != Type::MX,
        }
    })
}
