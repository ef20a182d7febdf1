//! Rules that hold before a zone is served, and warnings for what hurts later.

use std::net::IpAddr;

use super::{Problem, Record, Zone};
use crate::name::Name;

/// What the rules need to know beside the zone.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Whether an address must not reach outsiders (D1, D2, `private`).
    pub hidden_address: &'a dyn Fn(IpAddr) -> bool,
    /// Whether a name is internal by its suffix or by the config.
    pub internal_name: &'a dyn Fn(&Name) -> bool,
}

/// The rules on one zone as it was written, whatever its views.
pub fn check(zone: &Zone, context: Context<'_>) -> Vec<Problem> {
    let _ = (zone, context);
    todo!()
}

/// The rules on a zone of which only a part was understood: none that complain of something missing.
pub fn partial(zone: &Zone, context: Context<'_>) -> Vec<Problem> {
    let _ = (zone, context);
    todo!()
}

/// The rules that hold per view (a lone CNAME and so on), on the records that one view holds of a zone.
pub fn view(apex: &Name, records: &[Record]) -> Vec<Problem> {
    let _ = (apex, records);
    todo!()
}

/// A problem that only shows when all zones are seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Across {
    /// Index of the zone whose files [`Problem::at`] counts in.
    pub zone: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// Delegations that lead back to where they began (TsuNAME), over all loaded zones.
pub fn cycles(zones: &[&Zone]) -> Vec<Across> {
    let _ = zones;
    todo!()
}

/// A warning when `new` differs from `old` but its SOA serial was not raised (RFC 1982).
pub fn serial(old: &Zone, new: &Zone) -> Option<Problem> {
    let _ = (old, new);
    todo!()
}
