//! The walls of the workspace, as a test: what a core may not import, what two units may not know of each other,
//! and which file names are not allowed.
//!
//! A wall that guards nothing is worse than none, so each check also fails when what it looks at is gone: every
//! module at the top of a unit must be listed as core or as shell, and the detector must find in the shells what it
//! forbids in the cores.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A unit of the workspace: its folder and what stands at the top of its `src`.
struct Unit {
    folder: &'static str,
    /// Decide: pure, no IO.
    cores: &'static [&'static str],
    /// Act: sockets, files, clocks.
    shell: &'static [&'static str],
    /// Modules inside a shell that decide: walled like cores, and from their shell as well.
    inner: &'static [&'static str],
}

const DNS: Unit = Unit {
    folder: "dns",
    cores: &[
        "answer", "client", "cookie", "ended", "limit", "name", "octets", "rcode", "rdata", "rtype", "view",
        "wire", "world", "zone",
    ],
    shell: &[
        "admin", "catalog", "clock", "command", "config", "embed", "lib", "log", "main", "metrics", "serve",
    ],
    inner: &[],
};

const EDGE: Unit = Unit {
    folder: "edge",
    cores: &["decide", "http", "pace", "policy", "site"],
    shell: &[
        "admin", "cache", "clock", "command", "config", "draining", "flight", "lib", "log", "main",
        "metrics", "origin", "run", "serve", "store", "watch",
    ],
    inner: &[
        "admin/rate",
        "flight/log/lag",
        "serve/h1/gate/chunked",
        "serve/h1/gate/framing",
        "serve/h1/gate/head",
        "serve/h1/gate/interim",
        "serve/h1/gate/refusal",
        "serve/h1/gate/text",
        "store/purge/marks",
    ],
};

/// What decides may not know what acts: async, sockets, clocks, logs, metrics, config files.
const FORBIDDEN_IN_CORES: &[&str] = &[
    "tokio",
    "tokio_util",
    "hyper",
    "hyper_util",
    "moka",
    "hickory_server",
    "tracing",
    "tracing_subscriber",
    "prometheus_client",
    "notify",
    "socket2",
    "libc",
    "clap",
    "toml",
    "std::fs",
    "std::thread",
    "std::net::UdpSocket",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "crate::admin",
    "crate::catalog",
    "crate::command",
    "crate::config",
    "crate::flight",
    "crate::metrics",
    "crate::origin",
    "crate::serve",
    "crate::store",
];

/// Names that say nothing of what is inside. An error lives under the function that returns it.
const FORBIDDEN_MODULES: &[&str] =
    &["common", "error", "errors", "helper", "helpers", "misc", "shared", "types", "util", "utils"];

#[test]
fn cores_import_nothing_that_acts() {
    for unit in [DNS, EDGE] {
        for core in unit.cores {
            let files = module_files(&unit, core);
            assert!(!files.is_empty(), "{}/src/{core}.rs is gone; list its new name here", unit.folder);
            for file in files {
                for path in paths_in(&read(&file)) {
                    let broken = FORBIDDEN_IN_CORES.iter().find(|f| starts_with_path(&path, f));
                    assert!(broken.is_none(), "{} is part of a core and uses {path}", file.display());
                }
            }
        }
    }
}

#[test]
fn what_decides_inside_a_shell_imports_nothing_that_acts() {
    for unit in [DNS, EDGE] {
        for inner in unit.inner {
            let files = module_files(&unit, inner);
            assert!(!files.is_empty(), "{}/src/{inner}.rs is gone; list its new name here", unit.folder);
            for file in files {
                for path in paths_in(&read(&file)) {
                    let broken = is_of_the_shell(&unit, inner, &file, &path);
                    assert!(!broken, "{} decides and uses {path}", file.display());
                }
            }
        }
    }
}

/// Whether an inner module that uses `path` in `file` uses something that acts.
fn is_of_the_shell(unit: &Unit, inner: &str, file: &Path, path: &str) -> bool {
    let (home, _) = inner.rsplit_once('/').expect("an inner module lies in a shell");
    let neighbours = format!("crate::{}::", home.replace('/', "::"));
    // `super` in the module's own file is its home; deeper, it is the module itself or a part of it.
    let at_home = file.parent().is_some_and(|folder| folder.ends_with(Path::new("src").join(home)));
    let neighbour = path.strip_prefix(&neighbours).or(path.strip_prefix("super::").filter(|_| at_home));
    match neighbour {
        Some(rest) => {
            let name = rest.split("::").next().unwrap_or_default();
            !unit.inner.contains(&format!("{home}/{name}").as_str())
        }
        None => FORBIDDEN_IN_CORES.iter().any(|forbidden| starts_with_path(path, forbidden)),
    }
}

