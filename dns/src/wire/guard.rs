//! The egress guard: reads the final bytes of an answer to the public view as a client would, and stops it if a
//! hidden address is in it.
//!
//! It shares nothing with what made the answer: no tree, no section list, only the bytes. OPT is not its business.
//!
//! Invariant: it fails closed. Bytes that it cannot read are not sent.

use std::net::IpAddr;

use super::query::HEADER_BYTES;
use crate::name::{MAX_NAME_BYTES, Name};
use crate::rtype::Type;
use crate::world::Guard;
use crate::zone::address;

/// Why an answer may not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It holds this address, which is hidden and was not published by a mark.
    Hidden(IpAddr),
    /// It cannot be read.
    Unreadable,
}

/// Judges a whole message.
pub fn inspect(message: &[u8], guard: &Guard) -> Result<(), Stop> {
    let mut walk = Walk { message, at: HEADER_BYTES };
    let [_, _, _, _, q1, q2, counts @ ..] = message else { return Err(Stop::Unreadable) };
    let [a1, a2, n1, n2, r1, r2, ..] = counts else { return Err(Stop::Unreadable) };
    for _ in 0..u16::from_be_bytes([*q1, *q2]) {
        walk.skip_name().and_then(|()| walk.take(4)).ok_or(Stop::Unreadable)?;
    }
    let count = |high: &u8, low: &u8| u32::from(u16::from_be_bytes([*high, *low]));
    for _ in 0..count(a1, a2) + count(n1, n2) + count(r1, r2) {
        walk.record(guard)?;
    }
    if walk.at == message.len() { Ok(()) } else { Err(Stop::Unreadable) }
}

struct Walk<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Walk<'m> {
    #[inline]
    fn record(&mut self, guard: &Guard) -> Result<(), Stop> {
        let owner_at = self.at;
        let (rtype, rdata) = self.read_record().ok_or(Stop::Unreadable)?;
        if rtype == Type::OPT || !address::bears_addresses(rtype) {
            return Ok(());
        }
        // Nearly all records that bear addresses are these two, and every answer comes through here.
        if let (Type::A, Ok(bytes)) = (rtype, <[u8; 4]>::try_from(rdata)) {
            return self.judge(owner_at, bytes.into(), guard);
        }
        if let (Type::AAAA, Ok(bytes)) = (rtype, <[u8; 16]>::try_from(rdata)) {
            return self.judge(owner_at, bytes.into(), guard);
        }
        // Types that bear addresses have no compressed names in their RDATA, so the bytes can be read as they are.
        address::addresses(rtype, rdata)
            .into_iter()
            .try_for_each(|address| self.judge(owner_at, address, guard))
    }

    #[inline]
    fn judge(&self, owner_at: usize, address: IpAddr, guard: &Guard) -> Result<(), Stop> {
        if address::hidden(address, &guard.private).is_none() || self.is_published(owner_at, address, guard) {
            return Ok(());
        }
        Err(Stop::Hidden(address))
    }

    fn is_published(&self, owner_at: usize, address: IpAddr, guard: &Guard) -> bool {
        self.expand(owner_at).is_some_and(|owner| guard.publishes(&owner, address))
    }

    #[inline]
    fn read_record(&mut self) -> Option<(Type, &'m [u8])> {
        self.skip_name()?;
        let [t1, t2, _, _, _, _, _, _, n1, n2] = *self.take(10)?.first_chunk::<10>()?;
        let rdata = self.take(usize::from(u16::from_be_bytes([n1, n2])))?;
        Some((Type(u16::from_be_bytes([t1, t2])), rdata))
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Option<&'m [u8]> {
        let taken = self.message.get(self.at..self.at + bytes)?;
        self.at += bytes;
        Some(taken)
    }

    /// Something always comes behind a name, and to take that tells whether the name was whole.
    #[inline]
    fn skip_name(&mut self) -> Option<()> {
        let mut at = self.at;
        self.at = loop {
            match *self.message.get(at)? {
                0 => break at + 1,
                len @ 1..=63 => at += 1 + usize::from(len),
                64..=191 => return None,
                192.. => break at + 2,
            }
        };
        Some(())
    }

    /// The whole name at `at`; every pointer must point further back (RFC 9267 §2).
    fn expand(&self, mut at: usize) -> Option<Name> {
        let (mut wire, mut lowest) = (Vec::with_capacity(MAX_NAME_BYTES), at);
        loop {
            let len = *self.message.get(at)?;
            if len >= 192 {
                let target = usize::from(u16::from_be_bytes([len & 0x3f, *self.message.get(at + 1)?]));
                if target >= lowest {
                    return None;
                }
                (at, lowest) = (target, target);
                continue;
            }
            wire.extend_from_slice(self.message.get(at..=at + usize::from(len))?);
            at += usize::from(len) + 1;
            if len == 0 {
                return Name::from_wire(&wire).ok();
            }
            if wire.len() > MAX_NAME_BYTES {
                return None;
            }
        }
    }
}
