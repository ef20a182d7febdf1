//! Connection IDs that say which process of a row made them, and so which one a packet is for.
//!
//! ```text
//! generation (1 byte) │ chance (7) │ SipHash(key, what is before it) (8)
//! ```
//!
//! A process that takes over from another gets its key, so that it knows the packets of connections that the other still
//! has. A client's own choice of a connection ID, as in its first packet, passes for one of ours once in 2^64.

use std::hash::Hasher as _;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// One process of a row in which each took over from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number in the row, which begins again after 255.
    pub number: u8,
    /// The same for all of the row.
    key: (u64, u64),
}

const CHANCE_BYTES: usize = 7;
const TAG_BYTES: usize = 8;
const TAGGED_BYTES: usize = 1 + CHANCE_BYTES;
/// As long as each of these connection IDs.
pub const ID_BYTES: usize = TAGGED_BYTES + TAG_BYTES;
/// RFC 9000 §17.2: set in a long header.
const LONG_HEADER: u8 = 0x80;
/// RFC 9000 §17.2: of a long header, before the length of the connection ID.
const VERSION_BYTES: usize = 4;

impl Generation {
    /// The first of a row; `chance` is for its key.
    #[must_use]
    pub fn first(chance: (u64, u64)) -> Self {
        Self { number: 0, key: chance }
    }

    /// The one that takes over from this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.wrapping_add(1), ..self }
    }

    /// Whether the process of this number comes later in the row. Of the two ways around, the shorter one counts.
    #[must_use]
    pub fn is_before(self, number: u8) -> bool {
        number.wrapping_sub(self.number).cast_signed() > 0
    }

    /// A connection ID of this process, as chance has it.
    #[must_use]
    pub fn id(self, chance: [u8; CHANCE_BYTES]) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        id[0] = self.number;
        id[1..TAGGED_BYTES].copy_from_slice(&chance);
        let tag = self.tag(&id[..TAGGED_BYTES]);
        id[TAGGED_BYTES..].copy_from_slice(&tag);
        id
    }

    /// The number of the process of this row that has made a connection ID; none if none has.
    fn maker(self, id: &[u8]) -> Option<u8> {
        let id: &[u8; ID_BYTES] = id.try_into().ok()?;
        (self.tag(&id[..TAGGED_BYTES]) == id[TAGGED_BYTES..]).then_some(id[0])
    }

    /// The number of the process of this row that a packet is for; none if its connection ID is of no process's making.
    #[must_use]
    pub fn receiver(self, packet: &[u8]) -> Option<u8> {
        let (first, rest) = packet.split_first()?;
        if first & LONG_HEADER == 0 {
            return self.maker(rest.get(..ID_BYTES)?);
        }
        let (length, rest) = rest.get(VERSION_BYTES..)?.split_first()?;
        self.maker(rest.get(..usize::from(*length))?)
    }

    fn tag(self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(bytes);
        hasher.finish().to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Generation = Generation { number: 7, key: (1, 2) };

    fn short(id: &[u8]) -> Vec<u8> {
        [&[0x40], id, b"payload"].concat()
    }

    fn long(id: &[u8]) -> Vec<u8> {
        let length = u8::try_from(id.len()).unwrap();
        [&[0xc0, 0, 0, 0, 1, length], id, &[0], b"payload"].concat()
    }

    #[test]
    fn a_packet_is_for_the_process_that_made_its_connection_id() {
        let id = ROW.id([9; 7]);
        for reader in [ROW, ROW.next(), Generation { number: 255, ..ROW }.next()] {
            assert_eq!((reader.receiver(&short(&id)), reader.receiver(&long(&id))), (Some(7), Some(7)));
        }
        let stranger = Generation::first((1, 3));
        assert_eq!((stranger.receiver(&short(&id)), stranger.receiver(&long(&id))), (None, None));
    }

    #[test]
    fn a_process_is_before_those_that_are_less_than_half_a_round_further() {
        let is_before = |number, other| Generation { number, ..ROW }.is_before(other);
        for (number, other, expected) in
            [(7, 8, true), (7, 7, false), (8, 7, false), (255, 0, true), (0, 255, false), (7, 134, true)]
        {
            assert_eq!(is_before(number, other), expected, "{number} {other}");
        }
    }

    #[test]
    fn a_connection_id_with_another_bit_and_a_packet_that_is_cut_off_are_nobodys() {
        let id = ROW.id([0; 7]);
        for bit in 0..ID_BYTES * 8 {
            let mut forged = id;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ROW.receiver(&short(&forged)), None, "bit {bit}");
        }
        for packet in [short(&id), long(&id)] {
            let whole = packet.len() - b"payload".len() - usize::from(packet[0] & LONG_HEADER != 0);
            for length in 0..whole {
                assert_eq!(ROW.receiver(&packet[..length]), None, "{length} bytes");
            }
        }
        // A client's first packet has an ID of its own choice, which may be as long as ours.
        assert_eq!(ROW.receiver(&long(&[7; ID_BYTES])), None);
        assert_eq!(ROW.receiver(&long(&[7; 8])), None);
    }
}
