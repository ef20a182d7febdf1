use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;
use crate::store::{Body, Budget};

/// The cost of a piece of 1,000 bytes: a block of 1,024, and its bookkeeping.
const COST: u64 = 1_024 + PIECE_BYTES;

/// A log with memory enough.
fn log() -> Log {
    Log::new(Budget::new(u64::MAX).share())
}

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
    let piece = |next| match next {
        Next::Piece(piece) => piece,
        Next::File { .. } => panic!("it went to no file"),
    };
    log.poll_next(reader, &mut Context::from_waker(Waker::noop()))
        .map(|next| next.map(|next| next.map(piece)))
}

/// Whether the future is ready now; its task is `bell`.
fn is_ready(bell: &Arc<Bell>, future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell)))).is_ready()
}

#[test]
fn a_waiting_reader_is_woken_by_a_piece_and_by_the_end() {
    for event in [|log: &Log| log.push(Bytes::from_static(b"x")), Log::end, Log::break_off] {
        let log = log();
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
    let log = log();
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
    let log = log();
    log.stay();
    assert!(!is_ready(&Arc::new(Bell::default()), log.deserted()));
    assert!(log.enter().is_some());
}

fn window() -> Bytes {
    vec![0; usize::try_from(WINDOW_BYTES).unwrap()].into()
}

/// Whether a log has room at this time, who waits for it, and how many were left behind.
async fn has_room(log: &Log, bell: &Arc<Bell>, clock: &Clock) -> (bool, usize) {
    let mut left = 0;
    let is_ready = is_ready(bell, log.room(clock, || left += 1));
    (is_ready, left)
}

#[tokio::test]
async fn a_sliding_log_holds_a_window_and_waits_for_its_slowest_reader() {
    let log = log();
    let (slow, quick) = (log.enter().unwrap(), log.enter().unwrap());
    let (bell, clock) = (Arc::new(Bell::default()), Clock::system());
    log.slide(Unkept::TooBig);
    log.push(window());
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    assert!(read(&log, quick).is_ready());
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0), "the slow one has not read it");
    assert!(read(&log, slow).is_ready());
    assert_eq!(bell.rung(), 1);
    assert_eq!(has_room(&log, &bell, &clock).await, (true, 0));
    assert!(log.pieces().is_empty());
    assert_eq!(log.enter(), None, "the beginning has gone");
}

#[tokio::test]
async fn who_keeps_another_waiting_is_left_behind_and_told_so() {
    let log = log();
    let (slow, quick) = (log.enter().unwrap(), log.enter().unwrap());
    let (bell, clock) = (Arc::new(Bell::default()), Clock::system());
    log.slide(Unkept::TooBig);
    log.push(window());
    assert!(read(&log, quick).is_ready());
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    // The quick one is busy with what it has read: nobody is held up, however long that takes.
    clock.advance(lag::PATIENCE * 10);
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    assert!(read(&log, quick).is_pending());
    assert_eq!(bell.rung(), 1, "the writer is told that one waits");
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    clock.advance(lag::PATIENCE / 2);
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    clock.advance(lag::PATIENCE / 2);
    assert_eq!(has_room(&log, &bell, &clock).await, (true, 1));
    assert_eq!(read(&log, slow), Poll::Ready(Some(Err(BrokenOff::LeftBehind))));
    log.push(Bytes::from_static(b"x"));
    assert_eq!(read(&log, quick), Poll::Ready(Some(Ok(Bytes::from_static(b"x")))));
    log.leave(quick);
    assert!(is_ready(&bell, log.deserted()), "who was left behind is no reader");
    log.leave(slow);
}

#[tokio::test]
async fn readers_that_are_all_slow_are_left_alone() {
    let log = log();
    let (bell, clock) = (Arc::new(Bell::default()), Clock::system());
    let readers = [log.enter().unwrap(), log.enter().unwrap()];
    log.slide(Unkept::TooBig);
    for _ in 0..10 {
        log.push(window());
        assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
        clock.advance(lag::PATIENCE * 10);
        assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
        assert!(readers.iter().all(|reader| read(&log, *reader).is_ready()));
        assert_eq!(has_room(&log, &bell, &clock).await, (true, 0));
    }
    log.leave(readers[0]);
    // And one alone sets the pace.
    log.push(window());
    clock.advance(lag::PATIENCE * 10);
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0));
    assert!(matches!(read(&log, readers[1]), Poll::Ready(Some(Ok(_)))));
}

#[tokio::test]
async fn what_is_held_is_covered_by_its_share_or_is_one_piece() {
    let budget = Budget::new(3 * COST);
    let log = Log::new(budget.share());
    let (bell, clock) = (Arc::new(Bell::default()), Clock::system());
    let reader = log.enter().unwrap();
    let piece = Bytes::from(vec![0; 1000]);
    for _ in 0..3 {
        assert!(log.reserve(cost(&piece)));
        log.push(piece.clone());
    }
    assert!(!log.reserve(cost(&piece)));
    log.slide(Unkept::TooBig);
    assert_eq!(budget.taken_bytes(), 3 * COST, "it holds what it held");
    log.push(piece.clone());
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0), "the fourth is not covered");
    for left in [3, 2, 1, 0] {
        assert!(read(&log, reader).is_ready());
        assert_eq!(budget.taken_bytes(), left * COST);
        assert_eq!(has_room(&log, &bell, &clock).await, (true, 0), "what went made room for it");
    }
    let mut others = budget.share();
    assert!(others.grow(3 * COST));
    log.push(piece.clone());
    assert_eq!(has_room(&log, &bell, &clock).await, (false, 0), "one at a time");
    assert!(read(&log, reader).is_ready());
    assert_eq!(has_room(&log, &bell, &clock).await, (true, 0));
    drop(others);
    log.push(piece);
    log.end();
    assert_eq!(budget.taken_bytes(), COST, "until it is read");
    log.leave(reader);
    assert_eq!(budget.taken_bytes(), 0);
}

