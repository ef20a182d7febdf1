//! Keys that are being read: a crowd that asks for one reads it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Read;
use crate::site::key::Key;

pub(super) type Reads = HashMap<Key, Arc<OnceCell<Read>>>;

/// Keys that are read at once; beyond, they are misses.
const MOST_READING: usize = 4_096;

/// One of those who wait for a key to be read; the last takes it off the list.
pub(super) struct Turn<'a> {
    reading: &'a Mutex<Reads>,
    key: &'a Key,
    pub(super) cell: Arc<OnceCell<Read>>,
}

impl<'a> Turn<'a> {
    pub(super) fn take(reading: &'a Mutex<Reads>, key: &'a Key) -> Option<Self> {
        let mut all = reading.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = match all.get(key) {
            Some(cell) => Arc::clone(cell),
            None if all.len() >= MOST_READING => return None,
            None => Arc::clone(all.entry(key.clone()).or_default()),
        };
        Some(Self { reading, key, cell })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // The list and this one have it: nobody else waits. The bytes that were read are for those who asked before.
        let is_done = self.cell.initialized() || Arc::strong_count(&self.cell) <= 2;
        if is_done && all.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell)) {
            all.remove(self.key);
        }
    }
}
