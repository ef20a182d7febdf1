//! The report of a load: what it found and changed, zone by zone. The log, `check` and `explain` read it.

use std::path::Path;
use std::sync::Arc;

use super::folder;
use super::good::Good;
use super::source::Source;
use super::unhidden::{Told, Version, told};
use crate::name::Name;
use crate::zone::privacy::Divided;
use crate::zone::tree::Tree;
use crate::zone::tree::changes::differences;
use crate::zone::{Problem, Severity, SourceFile, Zone};

/// Results of a load.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) zones: Vec<ZoneReport>,
    /// Zones whose file is gone.
    pub(crate) removed: Vec<Name>,
    /// Of files that are no zones.
    pub(crate) nameless: Vec<Problem>,
    /// Records that became public although their own text did not change.
    pub(crate) unhidden: Told,
}

/// The result of a load for one zone.
pub(crate) struct ZoneReport {
    pub(crate) apex: Name,
    pub(crate) source: Source,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) state: State,
    /// Nothing of it is for outsiders, as far as its file was understood.
    pub(crate) is_hidden: bool,
    pub(crate) change: Change,
    pub(crate) serial: Option<u32>,
    /// The tree that outsiders see; none if outside there is no such zone, or if nothing is served.
    pub(crate) public: Option<Arc<Tree>>,
    /// The tree that insiders see.
    pub(crate) internal: Option<Arc<Tree>>,
    /// The version that is served.
    pub(crate) zone: Option<Arc<Zone>>,
    pub(crate) divided: Option<Arc<Divided>>,
    pub(crate) problems: Vec<Problem>,
    /// The members of `problems` that the last load did not find.
    pub(crate) news: Vec<Problem>,
    /// Whether the last load found errors and this one found none.
    pub(crate) is_mended: bool,
}

/// Which version of a zone is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The version in its file.
    Current,
    /// The last good one; the file is broken, or is no longer good beside the other zones.
    Previous,
    /// None: it never was good.
    Broken,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Broken => "broken",
        }
    }
}

/// The difference from the version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that any client can see.
    None,
    /// The zone is new.
    Added,
    /// Names whose records are not the same.
    Names { public: Names, internal: Names },
}

/// Names that changed in one view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) count: usize,
    /// The first of them.
    pub(crate) some: Vec<String>,
}

/// Names of a change that a log line shows.
const SHOWN_NAMES: usize = 10;

impl Change {
    pub(super) fn between(before: Option<&Good>, after: Option<&Good>) -> Self {
        match (before, after) {
            (_, None) => Self::None,
            (None, Some(_)) => Self::Added,
            (Some(old), Some(new)) => {
                let public = Names::between(old.public.as_deref(), new.public.as_deref());
                let internal = Names::between(Some(&old.internal), Some(&new.internal));
                match public.count + internal.count {
                    0 => Self::None,
                    _ => Self::Names { public, internal },
                }
            }
        }
    }
}

impl Names {
    fn between(old: Option<&Tree>, new: Option<&Tree>) -> Self {
        match (old, new) {
            (Some(old), Some(new)) if std::ptr::eq(old, new) => Self::default(),
            (Some(old), Some(new)) => {
                Self::of(differences(old, new).filter_map(|pair| pair.left.or(pair.right)))
            }
            (Some(tree), None) | (None, Some(tree)) => Self::of(tree.nodes()),
            (None, None) => Self::default(),
        }
    }

    fn of<'t>(nodes: impl Iterator<Item = crate::zone::tree::Node<'t>>) -> Self {
        let mut names = Self::default();
        for node in nodes {
            names.count += 1;
            if names.some.len() < SHOWN_NAMES {
                names.some.push(format!("{node:?}"));
            }
        }
        names
    }
}

impl Report {
    /// The records that are public here and hidden in `before`, although their own text is the same.
    pub(crate) fn unhidden_since(&self, before: &Self) -> Told {
        let before = before.zones.iter().filter_map(|zone| Some((&zone.apex, zone.version()?))).collect();
        let after: Vec<Version<'_>> = self.zones.iter().filter_map(ZoneReport::version).collect();
        told(&before, &after)
    }

    /// Whether nothing was turned down, and nothing is kept from outsiders by a fault (D13, D15).
    pub(crate) fn is_good(&self) -> bool {
        // A copy is as good as its primaries, and is told of by itself.
        let is_good =
            |zone: &ZoneReport| zone.source.is_copy() || zone.state == State::Current && !zone.has_errors();
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        !self.nameless.iter().any(is_error) && self.zones.iter().all(is_good)
    }
}

impl ZoneReport {
    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The version that is served, with its division.
    pub(crate) fn version(&self) -> Option<Version<'_>> {
        Some(Version { zone: self.zone.as_deref()?, divided: self.divided.as_deref()? })
    }

    /// Whether a fault keeps this version from outsiders (D13, D15).
    pub(crate) fn is_withheld(&self) -> bool {
        self.problems.iter().any(Problem::withholds)
    }

    /// For the metrics: a zone that outsiders do not get by a fault is not simply current.
    pub(crate) fn state_word(&self) -> &'static str {
        match self.public {
            _ if self.state != State::Current || !self.is_withheld() => self.state.as_str(),
            Some(_) => "outside_previous",
            None => "inside_only",
        }
    }

    /// Files that everybody on this machine can read although they hold what outsiders must not learn (S3).
    pub(crate) fn exposed(&self) -> Vec<Problem> {
        let hides = self.divided.as_ref().is_some_and(|divided| !divided.hidden.is_empty());
        let files = if hides { folder::world_readable(&self.files) } else { Vec::new() };
        let problem = |path: &Path| Problem {
            severity: Severity::Note,
            code: "S3",
            at: None,
            message: format!(
                "{} holds hidden records, and every user of this machine can read it",
                path.display()
            ),
            help: Some(
                "if others use this machine: chmod o-r, with the server's user as owner or group".to_owned(),
            ),
        };
        files.into_iter().map(problem).collect()
    }

    /// The files with their texts, for diagnostics.
    pub(crate) fn texts(&self) -> Vec<SourceFile> {
        folder::with_texts(&self.files)
    }
}
