//! The agreement of name servers about who is up: each tells the others what it sees, and most of those that are heard decide.
//!
//! ```text
//! own checks ─────────────┐
//! messages ─▶ Heard ─▶ observations ─▶ decide ─▶ the state of a member
//! ```
//!
//! A member is down when more than half of the fresh observers say so. A name server that hears nobody has its own view, and one that
//! sees nothing itself has that of the others. Where nobody sees anything, the last state holds.
//!
//! Invariant: a message names members by numbers ([`member_id`]); no address, no name and no reason is in it.

use std::hash::Hasher as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::drain::{Order, Wait};
use super::health::State;
use crate::name::Name;
use crate::zone::hash::HashMap;

/// Milliseconds after which an observation counts no more: five messages were missed.
pub const FRESH_MS: u64 = 5000;
/// Members that one name server may speak of.
pub const MOST_MEMBERS_TOLD: usize = 1 << 18;

/// The state of a member as one name server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Unknown says nothing.
    pub state: State,
    /// Milliseconds since it was so.
    pub age: u64,
}

impl Observation {
    /// Whether it counts.
    pub fn is_fresh(self) -> bool {
        self.state != State::Unknown && self.age <= FRESH_MS
    }
}

/// The result of a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The state that holds.
    pub state: State,
    /// Fresh observers that see the member up.
    pub up: usize,
    /// Fresh observers that see it down.
    pub down: usize,
}

/// Decides by what the observers see now; `before` is the state that held until now.
pub fn decide(observations: impl IntoIterator<Item = Observation>, before: State) -> Agreement {
    let fresh = observations.into_iter().filter(|observation| observation.is_fresh());
    let (mut up, mut down) = (0, 0);
    for observation in fresh {
        *if observation.state == State::Down { &mut down } else { &mut up } += 1;
    }
    let state = match up + down {
        0 => before,
        all if down * 2 > all => State::Down,
        _ => State::Up,
    };
    Agreement { state, up, down }
}

/// The number of a member, the same on every name server: of the pool's name and the address that answers give.
pub fn member_id(owner: &Name, address: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(owner.as_wire());
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish()
}

/// The content of a message, one each second: all that it sees in the first message of a connection, and then what has changed.
///
/// Fields that a newer version adds are ignored, so that name servers of two versions hear each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// A number of this run of the server.
    pub run: u64,
    /// Rises by one with each message of a connection.
    pub sequence: u64,
    /// When it was written: milliseconds of a clock that never goes back, from a moment that is nobody's business.
    pub at: u64,
    /// Whether it says all, so that all that was said before is void.
    pub whole: bool,
    /// Members that it sees up.
    pub up: Vec<u64>,
    /// Members that it sees down.
    pub down: Vec<u64>,
    /// Members that it sees no longer.
    pub unknown: Vec<u64>,
    /// Orders to send nobody to an address, and to send users there again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Order>,
    /// Of the addresses that such orders name, all that answers which it gave may still name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
}

/// Why a message is refused; the connection ends, and the next one begins with a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was sent before one that has come already.
    Old,
    /// One before it is missing.
    Gap,
    /// It speaks of too many members.
    TooLong,
    /// It was too long on its way, or the other clock stood still for a while: the next connection tells which.
    Late,
}

impl Refused {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "a message is older than the one before",
            Self::Gap => "a message is missing",
            Self::TooLong => "it speaks of more members than are allowed",
            Self::Late => "a message is too old to count",
        }
    }
}

/// All that one name server told. Times are milliseconds of the listener's clock.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    last: Option<Last>,
    states: HashMap<u64, State>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    run: u64,
    sequence: u64,
    /// The least difference of the two clocks that a message showed since the last whole one: that of one that came without
    /// delay.
    least: i64,
    /// When the last message was written, if the quickest one came at once.
    moment: u64,
}

