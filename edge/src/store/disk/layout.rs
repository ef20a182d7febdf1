//! An object's file.
//!
//! ```text
//! header (64) · key · head · body · checksums (4 for each 64 KiB of the body)
//! ```
//!
//! Numbers are little-endian. The checksums are CRC-32: of the header in the header, of key and head, and of the
//! checksums. So every byte of a file is covered, and a part of a body can be checked without the rest.
//!
//! Invariant: no length in a header is believed before it was compared with the file's and with what is allowed.

use crc32fast::Hasher;

/// The length of a header.
pub const HEADER_BYTES: usize = 64;
/// So many bytes of a body have a checksum.
pub const CHUNK_BYTES: usize = 64 << 10;
/// The disk is counted in blocks of this.
pub const BLOCK_BYTES: u64 = 4_096;

/// A target has at most 60 KiB, and the fields in a key are those of one request.
const MOST_KEY_BYTES: u32 = 1 << 20;
/// An origin's head, and what is kept beside it.
const MOST_HEAD_BYTES: u32 = 4 << 20;
/// More than any disk has.
const MOST_BODY_BYTES: u64 = 1 << 56;
const MAGIC: [u8; 8] = *b"VergeObj";
const VERSION: u32 = 1;

/// The beginning of a file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its own number.
    pub file: u64,
    /// The key's length.
    pub key_bytes: u32,
    /// The head's.
    pub head_bytes: u32,
    /// The body's.
    pub body_bytes: u64,
    /// The checksum of key and head.
    pub names_crc: u32,
    /// The checksum of the checksums.
    pub sums_crc: u32,
    /// Which head of the file's this is ([`Put::edition`](super::record::Put)): 0 in the file itself.
    pub edition: u16,
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.head_bytes.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.file.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.names_crc.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.sums_crc.to_le_bytes());
        bytes[44..46].copy_from_slice(&self.edition.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header of a file of `length` bytes; none if it is not sound, or not that file's.
    #[must_use]
    pub fn decode(bytes: &[u8; HEADER_BYTES], length: u64) -> Option<Self> {
        Self::sound(bytes).filter(|header| header.body_bytes <= length && header.length() == length)
    }

    /// The header in these bytes; none if it is not sound.
    #[must_use]
    pub fn sound(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let is_sound = bytes[..8] == MAGIC
            && four(8) == VERSION
            && four(HEADER_BYTES - 4) == crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        let header = Self {
            file: eight(28),
            key_bytes: four(12),
            head_bytes: four(16),
            body_bytes: eight(20),
            names_crc: four(36),
            sums_crc: four(40),
            edition: u16::from_le_bytes([bytes[44], bytes[45]]),
        };
        let fits = header.key_bytes <= MOST_KEY_BYTES
            && header.head_bytes <= MOST_HEAD_BYTES
            && header.body_bytes <= MOST_BODY_BYTES;
        (is_sound && fits).then_some(header)
    }

    /// Whether these can be a file's.
    #[must_use]
    pub fn takes(key_bytes: usize, head_bytes: usize) -> bool {
        let within = |bytes: usize, most: u32| u32::try_from(bytes).is_ok_and(|bytes| bytes <= most);
        within(key_bytes, MOST_KEY_BYTES) && within(head_bytes, MOST_HEAD_BYTES)
    }

    /// The beginning of a file with this key and this head, whose lengths and checksum are those of the header then.
    ///
    /// # Panics
    /// Where [`Header::takes`] says no.
    #[must_use]
    pub fn before(self, key: &[u8], head: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).expect("looked at when the file was made");
        let header = Self {
            key_bytes: length(key.len()),
            head_bytes: length(head.len()),
            names_crc: names_crc(key, head),
            ..self
        };
        [&header.encode(), key, head].concat()
    }

    /// Where the body begins.
    #[must_use]
    pub fn body_at(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.key_bytes) + u64::from(self.head_bytes)
    }

    /// The length of the file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.body_at() + self.body_bytes + 4 * chunks(self.body_bytes)
    }
}

/// How many checksums a body has.
#[must_use]
pub fn chunks(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(CHUNK_BYTES as u64)
}

