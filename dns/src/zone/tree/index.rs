//! The hashes of names in a tree: each label is mixed into the hash of what is above it, so one pass from the top
//! hashes all ancestors, too.

/// The hash of `name` and how many labels it has below an apex of `apex_labels` labels, which hashes to 0.
pub(super) fn hash(name: &[u8], apex_labels: usize) -> (u64, usize) {
    match Starts::<USUAL_LABELS>::of(name) {
        Some(starts) => hash_from(&starts, name, apex_labels),
        None => hash_from(&Starts::<MOST_LABELS>::of(name).expect(NO_MORE), name, apex_labels),
    }
}

/// Names with more labels are seldom, and room for the longest name would cost more than all else.
pub(super) const USUAL_LABELS: usize = 15;
/// 255 bytes hold no more.
pub(super) const MOST_LABELS: usize = 127;
const NO_MORE: &str = "a name has at most 127 labels";

#[inline]
fn hash_from<const N: usize>(starts: &Starts<N>, name: &[u8], apex_labels: usize) -> (u64, usize) {
    let below = starts.count.saturating_sub(apex_labels);
    let hash = (0..below).rev().fold(0, |above, label| mix(above, starts.label(name, label)));
    (hash, below)
}

/// The hash of the name that is made of `label` (with its length byte) below a name of hash `above`.
pub(super) fn below(above: u64, label: &[u8]) -> u64 {
    mix(above, label)
}

/// The hashes of a name and of its ancestors up to the apex, made in one pass from the top.
///
/// They are counted in labels below the apex: 0 is the apex itself.
pub(super) struct Hashes<const N: usize> {
    starts: Starts<N>,
    below: usize,
    /// Of the names of one label and more below the apex.
    hashes: [u64; N],
}

impl<const N: usize> Hashes<N> {
    /// Of `name` and what is above it; those of more than `most` labels below the apex are left out. None if the name
    /// has more than `N` labels.
    #[inline]
    pub(super) fn of(name: &[u8], apex_labels: usize, most: usize) -> Option<Self> {
        let starts = Starts::of(name)?;
        let below = starts.count.saturating_sub(apex_labels);
        let (mut hashes, mut above) = ([0; N], 0);
        for labels in 1..=below.min(most) {
            above = mix(above, starts.label(name, below - labels));
            hashes[labels - 1] = above;
        }
        Some(Self { starts, below, hashes })
    }

    /// Labels of the name below the apex.
    pub(super) fn labels(&self) -> usize {
        self.below
    }

    /// The hash of the ancestor that has this many labels below the apex.
    pub(super) fn hash(&self, labels: usize) -> u64 {
        labels.checked_sub(1).map_or(0, |at| self.hashes[at])
    }

    /// The name of that ancestor, which is not the apex.
    pub(super) fn suffix<'n>(&self, name: &'n [u8], labels: usize) -> &'n [u8] {
        &name[usize::from(self.starts.offsets[self.below - labels])..]
    }
}

/// Where the labels of a name begin, from the left.
struct Starts<const N: usize> {
    offsets: [u8; N],
    count: usize,
}

impl<const N: usize> Starts<N> {
    /// None if there are more than `N`.
    #[inline]
    fn of(name: &[u8]) -> Option<Self> {
        let (mut offsets, mut at, mut count) = ([0_u8; N], 0_u8, 0);
        while let Some(&len) = name.get(usize::from(at))
            && len != 0
        {
            *offsets.get_mut(count)? = at;
            count += 1;
            at += len + 1;
        }
        Some(Self { offsets, count })
    }

    /// The label with its length byte.
    #[inline]
    fn label<'n>(&self, name: &'n [u8], at: usize) -> &'n [u8] {
        let from = usize::from(self.offsets[at]);
        &name[from..=from + usize::from(name[from])]
    }
}

/// Eight bytes a step; a multiplication spreads each over the whole word.
#[inline]
fn mix(above: u64, label: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(ODD);
        product ^ (product >> 29)
    };
    let (words, rest) = label.as_chunks::<8>();
    let hash = words.iter().fold(above ^ ODD, |hash, word| step(hash, u64::from_le_bytes(*word)));
    if rest.is_empty() {
        return hash;
    }
    let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    step(hash, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn a_name_hashes_as_it_does_as_an_ancestor() {
        let deep = Name::parse_absolute("a.bb.ccc.example.com.").unwrap();
        let hashes = Hashes::<5>::of(deep.as_wire(), 2, 3).unwrap();
        assert!(Hashes::<4>::of(deep.as_wire(), 2, 3).is_none());
        assert_eq!(hashes.labels(), 3);
        for (count, text) in [
            (0, "example.com."),
            (1, "ccc.example.com."),
            (2, "bb.ccc.example.com."),
            (3, "a.bb.ccc.example.com."),
        ] {
            let name = Name::parse_absolute(text).unwrap();
            assert_eq!(hash(name.as_wire(), 2), (hashes.hash(count), count), "{text}");
            if count > 0 {
                assert_eq!(hashes.suffix(deep.as_wire(), count), name.as_wire());
                let (above, _) = hash(name.parent().unwrap().as_wire(), 2);
                let end = usize::from(name.as_wire()[0]) + 1;
                assert_eq!(below(above, &name.as_wire()[..end]), hashes.hash(count));
            }
        }
    }
}
