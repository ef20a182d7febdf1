//! Catalog zones that are made here (RFC 9432 §4): the zones that secondaries may take, as a zone that they take.
//!
//! ```text
//! version.C     TXT "2"
//! ID.zones.C    PTR zone          ID is a digest of the zone's name
//! group.ID.zones.C TXT "…"        coo.ID.zones.C PTR other catalog
//! ```
//!
//! Invariant: a catalog belongs to one view, and names no zone that one of those who may take the catalog may not take. Nobody
//! gets it without a key, and it answers no question of others.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Rulebook, record};
use crate::name::Name;
use crate::rtype::Type;
use crate::tsig::Keys;
use crate::view::{View, Which};
use crate::zone::Record;
use crate::zone::tree::Tree;

/// A catalog that is made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub apex: Name,
    /// The zones in it, as far as those who take it may take them; none for all.
    pub zones: Vec<Name>,
    /// Zones and the groups that they are in.
    pub groups: Vec<(Name, String)>,
    /// Zones that another catalog is to take over, and which.
    pub hand_over: Vec<(Name, Name)>,
}

/// The version of the schema (RFC 9432 §4.2.1).
const VERSION: &[u8] = b"\x012";
/// RFC 9432 §4.1: no server is named, and no mailbox.
const NOBODY: &[u8] = b"\x07invalid\0";
/// Refresh, retry, expire and minimum. A catalog whose primary is gone is as good as it was.
const TIMES: [u32; 4] = [3600, 600, i32::MAX as u32 - 1, 0];
/// Bytes of a zone's digest that are its ID.
const ID_BYTES: usize = 16;

impl Listing {
    /// The catalog for one view under this serial; none if nobody may take it there.
    pub fn tree(
        &self,
        which: Which,
        view: &View,
        (rules, keys): (&Rulebook, &Keys),
        serial: u32,
    ) -> Option<Arc<Tree>> {
        let takers = keys_of(rules, &self.apex, which, keys);
        if takers.is_empty() {
            return None;
        }
        // One without a good version stands here, too: those who do not find it take it away, with their good copy.
        let zones = view.zones.iter().map(|(apex, _)| apex);
        let is_listed = |apex: &&Name| {
            let theirs = keys_of(rules, apex, which, keys);
            (self.zones.is_empty() || self.zones.contains(apex))
                && takers.iter().all(|key| theirs.contains(key))
        };
        let mut records = self.head(serial)?;
        zones.filter(is_listed).for_each(|apex| self.list(apex, &mut records));
        Some(Arc::new(Tree::build(self.apex.clone(), &records)))
    }

    fn head(&self, serial: u32) -> Option<Vec<Record>> {
        let numbers = [serial, TIMES[0], TIMES[1], TIMES[2], TIMES[3]].map(u32::to_be_bytes).concat();
        let soa = [NOBODY, NOBODY, &numbers].concat();
        let version = self.apex.child(b"version")?;
        Some(vec![
            record(self.apex.clone(), Type::SOA, 0, soa.into()),
            record(self.apex.clone(), Type::NS, 0, NOBODY.into()),
            record(version, Type::TXT, 0, VERSION.into()),
        ])
    }

    /// Adds a zone. One whose entry would be too long for a name is left out: the catalog's own name is too long for it.
    fn list(&self, zone: &Name, records: &mut Vec<Record>) {
        let Some(node) = self.apex.child(b"zones").and_then(|zones| zones.child(id(zone).as_bytes())) else {
            return;
        };
        let text = |text: &str| {
            let bytes = text.as_bytes();
            let bytes = &bytes[..bytes.len().min(255)];
            [&[u8::try_from(bytes.len()).expect("cut to 255")], bytes].concat()
        };
        for (_, group) in self.groups.iter().filter(|(named, _)| named == zone) {
            records.extend(node.child(b"group").map(|owner| record(owner, Type::TXT, 0, text(group).into())));
        }
        for (_, other) in self.hand_over.iter().filter(|(named, _)| named == zone) {
            records
                .extend(node.child(b"coo").map(|owner| record(owner, Type::PTR, 0, other.as_wire().into())));
        }
        records.push(record(node, Type::PTR, 0, zone.as_wire().into()));
    }
}

/// The keys of this view by which somebody may take the zone.
fn keys_of<'r>(rules: &'r Rulebook, apex: &Name, which: Which, keys: &Keys) -> Vec<&'r Name> {
    let named = rules.about(apex).flat_map(|rule| &rule.keys);
    named.filter(|name| keys.get(name).is_some_and(|key| key.view == which)).collect()
}

