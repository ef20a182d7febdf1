//! The signatures of the messages that answer one request of ours (RFC 8945 §5.3.1): a zone comes in many messages, of which the
//! first and the last are signed, and one in a hundred at least.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::{Key, Signer, Tsig, digest, is_in_time, is_same, update_covered, update_prior};

/// Messages without a signature in a row at most (RFC 8945 §5.3.1).
const MOST_UNSIGNED: u32 = 99;

/// Follows the messages of one answer.
pub struct Sequence {
    key: Arc<Key>,
    /// The signature of the request, and then the last one of the answer.
    prior: Box<[u8]>,
    is_first: bool,
    /// Messages since the last signature, whole.
    unsigned: Option<hmac::Context>,
    unsigned_count: u32,
}

/// Why the messages of an answer are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// A message that must be signed is not.
    Unsigned,
    /// The server says that it does not know the key, or that our signature is not the key's.
    BadKey,
    /// The server says that the clocks are apart.
    BadTime,
    /// The signature is not the key's.
    Wrong,
    /// It is the key's, but of another time.
    OtherTime,
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "an answer is not signed; does the server know the key?",
            Self::BadKey => "the server says BADKEY: it does not know the key, or has another secret",
            Self::BadTime => "the server says BADTIME: its clock and ours are more than five minutes apart",
            Self::Wrong => "the signature of an answer is not the key's",
            Self::OtherTime => "an answer was signed at another time: its server's clock and ours are apart",
        })
    }
}

const BADSIG: u16 = 16;

impl Sequence {
    /// Of the request that `signer` signed last.
    pub fn after(signer: &Signer) -> Self {
        Self {
            key: Arc::clone(&signer.key),
            prior: signer.prior.clone(),
            is_first: true,
            unsigned: None,
            unsigned_count: 0,
        }
    }

    /// Judges the next message, whose TSIG record is `tsig`, at this time in Unix seconds.
    pub fn judge(&mut self, message: &[u8], tsig: Option<&Tsig<'_>>, now: u64) -> Result<(), Unproved> {
        let Some(tsig) = tsig else { return self.pass_unsigned(message) };
        match tsig.error {
            BADSIG | super::BADKEY => return Err(Unproved::BadKey),
            super::BADTIME => return Err(Unproved::BadTime),
            _ => {}
        }
        let is_ours =
            tsig.key == self.key.name && tsig.algorithm.eq_ignore_ascii_case(self.key.algorithm.wire());
        let made = match self.is_first {
            true => digest(&self.key.hmac, &self.prior, tsig),
            false => self.later(tsig),
        };
        if !is_ours || !is_same(made.as_ref(), tsig.mac) {
            return Err(Unproved::Wrong);
        }
        if !is_in_time(tsig, now) {
            return Err(Unproved::OtherTime);
        }
        (self.prior, self.is_first, self.unsigned_count) = (tsig.mac.into(), false, 0);
        Ok(())
    }

    /// Whether nothing is left without a signature, so that the answer may end here.
    pub fn may_end(&self) -> bool {
        !self.is_first && self.unsigned_count == 0
    }

    fn pass_unsigned(&mut self, message: &[u8]) -> Result<(), Unproved> {
        if self.is_first || self.unsigned_count >= MOST_UNSIGNED {
            return Err(Unproved::Unsigned);
        }
        self.unsigned_count += 1;
        let mut context = self.unsigned.take().unwrap_or_else(|| self.begin());
        context.update(message);
        self.unsigned = Some(context);
        Ok(())
    }

