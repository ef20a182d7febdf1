//! Names in RDATA: where each leads in the full tree, and when what it leads to is lost to outsiders (D6, D13).

use super::super::direct::{Lead, closure_rule};
use super::super::nodes::{Answering, Node, NodeId, Nodes};
use super::{Closure, Work};
use crate::name::{MAX_NAME_BYTES, Name};
use crate::rdata;
use crate::rtype::Type;
use crate::zone::{MOST_FOLLOWED, Zone};

/// A record that names something, and what it needs of the node that the name leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Referrer {
    pub(super) zone: usize,
    pub(super) record: u32,
    pub(super) needs: Needs,
}

/// The property of the node that lets outsiders see a record which leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// The addresses of the node, if the full tree gives it any; else that it exists.
    Addresses,
    /// As [`Needs::Addresses`]; or, if it is a service, one of its SRV.
    Service,
    /// A mail host: it exists, and is no hidden host, or one that keeps its mail (D7).
    Mail,
    /// The cut or DNAME that answers for names below the node.
    Redirection,
    /// The name does not exist; the node is its closest encloser, and must not be a hidden host (F08).
    Encloser,
}

/// A name in RDATA, on its way to the node that answers it.
pub(super) struct Reference {
    pub(super) from: Referrer,
    pub(super) to: Name,
    /// DNAMEs on the way here.
    pub(super) steps: usize,
}

/// Whether outsiders do not get from this node what a record needs of it.
pub(super) fn is_lost(node: &Node<'_>, needs: Needs) -> bool {
    node.is_dead
        || match needs {
            Needs::Addresses => node.has_lost_its_addresses(),
            Needs::Service => node.has_lost_its_addresses() || node.is_hidden_service,
            Needs::Mail => node.is_hidden_host && !node.keeps_mail,
            Needs::Redirection => node.is_dname && node.live_dname == 0,
            Needs::Encloser => node.is_hidden_host,
        }
}

/// Where a name leads, after all DNAMEs.
enum End {
    /// No zone here has it.
    Elsewhere,
    /// Through more DNAMEs than are followed, under a hidden suffix, or into a zone that does not exist outside.
    Lost,
    /// Into a zone in which nothing is hidden.
    Whole(usize),
    At(usize, Answering),
}

/// The property of the node that answers, if a record needs `of_target` of its target.
fn needed(answering: Answering, of_target: Needs) -> Needs {
    match answering {
        Answering::Own(_) => of_target,
        Answering::Above(_) => Needs::Redirection,
        Answering::Nothing { .. } => Needs::Encloser,
    }
}

