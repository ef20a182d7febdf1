//! Steering: which addresses of an RRset a client is given, by health, load and place.
//!
//! ```text
//! marks, [steer] ─▶ pool (an RRset and its rules) ─▶ plan ◀─ decide ◀─ health ◀─ what checks saw
//!                                                     │
//!                                    client ─▶ choose ┴▶ the records of the answer
//! ```
//!
//! A pool is an address RRset of a name that `; verge: steer` or `[[steer.pool]]` names; its records are the members. For each
//! pool there is one [`Plan`](choose::Plan), which a change of health replaces: nothing else is built again. An answer
//! chooses from the plan by the client's network, so that a resolver gets the same answer as long as nothing changes.
//!
//! Invariant: a pool is made from the tree of one view, so no answer holds an address that the view's RRset does not.
//! Invariant: an answer is never empty because of steering. If nobody is up, the pool's rules say who is given.

pub mod bearing;
pub mod choose;
pub mod decide;
pub mod drain;
pub mod geo;
pub mod health;
pub mod hints;
pub mod marks;
pub mod place;
pub mod pool;
pub mod quorum;
pub mod rtt;
pub mod rules;

pub use pool::{Pool, Pools};
pub use rules::{Rules, Settings};

use std::net::IpAddr;

/// The client of a question, as far as steering looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its address, or the network that a trusted resolver says it asks for.
    pub address: IpAddr,
    /// Whether that is a network that a resolver asks for.
    pub is_subnet: bool,
}

impl Default for Asker {
    /// Nobody in particular.
    fn default() -> Self {
        Self::at(IpAddr::from([0, 0, 0, 0]))
    }
}

impl Asker {
    /// A client that asks for itself.
    pub fn at(address: IpAddr) -> Self {
        Self { address, is_subnet: false }
    }

    /// The bits of the address that [`Asker::seed`] looks at.
    pub fn seed_bits(self) -> u8 {
        if self.address.is_ipv4() { 24 } else { 48 }
    }

    /// A number that all clients of one network share (IPv4 /24, IPv6 /48): a resolver's other address gets the same
    /// answer.
    #[inline]
    pub fn seed(self) -> u64 {
        match self.address {
            IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
            IpAddr::V6(address) => (address.to_bits() >> 80) as u64 | 1 << 63,
        }
    }
}
