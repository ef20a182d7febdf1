//! A response that is written while it comes from its origin: what is too large for memory.
//!
//! ```text
//! Reserved ─▶ open ─▶ add, write, add, write … ─▶ publish ─▶ Spooled: held once the store says so
//! ```
//!
//! Invariant: a file has its name only when it is complete, and is held only if no purge came over it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::desk::Pending;
use super::filed::Filed;
use super::folder::Folder;
use super::head;
use super::layout::{BLOCK_BYTES, HEADER_BYTES, Header, blocks, chunks, length_about};
use super::record::Put;
use super::volume::Volume;
use crate::policy::Entry;
use crate::site::SiteName;
use crate::site::key::Key;
use crate::store::Recency;
use crate::store::in_file::InFile;

/// Room on a disk for a response that is still to come.
#[derive(Debug)]
pub struct Reserved {
    volume: Arc<Volume>,
    pending: Arc<Pending>,
    put: Put,
    key: Key,
    site: SiteName,
    entry: Entry,
    /// Blocks that are kept free for it.
    blocks: u64,
}

/// A response on its way to a disk.
#[derive(Debug)]
pub struct Spool {
    reserved: Reserved,
    folder: Arc<Folder>,
    filed: Arc<Filed>,
    waiting: Vec<Bytes>,
    waiting_bytes: u64,
    is_published: bool,
    gone: Gone,
}

/// Whether nobody needs the file any more. A disk that is late may make it, or give it its name, after that.
#[derive(Debug, Default)]
struct Gone(Arc<AtomicBool>);

impl Gone {
    fn tell(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Does it, and then `undo` if the file is gone by then.
    fn late<T>(
        told: &AtomicBool,
        act: impl FnOnce() -> io::Result<T>,
        undo: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let done = act()?;
        if told.load(Ordering::SeqCst) {
            undo()?;
        }
        Ok(done)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.tell();
    }
}

/// So much is written at once.
const WRITE_BYTES: u64 = 128 << 10;

impl Reserved {
    /// Room on this disk; none if it takes nothing now. So many bytes have come, of `length` if that is known.
    pub(super) fn new(
        volume: &Arc<Volume>,
        (hash, variant): (u64, u32),
        recency: Recency,
        (key, site, entry): (&Key, &SiteName, &Entry),
        length: Option<u64>,
        come: u64,
    ) -> Option<Self> {
        let bytes = length_about(key.as_bytes().len(), length.unwrap_or(come));
        let (file, pending) = volume.desk.reserve((hash, variant), recency, bytes)?;
        let put = Put { hash, file, birth: 0, blocks: 0, variant, stale_secs: 0, edition: 0 };
        let (volume, blocks) = (Arc::clone(volume), blocks(bytes).into());
        Some(Self {
            volume,
            pending,
            put,
            key: key.clone(),
            site: site.clone(),
            entry: entry.clone(),
            blocks,
        })
    }

    /// Makes the file.
    ///
    /// # Errors
    /// The disk's.
    pub async fn open(self) -> io::Result<Spool> {
        let head = head::encode(&self.entry, &self.site);
        if !Header::takes(self.key.as_bytes().len(), head.len()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let folder = self.volume.folder().ok_or(io::ErrorKind::NotFound)?;
        let (number, makes) = (self.put.file, Arc::clone(&folder));
        let gone = Gone::default();
        let told = Arc::clone(&gone.0);
        let create = move || Gone::late(&told, || makes.create(number), || makes.discard(number));
        let file = self.volume.writing(create).await?;
        let body_at = (HEADER_BYTES + self.key.as_bytes().len() + head.len()) as u64;
        let filed = Filed::begun(file, body_at, &self.volume, self.put);
        let (waiting, waiting_bytes) = (Vec::new(), 0);
        Ok(Spool { reserved: self, folder, filed, waiting, waiting_bytes, is_published: false, gone })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.volume.desk.release(&self.pending, self.blocks);
    }
}

impl Spool {
    /// The body, as far as it was written.
    #[must_use]
    pub fn filed(&self) -> Arc<dyn InFile> {
        Arc::clone(&self.filed) as Arc<dyn InFile>
    }

