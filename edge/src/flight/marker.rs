//! Keys whose responses could not be shared lately: their requests do not queue behind one another.

use std::time::SystemTime;

use moka::sync::Cache;

use crate::key::Key;

/// Keys, each until a time.
#[derive(Debug)]
pub(super) struct Markers(Cache<Key, SystemTime>);

/// Losing a marker costs one wait for a head; keys are not worth more memory than this.
const MAX_BYTES: u64 = 4 << 20;
/// What moka takes beside the key.
const MARKER_BYTES: usize = 300;

impl Default for Markers {
    fn default() -> Self {
        let weigh = |key: &Key, _: &SystemTime| {
            u32::try_from(key.as_bytes().len() + MARKER_BYTES).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).build())
    }
}

impl Markers {
    pub(super) fn mark(&self, key: &Key, until: SystemTime) {
        self.0.insert(key.clone(), until);
    }

    pub(super) fn holds(&self, key: &Key, now: SystemTime) -> bool {
        self.0.get(key).is_some_and(|until| now < until)
    }

    pub(super) fn clear(&self, key: &Key) {
        self.0.invalidate(key);
    }
}
