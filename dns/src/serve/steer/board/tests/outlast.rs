//! Restarts while answers of before are kept.

use super::*;

fn with(ttl: u32) -> World {
    world(&Rules { ttl: Some(ttl), ..rules() })
}

/// The next run, with what this one has kept; its first world is in service.
fn next(fixture: &Fixture, world: &World) -> Board {
    let (targets, _) = tokio::sync::mpsc::unbounded_channel();
    let board = Board::new(fixture.folder.path().to_owned(), targets, "ns1", &[]);
    board.adopt(&World::default(), world);
    board
}

fn left(board: &Board) -> Option<u64> {
    let pools = board.pools();
    let mut members = pools.iter().flat_map(|pool| &pool.members);
    members.find(|member| member.address == IpAddr::from(TWO)).unwrap().safe_in
}

/// Changes the file that was kept.
fn change(fixture: &Fixture, change: impl FnOnce(&mut serde_json::Value)) {
    let file = fixture.folder.path().join("steer.json");
    let mut kept = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut kept);
    std::fs::write(&file, kept.to_string()).unwrap();
}

fn earlier(fixture: &Fixture, seconds: i64) {
    change(fixture, |kept| {
        let at = kept["ends"]["at"].as_i64().unwrap();
        kept["ends"]["at"] = (at - seconds * 1000).into();
    });
}

fn is_about(left: Option<u64>, seconds: u64) -> bool {
    left.is_some_and(|left| (seconds - 2..=seconds + 1).contains(&left))
}

#[test]
fn the_countdown_of_a_drain_goes_on_over_a_restart() {
    let fixture = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    fixture.board.drain(TWO.into(), true).unwrap();
    // A reload makes the TTL shorter, and the answers of before are still kept.
    fixture.board.adopt(&with(200), &with(10));
    fixture.board.keep();
    assert!(is_about(left(&next(&fixture, &with(10))), 201));
    earlier(&fixture, 150);
    assert!(is_about(left(&next(&fixture, &with(10))), 51), "it was away for a while");
    assert!(is_about(left(&next(&fixture, &with(200))), 51), "nothing was given since");
    earlier(&fixture, 100);
    assert_eq!(left(&next(&fixture, &with(200))), Some(0));
}

#[test]
fn health_that_another_process_looked_after_does_not_age_by_the_load_and_other_health_does() {
    let fixture = fixture(&rules(), &[]);
    fixture.saw(ONE, true, None);
    fixture.board.keep_all();
    let hour = Duration::from_secs(3600);
    let after_a_failed_check = |board: &Board| {
        let targets = board.targets();
        let target = targets.iter().find(|target| target.address == IpAddr::from(ONE)).unwrap();
        let seen = Seen { good: false, why: String::new(), load: Load::Untold, rtt: None };
        board.saw(target, seen);
        let pools = board.pools();
        let mut members = pools.iter().flat_map(|pool| &pool.members);
        members.find(|member| member.address == IpAddr::from(ONE)).unwrap().state.clone()
    };
    for (another_answers, expected) in [(true, "up"), (false, "down")] {
        let (targets, _) = tokio::sync::mpsc::unbounded_channel();
        let mut board = Board::new(fixture.folder.path().to_owned(), targets, "ns1", &[]);
        if another_answers {
            board.judge_as_read();
        }
        // So long takes the load.
        board.begun -= hour;
        board.adopt(&World::default(), &world(&rules()));
        assert_eq!(after_a_failed_check(&board), expected);
        board.adopt(&World::default(), &World::default());
        board.begun -= hour;
        board.adopt(&World::default(), &world(&rules()));
        assert_eq!(after_a_failed_check(&board), "down", "nobody has looked for an hour");
    }
}

#[test]
fn a_clock_that_is_wrong_makes_no_countdown_shorter() {
    let fixture = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    fixture.board.drain(TWO.into(), true).unwrap();
    fixture.board.keep();
    earlier(&fixture, -3600);
    assert!(is_about(left(&next(&fixture, &with(10))), 201), "it was set back");
    change(&fixture, |kept| kept["ends"]["at"] = 5000.into());
    assert!(is_about(left(&next(&fixture, &with(10))), 201), "the machine had begun without a clock");
    change(&fixture, |kept| kept["ends"]["left"]["192.0.2.2"] = u64::MAX.into());
    assert!(left(&next(&fixture, &with(10))) <= Some(1 << 32), "a time is never without a bound");
}

