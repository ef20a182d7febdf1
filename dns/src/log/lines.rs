//! Lines on their way to where they are written.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// Lines that wait take this much memory at most: some seconds of a busy log, or one load of very broken zones.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// Another program may have set our stderr to not block. Then we wait this long before we try again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A bounded buffer of lines; clones share it.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when lines arrive.
    arrived: Condvar,
    /// Told when all lines were written or lost.
    written: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread has taken lines that it has not finished writing.
    is_writing: bool,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    pub(super) fn write_to(self, out: impl Write + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("log".to_owned()).spawn(move || self.0.write_all_to(out)).map(drop)
    }

    /// Lines that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until nothing is left to write, but not longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.0.written.wait_timeout_while(self.0.lock(), limit, busy));
    }
}

/// Takes what one event has to say, as a whole or not at all.
impl Write for &Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + text.len() > MAX_WAITING_BYTES {
            self.0.lose(ends(text));
        } else {
            state.waiting.extend_from_slice(text);
            drop(state);
            self.0.arrived.notify_one();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn write_all_to(&self, mut out: impl Write) {
        let mut text = Vec::new();
        let (mut is_torn, mut told) = (false, 0);
        loop {
            self.take(&mut text);
            // A line that a full disk cut off ends here, so that the next line stands alone.
            if is_torn && write(&mut out, b"\n").rest_bytes == 0 {
                is_torn = false;
            }
            let Unwritten { lines, rest_bytes } = write(&mut out, &text);
            let (taken, rest) = text.split_at(text.len() - rest_bytes);
            is_torn |= !rest.is_empty() && taken.last().is_some_and(|last| *last != b'\n');
            let lost = lines + ends(rest);
            // The loss is told after a text of which nothing was lost. Told at once, it might be lost as well, again and again.
            if lost > 0 {
                self.lose(lost);
            } else if told < self.lost.load(Ordering::Relaxed) {
                let lost = self.lost.load(Ordering::Relaxed);
                tracing::warn!(lines = lost - told, "log lines could not be written and are lost");
                told = lost;
            }
            let mut state = self.lock();
            state.is_writing = false;
            if state.waiting.is_empty() {
                self.written.notify_all();
            }
        }
    }

    /// Waits for lines and takes all that are there.
    fn take(&self, text: &mut Vec<u8>) {
        text.clear();
        let nothing = |state: &mut State| state.waiting.is_empty();
        let guard = self.arrived.wait_while(self.lock(), nothing);
        let mut state = guard.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, text);
        state.is_writing = true;
    }
}

/// How many lines end in this text.
fn ends(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The parts of a text that could not be written.
#[derive(Debug, PartialEq, Eq)]
struct Unwritten {
    /// Lines that were refused while others behind them were taken.
    lines: u64,
    /// All from the first error on that is not of one line alone.
    rest_bytes: usize,
}

/// Writes all of `text` that is taken.
fn write(out: &mut impl Write, text: &[u8]) -> Unwritten {
    let (mut rest, mut lines) = (text, 0);
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => break,
            Ok(taken) => rest = &rest[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(RETRY_PAUSE),
            Err(error) if is_of_one_line(&error) => {
                let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                rest = &rest[end..];
                lines += 1;
            }
            Err(_) => break,
        }
    }
    Unwritten { lines, rest_bytes: rest.len() }
}

/// Whether an error of the journal is about the length of one entry: the next one may be taken.
pub(super) fn is_of_one_line(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MSGSIZE | Errno::NOBUFS))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A disk with this much room. Each write is told before it is done, and waits for its turn.
    struct Disk {
        room: Arc<Mutex<usize>>,
        content: Arc<Mutex<Vec<u8>>>,
        turns: Receiver<()>,
        asked: Sender<()>,
    }

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            // A test that has ended asks for nothing more.
            let _ = self.asked.send(());
            let _ = self.turns.recv();
            let mut room = self.room.lock().unwrap();
            let taken = text.len().min(*room);
            *room -= taken;
            self.content.lock().unwrap().extend_from_slice(&text[..taken]);
            if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Rig {
        lines: Lines,
        room: Arc<Mutex<usize>>,
        content: Arc<Mutex<Vec<u8>>>,
        turns: Option<Sender<()>>,
        asked: Receiver<()>,
    }

    fn rig(room: usize) -> Rig {
        let (lines, room, content) =
            (Lines::default(), Arc::new(Mutex::new(room)), Arc::new(Mutex::new(Vec::new())));
        let ((turns, wait), (ask, asked)) = (channel(), channel());
        let disk = Disk { room: Arc::clone(&room), content: Arc::clone(&content), turns: wait, asked: ask };
        lines.clone().write_to(disk).unwrap();
        Rig { lines, room, content, turns: Some(turns), asked }
    }

    impl Rig {
        fn log(&self, text: &str) {
            (&self.lines).write_all(text.as_bytes()).unwrap();
        }

        fn content(&self) -> String {
            String::from_utf8(self.content.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn lines_that_a_full_disk_does_not_take_are_counted_and_the_next_stands_alone() {
        let mut rig = rig(8);
        // A disk without turns does not wait.
        rig.turns = None;
        rig.log("first\n");
        rig.lines.flush(LONG);
        rig.log("second\n");
        rig.lines.flush(LONG);
        assert_eq!((rig.content().as_str(), rig.lines.lost()), ("first\nse", 1));
        rig.log("third\n");
        rig.lines.flush(LONG);
        assert_eq!(rig.lines.lost(), 2);
        *rig.room.lock().unwrap() = 1000;
        rig.log("fourth\n");
        rig.lines.flush(LONG);
        assert_eq!((rig.content().as_str(), rig.lines.lost()), ("first\nse\nfourth\n", 2));
    }

    /// As the journal: a line at a time, and some are too long.
    struct Datagrams(Vec<String>);

    impl Write for Datagrams {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let line = text.split_inclusive(|byte| *byte == b'\n').next().unwrap();
            let errno = match line {
                b"long\n" => Errno::MSGSIZE,
                b"longer\n" => Errno::NOBUFS,
                b"end\n" => Errno::CONNREFUSED,
                line => {
                    self.0.push(String::from_utf8(line.to_vec()).unwrap());
                    return Ok(line.len());
                }
            };
            Err(errno.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_too_long_for_the_journal_takes_none_behind_it_along() {
        let mut out = Datagrams(Vec::new());
        let unwritten = write(&mut out, b"one\nlong\ntwo\nlonger\nthree\nend\nfour\n");
        assert_eq!(unwritten, Unwritten { lines: 2, rest_bytes: b"end\nfour\n".len() });
        assert_eq!(out.0, ["one\n", "two\n", "three\n"]);
    }

    #[test]
    fn a_reader_that_hangs_makes_nobody_wait_and_takes_bounded_memory() {
        let rig = rig(usize::MAX);
        rig.log("hangs\n");
        rig.asked.recv_timeout(LONG).unwrap();
        let line = "x".repeat(1023) + "\n";
        let more = MAX_WAITING_BYTES / line.len() + 5;
        (0..more).for_each(|_| rig.log(&line));
        assert_eq!(rig.lines.lost(), 5);
        assert_eq!(rig.lines.0.lock().waiting.len(), MAX_WAITING_BYTES);
        // The end of the program does not wait for it either.
        rig.lines.flush(Duration::from_millis(1));
        assert_eq!(rig.content(), "");
    }
}
