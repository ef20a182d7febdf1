use std::path::Path;

use super::super::disk::layout::Header;
use super::super::disk::record::{self, RECORD_BYTES, Record};
use super::super::disk::{Disks, Settings, head};
use super::super::{Body, Bounds, Eviction, Mode, Scope};
use super::*;
use crate::http::testing::{at, get, request, response};
use crate::policy::testing::{stored, stored_response};
use crate::site::key::{KeyRules, key};

/// Of 2 MiB of memory, what is larger than 128 KiB stays on the disk.
const BYTES: u64 = 300_000;

fn name() -> Key {
    key(&request("GET", "http://a.example/film", &[]), &KeyRules::default())
}

/// A store over this folder, which has read its disk.
async fn store(disk: &Path) -> Store {
    let settings = Settings { path: disk.into(), bytes: 64 << 20, files: 1_000, write_rate_bytes: 1 << 40 };
    let bounds = Bounds { memory_bytes: 2 << 20, eviction: Eviction::S3Fifo, tag_fields: Default::default() };
    let store = Store::with_disks(&bounds, Disks::open(vec![settings]));
    while !store.disks().standings()[0].is_ready {
        tokio::task::yield_now().await;
    }
    store
}

/// A response with this tag, made so many seconds after the first.
fn entry(tag: &str, secs: u64) -> Entry {
    let date = format!("Thu, 01 Jan 1970 00:16:{secs:02} GMT");
    stored(&[("cache-tag", tag), ("date", &date)]).completed(BYTES).unwrap()
}

/// A response on its way to a file.
async fn begun(store: &Store, ticket: &Ticket, entry: &Entry) -> Spool {
    let response = (&name(), &"a".into(), entry);
    store.reserve(response, ticket, Some(BYTES), 0).unwrap().open().await.unwrap()
}

async fn ended(store: &Store, ticket: &Ticket, entry: &Entry, mut spool: Spool) -> Put {
    spool.add(vec![b'x'; usize::try_from(BYTES).unwrap()].into());
    spool.publish(entry).await.unwrap();
    let body = Body::filed(spool.filed(), store.fills());
    let object = Object::new(entry.clone(), body, "a".into(), ticket.epoch());
    store.put_filed(&name(), &object, &spool, None, ticket)
}

async fn put(store: &Store, tag: &str, secs: u64) {
    let (ticket, entry) = (store.begin(), entry(tag, secs));
    let spool = begun(store, &ticket, &entry).await;
    assert_eq!(ended(store, &ticket, &entry, spool).await, Put::Kept);
}

/// The tags of what is held.
async fn tags(store: &Store) -> Vec<String> {
    let found = store.get_from_disk(&name(), &"a".into()).await;
    let tag = |object: &Arc<Object>| object.entry.head.headers["cache-tag"].to_str().unwrap().to_owned();
    found.iter().map(tag).collect()
}

async fn held(store: &Store) -> Arc<Object> {
    Arc::clone(&store.get_from_disk(&name(), &"a".into()).await[0])
}

/// The same response with another tag, as a 304 makes it.
fn confirmed(held: &Object, ticket: &Ticket, tag: &str) -> Object {
    Object::new(entry(tag, 30), Arc::clone(&held.body), "a".into(), ticket.epoch())
}

