//! One run of bytes that holds all that is known of each name: its position, what hides it, its RRsets.
//!
//! ```text
//! name:   position u32 │ hider u32 │ RRsets u16 │ bytes of the name u8 │ name │ RRset …
//! RRset:  type u16 │ TTL u32 │ bytes u32 │ (length u16, RDATA) …
//! ```
//!
//! Invariant: only [`Arena::open`], [`Arena::hide`], [`Arena::add`] and [`Arena::write_serial`] write, and a [`Place`] comes from `open`
//! alone; so what is read at a place was written there.

use std::borrow::Cow;
use std::ops::Range;

use super::rrset::{RrSet, pack};
use crate::rtype::Type;

/// All names of a tree.
#[derive(Clone, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    last: Place,
}

/// Where a name begins, in units of [`UNIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// Names begin at multiples of this, so that 32 bits reach 32 GiB: more than the records of one zone take.
const UNIT: usize = 8;
const NOBODY: u32 = u32::MAX;

/// The five numbers at the end of a SOA.
const SOA_NUMBERS_BYTES: usize = 20;
const HIDER: usize = 4;
const SETS: usize = 8;
const NAME: usize = 10;

impl Arena {
    /// Begins the next name; the RRsets that are added next are its own.
    pub(super) fn open(&mut self, position: usize, name: &[u8]) -> Place {
        let start = self.bytes.len().next_multiple_of(UNIT);
        self.bytes.resize(start, 0);
        let place = u32::try_from(start / UNIT).ok().filter(|place| *place != NOBODY);
        self.last = Place(place.expect("the records of a zone take less than 32 GiB"));
        let position = u32::try_from(position).expect("a zone has less than 2^32 names");
        self.bytes.extend_from_slice(&position.to_ne_bytes());
        self.bytes.extend_from_slice(&NOBODY.to_ne_bytes());
        self.bytes.extend_from_slice(&[
            0,
            0,
            u8::try_from(name.len()).expect("a name has at most 255 bytes"),
        ]);
        self.bytes.extend_from_slice(name);
        self.last
    }

    /// Adds an RRset to the last name.
    pub(super) fn add<'r>(&mut self, rtype: Type, ttl: u32, rdatas: impl IntoIterator<Item = &'r [u8]>) {
        let count_at = at(self.last) + SETS;
        let count = u16::from_ne_bytes([self.bytes[count_at], self.bytes[count_at + 1]]) + 1;
        self.bytes[count_at..count_at + 2].copy_from_slice(&count.to_ne_bytes());
        self.bytes.extend_from_slice(&rtype.0.to_ne_bytes());
        self.bytes.extend_from_slice(&ttl.to_ne_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        pack(rdatas, &mut self.bytes);
        let packed = u32::try_from(self.bytes.len() - length_at - 4).expect("an RRset has less than 4 GiB");
        self.bytes[length_at..length_at + 4].copy_from_slice(&packed.to_ne_bytes());
    }

    pub(super) fn hide(&mut self, place: Place, hider: Place) {
        let at = at(place) + HIDER;
        self.bytes[at..at + 4].copy_from_slice(&hider.0.to_ne_bytes());
    }

    /// Where RDATA that this arena lent begins and ends.
    pub(super) fn offset(&self, lent: &[u8]) -> Option<Range<usize>> {
        let start = lent.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        let end = start + lent.len();
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Writes the serial of the SOA whose RDATA is at `rdata`.
    pub(super) fn write_serial(&mut self, rdata: Range<usize>, serial: u32) {
        if let Some(at) = rdata.end.checked_sub(SOA_NUMBERS_BYTES).filter(|at| *at >= rdata.start) {
            self.bytes[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    pub(super) fn memory(&self) -> Range<*const u8> {
        self.bytes.as_ptr_range()
    }

    #[inline]
    pub(super) fn name(&self, place: Place) -> &[u8] {
        let rest = &self.bytes[at(place) + NAME..];
        &rest[1..=usize::from(rest[0])]
    }

    pub(super) fn position(&self, place: Place) -> usize {
        usize::try_from(self.u32(at(place))).expect("32 bits fit a usize")
    }

    #[inline]
    pub(super) fn hider(&self, place: Place) -> Option<Place> {
        let hider = self.u32(at(place) + HIDER);
        (hider != NOBODY).then_some(Place(hider))
    }

    #[inline]
    pub(super) fn sets(&self, place: Place) -> Sets<'_> {
        let header = &self.bytes[at(place) + SETS..];
        let left = u16::from_ne_bytes([header[0], header[1]]);
        Sets { left, rest: &header[3 + usize::from(header[2])..] }
    }

    /// The RRset of this type: the others are stepped over by their length.
    pub(super) fn set(&self, place: Place, rtype: Type) -> Option<RrSet<'_>> {
        let Sets { left, mut rest } = self.sets(place);
        for _ in 0..left {
            let (header, behind) = rest.split_first_chunk::<10>()?;
            let [t1, t2, s1, s2, s3, s4, o1, o2, o3, o4] = *header;
            let bytes = usize::try_from(u32::from_ne_bytes([o1, o2, o3, o4])).expect("32 bits fit a usize");
            let (packed, behind) = behind.split_at(bytes);
            if u16::from_ne_bytes([t1, t2]) == rtype.0 {
                let ttl = u32::from_ne_bytes([s1, s2, s3, s4]);
                return Some(RrSet { rtype, ttl, packed: Cow::Borrowed(packed) });
            }
            rest = behind;
        }
        None
    }

    #[inline]
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(*self.bytes[at..].first_chunk().expect("a place holds its header"))
    }
}

#[inline]
fn at(place: Place) -> usize {
    usize::try_from(place.0).expect("32 bits fit a usize") * UNIT
}

/// The RRsets of one name, ordered by type.
#[derive(Clone)]
pub struct Sets<'t> {
    left: u16,
    rest: &'t [u8],
}

impl<'t> Iterator for Sets<'t> {
    type Item = RrSet<'t>;

    fn next(&mut self) -> Option<RrSet<'t>> {
        self.left = self.left.checked_sub(1)?;
        let (header, rest) = self.rest.split_first_chunk::<10>()?;
        let [t1, t2, s1, s2, s3, s4, o1, o2, o3, o4] = *header;
        let bytes = usize::try_from(u32::from_ne_bytes([o1, o2, o3, o4])).expect("32 bits fit a usize");
        let (packed, rest) = rest.split_at(bytes);
        self.rest = rest;
        let (rtype, ttl) = (Type(u16::from_ne_bytes([t1, t2])), u32::from_ne_bytes([s1, s2, s3, s4]));
        Some(RrSet { rtype, ttl, packed: Cow::Borrowed(packed) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Sets<'_> {}
