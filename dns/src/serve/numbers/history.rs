//! The last changes of each zone of each side on the disk, so that IXFR goes on after a restart: in the folders `changes/outside` and
//! `changes/inside` of the state folder, a file of frames for each zone.
//!
//! ```text
//! frame:  bytes | from | to | SHA-256 of the content after | records … | first half of the SHA-256 of all between
//! record: owner bytes | owner | type | TTL | data bytes | data
//! ```
//!
//! Nothing waits for the disk: a file that lost its end in a power cut leads to no version that is served, and then it is let go.
//!
//! Invariant: changes are believed that lead to just the content that is served, under its serial. A secondary that gets none takes
//! the whole zone.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::file::Digest;
use super::{MOST_DELTA_BYTES, MOST_DELTAS, Place};
use crate::catalog::expiry::stem;
use crate::name::Name;
use crate::rtype::Type;
use crate::transfer::{Delta, Stored};
use crate::view::Which;

const FOLDER: &str = "changes";
/// A file that holds more frames, or bytes, than this is written anew with those that count.
const MOST_FRAMES: usize = 2 * MOST_DELTAS;
const MOST_FILE_BYTES: u64 = 2 * MOST_DELTA_BYTES as u64;
/// Of the checksum of a frame.
const SUM_BYTES: usize = 16;

/// The files of all zones.
#[derive(Default)]
pub(super) struct History {
    folder: PathBuf,
    /// By side and file name; a zone without a file has no changes.
    sizes: HashMap<(Which, String), Size>,
    /// The last write failed, and that was told.
    is_unwritten: bool,
}

/// How much a file holds. Before it was read, its frames are not counted.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: u64,
    frames: usize,
}

/// A change in a file.
struct Frame {
    delta: Delta,
    content: Digest,
    /// Where it begins and ends in the file.
    start: usize,
    end: usize,
}

impl History {
    /// The files that there are; none of them is read yet. One that a crash left while it was written goes.
    pub(super) fn open(state: &Path) -> Self {
        let folder = state.join(FOLDER);
        let mut sizes = HashMap::new();
        for side in [Which::Public, Which::Internal] {
            for entry in fs::read_dir(folder.join(side.as_str())).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    // Where it cannot be removed, the next one for its zone is written over it.
                    drop(fs::remove_file(entry.path()));
                    continue;
                }
                let bytes = entry.metadata().ok().filter(fs::Metadata::is_file).map(|file| file.len());
                let name = entry.file_name().into_string().ok();
                if let (Some(bytes), Some(name)) = (bytes, name) {
                    sizes.insert((side, name), Size { bytes, frames: 0 });
                }
            }
        }
        Self { folder, sizes, is_unwritten: false }
    }

    /// The changes that lead to this content under this serial, the oldest first.
    pub(super) fn take(&mut self, place: &Place, (serial, content): (u32, &Digest)) -> Vec<Arc<Delta>> {
        let key = key(place);
        let Some(size) = self.sizes.get(&key).copied() else { return Vec::new() };
        let path = self.path(&key);
        let frames = match read_file(&path, size.bytes) {
            Ok(bytes) => read(&bytes),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the changes of before cannot be read; secondaries get the whole zone");
                Vec::new()
            }
        };
        let last = frames.iter().rposition(|frame| frame.delta.to == serial && frame.content == *content);
        let end = last.map_or(0, |last| frames[last].end);
        let kept = last.map_or(0, |last| last + 1);
        if kept == 0 || self.cut(&path, end as u64).is_err() {
            self.forget(place);
            return Vec::new();
        }
        self.sizes.insert(key, Size { bytes: end as u64, frames: kept });
        let mut deltas: Vec<Arc<Delta>> = Vec::new();
        for frame in frames.into_iter().take(kept).rev() {
            if deltas.last().is_some_and(|next| next.from != frame.delta.to) {
                break;
            }
            deltas.push(Arc::new(frame.delta));
        }
        deltas.reverse();
        deltas
    }

    /// Keeps the changes of a version that is new: the last of `deltas` is its own. Without any, none of before count.
    pub(super) fn add(&mut self, place: &Place, deltas: &[Arc<Delta>], content: &Digest) {
        let Some(last) = deltas.last() else { return self.forget(place) };
        if self.folder.as_os_str().is_empty() {
            return;
        }
        let mut frame = Vec::new();
        write(last, content, &mut frame);
        let added = self.append(&key(place), &frame, deltas.len());
        match added {
            Ok(()) => self.is_unwritten = false,
            Err(error) => {
                // A gap would lead nowhere.
                self.forget(place);
                if !std::mem::replace(&mut self.is_unwritten, true) {
                    tracing::warn!(folder = %self.folder.display(), %error, "changes cannot be stored, so after a restart secondaries get whole zones (setting `state`)");
                }
            }
        }
    }

    /// Lets the changes of a zone go.
    pub(super) fn forget(&mut self, place: &Place) {
        let key = key(place);
        if self.sizes.remove(&key).is_some() {
            let path = self.path(&key);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(file = %path.display(), %error, "the changes of before cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// `kept` is how many frames count, with the new one.
    fn append(&mut self, key: &(Which, String), frame: &[u8], kept: usize) -> io::Result<()> {
        let path = self.path(key);
        let size = self.sizes.get(key).copied().unwrap_or_default();
        let is_full = size.frames >= MOST_FRAMES || size.bytes + frame.len() as u64 > MOST_FILE_BYTES;
        if is_full && size.frames > 0 {
            let now = rewrite(&path, size.bytes, frame, kept)?;
            self.sizes.insert(key.clone(), now);
            return Ok(());
        }
        if size.bytes == 0 {
            DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(key.0.as_str()))?;
        }
        // Before it is written, so that a file of which a part was written is removed.
        self.sizes.insert(key.clone(), size);
        // It may hold names of the inside.
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.set_len(size.bytes)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(frame)?;
        let now = Size { bytes: size.bytes + frame.len() as u64, frames: size.frames + 1 };
        self.sizes.insert(key.clone(), now);
        Ok(())
    }

    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() == bytes { Ok(()) } else { file.set_len(bytes) }
    }

    fn path(&self, (side, name): &(Which, String)) -> PathBuf {
        self.folder.join(side.as_str()).join(name)
    }
}

