//! Zone files on disk: which there are, what is in them, whether they changed; `$INCLUDE` stays inside the folder.
//!
//! Invariant: no file is read through `$INCLUDE` whose canonical path lies outside the folder's canonical path (S3).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::expiry;
use super::source::Source;
use crate::name::Name;
use crate::zone::file::{self, Include, NotIncluded, Parsed};
use crate::zone::{Problem, Severity, SourceFile};

/// Files of this name are zones.
pub(super) const SUFFIX: &str = ".zone";
/// A larger file is a mistake: it would hold more than ten million names.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// A file that changed this shortly before it was read may change again without a new time stamp.
const STAMP_DOUBT: Duration = Duration::from_secs(1);

/// A zone file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) source: Source,
    /// Canonical; includes stay in it.
    pub(super) root: PathBuf,
    /// It is a copy of which it is not known yet whether it counts.
    pub(super) waits: bool,
}

/// A zone file that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) content: Content,
    /// It is a copy that may not be served.
    pub(super) is_away: bool,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Where updates are kept beside it.
    journal: Option<PathBuf>,
}

/// The stamp of a file whose text could not be read: what stood in the way may be gone (a descriptor that was missing, a
/// disk that was away) without a change of the file, so it is read again with the next load.
const UNREAD: Option<Stamp> = None;

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// It was read; perhaps with errors.
    Parsed(Box<Parsed>),
    /// Its name is no domain name.
    Nameless(Problem),
}

/// The metadata that tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified_ns: i128,
    changed_ns: i128,
    bytes: u64,
    inode: (u64, u64),
}

/// The folder cannot be read.
#[derive(Debug)]
pub struct FolderError {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot read zone files here: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for FolderError {}

impl FolderError {
    /// There were zone files, and now there is none: more likely a disk that is away than an edit.
    pub(super) fn emptied(paths: &[PathBuf]) -> Self {
        let path = paths.first().cloned().unwrap_or_default();
        let why = "no zone file is left here; put one back, or restart to serve none";
        Self { path, source: io::Error::new(io::ErrorKind::NotFound, why) }
    }
}

/// Every zone file of the folders, and the files themselves, among `paths`; in the order of their names.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<Found>, FolderError> {
    let mut found = Vec::new();
    for path in paths {
        let fault = |source| FolderError { path: path.clone(), source };
        let canonical = fs::canonicalize(path).map_err(fault)?;
        if canonical.is_dir() {
            let mut files = list_folder(path, &canonical).map_err(fault)?;
            files.sort_by(|a, b| a.source.cmp(&b.source));
            found.append(&mut files);
        } else {
            let root = canonical.parent().unwrap_or(Path::new("/")).to_path_buf();
            found.push(Found { source: Source::File(path.clone()), root, waits: false });
        }
    }
    Ok(found)
}

fn list_folder(folder: &Path, root: &Path) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(is_zone_file) {
            let source = Source::File(folder.join(name));
            files.push(Found { source, root: root.to_path_buf(), waits: false });
        }
    }
    Ok(files)
}

/// Whether a file of this name is a zone. A leading dot is an editor's lock or a file that is being written.
pub(super) fn is_zone_file(name: &str) -> bool {
    name.ends_with(SUFFIX) && !name.starts_with('.')
}

/// Whether the file is named after this zone.
pub(super) fn is_named_after(source: &Source, zone: &Name) -> bool {
    match source {
        Source::File(path) => apex(path).is_ok_and(|apex| apex == *zone),
        Source::Copy(copy) => copy.apex == *zone,
    }
}

/// Reads a zone file and what it includes; none if it is gone by now.
pub(super) fn read(found: &Found, now: SystemTime) -> Option<Read> {
    let path = found.source.path();
    let apex = match &found.source {
        Source::File(path) => apex(path),
        Source::Copy(copy) => {
            match found.waits.then(|| expiry::waiting(copy)).or_else(|| expiry::away(copy, now)) {
                Some(problem) => return Some(absent(&found.source, copy.apex.clone(), problem)),
                None => Ok(copy.apex.clone()),
            }
        }
    };
    let mut stamps = vec![(path.to_path_buf(), stamp(path, now))];
    let content = match apex {
        Err(problem) => Content::Nameless(problem),
        Ok(apex) => match read_text(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return None,
            Err(error) => {
                stamps = vec![(path.to_path_buf(), UNREAD)];
                Content::Parsed(Box::new(unreadable(apex, path, &error)))
            }
            Ok(source) => {
                let mut load = |include: Include<'_>| {
                    let (path, stamp, text) = included(&include, &found.root, now);
                    stamps.push((path, stamp));
                    text
                };
                Content::Parsed(Box::new(file::read(apex, source, &mut load)))
            }
        },
    };
    Some(Read { source: found.source.clone(), content, is_away: false, stamps, journal: None })
}

