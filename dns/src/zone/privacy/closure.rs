//! The closure: from the records that are hidden by themselves to all that would betray them.
//!
//! A worklist of records to hide. Hiding one lowers the counts of its node. A count that reaches zero makes other
//! records go: a host without public addresses takes along what else it owns and the records that name it, and so does
//! a node without anything public at or below it. Nothing that is hidden ever comes back, so the result is the least
//! fixpoint whatever the order.
//!
//! Invariant: only zones in which something is hidden get a tree, and those to which a hint with an address leads that is hidden
//! somewhere; the others cost their references.

mod doubt;
mod hinted;
mod refer;

use std::collections::{HashMap, HashSet, VecDeque};

use self::doubt::Doubts;
use self::refer::{Reference, Referrer, is_lost};
use super::Rule;
use super::direct::Facts;
use super::names::{HiddenNames, ancestry};
use super::nodes::{NONE, Node, NodeId, Nodes, is_address};
use crate::rtype::Type;
use crate::zone::{Mark, Zone};

/// All zones while they are divided, and when they are.
pub(super) struct Closure<'z> {
    pub(super) zones: &'z [&'z Zone],
    names: &'z HiddenNames<'z>,
    by_apex: HashMap<&'z [u8], usize>,
    states: Vec<State<'z>>,
    worklist: VecDeque<Work>,
    doubts: Doubts,
}

/// The known facts of one zone.
#[derive(Default)]
pub(super) struct State<'z> {
    /// Outside there is no such zone.
    pub(super) internal: Option<Rule>,
    /// Built when the first record of the zone is hidden.
    pub(super) nodes: Option<Nodes<'z>>,
    /// Why each record is hidden; empty without [`State::nodes`].
    pub(super) why: Vec<Option<Rule>>,
    /// D15: the file holds signatures, so outsiders get all of it or nothing.
    is_signed: bool,
    /// `[public] zones`: every record without a mark counts as marked.
    is_published: bool,
    /// Public records beside the SOA; counted with [`State::nodes`].
    public: usize,
    /// Aliases that a mark keeps, but that lead to what is hidden.
    faded: HashSet<u32>,
    /// References into this zone that wait for its tree.
    waiting: Vec<Reference>,
    /// By node: the records that name what it answers, or what does not exist below it.
    referrers: HashMap<NodeId, Vec<Referrer>>,
}

enum Work {
    Hide {
        zone: usize,
        record: u32,
        why: Rule,
    },
    /// The target of a record that a mark publishes is hidden.
    Fade {
        zone: usize,
        record: u32,
    },
    /// Outside there is no such zone.
    Close {
        zone: usize,
        why: Rule,
    },
}

/// Hides what follows from `facts`, which stand in the order of `zones`; their references are used up.
pub(super) fn close<'z>(
    zones: &'z [&'z Zone],
    facts: &mut [Facts],
    names: &'z HiddenNames<'z>,
) -> Closure<'z> {
    let by_apex = zones.iter().enumerate().map(|(index, zone)| (zone.apex.as_wire(), index)).collect();
    let state = |facts: &Facts| State {
        internal: facts.internal,
        is_signed: facts.is_signed,
        is_published: facts.is_published,
        ..State::default()
    };
    let states = facts.iter().map(state).collect();
    let doubts = Doubts::default();
    let mut closure = Closure { zones, names, by_apex, states, worklist: VecDeque::new(), doubts };
    // Without a seed nothing follows: most sets of public zones end here. A DNAME may lead too far by itself.
    let is_seed = |facts: &Facts| {
        let is_split_signature = facts.is_signed && !facts.stripped.is_empty();
        facts.internal.is_some()
            || facts.has_dname
            || is_split_signature
            || !(facts.seeds.is_empty() && facts.faded.is_empty())
    };
    if facts.iter().any(is_seed) || names.have_unknown_zones() {
        closure.start(facts);
        closure.run_with_hints(facts);
    }
    closure
}

