//! Checks passwords, and remembers which were right.
//!
//! A hash takes a good part of a second to check, by its design. So a right password is checked once and remembered by
//! its mark: a keyed hash of the name, the password and the hash that it fits. A file that changes makes other marks.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::site::access::Credentials;

#[derive(Debug)]
pub(super) struct Passwords {
    /// For marks; of this process only.
    key: hmac::Key,
    right: Mutex<Marks>,
    /// One permit for each password that may be checked at once.
    turns: Arc<Semaphore>,
    /// One for each that may wait for that.
    queue: Semaphore,
}

type Mark = [u8; 32];

/// Marks in two halves: when the newer one is full, the older one goes.
#[derive(Debug, Default)]
struct Marks {
    newer: HashSet<Mark>,
    older: HashSet<Mark>,
}

/// Whether a password fits a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fits {
    Yes,
    No,
}

/// The right to check a password. It ends with the check, which goes on where the client does not wait for it.
#[derive(Debug)]
pub(super) struct Turn(OwnedSemaphorePermit);

/// In each half: 128 KiB.
const MOST_MARKS: usize = 2048;
/// Requests that wait for their turn; a browser sends some dozens at once.
const QUEUE: usize = 256;

impl Default for Passwords {
    fn default() -> Self {
        // Answers go before passwords: most cores are left to them.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            right: Mutex::default(),
            turns: Arc::new(Semaphore::new((cores / 4).max(1))),
            queue: Semaphore::new(QUEUE),
        }
    }
}

impl Passwords {
    /// Whether these were found to fit this hash before.
    pub(super) fn is_right(&self, hash: &str, credentials: &Credentials) -> bool {
        let mark = self.mark(hash, credentials);
        self.right.lock().unwrap_or_else(PoisonError::into_inner).has(&mark)
    }

    pub(super) fn remember(&self, hash: &str, credentials: &Credentials) {
        let mark = self.mark(hash, credentials);
        self.right.lock().unwrap_or_else(PoisonError::into_inner).add(mark);
    }

    /// Waits for the right to check a password; none if too many wait.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let _place = self.queue.try_acquire().ok()?;
        Arc::clone(&self.turns).acquire_owned().await.ok().map(Turn)
    }

    /// Whether the password fits the hash: bcrypt compares in constant time.
    pub(super) async fn fits(&self, turn: Turn, hash: &str, credentials: &Credentials) -> Fits {
        let (hash, password) = (hash.to_owned(), credentials.password().to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let checked = bcrypt::verify(password, &hash);
            drop(turn.0);
            checked
        });
        match checked.await {
            Ok(Ok(true)) => Fits::Yes,
            _ => Fits::No,
        }
    }

    fn mark(&self, hash: &str, credentials: &Credentials) -> Mark {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [hash, credentials.name(), credentials.password()] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = Mark::default();
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

impl Marks {
    fn has(&mut self, mark: &Mark) -> bool {
        if self.newer.contains(mark) {
            return true;
        }
        let is_older = self.older.contains(mark);
        if is_older {
            self.add(*mark);
        }
        is_older
    }

    fn add(&mut self, mark: Mark) {
        if self.newer.len() >= MOST_MARKS {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(mark);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn credentials() -> Credentials {
        Credentials::read(&HeaderValue::from_static("Basic YW5uOnNlY3JldA==")).unwrap()
    }

    #[tokio::test]
    async fn a_password_fits_the_hash_that_another_program_made() {
        let passwords = Passwords::default();
        // htpasswd -nbB -C 5 ann secret
        let hash = "$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq";
        assert_eq!(passwords.fits(passwords.turn().await.unwrap(), hash, &credentials()).await, Fits::Yes);
        let other = hash.replace("$05$", "$04$");
        assert_eq!(passwords.fits(passwords.turn().await.unwrap(), &other, &credentials()).await, Fits::No);
        assert_eq!(passwords.fits(passwords.turn().await.unwrap(), "", &credentials()).await, Fits::No);
    }

    #[test]
    fn what_was_right_is_right_for_that_hash_alone() {
        let passwords = Passwords::default();
        assert!(!passwords.is_right("h", &credentials()));
        passwords.remember("h", &credentials());
        assert!(passwords.is_right("h", &credentials()) && !passwords.is_right("i", &credentials()));
    }

    #[test]
    fn marks_take_bounded_room_and_those_in_use_stay() {
        let mut marks = Marks::default();
        let mark = |n: usize| {
            let mut mark = Mark::default();
            mark[..8].copy_from_slice(&n.to_be_bytes());
            mark
        };
        marks.add(mark(0));
        for n in 1..10 * MOST_MARKS {
            marks.add(mark(n));
            assert!(marks.has(&mark(0)), "{n}");
        }
        assert!(marks.newer.len() + marks.older.len() <= 2 * MOST_MARKS);
        assert!(!marks.has(&mark(1)));
    }

    #[tokio::test]
    async fn a_check_that_nobody_waits_for_keeps_its_turn() {
        let passwords = Passwords::default();
        let all = passwords.turns.available_permits();
        // Of cost 12: it takes some seconds, and this test gives it up at once.
        let hash = format!("$2y$12${}", "a".repeat(53));
        let turn = passwords.turn().await.unwrap();
        let credentials = credentials();
        let mut check = Box::pin(passwords.fits(turn, &hash, &credentials));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(check.as_mut().poll(&mut context).is_pending());
        drop(check);
        assert_eq!(passwords.turns.available_permits(), all - 1);
        let whole = u32::try_from(all).unwrap();
        drop(passwords.turns.acquire_many(whole).await.unwrap());
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let passwords = Passwords::default();
        let turns: Vec<_> = (0..passwords.turns.available_permits()).map(|_| passwords.turn()).collect();
        let mut held = Vec::new();
        for turn in turns {
            held.push(turn.await.unwrap());
        }
        let _places = passwords.queue.try_acquire_many(u32::try_from(QUEUE).unwrap()).unwrap();
        assert!(passwords.turn().await.is_none());
    }
}