/// A copy that is not served.
fn absent(source: &Source, apex: Name, problem: Problem) -> Read {
    let parsed = Parsed {
        apex,
        zone: None,
        draft: None,
        lacks_soa_only: false,
        files: Vec::new(),
        problems: vec![problem],
    };
    let content = Content::Parsed(Box::new(parsed));
    Read { source: source.clone(), content, is_away: true, stamps: Vec::new(), journal: None }
}

impl Read {
    /// A text that was read elsewhere.
    pub(super) fn of(source: Source, parsed: Parsed) -> Self {
        Self {
            source,
            content: Content::Parsed(Box::new(parsed)),
            is_away: false,
            stamps: Vec::new(),
            journal: None,
        }
    }

    /// It changes when this file does, too, or when it comes or goes.
    pub(super) fn beside(mut self, journal: PathBuf, now: SystemTime) -> Self {
        if journal.exists() {
            self.stamps.push((journal.clone(), stamp(&journal, now)));
        }
        self.journal = Some(journal);
        self
    }

    /// The file and what it includes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.stamps.iter().map(|(path, _)| path.as_path())
    }

    /// Whether none of its files changed since, as far as their time stamps can tell.
    pub(super) fn is_current(&self, now: SystemTime) -> bool {
        if let Source::Copy(copy) = &self.source
            && expiry::away(copy, now).is_some() != self.is_away
        {
            return false;
        }
        let has_journal = |journal: &PathBuf| self.stamps.iter().any(|(path, _)| path == journal);
        if self.journal.as_ref().is_some_and(|journal| journal.exists() != has_journal(journal)) {
            return false;
        }
        self.stamps.iter().all(|(path, then)| then.is_some() && stamp(path, now) == *then)
    }
}

/// `example.com.zone` is example.com.
pub(super) fn apex(path: &Path) -> Result<Name, Problem> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    Name::parse_absolute(stem).map_err(|error| Problem {
        severity: Severity::Error,
        code: "file-name",
        at: None,
        message: format!("{}: the file name is not a zone's name: {error}", path.display()),
        help: Some("name the file after its zone: example.com.zone".to_owned()),
    })
}

/// Reads one file of whatever name as the zone `apex`; includes stay in its folder.
pub(crate) fn parse_file(path: &Path, apex: Name) -> io::Result<Parsed> {
    let canonical = fs::canonicalize(path)?;
    let root = canonical.parent().unwrap_or(Path::new("/"));
    let source = read_text(path)?;
    let mut load = |include: Include<'_>| included(&include, root, SystemTime::UNIX_EPOCH).2;
    Ok(file::read(apex, source, &mut load))
}

fn read_text(path: &Path) -> io::Result<SourceFile> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 GiB"));
    }
    Ok(SourceFile { path: path.to_path_buf(), text: exactly(fs::File::open(path)?, metadata.len())? })
}

/// The whole text, in memory once. A file that grows or shrinks meanwhile is being written, and is read again when that
/// has changed its time stamp.
fn exactly(mut file: impl io::Read, bytes: u64) -> io::Result<Arc<[u8]>> {
    let being_written = || io::Error::other("it is being written");
    let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut text: Arc<[u8]> = std::iter::repeat_n(0, bytes).collect();
    let whole = Arc::get_mut(&mut text).expect("nobody else has it yet");
    file.read_exact(whole).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => being_written(),
        _ => error,
    })?;
    match file.read(&mut [0])? {
        0 => Ok(text),
        _ => Err(being_written()),
    }
}

fn unreadable(apex: Name, path: &Path, error: &io::Error) -> Parsed {
    let problem = Problem {
        severity: Severity::Error,
        code: "unreadable",
        at: None,
        message: match fs::read_link(path) {
            Ok(target) if error.kind() == io::ErrorKind::NotFound => {
                format!("{}: the link leads to {}, where there is no file", path.display(), target.display())
            }
            _ => format!("{}: the file cannot be read: {error}", path.display()),
        },
        help: Some(match error.kind() {
            io::ErrorKind::NotFound => "bring the file back, or remove the link".to_owned(),
            _ => "verge-dns must be allowed to read every zone file".to_owned(),
        }),
    };
    let files = vec![SourceFile { path: path.to_path_buf(), text: Arc::from([]) }];
    Parsed { apex, zone: None, draft: None, lacks_soa_only: false, files, problems: vec![problem] }
}

