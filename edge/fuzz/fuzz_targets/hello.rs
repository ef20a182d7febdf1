//! A ClientHello: read without a panic, in one piece or in two, and never taken back by more bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::serve::hello::{Hello, Reader};

fuzz_target!(|bytes: &[u8]| {
    let whole = Reader::default().read(bytes);
    for end in [bytes.len() / 3, bytes.len() / 2] {
        let mut reader = Reader::default();
        match reader.read(&bytes[..end]) {
            Hello::Partial => drop(reader.read(&bytes[end..])),
            sooner => assert_eq!(sooner, whole),
        }
    }
});
