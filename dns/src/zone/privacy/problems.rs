//! Problems that the author of a divided zone must or should know: errors (D13, D15), warnings, notes.

use super::closure::{Closure, State};
use super::direct::{self, Facts};
use super::hints;
use super::names::HiddenNames;
use super::nodes::{NONE, NodeId, Nodes};
use super::outside::{self, Outside, Soa};
use super::wording::{Named, problem};
use super::{Hidden, Rule, Rules, shown};
use crate::rdata;
use crate::rtype::Type;
use crate::zone::address::{self, bears_addresses};
use crate::zone::{Mark, Problem, Record, Severity, Zone};

pub(super) fn find(
    index: usize,
    facts: &Facts,
    closure: &Closure<'_>,
    names: &HiddenNames<'_>,
    rules: &Rules,
    outside: &Outside,
) -> Vec<Problem> {
    let zone = closure.zones[index];
    let state = closure.state(index);
    if facts.internal.is_some() {
        return marks_in_vain(zone).into_iter().collect();
    }
    let mut found = Vec::from_iter(facts.is_published.then(|| published(zone, facts, rules)).flatten());
    match state.internal {
        Some(Rule::D15) => found.push(signed(zone, facts, state)),
        Some(_) => found.extend(without_servers(zone, state)),
        None => found.extend(outside.soa.and_then(|soa| of_soa(zone, state, soa))),
    }
    if let Some(nodes) = state.nodes.as_ref().filter(|_| state.internal.is_none()) {
        let full = Full { zone, state, nodes };
        found.extend(full.last_mx());
        let marked = facts.marked.iter().filter(|_| !facts.is_published);
        found.extend(marked.filter_map(|at| full.shows_hidden_host(*at)));
    }
    if state.internal.is_none() {
        found.extend(shown::find(index, facts, closure, names, rules, outside));
        found.extend(mark_only(zone, &outside.hidden));
        found.extend(seen_by_nobody(zone, facts, &outside.hidden));
        found.extend(facts.documentation.map(|at| documentation(&zone.records[at as usize])));
    }
    found
}

/// D12, D13: every apex NS is hidden, so outside there is no such zone. That is what the author of an internal zone
/// wants, and a fault if something in it is of use to outsiders.
fn without_servers(zone: &Zone, state: &State<'_>) -> Option<Problem> {
    let is_left = |(at, record): &(usize, &Record)| state.why[*at].is_none() && record.rtype != Type::SOA;
    let left: Vec<&Record> =
        zone.records.iter().enumerate().filter(is_left).map(|(_, record)| record).collect();
    let is_data =
        |record: &&&Record| record.mark.is_some_and(Mark::publishes) || bears_addresses(record.rtype);
    let data: Vec<&Record> = left.iter().filter(is_data).copied().collect();
    // The names in the records that are left lead to other people's zones.
    let leads = |record: &&&Record| !rdata::names(record.rtype, &record.rdata).is_empty();
    let foreign: Vec<&Record> = left.iter().filter(leads).copied().collect();
    let is_apex_ns = |record: &&Record| record.rtype == Type::NS && record.owner == zone.apex;
    let servers: Vec<&Record> = zone.records.iter().filter(is_apex_ns).collect();
    let at = servers.first()?.at;
    let (severity, public) =
        if data.is_empty() { (Severity::Warning, foreign) } else { (Severity::Error, data) };
    if public.is_empty() {
        return None;
    }
    let message = format!(
        "outsiders get nothing of this zone, since all its name servers are hidden ({}), though it has public data: {}",
        Named(servers),
        Named(public)
    );
    let help = format!(
        "add an NS whose host has a public address, publish one with `; verge: public`, or say that the zone is \
         internal: `[internal] zones = [\"{}\"]`",
        zone.apex.to_string().trim_end_matches('.')
    );
    Some(Problem { severity, code: Rule::D13.as_str(), at: Some(at), message, help: Some(help) })
}