/// The blocks that a file of so many bytes takes.
#[must_use]
pub fn blocks(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// About how long a file will be whose head is not written yet.
#[must_use]
pub fn length_about(key_bytes: usize, body_bytes: u64) -> u64 {
    let names = HEADER_BYTES as u64 + key_bytes as u64 + USUAL_HEAD_BYTES;
    names.saturating_add(body_bytes).saturating_add(4 * chunks(body_bytes))
}

/// Some ten fields.
const USUAL_HEAD_BYTES: u64 = 600;

/// The checksum of key and head.
#[must_use]
pub fn names_crc(key: &[u8], head: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(key);
    hasher.update(head);
    hasher.finalize()
}

/// Makes the checksums of a body that comes in pieces of any length.
#[derive(Debug, Default)]
pub struct Sums {
    sums: Vec<u8>,
    chunk: Hasher,
    filled: usize,
}

impl Sums {
    /// The next piece.
    pub fn add(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let (now, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - self.filled));
            self.chunk.update(now);
            self.filled += now.len();
            piece = rest;
            if self.filled == CHUNK_BYTES {
                self.end_chunk();
            }
        }
    }

    /// The checksums of a body that is complete, as they lie in its file.
    #[must_use]
    pub fn of(sums: Vec<u8>) -> Self {
        Self { sums, ..Self::default() }
    }

    /// The body ends here.
    pub fn end(&mut self) {
        if self.filled > 0 {
            self.end_chunk();
        }
    }

    /// The checksums of the chunks that are complete.
    #[must_use]
    pub fn known(&self) -> &[u8] {
        &self.sums
    }

    /// The checksums, as they lie in the file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end();
        self.sums
    }

    fn end_chunk(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.sums.extend_from_slice(&chunk.finalize().to_le_bytes());
        self.filled = 0;
    }
}

/// Whether `chunk` is the `number`th of the body with these checksums.
#[must_use]
pub fn is_chunk(sums: &[u8], number: usize, chunk: &[u8]) -> bool {
    let sum = number.checked_mul(4).and_then(|at| sums.get(at..at + 4));
    sum == Some(&crc32fast::hash(chunk).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        file: 9,
        key_bytes: 30,
        head_bytes: 200,
        body_bytes: 70_000,
        names_crc: 1,
        sums_crc: 2,
        edition: 0x102,
    };

    #[test]
    fn a_header_is_read_as_it_was_written_for_a_file_of_its_length() {
        let (bytes, length) = (HEADER.encode(), HEADER.length());
        assert_eq!(length, 64 + 30 + 200 + 70_000 + 8);
        assert_eq!(Header::decode(&bytes, length), Some(HEADER));
        assert_eq!(Header::decode(&bytes, length - 1), None, "cut");
        assert_eq!(Header::decode(&bytes, length + 1), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&changed, length), None, "bit {bit}");
        }
    }

    #[test]
    fn lengths_beyond_what_is_allowed_are_not_believed() {
        for header in [
            Header { key_bytes: u32::MAX, ..HEADER },
            Header { head_bytes: u32::MAX, ..HEADER },
            Header { key_bytes: MOST_KEY_BYTES + 1, ..HEADER },
        ] {
            assert_eq!(Header::decode(&header.encode(), header.length()), None, "{header:?}");
        }
        let endless = Header { body_bytes: u64::MAX, ..HEADER };
        assert_eq!(Header::decode(&endless.encode(), 70_302), None);
    }

    #[test]
    fn checksums_are_the_same_however_a_body_comes() {
        let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let sums = |step: usize| {
            let mut sums = Sums::default();
            body.chunks(step).for_each(|piece| sums.add(piece));
            sums.finish()
        };
        let whole = sums(body.len());
        assert_eq!(whole.len() as u64, 4 * chunks(body.len() as u64));
        for step in [1, 7, 65_535, 65_536, 65_537, 131_072] {
            assert_eq!(sums(step), whole, "pieces of {step}");
        }
        for (number, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
            assert!(is_chunk(&whole, number, chunk));
            assert!(!is_chunk(&whole, number + 1, chunk));
            assert!(!is_chunk(&whole, number, &chunk[1..]));
        }
        assert!(Sums::default().finish().is_empty());
    }
}
