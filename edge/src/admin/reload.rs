//! `POST /reload`: what it did, as JSON. A config that is at fault changes nothing and gets 422 with its place.

use serde::{Deserialize, Serialize};

/// What a reload changed, each as `setting: old → new`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadDone {
    /// What counts from now on.
    pub changed: Vec<String>,
    /// What only a restart brings about.
    pub needs_restart: Vec<String>,
}

/// Reloads; the error is the config's.
pub(crate) type Reload = Box<dyn Fn() -> Result<ReloadDone, String> + Send + Sync>;
