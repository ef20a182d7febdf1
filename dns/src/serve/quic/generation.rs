//! Connection IDs that tell which process made them, so that each packet finds the process that has its connection.
//!
//! ```text
//! number of the process (1 byte) │ chance (7 bytes) │ SipHash-1-3 of both by the key of the row (8 bytes)
//! ```
//!
//! Processes that take over from one another are a row: each is one further, and all have one key. Nobody without the key
//! makes such an ID: one that a client has chosen itself, as in its first packet, passes once in 2^64. All connections of a
//! process have the same number in common, so that it tells nobody which of them belong together (RFC 9000 §5.1).

use std::fmt;
use std::hash::Hasher as _;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// A process of a row.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::serve) struct Generation {
    /// Its place in the row; after 255 comes 0.
    number: u8,
    key: (u64, u64),
}

pub(super) const CHANCE_BYTES: usize = 7;
const TAGGED_BYTES: usize = 1 + CHANCE_BYTES;
/// Of each ID.
pub(super) const ID_BYTES: usize = TAGGED_BYTES + 8;
/// The bit of a packet's first byte that makes its header a long one (RFC 9000 §17.2).
const LONG_HEADER: u8 = 0x80;
/// Of the version, which stands before the length of the connection ID in a long header (RFC 9000 §17.2).
const VERSION_BYTES: usize = 4;

impl Generation {
    /// The first of a row; its key is made by chance.
    pub(in crate::serve) const fn first(key: (u64, u64)) -> Self {
        Self { number: 0, key }
    }

    /// The one that takes over from this one.
    pub(in crate::serve) fn next(self) -> Self {
        Self { number: self.number.wrapping_add(1), ..self }
    }

    pub(super) fn number(self) -> u8 {
        self.number
    }

    /// A connection ID of this process.
    pub(super) fn id(self, chance: [u8; CHANCE_BYTES]) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        let (tagged, tag) = id.split_at_mut(TAGGED_BYTES);
        tagged[0] = self.number;
        tagged[1..].copy_from_slice(&chance);
        tag.copy_from_slice(&self.tag(tagged));
        id
    }

    /// The number of the process of this row that a packet is for, by its connection ID; none if no process of the row has
    /// made that ID.
    pub(super) fn receiver(self, packet: &[u8]) -> Option<u8> {
        let (first, rest) = packet.split_first()?;
        if first & LONG_HEADER == 0 {
            return self.maker(rest.get(..ID_BYTES)?);
        }
        let (length, rest) = rest.get(VERSION_BYTES..)?.split_first()?;
        self.maker(rest.get(..usize::from(*length))?)
    }

    fn maker(self, id: &[u8]) -> Option<u8> {
        let (tagged, tag) = id.split_at_checked(TAGGED_BYTES)?;
        (self.tag(tagged) == tag).then(|| tagged[0])
    }

    fn tag(self, tagged: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(tagged);
        hasher.finish().to_be_bytes()
    }
}

/// Without the key.
impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({})", self.number)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    use proptest::prelude::*;

    /// A packet with a short header to this connection ID.
    pub(in crate::serve::quic) fn short(id: &[u8]) -> Vec<u8> {
        [&[0x40], id, b"payload"].concat()
    }

    /// As [`short`], with a long header.
    pub(in crate::serve::quic) fn long(id: &[u8]) -> Vec<u8> {
        let length = u8::try_from(id.len()).unwrap();
        [&[0xc3, 0, 0, 0, 1, length], id, &[0], b"payload"].concat()
    }

    #[test]
    fn a_packet_is_for_the_process_that_made_its_connection_id() {
        let first = Generation::first((1, 2));
        let mut generation = first;
        for _ in 0..600 {
            let id = generation.id([9; CHANCE_BYTES]);
            for reader in [first, generation, generation.next()] {
                for packet in [short(&id), long(&id)] {
                    assert_eq!(reader.receiver(&packet), Some(generation.number()));
                }
            }
            let stranger = Generation::first((1, 3));
            assert_eq!((stranger.receiver(&short(&id)), stranger.receiver(&long(&id))), (None, None));
            generation = generation.next();
        }
    }

    #[test]
    fn an_id_with_another_bit_or_of_another_length_or_cut_off_is_of_no_process() {
        let generation = Generation::first((1, 2)).next();
        let id = generation.id([0; CHANCE_BYTES]);
        for bit in 0..ID_BYTES * 8 {
            let mut forged = id;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                (generation.receiver(&short(&forged)), generation.receiver(&long(&forged))),
                (None, None)
            );
        }
        for (packet, head) in [(short(&id), 1), (long(&id), 6)] {
            for length in 0..head + ID_BYTES {
                assert_eq!(generation.receiver(&packet[..length]), None, "{length} bytes");
            }
        }
        for length in [0, 1, 8, ID_BYTES - 1] {
            assert_eq!(generation.receiver(&long(&id[..length])), None, "{length} bytes");
        }
        assert_eq!(generation.receiver(&long(&[&id[..], &[0]].concat())), None);
    }

    proptest! {
        #[test]
        fn packets_that_anybody_makes_up_are_for_no_process_before(
            packet in proptest::collection::vec(any::<u8>(), 0..64), is_long in any::<bool>(),
        ) {
            let mut packet = packet;
            if let (Some(first), true) = (packet.first_mut(), is_long) {
                *first |= LONG_HEADER;
            }
            prop_assert_eq!(Generation::first((1, 2)).receiver(&packet), None);
        }
    }
}
