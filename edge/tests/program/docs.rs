//! docs/attacks.md has every word that the edge says about a request, a client or a response that it does not take.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/attacks.md");

/// Where the words stand whose meaning the page tells: each is what `as_str` of an enum returns.
const WORDS: &[&str] = &[
    "serve/h1/gate/refusal.rs",
    "serve/stream/head.rs",
    "serve/h2/frames.rs",
    "serve/target.rs",
    "serve/tls.rs",
    "site/signed.rs",
    "site/cms.rs",
    "pace.rs",
    "policy/admit.rs",
    "policy/headers/origin.rs",
];

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The texts that the arms of a `match` return, tests left out.
fn arms(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let text = |line: &str| Some(line.split_once("=> \"")?.1.split('"').next()?.to_owned());
    code.lines().filter_map(text).collect()
}

/// The literals that follow `before` in all sources, on the same line or on the next.
fn literals_after(before: &str, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals_after(before, &path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let places = text.split(before).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            found.extend(places.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

/// The page's text with line ends as spaces: a sentence may be broken over two lines.
fn running_text() -> String {
    PAGE.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_word_about_what_is_refused_or_not_stored_stands_on_its_page() {
    let page = running_text();
    let is_told =
        |word: &String| page.contains(&format!("`{word}`")) || page.contains(&format!("### {word} "));
    for file in WORDS {
        let words = arms(&source(file));
        assert!(!words.is_empty(), "{file} has no words any more");
        let missing: Vec<_> = words.iter().filter(|word| !is_told(word)).collect();
        assert!(missing.is_empty(), "{file}: docs/attacks.md does not tell what {missing:?} mean");
    }
}

#[test]
fn every_reason_in_the_log_and_in_counters_has_a_heading() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut words = BTreeSet::new();
    for before in
        ["Outcome::Refused,", "refused_for(", "client_dropped(", "LEFT_BEHIND: &str =", "LET_GO: &str ="]
    {
        let count = words.len();
        literals_after(before, &folder, &mut words);
        assert!(words.len() > count, "nothing follows {before}");
    }
    for file in
        ["pace.rs", "serve/tls.rs", "serve/h2/frames.rs", "policy/admit.rs", "policy/headers/origin.rs"]
    {
        words.extend(arms(&source(file)));
    }
    let headings: BTreeSet<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let missing: Vec<_> = words.iter().filter(|word| !headings.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "no heading for {missing:?}");
    let unsaid: Vec<_> = headings.iter().filter(|heading| !words.contains(**heading)).collect();
    assert!(unsaid.is_empty(), "no part of the edge says {unsaid:?} any more");
}

#[test]
fn every_link_leads_to_a_heading() {
    let headings: BTreeSet<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let links = PAGE.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links {
        assert!(headings.contains(link), "{link}");
    }
}

const STATUS_PAGE: &str = include_str!("../../../docs/cache-status.md");

/// The words that an implementation's `match` arms return.
fn arms_of(file: &str, begins: &str) -> BTreeSet<String> {
    let text = source(file);
    let (_, rest) = text.split_once(begins).unwrap_or_else(|| panic!("{file} has no {begins}"));
    arms(rest.split("\n}").next().unwrap())
}

#[test]
fn every_word_about_what_became_of_a_request_stands_in_one_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut words = arms_of("metrics/sites.rs", "impl Outcome {");
    for before in [
        "Outcome::Refused,",
        "refused_for(",
        "Answer { why:",
        "Outcome::Local,",
        "Outcome::Failed,",
        "Outcome::Hit,",
        "(Outcome::Redirect,",
        "Outcome::Redirect, why:",
        ".with_detail(",
    ] {
        literals_after(before, &folder, &mut words);
    }
    for file in ["policy/reuse.rs", "policy/admit.rs", "policy/headers/origin.rs", "decide/outcome.rs"] {
        words.extend(arms(&source(file)));
    }
    words.extend(arms_of("policy/headers/status.rs", "impl ProxyError {"));
    words.extend(arms_of("flight/log/ending.rs", "impl Unkept {"));
    words.extend(arms_of("serve/stored.rs", "fn why("));
    words.extend(arms_of("course.rs", "impl Event {"));
    let rows = STATUS_PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(words.difference(&told).collect::<Vec<_>>(), [""; 0], "docs/cache-status.md does not tell");
    assert_eq!(told.difference(&words).collect::<Vec<_>>(), [""; 0], "the edge does not say");
}

const IN_FRONT: &str = include_str!("../../../docs/tls-in-front.md");

/// RFC 9110 §7.8: a proxy passes on both fields that ask for another protocol, or neither counts.
#[test]
fn the_proxy_in_front_that_the_docs_set_up_lets_websockets_pass() {
    let example = IN_FRONT.split("```nginx").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let says = |line: &str| example.lines().any(|one| one.trim() == line);
    assert!(says("proxy_http_version 1.1;") && says("proxy_set_header Upgrade $http_upgrade;"), "{example}");
    let connection =
        example.lines().find_map(|line| line.trim().strip_prefix("proxy_set_header Connection "));
    let variable = connection.and_then(|value| value.strip_suffix(';')).unwrap();
    let map = example.split(&format!("map $http_upgrade {variable} {{")).nth(1).expect(variable);
    assert!(map.split('}').next().unwrap().contains("default upgrade;"), "{example}");
}
