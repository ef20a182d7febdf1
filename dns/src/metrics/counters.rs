//! Counters of one loop, which only that loop writes.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{RCODES, VIEWS, add, index};
use crate::answer::Kind;
use crate::client::Transport;
use crate::cookie::Proof;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::wire::{Gist, Guarded, Outcome, Sent, Why};

/// Counts of one loop, on cache lines that no other loop writes.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    pub(super) transport: Transport,
    /// By kind and rcode: see [`PLACES`].
    pub(super) sent: [[AtomicU64; PLACES]; VIEWS.len()],
    /// By the type asked for; the last place is for all others.
    pub(super) types: [[AtomicU64; TYPES.len() + 1]; VIEWS.len()],
    pub(super) truncated: [AtomicU64; VIEWS.len()],
    pub(super) silent: [AtomicU64; SILENCES.len()],
    pub(super) guard_stopped: AtomicU64,
    /// In the order of `PROOFS`.
    pub(super) cookies: [AtomicU64; PROOFS.len()],
    pub(super) refused_by_kernel: AtomicU64,
    pub(super) shortened: AtomicU64,
    /// Packets by the time until their answers were sent; the last place is beyond all bounds.
    pub(super) took: [AtomicU64; BOUNDS.len() + 1],
    pub(super) took_nanos: AtomicU64,
}

pub(super) const SILENCES: [Why; 5] =
    [Why::TooShort, Why::NotAQuery, Why::ReflectionPort, Why::RateLimited, Why::NotOverQuic];

/// The judgements of cookies that are counted.
pub(super) const PROOFS: [Proof; 2] = [Proof::Proved, Proof::Unproved];

/// Types that are counted apart: those that resolvers ask for.
pub(super) const TYPES: [Type; 19] = [
    Type::A,
    Type::AAAA,
    Type::NS,
    Type::SOA,
    Type::MX,
    Type::TXT,
    Type::PTR,
    Type::CNAME,
    Type::SRV,
    Type::CAA,
    Type::HTTPS,
    Type::SVCB,
    Type::DS,
    Type::DNSKEY,
    Type::NAPTR,
    Type::TLSA,
    Type::ANY,
    Type::AXFR,
    Type::IXFR,
];
/// Seconds: an answer takes some microseconds, and the rest of its batch some more.
pub(super) const BOUNDS: [f64; 9] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1];

/// One for each kind, whose rcode follows from it; one for what slipped; and one for each rcode of all other answers. So one
/// addition counts an answer by both.
pub(super) const PLACES: usize = SLIPPED + 1 + RCODES.len();
const SLIPPED: usize = Kind::ALL.len();

/// The place of an answer.
fn place(sent: &Sent<'_>) -> usize {
    match sent.gist {
        Gist::Answer(kind) => kind as usize,
        Gist::Slipped => SLIPPED,
        Gist::Other => SLIPPED + 1 + index(&RCODES, &sent.rcode),
    }
}

/// The rcode of answers that are counted there.
pub(super) fn rcode_at(place: usize) -> Rcode {
    match Kind::ALL.get(place) {
        Some(kind) => kind.rcode(),
        None => place.checked_sub(SLIPPED + 1).map_or(Rcode::NoError, |at| RCODES[at]),
    }
}

/// The kind of answers that are counted there, as a label.
pub(super) fn kind_at(place: usize) -> &'static str {
    match Kind::ALL.get(place) {
        Some(kind) => kind.as_str(),
        None if place == SLIPPED => "slipped",
        None => "other",
    }
}

/// The place of a type in a table of counters.
fn type_place(asked: Option<Type>) -> usize {
    TYPES.iter().position(|counted| Some(*counted) == asked).unwrap_or(TYPES.len())
}

/// The label of a place in a table of counters.
pub(super) fn type_label(place: usize) -> &'static str {
    TYPES.get(place).and_then(|counted| counted.mnemonic()).unwrap_or("other")
}

impl Counters {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            sent: Default::default(),
            types: Default::default(),
            truncated: Default::default(),
            silent: Default::default(),
            guard_stopped: AtomicU64::default(),
            cookies: Default::default(),
            refused_by_kernel: AtomicU64::default(),
            shortened: AtomicU64::default(),
            took: Default::default(),
            took_nanos: AtomicU64::default(),
        }
    }

    /// Counts what became of a packet.
    pub fn count(&self, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Silent(why) => add(&self.silent[index(&SILENCES, why)], 1),
            Outcome::Sent(sent) => {
                let view = index(&VIEWS, &sent.view);
                add(&self.sent[view][place(sent)], 1);
                add(&self.types[view][type_place(sent.qtype)], 1);
                if sent.truncated && sent.gist != Gist::Slipped {
                    add(&self.truncated[view], 1);
                }
                if sent.guard == Guarded::Stopped {
                    add(&self.guard_stopped, 1);
                }
                if let Some(proof) = sent.cookie {
                    add(&self.cookies[index(&PROOFS, &proof)], 1);
                }
            }
        }
    }

    /// Counts what the egress guard stopped elsewhere than in an answer.
    pub(crate) fn guard_stopped(&self) {
        add(&self.guard_stopped, 1);
    }

    /// Counts answers that the kernel would not take.
    pub fn refused_by_kernel(&self, answers: usize) {
        add(&self.refused_by_kernel, u64::try_from(answers).unwrap_or(u64::MAX));
    }

    /// Counts answers that were longer than their interface takes.
    pub fn shortened(&self, answers: usize) {
        add(&self.shortened, u64::try_from(answers).unwrap_or(u64::MAX));
    }

    /// So many packets were read together, and after this time all their answers were sent.
    pub(crate) fn took(&self, time: Duration, packets: usize) {
        let (seconds, packets) = (time.as_secs_f64(), u64::try_from(packets).unwrap_or(u64::MAX));
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        add(&self.took[bucket], packets);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.took_nanos, nanos.saturating_mul(packets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place() {
        assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    }
}
