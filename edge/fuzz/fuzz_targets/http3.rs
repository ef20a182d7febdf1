//! HTTP/3: frames, field sections and control streams are the same however they are cut, and bounded; a packet is for a
//! process only if that has made its connection ID.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use verge_edge::serve::h3::control::{Control, Kind};
use verge_edge::serve::h3::frame::{Fault, Frame, Frames};
use verge_edge::serve::h3::generation::Generation;
use verge_edge::serve::h3::qpack;

/// Bytes of a head, and of its fields.
const MOST: usize = 1 << 10;

/// The parts of a message, the bodies joined, and the end.
fn message(bytes: &[u8], size: usize) -> (Vec<(bool, Vec<u8>)>, Result<(), Fault>) {
    let (mut frames, mut parts) = (Frames::new(MOST), Vec::<(bool, Vec<u8>)>::new());
    for piece in bytes.chunks(size) {
        frames.push(piece);
        loop {
            match frames.read() {
                Ok(Some(Frame::Head(section))) => {
                    assert!(section.len() <= MOST);
                    parts.push((true, section.to_vec()));
                }
                Ok(Some(Frame::Data(bytes))) => match parts.last_mut() {
                    Some((false, body)) => body.extend_from_slice(&bytes),
                    _ => parts.push((false, bytes.to_vec())),
                },
                Ok(None) => break,
                Err(fault) => return (parts, Err(fault)),
            }
        }
    }
    let end = frames.end();
    (parts, end)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = (usize::from(input.0).max(1), input.1);
    let whole = message(bytes, bytes.len().max(1));
    assert_eq!(whole, message(bytes, size));
    for (_, section) in whole.0.iter().filter(|(is_head, _)| *is_head).chain([&(true, bytes.to_vec())]) {
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let read = qpack::decode(section, MOST, |name, value| fields.push((name.to_vec(), value.to_vec())));
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert!(size <= MOST);
        let named: Option<Vec<(&str, &[u8])>> =
            fields.iter().map(|(name, value)| Some((std::str::from_utf8(name).ok()?, &value[..]))).collect();
        if let (Ok(()), Some(named)) = (read, named) {
            let mut again = Vec::new();
            let written = qpack::encode(named.iter().copied());
            qpack::decode(&written, MOST, |name, value| again.push((name.to_vec(), value.to_vec()))).unwrap();
            assert_eq!(fields, again);
        }
    }
    let row = Generation::first((1, 2));
    if let Some(maker) = row.receiver(bytes) {
        let places = [1, 6].map(|from| bytes.get(from..from + 8));
        assert!(places.into_iter().flatten().any(|head| {
            let made = (0..maker).fold(row, |row, _| row.next()).id(head[1..].try_into().unwrap());
            bytes.windows(made.len()).any(|id| id == made)
        }));
    }
    for kind in [Kind::Control, Kind::Encoder, Kind::Decoder] {
        let read = |size: usize| {
            let mut control = Control::new(kind);
            bytes.chunks(size).try_for_each(|piece| control.push(piece, 0, Duration::ZERO))
        };
        let (whole, cut) = (read(bytes.len().max(1)), read(size));
        // The account is asked once for each piece.
        assert_eq!(whole.is_ok(), cut.is_ok());
    }
});
