//! The files of a unit, and which of them uses which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::rust;
use crate::units::Unit;

/// A module path under the unit's `src`, as `zone/tree/build`; the crate itself is empty.
pub(crate) type Module = String;

/// The modules of a unit that have files of their own and are not for tests only, each with all that it uses.
pub(crate) struct House {
    used: BTreeMap<Module, Vec<rust::Used>>,
    /// Files that only tests compile.
    pub(crate) tests: BTreeSet<Module>,
}

/// How many re-exports are followed to where something is defined.
const MOST_STEPS: usize = 8;

impl House {
    pub(crate) fn read(unit: &Unit) -> Self {
        let source = source(unit);
        let texts: BTreeMap<Module, String> =
            rust_files(&source).iter().map(|file| (module_of(&source, file), read(file))).collect();
        Self::of(texts)
    }

    fn of(texts: BTreeMap<Module, String>) -> Self {
        let declared = texts.iter().flat_map(|(module, text)| {
            rust::test_modules(text).into_iter().map(|name| inside(module, &name)).collect::<Vec<_>>()
        });
        let declared: BTreeSet<Module> = declared.collect();
        let is_test = |module: &str| declared.iter().any(|tests| is_in(module, tests));
        let tests = texts.keys().filter(|module| is_test(module)).cloned().collect();
        let code = texts.iter().filter(|(module, _)| !is_test(module));
        let used = code.map(|(module, text)| (module.clone(), rust::used_outside_tests(text))).collect();
        Self { used, tests }
    }

    /// Which other modules each module uses, and a path by which it does.
    pub(crate) fn arrows(&self) -> BTreeMap<&str, BTreeMap<&str, &str>> {
        let arrows = self.used.iter().map(|(module, used)| {
            let targets =
                used.iter().filter_map(|used| Some((self.target(module, &used.path, 0)?, &*used.path)));
            (module.as_str(), targets.filter(|(target, _)| *target != module.as_str()).collect())
        });
        arrows.collect()
    }

    /// The groups of modules that use each other in a circle. That a part uses what the module around it defines closes
    /// none: a module and its parts are one thing, told in several files.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let mut arrows = self.arrows();
        for (module, targets) in &mut arrows {
            targets.retain(|target, _| !is_in(module, target));
        }
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            arrows.keys().map(|module| (*module, reached_from(module, &arrows))).collect();
        let circle = |module: &str| -> BTreeSet<&str> {
            let there = reached[module].iter().copied();
            there.filter(|other| reached.get(other).is_some_and(|back| back.contains(module))).collect()
        };
        let circles: BTreeSet<BTreeSet<&str>> = reached.keys().map(|module| circle(module)).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }

    /// The module in which `path` is defined that `module` writes; none if it is of another crate.
    fn target(&self, module: &str, path: &str, steps: usize) -> Option<&str> {
        let mut names = path.split("::").peekable();
        let mut here = match *names.peek()? {
            "crate" => {
                names.next();
                String::new()
            }
            "self" => {
                names.next();
                module.to_owned()
            }
            "super" => {
                let mut here = module.to_owned();
                while names.next_if_eq(&"super").is_some() {
                    here = here.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned());
                }
                here
            }
            first if self.used.contains_key(&inside(module, first)) => module.to_owned(),
            _ => return None,
        };
        while let Some(deeper) = names.peek().map(|name| inside(&here, name))
            && self.used.contains_key(&deeper)
        {
            here = deeper;
            names.next();
        }
        let (here, used) = self.used.get_key_value(&here)?;
        // An item that a module only hands on is defined where the module has it from.
        let handed_on = names.next().and_then(|name| {
            let from = used.iter().find(|used| used.name.as_deref() == Some(name))?;
            Some(from.path.as_str())
        });
        match handed_on {
            Some(path) if steps < MOST_STEPS => self.target(here, path, steps + 1),
            _ => Some(here),
        }
    }
}

fn reached_from<'a>(
    start: &'a str,
    arrows: &BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = vec![start];
    while let Some(module) = next.pop() {
        let targets = arrows.get(module).into_iter().flat_map(|targets| targets.keys());
        next.extend(targets.filter(|target| reached.insert(**target)));
    }
    reached
}

/// Whether `module` is `other` or lies in it.
pub(crate) fn is_in(module: &str, other: &str) -> bool {
    other.is_empty()
        || module.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The module at the top of the unit in which `module` lies.
pub(crate) fn top(module: &str) -> &str {
    module.split('/').next().unwrap_or_default()
}

fn inside(module: &str, name: &str) -> Module {
    if module.is_empty() { name.to_owned() } else { format!("{module}/{name}") }
}

pub(crate) fn module_of(source: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(source).expect("the file is in src").with_extension("");
    let module = relative.to_str().expect("file names are text").to_owned();
    if module == "lib" { String::new() } else { module }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

pub(crate) fn source(unit: &Unit) -> PathBuf {
    root().join(unit.folder).join("src")
}

/// `module.rs` and everything below `module/`.
pub(crate) fn module_files(unit: &Unit, module: &str) -> Vec<PathBuf> {
    let file = source(unit).join(format!("{module}.rs"));
    let folder = rust_files(&source(unit).join(module));
    file.exists().then_some(file).into_iter().chain(folder).collect()
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|p| p.is_dir());
    let files = files.into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs"));
    files.chain(folders.iter().flat_map(|f| rust_files(f))).collect()
}

pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn arrows_run_to_where_something_is_defined() {
    let house = |files: &[(&str, &str)]| {
        House::of(files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect())
    };
    let a_house = house(&[
        ("", "pub mod a; pub mod b;"),
        (
            "a",
            "mod inner; mod deep; pub use self::inner::Thing as Renamed; #[cfg(test)] mod tests; fn f() { inner::g() }",
        ),
        ("a/inner", "use super::deep::D; use std::fmt;"),
        ("a/deep", "struct D; #[cfg(test)] mod tests { use crate::b::B; }"),
        ("a/tests", "use super::super::b;"),
        ("b", "use crate::a::Renamed; use super::a::{self, deep}; fn f() { tokio::spawn(deep::g()) }"),
    ]);
    let arrows = a_house.arrows();
    let check = |module: &str, expected: &[&str]| {
        assert_eq!(arrows[module].keys().copied().collect::<Vec<_>>(), expected, "{module}");
    };
    check("a", &["a/inner"]);
    check("a/inner", &["a/deep"]);
    check("a/deep", &[]);
    check("b", &["a", "a/deep", "a/inner"]);
    assert_eq!(a_house.tests, BTreeSet::from(["a/tests".to_owned()]));
    assert_eq!(a_house.circles(), Vec::<BTreeSet<&str>>::new());
    let circle = house(&[
        ("", ""),
        ("a", "use crate::b::B;"),
        ("b", "use super::c;"),
        ("c", "use crate::a::A;"),
        ("d", "use crate::a; mod part; fn f() { part::g() }"),
        ("d/part", "use super::D;"),
    ]);
    assert_eq!(circle.circles(), [BTreeSet::from(["a", "b", "c"])]);
}
