use std::hash::{BuildHasher, Hasher};

use super::*;
use crate::http::testing::{at, get, request, response};
use crate::policy::testing::stored_response;
use crate::policy::{Admit, Entry, admit};
use crate::site::Rules;
use crate::site::key::{KeyRules, key};

fn name(path: &str) -> Key {
    key(&request("GET", &format!("http://a.example{path}"), &[]), &KeyRules::default())
}

/// Puts a response of 2,000 bytes there.
fn put(store: &Store, path: &str) {
    let asked = request("GET", &format!("http://a.example{path}"), &[]);
    let head = response(200, &[("cache-control", "max-age=1000")]);
    let Admit::Keep(lifetime) = admit(&asked, &head, at(0), &Rules::default(), at(0)) else { panic!() };
    let entry = Entry::new(&asked, &head, lifetime, at(0), at(0), Some(2_000));
    let body = Body::new(vec![vec![0; 2_000].into()], store.fills());
    let ticket = store.begin();
    let object = Object::new(entry, body, "a".into(), ticket.epoch());
    store.put(&name(path), Arc::new(object), None, &ticket);
}

/// Asks as the edge does; whether it was a hit.
fn ask(store: &Store, path: &str) -> bool {
    let found = !store.get(&name(path), &"a".into()).is_empty();
    if !found {
        put(store, path);
    }
    found
}

/// EDGE §2, class 25: what is asked for once must not drive out what everybody asks for.
#[test]
fn a_scan_of_ten_times_the_memory_leaves_what_is_hot() {
    /// Of some thousand that fit: an object weighs some 3 KB.
    const HOT: usize = 100;
    const SCANNED: usize = 10_000;
    // Between two requests for one that is hot there are twice as many others as fit.
    const BETWEEN: usize = 20;
    let percent_hit = |eviction| {
        let store = Store::new(&Bounds { memory_bytes: 4 << 20, eviction, tag_fields: Default::default() });
        (0..700).for_each(|n| _ = ask(&store, &format!("/warm/{n}")));
        let hot = |n: usize| ask(&store, &format!("/hot/{}", n % HOT));
        (0..20 * HOT).for_each(|n| _ = hot(n));
        let scan = |n: usize| {
            (0..BETWEEN).for_each(|m| _ = ask(&store, &format!("/once/{n}/{m}")));
            hot(n)
        };
        let asked = SCANNED / BETWEEN;
        (0..asked).filter(|n| scan(*n)).count() * 100 / asked
    };
    let [own, lfu, lru] = [Eviction::S3Fifo, Eviction::Lfu, Eviction::Lru].map(percent_hit);
    let all = format!("hits of what is hot: {own} % by S3-FIFO, {lfu} % by LFU, {lru} % by LRU");
    assert!(own >= 98 && lfu >= 95 && lru <= 20, "{all}");
}

/// A response that was replaced or removed left for another reason.
#[test]
fn the_age_of_what_leaves_to_make_room_is_counted_and_of_nothing_else() {
    for eviction in [Eviction::S3Fifo, Eviction::Lfu, Eviction::Lru] {
        let store = Store::new(&Bounds { memory_bytes: 4 << 20, eviction, tag_fields: Default::default() });
        put(&store, "/a");
        put(&store, "/a");
        let object = Arc::clone(&store.get(&name("/a"), &"a".into())[0]);
        store.forget(&name("/a"), &object);
        assert!(!store.holds(&name("/a")));
        assert_eq!(store.size().evicted.count(), 0, "{eviction:?}");
        (0..5_000).for_each(|n| put(&store, &format!("/{n}")));
        assert!(!store.holds(&name("/a")), "moka sees to its bound");
        let Size { keys, evicted, .. } = store.size();
        assert_eq!(evicted.count() + keys, 5_000, "{eviction:?}");
        // They were received in the first hour of 1970.
        assert_eq!(evicted.counts[evicted.counts.len() - 1], evicted.count(), "{eviction:?}");
    }
}

