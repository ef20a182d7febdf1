//! The run folder, where processes meet.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
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
    /// The conversation broke off.
    Broken(io::Error),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => {
                write!(f, "cannot use the run folder {}: {error} (`run_folder`)", path.display())
            }
            Self::Refused(why) => write!(f, "the running process does not hand over: {why}"),
            Self::Broken(error) => write!(f, "the running process broke off while it handed over: {error}"),
        }
    }
}

impl std::error::Error for HandoverError {}

/// Makes the folder if it is not there, for this user alone.
pub(super) fn prepare(folder: &Path) -> Result<(), HandoverError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| HandoverError::Folder(folder.to_owned(), error))
}