impl<'z> Closure<'z> {
    pub(super) fn state(&self, zone: usize) -> &State<'z> {
        &self.states[zone]
    }

    /// The most specific zone that holds the name; none if that is one of which nothing was understood.
    pub(super) fn zone_of(&self, wire: &[u8]) -> Option<usize> {
        ancestry(wire)
            .find(|suffix| self.by_apex.contains_key(suffix) || self.names.is_unknown_zone(suffix))
            .and_then(|apex| self.by_apex.get(apex).copied())
    }

    /// The zone with this apex, if outsiders see it.
    pub(super) fn public_zone_at(&self, apex: &[u8]) -> Option<usize> {
        self.by_apex.get(apex).copied().filter(|zone| self.states[*zone].internal.is_none())
    }

    fn start(&mut self, facts: &mut [Facts]) {
        for (zone, facts) in facts.iter_mut().enumerate() {
            for lead in std::mem::take(&mut facts.references) {
                self.refer_from(zone, lead);
            }
        }
        for (zone, facts) in facts.iter().enumerate() {
            // A DNAME without anything hidden beside it may still lead to what is hidden elsewhere.
            if facts.has_dname {
                self.activate(zone);
            }
            let seed = |(record, why): &(u32, Rule)| Work::Hide { zone, record: *record, why: *why };
            self.worklist.extend(facts.seeds.iter().map(seed));
            self.worklist.extend(facts.faded.iter().map(|record| Work::Fade { zone, record: *record }));
            if facts.is_signed && !facts.stripped.is_empty() {
                self.worklist.push_back(Work::Close { zone, why: Rule::D15 });
            }
        }
    }

    fn run(&mut self) {
        while let Some(next) = self.worklist.pop_front() {
            match next {
                Work::Hide { zone, record, why } => self.hide(zone, record, why),
                Work::Fade { zone, record } => self.fade(zone, record),
                Work::Close { zone, why } => self.close_zone(zone, why),
            }
        }
    }

    fn activate(&mut self, zone: usize) {
        let state = &mut self.states[zone];
        if state.nodes.is_some() || state.internal.is_some() {
            return;
        }
        let records = &self.zones[zone].records;
        state.nodes = Some(Nodes::build(self.zones[zone]));
        state.why = vec![None; records.len()];
        state.public = records.iter().filter(|record| record.rtype != Type::SOA).count();
        for reference in std::mem::take(&mut state.waiting) {
            self.refer(reference);
        }
    }

    fn hide(&mut self, zone: usize, record: u32, why: Rule) {
        self.activate(zone);
        let rtype = self.zones[zone].records[record as usize].rtype;
        if rtype == Type::NS && self.doubts.has_begun() {
            return;
        }
        let state = &mut self.states[zone];
        let Some(nodes) = &mut state.nodes else { return };
        if rtype == Type::SOA || state.why[record as usize].is_some() {
            if rtype == Type::SOA && state.is_signed {
                self.close_zone(zone, Rule::D15);
            }
            return;
        }
        state.why[record as usize] = Some(why);
        self.doubts.note(zone, record);
        state.public -= 1;
        let id = nodes.of_record[record as usize];
        let node = &mut nodes.list[id as usize];
        node.discount(rtype);
        node.faded -= u32::from(state.faded.remove(&record));
        let is_without_servers = node.is_apex && rtype == Type::NS && node.live_ns == 0;
        if state.is_signed {
            self.close_zone(zone, Rule::D15);
        } else if state.public == 0 || is_without_servers {
            self.close_zone(zone, Rule::D12);
        }
        self.follow(zone, id, rtype);
        self.bury(zone, id);
    }

    /// An alias that is published although its target is hidden leads to no address; an MX to no mail host.
    fn fade(&mut self, zone: usize, record: u32) {
        self.activate(zone);
        let state = &mut self.states[zone];
        let Some(nodes) = &mut state.nodes else { return };
        let id = nodes.of_record[record as usize];
        if self.zones[zone].records[record as usize].rtype == Type::MX {
            self.reconsider_mail(zone, id);
        } else if state.why[record as usize].is_none() && state.faded.insert(record) {
            nodes.list[id as usize].faded += 1;
            self.release(zone, id);
        }
    }

    /// Hides the records at and below a node that go with its last record of this type.
    fn follow(&mut self, zone: usize, id: NodeId, rtype: Type) {
        let node = self.node(zone, id);
        let never = node.is_apex || node.is_cut;
        if is_address(rtype) {
            let is_last = node.live_addresses == 0 && !never;
            // Once: a name with many addresses may have many referrers.
            if node.has_lost_its_addresses() {
                self.release(zone, id);
            }
            if is_last {
                self.hide_host(zone, id);
            }
        } else if rtype == Type::MX {
            self.reconsider_mail(zone, id);
        } else if rtype == Type::SRV && node.live_srv == 0 && node.addresses == 0 && !never {
            self.hide_service(zone, id);
        } else if rtype == Type::NS && node.is_cut && node.live_ns == 0 && !self.is_served_below(node) {
            self.leave(zone, self.nodes(zone).subtree(id), Rule::D13);
        } else if rtype == Type::DNAME && node.live_dname == 0 {
            // Names that a DNAME occluded (RFC 6672 §2.4) must not become visible.
            let below = self.nodes(zone).subtree(id).split_off(1);
            self.release(zone, id);
            self.leave(zone, below, Rule::D6);
        }
    }

    /// D7: other data at a host all of whose addresses are hidden, and all below an underscore label under it.
    fn hide_host(&mut self, zone: usize, id: NodeId) {
        let keeps_mail = self.gets_mail(zone, id);
        let nodes = self.states[zone].nodes.as_mut().expect("the zone is active");
        let node = &mut nodes.list[id as usize];
        (node.is_hidden_host, node.keeps_mail) = (true, keeps_mail);
        let nodes = self.nodes(zone);
        let records = &self.zones[zone].records;
        let stays = |rtype| keeps_mail && matches!(rtype, Type::MX | Type::TXT | Type::CAA);
        let here = nodes.records(id).iter().filter(|index| !stays(records[**index as usize].rtype));
        let services = underscored(nodes, id, keeps_mail);
        let below = services.iter().flat_map(|id| nodes.records(*id));
        let gone = here.chain(below).copied().collect();
        self.push_unmarked(zone, gone);
        self.release(zone, id);
    }

    /// D7 keeps the mail records of a hidden host while one of its MX leads to a public address.
    fn reconsider_mail(&mut self, zone: usize, id: NodeId) {
        let node = self.node(zone, id);
        if node.is_hidden_host && node.keeps_mail && !self.gets_mail(zone, id) {
            self.hide_host(zone, id);
        }
    }

    /// D7: a service without a server that outsiders can reach has nothing to say to them (RFC 6763 §6: SRV and TXT
    /// describe one service).
    fn hide_service(&mut self, zone: usize, id: NodeId) {
        let nodes = self.states[zone].nodes.as_mut().expect("the zone is active");
        nodes.list[id as usize].is_hidden_service = true;
        let records = &self.zones[zone].records;
        let is_text = |index: &&u32| records[**index as usize].rtype == Type::TXT;
        let gone = self.nodes(zone).records(id).iter().filter(is_text).copied().collect();
        self.push_unmarked(zone, gone);
        self.release(zone, id);
    }

    fn push_unmarked(&mut self, zone: usize, mut records: Vec<u32>) {
        records.retain(|index| !self.is_published(zone, *index));
        self.push(zone, records, Rule::D7);
    }

    /// Whether the author, or the config, publishes this record on purpose.
    fn is_published(&self, zone: usize, record: u32) -> bool {
        match self.zones[zone].records[record as usize].mark {
            Some(Mark::Public | Mark::Both) => true,
            Some(Mark::Internal) => false,
            Some(Mark::Outside) | None => self.states[zone].is_published,
        }
    }

    fn leave(&mut self, zone: usize, nodes: Vec<NodeId>, why: Rule) {
        let gone = nodes.iter().flat_map(|id| self.nodes(zone).records(*id)).copied().collect();
        self.push(zone, gone, why);
    }

    fn push(&mut self, zone: usize, records: Vec<u32>, why: Rule) {
        self.worklist.extend(records.into_iter().map(|record| Work::Hide { zone, record, why }));
    }

    /// Hides the records that name what a node has lost.
    fn release(&mut self, zone: usize, id: NodeId) {
        let state = &mut self.states[zone];
        let Some(referrers) = state.referrers.remove(&id) else { return };
        let node = &state.nodes.as_ref().expect("the zone is active").list[id as usize];
        let (lost, kept): (Vec<_>, Vec<_>) =
            referrers.into_iter().partition(|from| is_lost(node, from.needs));
        if !kept.is_empty() {
            state.referrers.insert(id, kept);
        }
        lost.into_iter().for_each(|from| self.betrays(from));
    }

    /// D8: a node without anything public at or below it does not exist outside; who names it would betray it.
    fn bury(&mut self, zone: usize, mut id: NodeId) {
        while id != NONE && self.is_empty(self.node(zone, id)) {
            let state = &mut self.states[zone];
            let nodes = state.nodes.as_mut().expect("the zone is active");
            let node = &mut nodes.list[id as usize];
            node.is_dead = true;
            let parent = node.parent;
            if let Some(parent) = nodes.list.get_mut(parent as usize) {
                parent.live_children -= 1;
            }
            self.release(zone, id);
            id = parent;
        }
    }

    fn is_empty(&self, node: &Node<'_>) -> bool {
        let stays = node.is_apex || node.is_dead || (node.is_cut && self.is_served_below(node));
        node.live == 0 && node.live_children == 0 && !stays
    }

    /// D13: a cut whose child zone is served publicly here always stays.
    fn is_served_below(&self, cut: &Node<'_>) -> bool {
        self.public_zone_at(cut.name).is_some()
    }

    /// D12, D13, D15: outside there is no such zone.
    fn close_zone(&mut self, zone: usize, why: Rule) {
        self.activate(zone);
        let state = &mut self.states[zone];
        if state.internal.is_some() || self.doubts.has_begun() {
            return;
        }
        state.internal = Some(why);
        let mut referrers: Vec<Referrer> =
            std::mem::take(&mut state.referrers).into_values().flatten().collect();
        // The first reason is the one that is told, so the order must not depend on a hash.
        referrers.sort_unstable();
        referrers.into_iter().for_each(|from| self.betrays(from));
        self.release_cut(zone);
    }

    /// The cut above, in whichever zone it stands, has lost the child that kept it.
    fn release_cut(&mut self, child: usize) {
        let apex = &self.zones[child].apex;
        let above = ancestry(apex.as_wire()).skip(1);
        let parents: Vec<usize> = above.filter_map(|name| self.by_apex.get(name).copied()).collect();
        for parent in parents {
            let Some(nodes) = &self.states[parent].nodes else { continue };
            let Some(id) = nodes.get(apex.as_wire()) else { continue };
            let node = &nodes.list[id as usize];
            if node.is_cut && node.live_ns == 0 {
                self.leave(parent, nodes.subtree(id), Rule::D13);
                self.bury(parent, id);
            }
        }
    }

    fn nodes(&self, zone: usize) -> &Nodes<'z> {
        self.states[zone].nodes.as_ref().expect("the zone is active")
    }

    fn node(&self, zone: usize, id: NodeId) -> &Node<'z> {
        &self.nodes(zone).list[id as usize]
    }
}

