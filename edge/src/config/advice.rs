//! Puts the messages of the TOML reader and serde into the operator's words, with advice.
//!
//! Pure: a message and the text that it is about go in; a message and a help text come out.

use std::ops::Range;

/// The reader's message as we say it, and the help that goes with it.
pub(super) fn explained(message: &str, text: &str, span: &Range<usize>) -> (String, Option<String>) {
    let message = message.lines().collect::<Vec<_>>().join("; ");
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(rest);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return unknown_value(rest);
    }
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let help = reference_line(key).map(|line| format!("write it, such as: {line}"));
        return (format!("`{key}` is missing"), help);
    }
    let written = text.get(span.clone()).unwrap_or_default();
    let help = of_type(&message, written).or_else(|| of_syntax(&message));
    (message, help)
}

/// serde gives the key and its neighbours in backquotes; there is no other way to learn them.
fn unknown_key(rest: &str) -> (String, Option<String>) {
    let (key, known) = quoted(rest);
    let near = nearest(key, &known);
    let help = match (near, home_of(key)) {
        // A key that is spelt right belongs elsewhere; a key that is nearly right was probably mistyped.
        (_, Some(section)) => belongs_to(key, section),
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, _) => format!("keys known here: {}", known.join(", ")),
    };
    (format!("unknown key `{key}`"), Some(help))
}

fn unknown_value(rest: &str) -> (String, Option<String>) {
    let (value, known) = quoted(rest);
    let help = match nearest(value, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of: {}", known.join(", ")),
    };
    (format!("unknown value `{value}`"), Some(help))
}

fn quoted(rest: &str) -> (&str, Vec<&str>) {
    let mut quoted = rest.split('`').skip(1).step_by(2);
    (quoted.next().unwrap_or_default(), quoted.collect())
}

fn belongs_to(key: &str, section: &str) -> String {
    match section {
        "" => format!("`{key}` belongs to no section: write it above the first [section]"),
        _ => format!("`{key}` belongs to {section}: write it below that line, above the next [section]"),
    }
}

/// Every setting stands in the reference, so it knows where each belongs.
const REFERENCE: &str = include_str!("../../reference.toml");

/// The section that has this key, as it is written; empty for the top of the file. None if no section or more than one
/// has it.
fn home_of(key: &str) -> Option<&'static str> {
    let mut section = "";
    let mut homes = Vec::new();
    for line in REFERENCE.lines() {
        let line = line.trim_start_matches("# ");
        if line.starts_with('[') {
            section = line.split_once(" #").map_or(line, |(section, _)| section).trim_end();
        } else if line.split_once(" = ").is_some_and(|(name, _)| name == key) {
            homes.push(section);
        }
    }
    match homes.as_slice() {
        [home] => Some(home),
        _ => None,
    }
}

/// The key with a value, as the reference has it.
fn reference_line(key: &str) -> Option<&'static str> {
    let is_it = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| name == key);
    let line = REFERENCE.lines().find(is_it)?;
    Some(line.split_once(" #").map_or(line, |(line, _)| line).trim_end())
}

/// A value of the wrong type or form.
fn of_type(message: &str, written: &str) -> Option<String> {
    let expected = message.split("expected ").nth(1).unwrap_or_default();
    if message.contains("socket address") {
        return Some(address_and_port(written));
    }
    if !message.starts_with("invalid type") {
        return None;
    }
    let help = if expected.starts_with("a sequence") {
        if message.contains("map") {
            "write the section with two brackets, such as [[site]]: there may be more of them".to_owned()
        } else {
            format!("write a list: [{}]", one_line(written))
        }
    } else if expected.starts_with("a string") {
        if written.starts_with('[') {
            "write one value, without brackets".to_owned()
        } else {
            format!("write it in quotes: \"{}\"", one_line(written))
        }
    } else if expected.starts_with("a boolean") {
        "write true or false, without quotes".to_owned()
    } else if expected.starts_with("struct") || expected.starts_with("a map") {
        "this is a section: write its name in brackets on a line of its own, and its keys below".to_owned()
    } else if is_number(expected) {
        "write a whole number, without quotes".to_owned()
    } else {
        return None;
    };
    Some(help)
}

fn is_number(expected: &str) -> bool {
    let word = expected.trim_start_matches("a nonzero ").split(' ').next().unwrap_or_default();
    ["u8", "u16", "u32", "u64", "usize", "i64"].contains(&word)
}

fn address_and_port(written: &str) -> String {
    let bare = written.trim_matches(['"', '\'']);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return format!("the port is missing: \"{}\"", std::net::SocketAddr::new(address, 80));
    }
    "write an address and a port, not a name: \"192.0.2.1:80\", \"[::]:80\", \"127.0.0.1:8080\"".to_owned()
}

/// Text that is no TOML.
fn of_syntax(message: &str) -> Option<String> {
    let help = if message.contains("duplicate key") {
        "write it once; a list of sections has two brackets, such as [[site]]"
    } else if message.contains("string values must be quoted") {
        "write texts in quotes: name = \"edge-1\", memory = \"512MiB\", ttl = \"5m\""
    } else if ["unclosed array", "invalid array", "between array elements"]
        .iter()
        .any(|part| message.contains(part))
    {
        "a list is written [\"one\", \"two\"]"
    } else if message.contains("key with no value") {
        "a setting is written name = value"
    } else {
        return None;
    };
    Some(help.to_owned())
}

fn one_line(written: &str) -> String {
    const MOST: usize = 60;
    let line: String = written.lines().next().unwrap_or_default().chars().take(MOST).collect();
    if line.len() == written.len() { line } else { "…".to_owned() }
}

/// The one of `names` that `wrong` was probably meant to be.
fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), *name))
        .filter(|(distance, name)| *distance <= name.len().max(wrong.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_one_section_is_known_to_belong_there() {
        let check = |key, expected| assert_eq!(home_of(key), expected, "{key}");
        check("name", Some(""));
        check("memory", Some("[cache]"));
        check("default_ttl", Some("[[site]]"));
        check("query_only", Some("[site.key]"));
        check("token_file", Some("[admin]"));
        // Of more than one section, or of none.
        check("listen", None);
        check("status", None);
        check("nosuch", None);
    }
}
