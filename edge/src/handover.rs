//! A process takes over the listening sockets of the one before, so that nobody notices a restart.
//!
//! ```text
//! old: answers ──────────────────── sockets ─▶ ─── leaves: Connection: close, GOAWAY; ends when its connections have
//! new:          connects, says hello ◀─┘  loads, opens, answers, says ready ───────────────────────────────▶
//! ```
//!
//! The old process tells the new one what clients of its last connections purge: what is stored matters only there.
//!
//! Both are of the same user and meet at a socket in the run folder. Until the new process has said that it is ready, the
//! old one goes on as if nothing were: a new process that fails changes nothing.
//!
//! systemd, too, hands sockets to a process: those of socket units, and those that a process before left with it.

mod door;
mod folder;
mod handed;
mod line;
mod message;
mod predecessor;
pub mod systemd;

pub(crate) use door::{Door, Offer, Threshold};
pub use folder::HandoverError;
pub(crate) use handed::{Handed, Listener, Setting, Transport};
pub(crate) use message::Row;
pub(crate) use predecessor::{Before, Predecessor};