fn key((side, apex): &Place) -> (Which, String) {
    (*side, stem(apex))
}

/// Writes the file anew, with the last frames that count and the new one.
fn rewrite(path: &Path, bytes: u64, frame: &[u8], kept: usize) -> io::Result<Size> {
    let old = read_file(path, bytes)?;
    let frames = read(&old);
    let kept = kept.saturating_sub(1).min(frames.len());
    let start = frames.get(frames.len() - kept).map_or(old.len(), |first| first.start);
    let end = frames.last().map_or(old.len(), |last| last.end).max(start);
    // No zone has a file whose name begins with a dot.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&old[start..end])?;
    file.write_all(frame)?;
    fs::rename(&beside, path)?;
    Ok(Size { bytes: (end - start + frame.len()) as u64, frames: kept + 1 })
}

/// A regular file of a sound length alone: a pipe would never end.
fn read_file(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let is_sound = fs::symlink_metadata(path)?.is_file() && bytes <= MOST_FILE_BYTES;
    if !is_sound {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or too long"));
    }
    let mut all = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut all)?;
    Ok(all)
}

fn write(delta: &Delta, content: &Digest, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(delta.bytes + 64);
    body.extend_from_slice(&delta.from.to_be_bytes());
    body.extend_from_slice(&delta.to.to_be_bytes());
    body.extend_from_slice(content);
    for record in &delta.records {
        body.push(u8::try_from(record.owner.len()).expect("a name has at most 255 bytes"));
        body.extend_from_slice(&record.owner);
        body.extend_from_slice(&record.rtype.0.to_be_bytes());
        body.extend_from_slice(&record.ttl.to_be_bytes());
        let bytes = u16::try_from(record.rdata.len()).expect("RDATA has at most 65,535 bytes");
        body.extend_from_slice(&bytes.to_be_bytes());
        body.extend_from_slice(&record.rdata);
    }
    let bytes = u32::try_from(body.len()).expect("changes are bounded");
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&digest(&SHA256, &body).as_ref()[..SUM_BYTES]);
}

/// The frames up to the first that makes no sense.
fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut rest = bytes;
    while let Some((delta, content)) = frame(&mut rest) {
        let (start, end) = (frames.last().map_or(0, |last| last.end), bytes.len() - rest.len());
        frames.push(Frame { delta, content, start, end });
    }
    frames
}

fn frame(rest: &mut &[u8]) -> Option<(Delta, Digest)> {
    let bytes = usize::try_from(u32::from_be_bytes(array(rest)?)).ok()?;
    let body = split(rest, bytes)?;
    if split(rest, SUM_BYTES)? != &digest(&SHA256, body).as_ref()[..SUM_BYTES] {
        return None;
    }
    let mut body = body;
    let (from, to) = (u32::from_be_bytes(array(&mut body)?), u32::from_be_bytes(array(&mut body)?));
    let content: Digest = array(&mut body)?;
    let mut records = Vec::new();
    while !body.is_empty() {
        records.push(stored(&mut body)?);
    }
    // RFC 1995 §4: without its two SOAs it is none.
    let soas = records.iter().filter(|record| record.rtype == Type::SOA).count();
    let is_whole = soas == 2 && records.first().is_some_and(|record| record.rtype == Type::SOA);
    is_whole.then(|| (Delta::of(from, to, records), content))
}

fn stored(body: &mut &[u8]) -> Option<Stored> {
    let [bytes] = array(body)?;
    let owner = split(body, bytes.into())?;
    Name::from_wire(owner).ok()?;
    let rtype = Type(u16::from_be_bytes(array(body)?));
    let ttl = u32::from_be_bytes(array(body)?);
    let bytes = u16::from_be_bytes(array(body)?);
    let rdata = split(body, bytes.into())?;
    Some(Stored { owner: owner.into(), rtype, ttl, rdata: rdata.into() })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    split(rest, N)?.try_into().ok()
}

