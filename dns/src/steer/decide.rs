//! The chain: which members answers give, and why the others are left out.
//!
//! ```text
//! members ─▶ drained? ─▶ up? ─▶ place ─▶ priority ─▶ load ─▶ weight ─▶ count ─▶ plan
//! ```

use std::net::IpAddr;

use super::choose::{Plan, WHOLE};
use super::health::State;
use super::rules::{AllDown, Rules, Shed};

/// A member and what is known of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The address that answers give.
    pub address: IpAddr,
    /// Its share beside those of the others.
    pub weight: u32,
    /// Members of the lowest number that has one up are given.
    pub priority: u32,
    /// Where it is.
    pub place: Option<u16>,
    /// Whether it is up; unknown counts as up.
    pub state: State,
    /// Since when, in milliseconds of one clock for all members.
    pub since: u64,
    /// Thousandths of what it can bear, if it told.
    pub load: Option<u16>,
    /// Nobody is to be sent there.
    pub drained: bool,
    /// Microseconds of a round trip to it, if that is measured and counts.
    pub rtt: Option<u32>,
    /// Its checks measure round trips, and the first of them has not ended yet.
    pub awaited: bool,
}

/// The fate of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answers give it.
    Given,
    /// Answers give it although it is down.
    GivenAnyway,
    /// Answers give it less often, since it is loaded.
    Shed,
    /// It is down.
    Down,
    /// Somebody takes it out of service.
    Drained,
    /// Others go first.
    Spare,
    /// Others are nearer to this client.
    Elsewhere,
    /// Answers give it to those whom loaded members that are nearer shed.
    Helps,
    /// It bears all that it can.
    Overloaded,
    /// Its weight is 0.
    Weightless,
}

impl Fate {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::GivenAnyway => "given although it is down",
            Self::Shed => "given less, loaded",
            Self::Down => "not given: down",
            Self::Drained => "not given: drained",
            Self::Spare => "spare: others go first",
            Self::Elsewhere => "not given: others are nearer",
            Self::Helps => "given to those whom nearer ones shed",
            Self::Overloaded => "not given: overloaded",
            Self::Weightless => "not given: its weight is 0",
        }
    }
}

/// How far health is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Members that are down are left out.
    Normal,
    /// Too few are up: all are given.
    Panic,
    /// Nobody is up: `all_down` says who is given.
    AllDown,
}

impl Mode {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Panic => "too few are up, so health is not believed",
            Self::AllDown => "nobody is up",
        }
    }
}

/// The result of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The fate of each member, in their order.
    pub fates: Vec<Fate>,
    /// How far health was believed.
    pub mode: Mode,
    /// The plan that answers choose from.
    pub plan: Plan,
}

/// Decides who is given to clients to whom these places are near, the nearest first; to nobody in particular if there are none.
/// `ttl` is the RRset's own.
pub fn decide(rules: &Rules, members: &[Known], ttl: u32, near: &[u16]) -> Decision {
    let all_weightless = members.iter().all(|member| member.weight == 0);
    let weighs = |member: &Known| member.weight > 0 || all_weightless;
    let (mode, believed, fit) = fit(rules, members);
    let is_fit = |at: usize| fit[at];
    let weight = |member: &Known| member.weight.max(u32::from(all_weightless));
    let groups =
        groups(members, near, &is_fit, &|at| (weight(&members[at]), kept(rules.shed, members[at].load)));
    let group = |at: usize| groups.iter().position(|group| group.has(&members[at]));
    let is_in = |at: usize| is_fit(at) && group(at).is_some();
    let kept = |at: usize| if is_in(at) { kept(rules.shed, members[at].load) } else { 0 };
    // Where all are overloaded, nobody is better off.
    let all_overloaded = (0..members.len()).all(|at| kept(at) == 0);
    let kept = |at: usize| if is_in(at) && all_overloaded { WHOLE } else { kept(at) };
    // Members that are out keep their part of the numbers, so that only their clients move.
    let part = |(at, member): (usize, &Known)| match group(at) {
        None => (0, 0),
        Some(_) if groups.len() == 1 => (weight(member), kept(at)),
        Some(group) => (groups[group].scaled(weight(member)), kept(at)),
    };
    let parts: Vec<(u32, u16)> = members.iter().enumerate().map(part).collect();
    let is_near = |member: &Known| groups.iter().any(|group| group.is_near(member));
    let fate = |(at, member): (usize, &Known)| match kept(at) {
        _ if !weighs(member) => Fate::Weightless,
        1.. if group(at) > Some(0) => Fate::Helps,
        WHOLE if member.state == State::Down => Fate::GivenAnyway,
        WHOLE => Fate::Given,
        1.. => Fate::Shed,
        0 if member.drained => Fate::Drained,
        0 if !believed[at] => Fate::Down,
        0 if !is_near(member) => Fate::Elsewhere,
        0 if group(at).is_none() => Fate::Spare,
        0 => Fate::Overloaded,
    };
    let ttl = rules.ttl.map_or(ttl, |steered| steered.min(ttl));
    Decision {
        fates: members.iter().enumerate().map(fate).collect(),
        mode,
        plan: Plan::new(&parts, rules.count, ttl),
    }
}