#[test]
fn a_member_of_which_the_run_before_noted_nothing_counts_anew() {
    let fixture = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    fixture.board.drain(TWO.into(), true).unwrap();
    fixture.board.keep();
    earlier(&fixture, 150);
    change(&fixture, |kept| kept["ends"]["noted"] = serde_json::json!([]));
    assert!(is_about(left(&next(&fixture, &with(200))), 201), "it was given until the end");
    // A version before the ends were kept.
    change(&fixture, |kept| drop(kept.as_object_mut().unwrap().remove("ends")));
    assert!(is_about(left(&next(&fixture, &with(100))), 101));
    // While all are drained, all are given.
    fixture.board.drain(ONE.into(), true).unwrap();
    fixture.board.keep();
    change(&fixture, |kept| assert_eq!(kept["ends"]["noted"], serde_json::json!([])));
}

#[test]
fn the_countdown_of_a_member_that_no_pool_has_any_more_goes_on_over_a_restart() {
    let fixture = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    fixture.board.adopt(&with(200), &World::default());
    fixture.board.keep();
    let leaving = |board: &Board| board.leaving().into_iter().map(|it| it.address).collect::<Vec<_>>();
    assert_eq!(leaving(&next(&fixture, &World::default())), [IpAddr::from(ONE), IpAddr::from(TWO)]);
    assert_eq!(leaving(&next(&fixture, &with(200))), [] as [IpAddr; 0], "they are back");
    earlier(&fixture, 300);
    assert_eq!(leaving(&next(&fixture, &World::default())), [] as [IpAddr; 0]);
}

#[test]
fn a_process_that_takes_over_knows_the_ends_of_the_answers_that_were_given_meanwhile() {
    let before = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    // It has read what there was, and loads.
    let after = next(&before, &with(10));
    before.board.drain(TWO.into(), true).unwrap();
    before.board.adopt(&with(200), &with(10));
    before.board.hold(true);
    after.catch_up();
    assert!(is_about(left(&after), 201));
    // The one before gave it to the last, since it had no other.
    let after = next(&before, &with(10));
    change(&before, |kept| kept["ends"] = serde_json::json!({}));
    after.lock().ends = Ends::default();
    after.catch_up();
    assert!(is_about(left(&after), 11));
}

#[test]
fn a_file_that_cannot_be_read_is_none() {
    let fixture = fixture(&Rules { ttl: Some(200), ..rules() }, &[]);
    fixture.board.drain(TWO.into(), true).unwrap();
    fixture.board.keep();
    change(&fixture, |kept| kept["ends"]["left"] = "soon".into());
    assert_eq!(left(&next(&fixture, &with(10))), None, "nothing is known, not even of the drain");
}

#[test]
fn a_state_that_nobody_has_looked_at_for_long_ends_with_the_first_check_of_the_next_run() {
    let pace = Pace { interval: Duration::from_secs(30), fall: 3, ..Pace::default() };
    let of = world(&Rules { pace, ..rules() });
    let before = fixture(&Rules { pace, ..rules() }, &[]);
    before.saw(ONE, true, None);
    before.board.keep();
    before.saw(ONE, true, None);
    before.board.keep_all();
    let checked = || -> i64 {
        let file = std::fs::read(before.folder.path().join("steer.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&file).unwrap();
        kept["checked"]["tcp://192.0.2.1:443"].as_i64().unwrap()
    };
    let now = checked();
    for (at, expected) in [
        (Some(now), "up"),
        (Some(now - 60_000), "up"),
        (Some(now - 86_400_000), "down"),
        (Some(now + 86_400_000), "down"),
        (Some(1000), "down"),
        (None, "down"),
    ] {
        change(&before, |kept| {
            kept["checked"] =
                at.map_or_else(Default::default, |at| serde_json::json!({"tcp://192.0.2.1:443": at}));
            if at.is_none() {
                // As a version before these times were kept wrote it.
                drop(kept.as_object_mut().unwrap().remove("checked"));
            }
        });
        let board = next(&before, &of);
        let state = |board: &Board| {
            let pools = board.pools();
            let mut members = pools.iter().flat_map(|pool| &pool.members);
            members.find(|member| member.address == IpAddr::from(ONE)).unwrap().state.clone()
        };
        assert_eq!(state(&board), "up", "until the first check has ended");
        let target = board.targets().into_iter().find(|target| target.address == IpAddr::from(ONE)).unwrap();
        let seen = Seen { good: false, why: String::new(), load: Load::Untold, rtt: None };
        board.saw(&target, seen);
        assert_eq!(state(&board), expected, "{:?} ms ago", at.map(|at| now - at));
    }
}

#[test]
fn the_end_of_a_run_writes_when_the_last_checks_were_although_nothing_else_is_new() {
    let fixture = fixture(&rules(), &[]);
    fixture.saw(ONE, true, None);
    fixture.board.keep();
    let file = fixture.folder.path().join("steer.json");
    std::fs::remove_file(&file).unwrap();
    fixture.saw(ONE, true, None);
    fixture.board.keep();
    assert!(!file.exists(), "a check alone is not worth a write");
    fixture.board.keep_all();
    assert!(file.exists());
}
