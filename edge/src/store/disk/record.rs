//! Records of a disk's journal: 64 bytes each, with a checksum over what they say and where they stand.
//!
//! ```text
//! crc32 of the rest (4) · number in the journal (4) · kind (1) · what it says (55)
//! ```
//!
//! Numbers are little-endian. A record that was torn, or that another journal left in its place, does not decode.

use crc32fast::hash as crc32;

/// The length of a record.
pub const RECORD_BYTES: usize = 64;
/// The text that one [`Record::Text`] carries at most.
pub const TEXT_BYTES: usize = 54;

/// One step of what a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The first of a journal.
    Begin(Identity),
    /// A file is complete under its name.
    Put(Put),
    /// A file is no longer held.
    Remove {
        /// The hash of its key.
        hash: u64,
        /// Its number.
        file: u64,
    },
    /// Another response has taken the place of a key's files with these selecting fields.
    RemoveVariant {
        /// The hash of the key.
        hash: u64,
        /// The hash of the fields.
        variant: u32,
    },
    /// A hard purge of one key: all files of it.
    RemoveKey {
        /// The hash of the key.
        hash: u64,
        /// The purge's epoch.
        epoch: u64,
    },
    /// A soft purge of one key.
    ExpireKey {
        /// The hash of the key.
        hash: u64,
        /// When, in seconds since 1970.
        at_secs: u32,
        /// The purge's epoch.
        epoch: u64,
    },
    /// A purge of all that is held.
    Clear {
        /// The purge's epoch.
        epoch: u64,
    },
    /// A purge of more than one key.
    Mark(Mark),
    /// Some of the text of the mark before it.
    Text(Box<[u8]>),
    /// Files from before this epoch are void.
    Floor {
        /// The epoch.
        epoch: u64,
    },
    /// The last of a journal whose edge stopped in order.
    Stopped,
}

/// The format of a folder, and the edge that has begun to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The version of everything in the folder.
    pub version: u32,
    /// How often an edge has begun to use the folder.
    pub generation: u64,
    /// The key of all hashes in it.
    pub hash_key: [u8; 16],
}

/// A file that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// The hash of its key.
    pub hash: u64,
    /// Its number, which is its name.
    pub file: u64,
    /// The epoch of the last mark when its response was asked for.
    pub birth: u64,
    /// Its size on the disk, in units of 4 KiB.
    pub blocks: u32,
    /// The hash of the request fields that select it among others of its key.
    pub variant: u32,
    /// When its freshness was ended, in seconds since 1970; 0 if it was not.
    pub stale_secs: u32,
    /// Which head is its own: 0 is the one in the file, and any other that beside it with this number.
    pub edition: u16,
}

/// A purge of more than one key, as it is compared with what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which responses.
    pub place: Place,
    /// Whether they are stale instead of gone.
    pub is_soft: bool,
    /// The purge's epoch.
    pub epoch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The responses that a mark covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Responses with a name of this hash.
    Named(u64),
    /// Responses with any tag, if they count as having all.
    AnyTag,
    /// Responses whose URL begins with the text that follows.
    Prefix {
        /// Bytes of the text.
        length: u16,
    },
    /// Responses whose URL matches the text that follows.
    Pattern {
        /// Bytes of the text.
        length: u16,
    },
}

impl Place {
    /// Records of text that follow.
    #[must_use]
    pub fn texts(self) -> usize {
        match self {
            Self::Named(_) | Self::AnyTag => 0,
            Self::Prefix { length } | Self::Pattern { length } => usize::from(length).div_ceil(TEXT_BYTES),
        }
    }
}

const BEGIN: u8 = 1;
const PUT: u8 = 2;
const REMOVE: u8 = 3;
const REMOVE_KEY: u8 = 4;
const EXPIRE_KEY: u8 = 5;
const CLEAR: u8 = 6;
const MARK: u8 = 7;
const TEXT: u8 = 8;
const FLOOR: u8 = 9;
const STOPPED: u8 = 10;
const REMOVE_VARIANT: u8 = 11;

