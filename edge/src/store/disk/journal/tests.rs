use super::super::index::Room;
use super::super::record::{Put, encode};
use super::*;

fn index() -> Index {
    Index::new(Room { blocks: 1 << 20, files: 1 << 20 })
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    (0..).zip(records).flat_map(|(number, record)| encode(record, number)).collect()
}

fn begin() -> Record {
    Record::Begin(Identity { version: VERSION, generation: 3, hash_key: [7; 16] })
}

fn put(hash: u64, file: u64) -> Record {
    Record::Put(Put { hash, file, birth: 0, blocks: 1, variant: 0, stale_secs: 0, edition: 0 })
}

fn prefix(text: &[u8], epoch: u64) -> Vec<Record> {
    let length = u16::try_from(text.len()).unwrap();
    let mark = Mark { place: Place::Prefix { length }, is_soft: false, epoch, at_ms: 5 };
    Noted { mark, text: text.into() }.records()
}

/// All kinds of records, with purges and long texts to its end.
fn journal() -> Vec<Record> {
    let mut records = vec![begin()];
    for round in 0..24 {
        records.extend([put(round, 10 * round), put(round, 10 * round + 1), put(90 + round, 500 + round)]);
        records.extend(prefix(format!("http://a/{}", "x".repeat(99)).as_bytes(), 2 * round + 1));
        records.push(Record::Remove { hash: round, file: 10 * round });
        records.push(Record::RemoveKey { hash: 90 + round, epoch: 2 * round + 2 });
    }
    records
}

fn read(bytes: &[u8]) -> (Vec<u64>, Replayed) {
    let mut index = index();
    let replayed = replay(&mut &*bytes, &mut index).unwrap().unwrap();
    (index.all_files(), replayed)
}

#[test]
fn a_journal_cut_anywhere_in_its_last_4_kib_loses_only_what_was_cut() {
    let records = journal();
    let bytes = bytes_of(&records);
    assert!(bytes.len() > 2 * 4_096);
    for length in bytes.len() - 4_096..=bytes.len() {
        let (files, replayed) = read(&bytes[..length]);
        // Counted from the records themselves: whole ones, up to the last that is not in the middle of a text.
        let mut whole = length / RECORD_BYTES;
        while whole < records.len() && matches!(records[whole], Record::Text(_)) {
            whole -= 1;
        }
        assert_eq!(replayed.records as usize, whole, "cut at {length}");
        assert_eq!(replayed.ending, Ending::Cut);
        let marks = records[..whole].iter().filter(|record| matches!(record, Record::Mark(_))).count();
        assert_eq!(replayed.marks.len(), marks);
        assert!(replayed.marks.iter().all(|noted| noted.text.len() == 108));
        let mut expected = Vec::new();
        for record in &records[..whole] {
            match record {
                Record::Put(put) => expected.push((put.hash, put.file)),
                Record::Remove { file, .. } => expected.retain(|(_, held)| held != file),
                Record::RemoveKey { hash, .. } => expected.retain(|(held, _)| held != hash),
                _ => {}
            }
        }
        assert_eq!(files, expected.iter().map(|(_, file)| *file).collect::<Vec<_>>());
    }
}

#[test]
fn a_journal_with_good_records_behind_a_bad_one_is_damaged() {
    let records = journal();
    let good = bytes_of(&records);
    for number in 1..records.len() {
        let mut bytes = good.clone();
        bytes[number * RECORD_BYTES + 20] ^= 1;
        let expected = if number + 1 == records.len() { Ending::Cut } else { Ending::Damaged };
        assert_eq!(read(&bytes).1.ending, expected, "record {number}");
        let mut bytes = good.clone();
        bytes[number * RECORD_BYTES..].fill(0);
        assert_eq!(read(&bytes).1.ending, Ending::Cut, "zeros from record {number} on");
    }
}

#[test]
fn only_a_journal_that_ends_with_its_stop_was_stopped() {
    let check = |records: &[Record], expected| assert_eq!(read(&bytes_of(records)).1.ending, expected);
    check(&[begin(), put(1, 1), Record::Stopped], Ending::Stopped);
    check(&[begin(), Record::Stopped, put(1, 1)], Ending::Cut);
    check(&[begin()], Ending::Cut);
    // A record out of order was not written by this program.
    check(&[begin(), Record::Text((*b"a").into()), put(1, 1)], Ending::Damaged);
    check(&[begin(), prefix(b"a", 1)[0].clone(), put(1, 1), put(1, 2)], Ending::Damaged);
}

#[test]
fn what_a_journal_says_last_holds() {
    let mark = |epoch| Mark { place: Place::Named(4), is_soft: true, epoch, at_ms: 5 };
    let records = [
        begin(),
        put(1, 1),
        put(1, 2),
        Record::Mark(mark(6)),
        Record::Clear { epoch: 7 },
        put(1, 3),
        put(2, 4),
        Record::ExpireKey { hash: 2, at_secs: 9, epoch: 8 },
        Record::Floor { epoch: 5 },
    ];
    let mut index = index();
    let replayed = replay(&mut &*bytes_of(&records), &mut index).unwrap().unwrap();
    assert_eq!(index.all_files(), [3, 4]);
    assert_eq!(index.find(2)[0].stale_secs, 9);
    assert_eq!((replayed.epoch, replayed.floor, replayed.identity.generation), (8, 5, 3));
    assert_eq!(replayed.marks, [Noted { mark: mark(6), text: Box::default() }]);
}

#[test]
fn another_version_and_what_is_no_journal_are_told_apart() {
    let other = Record::Begin(Identity { version: 2, generation: 1, hash_key: [0; 16] });
    let check = |bytes: &[u8], expected| {
        assert_eq!(replay(&mut &*bytes, &mut index()).unwrap(), Err(expected));
    };
    check(&bytes_of(&[other]), Unreadable::Foreign(2));
    check(b"", Unreadable::NoJournal);
    check(&[0; 640], Unreadable::NoJournal);
    check(&bytes_of(&[put(1, 1)]), Unreadable::NoJournal);
}
