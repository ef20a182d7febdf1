//! Where the catalog takes a zone from.
//!
//! Everything above reads a zone by its source and identifies it by its source, so that a zone that is transferred from
//! a primary (RFC 5936) is one more variant here and one more way to read, and no second catalog.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a zone comes from, and what the catalog knows it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// A zone file, as it is opened and as it is shown.
    File(PathBuf),
}

impl Source {
    /// The file on this machine that holds the zone.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
        }
    }
}

/// As problems and reports name it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
        }
    }
}
