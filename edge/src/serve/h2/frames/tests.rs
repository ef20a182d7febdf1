//! Which floods end, and which honest clients do not.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, length: u32) -> Vec<u8> {
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.resize(frame.len() + length as usize, b'x');
    frame
}

/// How many of these frames a client may send at once, having paid in this much; none: a hundred thousand.
#[track_caller]
fn check(bytes: &[u8], paid_in: PaidIn, expected: Option<u64>) {
    let mut frames = Frames::new();
    frames.read(PREFACE, paid_in, Duration::ZERO).unwrap();
    let taken = (0..100_000).position(|_| frames.read(bytes, paid_in, Duration::ZERO).is_err());
    assert_eq!(taken.map(|count| count as u64), expected);
}

#[test]
fn frames_that_ask_for_nothing_run_out_whatever_else_is_open() {
    let nothing = PaidIn::default();
    let one = PaidIn { requests: 1, ..nothing };
    for (kind, length) in [(0x6, 8), (0x4, 0), (0x8, 4), (0x2, 5), (0xb, 7), (0x10, 20), (0x9, 0), (0x1, 30)]
    {
        check(&frame(kind, 0, length), nothing, Some(AT_FIRST));
        check(&frame(kind, 0, length), one, Some(AT_FIRST + A_REQUEST));
    }
    // SETTINGS with as many settings as go into one frame, and frames that nobody knows.
    check(&frame(0x4, 0, 16_380), nothing, Some(AT_FIRST / 256));
    check(&frame(0xb, 0, 16_384), nothing, Some(AT_FIRST / 257));
    // DATA: empty, of a byte, and of padding alone.
    check(&frame(DATA, 0, 0), nothing, Some(AT_FIRST));
    check(&frame(DATA, 0, 1), nothing, Some(AT_FIRST));
    check(&frame(DATA, PADDED, 256), nothing, Some(AT_FIRST));
    // More of them at once than a read brings.
    check(&frame(0x6, 0, 8).repeat(1000), nothing, Some(AT_FIRST / 1000));
}

#[test]
fn the_bytes_of_bodies_cost_nothing() {
    check(&frame(DATA, 0, 16_384), PaidIn::default(), None);
    check(&frame(DATA, PADDED, 1_000), PaidIn::default(), None);
    check(&frame(DATA, END_STREAM, 0), PaidIn::default(), None);
}

#[test]
fn requests_that_are_taken_back_run_out_unless_others_are_answered() {
    let reset = [frame(HEADERS, 5, 30), frame(RST_STREAM, 0, 4)].concat();
    let asked = PaidIn { requests: 100_000, ..PaidIn::default() };
    check(&reset, asked, Some(300));
    let mut frames = Frames::new();
    frames.read(PREFACE, PaidIn::default(), Duration::ZERO).unwrap();
    for answered in 0..10_000 {
        let paid_in = PaidIn { requests: 2 * answered, answered, ..PaidIn::default() };
        frames.read(&reset, paid_in, Duration::ZERO).expect("each second request is read to its end");
    }
}

#[test]
fn an_honest_download_and_a_connection_that_waits_go_on() {
    let windows = frame(0x8, 0, 4).repeat(2);
    let mut frames = Frames::new();
    let mut paid_in = PaidIn { requests: 1, ..PaidIn::default() };
    frames.read(PREFACE, paid_in, Duration::ZERO).unwrap();
    for _ in 0..100_000 {
        (paid_in.pieces, paid_in.bytes) = (paid_in.pieces + 1, paid_in.bytes + 4096);
        frames.read(&windows, paid_in, Duration::ZERO).expect("two windows for each 4 KiB");
    }
    for second in 0..100_000 {
        let at = Duration::from_secs(second);
        frames.read(&frame(0x6, 0, 8).repeat(60), paid_in, at).expect("sixty small frames a second");
    }
    // Small messages of another protocol.
    let mut paid_in = PaidIn { requests: 1, ..PaidIn::default() };
    let mut messages = Frames::new();
    messages.read(PREFACE, paid_in, Duration::ZERO).unwrap();
    for _ in 0..100_000 {
        paid_in.taken += 1;
        messages.read(&frame(DATA, 0, 1), paid_in, Duration::ZERO).expect("a message for its origin");
    }
    // An answer in windows of a byte each (CVE-2019-9511).
    let mut dribbled = Frames::new();
    let mut paid_in = PaidIn { requests: 1, pieces: 16, ..PaidIn::default() };
    let ended = (0..1_000_000).any(|_| {
        paid_in.bytes += 1;
        dribbled.read(&frame(0x8, 0, 4), paid_in, Duration::ZERO).is_err()
    });
    assert!(ended, "a window for each byte is no download");
}

#[test]
fn frames_are_found_however_the_bytes_are_cut() {
    let all = [PREFACE, &frame(0x6, 0, 8), &frame(DATA, 0, 300), &frame(0x4, 0, 0), &frame(RST_STREAM, 0, 4)]
        .concat();
    for size in 1..all.len() {
        let mut frames = Frames::new();
        let mut sum = Cost { frames: 0, resets: 0 };
        for piece in all.chunks(size) {
            let Cost { frames, resets } = frames.cost(piece);
            sum = Cost { frames: sum.frames + frames, resets: sum.resets + resets };
        }
        assert_eq!(sum, Cost { frames: 3, resets: 1 }, "in pieces of {size}");
    }
}