#[test]
fn an_ended_log_stays_ended_gives_its_readers_the_rest_and_takes_no_new_one() {
    for (end, last) in [(Log::end as fn(&Log), None), (Log::break_off, Some(Err(BrokenOff::AtOrigin)))] {
        let log = log();
        let reader = log.enter().unwrap();
        log.push(Bytes::from_static(b"x"));
        end(&log);
        log.break_off();
        assert!(matches!(read(&log, reader), Poll::Ready(Some(Ok(_)))));
        assert_eq!(read(&log, reader), Poll::Ready(last));
        assert!(log.pieces().is_empty(), "what all have read is not held");
        assert_eq!(log.enter(), None);
    }
}

/// A log's readers go on from the stored body, whose pieces are others; it holds nothing itself.
#[test]
fn readers_go_on_from_what_is_stored_where_they_are() {
    let budget = Budget::new(1 << 20);
    let log = Log::new(budget.share());
    let readers: Vec<u64> = (0..=3).map(|_| log.enter().unwrap()).collect();
    let text = |reader: u64| {
        let mut text = Vec::new();
        while let Poll::Ready(Some(Ok(piece))) = read(&log, reader) {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).unwrap()
    };
    for piece in ["ab", "cde", "f"] {
        let piece = Bytes::from_static(piece.as_bytes());
        assert!(log.reserve(cost(&piece)));
        log.push(piece);
    }
    for (count, reader) in readers.iter().enumerate() {
        (0..count).for_each(|_| assert!(read(&log, *reader).is_ready()));
    }
    let pieces = ["abcd", "efgh"].map(|piece| Bytes::from_static(piece.as_bytes()));
    let object = crate::store::testing::object(Body::new(pieces.into(), &budget));
    log.end_stored(Arc::clone(&object));
    // Nobody lists it, so the readers' part is all there is: two blocks, and the smallest is 16 bytes.
    assert_eq!(budget.taken_bytes(), 32);
    let texts: Vec<String> = readers[..3].iter().map(|reader| text(*reader)).collect();
    assert_eq!(texts, ["abcdefgh", "cdefgh", "fgh"]);
    assert_eq!(budget.taken_bytes(), 32, "one is left");
    assert_eq!(budget.make_room(1 << 20), 0, "that is less than half");
    assert_eq!(LetGo::let_go(&*object.body), 1);
    assert_eq!(budget.taken_bytes(), 0);
    assert_eq!(read(&log, readers[3]), Poll::Ready(Some(Err(BrokenOff::LetGo))));
    assert_eq!(read(&log, readers[0]), Poll::Ready(None));
}

#[test]
fn what_is_not_kept_can_be_taken_from_its_readers_and_what_is_kept_cannot() {
    let budget = Budget::new(1 << 20);
    let log = Log::new(budget.share());
    let reader = log.enter().unwrap();
    let piece = Bytes::from(vec![0; 1000]);
    assert!(log.reserve(cost(&piece)));
    log.push(piece);
    assert_eq!(log.let_go(), 0);
    log.slide(Unkept::NoMemory);
    assert_eq!(log.let_go(), 1);
    assert_eq!(budget.taken_bytes(), 0);
    assert_eq!(read(&log, reader), Poll::Ready(Some(Err(BrokenOff::LetGo))));
    assert!(is_ready(&Arc::new(Bell::default()), log.deserted()));
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
        let log = log();
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
                    prop_assert_eq!(entered.is_some(), !slid && !ended);
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
                    log.slide(Unkept::TooBig);
                    slid = true;
                }
                Step::End => {
                    log.end();
                    ended = true;
                }
                Step::Push | Step::Read(_) | Step::Leave(_) => {}
            }
            if slid || ended {
                let behind = readers.iter().map(|(_, next)| *next).min().unwrap_or(pushed);
                prop_assert!(log.pieces().len() as u32 <= pushed - behind);
            } else {
                prop_assert_eq!(log.pieces().len() as u32, pushed);
            }
        }
    }
}

#[test]
fn it_says_how_many_bytes_have_come() {
    let log = log();
    let reader = log.enter().unwrap();
    assert_eq!(log.come_bytes(), 0);
    for (bytes, come) in [(5, 5), (7, 12)] {
        log.push(Bytes::from(vec![0; bytes]));
        assert_eq!(log.come_bytes(), come);
    }
    log.slide(Unkept::TooBig);
    assert!(read(&log, reader).is_ready());
    assert_eq!(log.come_bytes(), 12, "also what was read and went");
}
