use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
}

#[test]
fn a_refused_connection_rests_the_origin_and_one_request_tries_it_again() {
    let mut origin = Standing::default();
    origin.failed(Fault::NoConnection, at(0));
    assert_eq!(origin.stands(at(0)), Stands::Failing);
    assert!(!origin.take(at(0)));
    assert_eq!(origin.stands(at(1)), Stands::OnTrial, "the rest is over");
    assert!(origin.take(at(1)) && !origin.take(at(1)), "one request at a time");
    origin.succeeded(at(1));
    assert!(origin.take(at(1)) && origin.take(at(1)));
    assert_eq!(origin.stands(at(1)), Stands::Up);
}

#[test]
fn a_lost_response_alone_does_not_rest_an_origin_but_three_do() {
    let mut origin = Standing::default();
    for _ in 0..2 {
        origin.failed(Fault::NoResponse, at(0));
        assert_eq!(origin.stands(at(0)), Stands::Up);
    }
    origin.failed(Fault::NoResponse, at(0));
    assert_eq!(origin.stands(at(0)), Stands::Failing);
}

#[test]
fn rests_grow_to_their_limit() {
    let mut origin = Standing::default();
    let mut second = 0;
    origin.failed(Fault::NoConnection, at(0));
    for rest in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(origin.stands(at(second + rest - 1)), Stands::Failing, "{rest}");
        second += rest;
        assert_eq!(origin.stands(at(second)), Stands::OnTrial, "{rest}");
        assert!(origin.take(at(second)));
        origin.failed(Fault::NoConnection, at(second));
    }
}

