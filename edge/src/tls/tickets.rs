//! Session tickets that every edge with the same secret can read, after a restart as well (RFC 8446 §4.6.1, RFC 5077).
//!
//! The keys follow from the secret and the time: `HKDF-SHA256(secret, "verge-edge ticket" + epoch)`, an epoch being six
//! hours. So edges need not tell each other anything, and a key is of use for a day at most. Tickets of the epoch
//! before and after are read, too, since clocks differ and clients come back later.
//!
//! ```text
//! epoch (8 bytes) │ nonce (12) │ AES-256-GCM(key of the epoch, state of the session) │ tag (16)
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use rustls::server::ProducesTickets;

use crate::clock::Clock;

/// A key is used this long. With random nonces an AES-GCM key may seal 2^32 tickets (NIST SP 800-38D §8.3): a fleet would
/// have to make 200,000 handshakes a second.
const EPOCH: Duration = Duration::from_secs(6 * 3600);
/// The secret must have at least this many bytes, to be worth as much as the keys.
const MIN_SECRET_BYTES: usize = 32;
const EPOCH_BYTES: usize = 8;
const KEY_BYTES: usize = 32;

/// Seals and opens tickets.
pub struct Tickets {
    path: PathBuf,
    secret: ArcSwap<Prk>,
    seen: Mutex<Seen>,
    clock: Clock,
}

/// The secret's file, as it was.
#[derive(Debug, Default)]
struct Seen {
    /// When it was last read, or found to be no secret.
    read: Stamp,
    /// When it was last said that it cannot be read.
    told: Option<Stamp>,
}

/// Inode, length and time of change; none if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Why a secret cannot be used.
#[derive(Debug)]
pub enum SecretError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// There is too little in it to be a secret.
    TooShort(PathBuf),
}

impl SecretError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable(path, _) | Self::TooShort(path) => path,
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(
                f,
                "{}: {error} (`tls.ticket_secret`); make one with: openssl rand -hex 32",
                path.display()
            ),
            Self::TooShort(path) => write!(
                f,
                "{}: a ticket secret has {MIN_SECRET_BYTES} bytes or more (`tls.ticket_secret`); make one with: \
                 openssl rand -hex 32",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SecretError {}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Tickets {
    /// Reads the secret.
    ///
    /// # Errors
    /// When the file cannot be read or has fewer than 32 bytes.
    pub fn load(path: &Path, clock: Clock) -> Result<Self, SecretError> {
        let seen = Mutex::new(Seen { read: stamp(path), told: None });
        let secret = ArcSwap::from_pointee(read(path)?);
        Ok(Self { path: path.to_path_buf(), secret, seen, clock })
    }

    /// Reads the secret again if its file has changed; the one before stays if that fails, and the fault is told once. A file
    /// that cannot be read is tried again at the next look: a process without descriptors left cannot read it either.
    ///
    /// # Errors
    /// As [`Tickets::load`].
    pub fn look(&self) -> Result<(), SecretError> {
        let stamp = stamp(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.read == stamp {
            return Ok(());
        }
        match read(&self.path) {
            Ok(secret) => {
                self.secret.store(Arc::new(secret));
                *seen = Seen { read: stamp, told: None };
                Ok(())
            }
            Err(SecretError::Unreadable(..)) if seen.told == Some(stamp) => Ok(()),
            Err(error) => {
                match error {
                    SecretError::Unreadable(..) => seen.told = Some(stamp),
                    SecretError::TooShort(_) => *seen = Seen { read: stamp, told: None },
                }
                Err(error)
            }
        }
    }

    fn epoch(&self) -> u64 {
        let since = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        since.as_secs() / EPOCH.as_secs()
    }

    fn key(&self, epoch: u64) -> Option<RandomizedNonceKey> {
        let mut key = [0; KEY_BYTES];
        let info = [LABEL, &epoch.to_be_bytes()];
        let prk = self.secret.load();
        prk.expand(&info, HKDF_SHA256).ok()?.fill(&mut key).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = ticket.split_first_chunk::<EPOCH_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let epoch = u64::from_be_bytes(*head);
        if epoch.abs_diff(self.epoch()) > 1 {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key(epoch)?.open_in_place(nonce, Aad::from(head), &mut sealed).ok()?.len();
        sealed.truncate(opened);
        Some(sealed)
    }

    fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        let epoch = self.epoch();
        let head = epoch.to_be_bytes();
        let mut sealed = state.to_vec();
        let nonce = self.key(epoch)?.seal_in_place_append_tag(Aad::from(&head), &mut sealed).ok()?;
        Some([&head, nonce.as_ref().as_slice(), &sealed].concat())
    }
}

/// Keeps these keys apart from whatever else a fleet derives from the same file.
const LABEL: &[u8] = b"verge-edge ticket";

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds that clients are told; a ticket is read for one epoch after its own at least.
    fn lifetime(&self) -> u32 {
        u32::try_from(EPOCH.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.seal(state)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket)
    }
}

/// Links are followed: a rotation often moves a link.
fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|it| (it.ino(), it.len(), it.ctime(), it.ctime_nsec()))
}

