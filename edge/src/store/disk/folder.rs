//! The folder of a disk: who may use it, and the names in it.
//!
//! ```text
//! lock · identity · journal · 0…f / 00…ff / NUMBER   (NUMBER.part while it is written; confirmed since: NUMBER.head
//! and NUMBER.head2, by turns)
//! ```
//!
//! Invariant: what this program did not name is neither opened nor removed, and no link is followed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::journal::VERSION;
use super::record::{Identity, RECORD_BYTES, Record, decode, encode};

/// A folder that nobody else uses, as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked.
    lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another edge uses it, which has this identity.
    InUse(Option<Identity>),
    /// Another version of this program made it.
    Foreign(u32),
    /// It holds things, and none is this program's.
    Others,
    /// The system's error.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(_) => f.write_str("another verge-edge uses the folder: give each its own"),
            Self::Foreign(version) => write!(
                f,
                "another version of verge-edge wrote the folder (format {version}, this one has {VERSION}): empty it, or name another"
            ),
            Self::Others => {
                f.write_str("the folder holds files that are not verge-edge's: empty it, or name another")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// At the top of a file system of its own.
const OF_FILE_SYSTEM: &str = "lost+found";
const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const JOURNAL: &str = "journal";
/// Of dictionaries, which lie beside what a disk holds (`flight::dictionaries`).
const TEXTS: &str = "dictionaries";
const NEW: &str = ".new";
const PART: &str = ".part";
/// One of them counts while the other is written: those of even editions, and of odd ones. Earlier versions knew the second
/// alone, without editions.
const CONFIRMED: [&str; 2] = [".head2", ".head"];
/// A key, a head and what is round them.
const MOST_CONFIRMED_BYTES: u64 = 6 << 20;

impl Folder {
    /// Makes the folder where it is missing, takes it, and tells whose it was.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Identity>), Trouble> {
        make(path)?;
        let names = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        let is_new = names.iter().all(|name| name == OF_FILE_SYSTEM);
        // Somebody emptied it while an edge used it, or began to.
        let is_ours = names.iter().all(|name| name.to_str().is_some_and(is_own_name));
        let is_free = is_ours && names.iter().all(|name| name != LOCK);
        let mut options = options();
        let lock = options.read(true).write(true).create(is_free).open(path.join(LOCK));
        let lock = match lock {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Trouble::Others),
            other => other?,
        };
        let folder = Self { path: path.to_owned(), lock };
        match folder.lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Trouble::InUse(folder.identity()?)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        // A crash while the edge made one left them.
        for name in [JOURNAL, IDENTITY] {
            drop(fs::remove_file(path.join([name, NEW].concat())));
        }
        let identity = folder.identity()?;
        if is_free && !is_new {
            folder.distrust()?;
        }
        // The numbers of its files may be those that this edge will give.
        if identity.is_none() && !is_new {
            folder.sweep(u64::MAX, |_| false).into_result()?;
        }
        Ok((folder, identity))
    }

    /// Frees it for another edge, also while others still hold this.
    pub(super) fn unlock(&self) {
        // One that cannot be unlocked is freed with the last holder.
        let _ = self.lock.unlock();
    }

    /// None if it has none that can be read: then nothing in it is trusted.
    fn identity(&self) -> Result<Option<Identity>, Trouble> {
        let mut bytes = [0; RECORD_BYTES];
        let read =
            options().read(true).open(self.path.join(IDENTITY)).and_then(|mut it| it.read_exact(&mut bytes));
        match read {
            Ok(()) => {}
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof].contains(&error.kind()) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        match decode(&bytes, 0) {
            Some(Record::Begin(identity)) if identity.version == VERSION => Ok(Some(identity)),
            Some(Record::Begin(identity)) => Err(Trouble::Foreign(identity.version)),
            _ => Ok(None),
        }
    }

    /// Writes whose it is; in its place, so that a disk that is full takes it.
    pub(super) fn identify(&self, identity: Identity) -> io::Result<()> {
        let (name, bytes) = (self.path.join(IDENTITY), encode(&Record::Begin(identity), 0));
        match options().write(true).open(&name) {
            // It lies within a sector. One that is torn all the same is none, and then nothing in the folder is trusted.
            Ok(file) => {
                file.write_all_at(&bytes, 0)?;
                file.sync_data()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = self.path.join([IDENTITY, NEW].concat());
                let mut file = options().write(true).create(true).truncate(true).open(&new)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(new, name)?;
                self.sync()
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the folder of this name is still the one that was opened.
    pub(super) fn is_there(&self) -> bool {
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (Ok(own), Ok(named)) = (self.lock.metadata(), fs::symlink_metadata(self.path.join(LOCK))) else {
            return false;
        };
        place(own) == place(named)
    }

    pub(super) fn open_journal(&self) -> io::Result<File> {
        options().read(true).append(true).open(self.path.join(JOURNAL))
    }

    pub(super) fn new_journal(&self) -> io::Result<File> {
        let name = self.path.join([JOURNAL, NEW].concat());
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        options().append(true).create_new(true).open(name)
    }

    /// Puts the new journal, which was synced, in the old one's place.
    pub(super) fn replace_journal(&self) -> io::Result<()> {
        fs::rename(self.path.join([JOURNAL, NEW].concat()), self.path.join(JOURNAL))?;
        self.sync()
    }

    /// Without a journal nothing in the folder is trusted any more.
    pub(super) fn distrust(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(JOURNAL)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// A file of this number to write, under a name that nobody looks for.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        let name = self.part(number);
        let open = || options().read(true).write(true).create(true).truncate(true).open(&name);
        match open() {
            // Nor is a folder filled again whose lock and journal are gone: nobody would trust what is in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_there() => {
                let below = name.parent().expect("two folders are above it");
                make(below.parent().expect("two folders are above it"))?;
                make(below)?;
                open()
            }
            other => other,
        }
    }

    /// Gives what was created its name.
    pub(super) fn publish(&self, number: u64) -> io::Result<()> {
        fs::rename(self.part(number), self.name(number))
    }

    /// Removes what was created and is not complete.
    pub(super) fn discard(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.part(number))
    }

    pub(super) fn read(&self, number: u64) -> io::Result<File> {
        options().read(true).open(self.name(number))
    }

    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.name(number))
    }

    /// The head of this edition that the origin confirmed after a file was written, or one that was written over it since.
    pub(super) fn read_confirmed(&self, number: u64, edition: u16) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = options().read(true).open(self.confirmed(number, edition))?;
        file.take(MOST_CONFIRMED_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts this beside a file, as this edition of its head. Another one may be written at once.
    pub(super) fn confirm(&self, number: u64, edition: u16, bytes: &[u8]) -> io::Result<()> {
        let new = self.beside(number, &format!(".{edition}{PART}"));
        let mut file = options().write(true).create(true).truncate(true).open(&new)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, self.confirmed(number, edition)));
        written.inspect_err(|_| drop(fs::remove_file(&new)))
    }

    /// Removes what [`Folder::confirm`] put there, as far as there is something: few files have such heads. A sweep removes
    /// those that cannot be removed now.
    pub(super) fn remove_confirmed(&self, number: u64) {
        CONFIRMED.iter().for_each(|suffix| drop(fs::remove_file(self.beside(number, suffix))));
    }

    fn confirmed(&self, number: u64, edition: u16) -> PathBuf {
        self.beside(number, CONFIRMED[usize::from(edition == 0 || edition % 2 == 1)])
    }

    fn name(&self, number: u64) -> PathBuf {
        self.path.join(format!("{:x}/{:02x}/{number:016x}", number % 16, number / 16 % 256))
    }

    fn part(&self, number: u64) -> PathBuf {
        self.beside(number, PART)
    }

    fn beside(&self, number: u64, suffix: &str) -> PathBuf {
        self.path.join(format!("{:x}/{:02x}/{number:016x}{suffix}", number % 16, number / 16 % 256))
    }

    /// Removes the files with numbers below this that `is_held` does not know, and what was never complete. One that cannot be
    /// removed does not keep the others.
    pub(super) fn sweep(&self, below: u64, is_held: impl Fn(u64) -> bool) -> Swept {
        let mut swept = Swept::default();
        for folder in (0..16).flat_map(|upper| (0..256).map(move |lower| format!("{upper:x}/{lower:02x}"))) {
            match fs::read_dir(self.path.join(folder)) {
                Ok(entries) => entries.for_each(|entry| {
                    swept.note(entry.and_then(|entry| {
                        let name = entry.file_name();
                        let named = name.to_str().and_then(number_of);
                        let goes = |(number, is_part)| number < below && (is_part || !is_held(number));
                        if !named.is_some_and(goes) {
                            return Ok(false);
                        }
                        fs::remove_file(entry.path()).map(|()| true)
                    }));
                }),
                Err(error) => swept.note(Err(error)),
            }
        }
        swept
    }

    /// Waits until a file that has its name, and its name, outlive a crash of the machine.
    pub(super) fn sync_file(&self, number: u64) -> io::Result<()> {
        let name = self.name(number);
        File::open(&name)?.sync_data()?;
        for above in name.ancestors().skip(1).take(3) {
            File::open(above)?.sync_all()?;
        }
        Ok(())
    }
}

