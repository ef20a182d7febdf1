//! The delegation of each public zone, as its parents have it, beside what the zone says itself.
//!
//! Invariant: no question names a zone that outsiders are not shown (docs/privacy.md). [`owns`] reads the view of outsiders alone.

mod ask;
mod parents;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

pub(super) use self::parents::{Looked, Way, addressed, looked};
use super::Advice;
use crate::name::Name;
use crate::rtype::Type;
use crate::view::View;
use crate::zone::check::key_tag;
use crate::zone::set::Served;
use crate::zone::tree::Tree;

/// Names of servers, in small letters, each with the addresses that are known.
type Servers = BTreeMap<String, BTreeSet<IpAddr>>;

/// The delegation as the zone itself has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    apex: Name,
    /// Addresses are those of servers inside the zone.
    servers: Servers,
    /// DNSKEY records.
    keys: Vec<Vec<u8>>,
}

/// The delegation as a parent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delegated {
    servers: Servers,
    /// DS records.
    ds: Vec<Vec<u8>>,
}

/// The zones that outsiders are shown.
pub(super) fn owns(public: &View) -> Vec<Own> {
    let mut owns: Vec<Own> = public.zones.iter().filter_map(|(apex, served)| own(apex, served)).collect();
    owns.sort_by(|one, other| one.apex.canonical_cmp(&other.apex));
    owns
}

fn own(apex: &Name, served: &Served) -> Option<Own> {
    let Served::Zone(tree) = served else { return None };
    if apex.is_root() {
        return None;
    }
    let node = tree.apex_node();
    let servers = node.set(Type::NS)?;
    let named = servers.rdatas().filter_map(|rdata| Some((text(&Name::from_wire(rdata).ok()?), rdata)));
    let servers = named.map(|(name, wire)| (name, addresses(tree, wire))).collect();
    let keys = node.set(Type::DNSKEY).filter(|_| tree.is_signed());
    let keys = keys.iter().flat_map(|keys| keys.rdatas()).map(<[u8]>::to_vec).collect();
    Some(Own { apex: apex.clone(), servers, keys })
}

fn addresses(tree: &Tree, name: &[u8]) -> BTreeSet<IpAddr> {
    let Some(node) = tree.node(&name.to_ascii_lowercase()) else { return BTreeSet::new() };
    let v4 = node.set(Type::A).into_iter().flat_map(|set| {
        set.rdatas().filter_map(|rdata| <[u8; 4]>::try_from(rdata).ok()).map(IpAddr::from).collect::<Vec<_>>()
    });
    let v6 = node.set(Type::AAAA).into_iter().flat_map(|set| {
        set.rdatas()
            .filter_map(|rdata| <[u8; 16]>::try_from(rdata).ok())
            .map(IpAddr::from)
            .collect::<Vec<_>>()
    });
    v4.chain(v6).collect()
}

fn text(name: &Name) -> String {
    name.to_string().to_ascii_lowercase()
}

/// The changes to make. `parent` is its name, or its address.
fn advice(own: &Own, parent: &str, delegated: Option<&Delegated>) -> Vec<Advice> {
    let apex = text(&own.apex);
    let Some(delegated) = delegated else {
        let servers: Vec<&str> = own.servers.keys().map(String::as_str).collect();
        let cure = format!("have the registrar enter the name servers: {}", servers.join(", "));
        return vec![warning(format!("{parent} does not delegate {apex}"), cure)];
    };
    let mut all = Vec::new();
    for server in own.servers.keys().filter(|server| !delegated.servers.contains_key(*server)) {
        all.push(warning(
            format!("{parent} does not name {server} for {apex}, and the zone does"),
            format!("have the registrar add it, or take `{apex} NS {server}` out of the zone"),
        ));
    }
    for server in delegated.servers.keys().filter(|server| !own.servers.contains_key(*server)) {
        all.push(warning(
            format!("{parent} names {server} for {apex}, and the zone does not"),
            format!("add `{apex} NS {server}` to the zone if it serves it, or have the registrar remove it"),
        ));
    }
    all.extend(own.servers.iter().filter_map(|server| glue(&own.apex, parent, server, &delegated.servers)));
    all.extend(secure(own, parent, &delegated.ds));
    all
}