/// The same for a zone whenever it is listed, so that nobody takes it for a new one (RFC 9432 §5.4).
fn id(zone: &Name) -> String {
    let sum = digest(&SHA256, zone.as_wire());
    sum.as_ref()[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Rule;
    use crate::transfer::members::read;
    use crate::tsig::{Algorithm, Key};
    use crate::zone::tree::testing::view;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn keys() -> Keys {
        let key = |text, view| Key::new(name(text), Algorithm::HmacSha256, b"0123456789abcdef", view);
        let all = [("out", Which::Public), ("other", Which::Public), ("in", Which::Internal)];
        all.map(|(text, view)| key(text, view)).into_iter().collect()
    }

    fn rule(zones: &[&str], keys: &[&str]) -> Rule {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect();
        Rule { zones: names(zones), keys: names(keys), ..Rule::default() }
    }

    const ZONE: &str = "@ SOA ns h 1 2 3 4 5\n@ NS ns";

    /// The zones that the catalog `cat` has in a view with a.ex, b.ex and one that is broken.
    fn check(case: &str, rules: &[Rule], which: Which, expected: Option<&[&str]>) {
        let zones = view(&[("a.ex", ZONE), ("b.ex", ZONE), ("broken.ex", "broken")]);
        let listing =
            Listing { apex: name("cat"), zones: Vec::new(), groups: Vec::new(), hand_over: Vec::new() };
        let tree = listing.tree(which, &zones, (&rules.into(), &keys()), 1);
        let found = tree.map(|tree| {
            let records = tree.nodes().flat_map(|node| {
                let owner = Name::from_wire(node.name()).unwrap();
                let sets: Vec<_> = node.sets().collect();
                sets.into_iter().flat_map(move |set| {
                    let owner = owner.clone();
                    let rdatas: Vec<Box<[u8]>> = set.rdatas().map(Into::into).collect();
                    rdatas
                        .into_iter()
                        .map(move |rdata| record(owner.clone(), set.rtype, set.ttl, rdata.into()))
                })
            });
            let records: Vec<Record> = records.collect();
            let members = read(&name("cat"), &records).unwrap_or_else(|error| panic!("{error}"));
            let mut zones: Vec<String> = members.iter().map(|member| member.zone.to_string()).collect();
            zones.sort_unstable();
            zones
        });
        let expected = expected.map(|zones| zones.iter().map(|zone| format!("{zone}.")).collect::<Vec<_>>());
        assert_eq!(found, expected, "{case}");
    }

    #[test]
    fn a_catalog_names_what_each_of_its_takers_may_take() {
        let all = rule(&[], &["out"]);
        check("all", std::slice::from_ref(&all), Which::Public, Some(&["a.ex", "b.ex", "broken.ex"]));
        check("no key of the view", std::slice::from_ref(&all), Which::Internal, None);
        check("nobody", &[], Which::Public, None);
        let closed = rule(&["b.ex"], &["other"]);
        check(
            "a zone of others",
            &[all.clone(), closed.clone()],
            Which::Public,
            Some(&["a.ex", "broken.ex"]),
        );
        let both = rule(&[], &["out", "other"]);
        check(
            "one of two takers",
            &[both, rule(&["b.ex"], &["out"])],
            Which::Public,
            Some(&["a.ex", "broken.ex"]),
        );
        let own = rule(&["cat"], &["other"]);
        check("another taker", &[all, closed, own], Which::Public, Some(&["b.ex"]));
        check(
            "by address",
            &[Rule { clients: vec!["0.0.0.0/0".parse().unwrap()], ..Rule::default() }],
            Which::Public,
            None,
        );
    }

    #[test]
    fn a_zone_has_its_groups_and_its_next_catalog() {
        let listing = Listing {
            apex: name("cat"),
            zones: vec![name("a.ex")],
            groups: vec![(name("a.ex"), "far".to_owned())],
            hand_over: vec![(name("a.ex"), name("other.cat"))],
        };
        let mut records = listing.head(7).unwrap();
        listing.list(&name("a.ex"), &mut records);
        let [member] = read(&name("cat"), &records).unwrap().try_into().unwrap();
        assert_eq!((member.groups, member.next), (vec!["far".to_owned()], Some(name("other.cat"))));
    }
}