/// D15: a signature over what outsiders do not get is either broken or a leak.
fn signed(zone: &Zone, facts: &Facts, state: &State<'_>) -> Problem {
    let first = zone.records.iter().find(|record| direct::is_of_signer(record.rtype));
    let hidden = || (0..).zip(&state.why).filter_map(|(at, why)| Some((at, (*why)?)));
    // A record that goes only with others says nothing new.
    let is_cause = |why: Rule| !matches!(why, Rule::D6 | Rule::D7 | Rule::D13);
    let has_cause = !facts.stripped.is_empty() || hidden().any(|(_, why)| is_cause(why));
    let of_closure = hidden().filter(|(_, why)| !has_cause || is_cause(*why)).map(|(at, _)| at);
    let of_soa = (0..).zip(&zone.records).filter(|(_, record)| record.rtype == Type::SOA).map(|(at, _)| at);
    let mut gone: Vec<u32> = of_closure.chain(facts.stripped.iter().map(|(at, _)| *at)).collect();
    if gone.is_empty() {
        gone.extend(of_soa);
    }
    gone.sort_unstable();
    gone.dedup();
    let gone = Named(gone.into_iter().map(|at| &zone.records[at as usize]).collect());
    let by = first.map_or(Type::RRSIG, |record| record.rtype);
    let hint = hidden_hint(zone, facts).map_or(String::new(), |hint| format!("; {hint}"));
    let message = format!(
        "outsiders get nothing of this zone: it is signed ({by}), and they must not see all of it: {gone}{hint}"
    );
    let help = "move what is internal to a zone of its own and sign again, or publish it with `; verge: public`; \
                an unsigned file is safe only after the parent's DS is gone, since validators refuse the zone until then";
    Problem {
        severity: Severity::Error,
        code: Rule::D15.as_str(),
        at: first.map(|record| record.at),
        message,
        help: Some(help.into()),
    }
}

/// The first hint that repeats an address that is hidden where its record leads to.
fn hidden_hint(zone: &Zone, facts: &Facts) -> Option<String> {
    let (at, hidden) = facts.hidden_hints.iter().min_by_key(|(at, _)| **at)?;
    let record = &zone.records[*at as usize];
    let address = hints::addresses(&record.rdata).find(|address| hidden.contains(address))?;
    let target = hints::target(record)?;
    Some(format!("the hint {address} is an address that {target} has for insiders alone"))
}

fn of_soa(zone: &Zone, state: &State<'_>, soa: Soa) -> Option<Problem> {
    if !soa.mname_hidden || outside::first_public_ns(zone, state).is_some() {
        return replaced_in_soa(zone, soa);
    }
    let message = "the primary server is hidden, and no public NS can stand in for it".to_owned();
    let help = "add an NS whose host has a public address";
    let at = zone.records[soa.record as usize].at;
    Some(problem(Severity::Error, Rule::D13, at, message, help))
}

fn replaced_in_soa(zone: &Zone, soa: Soa) -> Option<Problem> {
    let what = match (soa.mname_hidden, soa.rname_hidden) {
        (true, true) => "primary server and mailbox",
        (true, false) => "primary server",
        (false, true) => "mailbox",
        (false, false) => return None,
    };
    let message = format!("outside, the SOA shows another {what} than the one written here, which is hidden");
    let help = "name a public one if outsiders should see it";
    Some(problem(Severity::Note, Rule::D13, zone.records[soa.record as usize].at, message, help))
}

/// A public mark cannot publish a record of a zone that does not exist outside.
fn marks_in_vain(zone: &Zone) -> Option<Problem> {
    let marked: Vec<&Record> =
        zone.records.iter().filter(|record| record.mark.is_some_and(Mark::publishes)).collect();
    let at = marked.first()?.at;
    let message = format!("`; verge: public` has no effect in an internal zone: {}", Named(marked));
    Some(problem(
        Severity::Warning,
        Rule::D12,
        at,
        message,
        "move the record to a public zone, or drop the mark",
    ))
}

/// Marks are comments, and formatters and transfers lose comments.
fn mark_only(zone: &Zone, hidden: &[Hidden]) -> Option<Problem> {
    let by_mark = hidden.iter().filter(|hidden| hidden.why == Rule::Mark);
    let records: Vec<&Record> = by_mark.map(|hidden| &zone.records[hidden.record as usize]).collect();
    let at = records.first()?.at;
    let message = format!("only a comment hides this: {}", Named(records));
    Some(problem(
        Severity::Note,
        Rule::Mark,
        at,
        message,
        "`internal_names` in the config outlives formatters and transfers",
    ))
}

