//! The new process's side of a hand-over.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::folder::{HandoverError, SOCKET, prepare};
use super::handed::{Channels, Handed, Moved};
use super::line::Line;
use super::message::{Described, Message, Secrets, VERSION};
use super::passing::Passes;

/// The process before, which goes on until it is told that this one is ready.
#[derive(Debug)]
pub(in crate::serve) struct Predecessor {
    line: Line,
    sockets: Vec<Handed>,
    secrets: Secrets,
}

/// The connections and updates that the process before leaves.
#[derive(Debug, Default)]
pub(in crate::serve) struct Left {
    /// To go on with.
    pub(in crate::serve) connections: Vec<Moved>,
    /// Updates that it did not make; none if it has ended.
    pub(in crate::serve) passes: Option<Passes>,
}

/// The old process ends what it does first: a load of big zones, and copies of zones. It gives up earlier.
const HOLD_PATIENCE: Duration = Duration::from_secs(900);

/// Broken zones that are named; one is enough.
const MOST_BROKEN: usize = 300;
/// Zones that are named with one message. A name takes a thousand bytes there at most.
const ZONES_AT_ONCE: usize = 300;

impl Predecessor {
    /// Asks the process that answers now for its sockets; none if there is none.
    pub(in crate::serve) fn find(folder: &Path) -> Result<Option<Self>, HandoverError> {
        prepare(folder)?;
        let stream = match UnixStream::connect(folder.join(SOCKET)) {
            Ok(stream) => stream,
            // Nobody was there, or has ended since.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(HandoverError::Folder(folder.to_owned(), error)),
        };
        Self::ask(stream).map(Some)
    }

