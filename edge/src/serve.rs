//! Requests of clients: their transport, and the one function that holds every branch of a request.
//!
//! ```text
//! listener ─▶ h1 (socket, gate, hyper) ─▶ Arrival ─▶ handler ─▶ placed ─┬─ stored: from the store
//!                                     ◀── Answer ◀──                    ├─ fetch: through a flight
//!                                                                       └─ pass: past the cache
//! ```
//!
//! An `Exchange` is a request and what was found out about it; each step below `handler` gets it, and the `Cache`.
//!
//! `tls` makes a handshake first where a listener asks for one, and `h2` carries HTTP/2 over it; `h3` carries HTTP/3 over
//! QUIC. `stream` has what both do with a request on a stream of its own.
//!
//! `h1` is the only place that knows how HTTP/1.1 is carried: another transport makes an `Arrival`
//! of its own and sends the `Answer` its way.

mod access;
mod alternative;
mod answer;
mod arrival;
mod behind;
pub mod body;
mod by_listener;
mod children;
mod cms;
mod coding;
mod dictionary;
mod direct;
mod ending;
mod exchange;
mod fetch;
mod gathered;
pub mod h1;
mod h2;
pub mod h3;
mod handler;
mod handshakes;
mod https;
mod introducers;
mod known;
mod limits;
mod linger;
mod listener;
mod load;
mod pages;
mod pass;
mod passed;
mod permits;
mod placed;
pub mod proxied;
mod query;
mod relay;
mod room;
mod seldom;
mod service;
mod stored;
mod strangers;
mod stream;
mod switch;
mod target;
mod tls;
mod tunnel;
mod unpacking;

pub(crate) use access::Guards;
pub(crate) use alternative::Ports;
pub(crate) use by_listener::ByListener;
pub use by_listener::Chosen;
pub(crate) use ending::Closing;
pub use h3::generation::Generation;
pub(crate) use h3::{Carrier, Channels, Offer, SharedSocket, endpoint};
pub use handler::HEALTH_PATH;
pub use introducers::Introducers;
pub(crate) use known::Known;
pub use limits::Limits;
pub(crate) use listener::{BACKLOG, Listeners};
pub(crate) use load::Load;
pub(crate) use permits::Permits;
pub use relay::hello;
pub(crate) use relay::{Relays, Running};
pub(crate) use service::Service;
pub(crate) use strangers::Strangers;
pub(crate) use tls::{Door, Terms};
