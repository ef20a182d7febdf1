//! Texts in files beside what a disk holds: browsers keep what they have for longer than a process lives.
//!
//! ```text
//! dictionaries / NAME: scheme, host and port · a zero byte · the text      NAME: SHA-256 of the first two and the text's SHA-256
//! ```
//!
//! A thread of its own writes, so that nobody waits for a disk. The files are those of the texts that are held, no more.
//!
//! Invariant: a text is read back only if it is the one that its file's name stands for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Dictionaries, MOST_TEXT, text};
use crate::clock::Clock;
use crate::policy::dictionary::Hash;

/// A text of an origin.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) origin: Arc<str>,
    pub(super) hash: Hash,
    pub(super) bytes: Bytes,
}

#[derive(Debug)]
enum Order {
    Keep(Text),
    Forget(Arc<str>, Hash),
    /// The thread compares its files with what is held.
    Compare,
}

/// The way to the thread that has the files; none without a disk.
#[derive(Debug, Default)]
pub(super) struct Kept(Option<Way>);

#[derive(Debug)]
struct Way {
    orders: SyncSender<Order>,
    /// An order was lost: the files are to be compared with what is held.
    is_lost: Arc<AtomicBool>,
}

const FOLDER: &str = "dictionaries";
const PART: &str = ".part";
/// Orders beyond these are lost, and made up for.
const MOST_WAITING: usize = 16;
/// How often the beginning waits for what the thread serves.
const LOOK_SOON: Duration = Duration::from_millis(1);
/// How often a disk is looked for that is not there at the start.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Scheme, host and port.
const MOST_ORIGIN_BYTES: u64 = 1 << 10;

impl Kept {
    /// Reads what was kept once a disk's folder is there, and keeps what comes from then on.
    pub(super) fn begin(
        of: Weak<Dictionaries>,
        folder: impl Fn() -> Option<PathBuf> + Send + 'static,
    ) -> Self {
        let (to, orders) = sync_channel(MOST_WAITING);
        let way = Way { orders: to, is_lost: Arc::default() };
        let keeper = Keeper { of, folder, is_lost: Arc::clone(&way.is_lost) };
        let thread =
            std::thread::Builder::new().name("dictionaries".into()).spawn(move || keeper.run(&orders));
        Self(thread.is_ok().then_some(way))
    }

    pub(super) fn keep(&self, text: Text) {
        self.send(Order::Keep(text));
    }

    pub(super) fn forget(&self, origin: Arc<str>, hash: Hash) {
        self.send(Order::Forget(origin, hash));
    }

    /// Many are no longer held.
    pub(super) fn compare(&self) {
        if let Some(way) = &self.0 {
            way.is_lost.store(true, Ordering::SeqCst);
        }
        self.send(Order::Compare);
    }

    /// Where the thread is late, it compares its files with what is held once it is not.
    fn send(&self, order: Order) {
        if let Some(way) = &self.0
            && way.orders.try_send(order).is_err()
        {
            way.is_lost.store(true, Ordering::SeqCst);
            // One that has taken all orders meanwhile looks for nothing but the next.
            let _ = way.orders.try_send(Order::Compare);
        }
    }
}

/// The thread that has the files.
struct Keeper<F> {
    of: Weak<Dictionaries>,
    /// Of the disk, as long as this process has it and it is there.
    folder: F,
    is_lost: Arc<AtomicBool>,
}

impl<F: Fn() -> Option<PathBuf>> Keeper<F> {
    fn run(self, orders: &Receiver<Order>) {
        // The thread begins before what it serves is whole; the way to it is closed only once that is gone.
        while self.of.strong_count() == 0 {
            match orders.recv_timeout(LOOK_SOON) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(_) => self.is_lost.store(true, Ordering::SeqCst),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let mut known = loop {
            match (self.folder)() {
                Some(folder) => break folder.join(FOLDER),
                None => match orders.recv_timeout(LOOK_AGAIN) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    // It is among what is held then.
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                },
            }
        };
        if self.take_in(&known).is_none() {
            return;
        }
        self.compare(&known);
        while let Ok(order) = orders.recv() {
            // A disk that was taken off, or that the next process has.
            let Some(folder) = (self.folder)().map(|folder| folder.join(FOLDER)) else {
                self.is_lost.store(true, Ordering::SeqCst);
                continue;
            };
            let is_other = known != folder;
            known = folder;
            match order {
                Order::Keep(text) => told(&known, keep(&known, &text)),
                Order::Forget(origin, hash) => {
                    told(&known, fs::remove_file(known.join(name_of(&origin, &hash))));
                }
                Order::Compare => {}
            }
            if self.is_lost.swap(false, Ordering::SeqCst) || is_other {
                self.compare(&known);
            }
        }
    }

