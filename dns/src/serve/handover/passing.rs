//! Updates, questions and reloads that came to a process which writes no more: the one that took over makes and answers them, and
//! its answers go back.

use std::io;
use std::time::Duration;

use super::line::Line;
use super::message::{Message, Passed};

/// An update over a big zone takes some hundred milliseconds, and others may be before it.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The old process's end.
#[derive(Debug)]
pub(in crate::serve) struct Passing(Line);

/// The new process's end.
#[derive(Debug)]
pub(in crate::serve) struct Passes(Line);

impl Passing {
    pub(super) fn new(line: Line) -> Self {
        Self(line)
    }

    /// Has an update made or a question answered, and brings the answer.
    pub(in crate::serve) fn pass(&mut self, passed: Passed) -> io::Result<Option<Vec<u8>>> {
        self.0.wait_for(ANSWER_LIMIT)?;
        self.0.send(&Message::Asked(passed), &[])?;
        match self.0.receive()?.0 {
            Message::Answer { message } => Ok(message),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it did not answer")),
        }
    }

    /// Has the other process read all anew, as the operator has told this one.
    pub(in crate::serve) fn reload(&mut self) -> io::Result<()> {
        self.0.send(&Message::Reload, &[])
    }
}

impl Passes {
    pub(super) fn new(line: Line) -> Self {
        Self(line)
    }

    /// Has `make` make the updates and answer the questions that are passed on, one after the other, and reloads, until the old process
    /// ends.
    pub(in crate::serve) fn run(
        mut self,
        make: impl Fn(Passed) -> Option<Vec<u8>>,
        reload: impl Fn(),
    ) -> io::Result<()> {
        self.0.wait_for_ever()?;
        loop {
            match self.0.receive() {
                Ok((Message::Asked(passed), _)) => {
                    self.0.send(&Message::Answer { message: make(passed) }, &[])?;
                }
                Ok((Message::Reload, _)) => reload(),
                Ok(_) => {
                    let what = "it passed on what is neither a message nor a reload";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::Cell;
    use std::os::unix::net::UnixStream;

    #[test]
    fn each_update_gets_the_answer_that_is_its_own_and_a_reload_is_obeyed() {
        let (old, new) = UnixStream::pair().unwrap();
        let (mut passing, passes) =
            (Passing::new(Line::new(old).unwrap()), Passes::new(Line::new(new).unwrap()));
        let made = std::thread::spawn(move || {
            let reloads = Cell::new(0);
            let make = |passed: Passed| passed.message.first().map(|first| vec![first + 1]);
            passes.run(make, || reloads.set(reloads.get() + 1)).map(|()| reloads.get())
        });
        let passed = |message: &[u8]| Passed {
            message: message.to_vec(),
            address: [192, 0, 2, 1].into(),
            port: 53,
            inside: false,
            transport: "udp".to_owned(),
        };
        assert_eq!(passing.pass(passed(&[1])).unwrap(), Some(vec![2]));
        passing.reload().unwrap();
        assert_eq!(passing.pass(passed(&[])).unwrap(), None);
        assert_eq!(passing.pass(passed(&[0xfe; 65_535])).unwrap(), Some(vec![0xff]));
        drop(passing);
        assert_eq!(made.join().unwrap().unwrap(), 1);
    }
}
