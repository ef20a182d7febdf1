//! verge-edge: a pull-CDN edge cache that holds to RFC 9111 and shields origins from load.
//!
//! ```text
//! request ─▶ serve/h1 ─▶ Arrival ─▶ serve/handler ─▶ site::key ─▶ store ─▶ decide::step(request, entries, now)
//!    Serve ───────────────────────────────────────────────▶ answer
//!    ServeAndRefresh ── answer now, and behind it ──┐
//!    Fetch(Plan) ─▶ flight (decide::share) ─▶ origin ─▶ decide::outcome ─▶ store ─▶ answer
//!    Pass / Refuse ─▶ origin / error
//! ```
//!
//! From the ground up: `http` (syntax), `site` (what an operator decided), `policy` (RFC 9111), `decide` (what becomes of
//! a request); then what acts: `store`, `origin`, `flight`, `cache` (all of them), `serve` and `admin` side by side, `run`.
//!
//! The operator's side is `admin`: purge ([`store::purge`]), push, explain; the commands of the same names ask it.
//! Every setting stands in `edge/reference.toml`.
//!
//! Decide in a pure function that returns a value; act in a thin shell that obeys. `http`, `site`, `policy`, `decide` and
//! `pace` know no async, no socket, no clock, no log, no metric and no config file.

pub mod admin;
mod cache;
pub mod clock;
pub mod config;
pub mod course;
pub mod decide;
mod draining;
pub mod flight;
mod governing;
pub mod handover;
pub mod http;
mod listening;
pub mod log;
pub mod metrics;
pub mod origin;
pub mod pace;
pub mod policy;
#[cfg(test)]
#[path = "../../tests/ports.rs"]
mod ports;
pub mod reload;
pub mod run;
pub mod serve;
pub mod site;
pub mod store;
pub mod tls;
mod turn;
pub mod watch;
