//! Lines on their way to the thread that writes them.
//!
//! Each thread that answers has a buffer of its own, so that none waits for another. The writer takes all buffers at once,
//! some fifty times a second: a line costs no system call.
//!
//! Invariant: a thread that adds a line waits neither for the disk nor for the reader of a pipe. A full buffer drops the
//! line, and counts it.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::log::sink::lines;

/// Lines of one thread that wait take this much memory at most: some thousand requests.
const MAX_WAITING_BYTES: usize = 256 << 10;
/// With this much of one thread the writer does not let more gather.
const MANY_BYTES: usize = MAX_WAITING_BYTES / 4;
/// The writer lets lines gather for this long.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// The buffers of all threads; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Rings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rings: Mutex<Vec<Arc<Ring>>>,
    /// Whether the writer knows that there are lines.
    is_told: AtomicBool,
    /// Whether there are many.
    is_hurried: AtomicBool,
    state: Mutex<State>,
    /// Told when there is something to do.
    arrived: Condvar,
    /// Told when what was there has been written or lost.
    written: Condvar,
    lost: AtomicU64,
    /// Whether the writer ends when it has written what is there.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// How often somebody has asked for all lines to be written.
    asked: u64,
    /// How many of these are done.
    done: u64,
}

/// The lines of one thread.
#[derive(Debug, Default)]
struct Ring(Mutex<Vec<u8>>);

thread_local! {
    /// The buffer of this thread, and whose it is.
    static MINE: RefCell<Option<(Rings, Arc<Ring>)>> = const { RefCell::new(None) };
}

impl Rings {
    /// Starts the thread that hands lines to `put`, which says how many of them it could not write.
    pub(super) fn write_to(
        &self,
        put: impl FnMut(&[u8]) -> Result<(), u64> + Send + 'static,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || shared.write_all(put)).map(drop)
    }

    /// Adds lines of this thread, each with its end.
    pub(super) fn add(&self, text: &[u8]) {
        // A thread that ends has no buffer any more.
        let added = MINE.try_with(|mine| self.mine(&mut mine.borrow_mut()).add(text)).unwrap_or_default();
        if added.is_none() {
            self.0.lose(lines(text));
        }
        let is_many = added.is_none_or(|waiting| waiting > MANY_BYTES);
        let hurries = is_many && !self.0.is_hurried.swap(true, Ordering::AcqRel);
        if !self.0.is_told.swap(true, Ordering::AcqRel) || hurries {
            // The writer looks at the mark with this lock held, so it cannot miss it.
            drop(self.0.state());
            self.0.arrived.notify_one();
        }
    }

    /// Lets the writer end once it has written what is there. Lines that are added later are lost.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Release);
        drop(self.0.state());
        self.0.arrived.notify_one();
    }

    /// Lines that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all that is there has been written or lost, but not longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.0.state();
        state.asked += 1;
        let asked = state.asked;
        self.0.arrived.notify_one();
        drop(self.0.written.wait_timeout_while(state, limit, |state| state.done < asked));
    }

    fn mine<'a>(&self, mine: &'a mut Option<(Self, Arc<Ring>)>) -> &'a Ring {
        if !mine.as_ref().is_some_and(|(whose, _)| Arc::ptr_eq(&whose.0, &self.0)) {
            let ring = Arc::new(Ring::default());
            self.0.rings.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&ring));
            *mine = Some((self.clone(), ring));
        }
        let (_, ring) = mine.as_ref().expect("it was put there");
        ring
    }
}

