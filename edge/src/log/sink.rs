//! Where lines are written, and what becomes of a line that was written in part.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

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
        if self.is_torn && write(&mut self.out, b"\n").is_ok() {
            self.is_torn = false;
        }
        write(&mut self.out, text).map_err(|rest| {
            self.is_torn |= text.len() > rest && text[text.len() - rest - 1] != b'\n';
            lines(&text[text.len() - rest..])
        })
    }
}

/// How many lines end in this text.
pub(super) fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Writes all of `text`; the error is how many bytes at its end could not be written.
fn write(out: &mut impl Write, text: &[u8]) -> Result<(), usize> {
    let mut rest = text;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(rest.len()),
            Ok(taken) => rest = &rest[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(RETRY_PAUSE),
            Err(_) => return Err(rest.len()),
        }
    }
    Ok(())
}
