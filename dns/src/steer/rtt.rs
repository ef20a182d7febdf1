//! Round-trip times from this name server to members, as checks measure them, and which members are equally near by them.
//!
//! A round trip takes at least its time on the way, and often longer: so the least of the last ones counts, and it is followed in
//! steps. Between two steps nothing moves, so that answers do not follow noise.

use std::time::Duration;

/// Round trips of a window. The least of two windows counts, so that a way that became longer is believed after as many checks twice.
const WINDOW: u8 = 16;
/// A step is a fifth of what is followed, and this many microseconds at least.
const LEAST_STEP: u32 = 2000;
/// Members are equally near if a round trip takes half as long again at most, or as many microseconds longer.
const EQUALLY_NEAR: u32 = 5000;

/// The round-trip time to one member. Times are microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtt {
    /// The least of this window; 0 is none.
    least: u32,
    /// The least of the window before; 0 is none.
    before: u32,
    /// Round trips of this window.
    count: u8,
    followed: Option<u32>,
}

impl Rtt {
    /// Takes in a round trip.
    pub fn measure(&mut self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        self.least = if self.least == 0 { took } else { self.least.min(took) };
        let least = if self.before == 0 { self.least } else { self.least.min(self.before) };
        self.count += 1;
        if self.count == WINDOW {
            (self.before, self.least, self.count) = (self.least, 0, 0);
        }
        let is_step = |followed: u32| least.abs_diff(followed) > LEAST_STEP.max(followed / 5);
        if self.followed.is_none_or(is_step) {
            self.followed = Some(least);
        }
    }

    /// As it is followed; none where nothing was measured.
    pub fn micros(&self) -> Option<u32> {
        self.followed
    }
}

/// The band of each member: 0 is the nearest, those of one band are equally near; none where nothing was measured. Only members that
/// may serve (`fit`) say where a band begins: the others are in the bands of those.
pub fn bands(rtts: &[Option<u32>], fit: &[bool]) -> Vec<Option<u16>> {
    let mut order: Vec<usize> = (0..rtts.len()).filter(|at| rtts[*at].is_some()).collect();
    order.sort_by_key(|at| rtts[*at]);
    let mut bands = vec![None; rtts.len()];
    let (mut band, mut begins) = (0, None);
    for at in order {
        let rtt = rtts[at].unwrap_or_default();
        let is_farther = begins.is_some_and(|begin| rtt - begin > EQUALLY_NEAR.max(begin / 2));
        let own = if is_farther { band + 1 } else { band };
        if fit[at] && (is_farther || begins.is_none()) {
            (band, begins) = (own, Some(rtt));
        }
        bands[at] = Some(own);
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that are followed, each once, while these milliseconds are measured.
    fn followed(measured: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut rtt = Rtt::default();
        let mut seen: Vec<f64> = Vec::new();
        for millis in measured {
            rtt.measure(Duration::from_secs_f64(millis / 1000.0));
            let now = f64::from(rtt.micros().unwrap()) / 1000.0;
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        seen
    }

    #[test]
    fn noise_moves_nothing_and_another_way_is_one_step() {
        let chance = |at: u64| (crate::steer::choose::mix(at) % 1000) as f64 / 1000.0;
        // Up to three times as long as the way itself.
        let noisy = |way: f64| move |at: u64| way * (1.0 + 2.0 * chance(at).powi(3));
        let steady = followed((0..10_000).map(noisy(30.0)));
        assert!(steady.len() <= 2 && *steady.last().unwrap() < 36.0, "{steady:?}");
        let longer = followed((0..500).map(noisy(30.0)).chain((500..1000).map(noisy(60.0))));
        assert!(longer.len() <= 4 && (60.0..75.0).contains(longer.last().unwrap()), "{longer:?}");
        let shorter = followed([80.0, 80.0, 20.0, 80.0]);
        assert_eq!(shorter, [80.0, 20.0], "a shorter way is believed at once");
        assert_eq!(followed([0.05, 0.9, 1.9]), [0.05], "within a machine room all is noise");
    }

    #[test]
    fn members_within_half_of_the_nearest_are_equally_near_and_the_others_in_their_order() {
        for (millis, expected) in [
            (&[Some(10), Some(12), Some(15)][..], &[Some(0), Some(0), Some(0)][..]),
            (&[Some(40), Some(10), Some(16)], &[Some(2), Some(0), Some(1)]),
            (&[Some(100), Some(150), Some(151)], &[Some(0), Some(0), Some(1)]),
            (&[Some(0), Some(5), Some(6)], &[Some(0), Some(0), Some(1)]),
            (&[None, Some(80), None], &[None, Some(0), None]),
            (&[None, None], &[None, None]),
        ] {
            let rtts: Vec<Option<u32>> =
                millis.iter().map(|it: &Option<u32>| it.map(|it| it * 1000)).collect();
            assert_eq!(bands(&rtts, &vec![true; rtts.len()]), expected, "{millis:?}");
        }
        let millis = [10, 14, 16, 30, 80].map(|millis| Some(millis * 1000));
        let served = bands(&millis, &[false, true, true, false, true]);
        assert_eq!(served, [0, 0, 0, 1, 1].map(Some), "the first and the fourth one serve nobody");
    }
}
