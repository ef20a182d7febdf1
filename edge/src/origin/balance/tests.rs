//! Distributions over many requests, and simulations with origins that take their time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, SystemTime};

use super::*;
use crate::origin::load::Latency;

/// Chance that is the same in each run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    fn next(&mut self) -> f64 {
        unit(self.bits())
    }
}

fn idle(weights: &[f64]) -> Vec<Choice> {
    let choice = |(index, weight): (usize, &f64)| Choice {
        index,
        weight: *weight,
        in_flight: 0,
        latency_secs: None,
        id: mixed(index as u64 + 1),
    };
    weights.iter().enumerate().map(choice).collect()
}

/// How many of 10,000 requests each of three origins with the weights 1, 1, 2 gets.
fn check(name: &str, slack: usize, mut pick: impl FnMut(&[Choice], &mut Chance) -> Option<usize>) {
    let (choices, mut chance) = (idle(&[1.0, 1.0, 2.0]), Chance(1));
    let mut counts = [0_usize; 3];
    for _ in 0..10_000 {
        counts[pick(&choices, &mut chance).unwrap()] += 1;
    }
    for (count, expected) in counts.iter().zip([2_500, 2_500, 5_000]) {
        assert!(count.abs_diff(expected) <= slack, "{name}: {counts:?}");
    }
}

#[test]
fn each_balance_gives_each_origin_its_share() {
    let mut turns = Turns::default();
    check("round-robin", 0, |choices, _| turns.next(choices));
    check("random", 200, |choices, chance| by_chance(choices, chance.next()));
    check("least-loaded", 200, |choices, chance| least_loaded(choices, [chance.next(), chance.next()]));
    check("hash", 200, |choices, chance| by_hash(choices, chance.bits()));
}

