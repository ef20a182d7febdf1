//! A ClientHello: read without a panic, and never taken back by more bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::serve::hello::{Hello, read};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    for end in [bytes.len() / 3, bytes.len() / 2] {
        match read(&bytes[..end]) {
            Hello::Partial => {}
            sooner => assert_eq!(sooner, whole),
        }
    }
});
