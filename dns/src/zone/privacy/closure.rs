//! The closure: from the records that are hidden by themselves to all that would betray them.
//!
//! A worklist of records to hide. Hiding one lowers the counts of its node; a count that reaches zero makes other
//! records go, and a node without anything public at or below it dies and takes the records that name it along.
//! Nothing that is hidden ever comes back, so the result is the least fixpoint whatever the order.
//!
//! Invariant: only zones in which something is hidden get a tree; the others cost their references.

use std::collections::{HashMap, VecDeque};

use super::Rule;
use super::direct::{Facts, closure_rule};
use super::names::ancestry;
use super::nodes::{NONE, Node, NodeId, Nodes, is_address};
use crate::name::{MAX_NAME_OCTETS, Name};
use crate::rtype::Type;
use crate::zone::{Mark, Zone};

/// How many DNAMEs one reference is followed through; more is a loop or a maze that no resolver follows.
const MAX_DNAME_STEPS: u8 = 8;

/// All zones while they are divided, and when they are.
pub(super) struct Closure<'z> {
    pub(super) zones: &'z [&'z Zone],
    by_apex: HashMap<&'z [u8], usize>,
    states: Vec<State<'z>>,
    worklist: VecDeque<Hide>,
}

/// What is known of one zone.
#[derive(Default)]
pub(super) struct State<'z> {
    /// Outside there is no such zone.
    pub(super) internal: Option<Rule>,
    /// Built when the first record of the zone is hidden.
    pub(super) nodes: Option<Nodes<'z>>,
    /// Why each record is hidden; empty without [`State::nodes`].
    pub(super) why: Vec<Option<Rule>>,
    /// Public records beside the SOA; counted with [`State::nodes`].
    public: usize,
    /// References into this zone that wait for its tree.
    waiting: Vec<Reference>,
    /// Who names what a node answers; under [`NONE`], who names what nothing answers.
    referrers: HashMap<NodeId, Vec<Referrer>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Referrer {
    zone: usize,
    record: u32,
}

struct Reference {
    from: Referrer,
    to: Name,
    /// DNAMEs on the way here.
    steps: u8,
}

struct Hide {
    zone: usize,
    record: u32,
    why: Rule,
}

