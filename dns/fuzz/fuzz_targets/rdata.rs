//! RDATA both ways: what is read from text is written so that it is read again as it was, and what is written of any
//! bytes never means other bytes.
//!
//! The first two bytes are the type, the third says whether the rest is text or wire.

#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::zone::text::{read_rdata, write_rdata};

fuzz_target!(|input: &[u8]| {
    let [high, low, form, rest @ ..] = input else { return };
    let rtype = Type(u16::from_be_bytes([*high, *low]));
    let origin = Name::parse_absolute("fuzz.test.").expect("a name");
    if form & 1 == 1 {
        if let Ok(back) = read_rdata(rtype, &text(rtype, rest), &origin) {
            assert_eq!(&*back, rest, "{rtype}: {}", text(rtype, rest));
        }
        return;
    }
    let Ok(written) = std::str::from_utf8(rest) else { return };
    if let Ok(wire) = read_rdata(rtype, written, &origin) {
        let ours = text(rtype, &wire);
        let back = read_rdata(rtype, &ours, &origin);
        assert!(
            back.as_ref().is_ok_and(|back| *back == wire),
            "{rtype}: {written:?} is {ours:?}, and that {back:?}"
        );
    }
});

fn text(rtype: Type, rdata: &[u8]) -> String {
    let mut text = String::new();
    write_rdata(rtype, rdata, &mut text).expect("a string grows");
    text
}