/// `[public] zones`: said so that nobody has to look into the config to see why.
fn published(zone: &Zone, facts: &Facts, rules: &Rules) -> Option<Problem> {
    let at = zone.records.iter().find(|record| record.rtype == Type::SOA)?.at;
    let is_hidden = |at: &&u32| {
        let record = &zone.records[**at as usize];
        let addresses = address::addresses(record.rtype, &record.rdata);
        addresses.into_iter().any(|address| address::hidden(address, &rules.private).is_some())
    };
    let addresses = facts.marked.iter().filter(is_hidden).count();
    let message = format!(
        "`[public] zones` publishes everything in {} on purpose; {addresses} of its records hold private addresses",
        zone.apex
    );
    Some(Problem { severity: Severity::Note, code: "public-zone", at: Some(at), message, help: None })
}

/// `; verge: outside` takes a record from insiders, and another rule takes it from outsiders.
fn seen_by_nobody(zone: &Zone, facts: &Facts, hidden: &[Hidden]) -> Option<Problem> {
    let hidden = |at: &&u32| hidden.binary_search_by_key(*at, |hidden| hidden.record).is_ok();
    let records: Vec<&Record> =
        facts.outside_only.iter().filter(hidden).map(|at| &zone.records[*at as usize]).collect();
    let at = records.first()?.at;
    let message =
        format!("nobody gets this: it is marked `; verge: outside`, and hidden outside: {}", Named(records));
    Some(problem(
        Severity::Warning,
        Rule::Mark,
        at,
        message,
        "`; verge: public` publishes a record to both sides",
    ))
}

fn documentation(record: &Record) -> Problem {
    let message =
        format!("{} {} has a documentation address, which counts as public", record.owner, record.rtype);
    problem(Severity::Note, Rule::D1, record.at, message, "replace it before the zone goes live")
}

/// A zone with its full tree.
struct Full<'a> {
    zone: &'a Zone,
    state: &'a State<'a>,
    nodes: &'a Nodes<'a>,
}

impl Full<'_> {
    fn is_public(&self, at: u32) -> bool {
        self.state.why[at as usize].is_none()
    }

    fn of_type(&self, id: NodeId, rtype: Type) -> impl Iterator<Item = u32> {
        self.nodes
            .records(id)
            .iter()
            .copied()
            .filter(move |at| self.zone.records[*at as usize].rtype == rtype)
    }

    /// D19: without its MX, mail for a name goes to its address (RFC 5321 §5.1).
    fn last_mx(&self) -> Vec<Problem> {
        let ids =
            (0..).zip(&self.nodes.list).filter(|(_, node)| node.live_mx == 0 && node.live_addresses > 0);
        let hidden = ids.filter_map(|(id, _)| self.of_type(id, Type::MX).next());
        hidden.map(|at| last_mx_hidden(&self.zone.records[at as usize])).collect()
    }

    /// D7: a marked record below a hidden host shows that the host exists.
    fn shows_hidden_host(&self, at: u32) -> Option<Problem> {
        if !self.is_public(at) {
            return None;
        }
        let record = &self.zone.records[at as usize];
        let mut id = self.nodes.of_record[at as usize];
        while id != NONE && !self.nodes.list[id as usize].is_hidden_host {
            id = self.nodes.list[id as usize].parent;
        }
        let host = self
            .zone
            .records
            .get(*self.nodes.records(self.nodes.list.get(id as usize).map(|_| id)?).first()? as usize)?;
        let message = format!(
            "{} {} is published and so shows outsiders that {} exists",
            record.owner, record.rtype, host.owner
        );
        let help =
            "publish it only while it is needed, or use a wildcard certificate or a CNAME to an opaque name";
        Some(problem(Severity::Warning, Rule::D7, record.at, message, help))
    }
}

fn last_mx_hidden(record: &Record) -> Problem {
    let message = format!("outside {} has no MX left, so mail for it goes to its address", record.owner);
    let help = "publish an MX with a public host, or `MX 0 .` if it takes no mail (RFC 7505)";
    Problem {
        severity: Severity::Warning,
        code: "D19",
        at: Some(record.at),
        message,
        help: Some(help.into()),
    }
}