impl Ring {
    /// How many bytes wait now; none if there was no room.
    fn add(&self, text: &[u8]) -> Option<usize> {
        let mut waiting = self.lock();
        if waiting.len() + text.len() > MAX_WAITING_BYTES {
            return None;
        }
        waiting.extend_from_slice(text);
        Some(waiting.len())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn write_all(&self, mut put: impl FnMut(&[u8]) -> Result<(), u64>) {
        let (mut text, mut told) = (Vec::new(), 0);
        loop {
            let asked = self.wait();
            let is_over = self.is_over.load(Ordering::Acquire);
            self.take(&mut text);
            if let Err(lost) = put(&text) {
                self.lose(lost);
            } else if told < self.lost.load(Ordering::Relaxed) {
                let lost = self.lost.load(Ordering::Relaxed);
                tracing::warn!(lines = lost - told, "access log lines could not be written and are lost");
                told = lost;
            }
            self.state().done = asked;
            self.written.notify_all();
            if is_over {
                return;
            }
        }
    }

    /// Waits for lines and lets more of them gather, unless somebody waits for all to be written; how many have asked
    /// for that.
    fn wait(&self) -> u64 {
        let has_nothing = |state: &mut State| {
            let is_idle = !self.is_told.load(Ordering::Acquire) && state.asked == state.done;
            is_idle && !self.is_over.load(Ordering::Acquire)
        };
        let state =
            self.arrived.wait_while(self.state(), has_nothing).unwrap_or_else(PoisonError::into_inner);
        let nobody_asks =
            |state: &mut State| state.asked == state.done && !self.is_hurried.load(Ordering::Acquire);
        let waited = self.arrived.wait_timeout_while(state, GATHER_TIME, nobody_asks);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.is_told.store(false, Ordering::Release);
        self.is_hurried.store(false, Ordering::Release);
        state.asked
    }

    /// Takes what is there, and forgets the buffers of threads that have ended.
    fn take(&self, text: &mut Vec<u8>) {
        text.clear();
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.retain(|ring| {
            let has_ended = Arc::strong_count(ring) == 1;
            let mut waiting = ring.lock();
            text.extend_from_slice(&waiting);
            waiting.clear();
            !has_ended
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn every_line_of_every_thread_is_written_once_and_threads_that_end_leave_nothing() {
        let (rings, content) = (Rings::default(), Arc::new(Mutex::new(Vec::new())));
        let out = Arc::clone(&content);
        let put = move |text: &[u8]| {
            out.lock().unwrap().extend_from_slice(text);
            Ok(())
        };
        rings.write_to(put).unwrap();
        let writers = (0..4).map(|thread| {
            let rings = rings.clone();
            thread::spawn(move || (0..500).for_each(|n| rings.add(format!("{thread} {n}\n").as_bytes())))
        });
        writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().unwrap());
        rings.flush(LONG);
        let text = String::from_utf8(content.lock().unwrap().clone()).unwrap();
        for thread in 0..4 {
            let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
            let own: Vec<usize> = own.map(|n| n.parse().unwrap()).collect();
            assert_eq!(own, (0..500).collect::<Vec<_>>());
        }
        assert_eq!((text.lines().count(), rings.lost()), (2_000, 0));
        rings.flush(LONG);
        assert_eq!(rings.0.rings.lock().unwrap().len(), 0);
    }

    #[test]
    fn a_disk_that_hangs_makes_nobody_wait_and_takes_bounded_memory() {
        let rings = Rings::default();
        let ((asked, is_asked), (go_on, turn)) = (channel(), channel::<()>());
        let put = move |_: &[u8]| {
            // A test that has ended asks for nothing more.
            let _ = asked.send(());
            let _ = turn.recv();
            Ok(())
        };
        rings.write_to(put).unwrap();
        rings.add(b"hangs\n");
        is_asked.recv_timeout(LONG).unwrap();
        let line = "x".repeat(1023) + "\n";
        (0..MAX_WAITING_BYTES / line.len() + 5).for_each(|_| rings.add(line.as_bytes()));
        assert_eq!(rings.lost(), 5);
        // The end of the program does not wait for it either.
        rings.flush(Duration::from_millis(1));
        drop(go_on);
        rings.flush(LONG);
        assert_eq!(rings.lost(), 5);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let rings = Rings::default();
        rings.write_to(|text| if text.is_empty() { Ok(()) } else { Err(lines(text)) }).unwrap();
        rings.add(b"one\ntwo\n");
        rings.flush(LONG);
        assert_eq!(rings.lost(), 2);
    }
}
