use super::*;
use crate::site::origin::Way;

fn target(priority: u16, weight: u16, address: &str) -> Target {
    Target { priority, weight, addresses: vec![address.parse().unwrap()] }
}

#[test]
fn services_are_tried_by_priority_and_by_weight_among_equals() {
    let targets = || vec![target(2, 1, "1.1.1.1:1"), target(1, 1, "1.1.1.2:1"), target(1, 3, "1.1.1.3:1")];
    let check = |chance: f64, expected: [&str; 3]| {
        let found: Vec<String> =
            in_order(targets(), true, || chance).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{chance}");
    };
    check(0.0, ["1.1.1.2:1", "1.1.1.3:1", "1.1.1.1:1"]);
    check(0.24, ["1.1.1.2:1", "1.1.1.3:1", "1.1.1.1:1"]);
    check(0.26, ["1.1.1.3:1", "1.1.1.2:1", "1.1.1.1:1"]);
    check(0.999, ["1.1.1.3:1", "1.1.1.2:1", "1.1.1.1:1"]);
}

fn names() -> Names {
    let address = OriginAddress {
        authority: "app.test:80".into(),
        socket: None,
        way: Way::Plain,
        host: None,
        title_case: false,
        weight: 1,
        backup: false,
        drain: false,
        resolvers: Arc::default(),
        reach: Reach::of("app.test", &["10.0.0.0/8".parse().unwrap()]),
    };
    Names::new(&address, Pool::new(Duration::from_secs(1), false))
}

fn found(addresses: &[&str]) -> Result<Found, String> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let target = Target { priority: 0, weight: 0, addresses };
    Ok(Found { targets: vec![target], ttl: Duration::from_secs(30) })
}

#[tokio::test]
async fn a_name_keeps_its_addresses_until_it_leads_elsewhere_and_each_is_asked_for_every_time() {
    let names = names();
    let now = monotonic();
    let check = |answer: Result<Found, String>, elsewhere: bool, expected: Result<&[&str], ProxyError>| {
        assert_eq!(names.take(answer, now), elsewhere);
        let known = names.known().unwrap();
        let known = known.map(|targets| in_order(targets, false, || 0.0));
        let known = known.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(known, expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect()));
    };
    check(Err("NXDOMAIN".into()), false, Err(ProxyError::DnsError));
    check(found(&["10.0.0.1:80", "8.8.8.8:80"]), false, Ok(&["10.0.0.1:80", "8.8.8.8:80"]));
    check(found(&["10.0.0.1:80", "8.8.8.8:80"]), false, Ok(&["10.0.0.1:80", "8.8.8.8:80"]));
    check(Err("SERVFAIL".into()), false, Ok(&["10.0.0.1:80", "8.8.8.8:80"]));
    check(found(&[]), false, Ok(&["10.0.0.1:80", "8.8.8.8:80"]));
    check(found(&["10.0.0.2:80"]), true, Ok(&["10.0.0.2:80"]));
    // The order of the last answer counts, and is no other place.
    check(found(&["10.0.0.3:80", "10.0.0.2:80"]), true, Ok(&["10.0.0.3:80", "10.0.0.2:80"]));
    check(found(&["10.0.0.2:80", "10.0.0.3:80"]), false, Ok(&["10.0.0.2:80", "10.0.0.3:80"]));
    check(found(&["10.0.0.2:80"]), true, Ok(&["10.0.0.2:80"]));
    // It is told anew what its addresses are, and none of them may be asked.
    check(found(&["169.254.169.254:80", "127.0.0.1:80"]), true, Err(ProxyError::DestinationIpProhibited));
    check(found(&["127.0.0.1:80", "10.0.0.3:80"]), false, Ok(&["10.0.0.3:80"]));
}
