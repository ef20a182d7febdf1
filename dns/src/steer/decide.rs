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
    /// Too few are up: those whose turn it is are given whether they are up or not, and all that are up.
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
    let Fit { mode, serving, mut fit } = fit(rules, members);
    let weight = |member: &Known| member.weight.max(u32::from(all_weightless));
    let bears = |at: usize| (weight(&members[at]), kept(rules.shed, members[at].load));
    let mut groups = groups(members, near, &|at| fit[at], &bears);
    let others = others(mode, rules.all_down, &groups, members, &serving);
    let is_blind = others != Others::Wait;
    if is_blind {
        groups.truncate(1);
        groups.iter_mut().for_each(|group| group.others = others);
        fit = serving;
    }
    let group = |at: usize| groups.iter().position(|group| group.has(&members[at]));
    let is_in = |at: usize| fit[at] && group(at).is_some();
    let kept = |at: usize| match is_in(at) {
        true if is_blind => WHOLE,
        true => kept(rules.shed, members[at].load),
        false => 0,
    };
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
        0 if member.state == State::Down => Fate::Down,
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
    /// Members of other places and priorities.
    others: Others,
    /// Weights of its members count by this beside those of the other groups.
    scale: f64,
}

/// Members whose place or priority says that it is not their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// They are not given.
    Wait,
    /// Those that are up are given.
    Up,
    /// All of them are given.
    All,
}

/// Place and priority go by who is up. Where members that are down are given all the same, those that are up are given beside
/// them, whatever their place and priority; where nobody is up, everybody is.
fn others(mode: Mode, all_down: AllDown, groups: &[Group], members: &[Known], serving: &[bool]) -> Others {
    let is_its_turn = |member: &Known| groups.first().is_some_and(|group| group.has(member));
    let mut serving = members.iter().zip(serving).filter(|(_, serves)| **serves).map(|(member, _)| member);
    match (mode, all_down) {
        (Mode::Normal, _) | (Mode::AllDown, AllDown::Last) => Others::Wait,
        (Mode::AllDown, AllDown::All) => Others::All,
        (Mode::Panic, _) => match serving.any(|member| member.state == State::Down && is_its_turn(member)) {
            true => Others::Up,
            false => Others::Wait,
        },
    }
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
        let is_its_turn = self.is_near(member) && Some(member.priority) == self.tier;
        is_its_turn
            || match self.others {
                Others::Wait => false,
                Others::Up => member.state != State::Down,
                Others::All => true,
            }
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
        let group = Group { place, tier: None, others: Others::Wait, scale: 1.0 };
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

/// The members that clients may be sent to.
pub(super) struct Fit {
    /// How far health is believed.
    pub(super) mode: Mode,
    /// Whether each of them is in service, up or not.
    serving: Vec<bool>,
    /// Whether each of them is in service and up; where nobody is, whether `all_down` gives it.
    pub(super) fit: Vec<bool>,
}

/// Finds the members that are in service, and those of them that place and priority go by.
pub(super) fn fit(rules: &Rules, members: &[Known]) -> Fit {
    // An operator who drains everything gets no answer without addresses.
    let all_weightless = members.iter().all(|member| member.weight == 0);
    let weighs = |member: &Known| member.weight > 0 || all_weightless;
    let all_drained = members.iter().all(|member| member.drained || !weighs(member));
    let may_serve = |member: &Known| weighs(member) && (!member.drained || all_drained);
    let serving: Vec<bool> = members.iter().map(may_serve).collect();
    let able: Vec<&Known> = members.iter().filter(|member| may_serve(member)).collect();
    let is_up = |member: &Known| member.state != State::Down;
    let up = able.iter().filter(|member| is_up(member)).count();
    let last = able.iter().map(|member| member.since).max();
    let is_given = |member: &Known| match rules.all_down {
        _ if up > 0 => is_up(member),
        AllDown::All => true,
        AllDown::Last => Some(member.since) == last,
    };
    let mode = match up {
        0 => Mode::AllDown,
        _ if up * 100 < able.len() * usize::from(rules.panic) => Mode::Panic,
        _ => Mode::Normal,
    };
    let fit = members.iter().map(|member| may_serve(member) && is_given(member)).collect();
    Fit { mode, serving, fit }
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
mod tests;
