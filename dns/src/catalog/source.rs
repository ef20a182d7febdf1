//! Where the catalog takes a zone from.
//!
//! Everything above reads a zone by its source and identifies it by its source, so that a zone that is transferred from
//! a primary (RFC 5936) is one more variant here and one more way to read, and no second catalog.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::name::Name;

/// Where a zone comes from, and what the catalog knows it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// A zone file, as it is opened and as it is shown.
    File(PathBuf),
    /// The copy of a zone that is taken from its primaries: where it is kept, and the time at which it ends.
    Copy(Box<Copy>),
}

/// The files of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    pub(crate) apex: Name,
    pub(crate) zone: PathBuf,
    pub(crate) expiry: PathBuf,
}

impl PartialOrd for Copy {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Copy {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.zone.cmp(&other.zone)
    }
}

impl Source {
    /// The file on this machine that holds the zone.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Copy(copy) => &copy.zone,
        }
    }

    /// Whether it is taken from others.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self, Self::Copy(_))
    }
}

/// As problems and reports name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}
