//! Synthetic loads of requests, the same in each run, and what answers them: the queues with their duel, and exact LRU.

use std::collections::{BTreeMap, HashMap};

use super::super::duel::Duel;
use super::super::{Handle, Queues};

/// Hashes and weights.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) requests: Vec<(u64, u32)>,
}

impl Load {
    pub(super) fn footprint(&self) -> u64 {
        let weights: HashMap<u64, u32> = self.requests.iter().copied().collect();
        weights.values().map(|weight| u64::from(*weight)).sum()
    }
}

/// The queues and their duel, as the store uses them.
pub(super) struct Own {
    queues: Queues,
    duel: Duel,
    table: HashMap<u64, Handle>,
}

impl Own {
    pub(super) fn new(capacity: u64) -> Self {
        Self { queues: Queues::new(capacity, 1 << 32), duel: Duel::new(capacity), table: HashMap::new() }
    }

    pub(super) fn ask(&mut self, hash: u64, weight: u32) -> bool {
        if let Some(handle) = self.table.get(&hash) {
            if self.queues.marks().hit(handle.slot) {
                self.duel.observe(hash, weight);
            }
            return true;
        }
        self.duel.observe(hash, weight);
        self.queues.follow(self.duel.plan());
        let mut victims = Vec::new();
        self.table.insert(hash, self.queues.admit(hash, weight, &mut victims));
        for victim in &victims {
            let _ = self.table.remove(&victim.hash);
        }
        false
    }
}

/// Exact LRU by weight.
pub(super) struct Lru {
    capacity: u64,
    weight: u64,
    asked: u64,
    held: HashMap<u64, (u64, u32)>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, weight: 0, asked: 0, held: HashMap::new(), order: BTreeMap::new() }
    }

    pub(super) fn ask(&mut self, hash: u64, weight: u32) -> bool {
        self.asked += 1;
        let before = self.held.get(&hash).copied();
        if before.is_none() && u64::from(weight) > self.capacity {
            return false;
        }
        match before {
            Some((asked, _)) => drop(self.order.remove(&asked)),
            None => self.weight += u64::from(weight),
        }
        self.held.insert(hash, (self.asked, weight));
        self.order.insert(self.asked, hash);
        while self.weight > self.capacity {
            let (_, oldest) = self.order.pop_first().expect("what has weight is held");
            let (_, weight) = self.held.remove(&oldest).expect("it is held as it has an order");
            self.weight -= u64::from(weight);
        }
        before.is_some()
    }
}

/// Without optimisation each takes some microseconds.
const REQUESTS: u64 = if cfg!(debug_assertions) { 24_000 } else { 150_000 };
const OBJECTS: usize = 4_000;

/// Loads as tests of a cache know them, and those on which S3-FIFO alone has fewer hits than LRU.
pub(super) fn all() -> Vec<Load> {
    let zipf = |exponent| Zipf::new(OBJECTS, exponent);
    let (z6, z8, z9, z10, z12) = (zipf(0.6), zipf(0.8), zipf(0.9), zipf(1.0), zipf(1.2));
    // Eight requests for each object that is born, those to the young more often.
    let newborn = |n: u64, chance: &mut Chance, life: f64| {
        let age = (-chance.part().ln() * life) as u64;
        100_000 + (n / 8).saturating_sub(age)
    };
    // Each is asked for twice, the second time when so many others came between.
    let pairs = |n: u64, apart: u64| 10_000_000 + n / 2 - if n.is_multiple_of(2) { 0 } else { apart };
    let objects = OBJECTS as u64;
    vec![
        load("zipf 0.6", |_, chance| z6.draw(chance)),
        load("zipf 0.8", |_, chance| z8.draw(chance)),
        load("zipf 1.0", |_, chance| z10.draw(chance)),
        load("zipf 1.2", |_, chance| z12.draw(chance)),
        load("ranks drift fast", |n, chance| (z9.draw(chance) + n / 10) % objects),
        load("ranks drift", |n, chance| (z9.draw(chance) + n / 100) % objects),
        load("ranks jump", |n, chance| (z9.draw(chance) * 7_919 + n / 6_000 * 3_571) % objects),
        load("new ones are popular for a short time", |n, chance| newborn(n, chance, 300.0)),
        load("new ones are popular for a long time", |n, chance| newborn(n, chance, 2_000.0)),
        load("half is popular for being new", |n, chance| match n % 2 {
            0 => z9.draw(chance),
            _ => newborn(n, chance, 500.0),
        }),
        load("zipf and scans", |n, chance| match n / 4_000 % 3 {
            2 => 1_000_000 + n,
            _ => z9.draw(chance),
        }),
        load("zipf in a scan", |n, chance| if n % 2 == 0 { z9.draw(chance) } else { 1_000_000 + n }),
        load("a loop", |n, _| n % 2_000),
        load(
            "zipf in a loop",
            |n, chance| if n % 2 == 0 { z9.draw(chance) } else { 1_000_000 + n / 2 % 600 },
        ),
        load("pairs", |n, _| pairs(n, 200)),
        load("pairs far apart", |n, _| pairs(n, 700)),
        load("phases", |n, chance| match n / 5_000 % 3 {
            0 => z9.draw(chance),
            1 => pairs(n, 300),
            _ => n % 1_500,
        }),
    ]
}

fn load(name: &'static str, mut draw: impl FnMut(u64, &mut Chance) -> u64) -> Load {
    let mut chance = Chance(1);
    let request = |n| {
        let hash = mix(draw(n, &mut chance));
        (hash, weight(hash))
    };
    Load { name, requests: (0..REQUESTS).map(request).collect() }
}

/// From a tenth of the median to several hundred times, as sizes on the web.
fn weight(hash: u64) -> u32 {
    let mut chance = Chance(hash ^ 0xabc);
    // The sum of twelve is nearly normal.
    let normal = (0..12).map(|_| chance.part()).sum::<f64>() - 6.0;
    ((9.0 + 1.5 * normal).exp() / 64.0).clamp(2.0, 60_000.0) as u32
}

/// SplitMix64.
pub(super) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Above 0, up to 1.
    fn part(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

pub(super) fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Ranks from 1 on, each with a chance of one by its power.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, chance: &mut Chance) -> u64 {
        let all = self.0.last().copied().unwrap_or_default();
        let drawn = chance.part() * all;
        self.0.partition_point(|sum| *sum < drawn) as u64 + 1
    }
}