    /// Takes the next piece; whether it is time to write.
    pub fn add(&mut self, piece: Bytes) -> bool {
        self.waiting_bytes += piece.len() as u64;
        self.waiting.push(piece);
        self.waiting_bytes >= WRITE_BYTES
    }

    /// Writes what was taken.
    ///
    /// # Errors
    /// The disk's.
    pub async fn write(&mut self) -> io::Result<()> {
        let Reserved { volume, blocks, .. } = &mut self.reserved;
        let bytes = self.filed.body_at() + self.filed.bytes() + self.waiting_bytes;
        let more = bytes.div_ceil(BLOCK_BYTES).saturating_sub(*blocks);
        if !volume.desk.reserve_more(more) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        *blocks += more;
        let (pieces, filed) = (std::mem::take(&mut self.waiting), Arc::clone(&self.filed));
        self.waiting_bytes = 0;
        volume.writing(move || filed.write(&pieces)).await
    }

    /// Writes the rest and gives the file its name. `entry` says how long the body is.
    ///
    /// # Errors
    /// The disk's.
    pub async fn publish(&mut self, entry: &Entry) -> io::Result<()> {
        self.write().await?;
        let Reserved { volume, key, site, put, .. } = &self.reserved;
        let (filed, folder, number) = (Arc::clone(&self.filed), Arc::clone(&self.folder), put.file);
        let told = Arc::clone(&self.gone.0);
        let (key, head) = (key.clone(), head::encode(entry, site));
        if filed.body_at() != (HEADER_BYTES + key.as_bytes().len() + head.len()) as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let complete = move || {
            filed.complete(|body_bytes, sums| front(number, &key, &head, body_bytes, sums))?;
            Gone::late(&told, || folder.publish(number), || folder.remove(number))
        };
        volume.writing(complete).await?;
        self.is_published = true;
        Ok(())
    }

    /// The published file is held from now on, unless something came over it. Called where nobody else is at the key.
    pub(in crate::store) fn hold(&self, birth: &Arc<u64>) -> bool {
        let Reserved { volume, pending, put, .. } = &self.reserved;
        let bytes = self.filed.body_at() + self.filed.bytes() + 4 * chunks(self.filed.bytes());
        let put = Put { birth: **birth, blocks: blocks(bytes), ..*put };
        self.is_published && volume.desk.hold(pending, put, birth)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let Reserved { volume, put, .. } = &self.reserved;
        if volume.desk.lock().index.holds(put.hash, put.file) {
            return;
        }
        self.gone.tell();
        let (folder, number) = (Arc::clone(&self.folder), put.file);
        // It has one of the two names, or none yet. One that is not removed now is removed by a sweep.
        let remove = move || drop((folder.discard(number), folder.remove(number)));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// All that is before a body in its file.
#[must_use]
pub fn front(file: u64, key: &Key, head: &[u8], body_bytes: u64, sums: &[u8]) -> Vec<u8> {
    let sums_crc = crc32fast::hash(sums);
    Header { file, body_bytes, sums_crc, ..Header::default() }.before(key.as_bytes(), head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_late_leaves_no_file_that_nobody_needs() {
        let above = tempfile::tempdir().unwrap();
        let (folder, _) = Folder::open(&above.path().join("cache")).unwrap();
        let made = |number: u64, gone: &Gone| {
            let undo = || folder.discard(number);
            Gone::late(&gone.0, || folder.create(number), undo).unwrap();
            folder.discard(number).is_ok()
        };
        let gone = Gone::default();
        assert!(made(1, &gone), "it is needed");
        gone.tell();
        assert!(!made(2, &gone), "it went before it was made");
        let told = Arc::clone(&Gone::default().0);
        assert!(told.load(Ordering::SeqCst), "its task ended");
        folder.create(3).unwrap();
        let named = Gone::late(&told, || folder.publish(3), || folder.remove(3));
        assert!(named.is_ok() && folder.read(3).is_err(), "it got its name when nobody needed it");
    }
}
