//! Which fields travel on: to the origin, into the store, to the client.

pub mod client;
pub mod origin;
pub mod status;

use std::time::SystemTime;

use super::{Lifetime, ResponseHead};

/// The head as it is stored: hop-by-hop and omitted fields gone, `Date` present.
pub fn stored(response: &ResponseHead, lifetime: &Lifetime, received: SystemTime) -> ResponseHead {
    let _ = (response, lifetime, received);
    todo!()
}
