//! The old process's side of a hand-over: a thread that waits for a new process.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::folder::{HandoverError, SOCKET, prepare};
use super::handed::{Handed, Moved};
use super::line::{Line, MAX_DESCRIPTORS};
use super::message::{Described, Message, Secrets, VERSION};
use super::passing::Passing;

/// The process that hands over, and leaves.
pub(in crate::serve) trait Offer: Send + 'static {
    /// Copies of the sockets, and the secrets.
    fn sockets(&self) -> io::Result<(Vec<Handed>, Secrets)>;

    /// Writes nothing any more when it returns without an error. Tells whether it knows of which zones it is the primary.
    fn hold(&self, heir: &Loaded) -> io::Result<bool>;

    /// Writes again, since nobody takes over.
    fn resume(&self);

    /// Another process answers now: reads nothing any more when it returns. Connections go on there.
    fn leave(&self) -> Vec<Moved>;

    /// Ends. Updates that were not made go to the process with this number.
    fn pass(&self, pid: u32, passing: Passing);
}

/// The zones of a new process.
#[derive(Debug, Default)]
pub(in crate::serve) struct Loaded {
    /// All that it knows.
    pub(in crate::serve) zones: HashSet<String>,
    /// Those that it has no good version of.
    pub(in crate::serve) broken: Vec<String>,
}

/// The socket in the run folder; the thread ends with the process.
#[derive(Debug)]
pub(in crate::serve) struct Door {
    path: PathBuf,
}

/// The place of a door: bound, but beside the one that a new process knocks at.
#[derive(Debug)]
pub(in crate::serve) struct Threshold {
    listener: UnixListener,
    folder: PathBuf,
    beside: PathBuf,
}

/// A new process may have millions of names to load; this one answers and writes meanwhile.
const LOAD_LIMIT: Duration = Duration::from_secs(1800);
/// A new process that holds has only to read what is new. Updates wait for it.
const HOLD_LIMIT: Duration = Duration::from_secs(60);
/// More than a process can hold.
const MOST_ZONES: usize = 50_000_000;
/// Without descriptors left, accepting again at once would only burn the CPU.
const REST: Duration = Duration::from_millis(500);

impl Threshold {
    /// Does all that may well fail, while a process before still answers.
    pub(in crate::serve) fn prepare(folder: &Path) -> Result<Self, HandoverError> {
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
    pub(in crate::serve) fn open(threshold: &Threshold, offer: impl Offer) -> Result<Self, HandoverError> {
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
    pub(in crate::serve) fn path(&self) -> &Path {
        &self.path
    }
}

/// One after the other, until one of them has taken over.
fn wait(listener: &UnixListener, offer: &impl Offer) {
    loop {
        let handed = match listener.accept() {
            Ok((stream, _)) => hand_over(stream, offer, HOLD_LIMIT),
            Err(error) => {
                thread::park_timeout(REST);
                Err(error)
            }
        };
        match handed {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!("a process that was to take over did not, and nothing has changed: {error}");
            }
        }
    }
}

fn hand_over(stream: UnixStream, offer: &impl Offer, hold_limit: Duration) -> io::Result<()> {
    let mut line = Line::new(stream)?;
    let pid = agree(&mut line, offer, hold_limit).inspect_err(|error| {
        // It may still come: then it must know that it is not wanted, or both would write.
        let _ = line.send(&Message::Refused { why: error.to_string() }, &[]);
    })?;
    let connections = offer.leave();
    // It answers, whether it hears this or not.
    let _ = part(&mut line, &connections);
    offer.pass(pid, Passing::new(line));
    Ok(())
}

/// The number of the process that takes over.
fn agree(line: &mut Line, offer: &impl Offer, hold_limit: Duration) -> io::Result<u32> {
    let Message::Hello { version, pid } = line.receive()?.0 else { return Err(unexpected()) };
    if version != VERSION {
        return Err(io::Error::other(format!(
            "it speaks version {VERSION} of the hand-over, the new process {version}: stop it first"
        )));
    }
    tracing::info!(pid, "a process takes over");
    let (sockets, secrets) = offer.sockets()?;
    send(line, &sockets, &secrets)?;
    drop(sockets);
    line.wait_for(LOAD_LIMIT)?;
    let settled = offer.hold(&loaded(line)?)?;
    // Before the line says so: a new process that is not wanted ends, and this one goes on.
    held(line, settled, hold_limit).inspect_err(|_| offer.resume())
}

/// The zones of the new process, once it has loaded.
fn loaded(line: &mut Line) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    loop {
        match line.receive()?.0 {
            Message::Zones(some) if loaded.zones.len() < MOST_ZONES => loaded.zones.extend(some),
            Message::Hold { broken } => return Ok(Loaded { broken, ..loaded }),
            _ => return Err(unexpected()),
        }
    }
}

