//! Whatever a primary sends: no panic, no more memory than allowed, and what is taken is a zone of the right name.
//!
//! The first byte says what was asked. Each message stands behind its length, as on a stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_dns::name::Name;
use verge_dns::rdata;
use verge_dns::rtype::Type;
use verge_dns::transfer::{Asked, Content, Incoming, Timers, apply, serial_of};
use verge_dns::wire::arrived::page;
use verge_dns::zone::Record;

const MOST_BYTES: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((asked, mut rest)) = input.split_first() else { return };
    let apex = Name::parse_absolute("ex").expect("a name");
    let asked = if *asked == 0 { Asked::Whole } else { Asked::ChangesSince(u32::from(*asked)) };
    let mut incoming = Incoming::new(apex.clone(), asked, MOST_BYTES);
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let bytes = usize::from(u16::from_be_bytes(*length));
        let Some((message, more)) = more.split_at_checked(bytes) else { return };
        rest = more;
        let Ok(page) = page(message) else { return };
        for came in &page.records {
            let is_sound = rdata::spans(came.record.rtype, &came.record.rdata).all(|span| span.is_ok());
            assert!(is_sound, "{:?}", came.record);
        }
        if incoming.take(page.records).is_err() {
            return;
        }
    }
    match incoming.finish() {
        Ok(Content::Whole(records)) => inspect(&apex, &records),
        Ok(Content::Changes(soa, changes)) => {
            let before = vec![(*soa).clone()];
            if let Ok(after) = apply(before, *soa, changes) {
                inspect(&apex, &after);
            }
        }
        Ok(Content::Current) | Err(_) => {}
    }
});

fn inspect(apex: &Name, records: &[Record]) {
    assert!(records.iter().all(|record| record.owner.is_at_or_under(apex)));
    let soas: Vec<_> = records.iter().filter(|record| record.rtype == Type::SOA).collect();
    assert_eq!(soas.len(), 1);
    assert!(serial_of(&soas[0].rdata).is_some() && Timers::of(&soas[0].rdata).is_some());
    let bytes: usize = records.iter().map(|record| record.rdata.len()).sum();
    assert!(bytes <= MOST_BYTES);
}
