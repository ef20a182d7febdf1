//! The walls of the workspace, as a test: what a core may not import, what two units may not know of each other,
//! and which file names are not allowed.
//!
//! A wall that guards nothing is worse than none, so each check also fails when what it looks at is gone: every
//! module at the top of a unit must be listed as core or as shell, and the detector must find in the shells what it
//! forbids in the cores.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod house;
mod rust;
mod units;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use self::house::{
    House, entries, is_in, module_files, module_of, read, root, rust_files, source, stem, top,
};
use self::rust::{functions, paths_in, starts_with_path};
use self::units::{DNS, EDGE, UNITS};

/// Lines of a file, its tests included; what is longer holds two ideas.
const MOST_LINES: usize = 500;
/// Lines of a function, from its first word to its last brace.
const MOST_FUNCTION_LINES: usize = 66;

/// Modules that deciding code may not use: async, sockets, clocks, logs, metrics, config files, chance.
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
];

/// Names that say nothing of what is inside. An error lives under the function that returns it.
const FORBIDDEN_MODULES: &[&str] =
    &["common", "error", "errors", "helper", "helpers", "misc", "shared", "types", "util", "utils"];

/// Where a hash may be keyed from; elsewhere in what decides, chance is an argument.
const CHANCE: &[&str] =
    &["rand", "getrandom", "std::hash::RandomState", "std::collections::hash_map::RandomState"];

#[test]
fn what_decides_imports_nothing_that_acts() {
    for unit in UNITS {
        let mut broken = Vec::new();
        for module in unit.cores.iter().chain(unit.inner) {
            let files = module_files(&unit, module);
            assert!(!files.is_empty(), "{}/src/{module}.rs is gone; list its new name", unit.folder);
            for file in files {
                let name = module_of(&source(&unit), &file);
                let chance = if unit.keyed.contains(&name.as_str()) { &[] } else { CHANCE };
                let paths = paths_in(&read(&file)).into_iter().filter(|path| {
                    FORBIDDEN_IN_CORES.iter().chain(chance).any(|forbidden| starts_with_path(path, forbidden))
                });
                broken.extend(paths.map(|path| format!("{name}: {path}")));
            }
        }
        assert!(broken.is_empty(), "{}: these decide and use what acts: {broken:#?}", unit.folder);
    }
}

#[test]
fn cores_use_only_those_below_them() {
    for unit in UNITS {
        let house = House::read(&unit);
        let place = |module: &str| unit.cores.iter().position(|core| *core == top(module));
        for (module, targets) in house.arrows() {
            let Some(own) = place(module) else { continue };
            for (target, path) in targets {
                assert!(
                    place(target).is_some_and(|other| other <= own),
                    "{}/src/{module}.rs is part of a core and uses {path}, which is above it",
                    unit.folder
                );
            }
        }
    }
}

#[test]
fn what_decides_inside_a_shell_uses_nothing_that_acts() {
    for unit in UNITS {
        let house = House::read(&unit);
        let arrows = house.arrows();
        let mut broken = Vec::new();
        for (module, targets) in &arrows {
            if !unit.inner.iter().any(|inner| is_in(module, inner)) {
                continue;
            }
            let acts = targets.iter().filter(|(target, _)| {
                !unit.cores.contains(&top(target)) && !unit.inner.iter().any(|other| is_in(target, other))
            });
            broken.extend(acts.map(|(_, path)| format!("{module}: {path}")));
        }
        assert!(broken.is_empty(), "{}: these decide inside a shell and use it: {broken:#?}", unit.folder);
    }
}

