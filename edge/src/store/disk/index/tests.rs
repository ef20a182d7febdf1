use proptest::prelude::*;

use super::*;

const ROOM: Room = Room { blocks: 40, files: 12 };

/// Files in the order of eviction, oldest first, searched from end to end; with the uses of each.
#[derive(Default)]
struct Naive(Vec<(Put, u8)>);

impl Naive {
    fn make_room(&mut self) -> Vec<Put> {
        let mut gone = Vec::new();
        while self.0.len() > 12 || self.0.iter().map(|(put, _)| put.blocks).sum::<u32>() > 40 {
            // There are fewer files than steps, but each may have three uses.
            for _ in 0..64 {
                if self.0[0].1 == 0 {
                    break;
                }
                let (put, uses) = self.0.remove(0);
                self.0.push((put, uses - 1));
            }
            gone.push(self.0.remove(0).0);
        }
        gone
    }

    fn find(&self, hash: u64) -> Vec<Put> {
        let mut found: Vec<Put> = self.0.iter().map(|(put, _)| *put).filter(|put| put.hash == hash).collect();
        found.sort_by_key(|put| u64::MAX - put.file);
        found
    }
}

#[test]
fn room_for_files_that_do_not_come_is_given_back_and_changes_nothing() {
    let numbered = |file: u64| Put { file, ..put(file.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1) };
    for (expected, came) in [(0, 500), (500, 500), (100_000, 500), (u64::MAX, 40_000), (100_000, 0)] {
        let mut index = Index::new(Room { blocks: u64::MAX, files: 200_000 });
        index.expect(expected);
        (0..came).for_each(|file| index.insert(numbered(file), None));
        index.settle();
        assert!((0..came).all(|file| index.holds(numbered(file).hash, file)), "{expected} {came}");
        let room: usize = index.tables.iter().map(|table| table.capacity()).sum();
        assert!(room as u64 <= 4 * came.max(64), "{expected} {came}: {room}");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Insert(Put),
    Remove(u64, u64),
    RemoveVariant(u64, u32),
    Touch(u64),
    Expire(u64, u32),
    Clear,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Hashes that share a table, a place in it, and their upper bits.
    let hash = || (0_u64..6).prop_map(|n| n << 57 | (n & 1) << 48 | 5);
    let put = (hash(), 0_u64..30, 0_u64..4, 1_u32..12, 0_u32..3).prop_map(
        |(hash, file, birth, blocks, variant)| {
            let edition = (file + birth) as u16;
            Put { hash, file, birth, blocks, variant, stale_secs: 0, edition }
        },
    );
    let act = prop_oneof![
        8 => put.prop_map(Act::Insert),
        2 => (hash(), 0_u64..30).prop_map(|(hash, file)| Act::Remove(hash, file)),
        1 => (hash(), 0_u32..3).prop_map(|(hash, variant)| Act::RemoveVariant(hash, variant)),
        6 => hash().prop_map(Act::Touch),
        1 => (hash(), 0_u32..9).prop_map(|(hash, at)| Act::Expire(hash, at)),
        1 => Just(Act::Clear),
    ];
    proptest::collection::vec(act, 1..200)
}

fn perform(act: Act, index: &mut Index, naive: &mut Naive) {
    match act {
        Act::Insert(put) => {
            naive.0.retain(|(held, _)| (held.hash, held.file) != (put.hash, put.file));
            naive.0.push((put, 0));
            index.insert(put, Some(&Arc::new(put.birth)));
            assert_eq!(index.make_room(), naive.make_room());
        }
        Act::Remove(hash, file) => {
            naive.0.retain(|(held, _)| (held.hash, held.file) != (hash, file));
            index.remove(hash, file);
        }
        Act::RemoveVariant(hash, variant) => {
            naive.0.retain(|(held, _)| (held.hash, held.variant) != (hash, variant));
            index.remove_where(hash, |put| put.variant == variant);
        }
        Act::Touch(hash) => {
            naive.0.iter_mut().filter(|(put, _)| put.hash == hash).for_each(|(_, uses)| {
                *uses = (*uses + 1).min(3);
            });
            index.touch(hash);
        }
        Act::Expire(hash, at) => {
            naive.0.iter_mut().filter(|(put, _)| put.hash == hash).for_each(|(put, _)| {
                let at = at.max(1);
                put.stale_secs = if put.stale_secs == 0 { at } else { put.stale_secs.min(at) };
            });
            index.expire(hash, at);
        }
        Act::Clear => {
            let mut files: Vec<u64> = naive.0.drain(..).map(|(put, _)| put.file).collect();
            let mut gone = index.clear();
            files.sort_unstable();
            gone.sort_unstable();
            assert_eq!(gone, files);
        }
    }
}

proptest! {
    #[test]
    fn the_index_holds_what_a_list_holds(acts in acts()) {
        let (mut index, mut naive) = (Index::new(ROOM), Naive::default());
        for act in acts {
            perform(act, &mut index, &mut naive);
            for n in 0..6 {
                let hash = n << 57 | (n & 1) << 48 | 5;
                assert_eq!(index.find(hash), naive.find(hash));
                assert_eq!(index.has(hash), !naive.find(hash).is_empty());
            }
            let blocks: u64 = naive.0.iter().map(|(put, _)| u64::from(put.blocks)).sum();
            assert_eq!((index.files() as usize, index.blocks()), (naive.0.len(), blocks));
            let mut births: Vec<u64> = naive.0.iter().map(|(put, _)| put.birth).collect();
            births.sort_unstable();
            births.dedup();
            assert_eq!(index.births().collect::<Vec<_>>(), births);
            let order: Vec<u64> = naive.0.iter().map(|(put, _)| put.file).collect();
            assert_eq!(index.all_files(), order);
            let mut all = index.some_from(0).0;
            let mut expected: Vec<Put> = naive.0.iter().map(|(put, _)| *put).collect();
            let place = |put: &Put| (put.hash, put.file);
            all.sort_by_key(place);
            expected.sort_by_key(place);
            assert_eq!(all, expected);
        }
    }
}

fn put(hash: u64, blocks: u32) -> Put {
    Put { hash, file: hash, birth: 0, blocks, variant: 0, stale_secs: 0, edition: 0 }
}

#[test]
fn what_comes_for_the_first_time_is_admitted_while_there_is_room() {
    let mut index = Index::new(ROOM);
    assert!(index.admits(1, 40));
    assert!(!index.admits(2, 41), "it alone is too big");
    index.insert(put(1, 30), None);
    assert!(index.admits(3, 10));
    assert!(!index.admits(4, 11), "something would have to go for it");
    assert!(index.admits(4, 11), "asked for twice");
    assert!(!index.admits(2, 41));
}

#[test]
fn the_marks_from_after_a_birth_are_kept_as_long_as_a_file_is_from_it() {
    let mut index = Index::new(ROOM);
    let born = Arc::new(7);
    let file = |file| Put { file, birth: 7, ..put(1, 1) };
    index.insert(file(1), None);
    index.keep_alive(7, Arc::clone(&born));
    index.insert(file(2), Some(&born));
    assert_eq!(Arc::strong_count(&born), 2);
    index.remove(1, 1);
    assert_eq!(Arc::strong_count(&born), 2);
    index.remove(1, 2);
    assert_eq!(Arc::strong_count(&born), 1);
}

#[test]
fn a_key_has_no_more_variants_than_the_memory_store_keeps() {
    let mut index = Index::new(Room { blocks: 1000, files: 1000 });
    (0..70).for_each(|file| index.insert(Put { file, variant: file as u32, ..put(1, 1) }, None));
    let files: Vec<u64> = index.too_many(1).iter().map(|put| put.file).collect();
    assert_eq!(files, [5, 4, 3, 2, 1, 0]);
}

/// The bound that the documentation gives: the slots, and tables at their emptiest.
#[test]
fn an_entry_takes_64_bytes_at_most() {
    let table_bytes = |entries: usize| {
        let mut table: HashTable<u32> = HashTable::new();
        (0..entries).for_each(|n| _ = table.insert_unique(n as u64, n as u32, |n| u64::from(*n)));
        table.allocation_size()
    };
    // Just after it has grown, a table has the most room for each.
    let most = [1_793, 3_585, 7_169, 14_337].map(|entries| table_bytes(entries) as f64 / entries as f64);
    assert!(most.iter().all(|bytes| 48.0 + bytes <= 64.0), "{most:?}");
}
