//! The bounds of a store, and the order in which responses leave it.

use crate::site::tags::TagFields;

/// The memory store's bounds.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes for heads, keys, bodies and the buffers of fills under way.
    pub memory_bytes: u64,
    /// Which object leaves when the memory is full.
    pub eviction: Eviction,
    /// The fields of responses that hold the tags by which they are purged.
    pub tag_fields: TagFields,
}

/// Which object leaves when the memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// S3-FIFO whose window adapts, LRU where that hits more (`store::eviction`).
    S3Fifo,
    /// The one that was not asked for the longest time.
    Lru,
    /// TinyLFU: a newcomer must be asked more often than the one it would replace.
    Lfu,
}