/// The last that the new process has to hear.
fn part(line: &mut Line, connections: &[Moved]) -> io::Result<()> {
    for some in connections.chunks(MAX_DESCRIPTORS) {
        let named = some.iter().map(|moved| (moved.peer, moved.inside)).collect();
        let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(|moved| moved.stream.as_fd()).collect();
        line.send(&Message::Connections(named), &descriptors)?;
    }
    line.send(&Message::Left, &[])
}

/// The number of the process that is ready.
fn held(line: &mut Line, settled: bool, limit: Duration) -> io::Result<u32> {
    line.wait_for(limit)?;
    // The new process asks once more; one that asked for ever would never answer.
    for _ in 0..2 {
        line.send(&Message::Held { settled }, &[])?;
        match line.receive() {
            Ok((Message::Still, _)) => {}
            Ok((Message::Ready { pid }, _)) => return Ok(pid),
            Ok(_) => return Err(unexpected()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let why = format!("the new process was not ready {} s after it had loaded", limit.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(error) => return Err(error),
        }
    }
    Err(unexpected())
}

/// In as many messages as it takes.
fn send(line: &mut Line, sockets: &[Handed], secrets: &Secrets) -> io::Result<()> {
    let pieces: Vec<_> = sockets.iter().flat_map(pieces).collect();
    let mut rest = pieces.as_slice();
    loop {
        let mut room = MAX_DESCRIPTORS;
        let fits = |(_, descriptors): &&Piece<'_>| {
            let left = room.checked_sub(descriptors.len());
            left.inspect(|left| room = *left).is_some()
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
        let described = now.iter().map(|(described, _)| described.clone()).collect();
        let descriptors: Vec<BorrowedFd<'_>> = now.iter().flat_map(|(_, beside)| beside).copied().collect();
        let more = !later.is_empty();
        line.send(&Message::Sockets { sockets: described, secrets: secrets.clone(), more }, &descriptors)?;
        rest = later;
        if !more {
            return Ok(());
        }
    }
}

/// Sockets that go in one message.
type Piece<'h> = (Described, Vec<BorrowedFd<'h>>);

/// The sockets of one address, as many together as a message can take.
fn pieces(one: &Handed) -> impl Iterator<Item = Piece<'_>> {
    let Handed { setting, address, udp, tcp, local, channels } = one;
    let described = move |udp, tcp, more| {
        let (setting, address) = (setting.clone(), *address);
        Described { setting, address, udp, tcp, local: false, channels: Vec::new(), more }
    };
    let listener = tcp.iter().map(move |tcp| (described(0, true, false), vec![tcp.as_fd()]));
    let local = local
        .iter()
        .map(move |local| (Described { local: true, ..described(0, false, false) }, vec![local.as_fd()]));
    let has_tcp = tcp.is_some();
    let udp = udp.chunks(MAX_DESCRIPTORS).enumerate();
    listener.chain(local).chain(udp.map(move |(at, udp)| {
        // A socket of QUIC is one, and few processes were before.
        let channels = if at == 0 { channels.as_slice() } else { &[] };
        let numbers = channels.iter().map(|(number, _)| *number).collect();
        let described = Described { channels: numbers, ..described(udp.len(), false, has_tcp || at > 0) };
        let channels = channels.iter().map(|(_, channel)| channel.as_fd());
        (described, udp.iter().map(|socket| socket.as_fd()).chain(channels).collect())
    }))
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it did not say what comes next")
}

#[cfg(test)]
mod tests {
    use super::super::predecessor::Predecessor;
    use super::*;

    use std::sync::Mutex;

