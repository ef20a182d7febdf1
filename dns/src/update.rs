//! Dynamic updates (RFC 2136): who may change what, whether a request's prerequisites hold, and what it changes.
//!
//! ```text
//! message ─▶ key, policy ─▶ Request ─▶ evaluate (on the tree of the key's view) ─▶ Change ─▶ Overlay, beside the zone file
//! ```
//!
//! Invariant: nothing is evaluated for a sender who has not proved a key that some policy names (D18).
//! Invariant: a request sees the zone as its key's view does. A record that the view does not show can neither be asked about
//! by a prerequisite nor be deleted.

mod evaluate;
mod overlay;
mod steps;
#[cfg(test)]
mod tests;

pub use self::evaluate::evaluate;
pub use self::overlay::{Overlay, Step};
pub use self::steps::{Author, There};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;

/// The right of some keys to change some records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The zones; none for all that have a file here.
    pub zones: Vec<Name>,
    /// One of these must be proved.
    pub keys: Vec<Name>,
    /// The names, in each of the zones.
    pub names: Vec<Pattern>,
    /// The types.
    pub types: Vec<Type>,
    /// Records that keys of the inside add are for outsiders, too, as far as the rules let them.
    pub publish: bool,
}

/// Names of any zone: one, or one and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The labels below the apex, in lower-case wire form without the root; empty for the apex itself.
    labels: Box<[u8]>,
    is_below: bool,
}

impl Pattern {
    /// `www` is one name of the zone, `_acme-challenge.*` that name and all below it, `@` the apex, `*` all of the zone.
    pub fn parse(text: &str) -> Option<Self> {
        let (labels, is_below) = match text {
            "*" => ("", true),
            "@" => ("", false),
            text => text.strip_suffix(".*").map_or((text, false), |labels| (labels, true)),
        };
        let has_dot = labels.ends_with('.') || labels.starts_with('.');
        // A wildcard is a name like any other, at the left end.
        let has_star = labels.split('.').skip(1).any(|label| label == "*") || labels.contains('@');
        if has_dot || has_star || labels.is_empty() && !matches!(text, "*" | "@") {
            return None;
        }
        let name = Name::parse_absolute(if labels.is_empty() { "." } else { labels }).ok()?;
        let wire = name.as_wire();
        Some(Self { labels: wire[..wire.len() - 1].into(), is_below })
    }

    fn covers(&self, owner: &Name, apex: &Name) -> bool {
        let named = [&self.labels, apex.as_wire()].concat();
        if self.is_below { name::is_at_or_under(owner.as_wire(), &named) } else { owner.as_wire() == named }
    }
}

impl Policy {
    fn is_about(&self, apex: &Name, key: &Name) -> bool {
        self.keys.contains(key) && (self.zones.is_empty() || self.zones.contains(apex))
    }
}

/// The policies of one key for one zone.
#[derive(Clone, Debug)]
pub struct Rights<'p> {
    apex: Name,
    policies: Vec<&'p Policy>,
}

impl<'p> Rights<'p> {
    /// None if the key may change nothing in the zone.
    pub fn of(policies: &'p [Policy], apex: &Name, key: &Name) -> Option<Self> {
        let policies: Vec<&Policy> = policies.iter().filter(|policy| policy.is_about(apex, key)).collect();
        (!policies.is_empty()).then(|| Self { apex: apex.clone(), policies })
    }

    /// Whether this record may be added and deleted.
    pub fn permit(&self, owner: &Name, rtype: Type) -> bool {
        self.of_record(owner, rtype).next().is_some()
    }

    /// Whether this record, if a key of the inside adds it, is for outsiders, too, as far as the rules let it.
    pub fn publish(&self, owner: &Name, rtype: Type) -> bool {
        self.of_record(owner, rtype).any(|policy| policy.publish)
    }

    fn of_record(&self, owner: &Name, rtype: Type) -> impl Iterator<Item = &&'p Policy> {
        self.policies.iter().filter(move |policy| {
            policy.types.contains(&rtype) && policy.names.iter().any(|names| names.covers(owner, &self.apex))
        })
    }

    /// Whether anything of this name may be changed.
    pub fn reach(&self, owner: &Name) -> bool {
        let mut names = self.policies.iter().flat_map(|policy| &policy.names);
        names.any(|names| names.covers(owner, &self.apex))
    }
}

/// Whether some policy is about this zone.
pub fn is_open(policies: &[Policy], apex: &Name) -> bool {
    policies.iter().any(|policy| policy.zones.is_empty() || policy.zones.contains(apex))
}

/// A record of an update: the class says what it means (RFC 2136 §2.4, §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: Type,
    /// 1 for IN, 254 for NONE, 255 for ANY.
    pub class: u16,
    /// Seconds.
    pub ttl: u32,
    /// Uncompressed wire form; empty where there is none.
    pub rdata: SmallBytes,
}

/// A client's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The zone.
    pub apex: Name,
    /// They must hold.
    pub prerequisites: Vec<Item>,
    /// Changes that are to be made.
    pub updates: Vec<Item>,
}
