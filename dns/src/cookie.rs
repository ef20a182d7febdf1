//! Server cookies that every server with the same secret understands (RFC 7873, RFC 9018).

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 16;
/// Bytes of a client cookie (RFC 7873 §4).
pub const CLIENT_BYTES: usize = 8;
/// Bytes of our server cookie: version, reserved, timestamp, hash (RFC 9018 §4).
pub const SERVER_BYTES: usize = 16;

/// A client cookie with our server cookie behind it.
pub type Full = [u8; CLIENT_BYTES + SERVER_BYTES];

/// The secret that makes cookies and those that are still accepted (RFC 9018 §5).
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// Makes and checks.
    pub active: [u8; SECRET_BYTES],
    /// Only check: the one before, or the one that will be next, during a rollover.
    pub accepted: Vec<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

/// Whether a COOKIE option proves its sender's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds a cookie that we gave to this address not long ago.
    Proved,
    /// It does not: first contact, old, or not ours.
    Unproved,
}

/// A cookie is good for an hour (RFC 9018 §4.3).
const LIFETIME_SECONDS: u32 = 3600;
/// Another server's clock may be ahead by five minutes (RFC 9018 §4.3).
const AHEAD_SECONDS: u32 = 300;
/// One older than half an hour is replaced (RFC 9018 §4.3).
const REFRESH_SECONDS: u32 = 1800;

impl Secrets {
    /// Judges a COOKIE option's data and says which cookie goes back.
    ///
    /// The data is 8 bytes, or 16 to 40; the caller has refused other lengths (RFC 7873 §5.2.2).
    pub fn judge(&self, cookie: &[u8], client: IpAddr, unix_seconds: u64) -> (Proof, Full) {
        // Timestamps wrap: RFC 9018 §4.3 compares them by serial number arithmetic.
        let now = (unix_seconds & 0xffff_ffff) as u32;
        let mut client_part = [0; CLIENT_BYTES];
        client_part.copy_from_slice(&cookie[..CLIENT_BYTES]);
        match age(cookie, now).filter(|_| self.is_ours(cookie, client)) {
            Some(age) if age <= REFRESH_SECONDS && made_with(&self.active, cookie, client) => {
                (Proof::Proved, echoed(cookie))
            }
            Some(_) => (Proof::Proved, self.make(client_part, client, now)),
            None => (Proof::Unproved, self.make(client_part, client, now)),
        }
    }

    fn is_ours(&self, cookie: &[u8], client: IpAddr) -> bool {
        std::iter::once(&self.active).chain(&self.accepted).any(|secret| made_with(secret, cookie, client))
    }

    fn make(&self, client_part: [u8; CLIENT_BYTES], client: IpAddr, now: u32) -> Full {
        let mut cookie = [0; CLIENT_BYTES + SERVER_BYTES];
        cookie[..8].copy_from_slice(&client_part);
        cookie[8] = VERSION;
        cookie[12..16].copy_from_slice(&now.to_be_bytes());
        let hash = sip(&self.active, &cookie[..16], client);
        cookie[16..].copy_from_slice(&hash);
        cookie
    }
}

const VERSION: u8 = 1;

/// The age in seconds of a cookie of our kind that is in time; one from the near future is new.
fn age(cookie: &[u8], now: u32) -> Option<u32> {
    if cookie.len() != CLIENT_BYTES + SERVER_BYTES || cookie[8] != VERSION {
        return None;
    }
    let made = u32::from_be_bytes([cookie[12], cookie[13], cookie[14], cookie[15]]);
    match (now.wrapping_sub(made), made.wrapping_sub(now)) {
        (age, _) if age <= LIFETIME_SECONDS => Some(age),
        (_, ahead) if ahead <= AHEAD_SECONDS => Some(0),
        _ => None,
    }
}

fn made_with(secret: &[u8; SECRET_BYTES], cookie: &[u8], client: IpAddr) -> bool {
    let (signed, hash) = cookie.split_at(16);
    equal(&sip(secret, signed, client), hash)
}

