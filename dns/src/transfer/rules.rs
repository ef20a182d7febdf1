//! The rules by which zones are given and taken, found by the zone that they are about: anybody may ask about any zone, and
//! the answer costs the same however many rules and zones there are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::Name;
use crate::tsig::Key;
use crate::view::Which;
use crate::zone::hash::HashMap;

/// The right of some clients to take some zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The zones; none for all that no other rule names.
    pub zones: Vec<Name>,
    /// Keys of which one must be proved; none if addresses are enough.
    pub keys: Vec<Name>,
    /// Where the client must ask from; none for anywhere, which needs a key.
    pub clients: Vec<IpNet>,
    /// Secondaries that are told of new versions.
    pub notify: Vec<SocketAddr>,
}

impl Rule {
    /// The view that this rule gives to a client.
    fn admits(&self, key: Option<&Key>, address: IpAddr) -> Option<Which> {
        let is_near = self.clients.iter().any(|net| net.contains(&address));
        match key {
            Some(key) => {
                let is_meant = self.keys.contains(&key.name) && (is_near || self.clients.is_empty());
                is_meant.then_some(key.view)
            }
            None => (is_near && self.keys.is_empty()).then_some(Which::Public),
        }
    }
}

/// All rules by which zones may be taken.
#[derive(Clone, Debug, Default)]
pub struct Rulebook(Arc<Rules>);

#[derive(Debug, Default)]
struct Rules {
    /// As they were written.
    all: Vec<Rule>,
    /// Places in `all` of the rules that name a zone.
    named: HashMap<Name, Vec<usize>>,
    /// Places in `all` of the rules that name none.
    general: Vec<usize>,
}

impl Rulebook {
    /// Whether there is none, so that nobody may take anything.
    pub fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }

    /// The rules that are about this zone, in the order in which they were written.
    pub fn about(&self, apex: &Name) -> impl Iterator<Item = &Rule> {
        let places = self.0.named.get(apex).unwrap_or(&self.0.general);
        places.iter().map(|place| &self.0.all[*place])
    }

    /// The view from which this client may take the zone; none if it may not.
    pub fn view(&self, apex: &Name, key: Option<&Key>, address: IpAddr) -> Option<Which> {
        self.about(apex).find_map(|rule| rule.admits(key, address))
    }
}

impl FromIterator<Rule> for Rulebook {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        let mut new = Rules { all: rules.into_iter().collect(), ..Rules::default() };
        for (place, rule) in new.all.iter().enumerate() {
            if rule.zones.is_empty() {
                new.general.push(place);
            }
            for zone in &rule.zones {
                let places = new.named.entry(zone.clone()).or_default();
                // A rule may name a zone twice.
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        Self(Arc::new(new))
    }
}

impl From<&[Rule]> for Rulebook {
    fn from(rules: &[Rule]) -> Self {
        rules.iter().cloned().collect()
    }
}

/// A zone that is taken from others, as far as answers depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secondary {
    /// The zone.
    pub apex: Name,
    /// The side that has it: that of the key, and the outside without one.
    pub view: Which,
    /// Addresses from which notices are believed.
    pub primaries: Vec<IpAddr>,
    /// The key that signs, if one does.
    pub key: Option<Name>,
}

/// All zones that are taken from others. Catalogs can name a hundred thousand.
#[derive(Clone, Debug, Default)]
pub struct Secondaries(Arc<HashMap<Name, Secondary>>);

impl Secondaries {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one with this apex, in lower-case wire form.
    pub fn get(&self, apex: &[u8]) -> Option<&Secondary> {
        self.0.get(apex)
    }

    /// The apexes of all, in no order.
    pub fn apexes(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }
}

impl FromIterator<Secondary> for Secondaries {
    /// Of two with one apex, the first counts.
    fn from_iter<I: IntoIterator<Item = Secondary>>(secondaries: I) -> Self {
        let mut all = HashMap::default();
        for secondary in secondaries {
            all.entry(secondary.apex.clone()).or_insert(secondary);
        }
        Self(Arc::new(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsig::Algorithm;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn key(text: &str, view: Which) -> Key {
        Key::new(name(text), Algorithm::HmacSha256, b"0123456789abcdef", view)
    }

    #[test]
    fn a_zone_is_given_to_those_whom_its_own_rules_name() {
        let (outer, inner) = (key("outer", Which::Public), key("inner", Which::Internal));
        let rules: Rulebook = [
            Rule { keys: vec![name("outer"), name("inner")], ..Rule::default() },
            Rule { zones: vec![name("a.example")], keys: vec![name("inner")], ..Rule::default() },
            Rule {
                zones: vec![name("b.example")],
                keys: vec![name("outer")],
                clients: vec!["192.0.2.0/24".parse().unwrap()],
                notify: Vec::new(),
            },
            Rule {
                zones: vec![name("c.example")],
                clients: vec!["192.0.2.1/32".parse().unwrap()],
                ..Rule::default()
            },
        ]
        .into_iter()
        .collect();
        for (zone, key, address, expected) in [
            ("x.example", Some(&outer), "198.51.100.1", Some(Which::Public)),
            ("x.example", Some(&inner), "198.51.100.1", Some(Which::Internal)),
            ("x.example", None, "192.0.2.1", None),
            ("a.example", Some(&outer), "198.51.100.1", None),
            ("a.example", Some(&inner), "198.51.100.1", Some(Which::Internal)),
            // A child of a named zone is another zone.
            ("sub.a.example", Some(&outer), "198.51.100.1", Some(Which::Public)),
            ("b.example", Some(&outer), "198.51.100.1", None),
            ("b.example", Some(&outer), "192.0.2.200", Some(Which::Public)),
            ("b.example", Some(&inner), "192.0.2.200", None),
            ("b.example", None, "192.0.2.200", None),
            ("c.example", None, "192.0.2.1", Some(Which::Public)),
            ("c.example", None, "192.0.2.2", None),
            ("c.example", Some(&inner), "192.0.2.1", None),
        ] {
            let found = rules.view(&name(zone), key, address.parse().unwrap());
            assert_eq!(found, expected, "{zone} {key:?} {address}");
        }
        let nobody = Rulebook::default();
        assert_eq!(nobody.view(&name("x.example"), Some(&inner), "192.0.2.1".parse().unwrap()), None);
    }
}
