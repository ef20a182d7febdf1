//! The disk tier: what memory has no room for, and what outlives the process.

pub mod ghost;
pub mod head;
pub mod index;
pub mod journal;
pub mod layout;
pub mod record;