/// A purge holds for what was stored when it came, whatever the head has that the origin had just confirmed.
#[tokio::test]
async fn a_crash_between_a_confirmed_head_and_its_record_undoes_no_purge() {
    for confirmed_before in [false, true] {
        for is_purged in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let disk = folder.path().join("cache");
            let before = store(&disk).await;
            put(&before, "first", 1).await;
            let mut counts = "first";
            if confirmed_before {
                let (held, ticket) = (held(&before).await, before.begin());
                let fresh = confirmed(&held, &ticket, "second");
                assert_eq!(before.confirm_filed(&name(), &fresh, &held, &ticket).await, Put::Kept);
                counts = "second";
            }
            let (held, ticket) = (held(&before).await, before.begin());
            let fresh = confirmed(&held, &ticket, "third");
            // The process ends before the journal says that this head counts.
            let written = before.disks.confirm(&name(), held.body.file().unwrap(), &fresh).await;
            assert!(matches!(written, Confirmed::Written(_)));
            assert_eq!(tags(&before).await, [counts], "as before, while it is written");
            if is_purged {
                before.purge(&Scope::Tag { tag: counts.into(), site: None }, Mode::Hard, at(0));
            }
            before.disks().stop().await;
            let after = store(&disk).await;
            let expected: &[&str] = if is_purged { &[] } else { &[counts] };
            assert_eq!(tags(&after).await, expected, "confirmed before: {confirmed_before}");
        }
    }
}

#[tokio::test]
async fn a_file_whose_counting_head_is_gone_is_a_miss_and_no_other_head_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let store = store(&disk).await;
    put(&store, "first", 1).await;
    let (held, ticket) = (held(&store).await, store.begin());
    let fresh = confirmed(&held, &ticket, "second");
    assert_eq!(store.confirm_filed(&name(), &fresh, &held, &ticket).await, Put::Kept);
    assert_eq!(tags(&store).await, ["second"]);
    let below = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = below(&disk).filter(|path| path.is_dir()).flat_map(|path| below(&path));
    let heads = folders.flat_map(|path| below(&path)).filter(|path| path.extension().is_some());
    for head in heads.collect::<Vec<_>>() {
        std::fs::remove_file(head).unwrap();
    }
    assert!(tags(&store).await.is_empty());
    assert_eq!(store.disks().standings()[0].files, 0, "it would be of no use to anybody");
    put(&store, "third", 40).await;
    assert_eq!(tags(&store).await, ["third"]);
}

#[tokio::test]
async fn of_two_large_responses_the_one_of_the_later_request_stays_whichever_ends_first() {
    for (dates, is_early_newer) in [((1, 2), false), ((1, 1), false), ((2, 1), true)] {
        for late_first in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = store(&folder.path().join("cache")).await;
            let (early, late) = (entry("early", dates.0), entry("late", dates.1));
            let (first, second) = (store.begin(), store.begin());
            let (one, other) = (begun(&store, &first, &early).await, begun(&store, &second, &late).await);
            if late_first {
                assert_eq!(ended(&store, &second, &late, other).await, Put::Kept);
                let is_kept = ended(&store, &first, &early, one).await == Put::Kept;
                assert_eq!(is_kept, is_early_newer, "{dates:?}");
            } else {
                assert_eq!(ended(&store, &first, &early, one).await, Put::Kept);
                assert_eq!(ended(&store, &second, &late, other).await, Put::Kept);
            }
            let last = if late_first && is_early_newer { "early" } else { "late" };
            assert_eq!(tags(&store).await, [last], "{dates:?} {late_first}");
        }
    }
}

#[tokio::test]
async fn a_large_response_does_not_take_the_place_of_one_that_was_asked_for_later_and_is_there() {
    for confirms in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("cache")).await;
        put(&store, "late", 2).await;
        let early = store.begin();
        if confirms {
            let (held, ticket) = (held(&store).await, store.begin());
            let fresh = confirmed(&held, &ticket, "late");
            assert_eq!(store.confirm_filed(&name(), &fresh, &held, &ticket).await, Put::Kept);
        } else {
            put(&store, "late", 2).await;
        }
        let old = entry("early", 1);
        let spool = begun(&store, &early, &old).await;
        assert_ne!(ended(&store, &early, &old, spool).await, Put::Kept);
        assert_eq!(tags(&store).await, ["late"]);
    }
}

