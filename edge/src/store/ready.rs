//! Heads of answers from stored objects, ready-made: their bytes, with gaps for the numbers that change every second.
//!
//! A head is made by the same functions as all others when it is first needed, and kept beside its object.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderValue;

use crate::http::digits::decimal;
use crate::policy::Freshness;

/// The ready-made heads of one object.
#[derive(Debug, Default)]
pub struct ReadyHeads([ArcSwapOption<ReadyHead>; 2]);

/// The answers that have ready-made heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of the object.
    Whole,
    /// 304: the client has it already.
    Unmodified,
}

/// The circumstances of an answer that its head depends on, beside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The number of the part of the site that it is for, as one config has it.
    pub site: u64,
    /// Its `Alt-Svc`.
    pub alternative: Option<HeaderValue>,
    /// Whether it is for another edge, which gets all fields.
    pub is_childs: bool,
}

/// One head.
#[derive(Debug)]
pub struct ReadyHead {
    made_for: Circumstances,
    text: Box<[u8]>,
    /// In order.
    gaps: [Option<(usize, Gap)>; 2],
}

/// A number that is written anew each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Seconds, in `Age`.
    Age,
    /// Seconds, in `Cache-Status`.
    Ttl,
}

impl ReadyHeads {
    /// The head for these circumstances, if it was made.
    #[must_use]
    pub fn get(&self, kind: Kind, circumstances: &Circumstances) -> Option<Arc<ReadyHead>> {
        self.0[kind as usize].load_full().filter(|head| head.made_for == *circumstances)
    }

    /// Keeps a head, in the place of one for other circumstances.
    pub fn keep(&self, kind: Kind, head: Arc<ReadyHead>) {
        self.0[kind as usize].store(Some(head));
    }
}

impl ReadyHead {
    /// `text` is the head without what stands in the gaps, each of which is a place in it, in order.
    #[must_use]
    pub fn new(made_for: Circumstances, text: Vec<u8>, gaps: [Option<(usize, Gap)>; 2]) -> Self {
        Self { made_for, text: text.into_boxed_slice(), gaps }
    }

    /// Appends the head of an answer that is this fresh.
    pub fn write(&self, freshness: &Freshness, out: &mut Vec<u8>) {
        let mut from = 0;
        for &(at, gap) in self.gaps.iter().flatten() {
            out.extend_from_slice(&self.text[from..at]);
            match gap {
                Gap::Age => decimal(freshness.age_secs, out),
                Gap::Ttl => {
                    let secs = freshness.ttl_secs();
                    if secs < 0 {
                        out.push(b'-');
                    }
                    decimal(secs.unsigned_abs(), out);
                }
            }
            from = at;
        }
        out.extend_from_slice(&self.text[from..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::freshness::Source;

    fn freshness(age_secs: u64, lifetime_secs: u64) -> Freshness {
        Freshness { age_secs, lifetime_secs, source: Source::MaxAge }
    }

    fn circumstances(site: u64) -> Circumstances {
        Circumstances { site, alternative: None, is_childs: false }
    }

    #[test]
    fn the_numbers_of_the_second_stand_in_the_gaps() {
        let head = |gaps| ReadyHead::new(circumstances(1), b"age: ,ttl=.".to_vec(), gaps);
        let both = [Some((5, Gap::Age)), Some((10, Gap::Ttl))];
        for (gaps, freshness, expected) in [
            (both, freshness(0, 60), "age: 0,ttl=60."),
            (both, freshness(10, 9), "age: 10,ttl=-1."),
            (both, freshness(1, u64::MAX), "age: 1,ttl=9223372036854775806."),
            ([None, Some((10, Gap::Ttl))], freshness(7, 60), "age: ,ttl=53."),
            ([None, None], freshness(7, 60), "age: ,ttl=."),
        ] {
            let mut out = Vec::new();
            head(gaps).write(&freshness, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_head_is_for_the_circumstances_that_it_was_made_for() {
        let heads = ReadyHeads::default();
        let other =
            Circumstances { alternative: Some(HeaderValue::from_static("clear")), ..circumstances(1) };
        let is_there = |kind, circumstances: &Circumstances| heads.get(kind, circumstances).is_some();
        assert!(!is_there(Kind::Whole, &circumstances(1)));
        heads.keep(Kind::Whole, Arc::new(ReadyHead::new(circumstances(1), Vec::new(), [None; 2])));
        assert!(is_there(Kind::Whole, &circumstances(1)) && !is_there(Kind::Unmodified, &circumstances(1)));
        assert!(!is_there(Kind::Whole, &circumstances(2)) && !is_there(Kind::Whole, &other));
    }
}
