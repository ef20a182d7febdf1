//! The cost of purging a tag that so many stored responses have: `cargo bench -p verge-edge --bench purge [-- COUNT …]`.
//!
//! Nothing is searched for, so the time must not grow with the number; what a purge covers pays when it is next found,
//! one look-up for each of its tags.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use verge_edge::http::head::{RequestHead, ResponseHead};
use verge_edge::policy::{Admit, Entry, admit};
use verge_edge::site::Rules;
use verge_edge::site::key::{Key, KeyRules, key};
use verge_edge::store::{Body, Bounds, Eviction, Mode, Object, Scope, Store};

/// Different tags that each have all of the responses.
const PURGES: usize = 1_000;
/// Responses that are looked for after a purge.
const SOUGHT: usize = 1_000;

fn main() {
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { counts };
    println!(
        "{:>9}  {:>11}  {:>11}  {:>11}  {:>11}  {:>11}",
        "stored", "purge soft", "purge hard", "found same", "found stale", "found gone"
    );
    for count in counts {
        let store = filled(count);
        let before = seek(&store, count);
        let untouched = each(PURGES, |n| purge(&store, format!("other-{n}"), Mode::Hard));
        let same = seek(&store, count);
        let soft = each(PURGES, |n| purge(&store, format!("all-{}", n % 10), Mode::Soft));
        let stale = seek(&store, count);
        let hard = each(PURGES, |n| purge(&store, format!("all-{}", n % 10), Mode::Hard));
        let gone = seek(&store, count);
        println!(
            "{count:9}  {soft:8.0} ns  {hard:8.0} ns  {same:8.0} ns  {stale:8.0} ns  {gone:8.0} ns   (found before: {before:.0} ns, other tags: {untouched:.0} ns)"
        );
    }
}

fn purge(store: &Store, tag: String, mode: Mode) {
    black_box(store.purge(&Scope::Tag { tag, site: None }, mode, SystemTime::UNIX_EPOCH));
}

fn seek(store: &Store, count: usize) -> f64 {
    let site = "site.test".into();
    let keys: Vec<Key> = (0..SOUGHT).map(|n| name(n * 7_919 % count)).collect();
    each(SOUGHT, |n| drop(black_box(store.get(&keys[n], &site))))
}

/// Nanoseconds of one, on average.
fn each(times: usize, mut run: impl FnMut(usize)) -> f64 {
    let begin = now();
    (0..times).for_each(&mut run);
    nanoseconds(begin.elapsed()) / times as f64
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// So many responses with ten tags that all have, and one of their own.
fn filled(count: usize) -> Store {
    let store = Store::new(&Bounds {
        memory_bytes: 16 << 30,
        eviction: Eviction::Lru,
        tag_fields: Default::default(),
    });
    for number in 0..count {
        let ticket = store.begin();
        let request = request(number);
        let head = response(number);
        let at = SystemTime::UNIX_EPOCH;
        let Admit::Keep(lifetime) = admit(&request, &head, at, &Rules::default(), at) else {
            panic!("it may be stored");
        };
        let entry = Entry::new(&request, &head, lifetime, at, at, Some(0));
        let object =
            Object::new(entry, Body::new(Vec::new(), store.fills()), "site.test".into(), ticket.epoch());
        store.put(&name(number), Arc::new(object), None, &ticket);
    }
    store
}

fn name(number: usize) -> Key {
    key(&request(number), &KeyRules::default())
}

fn request(number: usize) -> RequestHead {
    let uri = format!("http://site.test/articles/{number}").parse().expect("it is a URL");
    RequestHead { method: Method::GET, uri, headers: HeaderMap::new() }
}

fn response(number: usize) -> ResponseHead {
    let tags = (0..10).map(|n| format!("all-{n} ")).collect::<String>() + &format!("own-{number}");
    let fields = [("cache-control", "max-age=1000000"), ("surrogate-key", &tags)];
    let fields = fields.map(|(name, value)| {
        (name.parse().expect("it is a name"), HeaderValue::from_str(value).expect("it is a value"))
    });
    ResponseHead { status: StatusCode::OK, headers: fields.into_iter().collect() }
}
