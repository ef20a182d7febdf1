//! The owner of files that a command makes for the server: root may run it, and the server as another user must read them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

/// Gives a new file to the owner of its folder or of the file before it, if this process may; else it stays its own.
pub(crate) fn give(file: &File, like: &Path) -> io::Result<()> {
    let (like, own) = (fs::metadata(like)?, file.metadata()?);
    if own.uid() == like.uid() {
        return Ok(());
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    const NOBODY: u32 = 65_534;

    /// A folder of another user; none if this process may not give it away.
    pub(in crate::catalog) fn of_another() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).is_ok().then_some(folder)
    }

    pub(in crate::catalog) fn is_theirs(path: &Path) -> bool {
        fs::metadata(path).unwrap().uid() == NOBODY
    }

    #[test]
    fn a_file_belongs_to_the_owner_of_its_folder() {
        let folder = of_another();
        for (folder, expected) in
            [(folder.as_ref().map(tempfile::TempDir::path), true), (Some(Path::new("/")), false)]
        {
            let Some(folder) = folder else { continue };
            let file = tempfile::NamedTempFile::new().unwrap();
            give(file.as_file(), folder).unwrap();
            assert_eq!(is_theirs(file.path()), expected, "{}", folder.display());
        }
    }
}
