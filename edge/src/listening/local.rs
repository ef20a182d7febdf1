//! The operator's socket in the file system: handed over, of systemd, or bound anew.
//!
//! Invariant: nobody but this user and root can connect to one that was bound here: it has mode 0600 before it listens.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::sockets::Pool;
use super::start_error::StartError;
use crate::handover::Listener;
use crate::serve::BACKLOG;

/// A socket that listens, and its file.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
    /// For the process that takes over.
    pub(super) copy: OwnedFd,
}

/// The file by which clients find a socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) path: PathBuf,
    /// Device and inode; none: it is systemd's.
    own: Option<(u64, u64)>,
    /// Whether another process may have the socket, too.
    is_shared: AtomicBool,
}

impl SocketFile {
    /// The listener that a process which takes over has it for. From now on the file stays.
    pub(super) fn handed(&self) -> Listener {
        self.is_shared.store(true, Ordering::Relaxed);
        Listener::Path { is_of_systemd: self.own.is_none() }
    }

    /// Removes it, if it still is the one of this socket and not systemd's. It stays where another process may have the socket:
    /// that one may go on alone, and is found by it. One that nobody listens behind is replaced at the next start.
    pub(super) fn remove(&self) {
        let is_shared = self.is_shared.load(Ordering::Relaxed);
        if !is_shared && self.own.is_some() && identity(&self.path).ok() == self.own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The socket of this path. That of a process which has ended is replaced; that of one which runs is not.
pub(super) fn local(pool: &Pool, path: &Path) -> Result<Local, StartError> {
    open(pool, path).map_err(|error| StartError::Socket { path: path.to_owned(), error })
}

fn open(pool: &Pool, path: &Path) -> io::Result<Local> {
    let handed = pool.take_path(|handed| is_at(&handed.socket, path));
    // Nobody can reach a socket whose file is gone.
    let (socket, is_own) = match handed.filter(|_| path.exists()) {
        Some(handed) => {
            let is_own = handed.listener != Listener::Path { is_of_systemd: true };
            (Socket::from(handed.socket), is_own)
        }
        None => (bind(path)?, true),
    };
    socket.set_nonblocking(true)?;
    let copy = socket.try_clone()?.into();
    let own = is_own.then(|| identity(path)).transpose()?;
    let file = SocketFile { path: path.to_owned(), own, is_shared: AtomicBool::new(false) };
    Ok(Local { listener: OwnedFd::from(socket).into(), file, copy })
}

/// Whether a start could listen there: it is done for a moment.
#[must_use]
pub fn trial_of_path(path: &Path) -> Option<ErrorKind> {
    match open(&Pool::default(), path) {
        Ok(local) => {
            local.file.remove();
            None
        }
        Err(error) => Some(error.kind()),
    }
}

fn is_at(socket: &impl AsFd, path: &Path) -> bool {
    let address = SockRef::from(socket).local_addr();
    address.is_ok_and(|address| address.as_pathname() == Some(path))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

fn bind(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    make_way(path)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(i32::from(BACKLOG))?;
    Ok(socket)
}

/// Removes the file of a process that has ended.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    let knock = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full would let a caller wait that may.
    knock.set_nonblocking(true)?;
    match knock.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::handover::Handed;

    fn opened(path: &Path) -> Result<Local, String> {
        local(&Pool::default(), path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_socket_is_for_this_user_and_a_dead_ones_file_is_replaced_and_a_live_ones_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = opened(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let error = opened(&path).unwrap_err();
        assert!(error.contains("a running program answers there"), "{error}");
        let dead = first.file.own;
        drop(first);
        assert!(path.exists(), "as after a crash");
        let second = opened(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        let own = dead.map(|(device, inode)| (device, inode + 1));
        SocketFile { path: path.clone(), own, is_shared: AtomicBool::new(false) }.remove();
        assert!(path.exists(), "it is another's");
        second.file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_cannot_be_bound_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.txt");
        fs::write(&path, "mine").unwrap();
        let error = opened(&path).unwrap_err();
        assert!(error.contains("is no socket") && error.contains("`admin.listen`"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let error = opened(&folder.path().join("none/admin.sock")).unwrap_err();
        assert!(error.contains("its folder is not there"), "{error}");
    }

    #[test]
    fn a_socket_that_was_handed_over_goes_on_and_one_of_systemd_keeps_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        for is_of_systemd in [false, true] {
            let before = opened(&path).unwrap();
            let waiting = UnixStream::connect(&path).unwrap();
            let listener = Listener::Path { is_of_systemd };
            let handed = Handed { listener, socket: before.copy, channels: Vec::new() };
            let pool = Pool::new(vec![handed]);
            let after = local(&pool, &path).unwrap();
            drop(before.listener);
            after.listener.set_nonblocking(false).unwrap();
            after.listener.accept().unwrap();
            drop(waiting);
            after.file.remove();
            assert_eq!(path.exists(), is_of_systemd);
            assert_eq!(after.file.handed(), listener, "the process after next knows it, too");
        }
    }

    #[test]
    fn a_file_stays_where_another_process_may_have_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let Local { listener, file, copy } = opened(&path).unwrap();
        let pool = Pool::new(vec![Handed { listener: file.handed(), socket: copy, channels: Vec::new() }]);
        // Told to end while the other has not said yet that it is ready.
        file.remove();
        drop(listener);
        let heir = local(&pool, &path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop((heir, pool));
        assert!(path.exists(), "nobody listens behind it");
        let _next = opened(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }
}
