//! Heads and chunks: what a byte means does not depend on the pieces it comes in, and no good head is longer than its
//! limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::serve::h1::gate::framing::{Framing, Stop};
use verge_edge::serve::h1::gate::head::{self, Reading};

const MAX_HEAD_BYTES: usize = 1024;

/// The end of a connection whose bytes come in pieces of these sizes, in turn.
fn judged(bytes: &[u8], sizes: &[u8]) -> (usize, u64, Stop) {
    let mut framing = Framing::new(MAX_HEAD_BYTES);
    let (mut good, mut heads, mut end) = (0, 0, 0);
    let mut sizes = sizes.iter().cycle();
    loop {
        end = bytes.len().min(end + 1 + usize::from(*sizes.next().unwrap_or(&255)));
        let judged = framing.judge(&bytes[good..end]);
        good += judged.good;
        heads += judged.heads;
        assert!(good <= end);
        if judged.stop == Stop::Unanswered && framing.is_unanswered() {
            framing.resume();
            continue;
        }
        if judged.stop != Stop::Starved || end == bytes.len() {
            return (good, heads, judged.stop);
        }
    }
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (sizes, bytes) = input;
    let whole = judged(bytes, &[]);
    let pieces = judged(bytes, sizes);
    assert_eq!((pieces.0, pieces.1), (whole.0, whole.1));
    // A head that comes in pieces is not read again before a line ends, so that a fault may be seen sooner or later;
    // nothing of it is passed on in the meantime.
    let sooner = |one: Stop, other: Stop| matches!((one, other), (Stop::Starved, Stop::Head(_)));
    let (a, b) = (pieces.2, whole.2);
    assert!(a == b || sooner(a, b) || sooner(b, a), "{pieces:?} {whole:?}");
    if let Reading::Whole(head) = head::read(bytes, MAX_HEAD_BYTES) {
        assert!(head.len <= bytes.len().min(MAX_HEAD_BYTES) && bytes[..head.len].ends_with(b"\r\n\r\n"));
        assert!(bytes[..head.len].windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r'));
        assert_eq!(head::read(&bytes[..head.len], MAX_HEAD_BYTES), Reading::Whole(head));
        if head.is_raw {
            // It is judged again once its target is encoded: the same message, and nothing left to encode.
            assert!(whole.1 >= 1 || whole.2 == Stop::Raw(head.len));
            let encoded = head::encoded(&bytes[..head.len]);
            match head::read(&encoded, encoded.len()) {
                Reading::Whole(again) => {
                    assert_eq!((again.len, again.is_raw), (encoded.len(), false));
                    assert_eq!((again.body, again.after), (head.body, head.after));
                }
                other => assert!(matches!(other, Reading::Refused(_)), "{other:?}"),
            }
        } else {
            assert!(whole.1 >= 1);
        }
    }
});
