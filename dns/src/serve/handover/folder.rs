//! The run folder, where processes meet.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The socket in it.
pub(super) const SOCKET: &str = "handover.sock";

/// Why a process cannot take over, or be taken over.
#[derive(Debug)]
pub enum HandoverError {
    /// The run folder cannot be used.
    Folder(PathBuf, io::Error),
    /// The process before does not hand over.
    Refused(String),
    /// The process before has other listeners: it is not the one that this config was to replace.
    Other(PathBuf),
    /// The conversation broke off.
    Broken(io::Error),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => {
                write!(f, "cannot use the run folder {}: {error} (setting `run_folder`)", path.display())
            }
            Self::Refused(why) => write!(f, "the running process does not hand over: {why}"),
            Self::Other(path) => write!(
                f,
                "the process that runs in {} has none of the addresses of this config; give each server its own \
                 `run_folder`, or stop that process first",
                path.display()
            ),
            Self::Broken(error) => write!(f, "the running process broke off while it handed over: {error}"),
        }
    }
}

impl std::error::Error for HandoverError {}

/// The run folder: as the config says, or the one that systemd has made for this service.
pub(in crate::serve) fn run_folder(configured: Option<&Path>) -> Option<PathBuf> {
    let of_systemd = || {
        let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
        let first = folders.to_str()?.split(':').next().filter(|first| !first.is_empty())?;
        Some(PathBuf::from(first))
    };
    configured.map(Path::to_path_buf).or_else(of_systemd)
}

/// Makes the folder if it is not there, for this user alone.
pub(super) fn prepare(folder: &Path) -> Result<(), HandoverError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| HandoverError::Folder(folder.to_owned(), error))
}