    pub(super) fn ask(stream: UnixStream) -> Result<Self, HandoverError> {
        let mut line = Line::new(stream).map_err(HandoverError::Broken)?;
        let hello = Message::Hello { version: VERSION, pid: std::process::id() };
        line.send(&hello, &[]).map_err(HandoverError::Broken)?;
        let mut all = Vec::new();
        loop {
            let (message, descriptors) = line.receive().map_err(HandoverError::Broken)?;
            match message {
                Message::Refused { why } => return Err(HandoverError::Refused(why)),
                Message::Sockets { sockets, secrets, more } => {
                    let mut descriptors = descriptors.into_iter();
                    sockets.into_iter().try_for_each(|one| add(&mut all, one, &mut descriptors))?;
                    if !more {
                        return Ok(Self { line, sockets: all, secrets });
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// The sockets, once.
    pub(in crate::serve) fn take(&mut self) -> Vec<Handed> {
        std::mem::take(&mut self.sockets)
    }

    pub(in crate::serve) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Has it write nothing any more: what it wrote is on the disk when this returns. Tells whether it knows of which zones it is
    /// the primary; none if it has ended meanwhile. This one knows these zones, and has no good version of those that are
    /// `broken`.
    ///
    /// # Errors
    /// When it goes on, so that this one must not.
    pub(in crate::serve) fn hold(
        &mut self,
        zones: &[String],
        mut broken: Vec<String>,
    ) -> Result<Option<bool>, HandoverError> {
        self.line.wait_for(HOLD_PATIENCE).map_err(HandoverError::Broken)?;
        broken.truncate(MOST_BROKEN);
        let mut named = zones.chunks(ZONES_AT_ONCE);
        // If this cannot be sent, what it said last is still to be read.
        let _ = named
            .try_for_each(|some| self.line.send(&Message::Zones(some.to_vec()), &[]))
            .and_then(|()| self.line.send(&Message::Hold { broken }, &[]));
        self.held()
    }

    /// Has it say again that it writes nothing, and wait as long again: whether it is still there.
    ///
    /// # Errors
    /// As [`Predecessor::hold`].
    pub(in crate::serve) fn renew(&mut self) -> Result<bool, HandoverError> {
        // If this cannot be sent, what it said last is still to be read.
        let _ = self.line.send(&Message::Still, &[]);
        Ok(self.held()?.is_some())
    }

    fn held(&mut self) -> Result<Option<bool>, HandoverError> {
        match self.line.receive() {
            Ok((Message::Held { settled }, _)) => Ok(Some(settled)),
            Ok((Message::Refused { why }, _)) => Err(HandoverError::Refused(why)),
            Ok((other, _)) => Err(unexpected(&other)),
            // It would have said why it goes on.
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(HandoverError::Broken(error)),
        }
    }

    /// Tells it that this process answers; it reads nothing any more when this returns, however long that takes: one that is
    /// stopped for a while may not know yet, and would write when it goes on.
    ///
    /// # Errors
    /// When it goes on answering, so that this one must not.
    pub(in crate::serve) fn dismiss(mut self) -> Result<Left, HandoverError> {
        let ready = Message::Ready { pid: std::process::id() };
        // If this cannot be sent, what it said last is still to be read.
        let _ = self.line.send(&ready, &[]).and_then(|()| self.line.wait_for_ever());
        let mut connections = Vec::new();
        loop {
            // One that gave this process up has said so before it closed the line.
            match self.line.receive() {
                Ok((Message::Connections(named), descriptors)) => {
                    let moved = named.into_iter().zip(descriptors);
                    let moved =
                        moved.map(|((peer, inside), stream)| Moved { stream: stream.into(), peer, inside });
                    connections.extend(moved);
                }
                Ok((Message::Left, _)) => {
                    return Ok(Left { connections, passes: Some(Passes::new(self.line)) });
                }
                Ok((Message::Refused { why }, _)) => return Err(HandoverError::Refused(why)),
                // It had nothing left to do, and ended at once; or it has to end before anybody writes here.
                Ok(_) | Err(_) => {
                    self.line.wait_for_the_end();
                    return Ok(Left { connections, passes: None });
                }
            }
        }
    }
}

fn add(
    all: &mut Vec<Handed>,
    one: Described,
    descriptors: &mut impl Iterator<Item = OwnedFd>,
) -> Result<(), HandoverError> {
    let Described { setting, address, udp, tcp, local, channels, more } = one;
    let mut next = || descriptors.next().ok_or_else(missing);
    let udp = (0..udp).map(|_| next().map(Into::into)).collect::<Result<Vec<_>, _>>()?;
    let tcp = if tcp { Some(next()?.into()) } else { None };
    let local = if local { Some(next()?.into()) } else { None };
    let channels = channels.into_iter().map(|number| next().map(|channel| (number, channel)));
    let channels = channels.collect::<Result<Channels, HandoverError>>()?;
    match all.last_mut().filter(|_| more) {
        Some(before) => before.udp.extend(udp),
        None => all.push(Handed { setting, address, udp, tcp, local, channels }),
    }
    Ok(())
}

/// The other process has ended.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
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
    use super::*;

    use std::sync::mpsc::{Sender, channel};
    use std::thread::{JoinHandle, spawn};

    /// A process that hears that this one is ready, and does not say that it has left before this one has given up, or did not in
    /// a time that is long for it; then it says this.
    fn slow(says: Option<Message>) -> (Predecessor, Sender<()>, JoinHandle<bool>) {
        let (old, new) = UnixStream::pair().unwrap();
        let (given_up, is_given_up) = channel();
        let old = spawn(move || {
            let mut line = Line::new(old).unwrap();
            assert!(matches!(line.receive().unwrap().0, Message::Hello { .. }));
            let secrets = Secrets::new();
            line.send(&Message::Sockets { sockets: Vec::new(), secrets, more: false }, &[]).unwrap();
            assert!(matches!(line.receive().unwrap().0, Message::Ready { .. }));
            if let Some(message) = &says {
                line.send(message, &[]).unwrap();
            }
            let is_awaited = is_given_up.recv_timeout(Duration::from_millis(100)).is_err();
            let _ = line.send(&Message::Left, &[]);
            is_awaited
        });
        let predecessor = Predecessor::ask(new).unwrap();
        predecessor.line.wait_for(Duration::from_millis(1)).unwrap();
        (predecessor, given_up, old)
    }

    #[test]
    fn nobody_writes_before_the_process_before_has_left_or_is_gone() {
        for says in [None, Some(Message::Held { settled: true })] {
            let (predecessor, given_up, old) = slow(says);
            let left = predecessor.dismiss();
            let _ = given_up.send(());
            assert!(old.join().unwrap() && left.is_ok());
        }
    }
}
