//! Whether a member is up: results of checks in a row, and how a member that changes too often is held down.
//!
//! The first result decides alone, since nothing is known before it. After that `rise` good ones in a row bring a member
//! up, and `fall` bad ones take it down. Each time that it goes down adds to a penalty, which halves in a minute; above a
//! bound the member stays down until the penalty has decayed (as routers do with routes that flap, RFC 2439 §4.2).

use std::time::Duration;

use super::rtt::Rtt;
use super::rules::Pace;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it went well.
    pub good: bool,
    /// The event, in a few words.
    pub why: String,
    /// The load that the member told.
    pub load: Load,
    /// The time of a round trip, if the check made a connection.
    pub rtt: Option<Duration>,
}

/// The load that a check was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// None.
    #[default]
    Untold,
    /// Thousandths of what the member can bear.
    Told(u16),
    /// It told one that cannot be read, so that the load of before is the best guess.
    Unclear,
}

impl From<Option<u16>> for Load {
    fn from(thousandths: Option<u16>) -> Self {
        thousandths.map_or(Self::Untold, Self::Told)
    }
}

/// The state of what is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No check has ended yet.
    #[default]
    Unknown,
    /// Users may be sent there.
    Up,
    /// Nobody is sent there.
    Down,
}

impl State {
    /// As logs, metrics and commands name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// All that is known of what is checked. Times are milliseconds of a clock that is never set, so that no step of the time of day
/// lengthens or shortens anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Whether users may be sent there.
    pub state: State,
    /// Since when.
    pub since: u64,
    /// When the last check of this run ended; none if there was none, or if it was too long ago to say anything about now.
    pub checked: Option<u64>,
    /// When the last check of the run before ended, as far as that is known.
    before: Option<u64>,
    /// The state is of long ago: the next result decides alone, as if it were the first one.
    is_old: bool,
    /// The result of the last check.
    pub why: String,
    /// The load it told last.
    pub load: Option<u16>,
    /// Round trips to it since it was down last.
    pub rtt: Rtt,
    /// Changes of state, the first one not counted.
    pub flips: u64,
    /// Results in a row that speak against the state.
    against: u32,
    penalty: f64,
    penalty_at: u64,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The state until now.
    pub from: State,
    /// The state from now on.
    pub to: State,
}

const PENALTY: f64 = 1000.0;
/// Three falls within half a minute.
const HELD_ABOVE: f64 = 2500.0;
const FREE_BELOW: f64 = 1200.0;
const HALF_LIFE_MS: f64 = 60_000.0;

impl Health {
    /// As it was before a restart, with the time of the last check there, if that is known. The state holds until `fall` or `rise`
    /// results say otherwise.
    pub fn restored(state: State, since: u64, before: Option<u64>) -> Self {
        Self { state, since, before, why: "as before the restart".to_owned(), ..Self::default() }
    }

    /// Begins to be checked again at `now`. A state that is older than the time it takes to go down is history: the member may have
    /// died, or come back, without anybody looking.
    pub fn resume(&mut self, pace: &Pace, now: u64) {
        let lasts = (pace.interval * pace.fall + pace.timeout).as_millis();
        let is_fresh = |last: u64| u128::from(now.saturating_sub(last)) <= lasts;
        if self.state != State::Unknown && !self.last_checked().is_some_and(is_fresh) {
            self.is_old = true;
            self.before = self.checked.take().or(self.before);
        }
    }

    /// When the last check ended, in this run or in the one before.
    pub fn last_checked(&self) -> Option<u64> {
        self.checked.or(self.before)
    }

