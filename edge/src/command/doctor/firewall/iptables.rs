//! Rules as `iptables-save` writes them (iptables-save(8)).

use std::ops::RangeInclusive;

use super::super::Carrier;
use super::{Chain, Condition, Rule, Tool, Verdict};

/// The chains of the table `filter`, for IPv4 or IPv6.
pub(super) fn chains(text: &str, is_v4: bool) -> Vec<Chain> {
    let family = if is_v4 { "ip" } else { "ip6" };
    let mut chains: Vec<Chain> = Vec::new();
    let filter = text.lines().skip_while(|line| line.trim() != "*filter").skip(1);
    for line in filter.take_while(|line| !line.starts_with('*')) {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (name, policy) = (words.next().unwrap_or_default(), words.next());
            let drops = (name == "INPUT").then(|| policy == Some("DROP"));
            let name = format!("{family} filter {name}");
            chains.push(Chain { name, is_v4: Some(is_v4), drops, rules: Vec::new(), tool: Tool::Iptables });
        }
        if let Some((name, rest)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' ')) {
            let name = format!("{family} filter {name}");
            if let Some(chain) = chains.iter_mut().find(|chain| chain.name == name) {
                chain.rules.push(rule(rest));
            }
        }
    }
    chains
}

fn rule(text: &str) -> Rule {
    let mut rule = Rule::default();
    // A comment may hold anything, and says nothing.
    let (text, comment) = text.split_once("--comment ").unwrap_or((text, ""));
    let behind = match comment.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map_or("", |(_, behind)| behind),
        None => comment.split_once(' ').map_or("", |(_, behind)| behind),
    };
    let mut words = text.split_whitespace().chain(behind.split_whitespace());
    while let Some(word) = words.next() {
        match word {
            "-m" => drop(words.next()),
            "-p" => rule.conditions.push(carrier(words.next())),
            "--dport" | "--dports" => {
                rule.conditions.push(ports(words.next()).map_or(Condition::Other, Condition::Ports));
            }
            "-i" => {
                let is_lo = words.next() == Some("lo");
                rule.conditions.push(if is_lo { Condition::Loopback } else { Condition::Other });
            }
            "--ctstate" | "--state" => {
                let states = words.next().unwrap_or_default();
                rule.conditions.push(Condition::First(states.split(',').any(|state| state == "NEW")));
            }
            "-j" | "-g" => rule.verdict = verdict(words.next()),
            // The next word belongs to the verdict.
            "--reject-with" | "--log-prefix" | "--log-level" => drop(words.next()),
            "!" => {
                rule.conditions.push(Condition::Other);
                let _ = (words.next(), words.next());
            }
            word if word.starts_with('-') => rule.conditions.push(Condition::Other),
            _ => {}
        }
    }
    rule
}

fn carrier(word: Option<&str>) -> Condition {
    match word {
        Some("tcp") => Condition::Carrier(Carrier::Tcp),
        Some("udp") => Condition::Carrier(Carrier::Udp),
        Some("all") => Condition::First(true),
        _ => Condition::First(false),
    }
}

fn ports(word: Option<&str>) -> Option<Vec<RangeInclusive<u16>>> {
    let range = |text: &str| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    word?.split(',').map(range).collect()
}

fn verdict(word: Option<&str>) -> Option<Verdict> {
    match word? {
        "ACCEPT" => Some(Verdict::Accept),
        "DROP" | "REJECT" => Some(Verdict::Drop),
        "RETURN" => Some(Verdict::Return),
        // They count or mark, and the next rule follows.
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" => None,
        chain => Some(Verdict::Jump(chain.to_owned())),
    }
}