fn echoed(cookie: &[u8]) -> Full {
    let mut full = [0; CLIENT_BYTES + SERVER_BYTES];
    full.copy_from_slice(cookie);
    full
}

/// SipHash-2-4 over client cookie, version, reserved, timestamp and address (RFC 9018 §4.4).
fn sip(secret: &[u8; SECRET_BYTES], signed: &[u8], client: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    let mut input = [0; 32];
    input[..16].copy_from_slice(signed);
    let len = match client {
        IpAddr::V4(address) => {
            input[16..20].copy_from_slice(&address.octets());
            20
        }
        IpAddr::V6(address) => {
            input[16..].copy_from_slice(&address.octets());
            32
        }
    };
    hasher.write(&input[..len]);
    // The RFC's test vectors put the hash out in the order in which SipHash makes its bytes: little endian.
    hasher.finish().to_le_bytes()
}

/// Compares without telling by its time where two hashes differ.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect()
    }

    fn secrets(active: &str, accepted: &[&str]) -> Secrets {
        let secret = |hex: &str| <[u8; 16]>::try_from(bytes(hex)).unwrap();
        Secrets { active: secret(active), accepted: accepted.iter().map(|hex| secret(hex)).collect() }
    }

    /// RFC 9018 appendix A.
    #[test]
    fn the_rfcs_test_vectors_hold() {
        let v4 = "198.51.100.100".parse().unwrap();
        let a = secrets("e5e973e5a6b2a43f48e7dc849e37bfcf", &[]);
        let (proof, first) = a.judge(&bytes("2464c4abcf10c957"), v4, 1_559_731_985);
        assert_eq!(proof, Proof::Unproved);
        assert_eq!(first.to_vec(), bytes("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));

        let (proof, renewed) = a.judge(&first, v4, 1_559_734_385);
        assert_eq!(proof, Proof::Proved, "forty minutes old");
        assert_eq!(renewed.to_vec(), bytes("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"));

        let reserved = bytes("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let other = "203.0.113.203".parse().unwrap();
        assert_eq!(a.judge(&reserved, other, 0x5cf7_8f71 + 60).0, Proof::Proved, "reserved bits are hashed");
        assert_eq!(a.judge(&reserved, other, 1_559_734_385).0, Proof::Unproved, "older than an hour");

        let v6 = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let b = secrets("445536bcd2513298075a5d379663c962", &["dd3bdf9344b678b185a6f5cb60fca715"]);
        let (proof, rolled) =
            b.judge(&bytes("22681ab97d52c298010000005cf7c57926556bd0934c72f8"), v6, 1_559_741_961);
        assert_eq!(proof, Proof::Proved, "made with the secret before");
        assert_eq!(rolled.to_vec(), bytes("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
    }

    #[test]
    fn a_cookie_is_bound_to_address_time_and_secret() {
        let a = secrets("e5e973e5a6b2a43f48e7dc849e37bfcf", &[]);
        let (client, now) = ("192.0.2.1".parse().unwrap(), 2_000_000_000);
        let (_, cookie) = a.judge(&[7; 8], client, now);
        for (address, at, expected) in [
            ("192.0.2.1", now, Proof::Proved),
            ("192.0.2.2", now, Proof::Unproved),
            ("192.0.2.1", now + 3600, Proof::Proved),
            ("192.0.2.1", now + 3601, Proof::Unproved),
            ("192.0.2.1", now - 300, Proof::Proved),
            ("192.0.2.1", now - 301, Proof::Unproved),
        ] {
            assert_eq!(a.judge(&cookie, address.parse().unwrap(), at).0, expected, "{address} {at}");
        }
        let other = secrets("00000000000000000000000000000000", &[]);
        assert_eq!(other.judge(&cookie, client, now).0, Proof::Unproved);
    }
}
