//! How an origin stands, for people and the admin listener.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one origin of a site stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginStanding {
    /// `host:port` or `unix:/path`.
    pub origin: String,
    /// The same with its scheme, if that is not plain HTTP.
    pub shown: String,
    /// Its share against the others'.
    pub weight: u32,
    /// Whether it is asked only while the others are down.
    pub backup: bool,
    /// Whether it is another edge, which is asked in the place of the origins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parent: bool,
    /// Whether it is one of the canary's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// `up`, `failing`, `fails-checks`, `ejected` or `drained`.
    pub state: String,
    /// Requests that it is at.
    pub in_flight: u32,
    /// Milliseconds that it lately took to answer, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The last changes of its state, the newest first.
    #[serde(default)]
    pub changes: Vec<OriginChange>,
}

/// A change of an origin's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginChange {
    /// Seconds since then.
    pub secs_ago: u64,
    /// The state since then.
    pub state: String,
    /// Why, in some words.
    pub why: String,
}

impl fmt::Display for OriginStanding {
    /// In a line: `10.0.1.11:8443 (weight 2, backup, 3 in flight, failing: connection_refused)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)?;
        let why = self.changes.first().map_or_else(String::new, |change| format!(": {}", change.why));
        let notes = [
            self.parent.then(|| "parent".to_owned()),
            self.canary.then(|| "canary".to_owned()),
            (self.weight != 1).then(|| format!("weight {}", self.weight)),
            self.backup.then(|| "backup".to_owned()),
            (self.in_flight > 0).then(|| format!("{} in flight", self.in_flight)),
            (self.state != "up").then(|| format!("{}{why}", self.state)),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join(", ")) }
    }
}
