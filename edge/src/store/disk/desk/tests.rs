use super::super::record::Put;
use super::*;
use crate::http::testing::request;
use crate::policy::testing::stored;
use crate::site::key::{KeyRules, key};
use crate::store::{Body, Budget, Epoch, Object};

const PUT: Put = Put { hash: 7, file: 1, birth: 1, blocks: 1, variant: 3, stale_secs: 0, edition: 0 };

fn desk() -> Desk {
    Desk::new(Room { blocks: 100, files: 100 }, 1 << 30, 0)
}

fn push(desk: &Desk, wait: oneshot::Sender<()>) -> Box<Job> {
    let key = key(&request("GET", "http://a.example/", &[]), &KeyRules::default());
    let (epoch, budget) = (Epoch::new(Arc::new(0), 0, 1), Budget::new(1 << 20));
    let entry = stored(&[]).completed(1).unwrap();
    let object = Object::new(entry, Body::new(vec!["x".into()], &budget), "a".into(), epoch);
    desk.push(key, (7, 3), Reading::for_fetch(Arc::new(object)), 1, Some(wait));
    match desk.next_to_write() {
        Write::File(job) => job,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_waits_for_a_file_is_told_once_it_outlives_a_crash() {
    let desk = desk();
    desk.ready(None);
    let (wait, mut waits) = oneshot::channel();
    let job = push(&desk, wait);
    assert!(desk.written(&job, 1));
    assert!(waits.try_recv().is_err(), "it has its name, and may be gone after a power cut");
    let Write::Sync(file, told) = desk.next_to_write() else { panic!("nothing is to be synced") };
    assert_eq!((file, told.len()), (job.file, 1));
    // So are those that come later.
    let (wait, mut waits) = oneshot::channel();
    assert!(desk.await_written(7, 3, wait).is_none());
    assert!(waits.try_recv().is_err());
    assert!(matches!(desk.next_to_write(), Write::Sync(file, _) if file == job.file));
}

#[test]
fn a_part_that_comes_before_the_journal_was_read_removes_nothing() {
    let desk = desk();
    desk.supersede(7, 3, By::Part);
    let mut index = Index::new(Room { blocks: 100, files: 100 });
    apply(&Record::Put(PUT), &mut index);
    desk.ready(Some(index));
    assert!(desk.lock().index.holds(7, 1));
    desk.supersede(7, 3, By::Part);
    assert!(!desk.lock().index.holds(7, 1), "what is known to be there could not be used");
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_while_a_journal_is_made_lasts_once_that_is_in_its_place() {
    let desk = desk();
    desk.turn_off("its journal is gone".into(), true);
    assert!(desk.lasts(Duration::from_secs(1)).await, "no start takes anything of it");
    let before = desk.keep_records();
    assert!(!desk.lasts(Duration::from_secs(1)).await, "the new journal may be in its place by now");
    desk.note(&[Record::Clear { epoch: 5 }]);
    desk.ready(None);
    desk.kept(before, true);
    assert!(!desk.lasts(Duration::from_secs(1)).await, "the record is in memory alone");
    let Keep::Records { until, must_last: true, .. } = desk.next_to_keep() else {
        panic!("none is to be kept")
    };
    desk.kept(until, true);
    assert!(desk.lasts(Duration::from_secs(1)).await);
}

#[test]
fn a_read_that_failed_stops_writes_too_for_a_while() {
    let desk = desk();
    desk.ready(None);
    assert!(desk.admits(1, 1, 1, true));
    desk.rest();
    assert!(!desk.admits(1, 1, 1, true));
}
