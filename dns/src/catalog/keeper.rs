//! Owner and mode of a file that takes the place of another, or is new beside others: they stay as they were. A command that root
//! runs takes no file from the server, which reads them as another user.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Owner, group and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeper {
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
}

impl Keeper {
    /// That of a file; if it is not there, the owner of its folder alone.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(file) => Ok(Self { owner: file.uid(), group: file.gid(), mode: file.mode() & 0o777 }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
                let folder = fs::metadata(folder.unwrap_or(Path::new(".")))?;
                Ok(Self { owner: folder.uid(), group: folder.gid(), mode: 0o600 })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a file for this keeper, or empties it. Nobody else can read it on the way.
    pub(crate) fn create(self, path: &Path) -> io::Result<File> {
        let file = Self::closed(path)?;
        self.take(&file).map_err(|error| {
            let Self { owner, group, .. } = self;
            let why = format!(
                "cannot give it to user {owner} and group {group}: {error}; run this as that user, or as root"
            );
            io::Error::new(error.kind(), why)
        })?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        Ok(file)
    }

    /// As [`Keeper::create`]; of a file that it may not give away, this process is the owner.
    pub(crate) fn create_own(self, path: &Path) -> io::Result<File> {
        let file = Self::closed(path)?;
        match self.take(&file) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => file.set_permissions(Permissions::from_mode(self.mode))?,
        }
        Ok(file)
    }

    fn closed(path: &Path) -> io::Result<File> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    fn take(self, file: &File) -> io::Result<()> {
        let own = file.metadata()?;
        match (own.uid(), own.gid()) == (self.owner, self.group) {
            true => Ok(()),
            false => fchown(file, Some(self.owner), Some(self.group)),
        }
    }
}

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

    #[test]
    fn a_file_that_takes_the_place_of_another_has_its_mode_and_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for mode in [0o640, 0o600, 0o644] {
            fs::write(&old, "").unwrap();
            fs::set_permissions(&old, Permissions::from_mode(mode)).unwrap();
            // Only root can give a file away; for all others its owner stays.
            let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
            if is_root {
                chown(&old, Some(4242), Some(4343)).unwrap();
            }
            let keeper = Keeper::of(&old).unwrap();
            // A file that a run before left may be open to everybody.
            fs::write(&new, "").unwrap();
            fs::set_permissions(&new, Permissions::from_mode(0o666)).unwrap();
            drop(keeper.create(&new).unwrap());
            assert_eq!((Keeper::of(&new).unwrap(), keeper.mode), (keeper, mode));
            assert!(!is_root || (keeper.owner, keeper.group) == (4242, 4343));
            fs::remove_file(&old).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_new_is_its_folders_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::of(&folder.path().join("new")).unwrap();
        let of_folder = fs::metadata(folder.path()).unwrap();
        assert_eq!((keeper.owner, keeper.group, keeper.mode), (of_folder.uid(), of_folder.gid(), 0o600));
    }
}
