//! The operator's socket in the file system.
//!
//! It listens as soon as it is bound, and who connects waits: one that does not listen looks like that of a process which has
//! ended, and the next program would take its path.
//!
//! Invariant: nobody but this user and root can connect to it: it has mode 0600 before it listens.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file by which clients find a socket.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(super) path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Removes it, if it still is the one of this socket.
    pub(crate) fn remove(&self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The socket of this path, with as many clients in its queue at most. That of a process which has ended is replaced; that of one which runs is not.
pub(super) fn bind(path: &Path, backlog: libc::c_int) -> io::Result<Local> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    make_way(path)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(backlog)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok(Local { listener: std::os::fd::OwnedFd::from(socket).into(), file })
}

/// Whether a start could listen there: it is done for a moment.
pub(crate) fn trial_of_path(path: &Path) -> Option<ErrorKind> {
    match bind(path, 1) {
        Ok(local) => {
            local.file.remove();
            None
        }
        Err(error) => Some(error.kind()),
    }
}

/// One that was handed over, and listens.
pub(super) fn adopt(listener: UnixListener, path: &Path) -> io::Result<Local> {
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok(Local { listener, file })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
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

    use super::super::bind::bind_local;
    use super::*;

    fn opened(path: &Path) -> Result<Local, String> {
        bind_local("admin.listen", path).map_err(|error| error.to_string())
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
        let (device, inode) = first.file.identity;
        drop(first);
        assert!(path.exists(), "as after a crash");
        let second = opened(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        SocketFile { path: path.clone(), identity: (device, inode + 1) }.remove();
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
}
