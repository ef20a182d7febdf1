//! `GET /export` and `PUT /import`: a warm cache moves to another edge.
//!
//! ```text
//! beginning (16) · response · response … · end (16)      each response as the file of a disk has it
//! ```
//!
//! A response that a purge covers is not sent, and one that a purge of the edge that takes it covers, by the time at which it was
//! asked for, is not taken. One that is taken in counts as asked for now: later purges cover it. The edge tells of a stream that is cut short, and keeps each response that
//! came whole before that.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Refused;
use crate::cache::Cache;
use crate::policy::Entry;
use crate::site::SiteName;
use crate::site::key::Key;
use crate::store::block::own_block;
use crate::store::disk::head;
use crate::store::disk::layout::{CHUNK_BYTES, HEADER_BYTES, Header, Sums, chunks, names_crc};
use crate::store::{self, Cursor, Object, Put, Sender, Ticket};

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Responses that are stored.
    pub objects: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Responses of sites that this edge does not have.
    pub foreign: u64,
    /// Responses that this edge has newer.
    pub older: u64,
    /// Responses for which there was no room, or that are bigger than `max_object`.
    pub too_big: u64,
    /// Responses that this edge was told to purge after they were asked for.
    #[serde(default)]
    pub purged: u64,
}

/// A body of the admin listener's answers.
pub(super) enum AdminBody {
    Whole(Full<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

const BEGINNING: [u8; 16] = *b"VergeExport\0\0\0\0\x01";
const END: [u8; 16] = *b"VergeExportEnd\0\x01";
/// Pieces that wait for a reader.
const WAITING: usize = 4;

impl Body for AdminBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(cx)
                .map(|next| next.map(|frame| frame.map_err(|never| match never {}))),
            Self::Stream(pieces) => pieces.poll_recv(cx).map(|next| next.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// All that is held, as it is sent.
pub(super) fn export(cache: &Arc<Cache>) -> AdminBody {
    let (to, pieces) = mpsc::channel(WAITING);
    let cache = Arc::clone(cache);
    tokio::spawn(async move {
        if let Err(error) = send_all(&cache, &to).await {
            tracing::warn!(target: "verge_edge::export", %error, "an export was cut short");
            // Its reader may have gone.
            let _ = to.send(Err(error)).await;
        }
    });
    AdminBody::Stream(pieces)
}

async fn send_all(cache: &Cache, to: &Sender) -> io::Result<()> {
    if to.send(Ok(Bytes::from_static(&BEGINNING))).await.is_err() {
        return Ok(());
    }
    let mut at = Some(Cursor::default());
    while let Some(here) = at {
        let (found, next) = cache.store.found_from(here);
        for one in found {
            let Some((key, object)) = cache.store.taken(one).await else { continue };
            if !cache.store.send(&key, object, to).await? {
                return Ok(());
            }
        }
        at = next;
    }
    // Its reader may have gone.
    let _ = to.send(Ok(Bytes::from_static(&END))).await;
    Ok(())
}

/// Takes in what another edge has exported.
pub(super) async fn import(
    cache: &Cache,
    request: Request<Incoming>,
    stall_timeout: Duration,
) -> Result<Imported, Refused> {
    let mut intake = Intake { body: request.into_body(), held: BytesMut::new(), stall_timeout };
    let mut imported = Imported::default();
    let taken = take_all(cache, &mut intake, &mut imported).await;
    let Imported { objects, bytes, .. } = imported;
    tracing::info!(target: "verge_edge::import", objects, bytes, is_whole = taken.is_ok(), "imported");
    taken
        .map(|()| imported)
        .map_err(|why| Refused::bad(format!("{why}; {objects} responses before that are stored")))
}

async fn take_all(cache: &Cache, intake: &mut Intake, imported: &mut Imported) -> Result<(), &'static str> {
    if intake.take(BEGINNING.len()).await?.as_ref() != BEGINNING {
        return Err("this is no export of this version of verge-edge");
    }
    let ticket = cache.store.begin();
    loop {
        let first = intake.take(END.len()).await?;
        if first.as_ref() == END {
            return Ok(());
        }
        let rest = intake.take(HEADER_BYTES - END.len()).await?;
        let header: [u8; HEADER_BYTES] = [first, rest].concat().try_into().expect("as long as a header");
        let header = Header::sound(&header).ok_or(DAMAGED)?;
        let length = |bytes: u32| usize::try_from(bytes).map_err(|_| DAMAGED);
        let own_key = intake.take(length(header.key_bytes)?).await?;
        let own_head = intake.take(length(header.head_bytes)?).await?;
        if names_crc(&own_key, &own_head) != header.names_crc {
            return Err(DAMAGED);
        }
        let (entry, site) = head::decode(&own_head).ok_or(DAMAGED)?;
        let entry = entry.completed(header.body_bytes).ok_or(DAMAGED)?;
        let key = Key::from_bytes(&own_key);
        let left = cache.store.unpurged(&key, &site, entry.clone());
        let is_purged = left.is_none();
        let response = Response { key, entry: left.unwrap_or(entry), site, header, is_purged };
        if response.key.is_of_query() {
            cache.store.keeps_queries();
        }
        let count = match response.take_in(cache, intake, &ticket).await? {
            Fate::Stored => {
                imported.bytes += header.body_bytes;
                &mut imported.objects
            }
            Fate::Foreign => &mut imported.foreign,
            Fate::Older => &mut imported.older,
            Fate::TooBig => &mut imported.too_big,
            Fate::Purged => &mut imported.purged,
        };
        *count += 1;
    }
}

const DAMAGED: &str = "the export is damaged";
const CUT: &str = "the export is cut short";

/// A response whose body is still to come.
struct Response {
    key: Key,
    entry: Entry,
    site: SiteName,
    header: Header,
    is_purged: bool,
}

impl Response {
    /// Reads the body, and stores it if it is of use.
    async fn take_in(
        self,
        cache: &Cache,
        intake: &mut Intake,
        ticket: &Ticket,
    ) -> Result<Fate, &'static str> {
        let mut content = Content { left: self.header.body_bytes, sums: Sums::default() };
        let fate = self.fate(cache).await;
        match fate {
            Fate::Stored if cache.store.is_large(content.left) => {
                self.to_disk(cache, intake, &mut content, ticket).await
            }
            Fate::Stored => self.to_memory(cache, intake, &mut content, ticket).await,
            Fate::Foreign | Fate::Older | Fate::TooBig | Fate::Purged => {
                content.end(intake, &self.header).await?;
                Ok(fate)
            }
        }
    }

    /// The fate that it has if there is room.
    async fn fate(&self, cache: &Cache) -> Fate {
        let sites = cache.sites();
        let Some(site) = sites.iter().find(|site| site.site.name == self.site) else { return Fate::Foreign };
        if self.is_purged {
            return Fate::Purged;
        }
        let is_newer = |held: &Arc<Object>| {
            held.entry.selecting == self.entry.selecting && held.entry.received >= self.entry.received
        };
        // A response that is taken in replaces one that only a disk has, too.
        if cache.store.get(&self.key, &self.site).iter().any(is_newer)
            || cache.store.get_from_disk(&self.key, &self.site).await.iter().any(is_newer)
        {
            return Fate::Older;
        }
        if self.header.body_bytes > site.site.max_object_bytes { Fate::TooBig } else { Fate::Stored }
    }

    async fn to_memory(
        &self,
        cache: &Cache,
        intake: &mut Intake,
        content: &mut Content,
        ticket: &Ticket,
    ) -> Result<Fate, &'static str> {
        let (mut pieces, mut share) = (Vec::new(), cache.store.fills().share());
        let has_room = share.grow(content.left);
        while let Some(piece) = content.next(intake).await? {
            if has_room {
                pieces.push(own_block(&[piece]));
            }
        }
        content.end(intake, &self.header).await?;
        if !has_room {
            return Ok(Fate::TooBig);
        }
        let body = store::Body::new(pieces, cache.store.fills());
        let object = Arc::new(Object::new(self.entry.clone(), body, self.site.clone(), ticket.epoch()));
        Ok(match cache.store.put(&self.key, object, None, ticket) {
            Put::Older => Fate::Older,
            Put::Kept if cache.store.holds(&self.key) => Fate::Stored,
            Put::Kept | Put::Purged => Fate::TooBig,
        })
    }

