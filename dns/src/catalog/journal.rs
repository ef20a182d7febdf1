//! The journal of a zone's updates: in the folder `updates` of the state folder, a file of lines for each zone.
//!
//! ```text
//! add _acme-challenge.example.com. 60 IN TXT "token"
//! add printer.example.com. 60 IN A 203.0.113.7 ; verge: internal
//! commit 1764390000 mirror. 5f0c…       (the SHA-256 of the lines since the commit before)
//! ```
//!
//! Lines without a commit behind them are those of an update that nobody was told of: they do not count, and go with the next
//! one. A writer holds the file's lock, so that `verge-dns fold` and a server do not write at once.
//!
//! Invariant: what is committed is on the disk before anybody is told.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::expiry::stem;
use super::keeper;
use crate::name::Name;
use crate::rtype::Type;
use crate::transfer::record;
use crate::update::{Overlay, Step};
use crate::zone::text::{encoding, read_rdata, write_record};
use crate::zone::{Mark, Marks, Position, Record};

/// A longer journal is none of ours, or should have been folded long ago.
const MOST_BYTES: u64 = 64 << 20;
/// Beyond this, a journal that is mostly history is written anew.
const MOST_HISTORY_BYTES: u64 = 1 << 20;
const COMMIT: &str = "commit ";

/// The journal of a zone in this folder.
pub(crate) fn path(folder: &Path, apex: &Name) -> PathBuf {
    folder.join(format!("{}.journal", stem(apex)))
}

/// A journal that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) overlay: Overlay,
    /// Bytes up to the last commit.
    committed_bytes: u64,
    /// The text behind the last commit is not only the beginning of an update.
    pub(crate) is_damaged: bool,
}

/// Reads a journal; with `pending`, also the lines behind the last commit. None if there is none.
pub(crate) fn read(path: &Path, pending: bool) -> io::Result<Option<Held>> {
    match File::open(path) {
        Ok(mut file) => read_from(&mut file, pending).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn read_from(file: &mut File, pending: bool) -> io::Result<Held> {
    if file.metadata()?.len() > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the journal has more than 64 MiB; fold it"));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    // A line that is no text is as good as none.
    let text = String::from_utf8_lossy(&bytes);
    Ok(parse(&text, pending))
}

fn parse(text: &str, pending: bool) -> Held {
    let mut held = Held::default();
    let (mut steps, mut since, mut at) = (Vec::new(), 0, 0);
    let mut is_torn = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let line_at = at;
        at += line.len();
        let Some(whole) = line.strip_suffix('\n') else { break };
        if whole.starts_with('#') || whole.is_empty() {
            continue;
        }
        if let Some(rest) = whole.strip_prefix(COMMIT) {
            let is_right = rest.rsplit(' ').next() == Some(&*checksum(&text[since..line_at]));
            if is_right && !is_torn {
                std::mem::take(&mut steps).into_iter().for_each(|step| held.overlay.take(step));
                held.committed_bytes = at as u64;
            } else {
                held.is_damaged = true;
            }
            since = at;
            continue;
        }
        match step(whole, number + 1) {
            Some(step) => steps.push(step),
            None => is_torn = true,
        }
    }
    if pending && !is_torn {
        steps.into_iter().for_each(|step| held.overlay.take(step));
    }
    held
}

/// `add OWNER TTL IN TYPE RDATA`, and marks.
fn step(line: &str, number: usize) -> Option<Step> {
    let (line, marks) = marks(line);
    let (word, written) = line.split_once(' ')?;
    let mut words = written.splitn(5, ' ');
    let owner = Name::parse_absolute(words.next()?).ok()?;
    let ttl = words.next()?.parse().ok()?;
    let rtype: Type = words.nth(1)?.parse().ok()?;
    let rdata = read_rdata(rtype, words.next()?, &Name::root()).ok()?;
    let column = u32::try_from(word.len() + 2).ok()?;
    let width = u32::try_from(written.chars().count()).ok()?;
    let at = Position { file: 0, line: u32::try_from(number).ok()?, column, width };
    let Marks { seen_by: mark, steer } = marks;
    Step::of(word, Record { at, mark, steer, ..record(owner, rtype, ttl, rdata.into()) })
}

/// The marks at the end of a line. No RDATA ends like one: a text in it ends with a quote, and a name has no blank.
fn marks(line: &str) -> (&str, Marks) {
    let all = Mark::ALL.map(|mark| Marks { seen_by: Some(mark), steer: false });
    let steer = Marks { seen_by: None, steer: true };
    let (mut rest, mut found) = (line, Marks::default());
    while let Some((before, marks)) = all
        .iter()
        .chain([&steer])
        .find_map(|marks| rest.strip_suffix(&marks.to_string()).map(|before| (before, *marks)))
        && let Some(both) = found.and(marks)
    {
        (rest, found) = (before, both);
    }
    (rest, found)
}

fn line(step: &Step, out: &mut String) {
    let (word, record) = step.parts();
    write!(out, "{word} ")
        .and_then(|()| write_record(&record.owner, record.ttl, record.rtype, &record.rdata, out))
        .and_then(|()| writeln!(out, "{}", record.marks()))
        .expect("a String takes any text");
}

fn checksum(text: &str) -> String {
    let mut out = String::new();
    let sum = digest(&SHA256, text.as_bytes());
    encoding::write_hex(&sum.as_ref()[..16], &mut out).expect("a String takes any text");
    out
}

fn commit(lines: &str, key: &Name, now: u64) -> String {
    format!("{COMMIT}{now} {key} {}\n", checksum(lines))
}

/// A journal that is being written: locked until it is dropped.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    pub(crate) held: Held,
    pending: String,
}

