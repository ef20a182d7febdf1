//! The demo stack: one name server, two edges and a small origin in one process on loopback.
//!
//! ```text
//! dig ────▶ verge-dns   one set of zone files, an outside and an inside listener
//! browser ▶ verge-edge  two of them, each with its own cache
//!              └──────▶ origin   a page, and a count of what it was asked for
//! ```
//!
//! The units know nothing of each other; they get their configurations as the TOML text that an operator would write
//! ([`demo`]), so the demo runs what is documented. [`guide`] says what to try, [`dns_client`] and [`http_client`] are what the
//! system tests speak with.

pub mod demo;
pub mod dns_client;
pub mod guide;
pub mod http_client;
pub mod origin;
pub mod site;