impl Heard {
    /// Takes in a message that came at `now`; the members whose state it changes.
    pub fn take(&mut self, message: Message, now: u64) -> Result<Vec<u64>, Refused> {
        let same_run = self.last.filter(|last| last.run == message.run);
        match same_run {
            Some(last) if message.sequence <= last.sequence => return Err(Refused::Old),
            Some(last) if !message.whole && message.sequence > last.sequence.saturating_add(1) => {
                return Err(Refused::Gap);
            }
            None if !message.whole => return Err(Refused::Gap),
            _ => {}
        }
        let difference = now.cast_signed().saturating_sub(message.at.cast_signed());
        // The clock of a machine that was paused stands still meanwhile, so that a whole message begins anew.
        let in_connection = same_run.filter(|_| !message.whole);
        // It may grow by a thousandth: two clocks are not equally fast.
        let least = in_connection.map_or(difference, |last| difference.min(last.least.saturating_add(1)));
        let delay = difference.saturating_sub(least).cast_unsigned();
        if delay > FRESH_MS {
            return Err(Refused::Late);
        }
        let Message { run, sequence, at: _, whole, up, down, unknown, .. } = message;
        let told = up.len() + down.len() + unknown.len();
        let before = if whole { std::mem::take(&mut self.states) } else { HashMap::default() };
        if told > MOST_MEMBERS_TOLD || self.states.len() + up.len() + down.len() > MOST_MEMBERS_TOLD {
            return Err(Refused::TooLong);
        }
        self.last = Some(Last { run, sequence, least, moment: now.saturating_sub(delay) });
        let mut changed = Vec::new();
        for (state, members) in [(State::Up, up), (State::Down, down), (State::Unknown, unknown)] {
            for member in members {
                let was = before.get(&member).copied().or_else(|| self.states.get(&member).copied());
                if was.unwrap_or_default() != state {
                    changed.push(member);
                }
                match state {
                    State::Unknown => self.states.remove(&member),
                    _ => self.states.insert(member, state),
                };
            }
        }
        changed.extend(before.into_keys().filter(|member| !self.states.contains_key(member)));
        Ok(changed)
    }

    /// Milliseconds since the last message was written; none if there was none.
    pub fn age(&self, now: u64) -> Option<u64> {
        self.last.map(|last| now.saturating_sub(last.moment))
    }

    /// Whether what it told counts.
    pub fn is_fresh(&self, now: u64) -> bool {
        self.age(now).is_some_and(|age| age <= FRESH_MS)
    }

