//! The knowledge that origins share which are asked in several ways, and those of one config after another.

use super::*;
use crate::site::origin::{Checks as Rules, Roots, Secure, Way};
use crate::site::reach::Reach;
use standing::Stands;

fn origin(host: Option<&str>) -> OriginAddress {
    OriginAddress {
        authority: "10.0.0.5:80".into(),
        socket: None,
        way: Way::Plain,
        host: host.map(str::to_owned),
        title_case: false,
        weight: 1,
        backup: false,
        drain: false,
        resolvers: [].into(),
        reach: Reach::Itself,
    }
}

fn secure(name: &str) -> OriginAddress {
    let way = Way::Tls(Secure { name: name.to_owned(), roots: Roots::System, identity: None, http2: false });
    OriginAddress { authority: "10.0.0.5:443".into(), way, ..origin(None) }
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

    fn fail(&self, index: usize, error: ProxyError, fault: Fault) {
        self.all[index].member.failed(error, fault, self.now());
    }

    /// The check of its first origin, which has this number, failed.
    fn fail_check(&self, number: u64, rules: &Rules) {
        self.all[0].member.checked(number, Err("no".to_owned()), rules, self.now());
    }
}

/// As where a route names a certificate that has expired.
#[test]
fn a_fault_of_the_way_in_which_an_origin_is_asked_is_none_of_the_same_server_asked_in_another() {
    let clock = clock();
    let site = group(&[secure("10.0.0.5")], None, &[], &clock);
    let route = group(&[secure("admin.internal")], None, &[&site], &clock);
    route.fail(0, ProxyError::TlsCertificateError, Fault::NoConnection);
    assert_eq!((site.stands(), route.stands()), (vec![Stands::Up], vec![Stands::Failing]));
    // Lost responses neither, nor how long they take.
    let canary = group(&[secure("canary.internal")], None, &[&site, &route], &clock);
    for _ in 0..3 {
        canary.fail(0, ProxyError::HttpResponseTimeout, Fault::NoResponse);
    }
    assert_eq!((site.stands(), canary.stands()), (vec![Stands::Up], vec![Stands::Failing]));
    canary.all[0].member.was_outrun(Duration::from_secs(9), clock.now());
    assert_eq!(site.all[0].member.latency_secs(clock.now()), None);
}

#[test]
fn an_origin_that_is_asked_in_another_way_begins_with_what_is_known_and_leaves_the_first_its_rest() {
    let clock = clock();
    let site = group(&[origin(None)], None, &[], &clock);
    site.switch("10.0.0.5:80", Some(true));
    let other = group(&[origin(Some("b.test"))], None, &[&site], &clock);
    assert_eq!(other.stands(), [Stands::Drained]);
    assert_eq!(other.standing()[0].changes[0].why, "by the operator");
    site.switch("10.0.0.5:80", None);
    site.fail(0, ProxyError::ConnectionRefused, Fault::NoConnection);
    let other = group(&[origin(Some("b.test"))], None, &[&site], &clock);
    assert_eq!((site.stands(), other.stands()), (vec![Stands::Failing], vec![Stands::OnTrial]));
}

#[test]
fn origins_at_one_server_that_are_asked_for_several_hosts_keep_a_standing_each_over_a_reload() {
    let clock = clock();
    let both = [origin(Some("a.test")), origin(Some("b.test"))];
    let before = group(&both, None, &[], &clock);
    before.fail(1, ProxyError::ConnectionRefused, Fault::NoConnection);
    assert_eq!(before.stands(), [Stands::Up, Stands::Failing]);
    let reach = |one: &OriginAddress| OriginAddress { reach: Reach::Loopback, ..one.clone() };
    let after = group(&both.each_ref().map(reach), None, &[&before], &clock);
    assert_eq!(after.stands(), [Stands::Up, Stands::OnTrial]);
    let [first, second] = [&after.all[0].member, &after.all[1].member];
    assert!(!Arc::ptr_eq(&first.health, &second.health));
}

/// A connection by the old config holds its origins, and their checks with them.
#[tokio::test]
async fn checks_of_a_config_that_was_replaced_take_no_origin_out() {
    let (clock, rules) = (clock(), rules());
    let old = group(&[origin(None)], Some(&rules), &[], &clock);
    for _ in 0..3 {
        old.fail_check(1, &rules);
    }
    assert_eq!(old.stands(), [Stands::FailsChecks]);
    let new = group(&[origin(None)], None, &[&old], &clock);
    Origins::replace([&old].into_iter(), [&new].into_iter());
    assert_eq!(new.stands(), [Stands::Up]);
    for _ in 0..3 {
        old.fail_check(1, &rules);
    }
    assert_eq!(new.stands(), [Stands::Up]);
    // The outcomes of the old ones say nothing to later ones: their first counts by itself, and the next does not.
    let again = group(&[origin(None)], Some(&rules), &[&new], &clock);
    Origins::replace([&new].into_iter(), [&again].into_iter());
    again.all[0].member.checked(2, Ok(()), &rules, clock.now());
    again.fail_check(2, &rules);
    assert_eq!(again.stands(), [Stands::Up]);
}

#[tokio::test]
async fn an_origin_whose_check_a_reload_mends_is_back_by_the_new_checks_whatever_the_old_ones_say() {
    let (clock, rules) = (clock(), rules());
    let old = group(&[origin(None)], Some(&rules), &[], &clock);
    old.fail_check(1, &rules);
    let new = group(&[origin(None)], Some(&rules), &[&old], &clock);
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
    let site = group(&[origin(None)], Some(&rules), &[], &clock);
    let route = group(&[origin(None)], Some(&rules), &[&site], &clock);
    Origins::replace([&site, &route].into_iter(), [&site].into_iter());
    route.fail_check(2, &rules);
    assert_eq!(site.stands(), [Stands::Up]);
    site.fail_check(1, &rules);
    assert_eq!(site.stands(), [Stands::FailsChecks]);
    let bare = group(&[origin(None)], None, &[&site], &clock);
    assert_eq!(bare.stands(), [Stands::FailsChecks], "the other is still in service");
    Origins::replace([&site].into_iter(), [&bare].into_iter());
    assert_eq!(bare.stands(), [Stands::Up]);
}
