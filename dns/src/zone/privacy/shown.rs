//! Notes on public records that mention hidden hosts, and on records that outsiders miss. The author decides.

use super::closure::{Closure, State};
use super::direct::Facts;
use super::mention::{self, Mention};
use super::names::{HiddenNames, is_hidden_whole};
use super::nodes::{NONE, Node, NodeId, Nodes};
use super::outside::Outside;
use super::wording::{Named, problem};
use super::{Rule, Rules};
use crate::name;
use crate::rtype::Type;
use crate::zone::{Mark, Problem, Record, Severity, Zone};

/// Texts of one zone that are told one by one; more are counted.
const MAX_TOLD: usize = 100;

/// Of a zone that outsiders see.
pub(super) fn find(
    index: usize,
    facts: &Facts,
    closure: &Closure<'_>,
    names: &HiddenNames<'_>,
    rules: &Rules,
    outside: &Outside,
) -> Vec<Problem> {
    let (zone, state) = (closure.zones[index], closure.state(index));
    let texts = Texts { zone, state, closure, names, rules };
    let mut found = texts.find(facts);
    if let Some(nodes) = &state.nodes {
        let full = Full { zone, state, nodes };
        found.extend(full.validation_hidden());
        found.extend(full.mail_policies_hidden());
        found.extend(full.one_family());
    }
    found.extend(only_servers(zone, state, outside));
    found
}

/// D19: text that outsiders get.
struct Texts<'a> {
    zone: &'a Zone,
    state: &'a State<'a>,
    closure: &'a Closure<'a>,
    names: &'a HiddenNames<'a>,
    rules: &'a Rules,
}

impl Texts<'_> {
    fn find(&self, facts: &Facts) -> Vec<Problem> {
        let is_public = |at: u32| self.state.why.get(at as usize).is_none_or(Option::is_none);
        let mut last = None;
        let mut found = Vec::new();
        let mut more = 0;
        for (at, mention) in facts.mentions.iter().filter(|(at, _)| is_public(*at)) {
            if last == Some(*at) {
                continue;
            }
            let Some(told) = self.hidden(mention) else { continue };
            last = Some(*at);
            match found.len() < MAX_TOLD {
                true => found.push(text_tells(&self.zone.records[*at as usize], &told)),
                false => more += 1,
            }
        }
        found
            .extend(facts.registered.iter().filter(|at| is_public(**at)).filter_map(|at| self.registry(*at)));
        if more > 0 {
            let message = format!("{more} more texts tell outsiders of what is hidden");
            found.push(Problem { severity: Severity::Warning, code: D19, at: None, message, help: None });
        }
        found
    }

    fn hidden(&self, mention: &Mention) -> Option<String> {
        match mention {
            Mention::Net(net) if !is_hidden_whole(*net, &self.rules.private) => None,
            Mention::Net(net) if net.prefix_len() == net.max_prefix_len() => {
                Some(format!("the address {}", net.addr()))
            }
            Mention::Net(net) => Some(format!("the network {net}")),
            Mention::Name(name) if self.names.rule(name.as_wire()).is_some() => {
                Some(format!("the internal name {name}"))
            }
            // An apex is no secret, and a host that takes mail is not either.
            Mention::Name(name) => {
                self.closure.is_hidden_mail_host(name).then(|| format!("the hidden host {name}"))
            }
        }
    }

    /// external-dns notes which names it keeps in texts of their own.
    fn registry(&self, at: u32) -> Option<Problem> {
        let record = &self.zone.records[at as usize];
        let about = mention::registered(record).into_iter().find(|name| self.closure.is_hidden_name(name))?;
        let message = format!("this text is external-dns's note on {about}, which is hidden");
        Some(warning(D19, record, message, MARKS))
    }
}

const D19: &str = "D19";
const MARKS: &str =
    "remove it, or end the line with `; verge: internal` to hide it or `; verge: public` to publish it";

fn text_tells(record: &Record, told: &str) -> Problem {
    warning(D19, record, format!("this {} record tells outsiders of {told}", record.rtype), MARKS)
}

fn warning(code: &'static str, record: &Record, message: String, help: &str) -> Problem {
    Problem { severity: Severity::Warning, code, at: Some(record.at), message, help: Some(help.into()) }
}

/// F21: outsiders see that the zone is there, and nothing in it.
fn only_servers(zone: &Zone, state: &State<'_>, outside: &Outside) -> Option<Problem> {
    if state.why.iter().all(Option::is_none) {
        return None;
    }
    let is_frame = |record: &Record| {
        record.rtype == Type::SOA || (record.rtype == Type::NS && record.owner == zone.apex)
    };
    let mut public = outside.selection.iter().flat_map(|selection| selection.records(zone));
    if public.any(|seen| !is_frame(seen.record)) {
        return None;
    }
    let message =
        format!("outside, {} is only SOA and NS records: everything else in it is hidden", zone.apex);
    let help = format!(
        "if outsiders need not know of it: `[internal] zones = [\"{}\"]`",
        zone.apex.to_string().trim_end_matches('.')
    );
    let at = zone.records.iter().find(|record| record.rtype == Type::SOA)?.at;
    Some(problem(Severity::Note, Rule::D12, at, message, &help))
}

