//! `POST /guard`: the reload that is being watched, and those that were undone, as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How the guard stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardTold {
    /// The changes that are being watched; none: no reload was a moment ago, or there is no `[guard]`.
    pub watched: Vec<String>,
    /// Whether the config in service is not the one in the file, which was undone.
    pub is_undone: bool,
    /// The reloads that were undone, the latest first; 16 at most.
    pub undone: Vec<Undone>,
}

/// A reload that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Seconds since 1970 at which it was undone.
    pub at: u64,
    /// The changes that it had made.
    pub changed: Vec<String>,
    /// The site that it broke.
    pub site: String,
    /// Answers of its origins since then, 5xx and failures among them.
    pub answers: u32,
    /// Of these, 5xx and failures.
    pub errors: u32,
    /// Percent of errors since the reload.
    pub percent: u32,
    /// Percent of errors before it, as far as they are known: of the last minute or two, or of longer where few came.
    pub percent_before: u32,
    /// Milliseconds for which it was in service.
    pub in_service_ms: u64,
}

/// Tells how the guard stands.
pub(crate) type Guard = Arc<dyn Fn() -> GuardTold + Send + Sync>;