    /// Takes in the result of a check that ended at `now`.
    pub fn see(&mut self, seen: Seen, pace: &Pace, now: u64) -> Option<Flip> {
        self.checked = Some(now);
        self.why = seen.why;
        // A check that failed tells no load, and the member has not lost its own by that.
        if seen.good {
            match seen.load {
                Load::Told(told) => self.load = Some(smoothed(self.load, told)),
                Load::Untold => self.load = None,
                Load::Unclear => {}
            }
            seen.rtt.into_iter().for_each(|rtt| self.rtt.measure(rtt));
        }
        let (found, needed) = match seen.good {
            true => (State::Up, pace.rise),
            false => (State::Down, pace.fall),
        };
        if found == self.state {
            (self.against, self.is_old) = (0, false);
            return None;
        }
        self.against = self.against.saturating_add(1);
        let is_first = self.state == State::Unknown;
        let decides_alone = is_first || std::mem::take(&mut self.is_old);
        if !decides_alone && self.against < needed || found == State::Up && self.is_held(now) {
            return None;
        }
        if found == State::Down && !is_first {
            self.penalty = self.penalty(now) + PENALTY;
            self.penalty_at = now;
        }
        if found == State::Down {
            // It comes back as somebody else: what it bore is no start for what it will bear.
            (self.load, self.rtt) = (None, Rtt::default());
        }
        let flip = Flip { from: self.state, to: found };
        (self.state, self.since, self.against) = (found, now, 0);
        self.flips += u64::from(!is_first);
        Some(flip)
    }

    /// Whether it is held down because it went down too often.
    pub fn is_held(&self, now: u64) -> bool {
        // It was above the bound when it fell last, and has not decayed below the other one since.
        self.state == State::Down && self.penalty > HELD_ABOVE && self.penalty(now) > FREE_BELOW
    }

    fn penalty(&self, now: u64) -> f64 {
        let away = now.saturating_sub(self.penalty_at) as f64;
        self.penalty * (-away / HALF_LIFE_MS).exp2()
    }
}

