//! Purges on their way to parents: these go first, or what was purged here would come back from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};

use super::{Cache, PurgeRequest};
use crate::origin::{Origins, Said};
use crate::site::parents::{PURGE_PATH, PURGE_TAKEN, PURGE_UNSURE};

/// Purges as an edge tells them to its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromChild {
    /// The names of the edges that they came through.
    pub(crate) through: Vec<String>,
    /// The things that are to go.
    pub(crate) purges: Vec<PurgeRequest>,
}

impl Cache {
    /// Tells the parents of all sites what is to go, and waits until it is gone there. Those that did not take it, each with
    /// the reason.
    pub(crate) async fn purge_above(&self, purges: &[PurgeRequest], through: &[String]) -> Vec<String> {
        let mut groups: BTreeMap<usize, Arc<Origins>> = BTreeMap::new();
        for parents in self.parts().iter().filter_map(|part| part.parents.clone()) {
            // Routes share the parents of their site.
            groups.insert(Arc::as_ptr(&parents) as usize, parents);
        }
        if groups.is_empty() {
            return Vec::new();
        }
        let through = through.iter().chain([&self.name]).cloned().collect();
        let told = FromChild { through, purges: purges.to_vec() };
        let Ok(text) = serde_json::to_vec(&told) else { return Vec::new() };
        let (path, text) = (PathAndQuery::from_static(PURGE_PATH), Bytes::from(text));
        let mut missed = Vec::new();
        for parents in groups.values() {
            for (parent, outcome) in parents.post_to_each(&path, &text).await {
                let why = match outcome {
                    Ok(said) if PURGE_TAKEN.iter().any(|taken| said.content == taken.as_bytes()) => continue,
                    Ok(said)
                        if said.status.is_success() && said.content.starts_with(PURGE_UNSURE.as_bytes()) =>
                    {
                        String::from_utf8_lossy(&said.content[PURGE_UNSURE.len()..]).into_owned()
                    }
                    // A server that knows nothing of purges may say 200 to all that it is asked.
                    Ok(Said { status, .. }) if status.is_success() => {
                        "it does not say that it purged".to_owned()
                    }
                    Ok(Said { status, .. }) => format!("status {}", status.as_u16()),
                    Err(error) => error.as_str().to_owned(),
                };
                missed.push(format!("{parent} ({why})"));
            }
        }
        missed.sort_unstable();
        missed.dedup();
        if !missed.is_empty() {
            tracing::warn!(target: "verge_edge::purge", parents = missed.join(", "), "a purge did not reach these parents, from which what was purged may come back: purge again, or there");
        }
        missed
    }
}
