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
    fixture.board.adopt(&World::default());
    assert_eq!(leaving(), [(one, true), (two, true)]);
    assert_eq!(fixture.board.drain(one, true), Ok(()), "nobody is sent there already");
    assert_eq!(fixture.board.drain([192, 0, 2, 9].into(), true), Err(NotDrained::NoMember));
    // It comes back, and is given again.
    fixture.board.adopt(&world(&rules()));
    assert_eq!(leaving(), []);
    // The records stay, and are steered no longer.
    let plain = || view(&[("ex.", ZONE)]);
    fixture.board.adopt(&World { public: plain(), internal: plain(), ..World::default() });
    assert_eq!(leaving(), []);
    // Time passes.
    fixture.board.adopt(&world(&rules()));
    fixture.board.adopt(&World::default());
    fixture.board.lock().left_behind.values_mut().for_each(|until| *until = 1);
    assert_eq!(leaving(), []);
    fixture.board.keep();
    assert!(fixture.board.lock().left_behind.is_empty());
}