/// Members that take part together: of a place, or all.
struct Group {
    /// Of which place; none for all.
    place: Option<u16>,
    /// The lowest priority that has a fit member.
    tier: Option<u32>,
    /// Weights of its members count by this beside those of the other groups.
    scale: f64,
}

/// Parts of a weight of 1 that a group's weights are told apart by.
const FINENESS: f64 = 1000.0;
/// A smaller part of the clients is nobody.
const FEWEST: f64 = 0.005;

impl Group {
    fn is_near(&self, member: &Known) -> bool {
        self.place.is_none() || member.place == self.place
    }

    fn has(&self, member: &Known) -> bool {
        self.is_near(member) && Some(member.priority) == self.tier
    }

    fn scaled(&self, weight: u32) -> u32 {
        (f64::from(weight) * self.scale * FINENESS).round().max(1.0) as u32
    }
}

/// The nearest place that has a member which can bear more, and as many of the next ones as it takes for the clients whom
/// loaded members shed; all members where no place has one. `bears` tells the weight and the kept part of a member.
fn groups(
    members: &[Known],
    near: &[u16],
    is_fit: &dyn Fn(usize) -> bool,
    bears: &dyn Fn(usize) -> (u32, u16),
) -> Vec<Group> {
    let group = |place: Option<u16>| {
        let group = Group { place, tier: None, scale: 1.0 };
        let fit = (0..members.len()).filter(|at| is_fit(*at) && group.is_near(&members[*at]));
        Group { tier: fit.map(|at| members[at].priority).min(), ..group }
    };
    let serves = |place: &u16| {
        (0..members.len()).any(|at| members[at].place == Some(*place) && is_fit(at) && bears(at).1 > 0)
    };
    let mut groups: Vec<Group> = Vec::new();
    let (mut left, mut first) = (1.0, 0.0);
    for place in near.iter().filter(|place| serves(place)) {
        let mut next = group(Some(*place));
        let (mut all, mut kept) = (0.0, 0.0);
        for at in (0..members.len()).filter(|at| is_fit(*at) && next.has(&members[*at])) {
            let (weight, part) = bears(at);
            all += f64::from(weight);
            kept += f64::from(weight) * f64::from(part) / f64::from(WHOLE);
        }
        if groups.is_empty() {
            first = all;
        }
        next.scale = left * first / all;
        groups.push(next);
        left *= 1.0 - kept / all;
        if left < FEWEST {
            break;
        }
    }
    if groups.is_empty() {
        groups.push(group(None));
    }
    groups
}

/// How far health is believed, the members that are taken to be up, and those of them that clients may be sent to.
pub(super) fn fit(rules: &Rules, members: &[Known]) -> (Mode, Vec<bool>, Vec<bool>) {
    // An operator who drains everything gets no answer without addresses.
    let all_weightless = members.iter().all(|member| member.weight == 0);
    let weighs = |member: &Known| member.weight > 0 || all_weightless;
    let all_drained = members.iter().all(|member| member.drained || !weighs(member));
    let may_serve = |member: &Known| weighs(member) && (!member.drained || all_drained);
    let (mode, believed) = believed(rules, members, &may_serve);
    let fit = members.iter().zip(&believed).map(|(member, believed)| may_serve(member) && *believed);
    let fit = fit.collect();
    (mode, believed, fit)
}

