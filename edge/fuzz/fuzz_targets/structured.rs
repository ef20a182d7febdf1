//! Structured Fields: what is a dictionary still is one with a member more, which is found; what is none stays none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::http::structured::{Dictionary, Item};

fuzz_target!(|bytes: &[u8]| {
    match Dictionary::parse(bytes) {
        Ok(dictionary) => {
            assert!(bytes.is_ascii());
            let glue: &[u8] = if dictionary.is_empty() { b"" } else { b"," };
            let more = [bytes, glue, b"zz.zz=-15;a=?1"].concat();
            let more = Dictionary::parse(&more).expect("a dictionary and a member");
            assert_eq!(more.get("zz.zz"), Some(&Item::Integer(-15)));
        }
        Err(malformed) => {
            assert!(malformed.at <= bytes.len());
            // A byte before the place of the fault cannot be what is wrong: with nothing after it, it may be complete
            // or not, but what follows does not mend it.
            assert!(Dictionary::parse(&[bytes, b", a=1"].concat()).is_err() || malformed.at == bytes.len());
        }
    }
});