/// Nodes at and below the underscore labels under a host, up to where another host or a cut begins. The policies of a
/// host that keeps its mail are not among them (D7).
fn underscored(nodes: &Nodes<'_>, host: NodeId, keeps_mail: bool) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open: Vec<NodeId> = nodes.children(host).collect();
    while let Some(id) = open.pop() {
        let node = &nodes.list[id as usize];
        let label = first_label(node.name);
        if keeps_mail && node.parent == host && MAIL_POLICIES.contains(&label) {
            continue;
        }
        if keeps_mail && node.parent == host && label == b"_tls" {
            // RFC 8460 §3: the policy for TLS reports is at _smtp._tls.
            found.push(id);
            let others =
                nodes.children(id).filter(|id| first_label(nodes.list[*id as usize].name) != b"_smtp");
            others.for_each(|id| found.extend(nodes.subtree(id)));
        } else if label.first() == Some(&b'_') {
            found.extend(nodes.subtree(id));
        } else if node.addresses == 0 && !node.is_cut {
            open.extend(nodes.children(id));
        }
    }
    found
}

/// Labels that mailers look up below a name (RFC 7489 §6.1, RFC 6376 §3.6.2.1, RFC 8461 §3.1).
const MAIL_POLICIES: &[&[u8]] = &[b"_dmarc", b"_domainkey", b"_mta-sts"];

fn first_label(wire: &[u8]) -> &[u8] {
    crate::name::labels(wire).next().unwrap_or_default()
}
