//! Which of several origins gets the next request. Pure: loads, time and chance are arguments.
//!
//! | balance | the choice |
//! |---|---|
//! | round-robin | each in turn, a heavier one more often, spread evenly (nginx's smooth weighted round robin) |
//! | random | by chance, a heavier one more often |
//! | least-loaded | of two by chance the one with less in flight, counted by how long it takes to answer |
//! | hash | by the request's key, so that a key stays at its origin; no origin gets far more than its share |

#[cfg(test)]
mod tests;

/// One origin as a choice sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Its place among the origins of its site.
    pub(super) index: usize,
    /// Its share against the others'; more than 0.
    pub(super) weight: f64,
    /// Requests that it is at.
    pub(super) in_flight: u32,
    /// Seconds that it lately took to answer; none as long as that is not known.
    pub(super) latency_secs: Option<f64>,
    /// Names it when keys are hashed: the same on every edge, whatever other origins there are.
    pub(super) id: u64,
}

impl Choice {
    fn load(&self) -> f64 {
        1.0 + f64::from(self.in_flight) / self.weight
    }
}

/// The order of turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By the origin's place: what it is owed.
    credits: Vec<f64>,
}

impl Turns {
    /// The origin that is owed the most, after each was given its weight; it pays for all. So a heavy origin's turns
    /// lie between those of the others and not in a row. None without a choice.
    pub(super) fn next(&mut self, choices: &[Choice]) -> Option<usize> {
        let most = choices.iter().map(|choice| choice.index + 1).max()?;
        if self.credits.len() < most {
            self.credits.resize(most, 0.0);
        }
        let mut total = 0.0;
        let mut chosen = choices.first()?.index;
        for Choice { index, weight, .. } in choices {
            self.credits[*index] += weight;
            total += weight;
        }
        for Choice { index, .. } in choices {
            if self.credits[*index] > self.credits[chosen] {
                chosen = *index;
            }
        }
        self.credits[chosen] -= total;
        Some(chosen)
    }
}

/// By chance, which is below 1. None without a choice.
pub(super) fn by_chance(choices: &[Choice], chance: f64) -> Option<usize> {
    place_by_chance(choices, chance, None).map(|place| choices[place].index)
}

/// The place in `choices`, but for `except`.
fn place_by_chance(choices: &[Choice], chance: f64, except: Option<usize>) -> Option<usize> {
    let open = || choices.iter().enumerate().filter(|(place, _)| Some(*place) != except);
    let mut left = chance * open().map(|(_, choice)| choice.weight).sum::<f64>();
    let mut last = None;
    for (place, choice) in open() {
        last = Some(place);
        left -= choice.weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Of two by chance the one that will answer sooner: "power of two choices". All edges would meet at the least loaded one of
/// all, as each sees only its own load. None without a choice.
pub(super) fn least_loaded(choices: &[Choice], chances: [f64; 2]) -> Option<usize> {
    let first = place_by_chance(choices, chances[0], None)?;
    let Some(second) = place_by_chance(choices, chances[1], Some(first)) else {
        return Some(choices[first].index);
    };
    let (first, second) = (&choices[first], &choices[second]);
    let (slowness, other) = slownesses(first, second);
    let is_worse = first.load() * slowness > second.load() * other;
    Some(if is_worse { second.index } else { first.index })
}

/// Latencies that differ by less than [`CLEAR_DIFFERENCE`] are noise, which would draw all requests to one of the two.
fn slownesses(first: &Choice, second: &Choice) -> (f64, f64) {
    match (first.latency_secs, second.latency_secs) {
        (Some(one), Some(other)) if one.max(other) > CLEAR_DIFFERENCE * one.min(other).max(SHORTEST_SECS) => {
            (one.max(SHORTEST_SECS), other.max(SHORTEST_SECS))
        }
        _ => (1.0, 1.0),
    }
}

const CLEAR_DIFFERENCE: f64 = 2.0;
/// A client sees no difference below this.
const SHORTEST_SECS: f64 = 0.001;

/// By the hash of a key: weighted rendezvous hashing, so that a lost origin's keys move and no others, with a bound on
/// what an origin may have in flight, so that one object for which all ask does not overload one origin (Mirrokni et al.,
/// "Consistent Hashing with Bounded Loads"). None without a choice.
pub(super) fn by_hash(choices: &[Choice], hash: u64) -> Option<usize> {
    let weight: f64 = choices.iter().map(|choice| choice.weight).sum();
    let in_flight: f64 = choices.iter().map(|choice| f64::from(choice.in_flight)).sum();
    let has_room = |choice: &&Choice| {
        let fair = (in_flight + 1.0) * choice.weight / weight;
        f64::from(choice.in_flight) < (fair * MOST_OF_FAIR).ceil().max(FEW)
    };
    let score = |choice: &&Choice| choice.weight / -unit(mixed(hash ^ choice.id)).ln();
    let best = |one: &&Choice, other: &&Choice| score(one).total_cmp(&score(other));
    let roomy = choices.iter().filter(has_room).max_by(best);
    // Rounded up, the bounds of all are more than what is in flight: one has room.
    roomy.or_else(|| choices.iter().max_by(best)).map(|choice| choice.index)
}

/// An origin has no more than this times its fair share of the requests in flight, rounded up; with many in flight that
/// is less than 1.25 times.
const MOST_OF_FAIR: f64 = 1.2;

/// So many at once are no load for an origin, and a key that strays costs a fetch.
const FEW: f64 = 8.0;

/// More than 0 and less than 1.
fn unit(bits: u64) -> f64 {
    // 53 bits are what an f64 tells apart.
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Each bit of the result depends on each bit of `bits` (the finaliser of SplitMix64).
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
