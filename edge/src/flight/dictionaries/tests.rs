use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::policy::dictionary::{Asker, Coding};
use crate::policy::testing::stored;
use crate::store::{Body, Bounds, Eviction, Store};

const LIMIT: Duration = Duration::from_secs(30);

/// Texts of a store with so much memory, which are kept in a folder, and its store.
fn dictionaries(memory_bytes: u64, folder: Option<&Path>) -> (Arc<Dictionaries>, Store) {
    let eviction = Eviction::S3Fifo;
    let store = Store::new(&Bounds { memory_bytes, eviction, tag_fields: Default::default() });
    let folder = folder.map(Path::to_owned).map(|folder| move || Some(folder.clone()));
    (Dictionaries::new(store.fills(), Metrics::default(), folder), store)
}

fn script(version: usize) -> String {
    let line = |n: usize| format!("function f{n}(a) {{ return a * {} }}\n", n * 7_919 % 9_973);
    (0..1_000).map(|n| if n == 500 { format!("// version {version}\n") } else { line(n) }).collect()
}

fn object(store: &Store, text: &str) -> Arc<Object> {
    let body = Body::new(vec![text.to_owned().into()], store.fills());
    Arc::new(Object::new(stored(&[]), body, "a".into(), store.begin().epoch()))
}

fn had(text: &str, coding: Coding) -> Had {
    Had { hash: text::hash(text.as_bytes()), coding, asker: Asker::Own }
}

fn here() -> Arc<str> {
    "https://a.test".into()
}

/// The text that a client makes of the difference.
fn decoded(short: &[u8], coding: Coding, old: &str) -> String {
    let mut text = String::new();
    match coding {
        Coding::Dcz => {
            let mut decoder =
                zstd::stream::read::Decoder::with_ref_prefix(&short[40..], old.as_bytes()).unwrap();
            decoder.read_to_string(&mut text).unwrap();
        }
        Coding::Dcb => {
            let mut decoder = brotli::Decompressor::new(&short[36..], 4_096);
            assert!(decoder.attach_dictionary(old.as_bytes().to_vec().into()));
            decoder.read_to_string(&mut text).unwrap();
        }
    }
    text
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waits).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_difference_is_made_once_in_each_coding_and_known_from_then_on() {
    let (own, store) = dictionaries(64 << 20, None);
    let (old, new) = (object(&store, &script(1)), object(&store, &script(2)));
    own.describe(&here(), &old).await.unwrap();
    for coding in [Coding::Dcz, Coding::Dcb] {
        let had = had(&script(1), coding);
        assert_eq!(own.known(&here(), &new, &had), Known::Text);
        let short = own.shorten(&here(), &new, &had).await.unwrap();
        assert_eq!(decoded(&short, coding, &script(1)), script(2));
        assert!(short.len() < 200, "{coding:?}: {}", short.len());
        assert_eq!(own.known(&here(), &new, &had), Known::Short(short.len()));
        let again = own.shorten(&here(), &new, &had).await.unwrap();
        assert_eq!(again.as_ptr(), short.as_ptr(), "made once");
        assert_eq!(
            own.known(&"https://b.test".into(), &new, &had),
            Known::No { held: 2 },
            "of another origin"
        );
    }
}

#[tokio::test]
async fn while_a_difference_is_made_nobody_else_makes_it_or_waits_for_it() {
    let (own, store) = dictionaries(64 << 20, None);
    let (old, new) = (object(&store, &script(1)), object(&store, &script(2)));
    own.describe(&here(), &old).await.unwrap();
    let hash = own.describe(&here(), &new).await.unwrap();
    let had = had(&script(1), Coding::Dcz);
    let name = Name::Short(here(), had.coding, had.hash, hash);
    let first = own.begun(&name).unwrap();
    assert!(own.begun(&name).is_none());
    assert!(own.shorten(&here(), &new, &had).await.is_none());
    let other = Had { coding: Coding::Dcb, ..had.clone() };
    assert!(own.shorten(&here(), &new, &other).await.is_some(), "another one has its own turn");
    // Its client has gone, or it failed.
    drop(first);
    assert!(own.shorten(&here(), &new, &had).await.is_some());
    assert!(own.under_way.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_waits_for_no_job_of_others() {
    let (own, store) = dictionaries(64 << 20, None);
    let (old, new) = (object(&store, &script(1)), object(&store, &script(2)));
    own.describe(&here(), &old).await.unwrap();
    let busy = Arc::clone(&own.workers).acquire_many_owned(u32::try_from(WORKERS).unwrap()).await.unwrap();
    let had = had(&script(1), Coding::Dcz);
    assert!(own.shorten(&here(), &new, &had).await.is_none());
    drop(busy);
    assert!(own.shorten(&here(), &new, &had).await.is_some());
}

#[tokio::test]
async fn a_text_that_was_pushed_out_is_held_again_when_its_response_is_asked_for() {
    // Of a MiB for fetches, texts may have a quarter.
    let (own, store) = dictionaries(4 << 20, None);
    let text = |n: usize| format!("{}{}", n, "x".repeat(15_000));
    let objects: Vec<_> = (0..40).map(|n| object(&store, &text(n))).collect();
    for object in &objects {
        own.describe(&here(), object).await.unwrap();
    }
    let name = Name::Text(here(), text::hash(text(0).as_bytes()));
    let is_held = || own.lock().get(&name).is_some();
    assert!(!is_held(), "others came");
    let uri: Uri = "https://a.test/app.js".parse().unwrap();
    own.begin(&uri, &objects[0]);
    until("it is held again", is_held).await;
    // Others then wait, so that texts which push each other out do not take all of a processor.
    let left = objects.iter().find(|object| {
        let hash = object.described().get().unwrap().unwrap();
        own.lock().get(&Name::Text(here(), hash)).is_none()
    });
    assert!(left.is_some());
    let turn = Arc::clone(&own.again).acquire_owned().await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    own.begin(&uri, left.unwrap());
    assert_eq!(tasks(), before, "nobody begins with it");
    drop(turn);
}

/// The files that are complete.
fn files(folder: &Path) -> usize {
    let all = std::fs::read_dir(folder.join("dictionaries")).into_iter().flatten();
    all.filter(|entry| entry.as_ref().unwrap().path().extension().is_none()).count()
}

#[tokio::test]
async fn however_many_texts_were_kept_the_files_are_those_that_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let (own, store) = dictionaries(64 << 20, Some(folder.path()));
    let text = |n: usize| format!("{}{}", n, "x".repeat(15_000));
    let objects: Vec<_> = (0..60).map(|n| object(&store, &text(n))).collect();
    for object in &objects {
        own.describe(&here(), object).await.unwrap();
    }
    until("all are kept", || files(folder.path()) == 60).await;
    drop((own, objects));
    // There is room for 17 of them.
    let (own, _store) = dictionaries(4 << 20, Some(folder.path()));
    until("some are read", || own.lock().size().0 > 0 && files(folder.path()) == own.texts().len()).await;
    assert!((10..20).contains(&own.texts().len()), "{}", own.texts().len());
}

#[tokio::test]
async fn what_is_forgotten_is_neither_held_nor_in_a_file_nor_read_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let (own, store) = dictionaries(64 << 20, Some(folder.path()));
    let (one, other) = (object(&store, &script(1)), object(&store, &script(2)));
    own.describe(&here(), &one).await.unwrap();
    own.describe(&"https://b.test".into(), &other).await.unwrap();
    until("both are kept", || files(folder.path()) == 2).await;
    own.forget(|origin| origin == &*here());
    assert_eq!(own.texts().len(), 1);
    until("the file is removed", || files(folder.path()) == 1).await;
    drop((own, one, other));
    let (own, _store) = dictionaries(64 << 20, Some(folder.path()));
    own.forget(|_| true);
    until("the other is not taken in", || files(folder.path()) == 0).await;
    assert!(own.texts().is_empty());
}

