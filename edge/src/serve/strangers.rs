//! Peers that speak as proxies do and are not in `trusted_proxies`: each is told once, as whoever forgot the line gets
//! endless redirects to https and one address for all clients.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderName};

/// The peers that were told of.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Vec<IpAddr>>);

/// Strangers on the Internet may send the field too: their lines must not fill the log.
const MOST: usize = 16;
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Strangers {
    /// Tells of a peer that is not trusted, if it says which scheme its client used.
    pub(super) fn look(&self, peer: IpAddr, headers: &HeaderMap) {
        if headers.contains_key(FORWARDED_PROTO) && self.is_new(peer) {
            tracing::warn!(
                target: "verge_edge::proxy",
                %peer,
                "{peer} sends X-Forwarded-Proto and is not in `trusted_proxies`, so it is not believed: if it is a proxy of yours, add \"{peer}\" there"
            );
        }
    }

    fn is_new(&self, peer: IpAddr) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !told.contains(&peer) && told.len() < MOST;
        if is_new {
            told.push(peer);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_some_in_all() {
        let strangers = Strangers::default();
        let peer = |number: u8| IpAddr::from([192, 0, 2, number]);
        assert!(strangers.is_new(peer(1)) && !strangers.is_new(peer(1)));
        assert_eq!((2..=255).filter(|number| strangers.is_new(peer(*number))).count(), MOST - 1);
    }
}
