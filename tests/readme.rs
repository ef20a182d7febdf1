//! The README and the pages of docs/ keep their word: their configurations are accepted, their links lead somewhere, each page is in the
//! book, and the events of docs/logs.md are those of the programs.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::net::IpAddr;
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
fn its_name_server_gives_no_warning_and_hides_no_public_record_of_the_samples() {
    let config = verge_dns::config::parse(&blocks("toml")[0], &root(), Path::new("dns.toml"));
    let config = config.unwrap_or_else(|e| panic!("{e}"));
    let warnings: Vec<&str> = config.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, [""; 0]);
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("zones")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for address in text.split_whitespace().filter_map(|word| word.parse::<IpAddr>().ok()) {
            assert!(!config.private.iter().any(|net| net.contains(&address)), "{address} would be hidden");
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
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

/// A block of toml is a whole config, which its first line says, or a part of one, which is completed with as little as is needed.
#[test]
fn configurations_of_the_pages_are_accepted() {
    let (mut whole, mut parts) = (0, 0);
    let folder = tempfile::tempdir().unwrap();
    let ann = "ann:$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq";
    std::fs::write(folder.path().join("users"), ann).unwrap();
    std::fs::write(folder.path().join("sorry.html"), "sorry").unwrap();
    for (name, text) in pages() {
        for block in text.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)) {
            let first = block.lines().next().unwrap_or_default();
            if first.starts_with("{{#include") {
                continue;
            }
            let is_of = |program: &str| {
                ["", "/etc/verge/"].iter().any(|folder| first == format!("# {folder}{program}.toml"))
            };
            let is_whole = is_of("dns") || is_of("edge");
            let is_dns = is_of("dns")
                || !is_whole
                    && ["secondaries.md", "steering.md", "updates.md", "privacy.md"].contains(&&*name);
            let config = if is_whole { block.to_owned() } else { completed(block, is_dns) };
            let error = if is_dns {
                let read = verge_dns::config::parse(&config, folder.path(), Path::new("dns.toml"));
                let warned = |config: &verge_dns::config::Config| {
                    config.warnings.first().filter(|_| is_whole).map(|warning| warning.message.clone())
                };
                read.map_or_else(|error| Some(error.to_string()), |config| warned(&config))
            } else {
                verge_edge::config::parse(&config, folder.path(), Path::new("edge.toml"))
                    .err()
                    .map(|e| e.to_string())
            };
            assert_eq!(error, None, "docs/{name}: {block}");
            *if is_whole { &mut whole } else { &mut parts } += 1;
        }
    }
    assert!(whole >= 10 && parts >= 20, "{whole} whole ones and {parts} parts");
}

/// A part of a config with what every config must have, and with the key and the certificate that it speaks of.
fn completed(part: &str, is_dns: bool) -> String {
    let is_of_a_site = part.trim_start_matches('[').starts_with("site.");
    let site = "[[site]]\nhosts = [\"a.example\"]\norigins = [\"http://192.0.2.80\"]\n";
    let text = format!("{}{part}", if is_of_a_site { site } else { "" });
    let mut config: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {part}"));
    let needed = if is_dns {
        "zones = \"zones\"\nlisten = [\"192.0.2.53:53\"]\n[keys.mirror]\nalgorithm = \"hmac-sha256\"\nsecret_file = \"mirror.key\"\n".to_owned()
    } else {
        format!("listen = [\"192.0.2.1:80\"]\n{site}")
    };
    for (name, value) in needed.parse::<toml::Table>().unwrap() {
        config.entry(name).or_insert(value);
    }
    if config.contains_key("listen_tls") {
        let tls: toml::Table = "certificate = \"chain.pem\"\nkey = \"key.pem\"".parse().unwrap();
        config.entry("tls").or_insert(tls.into());
    }
    let sites = config.get_mut("site").and_then(|sites| sites.as_array_mut());
    for one in sites.into_iter().flatten().filter_map(|one| one.as_table_mut()) {
        for (name, value) in ["hosts = [\"a.example\"]", "origins = [\"http://192.0.2.80\"]"]
            .map(|line| line.parse::<toml::Table>().unwrap())
            .into_iter()
            .flatten()
        {
            one.entry(name).or_insert(value);
        }
    }
    config.to_string()
}

#[test]
fn settings_for_those_who_come_from_other_caches_exist() {
    let reference = std::fs::read_to_string(root().join("edge/reference.toml")).unwrap();
    let commands = std::fs::read_to_string(root().join("edge/src/command.rs")).unwrap();
    let is_setting =
        |word: &str| reference.contains(&format!("{word} = ")) || reference.contains(&format!("`{word}`"));
    let is_known = |token: &str| match token.strip_prefix("verge-edge ") {
        Some(command) => {
            let name = command.split(' ').next().unwrap();
            commands.contains(&format!("{}{}", name[..1].to_uppercase(), &name[1..]))
        }
        None if token.starts_with('[') => {
            let (section, key) = token.split_once("] ").unwrap_or((token.trim_end_matches(']'), ""));
            let section = format!("{section}]");
            reference.lines().any(|line| line.trim_start_matches("# ").starts_with(&section))
                && (key.is_empty() || is_setting(key))
        }
        None => is_setting(token.split(' ').next().unwrap()),
    };
    // Fields, words of the log, values.
    let others =
        ["Cache-Status", "Client-Cert", "cache", "why", "https://", "POST /reload", "\"0s\"", "{ url"];
    let pages = [readme(), std::fs::read_to_string(root().join("docs/from-nginx-varnish-caddy.md")).unwrap()];
    let mut seen = 0;
    for page in pages {
        let (_, table) = page.split_once("| nginx | Varnish | Caddy | verge-edge |").unwrap();
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let last = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
            for token in last.split('`').skip(1).step_by(2) {
                let is_other = others.iter().any(|other| token.starts_with(other));
                assert!(is_other || is_known(token), "nothing is called {token}: {row}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 130, "{seen}");
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