/// Hides what follows from `facts`, which stand in the order of `zones`; their references are used up.
pub(super) fn close<'z>(zones: &'z [&'z Zone], facts: &mut [Facts]) -> Closure<'z> {
    let by_apex = zones.iter().enumerate().map(|(index, zone)| (zone.apex.as_wire(), index)).collect();
    let states = facts.iter().map(|facts| State { internal: facts.internal, ..State::default() }).collect();
    let mut closure = Closure { zones, by_apex, states, worklist: VecDeque::new() };
    // Without a seed nothing follows: most sets of public zones end here.
    if facts.iter().any(|facts| facts.internal.is_some() || !facts.seeds.is_empty()) {
        closure.start(facts);
        closure.run();
    }
    closure
}

impl<'z> Closure<'z> {
    pub(super) fn state(&self, zone: usize) -> &State<'z> {
        &self.states[zone]
    }

    /// Whether a name that no hidden suffix covers is a hidden target.
    pub(super) fn is_hidden_target(&self, name: &Name) -> bool {
        let Some(zone) = self.zone_of(name.as_wire()) else { return false };
        let state = &self.states[zone];
        let dead = |nodes: &Nodes<'_>| {
            nodes.answering(name.as_wire()).is_some_and(|id| nodes.list[id as usize].is_dead)
        };
        state.internal.is_some() || state.nodes.as_ref().is_some_and(dead)
    }

    /// The most specific zone that holds the name.
    pub(super) fn zone_of(&self, wire: &[u8]) -> Option<usize> {
        ancestry(wire).find_map(|suffix| self.by_apex.get(suffix).copied())
    }

    /// The zone with this apex, if outsiders see it.
    pub(super) fn public_zone_at(&self, apex: &[u8]) -> Option<usize> {
        self.by_apex.get(apex).copied().filter(|zone| self.states[*zone].internal.is_none())
    }

    fn start(&mut self, facts: &mut [Facts]) {
        for (zone, facts) in facts.iter_mut().enumerate() {
            for (record, to) in std::mem::take(&mut facts.references) {
                self.refer(Reference { from: Referrer { zone, record }, to, steps: 0 });
            }
        }
        for (zone, facts) in facts.iter().enumerate() {
            // A DNAME without anything hidden beside it may still lead to what is hidden elsewhere.
            if facts.has_dname {
                self.activate(zone);
            }
            self.worklist.extend(facts.seeds.iter().map(|(record, why)| Hide {
                zone,
                record: *record,
                why: *why,
            }));
        }
    }

    fn run(&mut self) {
        while let Some(next) = self.worklist.pop_front() {
            self.hide(next);
        }
    }

    /// Makes the record depend on the node that answers the name.
    fn refer(&mut self, reference: Reference) {
        let Some(zone) = self.zone_of(reference.to.as_wire()) else { return };
        let state = &mut self.states[zone];
        if state.internal.is_some() {
            return self.betrays(reference.from);
        }
        let Some(nodes) = &state.nodes else { return state.waiting.push(reference) };
        let node = nodes.answering(reference.to.as_wire());
        let substituted = node.and_then(|id| substitute(self.zones[zone], nodes, id, reference.to.as_wire()));
        let is_dead = node.is_some_and(|id| nodes.list[id as usize].is_dead);
        state.referrers.entry(node.unwrap_or(NONE)).or_default().push(reference.from);
        if is_dead {
            self.betrays(reference.from);
        } else if let Some(to) = substituted
            && reference.steps < MAX_DNAME_STEPS
        {
            self.refer(Reference { from: reference.from, to, steps: reference.steps + 1 });
        }
    }

    fn betrays(&mut self, Referrer { zone, record }: Referrer) {
        let why = closure_rule(self.zones[zone].records[record as usize].rtype);
        self.worklist.push_back(Hide { zone, record, why });
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

    fn hide(&mut self, Hide { zone, record, why }: Hide) {
        self.activate(zone);
        let rtype = self.zones[zone].records[record as usize].rtype;
        let state = &mut self.states[zone];
        if state.internal.is_some() || rtype == Type::SOA || state.why[record as usize].is_some() {
            return;
        }
        state.why[record as usize] = Some(why);
        state.public -= 1;
        if state.public == 0 {
            return self.close_zone(zone);
        }
        let nodes = state.nodes.as_mut().expect("the zone is active");
        let id = nodes.of_record[record as usize];
        nodes.list[id as usize].discount(rtype);
        self.follow(zone, id, rtype);
        self.bury(zone, id);
    }

    /// What goes at and below a node that has lost a record of this type.
    fn follow(&mut self, zone: usize, id: NodeId, rtype: Type) {
        let node = self.node(zone, id);
        let never = node.is_apex || node.is_cut;
        let last_address = is_address(rtype) && node.live_addresses == 0 && !never;
        let last_mx = rtype == Type::MX && node.live_mx == 0 && node.is_hidden_host;
        if last_address || last_mx {
            self.hide_host(zone, id);
        } else if rtype == Type::NS && node.is_cut && node.live_ns == 0 && !self.is_served_below(node) {
            self.leave(zone, self.nodes(zone).subtree(id), Rule::D13);
        } else if rtype == Type::DNAME && node.live_dname == 0 {
            // What a DNAME occluded (RFC 6672 §2.4) must not become visible.
            let below = self.nodes(zone).subtree(id).split_off(1);
            self.leave(zone, below, Rule::D6);
        }
    }

    /// D7: other data at a host all of whose addresses are hidden, and all below an underscore label under it.
    fn hide_host(&mut self, zone: usize, id: NodeId) {
        let nodes = self.states[zone].nodes.as_mut().expect("the zone is active");
        nodes.list[id as usize].is_hidden_host = true;
        let nodes = self.nodes(zone);
        let records = &self.zones[zone].records;
        let keeps_mail = nodes.list[id as usize].live_mx > 0;
        let stays = |rtype| keeps_mail && matches!(rtype, Type::MX | Type::TXT | Type::CAA);
        let here = nodes.records(id).iter().filter(|index| !stays(records[**index as usize].rtype));
        let services = underscored(nodes, id);
        let below = services.iter().flat_map(|id| nodes.records(*id));
        let unmarked = |index: &&u32| records[**index as usize].mark != Some(Mark::Public);
        let gone: Vec<u32> = here.chain(below).filter(unmarked).copied().collect();
        self.push(zone, gone, Rule::D7);
    }

    fn leave(&mut self, zone: usize, nodes: Vec<NodeId>, why: Rule) {
        let gone = nodes.iter().flat_map(|id| self.nodes(zone).records(*id)).copied().collect();
        self.push(zone, gone, why);
    }

    fn push(&mut self, zone: usize, records: Vec<u32>, why: Rule) {
        self.worklist.extend(records.into_iter().map(|record| Hide { zone, record, why }));
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
            let referrers = state.referrers.remove(&id).unwrap_or_default();
            referrers.into_iter().for_each(|from| self.betrays(from));
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

    /// D12: nothing public is left in the zone, so outside there is none.
    fn close_zone(&mut self, zone: usize) {
        let state = &mut self.states[zone];
        state.internal = Some(Rule::D12);
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

/// Nodes at and below the underscore labels under a host, up to where another host or a cut begins.
fn underscored(nodes: &Nodes<'_>, host: NodeId) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut open: Vec<NodeId> = nodes.children(host).collect();
    while let Some(id) = open.pop() {
        let node = &nodes.list[id as usize];
        if node.name.get(1) == Some(&b'_') {
            found.extend(nodes.subtree(id));
        } else if node.addresses == 0 && !node.is_cut {
            open.extend(nodes.children(id));
        }
    }
    found
}

/// Where the DNAME at this node leads the name (RFC 6672 §2.2); none if it has none or the result is too long.
fn substitute(zone: &Zone, nodes: &Nodes<'_>, id: NodeId, wire: &[u8]) -> Option<Name> {
    let node = &nodes.list[id as usize];
    let prefix = wire.strip_suffix(node.name).filter(|prefix| !prefix.is_empty() && node.is_dname)?;
    let records = nodes.records(id).iter().map(|index| &zone.records[*index as usize]);
    let target = &records.into_iter().find(|record| record.rtype == Type::DNAME)?.rdata;
    let whole = [prefix, target].concat();
    Name::from_wire(&whole).ok().filter(|_| whole.len() <= MAX_NAME_OCTETS)
}