/// A load moves by half of the way at each check, and the last of it at once: a share that follows every burst would send
/// the burst on to the next member.
fn smoothed(before: Option<u16>, told: u16) -> u16 {
    let Some(before) = before.filter(|before| before.abs_diff(told) > 3) else { return told };
    if told > before { before + (told - before) / 2 } else { before - (before - told) / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    fn pace() -> Pace {
        Pace { rise: 2, fall: 3, ..Pace::default() }
    }

    /// One result a second, `+` good and `-` bad: the state after each, as `U`, `D` or `?`.
    fn check(results: &str, expected: &str) {
        let mut health = Health::default();
        let mut states = String::new();
        for (second, result) in (0_u64..).zip(results.chars()) {
            let seen = Seen { good: result == '+', why: String::new(), load: Load::Untold, rtt: None };
            let before = health.state;
            let flip = health.see(seen, &pace(), second * SECOND);
            assert_eq!(flip.map(|flip| flip.to), (before != health.state).then_some(health.state));
            states.push(match health.state {
                State::Up => 'U',
                State::Down => 'D',
                State::Unknown => '?',
            });
        }
        assert_eq!(states, expected, "{results}");
    }

    #[test]
    fn a_load_follows_what_is_told_over_some_checks() {
        let mut health = Health::default();
        let mut told = |load: Option<u16>| {
            let seen = Seen { good: true, why: String::new(), load: load.into(), rtt: None };
            health.see(seen, &pace(), 0);
            health.load
        };
        assert_eq!([400, 800, 800, 400].map(|load| told(Some(load)).unwrap()), [400, 600, 700, 550]);
        assert_eq!(told(None), None, "who tells none has none");
        let last = (0..30).map(|_| told(Some(1000))).next_back().unwrap();
        assert_eq!(last, Some(1000));
    }

    #[test]
    fn a_failed_check_leaves_the_load_until_the_member_is_down() {
        let mut health = Health::default();
        let mut told = |good: bool, load: Option<u16>| {
            health.see(Seen { good, why: String::new(), load: load.into(), rtt: None }, &pace(), 0);
            health.load
        };
        assert_eq!(told(true, Some(900)), Some(900));
        assert_eq!([0; 2].map(|_| told(false, None)), [Some(900); 2], "one that is up bears what it bore");
        assert_eq!(told(false, None), None, "it is down");
        assert_eq!(told(true, Some(100)), Some(100), "it begins anew");
    }

    #[test]
    fn a_load_that_cannot_be_read_leaves_the_one_of_before() {
        let mut health = Health::default();
        let mut told = |load: Load| {
            health.see(Seen { good: true, why: String::new(), load, rtt: None }, &pace(), 0);
            health.load
        };
        assert_eq!([Load::Told(990), Load::Unclear, Load::Unclear].map(&mut told), [Some(990); 3]);
        assert_eq!([Load::Untold, Load::Unclear].map(told), [None; 2]);
    }

    #[test]
    fn a_state_that_is_older_than_it_takes_to_go_down_is_history_and_the_next_result_decides_alone() {
        let pace =
            Pace { rise: 2, fall: 3, interval: Duration::from_secs(30), timeout: Duration::from_secs(5) };
        let (now, day) = (1_000_000_000, 86_400 * SECOND);
        let seen = |good| Seen { good, why: String::new(), load: Load::Untold, rtt: None };
        for (kept, checked, result, expected) in [
            (State::Up, Some(now - day), false, State::Down),
            (State::Up, Some(now - 96 * SECOND), false, State::Down),
            (State::Up, None, false, State::Down),
            (State::Up, Some(now - 60 * SECOND), false, State::Up),
            (State::Up, Some(now - day), true, State::Up),
            (State::Down, Some(now - day), true, State::Up),
            (State::Down, Some(now - 60 * SECOND), true, State::Down),
        ] {
            let since = now - 10 * day;
            let mut health = Health::restored(kept, since, checked);
            health.resume(&pace, now);
            assert_eq!((health.state, health.since, health.checked), (kept, since, None));
            let flip = health.see(seen(result), &pace, now);
            assert_eq!(health.state, expected, "{kept:?}, checked {checked:?}, then {result}");
            assert_eq!((flip.is_some(), health.since == now), (kept != expected, kept != expected));
            // After that, results in a row count again.
            let held = health.state;
            health.see(seen(!result), &pace, now + 1);
            assert_eq!(health.state, held);
        }
    }

    #[test]
    fn the_first_result_decides_and_later_ones_only_in_a_row() {
        check("+-+--+---++", "UUUUUUUUDDU");
        check("-+-++", "DDDDU");
        check("+--+--+--+", "UUUUUUUUUU");
    }

    #[test]
    fn what_falls_too_often_stays_down_until_it_has_been_quiet() {
        let mut health = Health::default();
        let mut now = 0;
        let mut run = |good: bool, seconds: u64, health: &mut Health| {
            for _ in 0..seconds {
                now += SECOND;
                health.see(Seen { good, why: String::new(), load: Load::Untold, rtt: None }, &pace(), now);
            }
            now
        };
        run(true, 1, &mut health);
        for fall in 1..=3 {
            run(false, 3, &mut health);
            assert_eq!(health.state, State::Down, "fall {fall}");
            run(true, 3, &mut health);
            assert_eq!(health.state == State::Up, fall < 3, "after fall {fall}");
        }
        let flips = health.flips;
        let end = run(true, 60, &mut health);
        assert_eq!(health.state, State::Down, "it is held for more than a minute");
        assert!(health.is_held(end));
        run(true, 60, &mut health);
        assert_eq!((health.state, health.flips), (State::Up, flips + 1), "quiet for two minutes");
    }

    #[test]
    fn a_member_that_flaps_each_three_seconds_for_an_hour_changes_few_times() {
        let (mut health, pace) = (Health::default(), Pace { rise: 2, fall: 2, ..Pace::default() });
        for second in 0..3600 {
            let seen = Seen { good: second / 3 % 2 == 0, why: String::new(), load: Load::Untold, rtt: None };
            health.see(seen, &pace, second * SECOND);
        }
        assert!(health.flips <= 200, "{} flips; without damping there were 1200", health.flips);
    }
}