    /// A member, as it was told.
    pub fn observation(&self, member: u64, now: u64) -> Observation {
        let state = self.states.get(&member).copied().unwrap_or_default();
        Observation { state, age: self.age(now).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Observers as `up`, `down`, `?`, with `@age` in milliseconds behind them.
    fn observations(text: &str) -> Vec<Observation> {
        let observation = |word: &str| {
            let (state, age) = word.split_once('@').unwrap_or((word, "0"));
            let state = match state {
                "up" => State::Up,
                "down" => State::Down,
                _ => State::Unknown,
            };
            Observation { state, age: age.parse().unwrap() }
        };
        text.split_whitespace().map(observation).collect()
    }

    #[test]
    fn most_of_the_fresh_observers_decide_and_without_any_the_last_state_holds() {
        use State::{Down, Unknown, Up};
        for (seen, before, expected) in [
            ("up", Down, (Up, 1, 0)),
            ("down", Up, (Down, 0, 1)),
            ("down up up", Up, (Up, 2, 1)),
            ("down down up", Up, (Down, 1, 2)),
            // Half is not most.
            ("down up", Down, (Up, 1, 1)),
            ("down down up up", Up, (Up, 2, 2)),
            // A name server that is not heard any more, or has not looked yet, does not count.
            ("down up@5001 up@5001", Up, (Down, 0, 1)),
            ("down up@5000 up@5000", Up, (Up, 2, 1)),
            ("? down down", Up, (Down, 0, 2)),
            // Fail static.
            ("", Down, (Down, 0, 0)),
            ("? ?", Down, (Down, 0, 0)),
            ("up@9000 up@9000", Down, (Down, 0, 0)),
            ("down@9000", Up, (Up, 0, 0)),
            ("", Unknown, (Unknown, 0, 0)),
        ] {
            let (state, up, down) = expected;
            assert_eq!(
                decide(observations(seen), before),
                Agreement { state, up, down },
                "{seen} after {before:?}"
            );
        }
    }

    fn message(run: u64, sequence: u64, whole: bool, [up, down, unknown]: [&[u64]; 3]) -> Message {
        let at = sequence * 1000;
        Message {
            run,
            sequence,
            at,
            whole,
            up: up.into(),
            down: down.into(),
            unknown: unknown.into(),
            ..Message::default()
        }
    }

    #[test]
    fn a_message_of_a_newer_version_is_taken_without_the_fields_that_are_new() {
        let json = r#"{"run":1,"sequence":2,"at":3,"whole":true,"up":[4],"down":[],"unknown":[],"new":[1],
            "orders":[{"address":5,"is_out":true,"at":6,"origin":7,"sequence":8,"new":9}],
            "waits":[{"address":5,"left":10,"new":{}}]}"#;
        let message: Message = serde_json::from_str(json).unwrap();
        assert_eq!((message.up, message.orders.len(), message.waits.len()), (vec![4], 1, 1));
    }

    #[test]
    fn messages_count_in_their_order_and_a_connection_begins_with_a_whole_one() {
        let mut heard = Heard::default();
        let mut take = |message: Message| {
            let now = message.at + 70_000;
            heard.take(message, now).map(|mut changed| {
                changed.sort_unstable();
                changed
            })
        };
        assert_eq!(take(message(7, 1, false, [&[1], &[], &[]])), Err(Refused::Gap), "the first one says all");
        assert_eq!(take(message(7, 1, true, [&[1, 2], &[3], &[]])), Ok(vec![1, 2, 3]));
        assert_eq!(take(message(7, 2, false, [&[], &[1], &[3]])), Ok(vec![1, 3]));
        assert_eq!(take(message(7, 2, false, [&[1], &[], &[]])), Err(Refused::Old));
        assert_eq!(take(message(7, 4, false, [&[1], &[], &[]])), Err(Refused::Gap));
        assert_eq!(
            take(message(7, 9, true, [&[1, 2], &[], &[]])),
            Ok(vec![1]),
            "only 1 is another than before"
        );
        assert_eq!(take(message(7, 10, true, [&[1], &[], &[]])), Ok(vec![2]), "2 is told no more");
        assert_eq!(take(message(8, 1, false, [&[], &[], &[]])), Err(Refused::Gap), "it was started again");
        assert_eq!(take(message(8, 1, true, [&[], &[1], &[]])), Ok(vec![1]));
        let many = (0..=MOST_MEMBERS_TOLD as u64).collect::<Vec<_>>();
        assert_eq!(take(message(8, 2, false, [&many, &[], &[]])), Err(Refused::TooLong));
        let (some, others) = many.split_at(many.len() / 2);
        assert_eq!(take(message(8, 2, false, [some, &[], others])), Err(Refused::TooLong), "together");
    }

    #[test]
    fn a_message_that_was_long_on_its_way_is_as_old_as_it_is() {
        let mut heard = Heard::default();
        assert_eq!(heard.age(0), None);
        // Written at 1000, 2000, … of the other clock; the third and those behind it were held up.
        for (sequence, now, age) in [(1, 501_000, 0), (2, 502_010, 9), (3, 507_000, 3998), (4, 507_000, 2997)]
        {
            heard.take(message(1, sequence, sequence == 1, [&[5], &[], &[]]), now).unwrap();
            assert_eq!(heard.age(now), Some(age), "message {sequence}");
        }
        assert!(heard.is_fresh(509_003) && !heard.is_fresh(509_004));
        assert!(!heard.observation(5, 511_000).is_fresh());
        heard.take(message(1, 5, false, [&[], &[], &[]]), 505_100).unwrap();
        assert!(heard.is_fresh(505_100) && !heard.is_fresh(511_000));
        assert_eq!(heard.observation(5, 505_100).state, State::Up);
        assert_eq!(heard.observation(6, 505_100).state, State::Unknown);
    }

    #[test]
    fn a_name_server_whose_clock_stood_still_counts_again_from_its_next_connection_on() {
        let mut heard = Heard::default();
        let told = |sequence, whole| message(1, sequence, whole, [&[5], &[], &[]]);
        heard.take(told(1, true), 501_000).unwrap();
        heard.take(told(2, false), 502_000).unwrap();
        // Its machine was paused for six seconds: for ever, that would be the age of all that it tells.
        assert_eq!(heard.take(told(3, false), 509_000), Err(Refused::Late), "the connection ends");
        assert!(!heard.is_fresh(509_000));
        heard.take(told(4, true), 510_000).unwrap();
        assert_eq!(heard.age(510_000), Some(0));
        heard.take(told(5, false), 511_000).unwrap();
        assert!(heard.observation(5, 511_000).is_fresh());
    }

    #[test]
    fn a_member_has_one_number_and_no_other_has_it() {
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        let id = |owner: &str, address: &str| member_id(&name(owner), address.parse().unwrap());
        assert_eq!(id("www.example.com", "192.0.2.1"), id("WWW.example.com", "192.0.2.1"));
        // It is the same in every version, since name servers of two versions vote together.
        assert_eq!(id("www.example.com", "192.0.2.1"), MEMBER_ID);
        assert_ne!(id("www.example.com", "192.0.2.1"), id("www.example.com", "192.0.2.2"));
        assert_ne!(id("www.example.com", "192.0.2.1"), id("example.com", "192.0.2.1"));
    }

    const MEMBER_ID: u64 = 16_531_079_236_319_825_379;

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_refused_and_never_older_than_it_came(
            messages in prop::collection::vec((0_u64..3, 0_u64..6, any::<u64>(), any::<bool>(), 0_u64..4), 0..20),
        ) {
            let mut heard = Heard::default();
            for (now, (run, sequence, at, whole, member)) in (0_u64..).zip(messages) {
                let told = Message { run, sequence, at, whole, up: vec![member], ..Message::default() };
                let _ = heard.take(told, now);
                prop_assert!(heard.age(now).is_none_or(|age| age <= u64::MAX / 2));
            }
        }
    }
}
