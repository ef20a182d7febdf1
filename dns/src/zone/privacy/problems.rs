//! What the author must or should know of a zone that was divided: errors (D13, D15), warnings, notes.

use std::collections::HashSet;
use std::fmt;

use super::closure::{Closure, State};
use super::direct::Facts;
use super::nodes::{NONE, NodeId, Nodes};
use super::outside::{self, Outside, Soa};
use super::{Hidden, Rule};
use crate::rtype::Type;
use crate::zone::{Mark, Problem, Record, Severity, Zone};

pub(super) fn find(index: usize, facts: &Facts, closure: &Closure<'_>, outside: &Outside) -> Vec<Problem> {
    let zone = closure.zones[index];
    let state = closure.state(index);
    if outside.selection.is_none() {
        return marks_in_vain(zone).into_iter().collect();
    }
    let mut found = Vec::new();
    match no_public_server(zone, state, outside) {
        Some(error) => found.push(error),
        None => found.extend(outside.soa.and_then(|soa| replaced_in_soa(zone, soa))),
    }
    found.extend(signed(zone, &outside.hidden));
    if let Some(nodes) = &state.nodes {
        let full = Full { zone, state, nodes };
        found.extend(full.last_mx());
        found.extend(facts.marked.iter().filter_map(|at| full.shows_hidden_host(*at)));
        found.extend(full.mail_without_keys());
    }
    found.extend(mark_only(zone, &outside.hidden));
    found.extend(facts.documentation.map(|at| documentation(&zone.records[at as usize])));
    found
}

/// How many records a message names before it says "and N more".
const MAX_NAMED: usize = 3;

/// Records as a message names them: `db.example.com. A (line 7)`.
struct Named<'a>(Vec<&'a Record>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, record) in self.0.iter().take(MAX_NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {} (line {})", record.owner, record.rtype, record.at.line)?;
        }
        match self.0.len().checked_sub(MAX_NAMED) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// D13: public data, but every apex NS is hidden; or no public server can stand in for a hidden MNAME.
fn no_public_server(zone: &Zone, state: &State<'_>, outside: &Outside) -> Option<Problem> {
    if outside::first_public_ns(zone, state).is_some() {
        return None;
    }
    let is_apex_ns = |record: &&Record| record.rtype == Type::NS && record.owner == zone.apex;
    let servers: Vec<&Record> = zone.records.iter().filter(is_apex_ns).collect();
    let soa = outside.soa.filter(|soa| soa.mname_hidden).map(|soa| &zone.records[soa.record as usize]);
    let (at, message) = match (servers.first(), soa) {
        (Some(first), _) => (
            first.at,
            format!("the zone has public data, but all its name servers are hidden: {}", Named(servers)),
        ),
        (None, Some(soa)) => {
            (soa.at, "the primary server is hidden, and no public NS can stand in for it".into())
        }
        (None, None) => return None,
    };
    let help = "add an NS whose host has a public address, publish one with `; verge: public`, or declare the zone \
                internal";
    Some(problem(Severity::Error, Rule::D13, at, message, help))
}

/// D15: a signature over what outsiders do not get is either broken or a leak.
fn signed(zone: &Zone, hidden: &[Hidden]) -> Option<Problem> {
    let of_signer =
        |record: &&Record| matches!(record.rtype, Type::RRSIG | Type::NSEC | Type::NSEC3 | Type::ZONEMD);
    if hidden.is_empty() {
        return None;
    }
    let first = zone.records.iter().find(of_signer)?;
    let gone = hidden.iter().map(|hidden| &zone.records[hidden.record as usize]).collect();
    Some(Problem {
        severity: Severity::Error,
        code: "D15",
        at: Some(first.at),
        message: format!(
            "the file is signed ({}), but outsiders must not see all of it: {}",
            first.rtype,
            Named(gone)
        ),
        help: Some("load the unsigned file, or move what is internal to a zone of its own".into()),
    })
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
        zone.records.iter().filter(|record| record.mark == Some(Mark::Public)).collect();
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

fn documentation(record: &Record) -> Problem {
    let message =
        format!("{} {} has a documentation address, which counts as public", record.owner, record.rtype);
    problem(Severity::Note, Rule::D1, record.at, message, "replace it before the zone goes live")
}

fn problem(
    severity: Severity,
    rule: Rule,
    at: crate::zone::Position,
    message: String,
    help: &str,
) -> Problem {
    Problem { severity, code: rule.as_str(), at: Some(at), message, help: Some(help.into()) }
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

    /// D7 keeps the MX of a hidden host, but not DKIM and DMARC below it.
    fn mail_without_keys(&self) -> Vec<Problem> {
        let mut told = HashSet::new();
        let mut found = Vec::new();
        for (at, record) in (0..).zip(&self.zone.records) {
            let id = self.nodes.of_record[at as usize];
            if self.is_public(at)
                || record.rtype != Type::TXT
                || !is_mail_policy(self.nodes.list[id as usize].name)
            {
                continue;
            }
            let host = self.mail_host_above(id);
            if host.is_some_and(|host| told.insert(host)) {
                found.push(mail_policy_hidden(record));
            }
        }
        found
    }

    fn mail_host_above(&self, mut id: NodeId) -> Option<NodeId> {
        while let Some(node) = self.nodes.list.get(id as usize) {
            if node.is_hidden_host {
                return (node.live_mx > 0).then_some(id);
            }
            id = node.parent;
        }
        None
    }
}

fn is_mail_policy(wire: &[u8]) -> bool {
    let is_policy = |label: &[u8]| matches!(label, b"_dmarc" | b"_domainkey");
    crate::name::labels(wire).take(2).any(is_policy)
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

fn mail_policy_hidden(record: &Record) -> Problem {
    let message = format!("{} is hidden with its host, but the host's MX is public", record.owner);
    let help = "mark it `; verge: public` if outsiders get mail from there";
    problem(Severity::Warning, Rule::D7, record.at, message, help)
}
