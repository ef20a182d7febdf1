//! verge-dns: an authoritative DNS server that keeps internal addresses private by default.
//!
//! ```text
//! packet ─▶ serve/udp ─▶ wire::respond ─▶ view ─▶ answer ─▶ wire ─▶ serve/udp ─▶ packet
//!                                          ▲        ▲
//!  serve/reload ─▶ catalog ─▶ zone/file ─▶ zone   (pure: no socket, no clock, no log)
//! ```
//!
//! Decide in a pure function that returns a value; act in a thin shell that obeys. `zone`, `view`, `tsig`, `transfer`, `update`, `world`,
//! `answer`, `limit` and `wire` know no async, no socket, no clock, no log, no metric and no config file; `serve` is the shell.
//!
//! Invariant: no code here decides "found, but may not show". The public view's data ([`view`]) lacks
//! everything that an outsider must not learn; the rules that take it out are in `zone::privacy`.

pub mod admin;
pub mod answer;
pub mod catalog;
pub mod client;
mod clock;
pub mod command;
pub mod config;
pub mod cookie;
pub mod embed;
mod ended;
mod explain;
pub mod limit;
mod log;
pub mod metrics;
pub mod name;
#[cfg(test)]
#[path = "../../tests/ports.rs"]
mod ports;
pub mod rcode;
pub mod rdata;
pub mod rtype;
pub mod serve;
pub mod small_bytes;
pub mod steer;
pub mod transfer;
pub mod tsig;
pub mod update;
pub mod view;
pub mod wire;
pub mod world;
pub mod zone;
