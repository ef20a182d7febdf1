//! The new process's side of a hand-over.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::folder::{HandoverError, SOCKET, prepare};
use super::handed::{Handed, Listener};
use super::line::Line;
use super::message::{Message, Row, VERSION};
use crate::cache::behind::{Done, Order};

/// The process before, which goes on until it is told that this one is ready.
#[derive(Debug)]
pub(crate) struct Predecessor {
    line: Line,
    sockets: Vec<Handed>,
    /// As it was told.
    row: Row,
}

impl Predecessor {
    /// A connection to the process that answers now; none if there is none. This does not wait.
    pub(crate) fn find(folder: &Path) -> Result<Option<UnixStream>, HandoverError> {
        prepare(folder)?;
        let found = knock(&folder.join(SOCKET));
        found.map(Some).or_else(|error| match error.kind() {
            // Nobody was there, or has ended since.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            io::ErrorKind::WouldBlock => {
                Err(HandoverError::Refused("too many processes wait to take over from it".to_owned()))
            }
            _ => Err(HandoverError::Folder(folder.to_owned(), error)),
        })
    }

    /// Asks it for its sockets. This blocks, for as long as one that is stuck is given.
    pub(crate) fn ask(stream: UnixStream) -> Result<Self, HandoverError> {
        let mut line = Line::new(stream).map_err(HandoverError::Broken)?;
        let hello = Message::Hello { version: VERSION, pid: std::process::id() };
        line.send(&hello, &[]).map_err(HandoverError::Broken)?;
        let mut all = Vec::new();
        loop {
            let (message, descriptors) = line.receive().map_err(HandoverError::Broken)?;
            match message {
                Message::Refused { why } => return Err(HandoverError::Refused(why)),
                Message::Sockets { sockets, row, more } => {
                    let mut descriptors = descriptors.into_iter();
                    let mut next = || descriptors.next().ok_or_else(missing);
                    for one in sockets {
                        let socket = next()?;
                        let channel = |number| next().map(|channel: OwnedFd| (number, channel));
                        let channels = one.channels.into_iter().map(channel).collect::<Result<_, _>>()?;
                        let of = |address| Listener::Of(one.setting, address);
                        let at_path = Listener::Path { is_of_systemd: one.is_of_systemd };
                        let listener = one.address.map_or(at_path, of);
                        all.push(Handed { listener, socket, channels });
                    }
                    if !more {
                        return Ok(Self { line, sockets: all, row });
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// The sockets, once.
    pub(crate) fn take(&mut self) -> Vec<Handed> {
        std::mem::take(&mut self.sockets)
    }

    /// The row that this process is the last of.
    pub(crate) fn row(&self) -> Row {
        self.row.clone().next()
    }

    /// Tells it that this process answers; it has stopped to accept when this returns.
    ///
    /// # Errors
    /// [`HandoverError::Refused`] when it goes on answering, so that this one must not; another error when it has ended or
    /// does not say, but will leave when it hears.
    pub(crate) fn dismiss(mut self) -> Result<Before, HandoverError> {
        let ready = Message::Ready { pid: std::process::id() };
        let sent = self.line.send(&ready, &[]);
        // One that gave this process up has said so before it closed the line.
        match self.line.receive() {
            Ok((Message::Left, _)) => Ok(Before(self.line)),
            Ok((Message::Refused { why }, _)) => Err(HandoverError::Refused(why)),
            Ok((other, _)) => Err(unexpected(&other)),
            // It had no connection left, and ended at once.
            Err(error) if sent.is_ok() && error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Before(self.line))
            }
            Err(error) => Err(HandoverError::Broken(error)),
        }
    }
}

/// The process before, which has left, and still has connections.
#[derive(Debug)]
pub(crate) struct Before(Line);

impl Before {
    /// Does what it asks for until it ends.
    pub(crate) fn hear(self, obey: impl Fn(Order) -> Done) {
        let Self(mut line) = self;
        if line.wait_for_ever().is_err() {
            return;
        }
        // An error is its end.
        while let Ok((Message::Purge(order), _)) = line.receive() {
            if line.send(&Message::Purged(obey(order)), &[]).is_err() {
                return;
            }
        }
    }
}

/// Connects, and does not wait where the queue of those who have is full.
fn knock(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    // The line that it becomes blocks.
    Ok(socket.into())
}

fn missing() -> HandoverError {
    HandoverError::Broken(io::Error::new(io::ErrorKind::InvalidData, "a descriptor is missing"))
}

fn unexpected(message: &Message) -> HandoverError {
    let error = format!("it said {message:?}");
    HandoverError::Broken(io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn who_finds_the_queue_full_is_told_and_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        assert!(Predecessor::find(folder.path()).unwrap().is_none());
        let stuck = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&stuck, 0).unwrap();
        let waiting: Vec<UnixStream> = std::iter::from_fn(|| knock(&path).ok()).take(100).collect();
        assert!((1..100).contains(&waiting.len()), "{}", waiting.len());
        let Err(HandoverError::Refused(why)) = Predecessor::find(folder.path()) else {
            panic!("not refused")
        };
        assert!(why.contains("too many processes"), "{why}");
        drop((waiting, stuck));
        assert!(Predecessor::find(folder.path()).unwrap().is_none(), "nobody is there any more");
    }
}
