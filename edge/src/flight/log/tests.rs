use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn read(log: &Log, reader: u64) -> Poll<Option<Result<Bytes, BrokenOff>>> {
    log.poll_next(reader, &mut Context::from_waker(Waker::noop()))
}

/// Whether the future is ready now; its task is `bell`.
fn is_ready(bell: &Arc<Bell>, future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell)))).is_ready()
}

#[test]
fn a_waiting_reader_is_woken_by_a_piece_and_by_the_end() {
    for event in [|log: &Log| log.push(Bytes::from_static(b"x")), Log::end, Log::break_off] {
        let log = Log::default();
        let reader = log.enter().unwrap();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        assert!(log.poll_next(reader, &mut Context::from_waker(&waker)).is_pending());
        event(&log);
        assert_eq!(bell.rung(), 1);
    }
}

#[test]
fn a_log_is_deserted_when_its_last_reader_leaves_and_nobody_can_enter_then() {
    let log = Log::default();
    let (one, two) = (log.enter().unwrap(), log.enter().unwrap());
    let bell = Arc::new(Bell::default());
    assert!(!is_ready(&bell, log.deserted()));
    log.leave(one);
    assert!(!is_ready(&bell, log.deserted()));
    log.leave(two);
    assert_eq!(bell.rung(), 2, "each leaving is told to the writer");
    assert!(is_ready(&bell, log.deserted()));
    assert_eq!(log.enter(), None);
}

#[test]
fn a_log_in_the_background_is_never_deserted() {
    let log = Log::default();
    log.stay();
    assert!(!is_ready(&Arc::new(Bell::default()), log.deserted()));
    assert!(log.enter().is_some());
}

#[test]
fn a_sliding_log_holds_a_window_and_waits_for_its_slowest_reader() {
    let log = Log::default();
    let (slow, quick) = (log.enter().unwrap(), log.enter().unwrap());
    let bell = Arc::new(Bell::default());
    log.slide();
    log.push(vec![0; WINDOW_BYTES].into());
    assert!(!is_ready(&bell, log.room()));
    assert!(read(&log, quick).is_ready());
    assert!(!is_ready(&bell, log.room()), "the slow one has not read it");
    assert!(read(&log, slow).is_ready());
    assert_eq!(bell.rung(), 1);
    assert!(is_ready(&bell, log.room()));
    assert!(log.pieces().is_empty());
    assert_eq!(log.enter(), None, "the beginning has gone");
}

#[test]
fn a_broken_log_takes_no_new_reader_and_an_ended_one_stays_ended() {
    let log = Log::default();
    log.end();
    log.break_off();
    let reader = log.enter().unwrap();
    assert!(matches!(read(&log, reader), Poll::Ready(None)));
    let broken = Log::default();
    broken.break_off();
    assert_eq!(broken.enter(), None);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push,
    Enter,
    Read(usize),
    Leave(usize),
    Slide,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        2 => Just(Step::Enter),
        8 => (0..8_usize).prop_map(Step::Read),
        1 => (0..8_usize).prop_map(Step::Leave),
        1 => Just(Step::Slide),
        1 => Just(Step::End),
    ]
}

proptest! {
    /// Whatever the order of events, a reader gets every piece once, in order, and its end only after the last.
    #[test]
    fn every_reader_gets_every_piece_in_order(steps in proptest::collection::vec(step(), 0..200)) {
        let log = Log::default();
        let (mut pushed, mut slid, mut ended) = (0_u32, false, false);
        let mut readers: Vec<(u64, u32)> = Vec::new();
        for step in steps {
            match step {
                Step::Push if !ended => {
                    log.push(Bytes::copy_from_slice(&pushed.to_be_bytes()));
                    pushed += 1;
                }
                Step::Enter => {
                    let entered = log.enter();
                    prop_assert_eq!(entered.is_some(), !slid);
                    readers.extend(entered.map(|reader| (reader, 0)));
                }
                Step::Read(which) if !readers.is_empty() => {
                    let at = which % readers.len();
                    let (reader, next) = &mut readers[at];
                    match read(&log, *reader) {
                        Poll::Ready(Some(Ok(piece))) => {
                            prop_assert_eq!(&piece[..], &next.to_be_bytes());
                            *next += 1;
                        }
                        Poll::Ready(None) => prop_assert!(ended && *next == pushed),
                        Poll::Pending => prop_assert!(!ended && *next == pushed),
                        Poll::Ready(Some(Err(broken))) => prop_assert!(false, "{}", broken),
                    }
                }
                Step::Leave(which) if !readers.is_empty() => log.leave(readers.remove(which % readers.len()).0),
                Step::Slide => {
                    log.slide();
                    slid = true;
                }
                Step::End => {
                    log.end();
                    ended = true;
                }
                Step::Push | Step::Read(_) | Step::Leave(_) => {}
            }
            if slid {
                let behind = readers.iter().map(|(_, next)| *next).min().unwrap_or(pushed);
                prop_assert!(log.pieces().len() as u32 <= pushed - behind);
            } else {
                prop_assert_eq!(log.pieces().len() as u32, pushed);
            }
        }
    }
}
