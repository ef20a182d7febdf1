//! Transaction signatures (TSIG, RFC 8945): keys that two servers share, and what they prove of a message.
//!
//! A key belongs to one view: who proves it gets the answers of that view, wherever it asks (D17, V9). An unknown key, a key
//! of another algorithm and a wrong signature are refused alike, and cost alike, so that nobody learns which names of keys
//! there are.
//!
//! Invariant: this module reads no clock and no message; it is given the bytes that a signature covers.

mod sequence;

use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;

pub use self::sequence::{Sequence, Unproved};

use crate::name::Name;
use crate::rtype::Type;
use crate::view::Which;
use crate::zone::hash::HashMap;

/// How a key makes signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-1: by a switch, for servers that know nothing better (RFC 8945 §6).
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

impl Algorithm {
    /// All that a key should have. HMAC-MD5 is not spoken at all (RFC 8945 §6: MUST NOT).
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Its name, as BIND, Knot DNS, NSD and PowerDNS write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// The algorithm of this name, if it is spoken.
    pub fn named(name: &str) -> Option<Self> {
        Self::spoken().find(|it| it.as_str() == name)
    }

    /// Bytes of a signature, and of a secret that is as strong.
    pub fn bytes(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Its name as a domain name in wire form (RFC 8945 §6).
    fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha1 => b"\x09hmac-sha1\0",
            Self::HmacSha256 => b"\x0bhmac-sha256\0",
            Self::HmacSha384 => b"\x0bhmac-sha384\0",
            Self::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// The algorithm of this name in wire form, if it is spoken.
    fn of_wire(name: &[u8]) -> Option<Self> {
        Self::spoken().find(|it| name.eq_ignore_ascii_case(it.wire()))
    }

    fn spoken() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain([Self::HmacSha1])
    }

    /// Whether a signature may have this many bytes, cut short or not (RFC 8945 §5.2.2.1).
    fn takes(self, mac_bytes: usize) -> bool {
        (LEAST_MAC_BYTES.max(self.bytes() / 2)..=self.bytes()).contains(&mac_bytes)
    }

    /// A key that nobody is believed by, so that an unknown one costs what a known one does.
    fn of_nobody(self) -> &'static hmac::Key {
        static ALL: LazyLock<[hmac::Key; 4]> = LazyLock::new(|| {
            use Algorithm::{HmacSha1, HmacSha256, HmacSha384, HmacSha512};
            [HmacSha1, HmacSha256, HmacSha384, HmacSha512].map(|it| hmac::Key::new(it.of_hmac(), b"nobody"))
        });
        &ALL[self as usize]
    }

    fn of_hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A secret that two servers share, under a name that both know.
pub struct Key {
    /// Its name; part of what it signs.
    pub name: Name,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The view of those who prove it.
    pub view: Which,
    secret: Box<[u8]>,
    hmac: hmac::Key,
}

impl Key {
    /// From the secret's bytes.
    pub fn new(name: Name, algorithm: Algorithm, secret: &[u8], view: Which) -> Self {
        let hmac = hmac::Key::new(algorithm.of_hmac(), secret);
        Self { name, algorithm, view, secret: secret.into(), hmac }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.algorithm, self.view, &self.secret)
            == (&other.name, other.algorithm, other.view, &other.secret)
    }
}

/// Invariant: the secret is not shown.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.algorithm.as_str(), self.view)
    }
}

/// All keys of a server, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys(Arc<HashMap<Name, Arc<Key>>>);

impl Keys {
    /// The key of this name.
    pub fn get(&self, name: &Name) -> Option<&Arc<Key>> {
        self.0.get(name)
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(Arc::new(keys.into_iter().map(|key| (key.name.clone(), Arc::new(key))).collect()))
    }
}

/// The fields of a TSIG record (RFC 8945 §4.2), as they stand in a message.
#[derive(Clone, Debug)]
pub struct Tsig<'p> {
    /// The name of the key.
    pub key: Name,
    /// The name of the algorithm, written out.
    pub algorithm: &'p [u8],
    /// When it was signed, in 48 bits of Unix seconds, and for how many seconds before and after that it holds, in 16.
    pub time: [u8; 8],
    /// The signature.
    pub mac: &'p [u8],
    /// The ID of the message when it was signed.
    pub original_id: [u8; 2],
    /// An error that the sender tells.
    pub error: u16,
    /// More of that error.
    pub other: &'p [u8],
    /// The message without this record; its header counts the record all the same.
    pub covered: &'p [u8],
}

/// Bytes of a TSIG's time and fudge.
const TIME_BYTES: usize = 6;
/// How far two clocks may be apart (RFC 8945 §10).
const FUDGE_SECONDS: u16 = 300;
/// The shortest signature that may be looked at (RFC 8945 §5.2.2.1).
const LEAST_MAC_BYTES: usize = 10;

