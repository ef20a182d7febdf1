//! The rules by which zones are given and taken, found by the zone that they are about: anybody may ask about any zone, and
//! the answer costs the same however many rules and zones there are.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::client::{Demand, Proved};
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
    /// Where the client must ask from; none for anywhere, which needs a key or a certificate.
    pub clients: Vec<IpNet>,
    /// The certificate that the client must show, over TLS or QUIC; none if it need not.
    pub certificate: Option<Demand>,
    /// Secondaries that are told of new versions.
    pub notify: Vec<SocketAddr>,
}

impl Rule {
    /// The view that this rule gives to a client.
    fn admits(&self, key: Option<&Key>, (address, proved): (IpAddr, &Proved)) -> Option<Which> {
        if self.certificate.as_ref().is_some_and(|demand| !proved.meets(demand)) {
            return None;
        }
        let is_near = self.clients.iter().any(|net| net.contains(&address));
        match key {
            Some(key) => {
                let is_meant = self.keys.contains(&key.name) && (is_near || self.clients.is_empty());
                is_meant.then_some(key.view)
            }
            // A certificate proves who asks, and gives no view of the inside (D17).
            None => {
                let is_known = is_near || self.clients.is_empty() && self.certificate.is_some();
                (is_known && self.keys.is_empty()).then_some(Which::Public)
            }
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
    /// The certificates that rules demand, each once.
    demands: Vec<Demand>,
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

    /// The certificates that rules demand of clients, each once, in the order in which they were written.
    pub fn demands(&self) -> &[Demand] {
        &self.0.demands
    }

    /// The view from which this client may take the zone, by its address and what its certificate proves; none if it may not.
    pub fn view(&self, apex: &Name, key: Option<&Key>, client: (IpAddr, &Proved)) -> Option<Which> {
        self.about(apex).find_map(|rule| rule.admits(key, client))
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
        let mut seen = HashSet::new();
        let demands = new.all.iter().filter_map(|rule| rule.certificate.as_ref());
        new.demands = demands.filter(|demand| seen.insert(*demand)).cloned().collect();
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
                ..Rule::default()
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
            let found = rules.view(&name(zone), key, (address.parse().unwrap(), &Proved::default()));
            assert_eq!(found, expected, "{zone} {key:?} {address}");
        }
        let nobody = Rulebook::default();
        let client = ("192.0.2.1".parse().unwrap(), &Proved::default());
        assert_eq!(nobody.view(&name("x.example"), Some(&inner), client), None);
    }

    /// RFC 9103 §9.3.3, and D17: the view is that of the key, with a certificate, too.
    #[test]
    fn a_rule_that_demands_a_certificate_opens_to_those_who_have_it_and_all_else_that_it_demands() {
        let demand = |roots: &str, names: &[&str]| Demand {
            roots: roots.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let one = demand("ca.pem", &["ns2.example"]);
        let inner = key("inner", Which::Internal);
        let certificate = Some(one.clone());
        let near: Vec<IpNet> = vec!["192.0.2.0/24".parse().unwrap()];
        let keyed = Rule { keys: vec![name("inner")], certificate: certificate.clone(), ..Rule::default() };
        let open = Rule { certificate: certificate.clone(), ..Rule::default() };
        let placed = Rule { certificate, clients: near, ..Rule::default() };
        let all = [one, demand("ca.pem", &[]), demand("other.pem", &["ns2.example"])];
        let [right, any, other] = all.map(|met| Proved::of([met]));
        for (rule, key, address, proved, expected) in [
            (&keyed, Some(&inner), "192.0.2.1", &right, Some(Which::Internal)),
            (&keyed, None, "192.0.2.1", &right, None),
            (&keyed, Some(&inner), "192.0.2.1", &any, None),
            (&keyed, Some(&inner), "192.0.2.1", &other, None),
            (&keyed, Some(&inner), "192.0.2.1", &Proved::default(), None),
            (&open, None, "198.51.100.1", &right, Some(Which::Public)),
            (&open, Some(&inner), "198.51.100.1", &right, None),
            (&open, None, "198.51.100.1", &Proved::default(), None),
            (&placed, None, "192.0.2.1", &right, Some(Which::Public)),
            (&placed, None, "198.51.100.1", &right, None),
            (&placed, None, "192.0.2.1", &other, None),
        ] {
            let rules = Rulebook::from(std::slice::from_ref(rule));
            let found = rules.view(&name("x.example"), key, (address.parse().unwrap(), proved));
            assert_eq!(found, expected, "{rule:?} {key:?} {address} {proved:?}");
        }
    }
}
