//! `POST /reload`: what it did, as JSON. A config that is at fault changes nothing and gets 422 with its place.

use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::origins::Streams;

/// The settings that a reload changed, each as `setting: old → new`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadDone {
    /// The changes that count from now on.
    pub changed: Vec<String>,
    /// The changes that need a restart.
    pub needs_restart: Vec<String>,
}

/// A reload under way; the error is the config's.
pub(crate) type Reloading = Pin<Box<dyn Future<Output = Result<ReloadDone, String>> + Send>>;

/// The operator's questions about the config, and about what goes by it beside the sites.
#[derive(Clone)]
pub(crate) struct Reload {
    /// Reloads.
    pub(crate) now: Arc<dyn Fn() -> Reloading + Send + Sync>,
    /// How the last reload does.
    pub(crate) guard: Guard,
    /// The origins of streams.
    pub(crate) streams: Streams,
}