/// The file that an `$INCLUDE` names, as which it is remembered, and its text.
fn included(
    include: &Include<'_>,
    root: &Path,
    now: SystemTime,
) -> (PathBuf, Option<Stamp>, Result<SourceFile, NotIncluded>) {
    let beside = include.from.parent().unwrap_or(Path::new(""));
    let path = beside.join(include.written);
    let stamp = stamp(&path, now);
    let text = inside(&path, root)
        .and_then(|()| read_text(&path).map_err(|error| NotIncluded(format!("it cannot be read: {error}"))));
    let stamp = if text.is_ok() { stamp } else { UNREAD };
    (path, stamp, text)
}

/// Whether a file lies in `root` after all links are followed.
fn inside(path: &Path, root: &Path) -> Result<(), NotIncluded> {
    let canonical =
        fs::canonicalize(path).map_err(|error| NotIncluded(format!("it cannot be read: {error}")))?;
    match canonical.starts_with(root) {
        true => Ok(()),
        false => Err(NotIncluded(format!("it lies outside the zones folder {}", root.display()))),
    }
}

/// None if the file cannot be seen, or changed so lately that its stamp proves nothing.
fn stamp(path: &Path, now: SystemTime) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let age = now.duration_since(metadata.modified().ok()?).ok()?;
    (age > STAMP_DOUBT).then(|| Stamp {
        modified_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.len(),
        inode: (metadata.dev(), metadata.ino()),
    })
}

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// `files` with their texts, read again where they were let go.
pub(super) fn with_texts(files: &[SourceFile]) -> Vec<SourceFile> {
    files
        .iter()
        .map(|file| match file.text.is_empty() {
            true => read_text(&file.path).unwrap_or_else(|_| file.clone()),
            false => file.clone(),
        })
        .collect()
}

/// The members of `files` that every user of this machine can read (S3).
pub(super) fn world_readable(files: &[SourceFile]) -> Vec<&Path> {
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0);
    files.iter().map(|file| file.path.as_path()).filter(|path| is_open(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_believed_only_when_the_file_had_rested() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.example.zone");
        fs::write(&path, "1").unwrap();
        let found =
            Found { source: Source::File(path.clone()), root: folder.path().to_path_buf(), waits: false };
        let now = crate::clock::system_now();
        let later = now + STAMP_DOUBT * 10;

        let fresh = read(&found, now).unwrap();
        assert!(!fresh.is_current(later), "it was written when it was read");
        let rested = read(&found, later).unwrap();
        assert!(rested.is_current(later));
        fs::write(&path, "22").unwrap();
        assert!(!rested.is_current(later), "it was written since");
        fs::remove_file(&path).unwrap();
        assert!(!rested.is_current(later), "it is gone");
        assert!(read(&found, later).is_none());
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        assert_eq!(&*exactly(&b"abc"[..], 3).unwrap(), b"abc");
        for bytes in [2, 4] {
            assert_eq!(exactly(&b"abc"[..], bytes).unwrap_err().to_string(), "it is being written");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.example.zone");
        fs::create_dir(&path).unwrap();
        let found = Found { source: Source::File(path), root: folder.path().to_path_buf(), waits: false };
        let read = read(&found, crate::clock::system_now()).unwrap();
        let Content::Parsed(parsed) = read.content else { panic!("the name is good") };
        assert_eq!(parsed.problems[0].code, "unreadable");
    }

    /// A folder in a file's place fails as a disk or a missing descriptor would: it is there, and cannot be read.
    #[test]
    fn what_could_not_be_read_is_read_again_though_it_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let [main, part] = ["a.example.zone", "part"].map(|name| folder.path().join(name));
        let found = Found { source: Source::File(main.clone()), root, waits: false };
        let later = crate::clock::system_now() + STAMP_DOUBT * 10;
        let is_current = || read(&found, later).unwrap().is_current(later);
        fs::create_dir(&main).unwrap();
        assert!(!is_current(), "the zone file");
        fs::remove_dir(&main).unwrap();
        fs::write(&main, "$INCLUDE part\n").unwrap();
        assert!(!is_current(), "there is nothing to include");
        fs::create_dir(&part).unwrap();
        assert!(!is_current(), "what is to be included");
        fs::remove_dir(&part).unwrap();
        fs::write(&part, "x 60 A 192.0.2.1\n").unwrap();
        assert!(is_current(), "all was read");
    }
}
