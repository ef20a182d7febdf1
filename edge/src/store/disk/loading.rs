//! Reads an object's file, and believes nothing in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::folder::Folder;
use super::head;
use super::layout::{BLOCK_BYTES, CHUNK_BYTES, HEADER_BYTES, Header, is_chunk, names_crc};
use super::record::Put;
use crate::policy::{Content, Entry};
use crate::site::SiteName;
use crate::site::key::Key;

/// An object as it lay on the disk.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entry: Entry,
    pub(super) site: SiteName,
    /// Its body, each piece a block of its own.
    pub(super) pieces: Vec<Bytes>,
}

/// Why there is no object.
#[derive(Debug)]
pub(super) enum Bad {
    /// It is of another key, whose hash is the same.
    Another,
    /// It is not what was written.
    Corrupt,
    /// There is no such file.
    Missing,
    Io(io::Error),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

/// So much is read at first: most heads, and all of most objects.
const FIRST_BYTES: u64 = 16 << 10;

/// The object in the file of this number, if it is of this key. Every byte of it was compared with its checksum.
pub(super) fn read(folder: &Folder, put: &Put, key: &Key) -> Result<Loaded, Bad> {
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
    let (entry, site) = head::decode(own_head).ok_or(Bad::Corrupt)?;
    let said = match entry.content {
        Content::Whole { length } => length,
        Content::Part(part) => Some(part.length()),
    };
    if said != Some(header.body_bytes) {
        return Err(Bad::Corrupt);
    }
    let pieces = body(&source, &header, length)?;
    Ok(Loaded { entry, site, pieces })
}

fn body(source: &Source<'_>, header: &Header, length: u64) -> Result<Vec<Bytes>, Bad> {
    let end = header.body_at() + header.body_bytes;
    let sums = source.get(end, length - end)?;
    if crc32fast::hash(&sums) != header.sums_crc {
        return Err(Bad::Corrupt);
    }
    let mut pieces = Vec::new();
    let mut at = header.body_at();
    while at < end {
        let piece = source.get(at, (end - at).min(CHUNK_BYTES as u64))?;
        if !is_chunk(&sums, pieces.len(), &piece) {
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
