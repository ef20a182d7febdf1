//! The cost of a look-up and of a put in each of the orders in which objects may leave:
//! `cargo bench -p verge-edge --bench store`.
//!
//! A get clones the variants that it finds, as the edge does. One run compares them: the machine's load changes all alike.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use verge_edge::http::head::{RequestHead, ResponseHead};
use verge_edge::policy::{Admit, Entry, admit};
use verge_edge::site::Rules;
use verge_edge::site::key::{Key, KeyRules, key};
use verge_edge::store::{Body, Bounds, Eviction, Object, Store};

/// URLs that are asked for by turns.
const MANY: usize = 20_000;
const GETS: usize = 400_000;
/// In mixed work one request in so many finds nothing, and its answer is put.
const MISS_PART: usize = 10;

fn main() {
    println!(
        "{:8} {:>10} {:>10} {:>12} {:>12} {:>10} {:>14}",
        "", "get of 1", "of 20,000", "1 by two", "20,000 by two", "put", "mixed, by two"
    );
    for (name, eviction) in [("s3-fifo", Eviction::S3Fifo), ("lru", Eviction::Lru), ("lfu", Eviction::Lfu)] {
        let store = filled(eviction, 1 << 30);
        let keys: Vec<Key> = (0..MANY).map(name_of).collect();
        // Until the marks of hits and the lines of the caches are as they stay.
        get(&store, &keys);
        let one = best(|| get(&store, &keys[..1]));
        let many = best(|| get(&store, &keys));
        let one_by_two = best(|| by_two(|| get(&store, &keys[..1])));
        let many_by_two = best(|| by_two(|| get(&store, &keys)));
        let full = filled(eviction, 24 << 20);
        let put = best(|| each(MANY, |n| put(&full, n)));
        let mixed = best(|| by_two(|| mixed(&full, &keys)));
        println!(
            "{name:8} {one:7.0} ns {many:7.0} ns {one_by_two:9.0} ns {many_by_two:9.0} ns {put:7.0} ns {mixed:11.0} ns"
        );
    }
}

/// Nanoseconds of one get.
fn get(store: &Store, keys: &[Key]) -> f64 {
    let site = "site.test".into();
    each(GETS, |n| drop(black_box(store.get(&keys[n % keys.len()], &site))))
}

/// Nine hits and a put of what is not there, by turns.
fn mixed(store: &Store, keys: &[Key]) -> f64 {
    let site = "site.test".into();
    each(GETS / 4, |n| match n % MISS_PART {
        0 => put(store, n * 7_919 % MANY),
        _ => drop(black_box(store.get(&keys[n % 2_000], &site))),
    })
}

/// Nanoseconds of one, on average of two threads at once.
fn by_two(run: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let other = scope.spawn(&run);
        let own = run();
        f64::midpoint(own, other.join().expect("it does not panic"))
    })
}

fn best(mut run: impl FnMut() -> f64) -> f64 {
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of one, on average.
fn each(times: usize, mut run: impl FnMut(usize)) -> f64 {
    let begin = now();
    (0..times).for_each(&mut run);
    begin.elapsed().as_secs_f64() * 1e9 / times as f64
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn filled(eviction: Eviction, memory_bytes: u64) -> Store {
    let store = Store::new(&Bounds { memory_bytes, eviction, tag_fields: Default::default() });
    (0..MANY).for_each(|number| put(&store, number));
    store
}

fn put(store: &Store, number: usize) {
    let ticket = store.begin();
    let (request, head) = (request(number), response());
    let at = SystemTime::UNIX_EPOCH;
    let Admit::Keep(lifetime) = admit(&request, &head, at, &Rules::default(), at) else {
        panic!("it may be stored");
    };
    let entry = Entry::new(&request, &head, lifetime, at, at, Some(1_000));
    let body = Body::new(vec![vec![0; 1_000].into()], store.fills());
    let object = Object::new(entry, body, "site.test".into(), ticket.epoch());
    store.put(&name_of(number), Arc::new(object), None, &ticket);
}

fn name_of(number: usize) -> Key {
    key(&request(number), &KeyRules::default())
}

fn request(number: usize) -> RequestHead {
    let uri = format!("http://site.test/articles/{number}").parse().expect("it is a URL");
    RequestHead { method: Method::GET, uri, headers: HeaderMap::new() }
}

fn response() -> ResponseHead {
    let fields = [("cache-control", "max-age=1000000"), ("content-type", "text/html")];
    let fields =
        fields.map(|(name, value)| (name.parse().expect("it is a name"), HeaderValue::from_static(value)));
    ResponseHead { status: StatusCode::OK, headers: fields.into_iter().collect() }
}
