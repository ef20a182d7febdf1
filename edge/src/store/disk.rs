//! The disk tier: what memory has no room for, and what outlives the process.
//!
//! ```text
//! put ─▶ memory ─▶ desk ─▶ writer ─▶ NUMBER.part ─▶ NUMBER ─▶ index, journal
//! get ─▶ memory ─▶ index ─▶ loading (a thread that may wait) ─▶ memory ─▶ answer
//! large: origin ─▶ spool ─▶ NUMBER.part ─▶ NUMBER; get ─▶ index ─▶ filed ─▶ answer, past memory
//! purge ─▶ memory, index ─▶ keeper ─▶ journal, fdatasync ─▶ the purge returns
//! start ─▶ journal ─▶ index, marks of purges; after a crash a sweep removes what is in no journal
//! ```
//!
//! Formats and decisions are pure: `record`, `journal`, `layout`, `head`, `index`, `ghost`, `hash`, `rate`. These modules act:
//! `folder` (names), `desk` (what threads share), `keeper` and `writer` (the two threads of a disk), `loading` (reads),
//! `spool` and `filed` (large bodies, written and read in pieces), `volume` (one disk), `circle` (which was away), `disks` (all).
//!
//! Invariant: an object that a purge covers is not found after the purge returned, also after a crash at any moment.
//! Invariant: no answer waits for a disk longer than a read's limit, and none fails because of one.

mod circle;
mod desk;
mod disks;
mod filed;
mod folder;
pub mod ghost;
pub mod hash;
pub mod head;
pub mod index;
pub mod journal;
mod keeper;
pub mod layout;
mod loading;
pub mod offered;
pub mod rate;
pub mod record;
mod spool;
mod volume;
mod writer;

pub use disks::Disks;
pub use filed::Filed;
pub use spool::{Reserved, Spool, front};
pub use volume::{Settings, Standing};