/// The members that are taken to be up.
fn believed(rules: &Rules, members: &[Known], may_serve: &dyn Fn(&Known) -> bool) -> (Mode, Vec<bool>) {
    let able = members.iter().filter(|member| may_serve(member)).count();
    let up = members.iter().filter(|member| may_serve(member) && member.state != State::Down).count();
    if up == 0 {
        let last = members.iter().filter(|member| may_serve(member)).map(|member| member.since).max();
        let is_last = |member: &Known| rules.all_down == AllDown::All || Some(member.since) == last;
        return (Mode::AllDown, members.iter().map(is_last).collect());
    }
    if up * 100 < able * usize::from(rules.panic) {
        return (Mode::Panic, vec![true; members.len()]);
    }
    (Mode::Normal, members.iter().map(|member| member.state != State::Down).collect())
}

/// The part of its share that a member of this load keeps.
fn kept(shed: Shed, load: Option<u16>) -> u16 {
    match load {
        None => WHOLE,
        Some(load) if load <= shed.from => WHOLE,
        Some(load) if load >= shed.to => 0,
        Some(load) => {
            let (left, all) = (u32::from(shed.to - load), u32::from(shed.to - shed.from));
            u16::try_from(u32::from(WHOLE) * left / all).expect("a part of the whole")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members as `up`, `down`, `?`, `drained`, with `*weight`, `/priority`, `@load`, `#place` behind them.
    fn members(text: &str) -> Vec<Known> {
        let member = |(at, word): (usize, &str)| {
            let number = |sign: char, usual: u32| {
                let digits = word
                    .split_once(sign)
                    .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
                digits.map_or(usual, |digits| digits.parse().unwrap())
            };
            let is = |state: &str| word.starts_with(state);
            Known {
                address: [192, 0, 2, u8::try_from(at).unwrap()].into(),
                weight: number('*', 1),
                priority: number('/', 0),
                state: match () {
                    () if is("up") => State::Up,
                    () if is("down") => State::Down,
                    () => State::Unknown,
                },
                since: at as u64,
                load: word.contains('@').then(|| u16::try_from(number('@', 0)).unwrap()),
                drained: is("drained"),
                rtt: None,
                awaited: false,
                place: word.contains('#').then(|| u16::try_from(number('#', 0)).unwrap()),
            }
        };
        text.split(' ').enumerate().map(member).collect()
    }

    /// The share of each member in thousandths.
    fn check(rules: &Rules, text: &str, expected: &[u32]) {
        let decision = decide(rules, &members(text), 300, &[]);
        let shares: Vec<u32> = (0..expected.len()).map(|at| decision.plan.share(at)).collect();
        let near = shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(*expected) <= 1);
        assert!(near, "{text}: {shares:?} instead of {expected:?}; {:?}", decision.fates);
    }

    #[test]
    fn health_priority_load_and_weight_decide_in_this_order() {
        let plain = Rules::default();
        for (text, expected) in [
            ("up up", &[500, 500][..]),
            ("up down", &[1000, 0]),
            ("? down", &[1000, 0]),
            ("down down", &[500, 500]),
            ("up*3 up", &[750, 250]),
            ("up*3 up*0", &[1000, 0]),
            ("up*0 up*0", &[500, 500]),
            ("down*0 up*0", &[0, 1000]),
            ("drained*0 up*0", &[0, 1000]),
            ("drained*0 drained*0", &[500, 500]),
            ("down*0 down*0", &[500, 500]),
            ("up*0/1 up*0/2", &[1000, 0]),
            ("down*3 up up", &[0, 500, 500]),
            ("up/1 up/2", &[1000, 0]),
            ("down/1 up/2 up/2", &[0, 500, 500]),
            ("down/1 down/2", &[1000, 0]),
            ("drained up", &[0, 1000]),
            ("drained down", &[0, 1000]),
            ("drained drained", &[500, 500]),
            ("up@700 up", &[500, 500]),
            ("up@825 up", &[333, 667]),
            ("up@950 up", &[0, 1000]),
            ("up@950 up@990", &[500, 500]),
            ("up@950 down", &[1000, 0]),
            ("up@950/1 up/2", &[1000, 0]),
        ] {
            check(&plain, text, expected);
        }
        let last = Rules { all_down: AllDown::Last, ..Rules::default() };
        check(&last, "down down down", &[0, 0, 1000]);
        check(&last, "down up down", &[0, 1000, 0]);
        check(&last, "up*0 up*0", &[500, 500]);
        check(&last, "down*0 up*0", &[0, 1000]);
        check(&last, "down*0 down*0", &[0, 1000]);
        let half = Rules { panic: 50, ..Rules::default() };
        check(&half, "up up down down", &[500, 500, 0, 0]);
        check(&half, "up down down down", &[250, 250, 250, 250]);
    }

    #[test]
    fn the_nearest_place_with_a_fit_member_serves_and_else_all_do() {
        for (text, near, expected) in [
            ("up#1 up#2", &[1, 2][..], &[1000, 0][..]),
            ("up#1 up#2", &[2, 1], &[0, 1000]),
            ("up#1 up#2", &[], &[500, 500]),
            ("down#1 up#2 up#3", &[1, 2], &[0, 1000, 0]),
            ("drained#1 up#2 up#3", &[1, 2], &[0, 1000, 0]),
            ("up#1@990 up#2", &[1, 2], &[0, 1000]),
            ("down#1 up#3 up", &[1, 2], &[0, 500, 500]),
            ("up#1/2 up#1/1 up#2/0", &[1], &[0, 1000, 0]),
            // Half of the share of a loaded place goes to the next one, and of its loss to the one behind it.
            ("up#1@825 up#2", &[1, 2], &[500, 500]),
            ("up#1@825 up#2", &[1], &[1000, 0]),
            ("up#1@825 up#1 up#2 up#2", &[1, 2], &[250, 500, 125, 125]),
            ("up#1@825 up#2@825 up#3", &[1, 2, 3], &[500, 250, 250]),
            ("up#1@825 up#2@990 up#3", &[1, 2, 3], &[500, 0, 500]),
            ("up#1@825*4 up#2*2 up#2", &[1, 2], &[500, 333, 167]),
            ("up#1@825 down#1 up#2", &[1, 2], &[500, 0, 500]),
            ("down#1 down#2", &[2], &[0, 1000]),
        ] {
            let plan = decide(&Rules::default(), &members(text), 300, near).plan;
            let shares: Vec<u32> = (0..expected.len()).map(|at| plan.share(at)).collect();
            let near_by = shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(*expected) <= 1);
            assert!(near_by, "{text} for {near:?}: {shares:?} instead of {expected:?}");
        }
        let fates = decide(&Rules::default(), &members("up#1 up#2"), 300, &[1]).fates;
        assert_eq!(fates, [Fate::Given, Fate::Elsewhere]);
        let fates = decide(&Rules::default(), &members("up#1@825 up#2 up#3"), 300, &[1, 2]).fates;
        assert_eq!(fates, [Fate::Shed, Fate::Helps, Fate::Elsewhere]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_known_an_answer_has_a_member_that_the_decision_gives(
            words in proptest::collection::vec("(up|down|[?]|drained)([*][0-2])?(/[0-2])?(@[0-9]{3})?(#[1-2])?", 1..6),
            (all, panic, count) in (proptest::bool::ANY, 0_u8..=100, proptest::option::of(1_usize..4)),
            near in proptest::collection::vec(1_u16..3, 0..3),
            network in 0_u32..1 << 24,
        ) {
            let all_down = if all { AllDown::All } else { AllDown::Last };
            let rules = Rules { all_down, panic, count, ..Rules::default() };
            let plan = decide(&rules, &members(&words.join(" ")), 300, &near).plan;
            let asker = crate::steer::Asker::at(std::net::Ipv4Addr::from_bits(network << 8).into());
            let mut given = Vec::new();
            plan.choose(asker, 7, |member| given.push(member));
            proptest::prop_assert!(!given.is_empty() && given.iter().all(|member| plan.gives(*member)));
        }
    }

    #[test]
    fn every_member_is_told_why_it_is_given_or_not() {
        let of = |rules: &Rules, text: &str| decide(rules, &members(text), 300, &[]).fates;
        let plain = Rules::default();
        let expected = [Fate::Given, Fate::Down, Fate::Drained, Fate::Shed, Fate::Overloaded, Fate::Spare];
        assert_eq!(of(&plain, "up down drained up@800 up@1000 up/1"), expected);
        assert_eq!(of(&plain, "down down"), [Fate::GivenAnyway; 2]);
        assert_eq!(of(&plain, "up*0 up"), [Fate::Weightless, Fate::Given]);
    }

    #[test]
    fn a_steered_answer_is_never_kept_longer_than_its_author_says() {
        for (ttl, expected) in [(None, 300), (Some(30), 30), (Some(900), 300)] {
            let rules = Rules { ttl, ..Rules::default() };
            assert_eq!(decide(&rules, &members("up"), 300, &[]).plan.ttl(), expected);
        }
    }
}
