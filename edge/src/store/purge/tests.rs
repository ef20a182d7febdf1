use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::http::testing::{at, fields, get, response};
use crate::policy::{Admit, Entry, admit};
use crate::site::Rules;
use crate::site::tags::TagFields;
use crate::store::{Body, Bounds, Budget, Eviction, Put, Store};

fn key(url: &str, tenant: &str) -> Key {
    let rules = KeyRules { headers: vec![http::HeaderName::from_static("x-tenant")], ..KeyRules::default() };
    let mut request = get(&[("x-tenant", tenant)]);
    request.uri = url.parse().unwrap();
    crate::site::key::key(&request, &rules)
}

fn object(tags: &str, site: &str, ticket: &Ticket) -> Arc<Object> {
    let head = response(200, &[("cache-control", "max-age=1000"), ("surrogate-key", tags)]);
    let asked = get(&[]);
    let Admit::Keep(lifetime) = admit(&asked, &head, at(0), &Rules::default(), at(0)) else { panic!() };
    let entry = Entry::new(&asked, &head, lifetime, at(0), at(0), Some(0));
    Arc::new(Object::new(entry, Body::new(Vec::new(), &Budget::new(0)), site.into(), ticket.epoch()))
}

fn store() -> Store {
    Store::new(&Bounds { memory_bytes: 64 << 20, eviction: Eviction::Lru, tag_fields: Default::default() })
}

fn covered(purges: &Arc<Purges>, ticket: &Ticket, key: &Key, site: &str, tags: &str) -> Option<Mode> {
    purges.covers(ticket, key, &site.into(), Some(&fields(&[("cache-tag", tags)])))
}

#[test]
fn a_purge_covers_what_began_before_it_and_nothing_that_begins_after() {
    let (a, a2, b) = (key("http://a/x", "1"), key("http://a/x", "2"), key("http://a/y", "1"));
    // Which of: the same key, the same URL under another key, another URL, another site; all tagged.
    let check = |scope: Scope, expected: [bool; 4]| {
        for mode in [Mode::Hard, Mode::Soft] {
            let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
            let before = Purges::begin(&purges);
            purges.advance(&scope, mode, UNIX_EPOCH);
            let after = Purges::begin(&purges);
            let subjects = [(&a, "a", "t"), (&a2, "a", "t"), (&b, "a", "t"), (&b, "b", "u")];
            let found = subjects.map(|(key, site, tag)| covered(&purges, &before, key, site, tag).is_some());
            assert_eq!(found, expected, "{scope:?}");
            assert!(
                subjects.iter().all(|(key, site, tag)| covered(&purges, &after, key, site, tag).is_none())
            );
        }
    };
    let tag = |tag: &str, site: Option<&str>| Scope::Tag { tag: tag.into(), site: site.map(Into::into) };
    check(Scope::Key(a.clone()), [true, false, false, false]);
    check(Scope::Url(a.clone()), [true, true, false, false]);
    check(Scope::Prefix("http://a/x".into()), [true, true, false, false]);
    check(Scope::Prefix("http://a/".into()), [true, true, true, true]);
    check(Scope::Prefix("http://a/z".into()), [false, false, false, false]);
    check(tag("t", None), [true, true, true, false]);
    check(tag("t", Some("a")), [true, true, true, false]);
    check(tag("t", Some("b")), [false, false, false, false]);
    check(tag("u", Some("b")), [false, false, false, true]);
    check(Scope::Site("a".into()), [true, true, true, false]);
    check(Scope::All, [true, true, true, true]);
}