#[test]
fn the_inner_wall_tells_neighbours_that_decide_from_those_that_act() {
    let check = |inner: &str, file: &str, path: &str, expected: bool| {
        let file = source(&EDGE).join(file);
        assert_eq!(is_of_the_shell(&EDGE, inner, &file, path), expected, "{path} in {}", file.display());
    };
    let framing = |path, expected| check("serve/h1/gate/framing", "serve/h1/gate/framing.rs", path, expected);
    framing("super::head::read", false);
    framing("super::turn::Shared", true);
    framing("super::Gate", true);
    framing("crate::serve::h1::gate::linger::Linger", true);
    framing("crate::serve::handler::Edge", true);
    framing("crate::store::Store", true);
    framing("tokio::io::AsyncRead", true);
    framing("bytes::Bytes", false);
    let fields = |path, expected| check("serve/h1/gate/head", "serve/h1/gate/head/fields.rs", path, expected);
    fields("super::target::Target", false);
    fields("crate::serve::h1::gate::text::run", false);
    fields("crate::serve::h1::gate::turn::Turns", true);
}

#[test]
fn every_top_level_module_is_listed_as_core_or_shell() {
    for unit in [DNS, EDGE] {
        let known: BTreeSet<String> = unit.cores.iter().chain(unit.shell).map(ToString::to_string).collect();
        let found: BTreeSet<String> = entries(&source(&unit)).iter().map(|p| stem(p)).collect();
        let unlisted: Vec<_> = found.difference(&known).collect();
        assert!(unlisted.is_empty(), "{}: say in shape.rs whether {unlisted:?} decides or acts", unit.folder);
        for core in unit.cores {
            assert!(found.contains(*core), "{}/src: the core {core} is gone", unit.folder);
        }
    }
}

#[test]
fn the_detector_finds_in_the_shells_what_it_forbids_in_the_cores() {
    for unit in [DNS, EDGE] {
        let used: Vec<String> =
            module_files(&unit, "serve").iter().flat_map(|file| paths_in(&read(file))).collect();
        for forbidden in ["tokio", "crate::config"] {
            let seen = used.iter().any(|path| starts_with_path(path, forbidden));
            assert!(seen, "{}/src/serve does not use {forbidden}: is the detector blind?", unit.folder);
        }
    }
}

#[test]
fn units_do_not_know_each_other() {
    for (unit, other) in [(DNS, "verge_edge"), (EDGE, "verge_dns")] {
        let package = other.replace('_', "-");
        let manifest = read(&root().join(unit.folder).join("Cargo.toml"));
        for foreign in [package.as_str(), "verge-stack"] {
            assert!(!manifest.contains(foreign), "{}/Cargo.toml names {foreign}", unit.folder);
        }
        let files = rust_files(&source(&unit));
        assert!(files.len() >= unit.cores.len(), "{}/src holds no sources", unit.folder);
        for file in files {
            let found = paths_in(&read(&file)).into_iter().find(|path| starts_with_path(path, other));
            assert!(found.is_none(), "{} uses {other}", file.display());
        }
    }
}

#[test]
fn no_module_is_named_after_nothing() {
    let folders = [source(&DNS), source(&EDGE), root().join("tests")];
    for folder in folders {
        let files = rust_files(&folder);
        assert!(!files.is_empty(), "{} holds no sources", folder.display());
        for file in files {
            let relative = file.strip_prefix(root()).expect("files are below the root");
            let bad = relative.components().map(|c| stem(Path::new(c.as_os_str())));
            let bad: Vec<_> = bad.filter(|name| FORBIDDEN_MODULES.contains(&name.as_str())).collect();
            assert!(bad.is_empty(), "{}: {bad:?} says nothing of what is inside", relative.display());
        }
    }
}

#[test]
fn the_detector_reads_rust() {
    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        assert_eq!(paths_in(source), expected, "in {source}");
    }
    check("use tokio::net::UdpSocket;", &["tokio::net::UdpSocket"]);
    check("use ::tokio::net;", &["tokio::net"]);
    check(
        "use std::{fs, net::{IpAddr, UdpSocket}};",
        &["std::fs", "std::net::IpAddr", "std::net::UdpSocket"],
    );
    check("pub(crate) use crate::config as settings;", &["crate::config"]);
    check("fn f() { tracing::info!(\"x\"); }", &["tracing::info"]);
    check("extern crate tokio;", &["tokio"]);
    check("use tokio;", &["tokio"]);
    check("pub(in crate::a::b) fn f() { c::d(); }", &["c::d"]);
    check("use std::time :: Instant;", &["std::time::Instant"]);
    check("// tokio::net\n/* hyper::body /* toml::x */ */ let a = \"moka::sync\";", &[]);
    check(
        "let a = r#\"use \"tokio::net\"\"#; let c = '\"'; let d: &'static str; clap::run();",
        &["clap::run"],
    );
}

