//! The queues against a naive model, and what must not happen on any load.

mod loads;

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use loads::{Load, Lru, Own};

/// Everything that is held, in one list; each rule is a search over all of it.
#[derive(Debug, Default)]
struct Model {
    items: Vec<Item>,
    /// Hash, weight, and whether it was taken back.
    ghosts: Vec<(u64, u64, bool)>,
    capacity: u64,
    admitted: u64,
    generation: u32,
    filings: u64,
    recency: bool,
    window_tenths: u64,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    hash: u64,
    weight: u64,
    proven: bool,
    /// The generation and the number of its last filing.
    filed: (u32, u64),
    hits: u32,
    hit: u32,
}

impl Model {
    fn file(&mut self, mut item: Item, generation: u32) {
        self.filings += 1;
        item.filed = (generation, self.filings);
        self.items.push(item);
    }

    fn hit(&mut self, hash: u64) -> bool {
        let generation = self.generation;
        let found = self.items.iter_mut().find(|item| item.hash == hash);
        found.map(|item| (item.hits, item.hit) = ((item.hits + 1).min(3), generation)).is_some()
    }

    fn admit(&mut self, hash: u64, weight: u64) {
        self.admitted += weight;
        if self.admitted >= (self.capacity / 32).max(1) {
            (self.admitted, self.generation) = (0, self.generation + 1);
        }
        let ghost = self.ghosts.iter_mut().rev().find(|ghost| ghost.0 == hash && !ghost.2);
        let proven = !self.recency && ghost.map(|ghost| ghost.2 = true).is_some();
        let item = Item { hash, weight, proven, filed: (0, 0), hits: 0, hit: self.generation };
        self.file(item, self.generation);
        self.fit(hash);
    }

    fn weigh(&mut self, hash: u64, weight: u64) {
        if let Some(item) = self.items.iter_mut().find(|item| item.hash == hash) {
            item.weight = weight;
            self.fit(hash);
        }
    }

