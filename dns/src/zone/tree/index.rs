//! From the hash of a name to its node: open addressing, half full at most, built once.

/// Slots that hold node ids.
#[derive(Default)]
pub(super) struct Index {
    slots: Box<[u32]>,
}

const FREE: u32 = u32::MAX;

impl Index {
    pub(super) fn for_entries(count: usize) -> Self {
        let slots = (count * 2).next_power_of_two().max(2);
        Self { slots: vec![FREE; slots].into() }
    }

    pub(super) fn insert(&mut self, hash: u64, id: u32) {
        let mut at = self.start(hash);
        while self.slots[at] != FREE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = id;
    }

    /// The id in the hash's run of slots for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.start(hash);
        loop {
            match self.slots[at] {
                FREE => return None,
                id if is_it(id) => return Some(id),
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    fn start(&self, hash: u64) -> usize {
        // The product's high bits are the well mixed ones.
        let folded = hash ^ (hash >> 32);
        usize::try_from(folded & 0xffff_ffff).expect("32 bits fit a usize") & (self.slots.len() - 1)
    }
}

/// The hashes of a name and of its ancestors up to the apex, made in one pass from the top.
///
/// They are counted in labels below the apex: 0 is the apex itself.
pub(super) struct Hashes {
    hashes: [u64; 128],
    offsets: [u8; 128],
}

impl Default for Hashes {
    fn default() -> Self {
        Self { hashes: [0; 128], offsets: [0; 128] }
    }
}

impl Hashes {
    /// Hashes `name` and what is above it; returns its labels below an apex of `apex_labels` labels.
    pub(super) fn fill(&mut self, name: &[u8], apex_labels: usize) -> usize {
        let mut starts = [0_u8; 128];
        let (mut at, mut count) = (0_usize, 0_usize);
        while let Some(&len) = name.get(at)
            && len != 0
        {
            starts[count] = u8::try_from(at).expect("a name has at most 255 octets");
            count += 1;
            at += usize::from(len) + 1;
        }
        let below = count.saturating_sub(apex_labels);
        self.offsets[0] = starts.get(below).copied().unwrap_or_default();
        if below == count {
            self.offsets[0] = u8::try_from(at).expect("a name has at most 255 octets");
        }
        for labels in 1..=below {
            let start = starts[below - labels];
            let from = usize::from(start);
            let label = &name[from..=from + usize::from(name[from])];
            self.offsets[labels] = start;
            self.hashes[labels] = mix(self.hashes[labels - 1], label);
        }
        below
    }

    /// The hash of the ancestor that has this many labels below the apex.
    pub(super) fn of(&self, labels: usize) -> u64 {
        self.hashes[labels]
    }

    /// The name of that ancestor.
    pub(super) fn suffix<'n>(&self, name: &'n [u8], labels: usize) -> &'n [u8] {
        &name[usize::from(self.offsets[labels])..]
    }
}

/// Eight octets a step; a multiplication spreads each over the whole word.
fn mix(above: u64, label: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    label.chunks(8).fold(above ^ ODD, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let product = (hash ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
        product ^ (product >> 29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn a_name_hashes_as_it_does_as_an_ancestor() {
        let deep = Name::parse_absolute("a.bb.ccc.example.com.").unwrap();
        let mut hashes = Hashes::default();
        let labels = hashes.fill(deep.as_wire(), 2);
        assert_eq!(labels, 3);
        for (count, text) in [
            (0, "example.com."),
            (1, "ccc.example.com."),
            (2, "bb.ccc.example.com."),
            (3, "a.bb.ccc.example.com."),
        ] {
            let name = Name::parse_absolute(text).unwrap();
            let mut own = Hashes::default();
            let own_labels = own.fill(name.as_wire(), 2);
            assert_eq!((own_labels, own.of(own_labels)), (count, hashes.of(count)), "{text}");
            assert_eq!(hashes.suffix(deep.as_wire(), count), name.as_wire());
        }
    }
}