#[test]
fn who_purges_a_key_may_put_there_what_no_other_purge_covers() {
    let name = key("http://a/x", "1");
    for scope in [Scope::Key(name.clone()), Scope::Url(name.clone())] {
        let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
        let tagged = fields(&[("cache-tag", "t")]);
        let subject = Subject { key: &name, site: &"a".into(), headers: Some(&tagged) };
        let supersede = |ticket: &Ticket| Purges::supersede(&purges, ticket, &scope, &subject, UNIX_EPOCH);
        let is_covered = |ticket: &Ticket| covered(&purges, ticket, &name, "a", "t").is_some();
        let (before, other) = (Purges::begin(&purges), Purges::begin(&purges));
        let after = supersede(&before).0.expect("nothing was purged");
        assert!(is_covered(&other) && !is_covered(&after));
        purges.advance(&Scope::Tag { tag: "t".into(), site: None }, Mode::Soft, UNIX_EPOCH);
        assert!(is_covered(&after));
        assert!(supersede(&after).0.is_none());
        assert!(is_covered(&after) && !is_covered(&Purges::begin(&purges)));
    }
}

#[test]
fn a_purged_key_is_forgotten_when_no_fetch_from_before_it_runs() {
    let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
    let hard = |name: &str| purges.advance(&Scope::Key(key(name, "")), Mode::Hard, UNIX_EPOCH);
    let first = Purges::begin(&purges);
    hard("http://a/a");
    let second = Purges::begin(&purges);
    hard("http://a/b");
    assert_eq!(purges.lock().keys.len(), 2);
    drop(first);
    assert!(covered(&purges, &second, &key("http://a/b", ""), "a", "").is_some());
    assert_eq!(purges.lock().keys.len(), 1, "only the second fetch can still bring something old");
    drop(second);
    assert!(purges.lock().keys.is_empty());
    hard("http://a/c");
    assert!(purges.lock().keys.is_empty(), "no fetch runs");
}

#[test]
fn too_many_purged_keys_void_the_fetches_that_run_instead_of_growing() {
    let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
    let before = Purges::begin(&purges);
    for number in 0..=MAX_KEYS {
        let key = Key::from_bytes(number.to_string().as_bytes());
        purges.advance(&Scope::Key(key), Mode::Hard, UNIX_EPOCH);
    }
    assert!(purges.lock().keys.len() <= MAX_KEYS);
    let never = key("http://a/never", "");
    assert!(covered(&purges, &before, &never, "a", "").is_some());
    assert!(covered(&purges, &Purges::begin(&purges), &never, "a", "").is_none());
}

#[test]
fn marks_go_with_the_last_response_from_before_them() {
    let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
    let tag = |tag: &str| purges.advance(&Scope::Tag { tag: tag.into(), site: None }, Mode::Hard, UNIX_EPOCH);
    let marks = || purges.lock().marks.len();
    let first = Purges::begin(&purges);
    let old = object("", "a", &first);
    drop(first);
    (0..10).for_each(|number| _ = tag(&number.to_string()));
    assert_eq!(marks(), 10);
    let ticket = Purges::begin(&purges);
    let young = object("", "a", &ticket);
    drop((old, ticket));
    tag("x");
    assert_eq!(marks(), 1, "what is left is from after the ten");
    drop(young);
    tag("y");
    assert_eq!(marks(), 0, "nothing is from before it");
}

#[test]
fn marks_and_births_stay_within_their_bounds() {
    let purges = Purges::new(100, TagFields::default(), 0, HashKey([0; 16]));
    let mut held = Vec::new();
    for number in 0..1_000 {
        held.push(Purges::begin(&purges));
        let prefix = Scope::Prefix(format!("http://a/{number}"));
        let tag = Scope::Tag { tag: number.to_string(), site: None };
        purges.advance(if number % 2 == 0 { &prefix } else { &tag }, Mode::Soft, UNIX_EPOCH);
        assert!(purges.lock().marks.len() <= 100);
    }
    // A mark that had to go covers all that is from before it.
    assert_eq!(covered(&purges, &held[0], &key("http://b/", ""), "a", ""), Some(Mode::Hard));
    assert_eq!(covered(&purges, &held[999], &key("http://b/", ""), "a", ""), None);
}