    /// Notes all that it is told.
    #[derive(Clone, Default)]
    struct Noted(std::sync::Arc<Mutex<Vec<&'static str>>>);

    impl Noted {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Offer for Noted {
        fn sockets(&self) -> io::Result<(Vec<Handed>, Secrets)> {
            self.note("sockets");
            Ok((Vec::new(), Secrets::new()))
        }

        fn hold(&self, heir: &Loaded) -> io::Result<bool> {
            assert!(heir.broken.iter().all(|zone| heir.zones.contains(zone)));
            self.note("hold");
            Ok(true)
        }

        fn resume(&self) {
            self.note("resume");
        }

        fn leave(&self) -> Vec<Moved> {
            self.note("leave");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let moved = || {
                let stream = std::net::TcpStream::connect(address).unwrap();
                // The queue of connections has an end.
                drop(listener.accept().unwrap());
                Moved { peer: stream.local_addr().unwrap(), stream, inside: true }
            };
            (0..MAX_DESCRIPTORS + 3).map(|_| moved()).collect()
        }

        fn pass(&self, _: u32, _: Passing) {
            self.note("pass");
        }
    }

    /// A process that hands over with this patience, and its end of the line.
    fn old(noted: &Noted, limit: Duration) -> (thread::JoinHandle<io::Result<()>>, UnixStream) {
        let (old, new) = UnixStream::pair().unwrap();
        let noted = noted.clone();
        (thread::spawn(move || hand_over(old, &noted, limit)), new)
    }

    #[test]
    fn a_process_that_is_ready_too_late_hears_that_the_one_before_goes_on() {
        let noted = Noted::default();
        let (given_up, stream) = old(&noted, Duration::from_millis(1));
        let mut predecessor = Predecessor::ask(stream).unwrap();
        predecessor.hold(&[], Vec::new()).unwrap();
        assert!(given_up.join().unwrap().is_err());
        // It hears so before it writes.
        let HandoverError::Refused(why) = predecessor.renew().unwrap_err() else { panic!("not refused") };
        assert!(why.contains("was not ready"), "{why}");
        assert_eq!(*noted.0.lock().unwrap(), ["sockets", "hold", "resume"]);
    }

    #[test]
    fn a_process_that_ends_at_any_time_before_it_is_ready_changes_nothing() {
        for (holds, expected) in [(false, &["sockets"][..]), (true, &["sockets", "hold", "resume"])] {
            let noted = Noted::default();
            let (given_up, stream) = old(&noted, HOLD_LIMIT);
            let mut predecessor = Predecessor::ask(stream).unwrap();
            if holds {
                predecessor.hold(&[], Vec::new()).unwrap();
            }
            drop(predecessor);
            assert!(given_up.join().unwrap().is_err());
            assert_eq!(*noted.0.lock().unwrap(), expected);
        }
    }

    #[test]
    fn a_process_that_is_ready_is_obeyed() {
        let noted = Noted::default();
        let (left, stream) = old(&noted, HOLD_LIMIT);
        let mut predecessor = Predecessor::ask(stream).unwrap();
        let zones: Vec<_> = (0..1000).map(|n| format!("n{n}.ex.")).collect();
        predecessor.hold(&zones, vec!["n1.ex.".to_owned()]).unwrap();
        assert!(predecessor.renew().unwrap());
        let gone = predecessor.dismiss().unwrap();
        let are_the_same =
            gone.connections.iter().all(|it| it.stream.local_addr().unwrap() == it.peer && it.inside);
        assert!(gone.connections.len() == MAX_DESCRIPTORS + 3 && are_the_same && gone.passes.is_some());
        left.join().unwrap().unwrap();
        assert_eq!(*noted.0.lock().unwrap(), ["sockets", "hold", "leave", "pass"]);
    }

    #[test]
    fn another_version_is_refused_and_told_what_to_do() {
        let noted = Noted::default();
        let (given_up, stream) = old(&noted, HOLD_LIMIT);
        let mut line = Line::new(stream).unwrap();
        line.send(&Message::Hello { version: VERSION + 1, pid: 7 }, &[]).unwrap();
        let Message::Refused { why } = line.receive().unwrap().0 else { panic!("not refused") };
        assert!(why.ends_with("version 3 of the hand-over, the new process 4: stop it first"), "{why}");
        assert!(given_up.join().unwrap().is_err());
        assert!(noted.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_place_that_no_door_was_opened_at_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let threshold = Threshold::prepare(folder.path()).unwrap();
        let count = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count(), 1);
        drop(threshold);
        assert_eq!(count(), 0);
        let door = Door::open(&Threshold::prepare(folder.path()).unwrap(), Noted::default()).unwrap();
        assert!(door.path().exists() && count() == 1, "and one that was opened stays");
    }
}