#[test]
fn the_config_knows_what_it_sets_up_and_not_the_other_way_round() {
    for unit in UNITS {
        let house = House::read(&unit);
        let arrows = house.arrows();
        let knows = |module: &str| arrows[module].keys().any(|target| is_in(target, "config"));
        let knowing: BTreeSet<&str> =
            arrows.keys().filter(|module| knows(module)).map(|module| top(module)).collect();
        let allowed: BTreeSet<&str> = unit.knows_config.iter().copied().collect();
        assert_eq!(
            knowing, allowed,
            "{}: the config builds the types of the others, which do not know it; the list may only shrink",
            unit.folder
        );
    }
}

#[test]
fn imports_make_no_circle() {
    for unit in UNITS {
        let house = House::read(&unit);
        let arrows = house.arrows();
        let mut found = Vec::new();
        for circle in house.circles() {
            for module in &circle {
                let ties = arrows[module].iter().filter(|(target, _)| circle.contains(*target));
                found.extend(ties.map(|(_, path)| format!("{module}: {path}")));
            }
        }
        assert!(found.is_empty(), "{}: these imports make a circle: {found:#?}", unit.folder);
    }
}

#[test]
fn files_and_functions_are_short() {
    for unit in UNITS {
        let folder = root().join(unit.folder);
        let files =
            ["src", "tests", "benches", "fuzz/fuzz_targets"].map(|part| rust_files(&folder.join(part)));
        let mut long = BTreeSet::new();
        for file in files.iter().flatten() {
            let text = read(file);
            let name = file.strip_prefix(&folder).expect("it is below").with_extension("");
            let name = name.to_str().expect("file names are text");
            if text.lines().count() > MOST_LINES {
                long.insert(name.to_owned());
            }
            let functions = functions(&text).into_iter().filter(|it| it.lines > MOST_FUNCTION_LINES);
            long.extend(functions.map(|it| format!("{name}::{}", it.name)));
        }
        let known = unit.too_long.iter().map(ToString::to_string).collect();
        let new: Vec<_> = long.difference(&known).collect();
        assert!(new.is_empty(), "{}: {new:?} have grown too long; split them", unit.folder);
        let gone: Vec<_> = known.difference(&long).collect();
        assert!(gone.is_empty(), "{}: {gone:?} are short; take them off the list `too_long`", unit.folder);
    }
}

#[test]
fn files_for_tests_only_are_named_as_such() {
    for unit in UNITS {
        let tests = House::read(&unit).tests;
        assert!(
            !tests.is_empty(),
            "{} has no tests in files of their own: is the detector blind?",
            unit.folder
        );
        let is_named = |module: &String| module.split('/').any(|name| ["tests", "testing"].contains(&name));
        let unnamed: Vec<_> = tests.iter().filter(|module| !is_named(module)).collect();
        assert!(
            unnamed.is_empty(),
            "{}: lay {unnamed:?} in tests/, or call them testing.rs: they are for tests only",
            unit.folder
        );
    }
}

#[test]
fn every_top_level_module_is_listed_as_core_or_shell() {
    for unit in UNITS {
        let known: BTreeSet<String> = unit.cores.iter().chain(unit.shell).map(ToString::to_string).collect();
        let found: BTreeSet<String> = entries(&source(&unit)).iter().map(|p| stem(p)).collect();
        let unlisted: Vec<_> = found.difference(&known).collect();
        assert!(
            unlisted.is_empty(),
            "{}: say in shape/units.rs whether {unlisted:?} decides or acts",
            unit.folder
        );
        for core in unit.cores {
            assert!(found.contains(*core), "{}/src: the core {core} is gone", unit.folder);
        }
    }
}

#[test]
fn the_detector_finds_in_the_shells_what_it_forbids_in_the_cores() {
    for unit in UNITS {
        let files = unit.shell.iter().flat_map(|module| module_files(&unit, module));
        let used: Vec<String> = files.flat_map(|file| paths_in(&read(&file))).collect();
        for forbidden in ["tokio", "crate::config"] {
            let seen = used.iter().any(|path| starts_with_path(path, forbidden));
            assert!(seen, "no shell of {} uses {forbidden}: is the detector blind?", unit.folder);
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
