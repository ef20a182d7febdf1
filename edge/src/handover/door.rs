//! The old process's side of a hand-over: a thread that waits for a new process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::folder::{HandoverError, SOCKET, prepare};
use super::handed::{Handed, Listener, Setting};
use super::line::{Line, MAX_DESCRIPTORS, PATIENCE, Written};
use super::message::{Described, Message, Row, VERSION};
use crate::cache::behind::{Done, Errand};

/// The process that hands over, and leaves.
pub(crate) trait Offer: Send + 'static {
    /// Copies of the sockets, and the row.
    fn sockets(&self) -> io::Result<(Vec<Handed>, Row)>;

    /// The process with this number answers now: stops accepting before it returns. Gives what that one is to hear of.
    fn leave(&self, pid: u32) -> mpsc::Receiver<Errand>;
}

/// The socket in the run folder; the thread ends with the process.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
}

/// The place of a door: bound, but beside the one that a new process knocks at.
#[derive(Debug)]
pub(crate) struct Threshold {
    listener: UnixListener,
    folder: PathBuf,
    beside: PathBuf,
}

/// A new process may load a big config, and ask for the addresses of many origins.
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// Without descriptors left, accepting again at once would only burn the CPU.
const REST: Duration = Duration::from_millis(500);

impl Threshold {
    /// Does all that may well fail, while a process before still answers.
    pub(crate) fn prepare(folder: &Path) -> Result<Self, HandoverError> {
        prepare(folder)?;
        let failed = |error| HandoverError::Folder(folder.to_owned(), error);
        let beside = folder.join(format!("{SOCKET}.{}", std::process::id()));
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        let threshold = Self { listener, folder: folder.to_owned(), beside };
        fs::set_permissions(&threshold.beside, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(threshold)
    }
}

impl Drop for Threshold {
    fn drop(&mut self) {
        // It is not there any more if the door was opened.
        let _ = fs::remove_file(&self.beside);
    }
}

impl Door {
    /// Opens it, in the place of that of a process before.
    pub(crate) fn open(threshold: &Threshold, offer: impl Offer) -> Result<Self, HandoverError> {
        let failed = |error| HandoverError::Folder(threshold.folder.clone(), error);
        let path = threshold.folder.join(SOCKET);
        let listener = threshold.listener.try_clone().map_err(failed)?;
        let wait = move || wait(&listener, &offer);
        thread::Builder::new().name("handover".to_owned()).spawn(wait).map_err(failed)?;
        // A new process that connects meanwhile meets one of the two.
        fs::rename(&threshold.beside, &path).map_err(failed)?;
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
            Ok((stream, _)) => hand_over(stream, offer, LOAD_LIMIT),
            Err(error) => {
                thread::sleep(REST);
                Err(error)
            }
        };
        match handed {
            Ok((line, errands)) => return run(line, errands),
            Err(error) => tracing::warn!(
                target: "verge_edge::handover",
                "a process that was to take over did not, and nothing has changed: {error}"
            ),
        }
    }
}

/// Tells the process that answers now what is to go there, until nobody here can ask for that any more.
fn run(mut line: Line, mut errands: mpsc::Receiver<Errand>) {
    if line.wait_for(PATIENCE).is_err() {
        return;
    }
    while let Some(Errand { order, done }) = errands.blocking_recv() {
        // The others' are not to end with it.
        let Some(written) = Written::of(&Message::Purge(order)) else {
            tracing::warn!(target: "verge_edge::handover", "a purge is too long to tell the process that has taken over");
            drop(done.send(Done::default()));
            continue;
        };
        let told = line.send_written(&written, &[]).and_then(|()| line.receive());
        match told {
            // The one who asked may have gone.
            Ok((Message::Purged(result), _)) => drop(done.send(result)),
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(target: "verge_edge::handover", "the process that has taken over hears of no purges: {error}");
                return;
            }
        }
    }
}