    fn begin(&self) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.key.hmac);
        update_prior(&mut context, &self.prior);
        context
    }

    /// The second and later signatures cover their times only, and all messages since the one before.
    fn later(&mut self, tsig: &Tsig<'_>) -> hmac::Tag {
        let mut context = self.unsigned.take().unwrap_or_else(|| self.begin());
        update_covered(&mut context, tsig);
        context.update(&tsig.time);
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, SignedError};
    use super::*;
    use crate::name::Name;
    use crate::view::Which;

    const NOW: u64 = 1_764_390_000;

    fn key(secret: &[u8]) -> Arc<Key> {
        let name = Name::parse_absolute("mirror").unwrap();
        Arc::new(Key::new(name, Algorithm::HmacSha256, secret, Which::Public))
    }

    fn message(text: &str) -> Vec<u8> {
        [&[7, 7, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], text.as_bytes()].concat()
    }

    /// The record that stands behind the message of `bytes`, as `sign` wrote it: read back by its fixed places.
    fn read(signed: &[u8], bytes: usize) -> Tsig<'_> {
        let rdata = &signed[bytes + "\x06mirror\0".len() + 10..];
        let (algorithm, rest) = rdata.split_at("\x0bhmac-sha256\0".len());
        let mac = &rest[10..42];
        Tsig {
            key: Name::parse_absolute("mirror").unwrap(),
            algorithm,
            time: rest[..8].try_into().unwrap(),
            mac,
            original_id: rest[42..44].try_into().unwrap(),
            error: u16::from_be_bytes([rest[44], rest[45]]),
            other: &[],
            covered: &signed[..bytes],
        }
    }

    /// A server that signs the messages of an answer for which a letter is in capitals.
    fn answer(request: &Signer, texts: &str, secret: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let mut signer = Signer { key: key(secret), is_first: true, ..request.clone() };
        let mut pending: Vec<u8> = Vec::new();
        let mut all = Vec::new();
        for letter in texts.chars() {
            let mut made = message(&letter.to_string());
            let bytes = made.len();
            if letter.is_uppercase() {
                // The unsigned messages stand between the last signature and this message.
                let prior = signer.prior.clone();
                let mut context = hmac::Context::with_key(&signer.key.hmac);
                update_prior(&mut context, &prior);
                context.update(&pending);
                let is_plain = pending.is_empty();
                signer.sign(&mut made, SignedError::None, NOW);
                if !is_plain {
                    let at = made.len() - 6 - 32;
                    context.update(&message(&letter.to_string()));
                    context.update(&made[at - 10..at - 2]);
                    let tag = context.sign();
                    made[at..at + 32].copy_from_slice(tag.as_ref());
                    signer.prior = tag.as_ref().into();
                }
                pending.clear();
            } else {
                pending.extend_from_slice(&made);
            }
            all.push((made, bytes));
        }
        all
    }

    fn judged(texts: &str, now: u64, change: impl Fn(&mut Vec<(Vec<u8>, usize)>)) -> Result<bool, Unproved> {
        let mut request = Signer::of_request(&key(b"0123456789abcdef"));
        request.sign(&mut message("request"), SignedError::None, NOW);
        let mut all = answer(&request, texts, b"0123456789abcdef");
        change(&mut all);
        let mut sequence = Sequence::after(&request);
        for (message, bytes) in &all {
            let tsig = (message.len() > *bytes).then(|| read(message, *bytes));
            sequence.judge(message, tsig.as_ref(), now)?;
        }
        Ok(sequence.may_end())
    }

    #[test]
    fn first_and_last_are_signed_and_all_between_are_covered() {
        let same = |_: &mut Vec<(Vec<u8>, usize)>| {};
        assert_eq!(judged("A", NOW, same), Ok(true));
        assert_eq!(judged("ABC", NOW, same), Ok(true));
        assert_eq!(judged("AbcDeF", NOW, same), Ok(true));
        assert_eq!(judged("Ab", NOW, same), Ok(false), "the end is not signed");
        assert_eq!(judged("aB", NOW, same), Err(Unproved::Unsigned), "the first is not");
        let hundred = format!("A{}B", "x".repeat(99));
        assert_eq!(judged(&hundred, NOW, same), Ok(true));
        let more = format!("A{}B", "x".repeat(100));
        assert_eq!(judged(&more, NOW, same), Err(Unproved::Unsigned));
        assert_eq!(judged("AB", NOW + 301, same), Err(Unproved::OtherTime));
    }

    #[test]
    fn whatever_was_changed_on_the_way_is_found() {
        for at in 0..6 {
            let letter = |all: &mut Vec<(Vec<u8>, usize)>| all[at].0[12] ^= 1;
            assert_eq!(judged("AbcDeF", NOW, letter), Err(Unproved::Wrong), "a letter of {at}");
            let lost = |all: &mut Vec<(Vec<u8>, usize)>| drop(all.remove(at));
            assert_ne!(judged("AbcDeF", NOW, lost), Ok(true), "message {at} is gone");
        }
        let swapped = |all: &mut Vec<(Vec<u8>, usize)>| all.swap(1, 2);
        assert_eq!(judged("AbcD", NOW, swapped), Err(Unproved::Wrong));
    }
}
