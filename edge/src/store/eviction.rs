//! Which object leaves when the memory is full: S3-FIFO that turns to a wider window, or to LRU, where that hits more.
//!
//! ```text
//! new ─▶ window ─ hit twice ─▶ main ─ not hit since it was last spared ─▶ gone
//!          └─ not ─▶ gone, its hash among the ghosts ─ comes again ─▶ main
//! ```
//!
//! S3-FIFO (Yang et al., SOSP 2023): most of what is new is never asked for again, and leaves a small window soon; main
//! keeps what has proven itself. That loses to LRU where popularity moves, so the width of the window and whether main is
//! spared is a [`Plan`], which [`duel`] chooses by trying all plans on a sample of the requests.
//!
//! Pure: the caller names objects by their hashes and weighs them; [`Marks`] alone is shared with who answers hits.
//!
//! Invariant: after each call the weight of what is held and of the ghosts is at most the capacity.

pub(super) mod duel;
mod ghosts;
mod marks;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use ghosts::GHOST_BYTES;
use ghosts::Ghosts;
use marks::Mark;
pub(super) use marks::Marks;
use queue::{Node, Nodes, Place, Queue};

/// The objects that are held, and the order in which they leave.
#[derive(Debug)]
pub(super) struct Queues {
    nodes: Nodes,
    marks: Arc<Marks>,
    window: Queue,
    main: Queue,
    ghosts: Ghosts,
    plan: Plan,
    capacity: u64,
    /// Ghosts that together weigh one.
    ghosts_a_unit: u64,
    /// Weight admitted in this generation.
    admitted: u64,
}

/// The rule by which one of those that are held leaves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// S3-FIFO with a window of a tenth: best for most loads.
    Narrow,
    /// With a window of four tenths: for loads in which much is popular while it is new.
    Wide,
    /// LRU over all that is held.
    Recency,
}

/// The name of something held; good until it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) slot: u32,
    serial: u32,
}

/// Something that was told to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) hash: u64,
    pub(super) handle: Handle,
}

/// Parts of the capacity that new objects fill in one generation. LRU to within this part.
const GENERATIONS: u64 = 32;
/// Hits in the window that take an object to main. With one, what is asked for in pairs fills main.
const PROVEN_HITS: u32 = 2;
/// Ghosts weigh this many times the capacity, and are as many times as many as what is held. With once as much AdaptSize
/// has 0.5 points fewer hits at a tenth of its footprint, with three times Zipf loads lose a point.
const GHOST_TURNS: u64 = 2;
/// Ghosts of a store that is nearly empty.
const LEAST_GHOSTS: usize = 64;
/// Looks for one victim. When everything was hit since it was filed, the last that is looked at leaves: a put does not wait
/// until all are filed again.
const MOST_LOOKS: usize = 512;

impl Queues {
    /// None is held yet. `ghosts_a_unit` ghosts take as much memory as one unit of weight.
    pub(super) fn new(capacity: u64, ghosts_a_unit: u64) -> Self {
        Self {
            nodes: Nodes::default(),
            marks: Arc::new(Marks::new()),
            window: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            plan: Plan::Narrow,
            capacity,
            ghosts_a_unit,
            admitted: 0,
        }
    }

    /// The marks that hits leave.
    pub(super) fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// The weight of what is held.
    pub(super) fn weight(&self) -> u64 {
        self.window.weight + self.main.weight
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.window.count + self.main.count
    }

