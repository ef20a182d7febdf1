//! Where lines are written, and what becomes of a line that was written in part.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// Another program may have set our output to not block. Then we wait this long before we try again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Writes lines, so that each begins on a line of its own even where a full disk cut the one before off.
#[derive(Debug)]
pub(super) struct Sink<W> {
    out: W,
    is_torn: bool,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, is_torn: false }
    }

    /// Writes lines, each with its end.
    ///
    /// # Errors
    /// How many of them could not be written, the one that was cut off among them.
    pub(super) fn put(&mut self, text: &[u8]) -> Result<(), u64> {
        if self.is_torn && write(&mut self.out, b"\n").rest_bytes == 0 {
            self.is_torn = false;
        }
        let unwritten = write(&mut self.out, text);
        let (taken, rest) = text.split_at(text.len() - unwritten.rest_bytes);
        self.is_torn |= !rest.is_empty() && taken.last().is_some_and(|last| *last != b'\n');
        match unwritten.lines + lines(rest) {
            0 => Ok(()),
            lost => Err(lost),
        }
    }
}

/// How many lines end in this text.
pub(super) fn lines(text: &[u8]) -> u64 {
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
    use super::*;

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
        let mut sink = Sink::new(Datagrams(Vec::new()));
        assert_eq!(sink.put(b"one\nlong\ntwo\nlonger\nthree\n"), Err(2));
        assert_eq!(sink.put(b"four\nend\nfive\n"), Err(2), "nobody is there any more");
        assert_eq!(sink.put(b"six\n"), Ok(()));
        assert_eq!(sink.out.0, ["one\n", "two\n", "three\n", "four\n", "six\n"]);
    }
}