/// The files that a sweep removed.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) files: usize,
    /// Why others are still there, of the first of them.
    pub(super) error: Option<io::Error>,
}

impl Swept {
    fn note(&mut self, done: io::Result<bool>) {
        match done {
            Ok(is_removed) => self.files += usize::from(is_removed),
            // Its folder was never made, or somebody else has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = self.error.get_or_insert(error),
        }
    }

    /// The number of files, where nothing is left.
    pub(super) fn into_result(self) -> io::Result<usize> {
        self.error.map_or(Ok(self.files), Err)
    }
}

/// Whether an edge may have given it to something in a disk's folder.
fn is_own_name(name: &str) -> bool {
    let is_digit = name.len() == 1 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_file = |own: &str| name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest == NEW);
    is_digit || is_file(JOURNAL) || is_file(IDENTITY) || [LOCK, TEXTS, OF_FILE_SYSTEM].contains(&name)
}

/// Makes a folder, if it is missing.
fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The number in a name, and whether its file is not complete.
fn number_of(name: &str) -> Option<(u64, bool)> {
    let (digits, suffix) = name.split_at(name.find('.').unwrap_or(name.len()));
    let edition = suffix.strip_suffix(PART).and_then(|rest| rest.strip_prefix('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_part = suffix == PART || edition.is_some_and(is_number);
    let is_ours = is_part || suffix.is_empty() || CONFIRMED.contains(&suffix);
    let is_ours = is_ours
        && digits.len() == 16
        && digits.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(|number| (number, is_part))
}

/// For this user alone, and through no link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}
