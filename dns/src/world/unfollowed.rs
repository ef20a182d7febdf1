//! Hints that name a member of a pool and follow no pool: they are given for the TTL of their record, whether the member is up or
//! not, and their author is told.

use std::net::IpAddr;

use crate::name::Name;
use crate::rtype::Type;
use crate::steer::hints::{end, hinted, target};
use crate::steer::pool::is_signed;
use crate::steer::{Pool, Pools};
use crate::view::View;
use crate::zone::hash::HashMap;
use crate::zone::set::Served;
use crate::zone::tree::Node;
use crate::zone::{Problem, Record, Severity, Zone, address};

/// A view, and its pools by their members.
struct Side<'v> {
    view: &'v View,
    members: HashMap<IpAddr, &'v Pool>,
}

/// The views, as far as they have pools.
pub(crate) struct Unfollowed<'v> {
    sides: Vec<Side<'v>>,
}

impl<'v> Unfollowed<'v> {
    /// Of the views of one world.
    pub(crate) fn of(views: [&'v View; 2]) -> Self {
        let members = |pools: &'v Pools| {
            pools
                .iter()
                .flat_map(|pool| pool.members.iter().map(|member| (member.address, &**pool)))
                .collect()
        };
        let sides = views.into_iter().filter(|view| !view.pools.is_empty());
        Self { sides: sides.map(|view| Side { view, members: members(&view.pools) }).collect() }
    }

    /// A warning for each record of this zone that has such a hint.
    pub(crate) fn problems(&self, zone: &Zone) -> Vec<Problem> {
        if self.sides.is_empty() {
            return Vec::new();
        }
        let told = hinted(zone).filter_map(|at| {
            let record = zone.record(at);
            self.sides.iter().find_map(|side| side.problem(&zone.apex, record))
        });
        told.collect()
    }
}

impl Side<'_> {
    fn problem(&self, apex: &Name, record: &Record) -> Option<Problem> {
        let Some(Served::Zone(tree)) = self.view.zones.get(apex) else { return None };
        let node = tree.node(record.owner.as_wire()).filter(|node| node.hider().is_none())?;
        node.set(record.rtype)?;
        let mut hints = address::addresses(record.rtype, &record.rdata).into_iter();
        hints.find_map(|hint| self.of_hint(node, record, hint, self.members.get(&hint)?))
    }

    fn of_hint(&self, node: Node<'_>, record: &Record, hint: IpAddr, pool: &Pool) -> Option<Problem> {
        let pools = &self.view.pools;
        if pools.decides(node, record.rtype, &record.rdata, hint) {
            return None;
        }
        let target = Name::from_wire(&target(node.name(), &record.rdata)?).ok()?;
        let (why, help) = if pools.leads(node.name(), &record.rdata, hint) {
            debug_assert!(is_signed(node, record.rtype));
            (
                "its hints are signed".to_owned(),
                "leave the hints out, or put the record into an unsigned zone",
            )
        } else {
            let rtype = if hint.is_ipv4() { Type::A } else { Type::AAAA };
            let there = end(&self.view.zones, &target).and_then(|node| node.set(rtype));
            // The name itself is given with this address whatever a pool says: it is the same host under a name that nobody steers.
            if there.is_some_and(|set| set.has_address(hint)) {
                return None;
            }
            let why = format!("{target}, to which it leads, leads to no pool that has {hint}");
            (why, "lead the record to the name of the pool, or leave the hints out")
        };
        Some(Problem {
            severity: Severity::Warning,
            code: "unsteered-hint",
            at: Some(record.at),
            message: format!(
                "this {} record gives {hint}, a member of the pool {}, whether it is up or not: {why}",
                record.rtype, pool.owner
            ),
            help: Some(help.to_owned()),
        })
    }
}