/// Why a signed message is not believed.
#[derive(Clone, Debug)]
pub enum Refused {
    /// Its signature has a length that none may have: the message is malformed (RFC 8945 §5.2.2.1).
    Malformed,
    /// The key is unknown, or the signature is not the key's.
    BadKey,
    /// It is good, but was made too long ago, or is still to be made.
    BadTime(Signer),
    /// It is good as far as it goes, but was cut short.
    BadTrunc(Signer),
}

/// Judges the signature of a request at this time in Unix seconds.
pub fn judge(keys: &Keys, tsig: &Tsig<'_>, now: u64) -> Result<Signer, Refused> {
    let algorithm = Algorithm::of_wire(tsig.algorithm);
    // Before a key is looked for: a length must not tell which keys there are (V9).
    if algorithm.is_some_and(|algorithm| !algorithm.takes(tsig.mac.len())) {
        return Err(Refused::Malformed);
    }
    let Some(key) = keys.get(&tsig.key).filter(|key| algorithm == Some(key.algorithm)) else {
        // As long as with a key of this algorithm: nor must the time. To make a key takes longer than to use one.
        let made = digest(algorithm.unwrap_or(Algorithm::HmacSha256).of_nobody(), &[], tsig);
        let _ = std::hint::black_box(is_same(
            &made.as_ref()[..tsig.mac.len().min(made.as_ref().len())],
            tsig.mac,
        ));
        return Err(Refused::BadKey);
    };
    let full = key.algorithm.bytes();
    let made = digest(&key.hmac, &[], tsig);
    if !is_same(&made.as_ref()[..tsig.mac.len()], tsig.mac) {
        return Err(Refused::BadKey);
    }
    let signer = Signer { key: Arc::clone(key), prior: tsig.mac.into(), is_first: true };
    if tsig.mac.len() < full {
        return Err(Refused::BadTrunc(signer));
    }
    match is_in_time(tsig, now) {
        true => Ok(signer),
        false => Err(Refused::BadTime(signer)),
    }
}

/// In a time that does not tell how much of it was right.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn is_in_time(tsig: &Tsig<'_>, now: u64) -> bool {
    let [t0, t1, t2, t3, t4, t5, f0, f1] = tsig.time;
    let signed = u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]);
    now.abs_diff(signed) <= u64::from(u16::from_be_bytes([f0, f1]))
}

/// The signature that a message should have: over that of the message before, the message, and the TSIG's own fields
/// (RFC 8945 §4.3).
fn digest(key: &hmac::Key, prior: &[u8], tsig: &Tsig<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    update_prior(&mut context, prior);
    update_covered(&mut context, tsig);
    context.update(tsig.key.as_wire());
    context.update(&[0, 255, 0, 0, 0, 0]);
    context.update(&tsig.algorithm.to_ascii_lowercase());
    context.update(&tsig.time);
    context.update(&tsig.error.to_be_bytes());
    context.update(&u16::try_from(tsig.other.len()).unwrap_or(u16::MAX).to_be_bytes());
    context.update(tsig.other);
    context.sign()
}

/// The message as it was before the TSIG record was added (RFC 8945 §4.3.2).
fn update_covered(context: &mut hmac::Context, tsig: &Tsig<'_>) {
    context.update(&tsig.original_id);
    match tsig.covered {
        [_, _, flags1, flags2, q1, q2, a1, a2, n1, n2, r1, r2, body @ ..] => {
            let additionals = u16::from_be_bytes([*r1, *r2]).saturating_sub(1).to_be_bytes();
            context.update(&[*flags1, *flags2, *q1, *q2, *a1, *a2, *n1, *n2]);
            context.update(&additionals);
            context.update(body);
        }
        short => context.update(short),
    }
}

fn update_prior(context: &mut hmac::Context, prior: &[u8]) {
    if !prior.is_empty() {
        context.update(&u16::try_from(prior.len()).expect("a signature has at most 64 bytes").to_be_bytes());
        context.update(prior);
    }
}

/// An error that a signed answer tells (RFC 8945 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedError {
    /// None.
    None,
    /// The clocks are apart; the answer has ours. It repeats when the request was signed (§5.2.3).
    BadTime([u8; 8]),
    /// The signature was cut short.
    BadTrunc,
}

const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// Signs the messages that answer one request, in their order.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<Key>,
    /// The signature of the message before, which each one covers.
    prior: Box<[u8]>,
    is_first: bool,
}

impl Signer {
    /// For a request of our own: nothing comes before it.
    pub fn of_request(key: &Arc<Key>) -> Self {
        Self { key: Arc::clone(key), prior: Box::default(), is_first: true }
    }

    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Bytes that a signature adds to a message; six more if it tells the time.
    pub fn bytes(&self) -> usize {
        bytes(self.key.name.as_wire(), self.key.algorithm.wire(), self.key.algorithm.bytes())
    }

