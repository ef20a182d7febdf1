//! Where access lines go: standard output, a file, or systemd's journal.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log::sink::{Sink, lines};

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// systemd's journal, an entry a line.
    Journald,
    /// This file, which is made if it is not there.
    File(PathBuf),
}

/// A place that is open.
#[derive(Debug)]
pub(super) enum Open {
    Stdout(Sink<File>),
    Journald(UnixDatagram),
    Named(Named),
}

/// A file that somebody may rename, to keep it and begin another.
#[derive(Debug)]
pub(super) struct Named {
    path: PathBuf,
    sink: Sink<File>,
    /// Its device and its number there.
    identity: (u64, u64),
    /// Whether somebody has asked for it to be opened anew.
    reopen: Arc<AtomicBool>,
    /// Whether the log has said that this cannot be done.
    is_told: bool,
}

/// Where journald takes entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// The fields of each entry: of the facility "daemon" and the priority "informational".
const JOURNAL_FIELDS: &str = "PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=verge-edge\nMESSAGE=";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Journald => f.write_str("journald"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    /// Opens it; `reopen` is set when its file is to be opened anew.
    pub(super) fn open(&self, reopen: Arc<AtomicBool>) -> io::Result<Open> {
        Ok(match self {
            // A descriptor of its own: a write that hangs must not hold the lock of `io::stdout`.
            Self::Stdout => Open::Stdout(Sink::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))),
            Self::Journald => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(JOURNAL_SOCKET)?;
                Open::Journald(socket)
            }
            Self::File(path) => Open::Named(Named::open(path.clone(), reopen)?),
        })
    }
}

impl Open {
    /// Writes lines, each with its end.
    ///
    /// # Errors
    /// How many of them could not be written.
    pub(super) fn put(&mut self, text: &[u8]) -> Result<(), u64> {
        match self {
            Self::Stdout(sink) => sink.put(text),
            Self::Journald(socket) => to_journal(socket, text),
            Self::Named(named) => {
                named.look();
                named.sink.put(text)
            }
        }
    }
}

impl Named {
    fn open(path: PathBuf, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        let (file, identity) = append(&path)?;
        Ok(Self { path, sink: Sink::new(file), identity, reopen, is_told: false })
    }

    /// Opens the path anew if somebody asked for that, or it is another file now. The old file stays while the new one
    /// cannot be opened.
    fn look(&mut self) {
        let is_asked = self.reopen.swap(false, Ordering::Relaxed);
        let is_there = fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if is_there && !is_asked {
            return;
        }
        match append(&self.path) {
            Ok((file, identity)) => {
                (self.sink, self.identity, self.is_told) = (Sink::new(file), identity, false);
            }
            Err(error) if !self.is_told => {
                self.is_told = true;
                let path = self.path.display();
                tracing::warn!(
                    "the access log {path} cannot be opened again, lines go to the old file: {error}"
                );
            }
            Err(_) => {}
        }
    }
}

/// The file to append to, readable by its owner and group only: lines tell what people read.
fn append(path: &Path) -> io::Result<(File, (u64, u64))> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let identity = identity(&file.metadata()?);
    Ok((file, identity))
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn to_journal(socket: &UnixDatagram, text: &[u8]) -> Result<(), u64> {
    let (mut entry, mut lost) = (Vec::new(), 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        entry.clear();
        entry.extend_from_slice(JOURNAL_FIELDS.as_bytes());
        entry.extend_from_slice(line);
        // A journald that was restarted has another socket under the name.
        let again = |_| socket.connect(JOURNAL_SOCKET).and_then(|()| socket.send(&entry));
        if socket.send(&entry).or_else(again).is_err() {
            lost += lines(line);
        }
    }
    if lost == 0 { Ok(()) } else { Err(lost) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &Path) -> (Open, Arc<AtomicBool>) {
        let reopen = Arc::new(AtomicBool::new(false));
        (Place::File(path.to_owned()).open(Arc::clone(&reopen)).unwrap(), reopen)
    }

    #[test]
    fn a_file_that_is_renamed_or_removed_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        fs::write(&path, "before\n").unwrap();
        let (mut open, _) = named(&path);
        open.put(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        open.put(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        open.put(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_is_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let (mut open, reopen) = named(&path);
        fs::rename(&path, &old).unwrap();
        // A folder cannot be appended to.
        fs::create_dir(&path).unwrap();
        open.put(b"one\n").unwrap();
        fs::remove_dir(&path).unwrap();
        open.put(b"two\n").unwrap();
        reopen.store(true, Ordering::Relaxed);
        open.put(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\nthree\n");
    }
}