    fn fit(&mut self, newest: u64) {
        let held = |items: &[Item]| items.iter().map(|item| item.weight).sum::<u64>();
        while held(&self.items) + (self.ghosts.len() as u64).div_ceil(2) > self.capacity {
            let oldest = |proven| {
                let of = self.items.iter().filter(|item| item.proven == proven);
                of.min_by_key(|item| item.filed).copied()
            };
            let window = self.items.iter().filter(|item| !item.proven).map(|item| item.weight).sum::<u64>();
            let item = match (oldest(false), oldest(true)) {
                (None, None) => break,
                (Some(item), None) | (None, Some(item)) => item,
                (Some(new), Some(old)) if self.recency => {
                    if new.filed.0 <= old.filed.0 {
                        new
                    } else {
                        old
                    }
                }
                (Some(new), Some(_))
                    if window > self.capacity / 10 * self.window_tenths && new.hash != newest =>
                {
                    new
                }
                (_, Some(old)) => old,
            };
            self.items.retain(|other| other.hash != item.hash);
            if item.hit > item.filed.0 {
                self.file(item, item.hit);
            } else if !self.recency && (if item.proven { item.hits > 0 } else { item.hits >= 2 }) {
                let hits = if item.proven { item.hits - 1 } else { 0 };
                self.file(Item { proven: true, hits, hit: self.generation, ..item }, self.generation);
            } else if !item.proven {
                // A hash has one ghost that counts.
                self.ghosts.iter_mut().filter(|ghost| ghost.0 == item.hash).for_each(|ghost| ghost.2 = true);
                self.ghosts.push((item.hash, item.weight, false));
            }
        }
        let weight = |ghosts: &[(u64, u64, bool)]| ghosts.iter().map(|ghost| ghost.1).sum::<u64>();
        while self.ghosts.len() > (self.items.len() * 2).max(64) || weight(&self.ghosts) > self.capacity * 2 {
            self.ghosts.remove(0);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A request: a hit, or it is put.
    Ask(u64, u32),
    Weigh(u64, u32),
    Remove(u64),
    Follow(Plan),
}

fn step() -> impl Strategy<Value = Step> {
    let plan = prop_oneof![Just(Plan::Narrow), Just(Plan::Wide), Just(Plan::Recency)];
    prop_oneof![
        40 => (0..30_u64, 1..90_u32).prop_map(|(hash, weight)| Step::Ask(hash, weight)),
        2 => (0..30_u64, 1..900_u32).prop_map(|(hash, weight)| Step::Weigh(hash, weight)),
        2 => (0..30_u64).prop_map(Step::Remove),
        1 => plan.prop_map(Step::Follow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]
    #[test]
    fn the_queues_hold_what_the_naive_model_holds(steps in prop::collection::vec(step(), 1..400)) {
        const CAPACITY: u64 = 800;
        let mut queues = Queues::new(CAPACITY, 2);
        let mut model = Model { capacity: CAPACITY, window_tenths: 1, ..Model::default() };
        let mut handles: HashMap<u64, Handle> = HashMap::new();
        for step in steps {
            let mut victims = Vec::new();
            match step {
                Step::Ask(hash, weight) => {
                    let is_hit = handles.get(&hash).is_some_and(|handle| { queues.marks().hit(handle.slot); true });
                    prop_assert_eq!(is_hit, model.hit(hash));
                    if !is_hit {
                        handles.insert(hash, queues.admit(hash, weight, &mut victims));
                        model.admit(hash, weight.into());
                    }
                }
                Step::Weigh(hash, weight) => {
                    let _ = handles.get(&hash).map(|handle| queues.weigh(*handle, weight, &mut victims));
                    model.weigh(hash, weight.into());
                }
                Step::Remove(hash) => {
                    let _ = handles.remove(&hash).map(|handle| queues.remove(handle));
                    model.items.retain(|item| item.hash != hash);
                }
                Step::Follow(plan) => {
                    queues.follow(plan);
                    model.recency = plan == Plan::Recency;
                    model.window_tenths = if plan == Plan::Wide { 4 } else { 1 };
                }
            }
            for victim in victims {
                prop_assert_eq!(handles.remove(&victim.hash), Some(victim.handle));
            }
            let mut held: Vec<u64> = handles.keys().copied().collect();
            let mut expected: Vec<u64> = model.items.iter().map(|item| item.hash).collect();
            held.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(held, expected);
            prop_assert_eq!(queues.weight(), model.items.iter().map(|item| item.weight).sum::<u64>());
            prop_assert!(queues.used() <= CAPACITY.max(LEAST_GHOSTS as u64));
        }
    }
}

/// Points of hits by requests and by weight above exact LRU, in a memory of this part of the footprint.
fn gain_over_lru(load: &Load, part: f64) -> (f64, f64) {
    let capacity = (load.footprint() as f64 * part) as u64;
    let (mut own, mut lru) = (Own::new(capacity), Lru::new(capacity));
    let mut gain = (0.0, 0.0);
    for &(hash, weight) in &load.requests {
        let more = f64::from(i8::from(own.ask(hash, weight)) - i8::from(lru.ask(hash, weight)));
        gain = (gain.0 + more, gain.1 + more * f64::from(weight));
    }
    let all = load.requests.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
    (gain.0 * 100.0 / load.requests.len() as f64, gain.1 * 100.0 / all)
}

#[test]
fn no_load_has_fewer_hits_than_with_lru() {
    /// Points: what it costs to find out, on loads as short as these.
    const LEAST: f64 = if cfg!(debug_assertions) { -1.0 } else { -0.3 };
    // Without optimisation a request takes ten times as long.
    let parts: &[f64] = if cfg!(debug_assertions) { &[0.1] } else { &[0.01, 0.1] };
    for load in loads::all() {
        for part in parts {
            let (requests, weight) = gain_over_lru(&load, *part);
            assert!(
                requests >= LEAST && weight >= LEAST,
                "{} at {part}: {requests:+.2} points by requests, {weight:+.2} by weight",
                load.name
            );
        }
    }
}

#[test]
fn a_load_that_does_not_change_has_far_more_hits_than_with_lru() {
    for (name, least) in [("zipf 0.6", 3.0), ("zipf 0.8", 4.0), ("zipf 1.0", 3.0), ("zipf in a scan", 2.0)] {
        let all = loads::all();
        let load = all.iter().find(|load| load.name == name).expect("it is one of them");
        let (requests, weight) = gain_over_lru(load, 0.1);
        assert!(requests >= least && weight >= least - 1.0, "{name}: {requests:+.2} {weight:+.2}");
    }
}

#[test]
fn a_scan_of_ten_times_the_capacity_costs_what_is_hot_two_points_at_most() {
    const CAPACITY: u64 = 1_000_000;
    const WEIGHT: u32 = 1_000;
    let mut own = Own::new(CAPACITY);
    let mut number = 0_u64;
    // A tenth of what fits, each asked for once in 600 requests.
    let mut hot = |own: &mut Own| {
        number += 1;
        own.ask(loads::mix(number % 100), WEIGHT)
    };
    (0..2_000).for_each(|_| _ = hot(&mut own));
    let hits = (0..10_000_u64)
        .filter(|n| own.ask(loads::mix(1_000_000 + n), WEIGHT) | (n % 6 == 0 && !hot(&mut own)))
        .count();
    assert!(hits * 100 <= 2 * 10_000 / 6, "{hits} misses of what is hot");
}

#[test]
fn one_that_is_heavier_than_all_others_together_leaves_alone() {
    let mut queues = Queues::new(1_000, 2);
    let mut victims = Vec::new();
    for hash in 0..5 {
        queues.admit(hash, 100, &mut victims);
    }
    let handle = queues.admit(9, 2_000, &mut victims);
    assert!(victims.contains(&Victim { hash: 9, handle }));
    assert!(queues.weight() <= 1_000);
}

/// A store of a few heavy objects is not left with one.
#[test]
fn heavy_objects_share_a_small_memory() {
    let mut own = Own::new(100);
    let asked = |own: &mut Own| (0..8).filter(|n| own.ask(loads::mix(*n), 12)).count();
    let _ = (0..10).map(|_| asked(&mut own)).sum::<usize>();
    assert_eq!(asked(&mut own), 8);
}

#[test]
fn a_smaller_capacity_is_reached_in_steps_and_a_larger_one_at_once() {
    let mut queues = Queues::new(10_000, 1_000_000);
    let mut victims = Vec::new();
    for hash in 0..1_000 {
        queues.admit(hash, 10, &mut victims);
    }
    let held = queues.count();
    victims.clear();
    assert!(!queues.resize(5_000, 100, &mut victims));
    assert_eq!((victims.len(), queues.count()), (100, held - 100));
    victims.clear();
    assert!(queues.resize(5_000, 10_000, &mut victims));
    assert!(queues.weight() <= 5_000 && queues.weight() > 4_900);
    victims.clear();
    assert!(queues.resize(20_000, 0, &mut victims) && victims.is_empty());
}