    /// Signs a message that is complete but for this, and adds the TSIG record.
    pub fn sign(&mut self, message: &mut Vec<u8>, error: SignedError, now: u64) {
        let clock = now.to_be_bytes();
        let [_, _, t0, t1, t2, t3, t4, t5] = clock;
        let [f0, f1] = FUDGE_SECONDS.to_be_bytes();
        let ours = [t0, t1, t2, t3, t4, t5, f0, f1];
        let (time, error, other): (_, _, &[u8]) = match error {
            SignedError::None => (ours, 0, &[]),
            SignedError::BadTime(theirs) => (theirs, BADTIME, &clock[2..]),
            SignedError::BadTrunc => (ours, BADTRUNC, &[]),
        };
        let id = message.first_chunk::<2>().copied().unwrap_or_default();
        let tag = self.tag(message, time, error, other);
        let fields = Fields { time, mac: tag.as_ref(), original_id: id, error, other };
        write(self.key.name.as_wire(), self.key.algorithm.wire(), &fields, message);
        (self.prior, self.is_first) = (tag.as_ref().into(), false);
    }

    /// RFC 8945 §5.3.1: the second and later messages of an answer cover the times of their TSIG only.
    fn tag(&self, message: &[u8], time: [u8; 8], error: u16, other: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key.hmac);
        update_prior(&mut context, &self.prior);
        context.update(message);
        if self.is_first {
            context.update(self.key.name.as_wire());
            context.update(&[0, 255, 0, 0, 0, 0]);
            context.update(self.key.algorithm.wire());
            context.update(&time);
            context.update(&error.to_be_bytes());
            context.update(&u16::try_from(other.len()).expect("none, or a time").to_be_bytes());
            context.update(other);
        } else {
            context.update(&time);
        }
        context.sign()
    }

    /// Whether an answer to what was signed last is by the same key, and of now.
    pub fn accepts(&self, tsig: &Tsig<'_>, now: u64) -> bool {
        let is_ours =
            tsig.key == self.key.name && tsig.algorithm.eq_ignore_ascii_case(self.key.algorithm.wire());
        let made = digest(&self.key.hmac, &self.prior, tsig);
        is_ours && is_same(made.as_ref(), tsig.mac) && is_in_time(tsig, now)
    }
}

/// The fields of a TSIG record of ours, beside the names of key and algorithm.
struct Fields<'f> {
    time: [u8; 8],
    mac: &'f [u8],
    original_id: [u8; 2],
    error: u16,
    other: &'f [u8],
}

/// Bytes of the record without other data.
fn bytes(key: &[u8], algorithm: &[u8], mac_bytes: usize) -> usize {
    key.len() + 10 + algorithm.len() + TIME_BYTES + 2 + 2 + mac_bytes + 2 + 2 + 2
}

fn write(key: &[u8], algorithm: &[u8], fields: &Fields<'_>, message: &mut Vec<u8>) {
    let length = bytes(key, algorithm, fields.mac.len()) - key.len() - 10 + fields.other.len();
    let length_of = |bytes: &[u8]| u16::try_from(bytes.len()).expect("at most 64 bytes").to_be_bytes();
    message.extend_from_slice(key);
    message.extend_from_slice(&Type::TSIG.0.to_be_bytes());
    message.extend_from_slice(&[0, 255, 0, 0, 0, 0]);
    message.extend_from_slice(&u16::try_from(length).expect("a name and a few bytes").to_be_bytes());
    message.extend_from_slice(algorithm);
    message.extend_from_slice(&fields.time);
    message.extend_from_slice(&length_of(fields.mac));
    message.extend_from_slice(fields.mac);
    message.extend_from_slice(&fields.original_id);
    message.extend_from_slice(&fields.error.to_be_bytes());
    message.extend_from_slice(&length_of(fields.other));
    message.extend_from_slice(fields.other);
    if let Some([high, low]) = message.get_mut(10..12) {
        let count = u16::from_be_bytes([*high, *low]).saturating_add(1);
        [*high, *low] = count.to_be_bytes();
    }
}

/// Bytes of what [`write_badkey`] adds.
pub fn badkey_bytes(tsig: &Tsig<'_>) -> usize {
    bytes(tsig.key.as_wire(), tsig.algorithm, 0)
}

/// Appends an unsigned TSIG that says BADKEY (RFC 8945 §5.3.2); the same whether the key or the signature is not ours.
pub fn write_badkey(tsig: &Tsig<'_>, message: &mut Vec<u8>) {
    let Tsig { time, original_id, .. } = *tsig;
    let fields = Fields { time, mac: &[], original_id, error: BADKEY, other: &[] };
    write(tsig.key.as_wire(), tsig.algorithm, &fields, message);
}