/// Two answers of the origin that come together would write into one place, and the journal might name the other.
#[tokio::test]
async fn one_head_at_a_time_is_written_beside_a_file_and_the_second_confirmation_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("cache")).await;
    put(&store, "first", 1).await;
    let held = held(&store).await;
    let (one, two) = (store.begin(), store.begin());
    let (second, third) = (confirmed(&held, &one, "second"), confirmed(&held, &two, "third"));
    let filed = held.body.file().unwrap();
    let Confirmed::Written(edition) = store.disks.confirm(&name(), filed, &second).await else { panic!() };
    assert_eq!(store.disks.confirm(&name(), filed, &third).await, Confirmed::Failed);
    assert!(filed.renew(second.epoch.birth(), second.recency(), edition));
    assert!(filed.renew(third.epoch.birth(), third.recency(), edition + 2), "it is held");
    assert_eq!(tags(&store).await, ["second"]);
    let (again, ticket) = (self::held(&store).await, store.begin());
    let fourth = confirmed(&again, &ticket, "fourth");
    assert_eq!(store.confirm_filed(&name(), &fourth, &again, &ticket).await, Put::Kept);
    assert_eq!(tags(&store).await, ["fourth"]);
}

/// A client seeks in a film that is still arriving.
#[tokio::test]
async fn a_part_of_a_later_request_keeps_the_whole_response_out_of_neither_the_disk_nor_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("cache")).await;
    let (first, second) = (store.begin(), store.begin());
    let whole = entry("whole", 1);
    let spool = begun(&store, &first, &whole).await;
    let fields = [("content-range", "bytes 5-9/300000"), ("date", "Thu, 01 Jan 1970 00:16:02 GMT")];
    let part = |ticket: &Ticket| {
        let entry = stored_response(&get(&[]), &response(206, &fields), 5);
        let body = Body::new(vec!["01234".into()], store.fills());
        Arc::new(Object::new(entry, body, "a".into(), ticket.epoch()))
    };
    assert_eq!(store.put(&name(), part(&second), None, &second), Put::Kept);
    assert_eq!(ended(&store, &first, &whole, spool).await, Put::Kept);
    assert_eq!(tags(&store).await, ["whole"]);
    // Of one that memory takes.
    store.purge(&Scope::All, Mode::Hard, at(0));
    let (first, second) = (store.begin(), store.begin());
    assert_eq!(store.put(&name(), part(&second), None, &second), Put::Kept);
    let body = Body::new(vec!["0123456789".into()], store.fills());
    let entry = stored(&[("date", "Thu, 01 Jan 1970 00:16:01 GMT")]).completed(10).unwrap();
    let small = Arc::new(Object::new(entry, body, "a".into(), first.epoch()));
    assert_eq!(store.put(&name(), small, None, &first), Put::Kept);
}

#[tokio::test]
async fn a_small_response_to_an_earlier_request_does_not_take_the_place_of_a_large_one_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("cache")).await;
    let early = store.begin();
    put(&store, "late", 2).await;
    let body = Body::new(vec!["0123456789".into()], store.fills());
    let entry = stored(&[("date", "Thu, 01 Jan 1970 00:16:01 GMT")]).completed(10).unwrap();
    let small = Arc::new(Object::new(entry, body, "a".into(), early.epoch()));
    assert_eq!(store.put(&name(), small, None, &early), Put::Older);
    assert_eq!(tags(&store).await, ["late"]);
}

