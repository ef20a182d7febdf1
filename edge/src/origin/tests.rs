//! What the origins of one config after another know of each other.

use super::*;
use crate::site::origin::{Checks as Rules, Way};
use crate::site::reach::Reach;
use standing::Stands;

fn origin() -> OriginAddress {
    OriginAddress {
        authority: "10.0.0.5:80".into(),
        socket: None,
        way: Way::Plain,
        host: None,
        title_case: false,
        weight: 1,
        backup: false,
        drain: false,
        resolvers: [].into(),
        reach: Reach::Itself,
    }
}

fn clock() -> Clock {
    Clock::standing(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
}

fn group(
    origins: &[OriginAddress],
    checks: Option<&Arc<Rules>>,
    before: &[&Arc<Origins>],
    clock: &Clock,
) -> Arc<Origins> {
    let long = Duration::from_secs(60);
    let patience = Patience { connect: long, first_byte: long, between_bytes: long, idle: long, whole: None };
    let sharing = Sharing { checks: checks.cloned(), ..Sharing::default() };
    let before: Vec<Arc<Origins>> = before.iter().map(|one| Arc::clone(one)).collect();
    let made = (clock, &Metrics::default());
    Arc::new(Origins::of("a.test", (origins, &sharing, patience), &before, &Arc::default(), made))
}

fn rules() -> Arc<Rules> {
    let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
    Arc::new(Rules { ask: None, interval, timeout, fall: 2, rise: 2 })
}

impl Origins {
    fn stands(&self) -> Vec<Stands> {
        self.all.iter().map(|slot| slot.member.health.standing().stands(self.now())).collect()
    }

    /// The check of its first origin, which has this number, failed.
    fn fail_check(&self, number: u64, rules: &Rules) {
        self.all[0].member.checked(number, Err("no".to_owned()), rules, self.now());
    }
}

/// A connection by the old config holds its origins, and their checks with them.
#[tokio::test]
async fn checks_of_a_config_that_was_replaced_take_no_origin_out() {
    let (clock, rules) = (clock(), rules());
    let old = group(&[origin()], Some(&rules), &[], &clock);
    for _ in 0..3 {
        old.fail_check(1, &rules);
    }
    assert_eq!(old.stands(), [Stands::FailsChecks]);
    let new = group(&[origin()], None, &[&old], &clock);
    Origins::replace([&old].into_iter(), [&new].into_iter());
    assert_eq!(new.stands(), [Stands::Up]);
    for _ in 0..3 {
        old.fail_check(1, &rules);
    }
    assert_eq!(new.stands(), [Stands::Up]);
    // What the old ones came to says nothing to later ones: their first counts by itself, and the next does not.
    let again = group(&[origin()], Some(&rules), &[&new], &clock);
    Origins::replace([&new].into_iter(), [&again].into_iter());
    again.all[0].member.checked(2, Ok(()), &rules, clock.now());
    again.fail_check(2, &rules);
    assert_eq!(again.stands(), [Stands::Up]);
}

#[tokio::test]
async fn an_origin_whose_check_a_reload_mends_is_back_by_the_new_checks_whatever_the_old_ones_say() {
    let (clock, rules) = (clock(), rules());
    let old = group(&[origin()], Some(&rules), &[], &clock);
    old.fail_check(1, &rules);
    let new = group(&[origin()], Some(&rules), &[&old], &clock);
    Origins::replace([&old].into_iter(), [&new].into_iter());
    assert_eq!(new.stands(), [Stands::FailsChecks]);
    for _ in 0..2 {
        new.all[0].member.checked(2, Ok(()), &rules, clock.now());
        old.fail_check(1, &rules);
    }
    assert_eq!(new.stands(), [Stands::Up]);
}

/// A site and a route of it may have an origin in common, and a reload may take one of them away.
#[tokio::test]
async fn an_origin_of_two_groups_stays_checked_until_both_are_gone() {
    let (clock, rules) = (clock(), rules());
    let site = group(&[origin()], Some(&rules), &[], &clock);
    let route = group(&[origin()], Some(&rules), &[&site], &clock);
    Origins::replace([&site, &route].into_iter(), [&site].into_iter());
    route.fail_check(2, &rules);
    assert_eq!(site.stands(), [Stands::Up]);
    site.fail_check(1, &rules);
    assert_eq!(site.stands(), [Stands::FailsChecks]);
    let bare = group(&[origin()], None, &[&site], &clock);
    assert_eq!(bare.stands(), [Stands::FailsChecks], "the other is still in service");
    Origins::replace([&site].into_iter(), [&bare].into_iter());
    assert_eq!(bare.stands(), [Stands::Up]);
}