    /// Has what was kept held again, the youngest as far as there is room. The rest goes. None if nobody needs it any more.
    fn take_in(&self, folder: &Path) -> Option<()> {
        let mut found = list(folder);
        let (most, most_bytes) = self.of.upgrade()?.most_kept();
        let mut bytes = 0;
        let fits = found.iter().take(most).take_while(|file| {
            bytes += file.bytes;
            bytes <= most_bytes
        });
        let rest = found.split_off(fits.count());
        rest.iter().for_each(|file| drop(fs::remove_file(&file.path)));
        // The last one that is held is the last one to go.
        for file in found.iter().rev() {
            let is_held = read_named(&file.path)
                .is_some_and(|text| self.of.upgrade().is_some_and(|of| of.hold_kept(text)));
            if !is_held && self.of.strong_count() > 0 {
                drop(fs::remove_file(&file.path));
            }
        }
        Some(())
    }

    /// The files are those of the texts that are held, from now on.
    fn compare(&self, folder: &Path) {
        self.is_lost.store(false, Ordering::SeqCst);
        let Some(held) = self.of.upgrade().map(|of| of.texts()) else { return };
        let mut left: HashMap<String, Text> =
            held.into_iter().map(|text| (name_of(&text.origin, &text.hash), text)).collect();
        for file in list(folder) {
            let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if left.remove(name).is_none() {
                drop(fs::remove_file(&file.path));
            }
        }
        left.values().for_each(|text| told(folder, keep(folder, text)));
    }
}

fn told(folder: &Path, done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(target: "verge_edge::disk", folder = %folder.display(), %error, "a dictionary is not kept");
    }
}

/// Writes a text, or says that it is younger than others.
fn keep(folder: &Path, text: &Text) -> io::Result<()> {
    let path = folder.join(name_of(&text.origin, &text.hash));
    match OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
        Ok(file) => return file.set_modified(Clock::system().now()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let part = path.with_extension(&PART[1..]);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(&part)?;
    let written =
        [text.origin.as_bytes(), &[0], &text.bytes].iter().try_for_each(|bytes| file.write_all(bytes));
    let named = written.and_then(|()| fs::rename(&part, path));
    named.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// A file that has the name of one of ours.
struct Listed {
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The files in a folder, the youngest first. One that was never complete goes.
fn list(folder: &Path) -> Vec<Listed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let bare = name.strip_suffix(PART).unwrap_or(&name);
        if bare.len() != 2 * size_of::<Hash>() || !bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        match entry.metadata() {
            Ok(data) if bare == name => {
                found.push(Listed { path, modified: data.modified().ok(), bytes: data.len() });
            }
            _ => drop(fs::remove_file(path)),
        }
    }
    found.sort_by_key(|file| Reverse(file.modified));
    found
}

/// The text that a file's name stands for.
fn read_named(path: &Path) -> Option<Text> {
    read(path).filter(|text| path.file_name().is_some_and(|name| name == &*name_of(&text.origin, &text.hash)))
}

fn read(path: &Path) -> Option<Text> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    let mut all = Vec::new();
    file.take(MOST_TEXT + MOST_ORIGIN_BYTES).read_to_end(&mut all).ok()?;
    let end = all.iter().position(|byte| *byte == 0)?;
    let origin = std::str::from_utf8(&all[..end]).ok()?.into();
    let bytes = Bytes::copy_from_slice(&all[end + 1..]);
    Some(Text { origin, hash: text::hash(&bytes), bytes })
}

fn name_of(origin: &str, hash: &Hash) -> String {
    let both = text::hash(&[origin.as_bytes(), &[0], hash].concat());
    both.iter().fold(String::new(), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a String takes all");
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(origin: &str, bytes: &'static [u8]) -> Text {
        Text { origin: origin.into(), hash: text::hash(bytes), bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn a_text_is_read_back_as_it_was_and_what_is_not_whole_is_none() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join(FOLDER);
        assert!(list(&folder).is_empty());
        for (origin, bytes) in
            [("https://a.test", &b"one\0two"[..]), ("https://b.test", b"one\0two"), ("https://a.test", b"3")]
        {
            keep(&folder, &one(origin, bytes)).unwrap();
        }
        let shown = || {
            let all = list(&folder).into_iter().filter_map(|file| read_named(&file.path));
            let mut all: Vec<_> = all.map(|text| (text.origin.to_string(), text.bytes.to_vec())).collect();
            all.sort();
            all
        };
        let whole = [("https://a.test", "3"), ("https://a.test", "one\0two"), ("https://b.test", "one\0two")];
        let expected = |of: &[(&str, &str)]| -> Vec<(String, Vec<u8>)> {
            of.iter().map(|(origin, text)| ((*origin).to_owned(), text.as_bytes().to_vec())).collect()
        };
        assert_eq!(shown(), expected(&whole));
        let cut = folder.join(name_of("https://a.test", &text::hash(b"3")));
        fs::write(&cut, "https://a.test\0").unwrap();
        let part = folder.join(format!("{}{PART}", "0".repeat(64)));
        fs::write(&part, "https://a.test\0x").unwrap();
        fs::write(folder.join("README"), "x").unwrap();
        assert_eq!(shown(), expected(&whole[1..]));
        assert_eq!((part.exists(), folder.join("README").exists()), (false, true));
    }

    #[test]
    fn no_folder_is_made_where_there_is_no_disk() {
        let above = tempfile::tempdir().unwrap();
        assert!(keep(&above.path().join("gone").join(FOLDER), &one("https://a.test", b"x")).is_err());
        assert!(!above.path().join("gone").exists());
    }
}