/// Versions before editions wrote one head beside a file, and its record had no edition.
#[tokio::test]
async fn a_head_that_an_earlier_version_wrote_beside_a_file_counts_after_an_upgrade_and_is_not_written_over()
{
    let above = tempfile::tempdir().unwrap();
    let disk = above.path().join("cache");
    let store = store(&disk).await;
    put(&store, "first", 1).await;
    let below = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = below(&disk).filter(|path| path.is_dir()).flat_map(|path| below(&path));
    let files: Vec<_> = folders.flat_map(|path| below(&path)).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let number = u64::from_str_radix(file.file_name().unwrap().to_str().unwrap(), 16).unwrap();
    let head = head::encode(&entry("second", 2), &"a".into());
    let header = Header { file: number, ..Header::default() };
    std::fs::write(file.with_extension("head"), header.before(name().as_bytes(), &head)).unwrap();
    assert_eq!(tags(&store).await, ["second"]);
    let (held, ticket) = (held(&store).await, store.begin());
    let fresh = confirmed(&held, &ticket, "third");
    let written = store.disks.confirm(&name(), held.body.file().unwrap(), &fresh).await;
    assert!(matches!(written, Confirmed::Written(_)));
    assert_eq!(tags(&store).await, ["second"], "as before, while it is written");
}

/// A sweep that did not come to its end is made again, also after a stop in order.
#[tokio::test]
async fn files_that_nobody_counts_are_swept_until_none_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let before = store(&disk).await;
    put(&before, "first", 1).await;
    before.disks().stop().await;
    drop(before);
    let orphan = |number: u64| {
        let below = disk.join(format!("{:x}/{:02x}", number % 16, number / 16 % 256));
        std::fs::create_dir_all(&below).unwrap();
        below.join(format!("{number:016x}"))
    };
    // As after a crash: the journal has no end. An edge that stops before its first sweep is over does not write one.
    let journal = std::fs::read(disk.join("journal")).unwrap();
    let (rest, last) = journal.split_last_chunk::<RECORD_BYTES>().unwrap();
    let number = u32::try_from(rest.len() / RECORD_BYTES).unwrap();
    if record::decode(last, number) == Some(Record::Stopped) {
        std::fs::write(disk.join("journal"), rest).unwrap();
    }
    let (first, stuck) = (orphan(1), orphan(2));
    std::fs::write(&first, "x").unwrap();
    std::fs::create_dir(&stuck).unwrap();
    let second = store(&disk).await;
    gone(&first).await;
    second.disks().stop().await;
    drop(second);
    std::fs::remove_dir(&stuck).unwrap();
    std::fs::write(&stuck, "x").unwrap();
    let third = store(&disk).await;
    gone(&stuck).await;
    assert_eq!(tags(&third).await, ["first"]);
}

/// Waits until a file is removed.
async fn gone(path: &Path) {
    let limit = crate::clock::monotonic() + std::time::Duration::from_secs(20);
    while path.exists() {
        assert!(crate::clock::monotonic() < limit, "{} is still there", path.display());
        tokio::task::yield_now().await;
    }
}

/// A part that came while nobody knew what the disk has takes the place of another version, and of no other.
#[tokio::test]
async fn a_whole_of_another_version_than_a_later_part_is_not_taken_from_the_disk() {
    for (tag, expected) in [("\"a\"", 1), ("\"b\"", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("cache")).await;
        let whole = stored(&[("etag", "\"a\""), ("date", "Thu, 01 Jan 1970 00:16:01 GMT")]);
        let whole = whole.completed(BYTES).unwrap();
        let ticket = store.begin();
        let spool = begun(&store, &ticket, &whole).await;
        assert_eq!(ended(&store, &ticket, &whole, spool).await, Put::Kept);
        let read = held(&store).await;
        let fields = [
            ("etag", tag),
            ("date", "Thu, 01 Jan 1970 00:16:09 GMT"),
            ("content-range", "bytes 0-0/300000"),
            ("cache-control", "max-age=100"),
        ];
        let part = stored_response(&get(&[]), &response(206, &fields), 5);
        let part =
            Object::new(part, Body::new(vec!["x".into()], store.fills()), "a".into(), store.begin().epoch());
        store.objects.insert(&name(), std::iter::once(Arc::new(part)).collect());
        let adopted = store.adopt(&name(), &[read], &|_| true);
        assert_eq!(adopted.len(), expected, "{tag}");
        assert_eq!(store.disks().standings()[0].files, expected as u64, "{tag}");
    }
}
