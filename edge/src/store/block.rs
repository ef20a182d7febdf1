//! Blocks of memory as the allocator gives them out, so that what is weighed is what the process takes.
//!
//! Two things make a body cost more than its bytes. A slice of a connection's read buffer keeps the whole buffer, so the
//! cache copies what it keeps into a block of the right length. And an allocator rounds up: mimalloc, which the program
//! uses, has four sizes for each doubling, so a block of 33,000 bytes takes 40,960.

use bytes::Bytes;

/// These bytes, one run behind the other, in a block of their own that is exactly as long as they are.
#[must_use]
pub fn own_block(runs: &[Bytes]) -> Bytes {
    let mut block = Vec::with_capacity(runs.iter().map(Bytes::len).sum());
    runs.iter().for_each(|run| block.extend_from_slice(run));
    block.into()
}

/// The memory that the allocator takes for `bytes`: the next of its sizes, four of them to a doubling.
#[must_use]
pub fn allocated(bytes: usize) -> usize {
    if bytes <= SMALL_BYTES {
        return bytes.next_multiple_of(ALIGNMENT_BYTES);
    }
    let step = 1 << (bytes - 1).ilog2().saturating_sub(2);
    bytes.next_multiple_of(step)
}

/// Up to here the allocator has a size for each multiple of its alignment.
const SMALL_BYTES: usize = 64;
const ALIGNMENT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_block_keeps_no_other_block_alive() {
        let buffer = Bytes::from(vec![1_u8; 100]);
        let block = own_block(&[buffer.slice(..10), buffer.slice(90..)]);
        assert_eq!(block, vec![1_u8; 20]);
        assert!(buffer.is_unique());
        // `Bytes` of a vector with spare room would keep the room; one without turns into the same vector.
        assert_eq!(Vec::from(block).capacity(), 20);
    }

    #[test]
    fn a_block_is_weighed_as_the_allocator_rounds_it() {
        for (asked, given) in [
            (0, 0),
            (1, 16),
            (64, 64),
            (65, 80),
            (1_000, 1_024),
            (33_000, 40_960),
            (40_960, 40_960),
            (50_000, 57_344),
            (65_536, 65_536),
            (65_537, 81_920),
            (1 << 20, 1 << 20),
        ] {
            assert_eq!(allocated(asked), given, "{asked}");
        }
    }
}
