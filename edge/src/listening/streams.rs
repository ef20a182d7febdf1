//! The addresses of `[[stream]]`s, and the streams of each.

use std::net::SocketAddr;

use crate::config::Stream;
use crate::site::relay::Relay;

/// The addresses that a config's streams listen on. Streams that name the same one share it; port 0 is another one each
/// time.
pub(super) fn by_address(streams: &[Stream]) -> Vec<(SocketAddr, Vec<Relay>)> {
    let mut all: Vec<(SocketAddr, Vec<Relay>)> = Vec::new();
    for stream in streams {
        for &address in &stream.listen {
            match all.iter_mut().find(|(one, _)| *one == address && address.port() != 0) {
                Some((_, relays)) => relays.push(stream.relay.clone()),
                None => all.push((address, vec![stream.relay.clone()])),
            }
        }
    }
    all
}