#[tokio::test]
async fn a_text_that_is_forgotten_while_it_is_being_described_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let (own, store) = dictionaries(64 << 20, Some(folder.path()));
    let (one, other) = (object(&store, &script(1)), object(&store, &script(2)));
    let busy = Arc::clone(&own.workers).acquire_many_owned(u32::try_from(WORKERS).unwrap()).await.unwrap();
    let describes = Arc::clone(&own);
    let describing = tokio::spawn(async move { describes.describe(&here(), &one).await });
    until("it waits for a worker", || own.queue.available_permits() < MOST_JOBS).await;
    own.forget(|_| true);
    drop(busy);
    describing.await.unwrap().unwrap();
    assert!(own.texts().is_empty());
    own.describe(&here(), &other).await.unwrap();
    assert_eq!(own.texts().len(), 1, "what is described after it is held");
    until("and it alone is kept", || files(folder.path()) == 1).await;
}

#[tokio::test]
async fn no_file_is_written_once_the_disk_is_not_this_processs_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (path, is_ours) = (folder.path().to_owned(), Arc::new(AtomicBool::new(true)));
    let store = Store::new(&Bounds {
        memory_bytes: 64 << 20,
        eviction: Eviction::S3Fifo,
        tag_fields: Default::default(),
    });
    let (asked, told) = std::sync::mpsc::channel();
    let ours = Arc::clone(&is_ours);
    let looked = move || {
        let _ = asked.send(());
        ours.load(Ordering::SeqCst).then(|| path.clone())
    };
    let own = Dictionaries::new(store.fills(), Metrics::default(), Some(looked));
    own.describe(&here(), &object(&store, &script(1))).await.unwrap();
    until("it is kept", || files(folder.path()) == 1).await;
    is_ours.store(false, Ordering::SeqCst);
    while told.try_recv().is_ok() {}
    own.describe(&here(), &object(&store, &script(2))).await.unwrap();
    own.kept.forget(here(), text::hash(script(1).as_bytes()));
    // The thread asks for each order, and so has done the first once it asks for the second.
    until("both were looked at", || told.try_recv().is_ok()).await;
    until("both were looked at", || told.try_recv().is_ok()).await;
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn texts_outlive_the_process_and_one_that_went_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = || files(folder.path());
    let (own, store) = dictionaries(64 << 20, Some(folder.path()));
    let old = object(&store, &script(1));
    own.describe(&here(), &old).await.unwrap();
    until("it is kept", || files() == 1).await;
    drop((own, old));
    // The next process, which never saw the response.
    let (own, store) = dictionaries(64 << 20, Some(folder.path()));
    let had = had(&script(1), Coding::Dcz);
    let new = object(&store, &script(2));
    until("it is read", || own.known(&here(), &new, &had) == Known::Text).await;
    let short = own.shorten(&here(), &new, &had).await.unwrap();
    assert_eq!(decoded(&short, Coding::Dcz, &script(1)), script(2));
    until("the new one is kept as well", || files() == 2).await;
    drop((own, new));
    // One with room for neither.
    let (own, store) = dictionaries(1 << 20, Some(folder.path()));
    until("they are removed", || files() == 0).await;
    assert_eq!(own.known(&here(), &object(&store, "x"), &had), Known::No { held: 0 });
}
