//! Decides the outcome of each request; `serve` and `flight` obey.
//!
//! ```text
//! request + what is stored          ─▶ step    ─▶ Step: answer, fetch (by a Plan), pass or refuse
//! request + a fetch under way       ─▶ share   ─▶ may it wait for that fetch; does what it brought answer it
//! Plan + the origin's head or failure ─▶ outcome ─▶ Told: store it, freshen, stand in, own, failed
//! ```
//!
//! `policy` knows one request and what is stored; here several requests meet at one fetch.
//!
//! Invariant: nothing here reads a clock, a socket, a lock, a log or a metric.

pub mod outcome;
pub mod plan;
pub mod share;
pub mod step;
pub mod terms;
#[cfg(test)]
mod tests;

pub use outcome::{StandIn, Why};
pub use plan::Plan;
pub use share::{Company, Meant, Role, Standing};
pub use step::Step;
pub use terms::{Cause, Credentials, Terms};
