//! A body in a file: one that is still being written, or a complete one. Threads that may wait read it piece by piece.
//!
//! Invariant: no byte of a complete chunk is given out before the chunk was compared with its checksum.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::layout::{CHUNK_BYTES, Header, Sums, is_chunk};
use super::loading::Bad;
use super::record::Put;
use super::volume::Volume;
use crate::site::key::Key;
use crate::store::Recency;
use crate::store::in_file::{Confirmed, Confirming, InFile, READ_BYTES, Unread};

/// A body in a file.
pub struct Filed {
    file: File,
    /// Where the body begins.
    body_at: u64,
    volume: Arc<Volume>,
    put: Put,
    grown: Mutex<Grown>,
}

/// The part of it that is there.
#[derive(Debug)]
struct Grown {
    bytes: u64,
    sums: Sums,
    is_whole: bool,
}

impl Filed {
    /// A body of which nothing was written yet.
    pub(super) fn begun(file: File, body_at: u64, volume: &Arc<Volume>, put: Put) -> Arc<Self> {
        let grown = Grown { bytes: 0, sums: Sums::default(), is_whole: false };
        Arc::new(Self { file, body_at, volume: Arc::clone(volume), put, grown: grown.into() })
    }

    /// A complete one of so many bytes.
    pub(super) fn whole(
        (file, body_at, bytes): (File, u64, u64),
        sums: Vec<u8>,
        volume: &Arc<Volume>,
        put: Put,
    ) -> Arc<Self> {
        let grown = Grown { bytes, sums: Sums::of(sums), is_whole: true };
        Arc::new(Self { file, body_at, volume: Arc::clone(volume), put, grown: grown.into() })
    }

    pub(super) fn body_at(&self) -> u64 {
        self.body_at
    }

