//! Why the last answer for a key was not kept: of some thousand keys, for those who ask why.

use std::hash::Hash as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::StatusCode;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::site::key::Key;

/// A table of fixed size. A key takes the place of another one that has the same slot.
#[derive(Debug)]
pub struct Reasons {
    slots: Vec<Mutex<Option<(u128, Reason)>>>,
    /// Nobody can choose keys that share a slot.
    secret: (u64, u64),
}

/// Why there is nothing of an answer in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The word in `Cache-Status`, or in `Proxy-Status` if no origin answered.
    pub word: &'static str,
    /// The origin's status; none if no origin answered.
    pub status: Option<StatusCode>,
    /// When that was.
    pub at: SystemTime,
}

/// 0.3 MB.
const SLOTS: usize = 4096;

impl Default for Reasons {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::default()).collect(), secret: rand::random() }
    }
}

impl Reasons {
    /// Remembers why the last answer for this key was not kept.
    pub fn note(&self, key: &Key, reason: Reason) {
        let hash = self.hash(key);
        *self.slot(hash).lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, reason));
    }

    /// The last reason for this key, if it is still remembered.
    pub fn of(&self, key: &Key) -> Option<Reason> {
        let hash = self.hash(key);
        let slot = self.slot(hash).lock().unwrap_or_else(PoisonError::into_inner);
        slot.filter(|(other, _)| *other == hash).map(|(_, reason)| reason)
    }

    fn slot(&self, hash: u128) -> &Mutex<Option<(u128, Reason)>> {
        &self.slots[usize::try_from(hash % SLOTS as u128).expect("less than SLOTS")]
    }

    fn hash(&self, key: &Key) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        key.hash(&mut hasher);
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_of_some_thousand_keys_is_remembered() {
        let reasons = Reasons::default();
        let key = |number: usize| Key::from_bytes(&number.to_be_bytes());
        let reason = |word| Reason { word, status: None, at: SystemTime::UNIX_EPOCH };
        assert_eq!(reasons.of(&key(1)), None);
        reasons.note(&key(1), reason("private"));
        reasons.note(&key(1), reason("no-store"));
        assert_eq!(reasons.of(&key(1)), Some(reason("no-store")));
        (0..SLOTS).for_each(|number| reasons.note(&key(number), reason("status")));
        let known = (0..SLOTS).filter(|number| reasons.of(&key(*number)).is_some()).count();
        assert!((SLOTS / 2..=SLOTS).contains(&known), "{known}");
    }
}
