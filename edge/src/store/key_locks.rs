//! Locks that serialise changes to what is stored under one key. Keys share them by their hash.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::site::key::Key;

/// The locks. Nobody holds two.
#[derive(Debug)]
pub(super) struct KeyLocks {
    hasher: RandomState,
    locks: [Mutex<()>; LOCKS],
}

/// Some times as many as there are threads, so that two rarely meet at one.
const LOCKS: usize = 64;

impl Default for KeyLocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), locks: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl KeyLocks {
    /// Waits until no other thread changes what is stored under the key.
    pub(super) fn take(&self, key: &Key) -> MutexGuard<'_, ()> {
        let lock = self.hasher.hash_one(key) as usize % LOCKS;
        // It guards no value that a panic could leave half changed.
        self.locks[lock].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
