//! Which answers may leave in one message that the kernel cuts into datagrams (`UDP_SEGMENT`).

/// Most bytes of one UDP message over IPv4; over IPv6 it is 20 bytes more.
const MESSAGE_BYTES: usize = 65_507;
/// Datagrams of a message: the kernel's own limit (`UDP_MAX_SEGMENTS`, 128 since Linux 6.9).
const MOST_ANSWERS: usize = 64;

/// Answers in a row in one message: all are as long as the first, only the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first_bytes: usize,
    last_bytes: usize,
    bytes: usize,
    answers: usize,
}

impl Run {
    pub(super) fn of(bytes: usize) -> Self {
        Self { first_bytes: bytes, last_bytes: bytes, bytes, answers: 1 }
    }

    /// This run and one answer more, if that may be.
    pub(super) fn with(self, bytes: usize) -> Option<Self> {
        let longer = Self {
            last_bytes: bytes,
            bytes: self.bytes + bytes,
            answers: self.answers + 1,
            first_bytes: self.first_bytes,
        };
        let open = self.last_bytes == self.first_bytes && bytes <= self.first_bytes;
        (open && longer.bytes <= MESSAGE_BYTES && longer.answers <= MOST_ANSWERS).then_some(longer)
    }

    /// Into how long pieces the kernel cuts the message.
    pub(super) fn piece_bytes(self) -> u16 {
        u16::try_from(self.first_bytes).expect("a run of two is not longer than MESSAGE_BYTES")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `lengths`, each a count of answers and their bytes, leave in the first message.
    fn check(lengths: &[(usize, usize)], expected: usize) {
        let mut all = lengths.iter().flat_map(|(count, bytes)| std::iter::repeat_n(*bytes, *count));
        let mut run = Run::of(all.next().unwrap());
        while let Some(longer) = all.next().and_then(|bytes| run.with(bytes)) {
            run = longer;
        }
        assert_eq!(run.answers, expected, "{lengths:?}");
        assert_eq!(usize::from(run.piece_bytes()), lengths[0].1);
    }

    #[test]
    fn only_the_last_answer_of_a_message_is_shorter_and_none_is_longer() {
        check(&[(1, 60)], 1);
        check(&[(3, 60)], 3);
        check(&[(2, 60), (2, 59)], 3);
        check(&[(2, 60), (1, 59), (1, 60)], 3);
        check(&[(2, 60), (1, 61)], 2);
    }

    #[test]
    fn a_message_is_not_longer_than_udp_allows() {
        check(&[(70, 60)], 64);
        check(&[(20, 4096)], 15);
        check(&[(2, 40_000)], 1);
    }
}
