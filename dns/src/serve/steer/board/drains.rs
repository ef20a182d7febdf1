//! Members that a command takes out of service, here and on the other name servers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::time::Time;
use super::{Board, Inner};
use crate::metrics::{DrainStatus, Vote};
use crate::steer::drain::{NotDrained, Obeyed, Order, Wait, address_id};

impl Board {
    /// Takes a member out of service, or puts it back; the other name servers are told.
    pub(crate) fn drain(&self, address: IpAddr, is_out: bool) -> Result<(), NotDrained> {
        let now = self.time();
        let mut inner = self.lock();
        if inner.is_held {
            return Err(NotDrained::HandingOver);
        }
        if is_out && !inner.has(address) {
            // Nobody is sent there any more, and its countdown goes on.
            let is_leaving = inner.left_behind.contains(&address) && inner.ends.left(&address, now.ticks) > 0;
            return if is_leaving { Ok(()) } else { Err(NotDrained::NoMember) };
        }
        // Another name server may know of a drain that this one has not heard of.
        let is_said = inner.orders.out(address).is_some() == is_out;
        if is_said && (is_out || inner.nodes.is_empty()) {
            return Ok(());
        }
        let order = inner.orders.next(address, is_out, inner.own, now.unix);
        match inner.obey(&[order], now.ticks) {
            0 if inner.orders.has_room(&order) => Err(NotDrained::Overruled),
            0 => Err(NotDrained::TooMany),
            _ => Ok(()),
        }
    }
}

impl Inner {
    fn has(&self, address: IpAddr) -> bool {
        self.pools.iter().any(|held| held.has(address))
    }

    /// Takes in an order. Where there is no room, one for an address of a pool counts more than one for an address of none.
    fn take(&mut self, order: Order, version: u64) -> bool {
        if order.is_out && !self.orders.has_room(&order) {
            let members = self.pools.iter().flat_map(|held| &held.pool.members);
            let used: BTreeSet<u64> = members.map(|member| address_id(member.address)).collect();
            return self.orders.take(order, version)
                || used.contains(&order.address)
                    && self.orders.forget_unused(&used)
                    && self.orders.take(order, version);
        }
        self.orders.take(order, version)
    }

    /// Obeys orders that are new; how many are.
    pub(super) fn obey(&mut self, orders: &[Order], ticks: u64) -> usize {
        let version = self.version + 1;
        let (mut taken, mut changes) = (0, Vec::new());
        for order in orders {
            let was_out = self.orders.is_out(order.address);
            if self.take(*order, version) {
                taken += 1;
                changes.extend((order.is_out != was_out).then_some(*order));
            }
        }
        if taken > 0 {
            (self.version, self.is_new) = (version, true);
        }
        if !changes.is_empty() {
            self.follow(&changes, ticks);
        }
        taken
    }

    /// Decides again for the pools of addresses whose state these orders change.
    fn follow(&mut self, orders: &[Order], ticks: u64) {
        let ids: BTreeSet<u64> = orders.iter().map(|order| order.address).collect();
        let mut found: BTreeSet<(usize, u64, IpAddr)> = BTreeSet::new();
        for (at, held) in self.pools.iter().enumerate() {
            let numbered =
                held.pool.members.iter().map(|member| (address_id(member.address), member.address));
            found.extend(numbered.filter(|(id, _)| ids.contains(id)).map(|(id, address)| (at, id, address)));
        }
        let pools: BTreeSet<usize> = found.iter().map(|(at, ..)| *at).collect();
        pools.into_iter().for_each(|at| self.replan(at, ticks));
        self.find_drained();
        for order in orders {
            let of = found.iter().filter(|(_, id, _)| *id == order.address);
            self.tell_order(order, of.clone().next().map(|(.., address)| *address), of.count());
        }
    }

    fn tell_order(&self, order: &Order, address: Option<IpAddr>, pools: usize) {
        let Some(address) = address else { return };
        let word = if order.is_out { "drained" } else { "back in service" };
        match self.name_of(order.origin) {
            "here" => tracing::info!(%address, pools, "{address} is {word}"),
            origin => tracing::info!(%address, pools, origin, "{address} is {word}, as {origin} was told"),
        }
    }

    /// Finds the members again that a command takes out of service.
    pub(super) fn find_drained(&mut self) {
        let mut drained = Vec::new();
        for (at, held) in self.pools.iter().enumerate() {
            for (member, of) in held.pool.members.iter().enumerate() {
                if let Some(order) = self.orders.out(of.address) {
                    drained.push((order.address, at, member));
                }
            }
        }
        drained.sort_unstable();
        self.drained = drained;
    }

    /// The drained addresses that answers of this server may still name.
    pub(super) fn waits(&self, ticks: u64) -> Vec<Wait> {
        let mut waits: Vec<Wait> = Vec::new();
        for (address, at, member) in &self.drained {
            let left = self.left(*at, *member, ticks);
            match waits.last_mut().filter(|last| last.address == *address) {
                Some(last) => last.left = last.left.zip(left).map(|(a, b)| a.max(b)),
                None => waits.push(Wait { address: *address, left }),
            }
        }
        waits.retain(|wait| wait.left != Some(0));
        waits
    }

    /// Milliseconds until no answer of this server that names a member is kept any more; none while it is given.
    pub(super) fn left(&self, pool: usize, member: usize, ticks: u64) -> Option<u64> {
        let pool = &self.pools[pool].pool;
        (!pool.gives(member)).then(|| self.ends.left(&pool.members[member].address, ticks))
    }

    /// The order that takes a member out of service, and the name servers that may still send users there: with the milliseconds
    /// until none of those that are heard does.
    pub(super) fn drain_of(&self, address: IpAddr, now: Time) -> Option<(DrainStatus, u64)> {
        let order = self.orders.out(address)?;
        let (mut most, mut awaited) = (0, Vec::new());
        for node in &self.nodes {
            let mut wait =
                |state: &str| awaited.push(Vote { node: node.name.clone(), state: state.to_owned() });
            match node.confirmed.obeys(order, now.ticks) {
                _ if !node.heard.is_fresh(now.ticks) => wait("not heard"),
                Obeyed::Unknown if node.is_unreached() => wait("cannot be told"),
                Obeyed::Unknown => wait("not told yet"),
                Obeyed::Gives => wait("still gives it"),
                Obeyed::Left(left) => most = most.max(left),
            }
        }
        let by = self.name_of(order.origin).to_owned();
        Some((DrainStatus { since: order.at / 1000, by, awaited }, most))
    }

    /// The name of the name server that an order was given to.
    fn name_of(&self, origin: u64) -> &str {
        let node = self.nodes.iter().find(|node| node.id == origin);
        match node {
            _ if origin == self.own => "here",
            Some(node) => &node.name,
            None => "another name server",
        }
    }
}
