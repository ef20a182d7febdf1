//! The zones of one view: the most specific zone for a name.
//!
//! Invariant: a zone that is declared but was never good is here as [`Served::Broken`], so that its names are SERVFAIL
//! and never what the zone above would say of them.

use std::sync::Arc;

use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::tree::Tree;

/// A view's zone at an apex.
#[derive(Clone, Debug)]
pub enum Served {
    /// A zone in service.
    Zone(Arc<Tree>),
    /// A zone that never had a good version: SERVFAIL for it and everything below.
    Broken,
}

/// Apexes of one view and what is served there.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    by_apex: HashMap<Name, Served>,
    /// Labels of the deepest apex: nothing below it needs a look-up, however many labels a question has.
    most_labels: usize,
}

impl Zones {
    /// Adds a zone or puts it in the place of the one at the same apex.
    pub fn insert(&mut self, apex: Name, served: Served) {
        self.most_labels = self.most_labels.max(apex.label_count());
        self.by_apex.insert(apex, served);
    }

    /// The zone at exactly this apex.
    pub fn get(&self, apex: &Name) -> Option<&Served> {
        self.by_apex.get(apex)
    }

    /// Whether this lower-case wire name is an apex.
    pub fn has_apex(&self, name: &[u8]) -> bool {
        self.by_apex.contains_key(name)
    }

    /// Every apex and what is served there, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Served)> {
        self.by_apex.iter()
    }

    /// How many apexes there are.
    pub fn len(&self) -> usize {
        self.by_apex.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_apex.is_empty()
    }

    /// Whether no zone can be below this apex, because none has more labels.
    pub fn has_none_below(&self, apex: &[u8]) -> bool {
        name::labels(apex).count() == self.most_labels
    }

    /// The zone that answers a question: the most specific one at or above `qname` (lower-case wire form).
    ///
    /// DS lives on the parent's side of a cut (RFC 4035 §3.1.4.1): at an apex it is the zone above that answers, if
    /// there is one here, and else the child with "no data".
    pub fn find(&self, qname: &[u8], qtype: Type) -> Option<(&Name, &Served)> {
        let found = self.closest(Some(qname))?;
        if qtype == Type::DS && found.0.as_wire() == qname {
            return self.closest(name::parent(qname)).or(Some(found));
        }
        Some(found)
    }

    fn closest(&self, from: Option<&[u8]>) -> Option<(&Name, &Served)> {
        let mut rest = from?;
        let mut surplus = name::labels(rest).count().saturating_sub(self.most_labels);
        loop {
            match surplus {
                0 => {
                    if let Some(found) = self.by_apex.get_key_value(rest) {
                        return Some(found);
                    }
                }
                _ => surplus -= 1,
            }
            rest = name::parent(rest)?;
        }
    }
}

impl FromIterator<(Name, Served)> for Zones {
    fn from_iter<I: IntoIterator<Item = (Name, Served)>>(zones: I) -> Self {
        let mut all = Self::default();
        zones.into_iter().for_each(|(apex, served)| all.insert(apex, served));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    #[test]
    fn the_most_specific_zone_answers_and_ds_is_the_parents() {
        let zones: Zones = ["example.", "sub.example.", "a.b.sub.example."]
            .map(|apex| (name(apex), Served::Broken))
            .into_iter()
            .collect();
        for (qname, qtype, expected) in [
            ("example.", Type::A, Some("example.")),
            ("x.example.", Type::A, Some("example.")),
            ("sub.example.", Type::A, Some("sub.example.")),
            ("sub.example.", Type::DS, Some("example.")),
            ("x.sub.example.", Type::DS, Some("sub.example.")),
            ("a.b.sub.example.", Type::DS, Some("sub.example.")),
            ("b.sub.example.", Type::A, Some("sub.example.")),
            ("example.", Type::DS, Some("example.")),
            ("notexample.", Type::A, None),
            (".", Type::DS, None),
        ] {
            let found = zones.find(name(qname).as_wire(), qtype).map(|(apex, _)| apex.to_string());
            assert_eq!(found.as_deref(), expected, "{qname} {qtype}");
        }
    }
}
