//! A process takes over the sockets of the one before, so that a restart loses no query.
//!
//! ```text
//! old: answers, writes ── sockets ─▶ ─── answers, writes ───── held ─▶ ── answers ─────── leaves: reads no more, ends
//! new:      says hello ◀─┘  reads config and zones … says hold ◀─┘  reads what is new, answers, says ready ──┘ writes
//! ```
//!
//! Both are of the same user and meet at a socket in the run folder. From *held* on the old process changes no file: what it
//! has written, the new one reads. Until the new process has said that it is ready, the old one can go on as if nothing had
//! been: a new process that fails changes nothing.
//!
//! systemd, too, hands sockets to a process: those of socket units, and those that it keeps for the next one.
//!
//! Invariant: at no time do two processes write. At all times one reads each socket, and both may: each packet reaches one. A socket of
//! QUIC is read by one alone, which sends on what is for a connection of the other.

mod door;
mod folder;
mod handed;
mod line;
mod message;
mod passing;
mod predecessor;
pub(crate) mod systemd;

pub(super) use self::door::{Door, Loaded, Offer, Threshold};
pub use self::folder::HandoverError;
pub(super) use self::folder::run_folder;
pub(super) use self::handed::{Channels, Handed, Moved, PATH, Pool};
pub(super) use self::message::{Passed, Secrets};
pub(super) use self::passing::{Passes, Passing, Returned};
pub(super) use self::predecessor::{Left, Predecessor};
