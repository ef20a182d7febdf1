//! Members that a reload takes away.

use super::*;
use crate::steer::drain::NotDrained;

#[test]
fn the_countdown_of_a_member_that_a_reload_takes_away_goes_on() {
    let fixture = fixture(&Rules { ttl: Some(10), ..rules() }, &[]);
    let (one, two) = (IpAddr::from(ONE), IpAddr::from(TWO));
    let leaving = || {
        let leaving = fixture.board.leaving();
        leaving.into_iter().map(|left| (left.address, (10..=11).contains(&left.safe_in))).collect::<Vec<_>>()
    };
    assert_eq!(leaving(), []);
    fixture.board.adopt(&World::default(), &World::default());
    assert_eq!(leaving(), [(one, true), (two, true)]);
    assert_eq!(fixture.board.drain(one, true), Ok(()), "nobody is sent there already");
    assert_eq!(fixture.board.drain([192, 0, 2, 9].into(), true), Err(NotDrained::NoMember));
    // It comes back, and is given again.
    fixture.board.adopt(&World::default(), &world(&rules()));
    assert_eq!(leaving(), []);
    // The records stay, and are steered no longer.
    let plain = || view(&[("ex.", ZONE)]);
    fixture.board.adopt(&World::default(), &World { public: plain(), internal: plain(), ..World::default() });
    assert_eq!(leaving(), []);
    // Time passes.
    fixture.board.adopt(&World::default(), &world(&rules()));
    fixture.board.adopt(&World::default(), &World::default());
    fixture.board.lock().ends = Ends::default();
    assert_eq!(leaving(), []);
    fixture.board.keep();
    assert!(fixture.board.lock().left_behind.is_empty());
}

/// A world whose both views have this zone, with pools of these names and the TTLs of their answers.
fn world_of(zone: &str, pools: &[(&str, u32)]) -> World {
    let named = |(owner, ttl): &(&str, u32)| (name(owner), Arc::new(Rules { ttl: Some(*ttl), ..rules() }));
    let settings = Settings { pools: pools.iter().map(named).collect(), ..Settings::default() };
    let side = || {
        let mut side: View = view(&[("ex.", zone)]);
        let Some(Served::Zone(tree)) = side.zones.get(&name("ex.")) else { panic!("the zone is there") };
        let tree = Arc::clone(tree);
        side.pools = Pools::of(&settings);
        pools.iter().for_each(|(owner, _)| side.pools.add(&tree, &name(owner), &settings));
        side
    };
    World { public: side(), internal: side(), ..World::default() }
}

#[test]
fn answers_of_before_a_reload_count_for_as_long_as_they_are_kept() {
    const WWW: &str = "www 200 A 192.0.2.1\nwww 200 A 192.0.2.2\n";
    const API: &str = "api 200 A 192.0.2.1\napi 200 A 192.0.2.2\n";
    let both = [("www.ex.", 200), ("api.ex.", 10)];
    for (why, before, after) in [
        ("its TTL is shorter", world_of(WWW, &[("www.ex.", 200)]), world_of(WWW, &[("www.ex.", 10)])),
        (
            "it left another pool",
            world_of(&format!("{WWW}{API}"), &both),
            world_of(&format!("www 200 A 192.0.2.1\n{API}"), &both),
        ),
        ("another pool is gone", world_of(&format!("{WWW}{API}"), &both), world_of(API, &both)),
        ("it was not steered", world_of(WWW, &[]), world_of(WWW, &[("www.ex.", 10)])),
    ] {
        let fixture = fixture(&rules(), &[]);
        fixture.board.adopt(&World::default(), &before);
        fixture.board.lock().ends = Ends::default();
        fixture.board.adopt(&before, &after);
        fixture.board.drain(TWO.into(), true).unwrap();
        let left = fixture.member(TWO).safe_in.unwrap();
        assert!((199..=201).contains(&left), "{why}: {left}");
        // An answer of now is kept no longer than that.
        fixture.board.adopt(&after, &after);
        let left = fixture.member(TWO).safe_in.unwrap();
        assert!((199..=201).contains(&left), "{why}, after another reload: {left}");
    }
}