#[test]
fn a_name_that_is_purged_again_takes_no_further_place() {
    for mode in [Mode::Hard, Mode::Soft] {
        let purges = Purges::new(200, TagFields::default(), 0, HashKey([0; 16]));
        let old = Purges::begin(&purges);
        let name = key("http://a/login", "1");
        let again = [
            Scope::Url(name.clone()),
            Scope::Tag { tag: "t".into(), site: None },
            Scope::Prefix("http://a/p".into()),
            Scope::Site("c".into()),
        ];
        let mut held = Vec::new();
        for number in 0..1_000 {
            // Some of them are stored for a while.
            held.push(Purges::begin(&purges).epoch());
            held.drain(..held.len().saturating_sub(3));
            purges.advance(&again[number % 4], mode, at(number as u64));
        }
        for number in 0..80 {
            purges.advance(&Scope::Tag { tag: format!("other {number}"), site: None }, mode, at(2_000));
        }
        let covered = |url: &str, tags: &str| covered(&purges, &old, &key(url, "1"), "a", tags);
        assert_eq!(covered("http://a/x", "u"), None, "no purge has named it");
        assert_eq!(covered("http://a/login", ""), Some(mode));
        assert_eq!(covered("http://a/p/1", ""), Some(mode));
        assert_eq!(covered("http://a/x", "t"), Some(mode));
    }
}

#[test]
fn there_is_room_for_some_thousand_names_in_the_smallest_store_and_for_more_over_a_disk() {
    for (memory_bytes, files, expected) in
        [(16 << 20, 0, 4_096), (1 << 30, 0, 65_536), (64 << 20, 160_000, 10_000), (64 << 20, 1 << 31, 65_536)]
    {
        assert_eq!(most_marks(memory_bytes, files), expected);
    }
    let purges = Purges::new(most_marks(16 << 20, 0), TagFields::default(), 0, HashKey([0; 16]));
    let old = Purges::begin(&purges);
    for number in 0..4_096 {
        purges.advance(&Scope::Tag { tag: number.to_string(), site: None }, Mode::Hard, UNIX_EPOCH);
    }
    assert_eq!(covered(&purges, &old, &key("http://a/x", ""), "a", "t"), None);
    purges.advance(&Scope::Tag { tag: "one more".into(), site: None }, Mode::Hard, UNIX_EPOCH);
    assert_eq!(covered(&purges, &old, &key("http://a/x", ""), "a", "t"), Some(Mode::Hard));
}

#[test]
fn a_soft_purge_ends_freshness_then_and_a_hard_one_goes_before_it() {
    let store = store();
    let name = key("http://a/x", "");
    let put = || {
        let ticket = store.begin();
        assert_eq!(store.put(&name, object("t", "a", &ticket), None, &ticket), Put::Kept);
    };
    let tag = Scope::Tag { tag: "t".into(), site: None };
    put();
    store.purge(&tag, Mode::Soft, at(10));
    store.purge(&Scope::All, Mode::Soft, at(20));
    let found = store.get(&name, &"a".into());
    assert_eq!(found[0].entry.freshness(at(30)).lifetime_secs, 10, "as of the first");
    assert!(!found[0].entry.freshness(at(5)).is_fresh(), "also by a clock that was set back");
    assert!(Arc::ptr_eq(&found[0], &store.get(&name, &"a".into())[0]), "compared once");
    store.purge(&tag, Mode::Hard, at(40));
    assert!(store.get(&name, &"a".into()).is_empty());
    put();
    store.purge(&Scope::Key(name.clone()), Mode::Soft, at(10));
    assert_eq!(store.get(&name, &"a".into())[0].entry.freshness(at(30)).lifetime_secs, 10);
}

#[test]
fn a_304_does_not_bring_back_a_body_that_a_purge_took() {
    let store = store();
    let name = key("http://a/x", "");
    let ticket = store.begin();
    let old = object("t", "a", &ticket);
    store.put(&name, Arc::clone(&old), None, &ticket);
    store.purge(&Scope::Site("a".into()), Mode::Hard, at(0));
    // Found before the purge, asked about after it.
    let ticket = store.begin();
    assert_eq!(store.put(&name, object("t", "a", &ticket), Some(&old), &ticket), Put::Purged);
    assert_eq!(store.put(&name, object("t", "a", &ticket), None, &ticket), Put::Kept);
}