/// A zone with its full tree.
struct Full<'a> {
    zone: &'a Zone,
    state: &'a State<'a>,
    nodes: &'a Nodes<'a>,
}

impl<'a> Full<'a> {
    fn is_public(&self, at: u32) -> bool {
        self.state.why[at as usize].is_none()
    }

    /// A certificate authority asks for these from outside (RFC 8555 §8.4).
    fn validation_hidden(&self) -> Option<Problem> {
        let records = self.hidden_with_a_host(|label| label == b"_acme-challenge");
        let at = records.first()?.at;
        let message = format!(
            "hidden with its host, but a certificate authority asks for it from outside: {}",
            Named(records)
        );
        let help = "mark it `; verge: public` (outsiders then learn that the name exists), or use a wildcard certificate";
        Some(problem(Severity::Warning, Rule::D7, at, message, help))
    }

    /// Receivers of mail from a host ask for these (RFC 7489 §6.6.3, RFC 6376 §6.1.2).
    fn mail_policies_hidden(&self) -> Option<Problem> {
        let records = self.hidden_with_a_host(|label| matches!(label, b"_dmarc" | b"_domainkey"));
        let at = records.first()?.at;
        let message =
            format!("hidden with its host, but mail servers outside ask for it: {}", Named(records));
        let help = "mark it `; verge: public` if the host sends mail to the outside";
        Some(problem(Severity::Note, Rule::D7, at, message, help))
    }

    /// Hidden records at and below a label under a hidden host.
    fn hidden_with_a_host(&self, is_it: impl Fn(&[u8]) -> bool) -> Vec<&'a Record> {
        let records = (0..).zip(&self.zone.records);
        let hidden =
            records.filter(|(at, record)| !self.is_public(*at) && record.mark != Some(Mark::Internal));
        let below =
            hidden.filter(|(at, _)| self.is_below_a_hidden_host(self.nodes.of_record[*at as usize], &is_it));
        below.map(|(_, record)| record).collect()
    }

    fn is_below_a_hidden_host(&self, mut id: NodeId, is_it: &impl Fn(&[u8]) -> bool) -> bool {
        let mut has_label = false;
        while id != NONE {
            let node = &self.nodes.list[id as usize];
            if node.is_hidden_host && has_label {
                return true;
            }
            has_label |= name::labels(node.name).next().is_some_and(is_it);
            id = node.parent;
        }
        false
    }

    /// D5: names that have addresses of one family outside and of the other inside.
    fn one_family(&self) -> Vec<Problem> {
        let split = self.nodes.list.iter().zip(0..).filter(|(node, _)| is_split(node));
        let (mut lost, mut left) = (Vec::new(), Vec::new());
        for (_, id) in split {
            let of = |rtype, public| {
                self.nodes.records(id).iter().copied().find(|at| {
                    self.zone.records[*at as usize].rtype == rtype && self.is_public(*at) == public
                })
            };
            match (of(Type::A, false), of(Type::AAAA, false), of(Type::A, true), of(Type::AAAA, true)) {
                (Some(_), None, _, Some(public)) => lost.push(&self.zone.records[public as usize]),
                (None, Some(_), Some(public), _) => left.push(&self.zone.records[public as usize]),
                _ => {}
            }
        }
        lost.first()
            .map(|first| family_lost(first, &lost))
            .into_iter()
            .chain(left.first().map(|first| family_left(first, &left)))
            .collect()
    }
}

fn is_split(node: &Node<'_>) -> bool {
    node.live_addresses > 0 && node.addresses > node.live_addresses
}

fn family_lost(first: &Record, records: &[&Record]) -> Problem {
    let message = format!(
        "its IPv4 address is internal, but outsiders get this IPv6 address and what else the name owns; insiders do not \
         get it: {}",
        Named(records.to_vec())
    );
    let help = "mark it `; verge: internal` if the name is internal (`internal_names` does so for the whole name); give \
                the name an internal AAAA if insiders need IPv6";
    problem(Severity::Note, Rule::D5, first.at, message, help)
}

fn family_left(first: &Record, records: &[&Record]) -> Problem {
    let message = format!(
        "its IPv6 address is internal, but there is no internal IPv4 address, so insiders get this one, too: {}",
        Named(records.to_vec())
    );
    let help = "give the name an internal A if insiders must not go to the public address";
    problem(Severity::Note, Rule::D5, first.at, message, help)
}