fn read(path: &Path) -> Result<Prk, SecretError> {
    let secret = fs::read(path).map_err(|error| SecretError::Unreadable(path.to_path_buf(), error))?;
    let secret = secret.trim_ascii();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(SecretError::TooShort(path.to_path_buf()));
    }
    Ok(Salt::new(HKDF_SHA256, &[]).extract(secret))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn tickets(secret: &str, at: u64) -> (Tickets, Clock, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), secret).unwrap();
        let clock = Clock::standing(UNIX_EPOCH + Duration::from_secs(at));
        (Tickets::load(file.path(), clock.clone()).unwrap(), clock, file)
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef\n";
    const OTHER: &str = "another-secret-another-secret-another";
    const HOUR: u64 = 3600;

    #[test]
    fn an_edge_reads_what_another_with_the_same_secret_sealed() {
        let (one, _, _a) = tickets(SECRET, 100 * HOUR);
        let (two, _, _b) = tickets(SECRET.trim_end(), 101 * HOUR);
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(two.decrypt(&ticket).unwrap(), b"session");
        let (stranger, _, _c) = tickets(OTHER, 100 * HOUR);
        assert_eq!(stranger.decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_is_read_in_its_epoch_and_the_next_and_by_a_clock_that_is_one_behind() {
        let (sealer, _, _file) = tickets(SECRET, 60 * HOUR);
        let ticket = sealer.encrypt(b"session").unwrap();
        for (at, is_read) in [(53, false), (54, true), (60, true), (71, true), (72, false), (600, false)] {
            let (reader, _, _file) = tickets(SECRET, at * HOUR);
            assert_eq!(reader.decrypt(&ticket).is_some(), is_read, "in hour {at}");
        }
    }

    #[test]
    fn a_ticket_with_another_bit_or_cut_off_is_no_ticket() {
        let (tickets, _, _file) = tickets(SECRET, 60 * HOUR);
        let ticket = tickets.encrypt(b"session").unwrap();
        for bit in 0..ticket.len() * 8 {
            let mut forged = ticket.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.decrypt(&forged), None, "bit {bit}");
        }
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_secret_that_is_replaced_by_a_bad_one_stays() {
        let (tickets, _, file) = tickets(SECRET, 60 * HOUR);
        let ticket = tickets.encrypt(b"session").unwrap();
        let write = |text: &str| fs::write(file.path(), text).unwrap();
        write("short");
        assert!(tickets.look().unwrap_err().to_string().contains("32 bytes or more"));
        assert!(tickets.look().is_ok(), "it was told");
        assert!(tickets.decrypt(&ticket).is_some());
        write(OTHER);
        tickets.look().unwrap();
        assert_eq!(tickets.decrypt(&ticket), None);
    }

    #[test]
    fn a_secret_that_cannot_be_read_now_is_taken_once_it_can_be() {
        let (tickets, _, file) = tickets(SECRET, 60 * HOUR);
        let ticket = tickets.encrypt(b"session").unwrap();
        let (path, aside) = (file.path(), file.path().with_extension("aside"));
        fs::write(&aside, OTHER).unwrap();
        fs::remove_file(path).unwrap();
        // A folder is a file that not even root can read.
        fs::create_dir(path).unwrap();
        assert!(matches!(tickets.look(), Err(SecretError::Unreadable(..))));
        assert!(tickets.look().is_ok(), "it was told");
        assert_ne!(tickets.seen.lock().unwrap().read, stamp(path), "it is tried again");
        assert!(tickets.decrypt(&ticket).is_some());
        fs::remove_dir(path).unwrap();
        fs::rename(&aside, path).unwrap();
        tickets.look().unwrap();
        assert_eq!(tickets.decrypt(&ticket), None);
    }
}
