//! Stored responses on their way to another edge: each as the bytes of a disk's file, one behind the other.

use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::disk::front;
use super::disk::head;
use super::disk::layout::Sums;
use super::disk::record::Put as Held;
use super::in_file::{FileReader, InFile};
use super::purge::{Settled, Subject};
use super::{Cursor, Key, Mode, Object, Reading, Store, Variants};
use crate::policy::{Content, Entry};
use crate::site::SiteName;

/// A response that is held somewhere.
#[derive(Debug)]
pub enum Found {
    /// In memory. One that is evicted before its turn is not kept alive for it.
    Here(Key, Weak<Object>),
    /// In a file of the disk of this number.
    OnDisk(usize, Held),
}

/// Where the bytes of an export go.
pub type Sender = mpsc::Sender<io::Result<Bytes>>;

impl Store {
    /// Some of what is held from this place on, and the next place; none behind the last.
    #[must_use]
    pub fn found_from(&self, at: Cursor) -> (Vec<Found>, Option<Cursor>) {
        if at.tier == 0 {
            let Some(held) = self.objects.part(at.part) else {
                return (Vec::new(), Some(Cursor { tier: 1, part: 0 }));
            };
            let each = |(key, variants): (Key, Variants)| {
                variants
                    .iter()
                    .map(|object| Found::Here(key.clone(), Arc::downgrade(object)))
                    .collect::<Vec<_>>()
            };
            return (held.into_iter().flat_map(each).collect(), Some(Cursor { part: at.part + 1, ..at }));
        }
        let disk = at.tier - 1;
        let Some((puts, next)) = self.disks.puts_from(disk, at.part) else { return (Vec::new(), None) };
        let next = next.map_or(Cursor { tier: at.tier + 1, part: 0 }, |part| Cursor { part, ..at });
        (puts.into_iter().map(|put| Found::OnDisk(disk, put)).collect(), Some(next))
    }

    /// A response that was found, as it is now; none if it is gone, only a part of it is held, or memory has told it already.
    pub async fn taken(&self, found: Found) -> Option<(Key, Arc<Object>)> {
        let (key, object) = match found {
            Found::Here(key, object) => (key, object.upgrade()?),
            Found::OnDisk(disk, put) => {
                let (key, object) = self.disks.load(disk, put, &self.fills).await?;
                if self.has_in_memory(&key, &object) {
                    return None;
                }
                (key, object)
            }
        };
        if !matches!(object.entry.content, Content::Whole { .. }) {
            return None;
        }
        let one: Variants = [Arc::clone(&object)].into_iter().collect();
        match self.purges.settle(&key, &object.site, &one) {
            Settled::Same => Some((key, object)),
            Settled::Changed(rest) => Some((key, Arc::clone(rest.first()?))),
        }
    }

    /// A response of another edge as it may be stored here; none if a purge covers it that came since it was asked for.
    #[must_use]
    pub fn unpurged(&self, key: &Key, site: &SiteName, entry: Entry) -> Option<Entry> {
        let subject = Subject { key, site, headers: Some(&entry.head.headers) };
        match self.purges.covers_asked(entry.asked, &subject) {
            None => Some(entry),
            Some((Mode::Soft, at)) => Some(entry.expired(at)),
            Some((Mode::Hard, _)) => None,
        }
    }

    /// Sends the bytes of a response. Whether all of them were taken.
    ///
    /// # Errors
    /// Its body cannot be read: what was sent of it is of no use.
    pub async fn send(&self, key: &Key, object: Arc<Object>, to: &Sender) -> io::Result<bool> {
        let head = head::encode(&object.entry, &object.site);
        let object = Reading::for_fetch(object);
        if let Some(filed) = object.body.file() {
            return self.send_filed(key, &head, filed, to).await;
        }
        let Some(pieces) = object.body.pieces() else { return Ok(true) };
        let mut sums = Sums::default();
        pieces.iter().for_each(|piece| sums.add(piece));
        let sums = sums.finish();
        let front = front(0, key, &head, object.body.bytes(), &sums);
        for bytes in [front.into()].into_iter().chain(pieces).chain([sums.into()]) {
            if to.send(Ok(bytes)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send_filed(
        &self,
        key: &Key,
        head: &[u8],
        filed: &Arc<dyn InFile>,
        to: &Sender,
    ) -> io::Result<bool> {
        let (bytes, sums) = (filed.bytes(), filed.sums());
        if to.send(Ok(front(0, key, head, bytes, &sums).into())).await.is_err() {
            return Ok(false);
        }
        let (mut reader, mut at) = (FileReader::new(filed, &self.fills), 0);
        while at < bytes {
            let read = std::future::poll_fn(|cx| reader.poll_at(at, bytes, cx)).await;
            let piece = read.map_err(io::Error::other)?;
            at += piece.len() as u64;
            if to.send(Ok(piece)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(to.send(Ok(sums.into())).await.is_ok())
    }
}
