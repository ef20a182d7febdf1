//! verge-edge: a pull-CDN edge cache that holds to RFC 9111 and shields origins from load.
//!
//! ```text
//! request ─▶ serve/handler ─▶ key ─▶ store ─▶ policy::reuse(request, entry, now)
//!    Fresh ───────────────────────────────────────────────▶ response
//!    Stale (allowed) ── response now, and behind it ──┐
//!    Revalidate / Fetch ─▶ flight ─▶ origin ─▶ policy::admit(…, now) ─▶ store ─▶ response
//!    Pass / Refuse ─▶ origin / error
//! ```
//!
//! The operator's side is `admin`: purge ([`store::purge`]), push, explain; the commands of the same names ask it.
//! Every setting stands in `edge/reference.toml`.
//!
//! Decide in a pure function that returns a value; act in a thin shell that obeys. `http`, `site`, `policy` and `pace` know no async,
//! no socket, no clock, no log, no metric and no config file; `serve` and `origin` are the shell.

pub mod admin;
mod cache;
pub mod clock;
pub mod config;
pub mod decide;
mod draining;
pub mod flight;
pub mod http;
pub mod log;
pub mod metrics;
pub mod origin;
pub mod pace;
pub mod policy;
pub mod reload;
pub mod run;
pub mod serve;
pub mod site;
pub mod store;
pub mod watch;