#[test]
fn a_heavy_origins_turns_are_spread() {
    let (choices, mut turns) = (idle(&[1.0, 1.0, 2.0]), Turns::default());
    let taken: Vec<usize> = (0..8).map(|_| turns.next(&choices).unwrap()).collect();
    assert_eq!(taken, [2, 0, 1, 2, 2, 0, 1, 2]);
    assert_eq!(turns.next(&[]), None);
    // One that is away gets no turn, and makes up for none later but the one that was its own.
    let taken: Vec<usize> = (0..6).map(|_| turns.next(&choices[..2]).unwrap()).collect();
    assert_eq!(taken, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn a_lost_origin_moves_its_own_keys_and_no_others() {
    let all = idle(&[1.0; 10]);
    let mut chance = Chance(2);
    let keys: Vec<u64> = (0..20_000).map(|_| chance.bits()).collect();
    for lost in 0..10 {
        let rest: Vec<Choice> = all.iter().filter(|choice| choice.index != lost).copied().collect();
        let moved = |key: &&u64| by_hash(&all, **key) != by_hash(&rest, **key);
        let of_others = |key: &&u64| moved(key) && by_hash(&all, **key) != Some(lost);
        let count = keys.iter().filter(moved).count();
        assert!(count <= keys.len() * 12 / 100, "{lost}: {count} of {}", keys.len());
        assert_eq!(keys.iter().filter(of_others).count(), 0, "{lost}");
    }
}

/// One object is half of all requests; 200 are in flight at a time.
#[test]
fn one_object_for_which_half_of_all_ask_spreads() {
    let mut choices = idle(&[1.0; 10]);
    let mut chance = Chance(3);
    let mut flying = std::collections::VecDeque::new();
    let (mut served, mut worst) = ([0_u32; 10], 0.0_f64);
    for number in 0..20_000 {
        let key = if chance.bits() & 1 == 0 { 42 } else { chance.bits() };
        let chosen = by_hash(&choices, key).unwrap();
        choices[chosen].in_flight += 1;
        flying.push_back(chosen);
        served[chosen] += 1;
        if flying.len() > 200 {
            choices[flying.pop_front().unwrap()].in_flight -= 1;
        }
        if number > 400 {
            let most = choices.iter().map(|choice| choice.in_flight).max().unwrap();
            worst = worst.max(f64::from(most) / 20.0);
        }
    }
    let hottest = f64::from(*served.iter().max().unwrap()) / 2_000.0;
    assert!(worst <= 1.25 && hottest <= 1.25, "in flight {worst}, in all {hottest}: {served:?}");
}

/// Latencies of requests that arrive at random while three origins serve, one of them ten times slower.
fn simulated(pick: impl Fn(&[Choice], &mut Chance, &mut Turns) -> Option<usize>) -> Vec<u64> {
    const SERVICE_US: [u64; 3] = [10_000, 10_000, 100_000];
    let mut choices = idle(&[1.0; 3]);
    let (mut chance, mut turns) = (Chance(4), Turns::default());
    let mut latencies = [Latency::default(); 3];
    let (mut busy_until, mut ends) = ([[0_u64; 8]; 3], BinaryHeap::<Reverse<(u64, usize, u64)>>::new());
    let (mut now, mut took) = (0_u64, Vec::new());
    let at = |us: u64| SystemTime::UNIX_EPOCH + Duration::from_micros(us);
    for _ in 0..30_000 {
        now += (-chance.next().ln() * 5_000.0) as u64;
        while let Some(Reverse((end, index, began))) =
            ends.peek().copied().filter(|Reverse((end, ..))| *end <= now)
        {
            ends.pop();
            choices[index].in_flight -= 1;
            latencies[index].took(Duration::from_micros(end - began), at(end));
        }
        for choice in &mut choices {
            choice.latency_secs = latencies[choice.index].secs(at(now));
        }
        let chosen = pick(&choices, &mut chance, &mut turns).unwrap();
        // Eight workers each; a request waits for the first that is free.
        let worker = busy_until[chosen].iter_mut().min().unwrap();
        let end = now.max(*worker) + SERVICE_US[chosen];
        *worker = end;
        choices[chosen].in_flight += 1;
        ends.push(Reverse((end, chosen, now)));
        took.push(end - now);
    }
    took.sort_unstable();
    took
}

#[test]
fn least_loaded_avoids_an_origin_that_is_ten_times_slower() {
    let p99 = |took: &[u64]| took[took.len() * 99 / 100];
    let in_turn = simulated(|choices, _, turns| turns.next(choices));
    let least = simulated(|choices, chance, _| least_loaded(choices, [chance.next(), chance.next()]));
    let by_flights_alone = simulated(|choices, chance, _| {
        let blind: Vec<Choice> = choices.iter().map(|one| Choice { latency_secs: None, ..*one }).collect();
        least_loaded(&blind, [chance.next(), chance.next()])
    });
    let found = (p99(&in_turn), p99(&by_flights_alone), p99(&least));
    assert!(found.2 * 5 < found.0 && found.2 * 2 < found.1, "p99 in µs: {found:?}");
}

proptest::proptest! {
    /// Whatever the loads are: each balance takes one of the choices, and the hash one that is within its bound.
    #[test]
    fn a_choice_is_always_one_of_the_choices(
        loads in proptest::collection::btree_map(0_usize..20, (1_u32..100, 0_u32..1_000), 1..8),
        bits in proptest::prelude::any::<u64>(),
        chances in (0.0..1.0_f64, 0.0..1.0_f64),
    ) {
        let choice = |(index, (weight, in_flight)): (&usize, &(u32, u32))| Choice {
            index: *index,
            weight: f64::from(*weight),
            in_flight: *in_flight,
            latency_secs: None,
            id: mixed(*index as u64),
        };
        let choices: Vec<Choice> = loads.iter().map(choice).collect();
        for chosen in [
            Turns::default().next(&choices),
            by_chance(&choices, chances.0),
            least_loaded(&choices, [chances.0, chances.1]),
            by_hash(&choices, bits),
        ] {
            proptest::prop_assert!(chosen.is_some_and(|chosen| loads.contains_key(&chosen)));
        }
        let total: BTreeMap<&str, u64> = BTreeMap::from([
            ("weight", loads.values().map(|(weight, _)| u64::from(*weight)).sum()),
            ("flights", loads.values().map(|(_, flights)| u64::from(*flights)).sum()),
        ]);
        let (weight, flights) = loads[&by_hash(&choices, bits).unwrap()];
        // In whole numbers, but for what is no load: flights < ceil(6 (total + 1) weight / (5 weights)).
        let bound = (6 * (total["flights"] + 1) * u64::from(weight)).div_ceil(5 * total["weight"]);
        proptest::prop_assert!(u64::from(flights) < bound.max(8), "{flights} {bound}");
    }
}