#[test]
fn the_purges_of_both_sites_cover_a_response_whose_host_moved_from_one_to_the_other() {
    let name = key("http://a/x", "");
    let check = |purged: &str, asked: &str, is_left: bool| {
        let store = store();
        let ticket = store.begin();
        store.put(&name, object("t", "before", &ticket), None, &ticket);
        store.purge(&Scope::Site(purged.into()), Mode::Hard, at(0));
        store.purge(&Scope::Tag { tag: "other".into(), site: Some(asked.into()) }, Mode::Hard, at(0));
        assert_eq!(!store.get(&name, &asked.into()).is_empty(), is_left, "{purged} purged, {asked} asked");
    };
    check("before", "after", false);
    check("after", "after", false);
    check("other", "after", true);
    check("before", "before", false);
    check("after", "before", true);
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    /// The oldest fetch under way ends with a response for this URL, tenant, tags.
    Put(usize, usize, usize),
    Get(usize, usize),
    Purge(usize, usize, bool),
}

const URLS: [&str; 3] = ["http://a/x", "http://a/x/1", "http://b/x"];
const TENANTS: [&str; 2] = ["1", "2"];
const TAGS: [&str; 4] = ["", "t", "u", "t u"];

fn site_of(url: usize) -> SiteName {
    if url == 2 { "b".into() } else { "a".into() }
}

fn scope(which: usize, url: usize) -> Scope {
    match which {
        0 => Scope::All,
        1 => Scope::Site(site_of(url)),
        2 => Scope::Tag { tag: "t".into(), site: None },
        3 => Scope::Tag { tag: "u".into(), site: Some(site_of(url)) },
        4 => Scope::Prefix("http://a/x".into()),
        5 => Scope::Pattern(UrlPattern::parse("http://*/x").unwrap()),
        6 => Scope::Url(key(URLS[url], "")),
        _ => Scope::Key(key(URLS[url], TENANTS[0])),
    }
}

/// By looking at everything.
fn covers(scope: &Scope, url: usize, tenant: usize, tags: usize) -> bool {
    match scope {
        Scope::All => true,
        Scope::Site(site) => site_of(url) == *site,
        Scope::Tag { tag, site } => {
            TAGS[tags].split(' ').any(|had| had == tag)
                && site.as_ref().is_none_or(|site| site_of(url) == *site)
        }
        Scope::Prefix(prefix) => URLS[url].starts_with(prefix),
        Scope::Pattern(_) => URLS[url].ends_with("/x"),
        Scope::Url(key) => key.url() == URLS[url],
        Scope::Key(name) => *name == key(URLS[url], TENANTS[tenant]),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Begin),
        (0..URLS.len(), 0..TENANTS.len(), 0..TAGS.len()).prop_map(|(u, t, g)| Step::Put(u, t, g)),
        (0..URLS.len(), 0..TENANTS.len()).prop_map(|(u, t)| Step::Get(u, t)),
        (0_usize..7, 0..URLS.len(), any::<bool>()).prop_map(|(w, u, soft)| Step::Purge(w, u, soft)),
    ]
}

/// The model: it keeps every response and every purge, by the step they happened in.
#[derive(Default)]
struct Naive {
    purges: Vec<(usize, Scope, Mode)>,
    stored: HashMap<(usize, usize), (usize, usize)>,
}

