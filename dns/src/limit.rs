//! Response rate limiting, as plain state with time and chance as arguments.
//!
//! Answers of one category to one client network share a token bucket, so an attacker that forges a victim's address
//! cannot make this server flood the victim. Every n-th refused answer is sent empty with TC set ("slip"), so that an
//! honest client in the same network retries over TCP.
//!
//! Names that do not exist share one bucket per zone, and names that a wildcard or a DNAME makes up share that of its
//! owner, since a flood of random names would give each its own.
//!
//! Invariant: its memory does not grow. Clients whose buckets collide share tokens for a while.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use siphasher::sip::SipHasher13;

use crate::answer::Kind;

/// How much one client network may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Answers of one category a second.
    pub per_second: u32,
    /// Answers at once after a quiet time.
    pub burst: u32,
    /// Every n-th refused answer is sent empty with TC set; 0 for none.
    pub slip: u32,
}

/// Keys the hash that finds an answer's bucket, so that nobody can choose whom to share a bucket with.
pub type Key = [u8; 16];

/// The limits of one server loop.
#[derive(Debug, Default)]
pub struct Limits(Option<State>);

/// The limiter's decision on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Within the rate.
    Send,
    /// Above it: only "come back by TCP".
    Slip,
    /// Above it: nothing.
    Drop,
}

/// Answers that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Records, by name.
    Positive,
    /// "No such data", by name.
    NoData,
    /// "No such name", by zone.
    NxDomain,
    /// Referrals, by zone.
    Referral,
    /// All errors of one network together.
    Error,
}

impl Category {
    /// The category of an answer.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Positive | Kind::Partial => Self::Positive,
            Kind::NoData => Self::NoData,
            Kind::NxDomain => Self::NxDomain,
            Kind::Referral => Self::Referral,
            Kind::TooLong | Kind::NoZone | Kind::BrokenZone | Kind::Undecided => Self::Error,
        }
    }
}

/// The source and the subject of a question, as rates count them.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The client's address; its network counts.
    pub network: IpAddr,
    /// The category of the answer.
    pub category: Category,
    /// The owner of the records that answer, lower-case wire form: the name asked for, or the wildcard's or
    /// DNAME's owner that stands for any number of them.
    pub name: &'a [u8],
    /// The apex of the zone that answers, if any.
    pub zone: Option<&'a [u8]>,
}

impl Limits {
    /// Without rates nothing is limited. `key` is drawn by chance and told to nobody.
    pub fn new(rates: Option<Rates>, key: Key) -> Self {
        Self(rates.map(|rates| State::new(rates, key)))
    }

    /// Whether nothing is limited.
    #[inline]
    pub fn are_none(&self) -> bool {
        self.0.is_none()
    }

    /// Takes a token for an answer.
    pub fn pace(&mut self, source: &Source<'_>, now: Instant) -> Pace {
        self.0.as_mut().map_or(Pace::Send, |state| state.pace(source, now))
    }
}

#[derive(Debug)]
struct State {
    rates: Rates,
    hasher: SipHasher13,
    /// The time that buckets count from.
    origin: Option<Instant>,
    buckets: Box<[Bucket]>,
}

/// 16 bytes each: a quarter of a MiB a loop, four times as many buckets as a busy server has clients in a second.
const BUCKETS: usize = 1 << 14;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// The owner of the bucket; another one takes it over once it is full again.
    owner: u32,
    /// Thousandths of answers that may still be sent.
    milli_tokens: u32,
    /// Milliseconds since the origin at which it was last filled.
    filled_at_ms: u32,
    /// Answers refused to this owner. Those sent in between do not matter: near the rate, no two are refused in a row.
    refused: u32,
}

impl State {
    fn new(rates: Rates, key: Key) -> Self {
        let full = Bucket { milli_tokens: milli(rates.burst.max(1)), ..Bucket::default() };
        Self {
            rates,
            hasher: SipHasher13::new_with_key(&key),
            origin: None,
            buckets: vec![full; BUCKETS].into(),
        }
    }

    fn pace(&mut self, source: &Source<'_>, now: Instant) -> Pace {
        let origin = *self.origin.get_or_insert(now);
        let now_ms = u32::try_from(now.saturating_duration_since(origin).as_millis() & 0xffff_ffff)
            .expect("masked to 32 bits");
        let mut hasher = self.hasher;
        key(source).hash(&mut hasher);
        let hash = hasher.finish();
        let at = usize::try_from(hash & 0xffff_ffff).expect("32 bits fit a usize") % BUCKETS;
        let owner = u32::try_from(hash >> 32).expect("32 bits are left");
        let rates = self.rates;
        let bucket = &mut self.buckets[at];
        bucket.fill(rates, now_ms);
        if bucket.owner != owner && bucket.milli_tokens == milli(rates.burst.max(1)) {
            *bucket = Bucket { owner, refused: 0, ..*bucket };
        }
        bucket.take(rates)
    }
}

impl Bucket {
    fn fill(&mut self, rates: Rates, now_ms: u32) {
        let elapsed_ms = now_ms.wrapping_sub(self.filled_at_ms);
        let more = u64::from(elapsed_ms) * u64::from(rates.per_second);
        let most = milli(rates.burst.max(1));
        let filled = u64::from(self.milli_tokens).saturating_add(more).min(u64::from(most));
        self.milli_tokens = u32::try_from(filled).unwrap_or(most);
        self.filled_at_ms = now_ms;
    }

    fn take(&mut self, rates: Rates) -> Pace {
        if let Some(left) = self.milli_tokens.checked_sub(1000) {
            self.milli_tokens = left;
            return Pace::Send;
        }
        self.refused = self.refused.wrapping_add(1);
        if rates.slip > 0 && self.refused.is_multiple_of(rates.slip) { Pace::Slip } else { Pace::Drop }
    }
}

fn milli(answers: u32) -> u32 {
    answers.saturating_mul(1000)
}

/// A household or a customer's network: neighbours of a victim share its fate, others do not.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8) | 1 << 63,
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 72).expect("56 bits are left"),
    }
}

fn key<'a>(source: &Source<'a>) -> (u64, Category, &'a [u8]) {
    let name = match source.category {
        Category::Positive | Category::NoData => source.name,
        Category::NxDomain | Category::Referral => source.zone.unwrap_or_default(),
        Category::Error => &[],
    };
    (network(source.network), source.category, name)
}
