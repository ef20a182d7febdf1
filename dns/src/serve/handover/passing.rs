//! Updates, questions and reloads that came to a process which writes no more: the one that took over makes and answers them, and
//! its answers go back.

use std::io;
use std::time::Duration;

use super::line::Line;
use super::message::{Message, Passed};

/// An update over a big zone takes some hundred milliseconds, and others may be before it.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The end of a message that was passed on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::serve) enum Returned {
    /// This is to be sent.
    Answer(Vec<u8>),
    /// Nothing is to be sent: the message breaks the protocol.
    Silence,
    /// Nobody has answered it. Its sender may ask again, and then asks a process that does.
    Unanswered,
}

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
    pub(in crate::serve) fn pass(&mut self, passed: Passed) -> io::Result<Returned> {
        self.0.wait_for(ANSWER_LIMIT)?;
        self.0.send(&Message::Asked(passed), &[])?;
        match self.0.receive()?.0 {
            Message::Answer { message } => Ok(message.map_or(Returned::Silence, Returned::Answer)),
            Message::Unanswered => Ok(Returned::Unanswered),
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
    /// ends. One that is not answered does not keep others from their answers.
    pub(in crate::serve) fn run(
        mut self,
        make: impl Fn(Passed) -> Returned,
        reload: impl Fn(),
    ) -> io::Result<()> {
        self.0.wait_for_ever()?;
        loop {
            match self.0.receive() {
                Ok((Message::Asked(passed), _)) => {
                    let returned = match make(passed) {
                        Returned::Answer(message) => Message::Answer { message: Some(message) },
                        Returned::Silence => Message::Answer { message: None },
                        Returned::Unanswered => Message::Unanswered,
                    };
                    self.0.send(&returned, &[])?;
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
            let make = |passed: Passed| match passed.message.first() {
                Some(0) => Returned::Unanswered,
                Some(first) => Returned::Answer(vec![first + 1]),
                None => Returned::Silence,
            };
            passes.run(make, || reloads.set(reloads.get() + 1)).map(|()| reloads.get())
        });
        let passed = |message: &[u8]| Passed {
            message: message.to_vec(),
            address: [192, 0, 2, 1].into(),
            port: 53,
            inside: false,
            transport: "udp".to_owned(),
        };
        assert_eq!(passing.pass(passed(&[1])).unwrap(), Returned::Answer(vec![2]));
        passing.reload().unwrap();
        assert_eq!(passing.pass(passed(&[])).unwrap(), Returned::Silence);
        assert_eq!(passing.pass(passed(&[0])).unwrap(), Returned::Unanswered);
        assert_eq!(passing.pass(passed(&[0xfe; 65_535])).unwrap(), Returned::Answer(vec![0xff]));
        drop(passing);
        assert_eq!(made.join().unwrap().unwrap(), 1);
    }
}