    async fn to_disk(
        &self,
        cache: &Cache,
        intake: &mut Intake,
        content: &mut Content,
        ticket: &Ticket,
    ) -> Result<Fate, &'static str> {
        let response = (&self.key, &self.site, &self.entry);
        let mut spool = match cache.store.reserve(response, ticket, Some(content.left), 0) {
            Some(reserved) => reserved.open().await.ok(),
            None => None,
        };
        while let Some(piece) = content.next(intake).await? {
            // A disk that takes no more takes nothing of it.
            let failed = match &mut spool {
                Some(spool) => spool.add(piece) && spool.write().await.is_err(),
                None => false,
            };
            if failed {
                spool = None;
            }
        }
        content.end(intake, &self.header).await?;
        let Some(mut spool) = spool else { return Ok(Fate::TooBig) };
        if spool.publish(&self.entry).await.is_err() {
            return Ok(Fate::TooBig);
        }
        let body = store::Body::filed(spool.filed(), cache.store.fills());
        let object = Object::new(self.entry.clone(), body, self.site.clone(), ticket.epoch());
        Ok(match cache.store.put_filed(&self.key, &object, &spool, None, ticket) {
            Put::Older => Fate::Older,
            Put::Kept => Fate::Stored,
            Put::Purged => Fate::TooBig,
        })
    }
}

/// The fate of one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    Foreign,
    Older,
    TooBig,
    Purged,
}

/// A body that comes in.
struct Content {
    left: u64,
    sums: Sums,
}

impl Content {
    async fn next(&mut self, intake: &mut Intake) -> Result<Option<Bytes>, &'static str> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if length == 0 {
            return Ok(None);
        }
        let piece = intake.take(length).await?;
        self.left -= length as u64;
        self.sums.add(&piece);
        Ok(Some(piece))
    }

    /// Leaves out what was not read, and compares the checksums.
    async fn end(&mut self, intake: &mut Intake, header: &Header) -> Result<(), &'static str> {
        while self.next(intake).await?.is_some() {}
        let length = usize::try_from(4 * chunks(header.body_bytes)).map_err(|_| DAMAGED)?;
        let sums = intake.take(length).await?;
        let own = std::mem::take(&mut self.sums).finish();
        let is_sound = own == sums && crc32fast::hash(&own) == header.sums_crc;
        if is_sound { Ok(()) } else { Err(DAMAGED) }
    }
}

/// The bytes of an import as they come.
struct Intake {
    body: Incoming,
    held: BytesMut,
    stall_timeout: Duration,
}

impl Intake {
    /// Exactly so many.
    async fn take(&mut self, count: usize) -> Result<Bytes, &'static str> {
        while self.held.len() < count {
            let next = timeout(self.stall_timeout, self.body.frame()).await.map_err(|_| CUT)?;
            let frame = next.ok_or(CUT)?.map_err(|_| CUT)?;
            if let Ok(data) = frame.into_data() {
                self.held.extend_from_slice(&data);
            }
        }
        Ok(self.held.split_to(count).freeze())
    }
}
