//! Name compression (RFC 1035 §4.1.4): where in the message each name and each of its ancestors was written.
//!
//! Names match byte for byte, so RDATA keeps the letters of its author. The question is in lower case while a message
//! is put together and gets its own letters back at the end: whatever points into it does so independently of the
//! client's letters.
//!
//! Invariant: fixed size; a name costs a bounded number of steps, whatever the message holds.

use crate::name;

/// The places of names.
pub(super) struct Names {
    /// By hash: the offset of a name, 0 for none (that is the header).
    slots: [u16; SLOTS],
    /// Slots in the order in which they were filled, to take back the last ones.
    filled: [u8; MOST_NAMES],
    count: usize,
}

const SLOTS: usize = 256;
/// Leaves slots free, so that a search ends.
pub(super) const MOST_NAMES: usize = 160;
/// Names with more labels are seldom.
const USUAL_LABELS: usize = 10;
/// 255 bytes hold no more.
const MOST_LABELS: usize = 127;
/// Offsets above do not fit in a pointer.
pub(super) const MAX_POINTER: usize = 0x3fff;

impl Names {
    pub(super) fn new() -> Self {
        Self { slots: [0; SLOTS], filled: [0; MOST_NAMES], count: 0 }
    }

    /// Writes `wire` with as long a known ending as possible replaced by a pointer.
    pub(super) fn write(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        match name::labels(wire).count() {
            0..=USUAL_LABELS => self.write_labels::<USUAL_LABELS>(wire, out),
            _ => self.write_labels::<MOST_LABELS>(wire, out),
        }
    }

    /// Of at most `N` labels: room for the longest name would cost more than all else.
    fn write_labels<const N: usize>(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        let mut labels = [(0, 0); N];
        let count = hash_suffixes(wire, &mut labels);
        for &(start, hash) in &labels[..count] {
            let (suffix, from) = (&wire[usize::from(start)..], usize::from(start));
            match self.find(hash, suffix, out) {
                Some(offset) => {
                    out.extend_from_slice(&(0xc000 | offset).to_be_bytes());
                    return;
                }
                None => {
                    self.remember(hash, out.len());
                    out.extend_from_slice(&wire[from..=from + usize::from(wire[from])]);
                }
            }
        }
        out.push(0);
    }

    /// Forgets all names at or after `offset`; the last in go out first, so that searches stay right.
    pub(super) fn forget_from(&mut self, offset: usize) {
        while self.count > 0 {
            let slot = usize::from(self.filled[self.count - 1]);
            if usize::from(self.slots[slot]) < offset {
                break;
            }
            self.slots[slot] = 0;
            self.count -= 1;
        }
    }

    fn find(&self, hash: u32, suffix: &[u8], message: &[u8]) -> Option<u16> {
        let mut slot = start_of(hash);
        while self.slots[slot] != 0 {
            let offset = self.slots[slot];
            if is_at(message, usize::from(offset), suffix) {
                return Some(offset);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    fn remember(&mut self, hash: u32, offset: usize) {
        if offset > MAX_POINTER || self.count == MOST_NAMES {
            return;
        }
        let mut slot = start_of(hash);
        while self.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = u16::try_from(offset).expect("checked against 14 bits");
        self.filled[self.count] = u8::try_from(slot).expect("there are 256 slots");
        self.count += 1;
    }
}

fn start_of(hash: u32) -> usize {
    usize::try_from(hash >> 24).expect("8 bits fit a usize")
}

/// The start and hash of each label's suffix, from the whole name to the topmost label.
fn hash_suffixes(wire: &[u8], labels: &mut [(u8, u32)]) -> usize {
    let (mut at, mut count) = (0_usize, 0);
    while let Some(&len) = wire.get(at)
        && len != 0
    {
        labels[count].0 = u8::try_from(at).expect("a name has at most 255 bytes");
        count += 1;
        at += usize::from(len) + 1;
    }
    let mut hash = 0x811c_9dc5_u32;
    for (start, slot) in labels[..count].iter_mut().rev() {
        let from = usize::from(*start);
        let (words, rest) = wire[from..=from + usize::from(wire[from])].as_chunks::<4>();
        let words = words.iter().map(|word| u32::from_le_bytes(*word));
        let rest = rest.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        for word in words.chain([rest]) {
            hash = (hash ^ word).wrapping_mul(0x9e37_79b1);
            hash ^= hash >> 15;
        }
        *slot = hash;
    }
    count
}

/// Whether the name at `offset` of our own message is `suffix`; our pointers all point backwards.
fn is_at(message: &[u8], mut offset: usize, suffix: &[u8]) -> bool {
    let mut rest = suffix;
    loop {
        let Some(&len) = message.get(offset) else { return false };
        if len >= 0xc0 {
            let Some(&low) = message.get(offset + 1) else { return false };
            offset = usize::from(u16::from_be_bytes([len & 0x3f, low]));
            continue;
        }
        let bytes = usize::from(len) + 1;
        if message.get(offset..offset + bytes) != rest.get(..bytes) {
            return false;
        }
        match name::parent(rest) {
            Some(above) => rest = above,
            None => return true,
        }
        offset += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise RRsets that did not fit would use the table up, and the next ones would not be compressed.
    #[test]
    fn what_is_taken_back_leaves_room_in_the_table() {
        let (mut names, mut out) = (Names::new(), vec![0; 12]);
        names.write(b"\x02ex\0", &mut out);
        let start = out.len();
        for _ in 0..3 {
            for at in 0..200_u8 {
                names.write(&[1, at, 2, b'e', b'x', 0], &mut out);
            }
            out.truncate(start);
            names.forget_from(start);
        }
        names.write(b"\x01a\x02ex\0", &mut out);
        names.write(b"\x01a\x02ex\0", &mut out);
        assert_eq!(out[start..], [1, b'a', 0xc0, 12, 0xc0, 16]);
    }
}