/// The bytes of a record that is the `number`th of its journal, from 0 on.
#[must_use]
pub fn encode(record: &Record, number: u32) -> [u8; RECORD_BYTES] {
    let mut out = Fields { bytes: [0; RECORD_BYTES], at: HEAD_BYTES };
    let kind = match record {
        Record::Begin(identity) => {
            out.put(&identity.version.to_le_bytes());
            out.put(&identity.generation.to_le_bytes());
            out.put(&identity.hash_key);
            BEGIN
        }
        Record::Put(put) => {
            [put.hash, put.file, put.birth].iter().for_each(|n| out.put(&n.to_le_bytes()));
            [put.blocks, put.variant, put.stale_secs].iter().for_each(|n| out.put(&n.to_le_bytes()));
            out.put(&put.edition.to_le_bytes());
            PUT
        }
        Record::Remove { hash, file } => {
            [hash, file].iter().for_each(|n| out.put(&n.to_le_bytes()));
            REMOVE
        }
        Record::RemoveVariant { hash, variant } => {
            out.put(&hash.to_le_bytes());
            out.put(&variant.to_le_bytes());
            REMOVE_VARIANT
        }
        Record::RemoveKey { hash, epoch } => {
            [hash, epoch].iter().for_each(|n| out.put(&n.to_le_bytes()));
            REMOVE_KEY
        }
        Record::ExpireKey { hash, at_secs, epoch } => {
            [hash, epoch].iter().for_each(|n| out.put(&n.to_le_bytes()));
            out.put(&at_secs.to_le_bytes());
            EXPIRE_KEY
        }
        Record::Clear { epoch } => {
            out.put(&epoch.to_le_bytes());
            CLEAR
        }
        Record::Mark(mark) => {
            out.mark(mark);
            MARK
        }
        Record::Text(text) => {
            let text = &text[..text.len().min(TEXT_BYTES)];
            out.put(&[u8::try_from(text.len()).expect("cut to less than 256")]);
            out.put(text);
            TEXT
        }
        Record::Floor { epoch } => {
            out.put(&epoch.to_le_bytes());
            FLOOR
        }
        Record::Stopped => STOPPED,
    };
    let mut bytes = out.bytes;
    bytes[4..8].copy_from_slice(&number.to_le_bytes());
    bytes[8] = kind;
    let crc = crc32(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The record in these bytes, if they are the `number`th of a journal.
#[must_use]
pub fn decode(bytes: &[u8; RECORD_BYTES], number: u32) -> Option<Record> {
    let mut fields = Fields { bytes: *bytes, at: 0 };
    if u32::from_le_bytes(fields.take()) != crc32(&bytes[4..]) || u32::from_le_bytes(fields.take()) != number
    {
        return None;
    }
    let [kind] = fields.take();
    let record = match kind {
        BEGIN => Record::Begin(Identity {
            version: u32::from_le_bytes(fields.take()),
            generation: u64::from_le_bytes(fields.take()),
            hash_key: fields.take(),
        }),
        PUT => Record::Put(Put {
            hash: u64::from_le_bytes(fields.take()),
            file: u64::from_le_bytes(fields.take()),
            birth: u64::from_le_bytes(fields.take()),
            blocks: u32::from_le_bytes(fields.take()),
            variant: u32::from_le_bytes(fields.take()),
            stale_secs: u32::from_le_bytes(fields.take()),
            edition: u16::from_le_bytes(fields.take()),
        }),
        REMOVE => Record::Remove {
            hash: u64::from_le_bytes(fields.take()),
            file: u64::from_le_bytes(fields.take()),
        },
        REMOVE_VARIANT => Record::RemoveVariant {
            hash: u64::from_le_bytes(fields.take()),
            variant: u32::from_le_bytes(fields.take()),
        },
        REMOVE_KEY => Record::RemoveKey {
            hash: u64::from_le_bytes(fields.take()),
            epoch: u64::from_le_bytes(fields.take()),
        },
        EXPIRE_KEY => Record::ExpireKey {
            hash: u64::from_le_bytes(fields.take()),
            epoch: u64::from_le_bytes(fields.take()),
            at_secs: u32::from_le_bytes(fields.take()),
        },
        CLEAR => Record::Clear { epoch: u64::from_le_bytes(fields.take()) },
        MARK => Record::Mark(fields.take_mark()?),
        TEXT => {
            let [length] = fields.take();
            Record::Text(fields.bytes[fields.at..].get(..usize::from(length))?.into())
        }
        FLOOR => Record::Floor { epoch: u64::from_le_bytes(fields.take()) },
        STOPPED => Record::Stopped,
        _ => return None,
    };
    Some(record)
}

/// The checksum, the number and the kind.
const HEAD_BYTES: usize = 9;

/// Fields of a record, one behind the other. The longest kind has 28 bytes less than there is room for, so that no
/// field is out of bounds.
struct Fields {
    bytes: [u8; RECORD_BYTES],
    at: usize,
}

impl Fields {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let field = self.bytes[self.at..self.at + N].try_into().expect("as long as it was cut");
        self.at += N;
        field
    }

    fn mark(&mut self, mark: &Mark) {
        let (place, name) = match mark.place {
            Place::Named(hash) => (0, hash),
            Place::AnyTag => (1, 0),
            Place::Prefix { length } => (2, u64::from(length)),
            Place::Pattern { length } => (3, u64::from(length)),
        };
        self.put(&[place, u8::from(mark.is_soft)]);
        [name, mark.epoch, mark.at_ms].iter().for_each(|n| self.put(&n.to_le_bytes()));
    }

    fn take_mark(&mut self) -> Option<Mark> {
        let [place, is_soft] = self.take();
        let name = u64::from_le_bytes(self.take());
        let place = match place {
            0 => Place::Named(name),
            1 => Place::AnyTag,
            2 => Place::Prefix { length: u16::try_from(name).ok()? },
            3 => Place::Pattern { length: u16::try_from(name).ok()? },
            _ => return None,
        };
        let (epoch, at_ms) = (u64::from_le_bytes(self.take()), u64::from_le_bytes(self.take()));
        Some(Mark { place, is_soft: is_soft != 0, epoch, at_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let mark = |place| Record::Mark(Mark { place, is_soft: true, epoch: 7, at_ms: u64::MAX });
        vec![
            Record::Begin(Identity { version: 1, generation: 9, hash_key: *b"0123456789abcdef" }),
            Record::Put(Put {
                hash: u64::MAX,
                file: 2,
                birth: 3,
                blocks: 4,
                variant: 5,
                stale_secs: u32::MAX,
                edition: 0xfedc,
            }),
            Record::Remove { hash: 1, file: 2 },
            Record::RemoveKey { hash: 1, epoch: 2 },
            Record::RemoveVariant { hash: 1, variant: u32::MAX },
            Record::ExpireKey { hash: 1, at_secs: 3, epoch: 2 },
            Record::Clear { epoch: 1 },
            mark(Place::Named(u64::MAX)),
            mark(Place::AnyTag),
            mark(Place::Prefix { length: u16::MAX }),
            mark(Place::Pattern { length: 1 }),
            Record::Text((*b"http://a/").into()),
            Record::Text([b'x'; TEXT_BYTES].into()),
            Record::Text((*b"").into()),
            Record::Floor { epoch: 1 },
            Record::Stopped,
        ]
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_in_its_place_only() {
        for (number, record) in (0..).zip(samples()) {
            let bytes = encode(&record, number);
            assert_eq!(decode(&bytes, number), Some(record.clone()));
            assert_eq!(decode(&bytes, number + 1), None, "{record:?} in another place");
        }
    }

    #[test]
    fn a_record_with_one_bit_changed_is_none() {
        for record in samples() {
            let bytes = encode(&record, 3);
            for bit in 0..RECORD_BYTES * 8 {
                let mut changed = bytes;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&changed, 3), None, "{record:?} at bit {bit}");
            }
        }
    }
}
