//! A queue of slots in bands, one for each generation in which something in it was last filed.
//!
//! Only who leaves is looked for at the old end, so hits need not move anything: a slot that was hit since it was filed is
//! filed again, in its mark's generation, when its turn to leave comes. That is LRU to within a generation.

use std::collections::VecDeque;

/// The facts of each slot, and its neighbours in its band.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) hash: u64,
    pub(super) weight: u32,
    /// Counts the uses of the slot.
    pub(super) serial: u32,
    /// The generation that it was filed under.
    pub(super) filed: u32,
    pub(super) place: Place,
    older: u32,
    newer: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    Window,
    Main,
}

/// All nodes by slot; those that are free are used again.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By generation, oldest first; none is empty.
    bands: VecDeque<Band>,
    pub(super) weight: u64,
    pub(super) count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Band {
    generation: u32,
    oldest: u32,
    newest: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;
/// Two turns of the memory. All that was last hit longer ago is one band: nothing there is told apart by when.
const MOST_BANDS: usize = 64;

impl Nodes {
    /// A slot for this; it is in no queue yet.
    pub(super) fn add(&mut self, hash: u64, weight: u32) -> u32 {
        let node = Node { hash, weight, serial: 0, filed: 0, place: Place::Free, older: NONE, newer: NONE };
        if let Some(slot) = self.free.pop() {
            let serial = self.nodes[slot as usize].serial.wrapping_add(1);
            self.nodes[slot as usize] = Node { serial, ..node };
            return slot;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1)
            .expect("each takes memory of its own, of which a process has less")
    }

    pub(super) fn free(&mut self, slot: u32) {
        self.nodes[slot as usize].place = Place::Free;
        self.free.push(slot);
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(slot as usize).filter(|node| node.place != Place::Free)
    }

    fn at(&mut self, slot: u32) -> &mut Node {
        &mut self.nodes[slot as usize]
    }

    /// Nodes that are in use, with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.place != Place::Free)
    }
}

impl Queue {
    /// Puts the slot, which is in no queue, at the new end of the generation's band.
    pub(super) fn file(&mut self, nodes: &mut Nodes, slot: u32, place: Place, generation: u32) {
        let at = match self.bands.binary_search_by_key(&generation, |band| band.generation) {
            Ok(at) => at,
            // In the oldest band nothing is told apart by when.
            Err(0) if self.bands.len() >= MOST_BANDS => 0,
            Err(at) => {
                self.bands.insert(at, Band { generation, oldest: NONE, newest: NONE });
                at
            }
        };
        let band = &mut self.bands[at];
        let node = nodes.at(slot);
        (node.place, node.filed, node.older, node.newer) = (place, generation, band.newest, NONE);
        self.weight += u64::from(node.weight);
        self.count += 1;
        match band.newest {
            NONE => band.oldest = slot,
            newest => nodes.at(newest).newer = slot,
        }
        band.newest = slot;
        if self.bands.len() > MOST_BANDS {
            self.merge_oldest(nodes);
        }
    }

    /// The slot at the old end.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.bands.front().map(|band| band.oldest)
    }

    /// Takes the slot out.
    pub(super) fn take(&mut self, nodes: &mut Nodes, slot: u32) {
        let Node { older, newer, filed, weight, .. } = *nodes.at(slot);
        let at = self.band_of(filed);
        let band = &mut self.bands[at];
        match older {
            NONE => band.oldest = newer,
            older => nodes.at(older).newer = newer,
        }
        match newer {
            NONE => band.newest = older,
            newer => nodes.at(newer).older = older,
        }
        if band.oldest == NONE {
            self.bands.remove(at);
        }
        self.weight -= u64::from(weight);
        self.count -= 1;
    }

    /// Corrects the weight of a slot that is in it.
    pub(super) fn weigh(&mut self, nodes: &mut Nodes, slot: u32, weight: u32) {
        let node = nodes.at(slot);
        self.weight = self.weight - u64::from(node.weight) + u64::from(weight);
        node.weight = weight;
    }

    /// The band of what was filed under this generation: its own, or the one that it was merged into.
    fn band_of(&self, filed: u32) -> usize {
        match self.bands.binary_search_by_key(&filed, |band| band.generation) {
            Ok(at) => at,
            Err(at) => at.saturating_sub(1),
        }
    }

    fn merge_oldest(&mut self, nodes: &mut Nodes) {
        let (Some(oldest), Some(next)) = (self.bands.pop_front(), self.bands.front_mut()) else { return };
        nodes.at(oldest.newest).newer = next.oldest;
        nodes.at(next.oldest).older = oldest.newest;
        (next.generation, next.oldest) = (oldest.generation, oldest.oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files slots under these generations; the order in which they leave.
    #[track_caller]
    fn check(generations: &[u32], expected: &[usize]) {
        let (mut nodes, mut queue) = (Nodes::default(), Queue::default());
        for generation in generations {
            let slot = nodes.add(0, 2);
            queue.file(&mut nodes, slot, Place::Main, *generation);
        }
        assert_eq!((queue.count, queue.weight), (generations.len(), 2 * generations.len() as u64));
        let mut left = Vec::new();
        while let Some(slot) = queue.oldest() {
            queue.take(&mut nodes, slot);
            nodes.free(slot);
            left.push(slot as usize);
        }
        assert_eq!(left, expected);
        assert_eq!((queue.count, queue.weight, queue.bands.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_generation_leaves_first_and_in_it_the_one_filed_first() {
        check(&[], &[]);
        check(&[5, 5, 5], &[0, 1, 2]);
        check(&[5, 3, 9, 3, 5], &[1, 3, 0, 4, 2]);
    }

    #[test]
    fn generations_long_past_become_one_and_everything_can_still_leave() {
        let many: Vec<u32> = (0..200).rev().collect();
        let (mut nodes, mut queue) = (Nodes::default(), Queue::default());
        for generation in many.iter().chain(&[70, 7, 150, 300]) {
            let slot = nodes.add(0, 1);
            queue.file(&mut nodes, slot, Place::Window, *generation);
            assert!(queue.bands.len() <= MOST_BANDS);
            // A slot keeps the generation that it was filed under: only a hit since then may spare it.
            assert_eq!(nodes.get(slot).map(|node| node.filed), Some(*generation));
        }
        let slots: Vec<u32> = nodes.iter().map(|(slot, _)| slot).collect();
        assert_eq!(queue.count, 204);
        for slot in slots.iter().step_by(2).chain(slots.iter().skip(1).step_by(2)) {
            queue.take(&mut nodes, *slot);
        }
        assert_eq!((queue.count, queue.weight, queue.bands.len()), (0, 0, 0));
    }

    #[test]
    fn a_slot_that_is_used_again_has_another_serial() {
        let mut nodes = Nodes::default();
        let slot = nodes.add(1, 1);
        let mut queue = Queue::default();
        queue.file(&mut nodes, slot, Place::Main, 0);
        let before = nodes.get(slot).unwrap().serial;
        queue.take(&mut nodes, slot);
        nodes.free(slot);
        assert!(nodes.get(slot).is_none());
        assert_eq!(nodes.add(2, 1), slot);
        queue.file(&mut nodes, slot, Place::Main, 0);
        assert_ne!(nodes.get(slot).unwrap().serial, before);
    }
}
