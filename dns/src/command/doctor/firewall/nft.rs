//! Rules as `nft -j list ruleset` writes them (libnftables-json(5)).

use std::ops::RangeInclusive;

use serde_json::Value;

use super::super::Carrier;
use super::{Chain, Condition, Rule, Tool, Verdict};

/// The chains of a text; none if it is no ruleset.
pub(super) fn chains(text: &str) -> Option<Vec<Chain>> {
    let document: Value = serde_json::from_str(text).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let mut chains: Vec<Chain> = objects.iter().filter_map(|object| chain(object.get("chain")?)).collect();
    for written in objects.iter().filter_map(|object| object.get("rule")) {
        let name = name(written, "chain");
        if let Some(chain) = chains.iter_mut().find(|chain| Some(&chain.name) == name.as_ref()) {
            chain.rules.push(rule(written));
        }
    }
    Some(chains)
}

fn name(object: &Value, key: &str) -> Option<String> {
    let part = |key: &str| object.get(key)?.as_str();
    Some(format!("{} {} {}", part("family")?, part("table")?, part(key)?))
}

fn chain(written: &Value) -> Option<Chain> {
    let text = |key: &str| written.get(key).and_then(Value::as_str);
    let is_v4 = match text("family")? {
        "ip" => Some(true),
        "ip6" => Some(false),
        "inet" => None,
        // Of bridges, ARP and devices.
        _ => return None,
    };
    let is_of_input = text("type") == Some("filter") && text("hook") == Some("input");
    let drops = is_of_input.then(|| text("policy") == Some("drop"));
    Some(Chain { name: name(written, "name")?, is_v4, drops, rules: Vec::new(), tool: Tool::Nft })
}

fn rule(written: &Value) -> Rule {
    let mut rule = Rule::default();
    for expression in written.get("expr").and_then(Value::as_array).into_iter().flatten() {
        let Some((word, inner)) = expression.as_object().and_then(|it| it.iter().next()) else { continue };
        let target = || inner.get("target").and_then(Value::as_str).unwrap_or_default().to_owned();
        match word.as_str() {
            "accept" => rule.verdict = Some(Verdict::Accept),
            "drop" | "reject" => rule.verdict = Some(Verdict::Drop),
            "jump" | "goto" => rule.verdict = Some(Verdict::Jump(target())),
            "return" => rule.verdict = Some(Verdict::Return),
            "counter" | "log" | "comment" => {}
            "match" => rule.conditions.extend(conditions(inner)),
            _ => rule.conditions.push(Condition::Other),
        }
    }
    rule
}

fn conditions(written: &Value) -> Vec<Condition> {
    let at = |path: &str| written.pointer(path).and_then(Value::as_str);
    let right = written.get("right").unwrap_or(&Value::Null);
    if !matches!(at("/op"), Some("==" | "in")) {
        return vec![Condition::Other];
    }
    if at("/left/payload/field") == Some("dport") {
        let carrier = match at("/left/payload/protocol") {
            Some("tcp") => Some(Condition::Carrier(Carrier::Tcp)),
            Some("udp") => Some(Condition::Carrier(Carrier::Udp)),
            Some("th") => None,
            _ => Some(Condition::First(false)),
        };
        let ports = ports(right).map_or(Condition::Other, Condition::Ports);
        return carrier.into_iter().chain([ports]).collect();
    }
    let condition = match (at("/left/meta/key"), at("/left/ct/key"), right.as_str()) {
        (Some("l4proto"), _, Some("tcp")) => Condition::Carrier(Carrier::Tcp),
        (Some("l4proto"), _, Some("udp")) => Condition::Carrier(Carrier::Udp),
        (Some("iif" | "iifname"), _, Some("lo")) => Condition::Loopback,
        (_, Some("state"), _) => Condition::First(words(right).any(|word| word == "new")),
        _ => Condition::Other,
    };
    vec![condition]
}

/// One value, a list of some, or a set.
fn values(right: &Value) -> Vec<&Value> {
    match right.get("set").unwrap_or(right) {
        Value::Array(all) => all.iter().collect(),
        one => vec![one],
    }
}

fn words(right: &Value) -> impl Iterator<Item = &str> {
    values(right).into_iter().filter_map(Value::as_str)
}

/// None: they stand elsewhere, as in a named set.
fn ports(right: &Value) -> Option<Vec<RangeInclusive<u16>>> {
    let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
    let range = |value: &Value| match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([from, to]) => Some(number(from)?..=number(to)?),
        _ => number(value).map(|port| port..=port),
    };
    values(right).into_iter().map(range).collect()
}