#[test]
fn requests_that_fail_together_rest_an_origin_as_one_does() {
    let mut origin = Standing::default();
    for _ in 0..100 {
        origin.failed(Fault::NoConnection, at(0));
    }
    assert_eq!(origin.stands(at(1)), Stands::OnTrial);
    assert!(origin.take(at(1)));
    for _ in 0..100 {
        origin.failed(Fault::NoResponse, at(1));
    }
    assert_eq!(origin.stands(at(2)), Stands::Failing);
    assert_eq!(origin.stands(at(3)), Stands::OnTrial);
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_an_origin_out() {
    let mut origin = Standing::default();
    origin.failed(Fault::NoConnection, at(900));
    assert_eq!(origin.stands(at(0)), Stands::OnTrial);
    let mut origin = Standing::default();
    origin.eject(at(900));
    assert_eq!(origin.stands(at(0)), Stands::Up);
}

#[test]
fn an_origin_that_is_back_begins_with_a_part_of_its_share() {
    let slow_start = Duration::from_secs(10);
    let check = |origin: &Standing, second, expected: f64| {
        let found = origin.share(slow_start, at(second));
        assert!((found - expected).abs() < 1e-9, "{second} s: {found}");
    };
    let mut origin = Standing::default();
    check(&origin, 0, 1.0);
    origin.failed(Fault::NoConnection, at(0));
    check(&origin, 1, 1.0);
    origin.succeeded(at(1));
    for (second, expected) in [(1, 0.1), (2, 0.1), (3, 0.2), (6, 0.5), (10, 0.9), (11, 1.0), (0, 1.0)] {
        check(&origin, second, expected);
    }
    origin.succeeded(at(6));
    check(&origin, 6, 0.5);
    assert!((origin.share(Duration::ZERO, at(1)) - 1.0).abs() < 1e-9, "without slow start");
    origin.eject(at(20));
    check(&origin, 55, 0.5);
    origin.drain(true, at(60));
    origin.drain(false, at(70));
    check(&origin, 72, 0.2);
}

#[test]
fn checks_take_out_after_some_and_bring_back_after_some() {
    let mut origin = Standing::default();
    let mut check = |passed, expected| {
        origin.checked(passed, 2, 3, at(0));
        assert_eq!(origin.stands(at(0)), expected, "{passed}");
    };
    check(true, Stands::Up);
    check(false, Stands::Up);
    check(true, Stands::Up);
    check(false, Stands::Up);
    check(false, Stands::FailsChecks);
    check(true, Stands::FailsChecks);
    check(true, Stands::FailsChecks);
    check(true, Stands::Up);
    let mut first = Standing::default();
    first.checked(false, 2, 2, at(0));
    assert_eq!(first.stands(at(0)), Stands::FailsChecks, "the first one counts by itself");
    let mut failing = Standing::default();
    failing.failed(Fault::NoConnection, at(0));
    failing.checked(true, 2, 2, at(0));
    assert_eq!(failing.stands(at(0)), Stands::Up, "it answers");
}

#[test]
fn ejections_grow_and_are_forgotten() {
    let mut origin = Standing::default();
    let mut check = |second, until| {
        origin.eject(at(second));
        assert_eq!(origin.stands(at(until - 1)), Stands::Ejected, "{second}");
        assert_eq!(origin.stands(at(until)), Stands::Up, "{second}");
    };
    check(0, 30);
    check(30, 90);
    check(100, 220);
    check(230, 470);
    check(480, 780);
    check(800, 1_100);
    check(1_401, 1_431);
}

/// Any request may ask an origin that takes connections; an origin that takes none is asked once a second.
#[test]
fn where_all_are_down_one_is_asked_all_the_same_but_not_more_than_it_can_take() {
    let mut refusing = Standing::default();
    for second in 0..10 {
        refusing.failed(Fault::NoConnection, at(second));
    }
    assert!(!refusing.take_as_last(false, at(9)));
    assert!(refusing.take_as_last(false, at(10)) && !refusing.take_as_last(false, at(10)));
    assert!(refusing.take_as_last(false, at(11)));
    let mut silent = Standing::default();
    for _ in 0..9 {
        silent.failed(Fault::NoResponse, at(0));
    }
    assert!(silent.take_as_last(false, at(0)) && silent.take_as_last(false, at(0)));
    let mut drained = Standing::default();
    drained.drain(true, at(0));
    assert!(!drained.take_as_last(false, at(0)) && !drained.take(at(0)));
    let mut unfit = Standing::default();
    unfit.checked(false, 1, 1, at(0));
    assert!(!unfit.take_as_last(false, at(0)));
    // In panic nobody asks the checks, and one that takes no connections is spared all the same.
    assert!(unfit.take_as_last(true, at(0)) && unfit.take_as_last(true, at(0)));
    unfit.failed(Fault::NoConnection, at(1));
    assert!(!unfit.take_as_last(true, at(1)) && unfit.take_as_last(true, at(2)));
    assert!(!drained.take_as_last(true, at(0)));
}

#[test]
fn an_origin_that_is_asked_in_another_way_is_tried_at_once() {
    let mut origin = Standing::default();
    for second in 0..9 {
        origin.failed(Fault::NoConnection, at(second));
    }
    assert!(!origin.take(at(9)));
    origin.renew(at(9));
    assert!(origin.take(at(9)) && !origin.take(at(9)), "by one request");
    assert!(origin.take_as_last(false, at(9)), "or by any where all are down");
    origin.succeeded(at(9));
    assert_eq!(origin.stands(at(9)), Stands::Up);
    origin.renew(at(10));
    assert_eq!(origin.stands(at(10)), Stands::Up);
}

#[test]
fn an_origin_that_nobody_checks_any_more_does_not_stay_out_by_the_last_check() {
    let mut origin = Standing::default();
    origin.checked(false, 2, 2, at(0));
    origin.end_checks(at(1));
    assert_eq!(origin.stands(at(1)), Stands::Up);
    assert!(origin.share(Duration::from_secs(10), at(1)) < 0.2, "it begins slowly");
}

proptest! {
    /// However an origin failed: once it only answers and passes checks, it is up within the longest ejection.
    #[test]
    fn an_origin_that_is_well_again_is_up_in_the_end(
        events in proptest::collection::vec((0_u8..6, 0_u64..100), 0..50),
    ) {
        let (mut origin, mut second) = (Standing::default(), 0);
        for (event, later) in events {
            second += later;
            match event {
                0 => origin.failed(Fault::NoConnection, at(second)),
                1 => origin.failed(Fault::NoResponse, at(second)),
                2 => origin.checked(false, 2, 2, at(second)),
                3 => origin.eject(at(second)),
                4 => origin.checked(true, 2, 2, at(second)),
                _ => origin.succeeded(at(second)),
            }
        }
        for _ in 0..2 {
            origin.checked(true, 2, 2, at(second));
        }
        prop_assert!(matches!(origin.stands(at(second)), Stands::Up | Stands::Ejected));
        prop_assert_eq!(origin.stands(at(second + 300)), Stands::Up);
        prop_assert!((origin.share(Duration::from_secs(10), at(second + 311)) - 1.0).abs() < 1e-9);
    }
}
