//! Reads an object's file, and believes nothing in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::folder::Folder;
use super::head;
use super::layout::{BLOCK_BYTES, CHUNK_BYTES, HEADER_BYTES, Header, is_chunk, names_crc};
use super::record::Put;
use crate::policy::{self, Entry};
use crate::site::SiteName;
use crate::site::key::Key;
use crate::store::memory::LEAST_LARGE_BYTES;

/// An object as it lay on the disk.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entry: Entry,
    pub(super) site: SiteName,
    /// Its body.
    pub(super) content: Content,
}

/// A body as it lay on the disk.
#[derive(Debug)]
pub(super) enum Content {
    /// Each piece a block of its own.
    Pieces(Vec<Bytes>),
    /// It stays in its file, where it begins at a place, and has so many bytes and these checksums.
    File { file: File, body_at: u64, bytes: u64, sums: Vec<u8> },
}

/// Why there is no object.
#[derive(Debug)]
pub(super) enum Bad {
    /// It is of another key, whose hash is the same.
    Another,
    /// It is not what was written.
    Corrupt,
    /// The head that counts is not beside it.
    Headless,
    /// There is no such file.
    Missing,
    /// Nor the folder.
    Gone,
    /// The edge waits no longer: nothing is known of the file.
    Late,
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

/// So much is read at first: most heads, and all of most objects.
const FIRST_BYTES: u64 = 16 << 10;

/// The object in the file of this number, if it is of this key. Every byte of it was compared with its checksum; a body of
/// more than `large_bytes` stays in the file, and is compared while it is read.
pub(super) fn read(folder: &Folder, put: &Put, key: &Key, large_bytes: u64) -> Result<Loaded, Bad> {
    let file = folder.read(put.file)?;
    let metadata = file.metadata()?;
    let length = metadata.len();
    // The index knows how much memory this may take.
    if !metadata.is_file() || length > u64::from(put.blocks) * BLOCK_BYTES || length < HEADER_BYTES as u64 {
        return Err(Bad::Corrupt);
    }
    let first = read_at(&file, 0, length.min(FIRST_BYTES))?;
    let header = first.first_chunk().and_then(|bytes| Header::decode(bytes, length)).ok_or(Bad::Corrupt)?;
    if header.file != put.file {
        return Err(Bad::Corrupt);
    }
    let source = Source { file: &file, first };
    let names = source.get(HEADER_BYTES as u64, header.body_at() - HEADER_BYTES as u64)?;
    let (own_key, own_head) = names.split_at(usize::try_from(header.key_bytes).map_err(|_| Bad::Corrupt)?);
    if names_crc(own_key, own_head) != header.names_crc {
        return Err(Bad::Corrupt);
    }
    if own_key != key.as_bytes() {
        return Err(Bad::Another);
    }
    let (mut entry, site) = head::decode(own_head).ok_or(Bad::Corrupt)?;
    let said = match entry.content {
        policy::Content::Whole { length } => length,
        policy::Content::Part(part) => Some(part.length()),
    };
    if said != Some(header.body_bytes) {
        return Err(Bad::Corrupt);
    }
    let end = header.body_at() + header.body_bytes;
    let sums = source.get(end, length - end)?;
    if crc32fast::hash(&sums) != header.sums_crc {
        return Err(Bad::Corrupt);
    }
    if put.edition != 0 {
        let confirmed = confirmed(folder, put, key)?.filter(|it| it.content == entry.content);
        entry = confirmed.ok_or(Bad::Headless)?;
    } else if let Some(confirmed) = confirmed_before_editions(folder, put, key, header.body_bytes)?
        && confirmed.content == entry.content
    {
        entry = confirmed;
    }
    if header.body_bytes <= large_bytes {
        let content = Content::Pieces(pieces(&source, &header, &sums)?);
        return Ok(Loaded { entry, site, content });
    }
    let (body_at, bytes) = (header.body_at(), header.body_bytes);
    Ok(Loaded { entry, site, content: Content::File { file, body_at, bytes, sums } })
}

/// The head that counts, which lies beside the file. A purge that came meanwhile is compared with its fields, so no other
/// head stands in for it: neither that in the file nor one that was being written when a process ended.
fn confirmed(folder: &Folder, put: &Put, key: &Key) -> io::Result<Option<Entry>> {
    let bytes = match folder.read_confirmed(put.file, put.edition) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let header = bytes.first_chunk().and_then(|first| Header::decode(first, bytes.len() as u64));
    let names = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let is_it = |header: &Header| header.file == put.file && header.edition == put.edition;
    let own = header.filter(is_it).and_then(|header| {
        let (own_key, own_head) = names.split_at_checked(header.key_bytes as usize)?;
        let is_sound = names_crc(own_key, own_head) == header.names_crc && own_key == key.as_bytes();
        is_sound.then(|| head::decode(own_head)).flatten()
    });
    Ok(own.map(|(entry, _)| entry))
}

/// The head that a version of this program without editions wrote beside a file. The journal has the birth that came with it, so
/// that the head in the file would hide the purges between the two. One that is torn is as if it had said nothing.
fn confirmed_before_editions(
    folder: &Folder,
    put: &Put,
    key: &Key,
    body_bytes: u64,
) -> io::Result<Option<Entry>> {
    // Only a body that was too large for memory once has a head beside it.
    if body_bytes > LEAST_LARGE_BYTES { confirmed(folder, put, key) } else { Ok(None) }
}

/// The key and the head of what is in a file, and the length of the body, which is not looked at.
pub(super) fn head_of(folder: &Folder, put: &Put) -> Option<(Key, Entry, SiteName, u64)> {
    let file = folder.read(put.file).ok()?;
    let length = file.metadata().ok()?.len();
    let first = read_at(&file, 0, length.min(FIRST_BYTES)).ok()?;
    let header = first.first_chunk().and_then(|bytes| Header::decode(bytes, length))?;
    let source = Source { file: &file, first };
    let names = source.get(HEADER_BYTES as u64, header.body_at() - HEADER_BYTES as u64).ok()?;
    let (own_key, own_head) = names.split_at_checked(header.key_bytes as usize)?;
    let is_sound = header.file == put.file && names_crc(own_key, own_head) == header.names_crc;
    let (entry, site) = head::decode(own_head).filter(|_| is_sound)?;
    let key = Key::from_bytes(own_key);
    let entry = match put.edition {
        0 => confirmed_before_editions(folder, put, &key, header.body_bytes).ok().flatten().unwrap_or(entry),
        _ => confirmed(folder, put, &key).ok().flatten()?,
    };
    Some((key, entry, site, header.body_bytes))
}

fn pieces(source: &Source<'_>, header: &Header, sums: &[u8]) -> Result<Vec<Bytes>, Bad> {
    let end = header.body_at() + header.body_bytes;
    let mut pieces = Vec::new();
    let mut at = header.body_at();
    while at < end {
        let piece = source.get(at, (end - at).min(CHUNK_BYTES as u64))?;
        if !is_chunk(sums, pieces.len(), &piece) {
            return Err(Bad::Corrupt);
        }
        at += piece.len() as u64;
        pieces.push(piece.into());
    }
    Ok(pieces)
}

/// A file whose beginning was read.
struct Source<'a> {
    file: &'a File,
    first: Vec<u8>,
}

impl Source<'_> {
    fn get(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let known = usize::try_from(at).ok().zip(usize::try_from(at.saturating_add(length)).ok());
        match known.and_then(|(from, to)| self.first.get(from..to)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => read_at(self.file, at, length),
        }
    }
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