impl Journal {
    /// Opens the journal of a zone, or makes one, and waits for its lock.
    pub(crate) fn open(folder: &Path, apex: &Name) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = path(folder, apex);
        loop {
            // It may hold names of the inside.
            let options = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path);
            let mut file = options?;
            keeper::give(&file, folder)?;
            file.lock()?;
            // Another writer may have put a new file in place while we waited.
            if is_same_file(&file, &path) {
                let held = read_from(&mut file, false)?;
                let journal = Self { path, file, held, pending: String::new() };
                if journal.held.committed_bytes == 0 {
                    File::open(folder)?.sync_all()?;
                }
                return Ok(journal);
            }
        }
    }

    /// Writes the lines of an update, which do not count yet.
    pub(crate) fn write(&mut self, steps: &[Step]) -> io::Result<()> {
        // Lines without a commit go.
        self.cut()?;
        steps.iter().for_each(|step| line(step, &mut self.pending));
        self.file.write_all(self.pending.as_bytes())
    }

    /// Makes them count: when this returns, they are on the disk.
    pub(crate) fn commit(&mut self, key: &Name, now: u64) -> io::Result<()> {
        let commit = commit(&self.pending, key, now);
        self.file.write_all(commit.as_bytes())?;
        self.file.sync_all()?;
        self.held.committed_bytes += (self.pending.len() + commit.len()) as u64;
        self.pending.clear();
        Ok(())
    }

    /// Takes back what is not committed.
    pub(crate) fn cut(&mut self) -> io::Result<()> {
        self.pending.clear();
        self.file.set_len(self.held.committed_bytes)?;
        self.file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// Writes the journal anew if most of it is history: the file then says what lies over the zone file and no more.
    pub(crate) fn tidy(&mut self, overlay: &Overlay, key: &Name, now: u64) -> io::Result<()> {
        let mut lines = String::new();
        overlay.added.iter().for_each(|record| line(&Step::Add(record.clone()), &mut lines));
        overlay.hidden.iter().for_each(|record| line(&Step::Hide(record.clone()), &mut lines));
        if self.held.committed_bytes < MOST_HISTORY_BYTES.max(4 * lines.len() as u64) {
            return Ok(());
        }
        self.replace(&lines, key, now)
    }

    /// Empties it, once all that it says stands in the zone file.
    pub(crate) fn fold(&mut self, left: &Overlay, key: &Name, now: u64) -> io::Result<()> {
        let mut lines = String::new();
        left.added.iter().for_each(|record| line(&Step::Add(record.clone()), &mut lines));
        left.hidden.iter().for_each(|record| line(&Step::Hide(record.clone()), &mut lines));
        self.replace(&lines, key, now)
    }

    fn replace(&mut self, lines: &str, key: &Name, now: u64) -> io::Result<()> {
        let beside = self.path.with_extension("journal.new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        if let Some(folder) = self.path.parent() {
            keeper::give(&file, folder)?;
        }
        if !lines.is_empty() {
            file.write_all(lines.as_bytes())?;
            file.write_all(commit(lines, key, now).as_bytes())?;
        }
        file.sync_all()?;
        file.lock()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let held = read_from(&mut file, false)?;
        (self.file, self.held) = (file, held);
        Ok(())
    }
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(id) == fs::metadata(path).ok().map(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn text(owner: &str, text: &str) -> Record {
        let rdata = [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        record(name(owner), Type::TXT, 60, rdata.into())
    }

    fn owners(held: &Held) -> Vec<String> {
        held.overlay.added.iter().map(|record| record.owner.to_string()).collect()
    }

    fn add(folder: &Path, owner: &str, commits: bool) {
        let mut journal = Journal::open(folder, &name("ex")).unwrap();
        journal.write(&[Step::Add(text(owner, "a \"quoted\" ; text"))]).unwrap();
        if commits {
            journal.commit(&name("k"), 1).unwrap();
        }
    }

    #[test]
    fn what_is_committed_is_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), &name("ex"));
        assert!(read(&path, false).unwrap().is_none());
        add(folder.path(), "a.ex", true);
        add(folder.path(), "b.ex", false);
        assert_eq!(owners(&read(&path, false).unwrap().unwrap()), ["a.ex."]);
        assert_eq!(owners(&read(&path, true).unwrap().unwrap()), ["a.ex.", "b.ex."]);
        add(folder.path(), "c.ex", true);
        let held = read(&path, true).unwrap().unwrap();
        assert_eq!((owners(&held), held.is_damaged), (vec!["a.ex.".to_owned(), "c.ex.".to_owned()], false));
        assert_eq!(held.overlay.added[0].rdata, text("a.ex", "a \"quoted\" ; text").rdata);
    }

    #[test]
    fn marks_are_kept_with_their_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), &name("ex"));
        let marks = [None, Some(Mark::Internal), Some(Mark::Outside), Some(Mark::Public), Some(Mark::Both)];
        let all: Vec<Record> = marks
            .iter()
            .flat_map(|mark| [false, true].map(|steer| (*mark, steer)))
            .enumerate()
            .map(|(at, (mark, steer))| Record {
                mark,
                steer,
                ..text(&format!("a{at}.ex"), "x ; verge: public")
            })
            .collect();
        let mut journal = Journal::open(folder.path(), &name("ex")).unwrap();
        journal.write(&all.iter().cloned().map(Step::Add).collect::<Vec<_>>()).unwrap();
        journal.commit(&name("k"), 1).unwrap();
        let held = read(&path, false).unwrap().unwrap();
        let placeless = |record: &Record| Record { at: Position::default(), ..record.clone() };
        assert_eq!(
            held.overlay.added.iter().map(placeless).collect::<Vec<_>>(),
            all.iter().map(placeless).collect::<Vec<_>>()
        );
    }

    /// As a crash may leave it: whatever was written last may be there in part.
    #[test]
    fn a_journal_that_breaks_off_anywhere_holds_all_that_was_committed_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), &name("ex"));
        add(folder.path(), "a.ex", true);
        let first = fs::read(&path).unwrap();
        add(folder.path(), "b.ex", true);
        let both = fs::read(&path).unwrap();
        for bytes in first.len()..both.len() {
            fs::write(&path, &both[..bytes]).unwrap();
            let held = read(&path, false).unwrap().unwrap();
            assert_eq!((owners(&held), held.is_damaged), (vec!["a.ex.".to_owned()], false), "{bytes}");
        }
        add(folder.path(), "c.ex", true);
        assert_eq!(owners(&read(&path, false).unwrap().unwrap()), ["a.ex.", "c.ex."]);
    }

    #[test]
    fn a_letter_that_was_changed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), &name("ex"));
        add(folder.path(), "a.ex", true);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("quoted", "quotes")).unwrap();
        let held = read(&path, false).unwrap().unwrap();
        assert_eq!((owners(&held), held.is_damaged), (vec![], true));
    }

    #[test]
    fn history_goes_when_it_is_most_of_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &name("ex")).unwrap();
        let long = text("a.ex", &"x".repeat(250));
        let mut overlay = Overlay::default();
        for _ in 0..3000 {
            for step in [Step::Add(long.clone()), Step::Drop(long.clone())] {
                journal.write(std::slice::from_ref(&step)).unwrap();
                journal.pending_is_committed_for_test();
                overlay.take(step);
            }
        }
        overlay.take(Step::Hide(text("b.ex", "y")));
        journal.tidy(&overlay, &name("k"), 1).unwrap();
        let path = path(folder.path(), &name("ex"));
        assert!(fs::metadata(&path).unwrap().len() < 1000);
        assert_eq!(read(&path, false).unwrap().unwrap().overlay.hidden.len(), 1);
        journal.write(&[Step::Add(text("c.ex", "z"))]).unwrap();
        journal.commit(&name("k"), 2).unwrap();
        assert_eq!(owners(&read(&path, false).unwrap().unwrap()), ["c.ex."]);
    }

    impl Journal {
        /// As [`Journal::commit`], without waiting for the disk six thousand times.
        fn pending_is_committed_for_test(&mut self) {
            let commit = commit(&self.pending, &name("k"), 1);
            self.file.write_all(commit.as_bytes()).unwrap();
            self.held.committed_bytes += (self.pending.len() + commit.len()) as u64;
            self.pending.clear();
        }
    }

    #[test]
    fn the_server_may_write_a_journal_that_root_has_folded() {
        let Some(folder) = keeper::tests::of_another() else { return };
        let zone = name("ex");
        let mut journal = Journal::open(folder.path(), &zone).unwrap();
        assert!(keeper::tests::is_theirs(&path(folder.path(), &zone)));
        journal.fold(&Overlay::default(), &zone, 1).unwrap();
        assert!(keeper::tests::is_theirs(&path(folder.path(), &zone)));
    }
}