impl Naive {
    /// How what began in a step stands: gone, stale since a step, or good.
    fn standing(&self, began: usize, url: usize, tenant: usize, tags: usize) -> Option<Option<usize>> {
        let over =
            |(when, scope, _): &&(usize, Scope, Mode)| *when > began && covers(scope, url, tenant, tags);
        let hard = self.purges.iter().filter(over).any(|(_, _, mode)| *mode == Mode::Hard);
        let soft = self.purges.iter().filter(over).map(|(when, ..)| *when).min();
        (!hard).then_some(soft)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn epochs_say_what_looking_at_everything_says(steps in proptest::collection::vec(step(), 1..60)) {
        let store = store();
        let mut naive = Naive::default();
        let mut running: VecDeque<(usize, Ticket)> = VecDeque::new();
        for (now, step) in steps.iter().enumerate() {
            match *step {
                Step::Begin => running.push_back((now, store.begin())),
                Step::Put(url, tenant, tags) => {
                    let Some((began, ticket)) = running.pop_front() else { continue };
                    let done = store.put(
                        &key(URLS[url], TENANTS[tenant]), object(TAGS[tags], site_of(url).as_str(), &ticket), None, &ticket,
                    );
                    let good = naive.standing(began, url, tenant, tags) == Some(None);
                    prop_assert_eq!(done, if good { Put::Kept } else { Put::Purged });
                    if good {
                        naive.stored.insert((url, tenant), (began, tags));
                    }
                }
                Step::Get(url, tenant) => {
                    let found = store.get(&key(URLS[url], TENANTS[tenant]), &site_of(url));
                    let ends = found.first().map(|object| object.entry.lifetime.fresh_secs);
                    let stored = naive.stored.get(&(url, tenant));
                    let standing = stored.and_then(|(began, tags)| naive.standing(*began, url, tenant, *tags));
                    // A soft purge at step n happens at second n; without one it is fresh for 1000 seconds.
                    let expected = standing.map(|soft| soft.map_or(1_000, |when| when as u64));
                    prop_assert_eq!(ends, expected, "step {} of {:?}", now, steps);
                }
                Step::Purge(which, url, soft) => {
                    let mode = if soft { Mode::Soft } else { Mode::Hard };
                    store.purge(&scope(which, url), mode, UNIX_EPOCH + Duration::from_secs(now as u64));
                    naive.purges.push((now, scope(which, url), mode));
                }
            }
        }
    }
}

#[test]
fn purges_of_an_earlier_process_cover_what_is_from_before_them() {
    let first = Purges::new(MAX_MARKS, TagFields::default(), 1 << 40, HashKey([5; 16]));
    let born = **Purges::begin(&first).epoch().birth();
    let scopes = [
        (Scope::Prefix("http://a/p".into()), Mode::Hard),
        (Scope::Tag { tag: "t".into(), site: None }, Mode::Soft),
        (Scope::Pattern(UrlPattern::parse("http://a/*/w").unwrap()), Mode::Soft),
        (Scope::Site("b".into()), Mode::Hard),
    ];
    let mut noted: Vec<Noted> = Vec::new();
    let alive = Purges::begin(&first).epoch();
    for (scope, mode) in &scopes {
        noted.extend(first.advance(scope, *mode, at(9)).noted);
    }
    // The journal has them as they came, a new journal as they are known.
    let (snapshot, _) = first.snapshot();
    drop(alive);
    for told in [noted, snapshot] {
        let next = Purges::new(MAX_MARKS, TagFields::default(), 2 << 40, HashKey([5; 16]));
        let _awaits = Purges::begin(&next).epoch();
        next.advance(&Scope::Prefix("http://a/q".into()), Mode::Hard, at(11));
        let births = next.restore(&told, 0, &[born]);
        let standing = |path: &str, site: &str, tags: &str| {
            let made = object(tags, site, &Purges::begin(&next));
            let epoch = Epoch::new(Arc::clone(&births[0]), born, 0);
            let (entry, body) = (made.entry.clone(), Arc::clone(&made.body));
            let old = Object::new(entry, body, site.into(), epoch);
            next.lock().standing(&key(&format!("http://a{path}"), "1"), &site.into(), &old)
        };
        assert_eq!(standing("/p/1", "a", ""), Standing::Gone);
        assert_eq!(standing("/q", "a", ""), Standing::Gone, "purged by the next process before it knew");
        assert_eq!(standing("/x", "b", ""), Standing::Gone);
        assert_eq!(standing("/x", "a", "t u"), Standing::StaleSince(at(9)));
        assert_eq!(standing("/1/w", "a", ""), Standing::StaleSince(at(9)));
        assert_eq!(standing("/x", "a", "u"), Standing::Good);
    }
}

#[test]
fn a_key_goes_with_its_url_as_long_as_something_from_under_other_rules_is_left() {
    let (old, new) = (key("http://a/x", "1"), key("http://a/x", ""));
    let store = store();
    store.keys_are_by("tenant");
    let ticket = store.begin();
    assert_eq!(store.put(&old, object("t", "a", &ticket), None, &ticket), Put::Kept);
    drop(ticket);
    store.keys_are_by("tenant");
    assert!(!store.purges.has_other_keys());
    store.keys_are_by("");
    store.purge(&Scope::Key(new.clone()), Mode::Hard, at(1));
    store.keys_are_by("tenant");
    assert!(store.get(&old, &"a".into()).is_empty());
    let purges = Purges::new(MAX_MARKS, TagFields::default(), 0, HashKey([0; 16]));
    assert!(purges.keys_are_by("tenant") && purges.keys_are_by("") && !purges.keys_are_by(""));
    assert!(purges.has_other_keys());
    purges.advance(&Scope::All, Mode::Hard, at(2));
    assert!(!purges.has_other_keys(), "nothing is from before");
}

#[test]
fn purges_of_tags_cover_everything_once_the_fields_with_tags_are_others() {
    let with = |name: &'static str, first| {
        let names = vec![http::HeaderName::from_static(name)];
        Purges::new(MAX_MARKS, TagFields::new(names), first, HashKey([5; 16]))
    };
    let first = with("cache-tag", 1 << 40);
    let ticket = Purges::begin(&first);
    let born = **ticket.epoch().birth();
    let noted = first.settings();
    let soft = first.advance(&Scope::Tag { tag: "t".into(), site: None }, Mode::Soft, at(9)).noted;
    let (snapshot, _) = first.snapshot();
    for told in [[noted, soft].concat(), snapshot] {
        for (fields, expected) in [("cache-tag", None), ("x-other", Some(Mode::Soft))] {
            let next = with(fields, 2 << 40);
            let births = next.restore(&told, 0, &[born]);
            let made = object("u", "a", &Purges::begin(&next));
            let epoch = Epoch::new(Arc::clone(&births[0]), born, 0);
            let old = Object::new(made.entry.clone(), Arc::clone(&made.body), "a".into(), epoch);
            let standing = next.lock().standing(&key("http://a/x", ""), &"a".into(), &old);
            assert_eq!(standing == Standing::StaleSince(at(9)), expected.is_some(), "{fields}");
            // The one after it knows that, too.
            let (again, _) = next.snapshot();
            let last = with(fields, 3 << 40);
            last.restore(&again, 0, &[born]);
            let standing = last.lock().standing(&key("http://a/x", ""), &"a".into(), &old);
            assert_eq!(standing == Standing::StaleSince(at(9)), expected.is_some(), "{fields} again");
        }
    }
    drop(ticket);
}

