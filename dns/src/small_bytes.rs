//! Byte strings that are short nearly always: names and RDATA. Up to 22 bytes are kept in place, so that a million
//! records need no million allocations.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// An immutable-length byte string of three words; equal, ordered and hashed as the bytes it holds.
#[derive(Clone)]
pub struct SmallBytes(Place);

/// Bytes that fit beside a length and the tag into the 24 bytes that a `Box` and the tag take anyway.
const MOST_INLINE: usize = 22;

#[derive(Clone)]
enum Place {
    Inline(u8, [u8; MOST_INLINE]),
    Heap(Box<[u8]>),
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> Self {
        match u8::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= MOST_INLINE => {
                let mut inline = [0; MOST_INLINE];
                inline[..bytes.len()].copy_from_slice(bytes);
                Self(Place::Inline(len, inline))
            }
            _ => Self(Place::Heap(bytes.into())),
        }
    }
}

impl<const N: usize> From<[u8; N]> for SmallBytes {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for SmallBytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= MOST_INLINE { Self::from(&bytes[..]) } else { Self(Place::Heap(bytes.into())) }
    }
}

impl From<Box<[u8]>> for SmallBytes {
    fn from(bytes: Box<[u8]>) -> Self {
        if bytes.len() <= MOST_INLINE { Self::from(&bytes[..]) } else { Self(Place::Heap(bytes)) }
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Place::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for SmallBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Place::Inline(len, bytes) => &mut bytes[..usize::from(*len)],
            Place::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SmallBytes {}

impl Hash for SmallBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_kept_as_it_is_in_three_words() {
        assert_eq!(size_of::<SmallBytes>(), 24);
        for len in [0, 1, MOST_INLINE, MOST_INLINE + 1, 255, 65_535] {
            let text: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut kept = SmallBytes::from(&text[..]);
            assert_eq!((&*kept, &kept), (&*text, &SmallBytes::from(text.clone())));
            kept.make_ascii_lowercase();
            assert_eq!(*kept, *text.to_ascii_lowercase());
        }
    }
}