    /// Follows another plan from now on.
    pub(super) fn follow(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Takes a new object in. The victims may be many, and the new object be among them if it alone is too heavy.
    pub(super) fn admit(&mut self, hash: u64, weight: u32, victims: &mut Vec<Victim>) -> Handle {
        self.age(weight);
        let slot = self.nodes.add(hash, weight);
        let generation = self.marks.generation();
        self.marks.set(slot, Mark { generation, hits: 0 });
        // LRU needs no ghosts; the other plans find them when they are followed again.
        let is_known = self.plan != Plan::Recency && self.ghosts.take(hash);
        if is_known {
            self.main.file(&mut self.nodes, slot, Place::Main, generation);
        } else {
            self.window.file(&mut self.nodes, slot, Place::Window, generation);
        }
        let handle = Handle { slot, serial: self.nodes.get(slot).map_or(0, |node| node.serial) };
        self.fit(Some(slot), victims);
        handle
    }

    /// Corrects the weight of what is held.
    pub(super) fn weigh(&mut self, handle: Handle, weight: u32, victims: &mut Vec<Victim>) {
        let Some(node) = self.held(handle) else { return };
        match node.place {
            Place::Window => self.window.weigh(&mut self.nodes, handle.slot, weight),
            Place::Main => self.main.weigh(&mut self.nodes, handle.slot, weight),
            Place::Free => {}
        }
        self.fit(Some(handle.slot), victims);
    }

    /// Lets go of something that leaves for another reason than room. It leaves no ghost.
    pub(super) fn remove(&mut self, handle: Handle) {
        if self.held(handle).is_some() {
            let _ = self.take(handle.slot);
        }
    }

    /// Changes the capacity, and lets go of no more than `most` for it now. Whether all fits.
    pub(super) fn resize(&mut self, capacity: u64, most: usize, victims: &mut Vec<Victim>) -> bool {
        self.capacity = capacity;
        while self.used() > capacity && victims.len() < most {
            self.ghosts.trim(self.count() * GHOST_TURNS as usize, capacity.saturating_mul(GHOST_TURNS));
            match self.next_victim(None) {
                Some(victim) => victims.push(victim),
                None => break,
            }
        }
        self.used() <= capacity
    }

    /// Forgets whose hashes are not in the sample, when a smaller one is taken; which were held.
    fn retain(&mut self, stays: impl Fn(u64) -> bool) -> Vec<Victim> {
        let left: Vec<Victim> = self
            .nodes
            .iter()
            .filter(|(_, node)| !stays(node.hash))
            .map(|(slot, node)| Victim { hash: node.hash, handle: Handle { slot, serial: node.serial } })
            .collect();
        for victim in &left {
            let _ = self.take(victim.handle.slot);
        }
        self.ghosts.retain(stays);
        left
    }

    fn used(&self) -> u64 {
        self.weight() + (self.ghosts.len() as u64).div_ceil(self.ghosts_a_unit)
    }

    fn held(&self, handle: Handle) -> Option<&Node> {
        self.nodes.get(handle.slot).filter(|node| node.serial == handle.serial)
    }

    fn age(&mut self, weight: u32) {
        self.admitted += u64::from(weight);
        if self.admitted >= (self.capacity / GENERATIONS).max(1) {
            self.admitted = 0;
            self.marks.advance();
        }
    }

    fn fit(&mut self, newest: Option<u32>, victims: &mut Vec<Victim>) {
        while self.used() > self.capacity {
            match self.next_victim(newest) {
                Some(victim) => victims.push(victim),
                None => break,
            }
        }
        let most = (self.count() * GHOST_TURNS as usize).max(LEAST_GHOSTS);
        self.ghosts.trim(most, self.capacity.saturating_mul(GHOST_TURNS));
    }

    /// Lets the next one leave. `newest` is spared as long as others are there.
    fn next_victim(&mut self, newest: Option<u32>) -> Option<Victim> {
        for look in 1..=MOST_LOOKS {
            let (place, slot, generation) = self.next(newest)?;
            if look < MOST_LOOKS && self.spare(place, slot, generation) {
                continue;
            }
            let node = self.take(slot)?;
            if place == Place::Window {
                self.ghosts.add(node.hash, node.weight);
            }
            return Some(Victim { hash: node.hash, handle: Handle { slot, serial: node.serial } });
        }
        None
    }

    /// The next to be judged, by the plan.
    fn next(&self, newest: Option<u32>) -> Option<(Place, u32, u32)> {
        let oldest = |queue: &Queue, place| {
            let slot = queue.oldest()?;
            Some((place, slot, self.nodes.get(slot)?.filed))
        };
        let (new, proven) = (oldest(&self.window, Place::Window), oldest(&self.main, Place::Main));
        let (Some(window), Some(main)) = (new, proven) else { return new.or(proven) };
        // One that alone is heavier than the window would leave at once, and nothing heavy could ever prove itself.
        let is_full =
            |tenths: u64| self.window.weight > self.capacity / 10 * tenths && newest != Some(window.1);
        let from_window = match self.plan {
            Plan::Narrow => is_full(1),
            Plan::Wide => is_full(4),
            Plan::Recency => window.2 <= main.2,
        };
        Some(if from_window { window } else { main })
    }

    /// Whether something stays though its turn has come; it is filed anew then.
    fn spare(&mut self, place: Place, slot: u32, generation: u32) -> bool {
        let mark = self.marks.get(slot);
        if mark.generation > generation {
            self.refile(slot, place, mark.generation);
            return true;
        }
        let now = self.marks.generation();
        match (place, self.plan) {
            (_, Plan::Recency) => false,
            (Place::Window, _) if mark.hits >= PROVEN_HITS => {
                self.marks.set(slot, Mark { generation: now, hits: 0 });
                self.refile(slot, Place::Main, now);
                true
            }
            (Place::Main, _) if mark.hits > 0 => {
                self.marks.set(slot, Mark { generation: now, hits: mark.hits - 1 });
                self.refile(slot, Place::Main, now);
                true
            }
            _ => false,
        }
    }

    fn refile(&mut self, slot: u32, place: Place, generation: u32) {
        self.unfile(slot);
        let queue = if place == Place::Main { &mut self.main } else { &mut self.window };
        queue.file(&mut self.nodes, slot, place, generation);
    }

    fn unfile(&mut self, slot: u32) -> Option<Node> {
        let node = *self.nodes.get(slot)?;
        let queue = if node.place == Place::Main { &mut self.main } else { &mut self.window };
        queue.take(&mut self.nodes, slot);
        Some(node)
    }

    fn take(&mut self, slot: u32) -> Option<Node> {
        let node = self.unfile(slot)?;
        self.nodes.free(slot);
        Some(node)
    }
}