/// Servers inside a zone are found by the addresses that the parent gives (RFC 9471).
fn glue(
    apex: &Name,
    parent: &str,
    (server, own): (&String, &BTreeSet<IpAddr>),
    given: &Servers,
) -> Option<Advice> {
    let given = given.get(server)?;
    let is_inside = Name::parse_absolute(server).is_ok_and(|name| name.is_at_or_under(apex));
    if !is_inside || own.is_empty() || own == given {
        return None;
    }
    let cure = format!("have the registrar enter for the host {server}: {}", listed(own));
    Some(match given.is_empty() {
        true => {
            fault(format!("{parent} gives no address of {server}, which no resolver finds otherwise"), cure)
        }
        false => warning(
            format!("{parent} gives {} for {server}, and the zone {}", listed(given), listed(own)),
            format!("{cure}; or change the zone"),
        ),
    })
}

/// The chain of trust from the parent (RFC 4035 §2.4).
fn secure(own: &Own, parent: &str, ds: &[Vec<u8>]) -> Option<Advice> {
    let apex = text(&own.apex);
    let wanted: Vec<String> = own.keys.iter().filter_map(|key| ds_of(&own.apex, key)).collect();
    let enter = format!("have the registrar enter: {}", wanted.join("; "));
    if ds.is_empty() {
        let what = || format!("{apex} is signed, and {parent} has no DS of it: nobody validates it");
        return (!wanted.is_empty()).then(|| warning(what(), enter));
    }
    if own.keys.is_empty() {
        return Some(fault(
            format!("{parent} has a DS of {apex}, which is not signed: validating resolvers answer SERVFAIL"),
            "have the registrar remove the DS, or sign the zone".to_owned(),
        ));
    }
    let fits = ds.iter().any(|ds| own.keys.iter().any(|key| fits(&own.apex, key, ds)));
    (!fits).then(|| {
        let what = format!(
            "no DS of {apex} at {parent} is of a key of the zone: validating resolvers answer SERVFAIL"
        );
        fault(what, format!("{enter}; and remove the others"))
    })
}

/// Whether a DS is of this key (RFC 4034 §5.1.4); one of an algorithm of digests that is unknown here may be.
fn fits(apex: &Name, key: &[u8], ds: &[u8]) -> bool {
    let ([t1, t2, algorithm, kind, digest @ ..], Some(of_key)) = (ds, key.get(3)) else { return false };
    let is_same = u16::from_be_bytes([*t1, *t2]) == key_tag(key) && algorithm == of_key;
    let by: &Algorithm = match kind {
        1 => &SHA1_FOR_LEGACY_USE_ONLY,
        2 => &SHA256,
        4 => &SHA384,
        _ => return is_same,
    };
    is_same && digested(by, apex, key) == *digest
}

fn digested(by: &'static Algorithm, apex: &Name, key: &[u8]) -> Vec<u8> {
    let owner = apex.as_wire().to_ascii_lowercase();
    digest(by, &[&owner, key].concat()).as_ref().to_vec()
}

/// The DS of a key that signs keys (RFC 4034 §2.1.1), by SHA-256 (RFC 4509).
fn ds_of(apex: &Name, key: &[u8]) -> Option<String> {
    let [_, flags, _, algorithm, ..] = key else { return None };
    if flags & 1 == 0 {
        return None;
    }
    let mut line = format!("{} DS {} {algorithm} 2 ", text(apex), key_tag(key));
    for byte in digested(&SHA256, apex, key) {
        let _ = write!(line, "{byte:02X}");
    }
    Some(line)
}

fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn warning(what: String, cure: String) -> Advice {
    Advice { is_fault: false, what, cure }
}

fn fault(what: String, cure: String) -> Advice {
    Advice { is_fault: true, what, cure }
}

#[cfg(test)]
mod tests;
