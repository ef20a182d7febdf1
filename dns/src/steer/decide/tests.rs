//! Decisions in rows: members in words, and the share of each.

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
        ("down/1 down/2", &[500, 500]),
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
    check(&last, "down/1 down/2", &[0, 1000]);
    let half = Rules { panic: 50, ..Rules::default() };
    check(&half, "up up down down", &[500, 500, 0, 0]);
    check(&half, "up down down down", &[250, 250, 250, 250]);
    for (text, expected) in [
        // A spare that is up is what spares are for.
        ("down down down up/1", &[0, 0, 0, 1000][..]),
        ("down down down up/1 down/1 down/2", &[0, 0, 0, 500, 500, 0]),
        // Beside members that are down all that are up are given, spares as well.
        ("up down down down up/1", &[200, 200, 200, 200, 200]),
        ("up*2 down down down up/1 down/1 up/2 down", &[250, 125, 125, 125, 125, 0, 125, 125]),
        ("up down/1 down/1 down/2", &[1000, 0, 0, 0]),
        ("up@990 down down down", &[250, 250, 250, 250]),
        ("up drained down down", &[333, 0, 333, 333]),
    ] {
        check(&half, text, expected);
    }
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
        ("down#1 down#2", &[2], &[500, 500]),
    ] {
        let plan = decide(&Rules::default(), &members(text), 300, near).plan;
        let shares: Vec<u32> = (0..expected.len()).map(|at| plan.share(at)).collect();
        let near_by = shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(*expected) <= 1);
        assert!(near_by, "{text} for {near:?}: {shares:?} instead of {expected:?}");
    }
    let half = Rules { panic: 50, ..Rules::default() };
    for (text, near, expected) in [
        ("down#1 down#1 up#2 down#2 down", &[1][..], &[200, 200, 200, 200, 200][..]),
        ("down#1 down#1 up#2 down#2", &[1, 2], &[0, 0, 500, 500]),
        ("up#1 down#2 down#2 down#2", &[1, 2], &[1000, 0, 0, 0]),
        ("up#1 down#1 down#2 up#2 down", &[1], &[333, 333, 0, 333, 0]),
    ] {
        let plan = decide(&half, &members(text), 300, near).plan;
        let shares: Vec<u32> = (0..expected.len()).map(|at| plan.share(at)).collect();
        let near_by = shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(*expected) <= 1);
        assert!(near_by, "{text} for {near:?} while too few are up: {shares:?} instead of {expected:?}");
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

    #[test]
    fn nobody_who_is_up_is_left_out_where_one_who_is_down_is_given(
        words in proptest::collection::vec("(up|down|down|[?])([*][1-2])?(/[0-2])?(@[0-9]{3})?(#[1-2])?", 1..7),
        (all, panic) in (proptest::bool::ANY, 0_u8..=100),
        near in proptest::collection::vec(1_u16..3, 0..3),
    ) {
        let all_down = if all { AllDown::All } else { AllDown::Last };
        let members = members(&words.join(" "));
        let plan = decide(&Rules { all_down, panic, ..Rules::default() }, &members, 300, &near).plan;
        let is_down = |at: usize| members[at].state == State::Down;
        let gives_down = (0..members.len()).any(|at| is_down(at) && plan.gives(at));
        let all_up = (0..members.len()).all(|at| is_down(at) || plan.gives(at));
        proptest::prop_assert!(!gives_down || all_up, "{words:?}");
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