// --- Rust, as far as paths need it ---------------------------------------------------------------------------------

/// Whether `path` is `prefix` or something in it.
fn starts_with_path(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path that a source file names: those of its `use` trees, spelled out, and those in its code.
fn paths_in(source: &str) -> Vec<String> {
    let tokens = tokens(&without_comments_and_literals(source));
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match tokens[at].as_str() {
            "use" => use_tree(&tokens, at + 1, "", &mut paths),
            "crate" if at > 0 && tokens[at - 1] == "extern" => {
                paths.push(tokens[at + 1].clone());
                at + 2
            }
            // Who may see something, as in `pub(in crate::a)`, is nothing that is used.
            "in" if at > 0 && tokens[at - 1] == "(" => path_at(&tokens, at + 1).1,
            word if is_word(word) => {
                let (path, next) = path_at(&tokens, at);
                if path.contains("::") {
                    paths.push(path);
                }
                next
            }
            _ => at + 1,
        };
    }
    paths
}

/// Reads one use tree from `at`, adds its paths under `prefix` and returns where it ends.
fn use_tree(tokens: &[String], at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let at = if token(tokens, at) == "::" { at + 1 } else { at };
    if token(tokens, at) == "{" {
        return use_group(tokens, at + 1, prefix, paths);
    }
    let (path, next) = path_at(tokens, at);
    let full = if prefix.is_empty() { path } else { format!("{prefix}::{path}") };
    if token(tokens, next) == "::" && token(tokens, next + 1) == "{" {
        return use_group(tokens, next + 2, &full, paths);
    }
    paths.push(full);
    if token(tokens, next) == "as" { next + 2 } else { next.max(at + 1) }
}

/// Reads what stands in the braces of a use tree and returns where they end.
fn use_group(tokens: &[String], mut at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    while at < tokens.len() && tokens[at] != "}" {
        at = if tokens[at] == "," { at + 1 } else { use_tree(tokens, at, prefix, paths) };
    }
    at + 1
}

/// The path `a::b::c` that starts at `at`, and where it ends.
fn path_at(tokens: &[String], at: usize) -> (String, usize) {
    let mut path = token(tokens, at).to_owned();
    let mut next = at + 1;
    while token(tokens, next) == "::" && is_word(token(tokens, next + 1)) {
        path = format!("{path}::{}", tokens[next + 1]);
        next += 2;
    }
    (path, next)
}

fn token(tokens: &[String], at: usize) -> &str {
    tokens.get(at).map_or("", String::as_str)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and every other character by itself.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = match first {
            _ if word > 0 => word,
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            tokens.push(rest[..len].to_owned());
        }
        rest = &rest[len..];
    }
    tokens
}

/// The source with a blank in place of each comment, string and character.
fn without_comments_and_literals(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' => comment(rest),
            '"' => Some(quoted(rest)),
            '\'' => character(rest),
            'r' if !kept.ends_with(|c: char| c.is_alphanumeric() || c == '_' && c != 'b') => raw_string(rest),
            'b' if rest.starts_with("br") => raw_string(&rest[1..]).map(|len| len + 1),
            _ => None,
        };
        match skipped {
            Some(_) => kept.push(' '),
            None => kept.push(first),
        }
        rest = &rest[skipped.unwrap_or(first.len_utf8())..];
    }
    kept
}

/// Length of the comment that `rest` starts with; block comments nest.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = if here.starts_with(b"/*") || here.starts_with(b"*/") { 2 } else { 1 };
        depth += i32::from(here.starts_with(b"/*")) - i32::from(here.starts_with(b"*/"));
        at += step;
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Length of the string that `rest` starts with.
fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Length of the raw string that `rest` starts with, if it is one (and not a word that starts with r).
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|b| *b == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(rest[body..].find(&end).map_or(rest.len(), |found| body + found + end.len()))
}

/// Length of the character that `rest` starts with, if it is one (and not a lifetime).
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        return rest[3..].find('\'').map(|found| found + 4);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

// --- Files ---------------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

fn source(unit: &Unit) -> PathBuf {
    root().join(unit.folder).join("src")
}

/// `module.rs` and everything below `module/`.
fn module_files(unit: &Unit, module: &str) -> Vec<PathBuf> {
    let file = source(unit).join(format!("{module}.rs"));
    let folder = rust_files(&source(unit).join(module));
    file.exists().then_some(file).into_iter().chain(folder).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|p| p.is_dir());
    let files = files.into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
    files.chain(folders.iter().flat_map(|f| rust_files(f))).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