/// RFC 9111 §4: of several responses the most recent is used.
#[test]
fn a_response_to_an_earlier_request_takes_the_place_of_a_later_ones_only_by_a_later_date() {
    let bounds = Bounds { memory_bytes: 4 << 20, eviction: Eviction::S3Fifo, tag_fields: Default::default() };
    let key = name("/a");
    let object = |store: &Store, ticket: &Ticket, secs: u32, asked: &[(&str, &str)]| {
        let date = format!("Thu, 01 Jan 1970 00:16:{secs:02} GMT");
        let fields = [("date", date.as_str()), ("vary", "accept-language")];
        let entry = stored_response(&get(asked), &response(200, &fields), 0);
        Arc::new(Object::new(entry, Body::new(Vec::new(), store.fills()), "a".into(), ticket.epoch()))
    };
    let german = [("accept-language", "de")];
    for (dates, language, expected) in [
        ((1, 2), &[][..], Put::Older),
        ((1, 1), &[], Put::Older),
        ((2, 1), &[], Put::Kept),
        ((1, 2), &german, Put::Kept),
    ] {
        let store = Store::new(&bounds);
        let (first, second) = (store.begin(), store.begin());
        let (early, late) =
            (object(&store, &first, dates.0, language), object(&store, &second, dates.1, &[]));
        assert_eq!(store.put(&key, Arc::clone(&late), None, &second), Put::Kept);
        assert_eq!(store.put(&key, Arc::clone(&early), None, &first), expected, "{dates:?}");
        let found = store.get(&key, &"a".into());
        assert_eq!(Arc::ptr_eq(&found[0], &early), expected == Put::Kept, "{dates:?}");
        // The response that a 304 confirmed goes in any case.
        assert_eq!(store.put(&key, early, Some(&late), &first), Put::Kept);
        // In the other order.
        let store = Store::new(&bounds);
        let (first, second) = (store.begin(), store.begin());
        store.put(&key, object(&store, &first, dates.0, &[]), None, &first);
        let late = object(&store, &second, dates.1, &[]);
        assert_eq!(store.put(&key, late, None, &second), Put::Kept, "{dates:?}");
    }
}

#[tokio::test]
async fn a_response_that_goes_before_its_turn_to_move_is_not_kept_for_it() {
    for eviction in [Eviction::S3Fifo, Eviction::Lfu, Eviction::Lru] {
        let store = Store::new(&Bounds { memory_bytes: 4 << 20, eviction, tag_fields: Default::default() });
        put(&store, "/stays");
        put(&store, "/goes");
        let (mut at, mut found) = (Some(Cursor::default()), Vec::new());
        while let Some(here) = at {
            let (some, next) = store.found_from(here);
            found.extend(some);
            at = next;
        }
        assert_eq!(found.len(), 2);
        let gone = Arc::downgrade(&store.get(&name("/goes"), &"a".into())[0]);
        store.forget(&name("/goes"), &gone.upgrade().unwrap());
        assert!(store.holds(&name("/stays")), "moka sees to its bound");
        let mut taken = Vec::new();
        for one in found {
            taken.extend(store.taken(one).await.map(|(key, _)| key));
        }
        assert_eq!(taken, [name("/stays")], "{eviction:?}");
        assert_eq!(gone.strong_count(), 0, "{eviction:?}");
    }
}

/// EDGE §2, class 17: the whole key is compared, whatever its hash is.
#[test]
fn urls_whose_keys_have_one_hash_stay_apart() {
    #[derive(Clone, Default)]
    struct Same;
    impl BuildHasher for Same {
        type Hasher = Same;
        fn build_hasher(&self) -> Same {
            Same
        }
    }
    impl Hasher for Same {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }
    let paths = ["/", "/a", "/a?", "/a?b", "/a/b", "/%61/"];
    let cache: moka::sync::Cache<Key, &str, Same> =
        moka::sync::Cache::builder().max_capacity(100).build_with_hasher(Same);
    paths.iter().for_each(|path| cache.insert(name(path), path));
    for path in paths {
        assert_eq!(cache.get(&name(path)), Some(path));
    }
    assert_eq!(cache.get(&name("/b")), None);
}
