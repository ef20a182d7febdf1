//! The README keeps its word: its configurations are accepted, its links lead somewhere, and CI runs its test command.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::{Path, PathBuf};

#[test]
fn its_configurations_are_accepted() {
    let blocks = blocks("toml");
    let names: Vec<_> = blocks.iter().map(|text| text.lines().next().unwrap()).collect();
    assert_eq!(
        names,
        ["# dns.toml", "# edge.toml", "# edge.toml, behind nginx, Caddy or HAProxy: docs/tls-in-front.md"]
    );
    verge_dns::config::parse(&blocks[0], &root(), Path::new("dns.toml")).unwrap_or_else(|e| panic!("{e}"));
    for edge in &blocks[1..] {
        verge_edge::config::parse(edge, &root(), Path::new("edge.toml")).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn its_links_lead_somewhere() {
    let text = readme();
    let links: Vec<_> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let local: Vec<_> = links.iter().filter(|link| !link.starts_with("https://")).collect();
    assert!(local.len() >= 8, "{links:?}");
    for link in local {
        assert!(root().join(link).exists(), "{link} is gone");
    }
}

#[test]
fn its_test_command_is_the_one_that_ci_runs() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let command = "cargo test --workspace";
    assert!(blocks("sh").iter().any(|block| block.lines().any(|line| line == command)));
    assert!(ci.lines().any(|line| line.starts_with(&format!("step {command}"))));
}

fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    readme().split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
