//! Octet strings that are short nearly always: names and RDATA. Up to 22 octets are kept in place, so that a million
//! records need no million allocations.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

/// An immutable-length octet string of three words; equal, ordered and hashed as the octets it holds.
#[derive(Clone)]
pub struct Octets(Place);

/// Octets that fit beside a length and the tag into the 24 octets that a `Box` and the tag take anyway.
const MOST_INLINE: usize = 22;

#[derive(Clone)]
enum Place {
    Inline(u8, [u8; MOST_INLINE]),
    Heap(Box<[u8]>),
}

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        match u8::try_from(octets.len()) {
            Ok(len) if octets.len() <= MOST_INLINE => {
                let mut inline = [0; MOST_INLINE];
                inline[..octets.len()].copy_from_slice(octets);
                Self(Place::Inline(len, inline))
            }
            _ => Self(Place::Heap(octets.into())),
        }
    }
}

impl<const N: usize> From<[u8; N]> for Octets {
    fn from(octets: [u8; N]) -> Self {
        Self::from(&octets[..])
    }
}

impl From<Vec<u8>> for Octets {
    fn from(octets: Vec<u8>) -> Self {
        if octets.len() <= MOST_INLINE { Self::from(&octets[..]) } else { Self(Place::Heap(octets.into())) }
    }
}

impl From<Box<[u8]>> for Octets {
    fn from(octets: Box<[u8]>) -> Self {
        if octets.len() <= MOST_INLINE { Self::from(&octets[..]) } else { Self(Place::Heap(octets)) }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Inline(len, octets) => &octets[..usize::from(*len)],
            Place::Heap(octets) => octets,
        }
    }
}

impl DerefMut for Octets {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Place::Inline(len, octets) => &mut octets[..usize::from(*len)],
            Place::Heap(octets) => octets,
        }
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Octets {}

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_kept_as_it_is_in_three_words() {
        assert_eq!(size_of::<Octets>(), 24);
        for len in [0, 1, MOST_INLINE, MOST_INLINE + 1, 255, 65_535] {
            let text: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut kept = Octets::from(&text[..]);
            assert_eq!((&*kept, &kept), (&*text, &Octets::from(text.clone())));
            kept.make_ascii_lowercase();
            assert_eq!(*kept, *text.to_ascii_lowercase());
        }
    }
}
