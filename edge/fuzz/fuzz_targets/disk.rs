//! Nothing that lies on a disk is trusted: whatever a journal, a header and a head are, reading them does no harm, and
//! what they say does not change by being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verge_edge::store::disk::index::{Index, Room};
use verge_edge::store::disk::layout::{HEADER_BYTES, Header};
use verge_edge::store::disk::record::{Identity, RECORD_BYTES, Record, decode, encode};
use verge_edge::store::disk::{head, journal};

/// CRC-32 bit by bit, so that the fuzzer gets past the checksums.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fuzz_target!(|bytes: &[u8]| {
    let begin = Identity { version: journal::VERSION, generation: 1, hash_key: [0; 16] };
    let mut written = encode(&Record::Begin(begin), 0).to_vec();
    for (number, said) in (1..).zip(bytes.chunks(RECORD_BYTES - 8)) {
        let mut record = [0; RECORD_BYTES];
        record[4..8].copy_from_slice(&u32::to_le_bytes(number));
        record[8..8 + said.len()].copy_from_slice(said);
        let sum = crc(&record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        if let Some(read) = decode(&record, number) {
            assert_eq!(decode(&encode(&read, number), number), Some(read));
        }
        written.extend_from_slice(&record);
    }
    let read = |journal: &[u8]| {
        let mut index = Index::new(Room { blocks: 1 << 20, files: 1 << 20 });
        let replayed = journal::replay(&mut &*journal, &mut index).expect("a slice has no errors");
        (replayed.expect("it begins as a journal does"), index.all_files())
    };
    let (replayed, files) = read(&written);
    let (cut, same) = read(&written[..replayed.records as usize * RECORD_BYTES]);
    assert_eq!((cut.marks, cut.records, same), (replayed.marks, replayed.records, files));

    if let Some((entry, site)) = head::decode(bytes) {
        let again = head::encode(&entry, &site);
        let (read, _) = head::decode(&again).expect("it was written a moment ago");
        assert_eq!(format!("{read:?}"), format!("{entry:?}"));
    }
    if let Some(first) = bytes.first_chunk::<HEADER_BYTES>()
        && let Some(header) = Header::decode(first, bytes.len() as u64)
    {
        assert_eq!(header.length(), bytes.len() as u64);
    }
});
