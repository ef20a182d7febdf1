//! The README and the pages of docs/ keep their word: their configurations are accepted, their links lead somewhere, each page is in the
//! book, and the events of docs/logs.md are those of the programs.

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

#[test]
fn configurations_of_the_pages_are_accepted() {
    let mut seen = 0;
    for (name, text) in pages() {
        for block in text.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)) {
            let error = match block.lines().next() {
                Some("# dns.toml") => verge_dns::config::parse(block, &root(), Path::new("dns.toml"))
                    .err()
                    .map(|e| e.to_string()),
                Some("# edge.toml") => verge_edge::config::parse(block, &root(), Path::new("edge.toml"))
                    .err()
                    .map(|e| e.to_string()),
                _ => continue,
            };
            seen += 1;
            assert_eq!(error, None, "docs/{name}: {block}");
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn each_page_is_in_the_book_and_its_links_lead_somewhere() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for (name, text) in pages() {
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "docs/SUMMARY.md lacks {name}"
        );
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { &name } else { file };
            let Ok(there) = std::fs::read_to_string(root().join("docs").join(file)) else {
                panic!("docs/{name}: {link} is gone");
            };
            let has = |line: &str| line.starts_with('#') && slug(line) == anchor;
            assert!(anchor.is_empty() || there.lines().any(has), "docs/{name}: {link}: no such heading");
        }
    }
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn events_of_the_reference_page_are_in_the_programs() {
    let page = std::fs::read_to_string(root().join("docs/logs.md")).unwrap();
    let (dns, edge) = page.split_once("## verge-edge").unwrap();
    let mut seen = 0;
    for (unit, part) in [("dns", dns), ("edge", edge)] {
        let mut source = String::new();
        sources(&root().join(unit).join("src"), &mut source);
        let rows =
            part.lines().filter(|line| ["| error", "| warn", "| info"].iter().any(|l| line.starts_with(l)));
        for row in rows {
            let message = row.split(" | ").nth(2).unwrap();
            for fixed in message.split('…').map(str::trim).filter(|fixed| fixed.len() > 3) {
                let written = fixed.replace('"', "\\\"");
                assert!(source.contains(&written), "{unit}: no event says {fixed:?} any longer");
            }
            seen += 1;
        }
    }
    assert!(seen >= 100, "{seen}");
}

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The pages of docs/, by their names.
fn pages() -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let named = |path: PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    pages.map(named).collect()
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