fn split<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place() -> Place {
        (Which::Public, Name::parse_absolute("ex").unwrap())
    }

    fn delta(from: u32) -> Arc<Delta> {
        let record = |rtype: Type, text: &str| Stored {
            owner: b"\x02ex\0".as_slice().into(),
            rtype,
            ttl: 60,
            rdata: text.as_bytes().into(),
        };
        let records = vec![record(Type::SOA, "old"), record(Type::TXT, "gone"), record(Type::SOA, "new")];
        Arc::new(Delta::of(from, from + 1, records))
    }

    fn shown(deltas: &[Arc<Delta>]) -> Vec<(u32, u32, usize)> {
        deltas.iter().map(|delta| (delta.from, delta.to, delta.records.len())).collect()
    }

    /// A file with the changes from 1 to 4.
    fn three(state: &Path) -> PathBuf {
        let mut history = History::open(state);
        for last in 1..=3 {
            let deltas: Vec<_> = (1..=last).map(delta).collect();
            history.add(&place(), &deltas, &[u8::try_from(last).unwrap(); 32]);
        }
        state.join("changes/outside/ex")
    }

    #[test]
    fn changes_are_believed_that_lead_to_what_is_served() {
        for (serial, content, expected) in [
            (4, 3, vec![(1, 2, 3), (2, 3, 3), (3, 4, 3)]),
            (3, 2, vec![(1, 2, 3), (2, 3, 3)]),
            (4, 2, vec![]),
            (5, 3, vec![]),
        ] {
            let state = tempfile::tempdir().unwrap();
            let path = three(state.path());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let mut history = History::open(state.path());
            let other = (Which::Internal, place().1);
            assert_eq!(shown(&history.take(&other, (4, &[3; 32]))), [], "a side has its own");
            assert_eq!(shown(&history.take(&place(), (serial, &[content; 32]))), expected);
            assert_eq!(path.exists(), !expected.is_empty());
            // A frame that leads to no version in service is gone, and the next one fits.
            let deltas: Vec<_> = (1..=serial).map(delta).collect();
            history.add(&place(), &deltas, &[9; 32]);
            let mut history = History::open(state.path());
            let found = history.take(&place(), (serial + 1, &[9; 32]));
            assert_eq!(found.len(), expected.len() + 1);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_changed_says_less_and_never_something_else() {
        let state = tempfile::tempdir().unwrap();
        let whole = fs::read(three(state.path())).unwrap();
        let all: Vec<_> = read(&whole).iter().map(|frame| (frame.delta.from, frame.content)).collect();
        assert_eq!(all.len(), 3);
        let check = |bytes: &[u8], case: usize| {
            let found: Vec<_> = read(bytes).iter().map(|frame| (frame.delta.from, frame.content)).collect();
            assert!(all.starts_with(&found) && found.len() < 3, "{case}");
        };
        for at in 0..whole.len() {
            check(&whole[..at], at);
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            check(&changed, at);
        }
        assert!(read(&[0xff; 64]).is_empty() && read(&[0; 64]).is_empty());
    }

    #[test]
    fn a_file_does_not_grow_without_end() {
        let state = tempfile::tempdir().unwrap();
        let mut history = History::open(state.path());
        for last in 1..=1000_u32 {
            let first = last.saturating_sub(99).max(1);
            let deltas: Vec<_> = (first..=last).map(delta).collect();
            history.add(&place(), &deltas, &[0; 32]);
            let frames = read(&fs::read(state.path().join("changes/outside/ex")).unwrap()).len();
            assert!(frames <= MOST_FRAMES && frames >= deltas.len(), "{last} {frames}");
        }
        let found = History::open(state.path()).take(&place(), (1001, &[0; 32]));
        assert!(found.len() >= MOST_DELTAS && found.last().unwrap().to == 1001);
    }

    #[test]
    fn what_a_crash_left_half_written_is_removed_and_counts_for_nothing() {
        let state = tempfile::tempdir().unwrap();
        let path = three(state.path());
        let left = path.with_file_name(".ex.new");
        fs::write(&left, "half").unwrap();
        let found = History::open(state.path()).take(&place(), (4, &[3; 32]));
        assert_eq!((left.exists(), found.len()), (false, 3));
    }

    #[test]
    fn a_disk_that_does_not_take_changes_leaves_none_that_have_a_gap() {
        let state = tempfile::tempdir().unwrap();
        let path = three(state.path());
        let mut history = History::open(state.path());
        history.take(&place(), (4, &[3; 32]));
        // A folder in the place of the file: no open of it for writing succeeds.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        history.add(&place(), &[delta(4)], &[4; 32]);
        fs::remove_dir(&path).unwrap();
        history.add(&place(), &[delta(4), delta(5)], &[5; 32]);
        let found = History::open(state.path()).take(&place(), (6, &[5; 32]));
        assert_eq!(shown(&found), [(5, 6, 3)]);
    }
}
