//! The old process's side of a hand-over: a thread that waits for a new process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::folder::{HandoverError, SOCKET, prepare};
use super::handed::{Handed, Listener};
use super::line::{Line, MAX_DESCRIPTORS};
use super::message::{Described, Message, Row, VERSION};

/// The process that hands over, and leaves.
pub(crate) trait Offer: Send + 'static {
    /// Copies of the sockets, and the row.
    fn sockets(&self) -> io::Result<(Vec<Handed>, Row)>;

    /// The process with this number answers now: stops accepting before it returns.
    fn leave(&self, pid: u32);
}

/// The socket in the run folder; the thread ends with the process.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
}

/// A new process may load a big config, and ask for the addresses of many origins.
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// Without descriptors left, accepting again at once would only burn the CPU.
const REST: Duration = Duration::from_millis(500);

impl Door {
    /// Opens it, in the place of that of a process before.
    pub(crate) fn open(folder: &Path, offer: impl Offer) -> Result<Self, HandoverError> {
        prepare(folder)?;
        let failed = |error| HandoverError::Folder(folder.to_owned(), error);
        let path = folder.join(SOCKET);
        // A new process that connects meanwhile meets one of the two.
        let beside = folder.join(format!("{SOCKET}.{}", std::process::id()));
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&beside, &path).map_err(failed)?;
        let wait = move || wait(&listener, &offer);
        thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(failed)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// One after the other, until one of them has taken over.
#[expect(clippy::disallowed_methods, reason = "that a descriptor is free again is no event")]
fn wait(listener: &UnixListener, offer: &impl Offer) {
    loop {
        let handed = match listener.accept() {
            Ok((stream, _)) => hand_over(stream, offer),
            Err(error) => {
                thread::sleep(REST);
                Err(error)
            }
        };
        match handed {
            Ok(()) => return,
            Err(error) => tracing::warn!(
                target: "verge_edge::handover",
                "a process that was to take over did not, and nothing has changed: {error}"
            ),
        }
    }
}

fn hand_over(stream: UnixStream, offer: &impl Offer) -> io::Result<()> {
    let mut line = Line::new(stream)?;
    let Message::Hello { version, pid } = line.receive()?.0 else { return Err(unexpected()) };
    if version != VERSION {
        let why =
            format!("it speaks version {VERSION} of the hand-over, the new process {version}: stop it first");
        line.send(&Message::Refused { why: why.clone() }, &[])?;
        return Err(io::Error::other(why));
    }
    tracing::info!(target: "verge_edge::handover", pid, "a process takes over");
    let (sockets, row) = offer.sockets()?;
    send(&mut line, &sockets, &row)?;
    drop(sockets);
    line.wait_for(LOAD_LIMIT)?;
    let Message::Ready { pid } = line.receive()?.0 else { return Err(unexpected()) };
    offer.leave(pid);
    // It answers, whether it hears this or not.
    let _ = line.send(&Message::Left, &[]);
    Ok(())
}

/// In as many messages as it takes.
fn send(line: &mut Line, sockets: &[Handed], row: &Row) -> io::Result<()> {
    let mut rest = sockets;
    loop {
        let mut room = MAX_DESCRIPTORS;
        let fits = |one: &&Handed| {
            let taken = room.checked_sub(1 + one.channels.len());
            taken.inspect(|left| room = *left).is_some()
        };
        let count = rest.iter().take_while(fits).count();
        let (now, later) = rest.split_at(count);
        if now.is_empty() && !later.is_empty() {
            return Err(io::Error::other("one socket has too many processes before it"));
        }
        let described = now.iter().filter_map(describe).collect();
        let descriptors: Vec<BorrowedFd<'_>> = now
            .iter()
            .flat_map(|one| {
                let channels = one.channels.iter().map(|(_, channel)| channel.as_fd());
                std::iter::once(one.socket.as_fd()).chain(channels)
            })
            .collect();
        let more = !later.is_empty();
        line.send(&Message::Sockets { sockets: described, row: row.clone(), more }, &descriptors)?;
        rest = later;
        if !more {
            return Ok(());
        }
    }
}

fn describe(one: &Handed) -> Option<Described> {
    // A process knows the settings of all that it has open.
    let Listener::Of(setting, address) = one.listener else { return None };
    Some(Described { setting, address, channels: one.channels.iter().map(|(number, _)| *number).collect() })
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it did not say what comes next")
}