    /// Writes these behind what there is. By one thread at a time, which may wait.
    pub(super) fn write(&self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            let bytes = self.bytes();
            self.file.write_all_at(piece, self.body_at + bytes)?;
            let mut grown = self.lock();
            grown.sums.add(piece);
            grown.bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes the checksums behind the body and `front` before it: the file is complete. As [`Filed::write`].
    pub(super) fn complete(&self, front: impl FnOnce(u64, &[u8]) -> Vec<u8>) -> io::Result<()> {
        let (bytes, sums) = {
            let mut grown = self.lock();
            grown.sums.end();
            grown.is_whole = true;
            (grown.bytes, grown.sums.known().to_vec())
        };
        self.file.write_all_at(&sums, self.body_at + bytes)?;
        self.file.write_all_at(&front(bytes, &sums), 0)
    }

    /// Room for what is read from `at` on, before `end`: whole chunks. Threads that may wait are many and come and go, so the
    /// room is made by those that give it back: an allocator keeps some MiB for each thread that takes blocks.
    fn room(&self, at: u64, end: u64) -> Vec<u8> {
        let chunk = CHUNK_BYTES as u64;
        let from = at / chunk * chunk;
        let to = end.min(from + READ_BYTES).next_multiple_of(chunk).min(self.bytes());
        vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)]
    }

    /// Some bytes from `at` on, before `end`, in the room for them. Waits for the disk.
    fn read(&self, mut buffer: Vec<u8>, at: u64, end: u64) -> Result<Bytes, Bad> {
        let first = at / CHUNK_BYTES as u64;
        let (from, length) = (first * CHUNK_BYTES as u64, buffer.len());
        self.file.read_exact_at(&mut buffer, self.body_at + from).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Bad::Corrupt,
            _ => Bad::Io(error),
        })?;
        let (sums, whole) = self.sums_of(first);
        // The last chunk of a body that still came when this began may be longer by now.
        let is_checked = |number: usize, piece: &[u8]| {
            let end = from + (number * CHUNK_BYTES + piece.len()) as u64;
            piece.len() == CHUNK_BYTES || whole == Some(end)
        };
        let is_sound = |(number, piece)| !is_checked(number, piece) || is_chunk(&sums, number, piece);
        if !buffer.chunks(CHUNK_BYTES).enumerate().all(is_sound) {
            return Err(Bad::Corrupt);
        }
        let place = |offset: u64| usize::try_from(offset.saturating_sub(from)).unwrap_or(length).min(length);
        Ok(Bytes::from(buffer).slice(place(at)..place(end).max(place(at))))
    }

    /// The checksums of the chunks that are read at once, from this one on, and the length of a body that is whole.
    fn sums_of(&self, first: u64) -> (Vec<u8>, Option<u64>) {
        let grown = self.lock();
        let from = usize::try_from(first * 4).unwrap_or(usize::MAX);
        let most = usize::try_from(READ_BYTES).unwrap_or(0) / CHUNK_BYTES * 4;
        let sums = grown.sums.known().get(from..).unwrap_or_default();
        (sums[..sums.len().min(most)].to_vec(), grown.is_whole.then_some(grown.bytes))
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn lock(&self) -> MutexGuard<'_, Grown> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFile for Filed {
    fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn sums(&self) -> Vec<u8> {
        self.lock().sums.known().to_vec()
    }

    fn begin_read(self: Arc<Self>, at: u64, end: u64) -> JoinHandle<Result<Bytes, Unread>> {
        let buffer = self.room(at, end);
        tokio::spawn(async move {
            let reads = Arc::clone(&self);
            let read = self.volume.reading(move || reads.read(buffer, at, end)).await;
            match read.unwrap_or_else(|| Err(Bad::Late)) {
                Ok(bytes) if bytes.is_empty() => Err(Unread::Ended),
                Ok(bytes) => {
                    self.volume.has_read(bytes.len());
                    Ok(bytes)
                }
                Err(bad) => {
                    self.volume.found_bad(&self.put, &bad);
                    Err(match bad {
                        Bad::Io(error) => Unread::Io(error),
                        Bad::Late => Unread::Io(io::ErrorKind::TimedOut.into()),
                        Bad::Corrupt => Unread::Changed,
                        Bad::Another | Bad::Headless | Bad::Missing | Bad::Gone => Unread::Ended,
                    })
                }
            }
        })
    }

    fn is_held(&self) -> bool {
        self.volume.desk.lock().index.holds(self.put.hash, self.put.file)
    }

    fn renew(&self, birth: &Arc<u64>, recency: Recency, edition: u16) -> bool {
        self.volume.desk.renew(&self.put, birth, recency, edition)
    }

    fn confirm(self: Arc<Self>, key: Key, head: Vec<u8>) -> Confirming {
        Box::pin(async move {
            let next = self.volume.folder().zip(self.volume.desk.next_edition(&self.put));
            let Some((folder, edition)) = next else { return Confirmed::Failed };
            let (number, own) = (self.put.file, Arc::clone(&self));
            // Also where nobody waits for the end of the write.
            let confirming = ConfirmingFile(Some(Arc::clone(&self)));
            let write = move || {
                let header = Header { file: number, edition, ..Header::default() };
                folder.confirm(number, edition, &header.before(key.as_bytes(), &head))?;
                // A file that went meanwhile has taken with it what was beside it, and not this.
                if !own.is_held() {
                    folder.remove_confirmed(number);
                }
                Ok(confirming)
            };
            match self.volume.writing(write).await {
                Ok(confirming) => {
                    confirming.leave_to_renewal();
                    Confirmed::Written(edition)
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Confirmed::Late,
                Err(_) => Confirmed::Failed,
            }
        })
    }

    fn let_go(&self) {
        self.volume.desk.drop_file(&self.put);
    }
}

/// A head is being written beside a file, until this is dropped.
struct ConfirmingFile(Option<Arc<Filed>>);

impl ConfirmingFile {
    /// The one who confirmed it tells the desk how it ends.
    fn leave_to_renewal(mut self) {
        self.0 = None;
    }
}

impl Drop for ConfirmingFile {
    fn drop(&mut self) {
        if let Some(filed) = &self.0 {
            filed.volume.desk.end_confirming(filed.put.file);
        }
    }
}

impl fmt::Debug for Filed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filed").field("put", &self.put).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