impl Closure<'_> {
    /// Makes a record depend on what a name in its RDATA leads to.
    pub(super) fn refer_from(&mut self, zone: usize, lead: Lead) {
        let is_pointer = self.zones[zone].records[lead.record as usize].rtype == Type::PTR;
        let needs = match (lead.is_mailbox, is_pointer) {
            (true, _) => Needs::Mail,
            (false, true) => Needs::Service,
            (false, false) => Needs::Addresses,
        };
        self.refer(Reference {
            from: Referrer { zone, record: lead.record, needs },
            to: lead.name,
            steps: 0,
        });
    }

    /// Makes the record depend on the node that answers the name.
    pub(super) fn refer(&mut self, reference: Reference) {
        let Reference { from, to, steps } = &reference;
        if self.is_unknown(to.as_wire()) {
            self.doubt_lead(*from);
        }
        let Some(zone) = self.zone_of(to.as_wire()) else { return };
        let state = &mut self.states[zone];
        if state.internal.is_some() {
            return self.betrays(*from);
        }
        let Some(nodes) = &state.nodes else { return state.waiting.push(reference) };
        let answering = nodes.answering(to.as_wire());
        let substituted = substitute(self.zones[zone], nodes, answering, to.as_wire());
        let here = Referrer { needs: needed(answering, from.needs), ..*from };
        let is_lost = is_lost(&nodes.list[answering.node() as usize], here.needs);
        state.referrers.entry(answering.node()).or_default().push(here);
        match substituted {
            _ if is_lost => self.betrays(*from),
            None => {}
            // A maze that no resolver follows to its end may not lead outsiders to its end either.
            Some(to) if *steps == MOST_FOLLOWED || self.names.rule(to.as_wire()).is_some() => {
                self.betrays(*from);
            }
            Some(to) => self.refer(Reference { from: *from, to, steps: steps + 1 }),
        }
    }

    pub(super) fn betrays(&mut self, Referrer { zone, record, .. }: Referrer) {
        let rtype = self.zones[zone].records[record as usize].rtype;
        self.worklist.push_back(match self.is_published(zone, record) {
            true => Work::Fade { zone, record },
            false => Work::Hide { zone, record, why: closure_rule(rtype) },
        });
    }

    /// D7: whether one of the public MX of this node leads to a public address, as far as is known here.
    pub(super) fn gets_mail(&mut self, zone: usize, id: NodeId) -> bool {
        let state = &self.states[zone];
        let nodes = state.nodes.as_ref().expect("the zone is active");
        let records = &self.zones[zone].records;
        let is_public_mx =
            |at: &&u32| records[**at as usize].rtype == Type::MX && state.why[**at as usize].is_none();
        let targets: Vec<Name> = nodes
            .records(id)
            .iter()
            .filter(is_public_mx)
            .flat_map(|at| rdata::names(Type::MX, &records[*at as usize].rdata))
            .filter_map(|(_, wire)| Name::from_wire(wire).ok().filter(|name| !name.is_root()))
            .collect();
        targets.into_iter().any(|target| self.takes_mail(target))
    }

    /// Whether the name leads to a public address, as far as is known here, through aliases and DNAMEs.
    fn takes_mail(&mut self, mut target: Name) -> bool {
        let mut followed = 0;
        while followed <= MOST_FOLLOWED {
            // A draft does not say that something is not there.
            let is_unknown = self.is_unknown(target.as_wire());
            match self.end(target.clone()) {
                End::Elsewhere => return true,
                End::Whole(zone) => self.activate(zone),
                End::Lost => return false,
                End::At(zone, Answering::Nothing { encloser }) => {
                    return is_unknown && !is_lost(self.node(zone, encloser), Needs::Encloser);
                }
                End::At(zone, Answering::Above(id)) => return !self.node(zone, id).is_dead,
                End::At(zone, Answering::Own(id)) => match self.alias_at(zone, id) {
                    Some(next) => (target, followed) = (next, followed + 1),
                    None => {
                        let node = self.node(zone, id);
                        let may_have_some = node.addresses == 0 && (node.is_cut || is_unknown);
                        return !node.is_dead && (node.live_addresses > 0 || may_have_some);
                    }
                },
            }
        }
        false
    }

    /// Where the public alias leads that is all that this node has for an address.
    fn alias_at(&self, zone: usize, id: NodeId) -> Option<Name> {
        let (node, nodes) = (self.node(zone, id), self.nodes(zone));
        let (records, why) = (&self.zones[zone].records, &self.states[zone].why);
        let is_public_alias =
            |at: &&u32| records[**at as usize].rtype == Type::CNAME && why[**at as usize].is_none();
        let alias = nodes.records(id).iter().find(is_public_alias).filter(|_| node.live_addresses == 1)?;
        Name::from_wire(&records[*alias as usize].rdata).ok()
    }

    /// Whether a name that no hidden suffix covers is a hidden target.
    pub(in super::super) fn is_hidden_target(&self, name: &Name) -> bool {
        self.is_lost_at_the_end(name, Needs::Addresses)
    }

    /// Whether the full tree has this very name, and outsiders get nothing of it.
    pub(in super::super) fn is_hidden_name(&self, name: &Name) -> bool {
        match self.end(name.clone()) {
            End::At(zone, answering @ Answering::Own(id)) => {
                let node = self.node(zone, id);
                node.name == name.as_wire() && is_lost(node, needed(answering, Needs::Mail))
            }
            _ => false,
        }
    }

    /// Whether the host of a mailbox is hidden.
    pub(in super::super) fn is_hidden_mail_host(&self, name: &Name) -> bool {
        self.is_lost_at_the_end(name, Needs::Mail)
    }

    fn is_lost_at_the_end(&self, name: &Name, needs: Needs) -> bool {
        match self.end(name.clone()) {
            End::Elsewhere | End::Whole(_) => false,
            End::Lost => true,
            End::At(zone, answering) => is_lost(self.node(zone, answering.node()), needed(answering, needs)),
        }
    }

    fn end(&self, mut name: Name) -> End {
        for _ in 0..=MOST_FOLLOWED {
            if self.names.rule(name.as_wire()).is_some() {
                return End::Lost;
            }
            if self.doubts.has_begun() && self.is_unknown(name.as_wire()) {
                return End::Lost;
            }
            let Some(zone) = self.zone_of(name.as_wire()) else { return End::Elsewhere };
            let state = &self.states[zone];
            if state.internal.is_some() {
                return End::Lost;
            }
            let Some(nodes) = &state.nodes else { return End::Whole(zone) };
            let answering = nodes.answering(name.as_wire());
            match substitute(self.zones[zone], nodes, answering, name.as_wire()) {
                Some(to) if nodes.list[answering.node() as usize].live_dname > 0 => name = to,
                _ => return End::At(zone, answering),
            }
        }
        End::Lost
    }
}

/// Where the DNAME at this node leads the name (RFC 6672 §2.2); none if it has none or the result is too long.
pub(super) fn substitute(zone: &Zone, nodes: &Nodes<'_>, answering: Answering, wire: &[u8]) -> Option<Name> {
    let Answering::Above(id) = answering else { return None };
    let node = &nodes.list[id as usize];
    let prefix = wire.strip_suffix(node.name).filter(|prefix| !prefix.is_empty() && node.is_dname)?;
    let records = nodes.records(id).iter().map(|index| &zone.records[*index as usize]);
    let target = &records.into_iter().find(|record| record.rtype == Type::DNAME)?.rdata;
    let whole = [prefix, target].concat();
    Name::from_wire(&whole).ok().filter(|_| whole.len() <= MAX_NAME_BYTES)
}
