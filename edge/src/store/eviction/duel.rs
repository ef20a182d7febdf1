//! Chooses the plan that would have hit most of late: each is tried on a sample of the keys, in a memory as much smaller.
//!
//! A sampled key is sampled for good, so each trial sees all requests for the keys that it sees. The trials hold hashes
//! and weights, no more than some thousand, whatever the size of the store ("miniature simulation", Waldspurger et al.,
//! USENIX ATC 2017).

use hashbrown::HashTable;

use super::{Handle, Plan, Queues, Victim};

/// The plans on trial.
#[derive(Debug)]
pub(in crate::store) struct Duel {
    trials: [Trial; PLANS.len()],
    seen: Tally,
    /// The trial whose plan is followed.
    best: usize,
    /// One key in two to the power of this is sampled.
    halvings: u32,
    capacity: u64,
}

/// A plan, and what it would hold of the sampled keys.
#[derive(Debug)]
struct Trial {
    queues: Queues,
    table: HashTable<(u64, Handle)>,
    hit: Tally,
}

/// Requests and their weight, the older ones counting less.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    requests: f64,
    weight: f64,
}

/// The first is followed until another has proven better: a scan that comes early must not find LRU.
const PLANS: [Plan; 3] = [Plan::Narrow, Plan::Wide, Plan::Recency];
/// Objects that a trial may hold. With fewer, chance decides too often; three trials of these with their ghosts take half a
/// megabyte.
const MOST_HELD: usize = 2_048;
/// Requests for each held object until what was seen counts a third.
const MEMORY_TURNS: f64 = 10.0;
const LEAST_MEMORY: f64 = 640.0;
/// A plan takes over when its share of hits by requests and that by bytes are together better by this.
const LEAD: f64 = 0.003;
/// A plan may seem worse than LRU by this for chance alone.
const SLACK: f64 = 0.001;
/// Ghosts weigh nothing in a trial: it is small anyway.
const GHOSTS_A_UNIT: u64 = 1 << 32;
/// Where the bits that sample begin. Tables use the lowest and the highest.
const SAMPLE_SHIFT: u32 = 24;
const MOST_HALVINGS: u32 = 24;

impl Duel {
    /// For a store of this capacity.
    pub(in crate::store) fn new(capacity: u64) -> Self {
        let trials = PLANS.map(|plan| Trial::new(plan, capacity));
        let seen = Tally::default();
        Self { trials, seen, best: 0, halvings: 0, capacity }
    }

    /// Bits of a hash that are all zero in the sampled keys. More are set over time, never fewer.
    pub(in crate::store) fn sampled_bits(&self) -> u64 {
        ((1 << self.halvings) - 1) << SAMPLE_SHIFT
    }

    /// The plan to follow.
    pub(in crate::store) fn plan(&self) -> Plan {
        PLANS[self.best]
    }

    /// A request for something of this weight that is held now, or was put because of it.
    pub(in crate::store) fn observe(&mut self, hash: u64, weight: u32) {
        if hash & self.sampled_bits() != 0 {
            return;
        }
        let held = self.trials.iter().map(|trial| trial.queues.count()).max().unwrap_or(0);
        let fade = 1.0 - 1.0 / (MEMORY_TURNS * held as f64).max(LEAST_MEMORY);
        self.seen.fade(fade);
        self.seen.add(weight);
        for trial in &mut self.trials {
            trial.hit.fade(fade);
            if trial.ask(hash, weight) {
                trial.hit.add(weight);
            }
        }
        if held > MOST_HELD && self.halvings < MOST_HALVINGS {
            self.halve();
        }
        self.judge();
    }

    /// The store has another capacity now.
    pub(in crate::store) fn resize(&mut self, capacity: u64) {
        if capacity == self.capacity {
            return;
        }
        self.capacity = capacity;
        let share = capacity >> self.halvings;
        self.trials.iter_mut().for_each(|trial| trial.resize(share));
    }

    /// A plan that has more hits by requests and pays for it in bytes, or the other way about, is worse than LRU.
    fn judge(&mut self) {
        let hits = |number: usize| self.trials[number].hit.shares_of(&self.seen);
        let lru = hits(PLANS.len() - 1);
        let value = |number: usize| {
            let (requests, weight) = hits(number);
            let is_fair = requests + SLACK >= lru.0 && weight + SLACK >= lru.1;
            if is_fair { requests + weight } else { f64::NEG_INFINITY }
        };
        for number in 0..PLANS.len() {
            if value(number) > value(self.best) + LEAD {
                self.best = number;
            }
        }
    }

    /// Half of the keys, in half of the memory.
    fn halve(&mut self) {
        self.halvings += 1;
        let bits = self.sampled_bits();
        for trial in &mut self.trials {
            let left = trial.queues.retain(|hash| hash & bits == 0);
            trial.forget(&left);
            trial.resize(self.capacity >> self.halvings);
        }
    }
}

impl Trial {
    fn new(plan: Plan, capacity: u64) -> Self {
        let mut queues = Queues::new(capacity, GHOSTS_A_UNIT);
        queues.follow(plan);
        Self { queues, table: HashTable::new(), hit: Tally::default() }
    }

    /// Whether it is held; it is from now on.
    fn ask(&mut self, hash: u64, weight: u32) -> bool {
        if let Some((_, handle)) = self.table.find(hash, |(other, _)| *other == hash) {
            self.queues.marks().hit(handle.slot);
            return true;
        }
        let mut victims = Vec::new();
        let handle = self.queues.admit(hash, weight, &mut victims);
        self.table.insert_unique(hash, (hash, handle), |(hash, _)| *hash);
        self.forget(&victims);
        false
    }

    fn resize(&mut self, capacity: u64) {
        let mut victims = Vec::new();
        self.queues.resize(capacity, usize::MAX, &mut victims);
        self.forget(&victims);
    }

    fn forget(&mut self, victims: &[Victim]) {
        for Victim { hash, .. } in victims {
            if let Ok(entry) = self.table.find_entry(*hash, |(other, _)| other == hash) {
                entry.remove();
            }
        }
    }
}

impl Tally {
    fn fade(&mut self, by: f64) {
        self.requests *= by;
        self.weight *= by;
    }

    fn add(&mut self, weight: u32) {
        self.requests += 1.0;
        self.weight += f64::from(weight);
    }

    /// Its share by requests, and that by weight.
    fn shares_of(&self, all: &Self) -> (f64, f64) {
        (self.requests / all.requests.max(1.0), self.weight / all.weight.max(1.0))
    }
}