#[test]
fn what_two_disks_have_noted_covers_by_time_what_was_asked_for_before_it_and_no_more() {
    let marks = |first: u64| Purges::new(MAX_MARKS, TagFields::default(), first, HashKey([5; 16]));
    let before = marks(1 << 40);
    let _ticket = Purges::begin(&before);
    let mut noted = before.advance(&Scope::Prefix("http://a/p".into()), Mode::Hard, at(10)).noted;
    noted.extend(before.advance(&Scope::Prefix("http://a/q".into()), Mode::Soft, at(20)).noted);
    let next = marks(2 << 40);
    let (site, headers) = (SiteName::from("a"), fields(&[]));
    let covers = |path: &str, asked: u64| {
        let key = key(&format!("http://a{path}"), "1");
        let subject = Subject { key: &key, site: &site, headers: Some(&headers) };
        next.covers_asked(at(asked), &subject)
    };
    // One purge comes while the disks are read.
    next.advance(&Scope::Prefix("http://a/r".into()), Mode::Hard, at(30));
    for _disk in 0..2 {
        next.restore(&noted, 0, &[]);
        for (path, purged, mode) in [("/p", 10, Mode::Hard), ("/q", 20, Mode::Soft), ("/r", 30, Mode::Hard)] {
            assert_eq!(covers(path, purged - 1).map(|(mode, _)| mode), Some(mode), "{path}");
            assert_eq!(covers(path, purged + 1), None, "{path}");
        }
    }
    assert_eq!(next.lock().timed.len(), 3);
}
