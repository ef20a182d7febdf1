use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicU8;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, Record};
use tokio::net::UdpSocket;

use super::*;
use crate::site::origin::Way;

fn target(priority: u16, weight: u16, address: &str) -> Target {
    Target { priority, weight, addresses: vec![address.parse().unwrap()], host: None }
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

fn origin(authority: &str, resolvers: &[NameServer]) -> OriginAddress {
    OriginAddress {
        authority: authority.into(),
        socket: None,
        way: Way::Plain,
        host: None,
        title_case: false,
        weight: 1,
        backup: false,
        drain: false,
        resolvers: resolvers.into(),
        reach: Reach::of("app.test", &["10.0.0.0/8".parse().unwrap()]),
    }
}

fn names() -> Names {
    Names::new(&origin("app.test:80", &[]), Pool::new(Duration::from_secs(1), false))
}

fn found(addresses: &[&str]) -> Result<Found, String> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let target = Target { priority: 0, weight: 0, addresses, host: None };
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

/// A name server that says this of a name and a type, for an hour; none: SERVFAIL.
async fn server(says: impl Fn(&str, RecordType) -> Option<Vec<RData>> + Send + 'static) -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut bytes).await {
            let question = Message::from_vec(&bytes[..length]).unwrap();
            let query = question.queries[0].clone();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_query(query.clone());
            match says(&query.name().to_string(), query.query_type()) {
                None => answer.metadata.response_code = ResponseCode::ServFail,
                Some(records) => {
                    for data in records {
                        answer.add_answer(Record::from_rdata(query.name().clone(), 3_600, data));
                    }
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    NameServer { at, tls: None }
}

fn v4(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, last)))
}

fn v6(last: u16) -> RData {
    RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)))
}

fn told(found: &Found) -> Vec<String> {
    let addresses = found.targets.iter().flat_map(|target| &target.addresses);
    addresses.map(ToString::to_string).collect()
}

/// As of a site behind a CDN whose public name leads to the edge itself, over IPv6 as well.
#[tokio::test]
async fn a_name_in_the_hosts_file_has_the_addresses_of_there_alone_and_for_as_long_as_they_stand_there() {
    let says = |_: &str, kind| {
        Some(match kind {
            RecordType::A => vec![v4(9)],
            RecordType::AAAA => vec![v6(9)],
            _ => vec![],
        })
    };
    let address = origin("www.test:80", &[server(says).await]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let look = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        lookup_by(&file, &address, &[]).await.unwrap()
    };
    for (text, expected) in [("10.0.0.5 www.test", "10.0.0.5:80"), ("10.0.0.6 WWW.test", "10.0.0.6:80")] {
        let found = look(text).await;
        assert_eq!((told(&found), found.ttl), (vec![expected.to_owned()], TTL_OF_SYSTEM));
    }
    let mut of_dns = told(&look("10.0.0.5 other.test").await);
    of_dns.sort_unstable();
    assert_eq!(of_dns, ["10.0.0.9:80", "[2001:db8::9]:80"]);
}

/// The name server's answers about one target or one family, from one lookup to the next.
const KNOWS: u8 = 0;
const FAILS: u8 = 1;
const HAS_NONE: u8 = 2;

fn of_state(state: &AtomicU8, data: RData) -> Option<Vec<RData>> {
    match state.load(Ordering::Relaxed) {
        KNOWS => Some(vec![data]),
        FAILS => None,
        _ => Some(vec![]),
    }
}