/// The line stays, for what the new process is to hear of.
fn hand_over(
    stream: UnixStream,
    offer: &impl Offer,
    limit: Duration,
) -> io::Result<(Line, mpsc::Receiver<Errand>)> {
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
    line.wait_for(limit)?;
    let ready = line.receive().inspect_err(|_| {
        // It may still come: then it must know that it is not wanted, or both would answer.
        let why = format!("the new process was not ready within {} s", limit.as_secs());
        let _ = line.send(&Message::Refused { why }, &[]);
    });
    let Message::Ready { pid } = ready?.0 else { return Err(unexpected()) };
    let errands = offer.leave(pid);
    // It answers, whether it hears this or not.
    let _ = line.send(&Message::Left, &[]);
    Ok((line, errands))
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
    let (setting, address, is_of_systemd) = match one.listener {
        Listener::Of(setting, address) => (setting, Some(address), false),
        Listener::Path { is_of_systemd } => (Setting::Admin, None, is_of_systemd),
        // A process knows the settings of all that it has open.
        Listener::At(..) => return None,
    };
    let channels = one.channels.iter().map(|(number, _)| *number).collect();
    Some(Described { setting, address, is_of_systemd, channels })
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it did not say what comes next")
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::predecessor::Predecessor;
    use super::*;
    use crate::cache::behind::{Order, way};

    struct Nothing;

    impl Offer for Nothing {
        fn sockets(&self) -> io::Result<(Vec<Handed>, Row)> {
            Ok((Vec::new(), Row::new()))
        }

        fn leave(&self, _: u32) -> mpsc::Receiver<Errand> {
            panic!("it was too late");
        }
    }

    #[test]
    fn a_process_that_is_ready_too_late_hears_that_the_one_before_goes_on() {
        let (old, new) = UnixStream::pair().unwrap();
        let limit = Duration::from_millis(1);
        let given_up = thread::spawn(move || hand_over(old, &Nothing, limit).is_err());
        let predecessor = Predecessor::ask(new).unwrap();
        assert!(given_up.join().unwrap());
        let HandoverError::Refused(why) = predecessor.dismiss().unwrap_err() else { panic!("not refused") };
        assert!(why.contains("not ready within"), "{why}");
    }

    /// Sockets for these listeners, whatever they are.
    struct These(Vec<Listener>);

    impl Offer for These {
        fn sockets(&self) -> io::Result<(Vec<Handed>, Row)> {
            let handed = |listener: &Listener| {
                let socket = UnixStream::pair()?.0.into();
                Ok(Handed { listener: *listener, socket, channels: Vec::new() })
            };
            Ok((self.0.iter().map(handed).collect::<io::Result<_>>()?, Row::new()))
        }

        fn leave(&self, _: u32) -> mpsc::Receiver<Errand> {
            way().1
        }
    }

    #[test]
    fn a_process_that_takes_over_knows_which_sockets_are_systemds() {
        let address = "192.0.2.1:80".parse().unwrap();
        let listeners = vec![
            Listener::Of(Setting::Plain, address),
            Listener::Path { is_of_systemd: true },
            Listener::Path { is_of_systemd: false },
        ];
        let (old, new) = UnixStream::pair().unwrap();
        let offer = These(listeners.clone());
        let handing = thread::spawn(move || hand_over(old, &offer, LOAD_LIMIT));
        let mut predecessor = Predecessor::ask(new).unwrap();
        let told: Vec<Listener> = predecessor.take().iter().map(|handed| handed.listener).collect();
        assert_eq!(told, listeners);
        let before = predecessor.dismiss().unwrap();
        let (line, _) = handing.join().unwrap().unwrap();
        // It is heard for as long as it has something to say.
        let (way, errands) = way();
        let telling = thread::spawn(move || run(line, errands));
        let hearing = thread::spawn(move || {
            let done = |order: Order| Done { purged: Some(order.changed.len()), ..Done::default() };
            before.hear(done);
        });
        let ask = |changed: Vec<String>| {
            let (done, is_done) = oneshot::channel();
            way.blocking_send(Errand { order: Order { changed, ..Order::default() }, done }).unwrap();
            is_done.blocking_recv().unwrap()
        };
        assert_eq!(ask(vec!["http://a.test/".to_owned()]).purged, Some(1));
        // An order that is too long ends nothing but itself.
        assert_eq!(
            ask((0..20_000).map(|number| format!("http://a.test/{number}")).collect()),
            Done::default()
        );
        assert_eq!(ask(vec!["http://a.test/".to_owned()]).purged, Some(1));
        drop(way);
        telling.join().unwrap();
        hearing.join().unwrap();
    }

    #[test]
    fn a_place_that_no_door_was_opened_at_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let threshold = Threshold::prepare(folder.path()).unwrap();
        let count = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count(), 1);
        drop(threshold);
        assert_eq!(count(), 0);
        let door = Door::open(&Threshold::prepare(folder.path()).unwrap(), Nothing).unwrap();
        assert!(door.path().exists() && count() == 1, "and one that was opened stays");
    }
}
