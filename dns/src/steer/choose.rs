//! The choice of one answer from a plan: by weight, stable for a client network, and moved as little as possible.
//!
//! A client's number picks a member by the weights of all, whether they are fit or not, and picks again if that one is not:
//! when a member goes, only its own clients move. A pick is rejected by the part of its share that the member has lost,
//! so the shares of the others grow by their weights, and the choice is exactly by the shares that are left.

use super::Asker;

/// Most members of a pool; a larger RRset is answered as it is.
pub const MOST_MEMBERS: usize = 256;
/// Picks by all weights before one by what is left.
const PICKS: u64 = 6;
/// A member that keeps its whole share.
pub const WHOLE: u16 = u16::MAX;

/// Which members answers give; made by [`decide`](super::decide), read by answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Sums of the weights up to each member.
    weights: Box<[u32]>,
    /// Sums of the shares that are left, up to each member.
    shares: Box<[u32]>,
    /// The part of its share that each member keeps.
    kept: Box<[u16]>,
    /// How many an answer gives; no more than are fit.
    count: usize,
    /// Seconds that answers may be kept.
    ttl: u32,
}

impl Plan {
    /// From weight and kept part of each member, of which at least one must be fit. `count` is how many to give.
    pub fn new(members: &[(u32, u16)], count: Option<usize>, ttl: u32) -> Self {
        let sums = |of: &dyn Fn(u32, u16) -> u32| -> Box<[u32]> {
            let mut sum = 0_u32;
            let add = |(weight, kept): &(u32, u16)| {
                sum = sum.saturating_add(of(*weight, *kept));
                sum
            };
            members.iter().map(add).collect()
        };
        let share = |weight: u32, kept: u16| {
            let share = u64::from(weight) * u64::from(kept) / u64::from(WHOLE);
            u32::try_from(share).unwrap_or(u32::MAX).max(u32::from(kept > 0 && weight > 0))
        };
        // Fine enough that a small share does not fall to nothing.
        let scale = (1 << 24) / members.iter().map(|(weight, _)| u64::from(*weight)).sum::<u64>().max(1);
        let scaled = |weight: u32| u32::try_from(u64::from(weight) * scale.max(1)).unwrap_or(u32::MAX);
        let fit = members.iter().filter(|(weight, kept)| *weight > 0 && *kept > 0).count();
        Self {
            weights: sums(&|weight, _| scaled(weight)),
            shares: sums(&|weight, kept| share(scaled(weight), kept)),
            kept: members.iter().map(|(weight, kept)| if *weight == 0 { 0 } else { *kept }).collect(),
            count: count.unwrap_or(fit).min(fit),
            ttl,
        }
    }

    /// Seconds that answers may be kept, if the RRset may be kept for as long.
    #[inline]
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The part of all answers that a member is first in, in thousandths.
    pub fn share(&self, member: usize) -> u32 {
        let before = member.checked_sub(1).and_then(|at| self.shares.get(at)).copied().unwrap_or_default();
        let own = self.shares.get(member).map_or(0, |sum| sum - before);
        let all = self.shares.last().copied().unwrap_or_default().max(1);
        u32::try_from(u64::from(own) * 1000 / u64::from(all)).expect("a part of a thousand")
    }

    /// Whether an answer gives fewer than are fit.
    pub fn leaves_out(&self) -> bool {
        let fit = self.kept.iter().filter(|kept| **kept > 0).count();
        self.count < fit || self.kept.iter().any(|kept| *kept > 0 && *kept < WHOLE)
    }

    /// Whether any answer gives this member.
    pub fn gives(&self, member: usize) -> bool {
        self.kept.get(member).is_some_and(|kept| *kept > 0)
    }

    /// Calls `give` with each member of one answer, the first first. `salt` is the pool's own number.
    #[inline]
    pub fn choose(&self, asker: Asker, salt: u64, mut give: impl FnMut(usize)) {
        let seed = mix(asker.seed() ^ salt);
        let first = self.pick(seed);
        give(first);
        if self.count > 1 {
            self.choose_others(seed, first, give);
        }
    }

    fn choose_others(&self, seed: u64, first: usize, mut give: impl FnMut(usize)) {
        let mut given = [0_u64; MOST_MEMBERS / 64];
        let mut is_new = |member: usize| {
            let (word, bit) = (member / 64 % given.len(), 1_u64 << (member % 64));
            let is_new = given[word] & bit == 0;
            given[word] |= bit;
            is_new
        };
        is_new(first);
        let mut left = self.count - 1;
        // Where nearly all are given, whom the next pick gives is no question of weight.
        if self.count < self.kept.len() / 2 {
            let mut next = seed;
            for _ in 0..self.count * 4 {
                next = mix(next ^ NEXT);
                let member = self.pick(next);
                if left > 0 && is_new(member) {
                    give(member);
                    left -= 1;
                }
            }
        }
        let members = self.kept.len();
        for at in (first + 1..members).chain(0..first) {
            if left == 0 {
                return;
            }
            if self.accepts(at, mix(seed ^ at as u64)) && is_new(at) {
                give(at);
                left -= 1;
            }
        }
    }

    #[inline]
    fn pick(&self, seed: u64) -> usize {
        let mut next = seed;
        for _ in 0..PICKS {
            let member = at(&self.weights, next);
            if self.accepts(member, next) {
                return member;
            }
            next = mix(next ^ NEXT);
        }
        at(&self.shares, next)
    }