#[tokio::test]
async fn a_target_of_a_service_that_is_not_found_for_a_moment_stays_where_it_was() {
    let state = Arc::new(AtomicU8::new(KNOWS));
    let of_b = Arc::clone(&state);
    let service = |priority, host| RData::SRV(SRV::new(priority, 1, 80, Name::from_ascii(host).unwrap()));
    let says = move |name: &str, kind| match (name, kind) {
        ("_app._tcp.test.", RecordType::SRV) => Some(vec![service(1, "a.test."), service(2, "b.test.")]),
        ("a.test.", RecordType::A) => Some(vec![v4(1)]),
        ("b.test.", RecordType::A) => of_state(&of_b, v4(2)),
        _ => Some(vec![]),
    };
    let address = origin("_app._tcp.test", &[server(says).await]);
    let look = async |now: u8, last: &[Target]| {
        state.store(now, Ordering::Relaxed);
        lookup_by(Path::new("/nonexistent"), &address, last).await.unwrap()
    };
    let first = look(KNOWS, &[]).await;
    assert_eq!(told(&first), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(first.ttl > Duration::from_secs(3_000), "{:?}", first.ttl);
    let next = look(FAILS, &first.targets).await;
    assert_eq!((told(&next), next.ttl), (told(&first), RETRY));
    assert_eq!(told(&look(HAS_NONE, &next.targets).await), ["10.0.0.1:80"]);
    let nobody_knew = look(FAILS, &[]).await;
    assert_eq!((told(&nobody_knew), nobody_knew.ttl), (vec!["10.0.0.1:80".to_owned()], RETRY));
}

#[tokio::test]
async fn a_family_of_addresses_that_is_not_found_for_a_moment_stays() {
    let state = Arc::new(AtomicU8::new(KNOWS));
    let of_v6 = Arc::clone(&state);
    let says = move |_: &str, kind| match kind {
        RecordType::A => Some(vec![v4(1)]),
        RecordType::AAAA => of_state(&of_v6, v6(1)),
        _ => Some(vec![]),
    };
    let address = origin("app.test:80", &[server(says).await]);
    let look = async |now: u8, last: &[Target]| {
        state.store(now, Ordering::Relaxed);
        let found = lookup_by(Path::new("/nonexistent"), &address, last).await.unwrap();
        let mut addresses = told(&found);
        addresses.sort_unstable();
        (addresses, found)
    };
    let (both, found) = look(KNOWS, &[]).await;
    assert_eq!(both, ["10.0.0.1:80", "[2001:db8::1]:80"]);
    let (kept, next) = look(FAILS, &found.targets).await;
    assert_eq!((kept, next.ttl), (both, RETRY));
    assert_eq!(look(HAS_NONE, &next.targets).await.0, ["10.0.0.1:80"]);
}

/// Its other family has been answered by then, after two questions of [`ANSWER_LIMIT`] each about this one.
#[tokio::test(start_paused = true)]
async fn a_family_about_which_nothing_is_said_leaves_the_lookup_its_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = NameServer { at: silent.local_addr().unwrap(), tls: None };
    let asked = Asked { hosts: Path::new("/nonexistent"), resolver: resolver(&[server]).unwrap() };
    let began = monotonic();
    let told = asked.once_more("app.test.", RecordType::AAAA).await;
    assert!(matches!(told, Err(NetError::Timeout)), "{told:?}");
    assert!(began.elapsed() + ANSWER_LIMIT * 2 < LOOKUP_LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_that_is_pinned_meanwhile_leads_there_though_dns_told_it_for_an_hour() {
    let says = |_: &str, kind| Some(if kind == RecordType::A { vec![v4(9)] } else { vec![] });
    let address = origin("www.test:80", &[server(says).await]);
    let folder = tempfile::tempdir().unwrap();
    let mut names = Names::new(&address, Pool::new(Duration::from_secs(1), false));
    names.hosts = folder.path().join("hosts");
    let names = Arc::new(names);
    let [of_dns, pinned] = ["10.0.0.9:80", "10.0.0.5:80"].map(|one| vec![one.parse::<SocketAddr>().unwrap()]);
    assert_eq!(names.addresses().await.unwrap(), of_dns);
    assert!(!names.is_hosts_file_other().await);
    std::fs::write(&names.hosts, "10.0.0.5 www.test").unwrap();
    assert_eq!(names.addresses().await.unwrap(), of_dns, "nobody looks at the file yet");
    names.lock().hosts_until = Some(monotonic());
    while names.addresses().await.unwrap() == of_dns {
        tokio::task::yield_now().await;
    }
    assert_eq!(names.addresses().await.unwrap(), pinned);
}
