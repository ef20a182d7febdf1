//! The name of a site, by which stored responses, purges, metrics and the log know it.

use std::fmt;
use std::sync::Arc;

/// A site's name: the first of its hosts. No two sites of a config share one.
///
/// Stored responses and purges hold the name and not the site's place in the config, which a reload changes. A clone is
/// a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SiteName(Arc<str>);

impl SiteName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SiteName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