    /// Whether a member keeps this one; by other bits than those it was picked by.
    #[inline]
    fn accepts(&self, member: usize, seed: u64) -> bool {
        let kept = self.kept[member];
        kept == WHOLE || (seed as u16) < kept
    }
}

const NEXT: u64 = 0xd1b5_4a32_d192_ed03;

/// The member into whose part of the whole this number falls.
#[inline]
fn at(sums: &[u32], seed: u64) -> usize {
    let all = u64::from(sums.last().copied().unwrap_or_default());
    let place = ((seed >> 32) * all) >> 32;
    sums.partition_point(|sum| u64::from(*sum) <= place)
}

/// A number that looks like chance (the finalizer of splitmix64).
#[inline]
pub(crate) fn mix(mut seed: u64) -> u64 {
    seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORKS: u32 = 200_000;

    fn asker(network: u32) -> Asker {
        Asker::at(std::net::Ipv4Addr::from_bits(network << 8 | 53).into())
    }

    fn chosen(plan: &Plan, network: u32) -> Vec<usize> {
        let mut all = Vec::new();
        plan.choose(asker(network), 7, |member| all.push(member));
        all
    }

    /// Chi-square of the first member of each answer against the shares that are expected; 5 % of fair choices exceed
    /// 3.8 (1 degree of freedom) to 16.9 (9), and 1 in 1000 exceeds 10.8 to 27.9.
    fn check(members: &[(u32, u16)], count: Option<usize>) {
        let plan = Plan::new(members, count, 30);
        let mut seen = vec![0_u32; members.len()];
        (0..NETWORKS).for_each(|network| seen[chosen(&plan, network)[0]] += 1);
        let share = |(weight, kept): &(u32, u16)| f64::from(*weight) * f64::from(*kept) / f64::from(WHOLE);
        let all: f64 = members.iter().map(share).sum();
        let expected = members.iter().map(|member| share(member) / all * f64::from(NETWORKS));
        let chi: f64 = expected
            .zip(&seen)
            .map(|(expected, seen)| match expected {
                0.0 => {
                    assert_eq!(*seen, 0, "{members:?}");
                    0.0
                }
                expected => (f64::from(*seen) - expected).powi(2) / expected,
            })
            .sum();
        assert!(chi < 30.0, "{members:?}: chi-square {chi}, {seen:?}");
    }

    #[test]
    fn members_are_given_by_the_weights_that_are_left() {
        const HALF: u16 = WHOLE / 2;
        check(&[(1, WHOLE); 2], None);
        check(&[(1, WHOLE); 10], Some(1));
        check(&[(1, WHOLE), (2, WHOLE), (3, WHOLE), (94, WHOLE)], Some(1));
        check(&[(1, WHOLE), (1, 0), (2, WHOLE)], Some(2));
        check(&[(5, HALF), (5, WHOLE), (0, WHOLE), (10, HALF / 2)], Some(1));
        check(&[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, WHOLE), (1, WHOLE)], None);
        check(&[(1, 1), (1, WHOLE)], None);
    }

    #[test]
    fn an_answer_gives_as_many_as_it_should_and_each_once() {
        for (fit, unfit, count, expected) in
            [(3, 0, None, 3), (3, 2, None, 3), (5, 0, Some(2), 2), (1, 4, Some(3), 1), (20, 0, Some(3), 3)]
        {
            let members = [vec![(1, WHOLE); fit], vec![(1, 0); unfit]].concat();
            let plan = Plan::new(&members, count, 30);
            for network in 0..1000 {
                let mut all = chosen(&plan, network);
                assert!(all.iter().all(|member| *member < fit), "{all:?}");
                all.sort_unstable();
                all.dedup();
                assert_eq!(all.len(), expected, "{fit} of {}", fit + unfit);
            }
        }
    }

    #[test]
    fn each_of_equal_members_is_in_as_many_answers() {
        let plan = Plan::new(&[(1, WHOLE); 10], Some(3), 30);
        let mut seen = [0_u32; 10];
        (0..NETWORKS).flat_map(|network| chosen(&plan, network)).for_each(|member| seen[member] += 1);
        let expected = f64::from(NETWORKS) * 0.3;
        let off = seen.iter().map(|seen| (f64::from(*seen) / expected - 1.0).abs()).fold(0.0, f64::max);
        assert!(off < 0.02, "{seen:?}");
    }

    #[test]
    fn when_a_member_goes_only_its_own_clients_move() {
        let (before, after) = (vec![(1, WHOLE); 5], {
            let mut after = vec![(1, WHOLE); 5];
            after[3].1 = 0;
            after
        });
        let (before, after) = (Plan::new(&before, Some(1), 30), Plan::new(&after, Some(1), 30));
        for network in 0..10_000 {
            let (old, new) = (chosen(&before, network)[0], chosen(&after, network)[0]);
            assert!(old == new || old == 3, "{network}: {old} became {new}");
        }
    }

    #[test]
    fn a_network_gets_one_answer_and_networks_differ() {
        let plan = Plan::new(&[(1, WHOLE); 4], Some(1), 30);
        let one = |address: &str| {
            let mut all = Vec::new();
            plan.choose(Asker::at(address.parse().unwrap()), 7, |member| all.push(member));
            all[0]
        };
        assert_eq!(one("192.0.2.1"), one("192.0.2.254"));
        assert_eq!(one("2001:db8:1::1"), one("2001:db8:1:ffff::9"));
        let firsts: std::collections::HashSet<usize> =
            (0..50).map(|network| chosen(&plan, network)[0]).collect();
        assert_eq!(firsts.len(), 4);
    }
}
