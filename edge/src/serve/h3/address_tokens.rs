//! Tokens by which a client that comes back proves its address with its first packet (NEW_TOKEN, RFC 9000 §8.1.3).
//!
//! Without one a client with early data has proved nothing: anybody could ask in the name of another address, or first
//! prove its own (Retry), which takes the round trip that early data saves. A process takes a token
//! once (§8.1.4); the next one that takes over, once more.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hkdf;
use quinn::crypto::HandshakeTokenKey;
use quinn::{TokenLog, TokenReuseError, ValidationTokenConfig};

/// As many as a handshake makes sessions.
const TOKENS_OF_A_CONNECTION: u32 = 2;
/// Within it the address may have become somebody else's (RFC 9000 §8.1.3). A client that comes later waits for the handshake's
/// end with early data.
const LIFETIME: Duration = Duration::from_hours(1);
/// A token that was used takes 18 to 36 bytes: 1 MB at most.
const MOST_USED: usize = 20_000;

/// The tokens of all listeners.
pub(super) struct AddressTokens {
    /// Of the row of processes, once that is known.
    key: OnceLock<Arc<hkdf::Prk>>,
    used: Arc<Log>,
}

impl AddressTokens {
    /// Their key is still to come.
    pub(super) fn new() -> Self {
        Self { key: OnceLock::new(), used: Arc::default() }
    }

    /// Their key is that of all processes that have this secret, so that one takes the proofs of another. It does not know which
    /// were used there: a client can use one once more.
    pub(super) fn share(&self, secret: &[u8]) {
        self.key.get_or_init(|| Arc::new(key(secret)));
    }

    /// The key of these tokens, and of those that come with a Retry.
    pub(super) fn key(&self) -> Arc<dyn HandshakeTokenKey> {
        let of_this_process = || Arc::new(key(&rand::random::<[u8; 32]>()));
        Arc::clone(self.key.get_or_init(of_this_process)) as Arc<_>
    }

    /// The terms of a connection, which gets tokens or none.
    pub(super) fn terms(&self, gets_tokens: bool) -> ValidationTokenConfig {
        let mut terms = ValidationTokenConfig::default();
        terms.lifetime(LIFETIME).log(Arc::clone(&self.used) as Arc<_>).sent(if gets_tokens {
            TOKENS_OF_A_CONNECTION
        } else {
            0
        });
        terms
    }
}

/// `secret` has other uses: the salt keeps them apart.
fn key(secret: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"address tokens").extract(secret)
}

#[derive(Default)]
struct Log(Mutex<Used>);

impl TokenLog for Log {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.take(nonce, issued, MOST_USED) { Ok(()) } else { Err(TokenReuseError) }
    }
}

/// The tokens that were used. Those that were issued up to `forgotten` count as used, too.
struct Used {
    nonces: HashSet<u128>,
    /// When the last one of `nonces` was issued.
    newest: SystemTime,
    forgotten: SystemTime,
}

impl Default for Used {
    fn default() -> Self {
        let [newest, forgotten] = [SystemTime::UNIX_EPOCH; 2];
        Self { nonces: HashSet::new(), newest, forgotten }
    }
}

impl Used {
    /// Whether a token is taken. One too many ends all that are as old as those that were used.
    fn take(&mut self, nonce: u128, issued: SystemTime, most: usize) -> bool {
        if self.nonces.len() >= most {
            self.forgotten = self.newest;
            self.nonces.clear();
        }
        let is_taken = issued > self.forgotten && self.nonces.insert(nonce);
        if is_taken {
            self.newest = self.newest.max(issued);
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_once_also_when_it_was_forgotten() {
        let mut used = Used::default();
        let mut take =
            |nonce, seconds| used.take(nonce, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), 3);
        assert!(take(1, 10) && !take(1, 10));
        assert!(take(2, 12) && take(3, 11));
        // There is no room for a fourth.
        assert!(take(4, 13));
        for (nonce, seconds) in [(1, 10), (2, 12), (3, 11), (4, 13)] {
            assert!(!take(nonce, seconds), "{nonce}");
        }
        assert!(!take(5, 12), "one that was not used is as old as one that was");
        assert!(take(6, 14));
    }
}
