//! Requests that take part in a fetch, and the requests after a response that is not stored.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::decide::Why;
use crate::http::range::Spec;
use crate::policy::Unstorable;
use crate::store::{Body, Scope, testing};

/// A request that waits for its part in a fetch.
type Asking = JoinHandle<Result<Participation, Missed>>;

/// Flights whose origin has a fetch of a request in this company.
async fn asked(company: Company) -> (Arc<Flights>, Fetch, Asking, TcpStream) {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (flights, fetch) = flights(origin.local_addr().unwrap());
    let asking = {
        let (flights, fetch) = (Arc::clone(&flights), fetch.clone());
        tokio::spawn(async move { flights.fetch(&fetch, &company, Terms::Any, &Variants::default()).await })
    };
    let (mut connection, _) = origin.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        connection.read_buf(&mut request).await.unwrap();
    }
    (flights, fetch, asking, connection)
}

/// Flights whose origin has answered a fetch so far, and the leader's part in it.
async fn answered(says: &str) -> (Arc<Flights>, Fetch, Participation, TcpStream) {
    let (flights, fetch, asking, mut connection) = asked(Company::Any).await;
    connection.write_all(says.as_bytes()).await.unwrap();
    (flights, fetch, asking.await.unwrap().unwrap(), connection)
}

/// Flights that have asked nobody yet.
fn idle() -> (Arc<Flights>, Fetch) {
    flights(([127, 0, 0, 1], 9).into())
}

const RANGE: Company = Company::Range(Spec::From { first: 0, last: Some(9) });

#[tokio::test]
async fn after_a_response_for_one_client_requests_go_apart() {
    for (control, expected) in [("private", true), ("max-age=60", false)] {
        let says = format!("HTTP/1.1 200 OK\r\nCache-Control: {control}\r\nContent-Length: 1\r\n\r\nx");
        let (flights, fetch, part, _connection) = answered(&says).await;
        assert_eq!(matches!(part.verdict, Verdict::Apart), expected, "{control}: {:?}", part.verdict);
        assert_eq!(flights.apart.holds(&fetch, &Company::Any, flights.clock.now()), expected, "{control}");
    }
}

#[tokio::test]
async fn a_request_that_goes_apart_takes_its_fetch_with_it_before_the_head() {
    let (flights, _fetch, asking, mut connection) = asked(Company::Alone).await;
    asking.abort();
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(flights.table.fetches(), 0);
}

/// The receiver of a 1xx head over HTTP/2 is called by the request's own task.
#[tokio::test]
async fn a_panic_in_a_fetch_that_goes_apart_costs_no_more_than_its_answer() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (flights, mut fetch) = flights_by("h2c", origin.local_addr().unwrap());
    fetch.early = Some(Early::new(|_, _| panic!("a fault of the edge")));
    let answering = tokio::spawn(async move {
        let mut connection = h2::server::handshake(origin.accept().await.unwrap().0).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut hint = http::Response::new(());
        *hint.status_mut() = http::StatusCode::EARLY_HINTS;
        respond.send_informational(hint).unwrap();
        while connection.accept().await.is_some() {}
    });
    let part = flights.fetch(&fetch, &Company::Alone, Terms::Any, &Variants::default()).await.unwrap();
    assert!(
        matches!(part.verdict, Verdict::Failed(why) if why.error == INTERRUPTED.error),
        "{:?}",
        part.verdict
    );
    assert_eq!(flights.table.fetches(), 0);
    answering.abort();
}

#[tokio::test]
async fn a_response_to_a_request_that_goes_apart_is_stored_without_it() {
    let (flights, fetch, asking, mut connection) = asked(Company::Alone).await;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nx";
    connection.write_all(head.as_bytes()).await.unwrap();
    let part = asking.await.unwrap().unwrap();
    assert!(matches!(part.verdict, Verdict::Filling(_)), "{:?}", part.verdict);
    connection.write_all(b"y").await.unwrap();
    part.reader.settled().await;
    assert_eq!(flights.store.get(&fetch.key, &fetch.site.site.name).len(), 1);
}

#[tokio::test]
async fn a_response_that_is_not_stored_sends_those_apart_whom_it_concerns() {
    let check = |why: Why, has_password: bool, expected: [bool; 3]| {
        let (flights, mut fetch) = idle();
        if has_password {
            let request = request("GET", "http://a.test/x", &[("authorization", "x")]);
            fetch.cause = flights.arrived(&request.headers);
        }
        let now = flights.clock.now();
        flights.apart.mark(&fetch.key, why, Duration::ZERO, now);
        let held = [Company::Any, RANGE, Company::Passing(0)]
            .map(|company| flights.apart.holds(&fetch, &company, now));
        assert_eq!(held, expected, "{why:?} {has_password}");
    };
    check(Why::Unstorable(Unstorable::Private), false, [true; 3]);
    check(Why::Unstorable(Unstorable::Part), false, [false, true, false]);
    check(Why::TooBig, false, [true, false, false]);
    check(Why::Unstorable(Unstorable::Authorization), false, [false; 3]);
    check(Why::Unstorable(Unstorable::Authorization), true, [true; 3]);
    check(Why::Unstorable(Unstorable::RequestNoStore), true, [false; 3]);
}

#[tokio::test]
async fn a_fetch_is_followed_until_a_purge_covers_it() {
    let (flights, fetch) = idle();
    let join = || flights.list(&fetch, &Company::Any, Terms::Any, &Variants::default());
    let Ok(Joined::Lead(leader)) = join() else { panic!("nothing is under way") };
    let Ok(Joined::Follow(follower)) = join() else { panic!("one is under way") };
    assert!(Arc::ptr_eq(leader.fill(), follower.fill()));
    assert_eq!(flights.purged(leader.fill(), &fetch, None), None);
    let everything = Scope::Site(fetch.site.site.name.clone());
    for (scope, mode) in [(everything, Mode::Soft), (Scope::Key(fetch.key.clone()), Mode::Hard)] {
        flights.store.purge(&scope, mode, flights.clock.now());
        assert_eq!(flights.purged(leader.fill(), &fetch, None), Some(mode));
    }
    let Ok(Joined::Lead(next)) = join() else { panic!("it is from before the purge") };
    assert_eq!(flights.purged(next.fill(), &fetch, None), None);
    assert!(matches!(join(), Ok(Joined::Follow(_))));
}

#[tokio::test]
async fn a_range_waits_for_a_whole_of_known_length_that_is_nearly_there() {
    const FAR: u64 = 10 << 20;
    let (flights, fetch) = idle();
    let Ok(Joined::Lead(asking)) = flights.list(&fetch, &Company::Any, Terms::Any, &Variants::default())
    else {
        panic!()
    };
    assert!(!asking.fill().will_soon_be_at(0), "nothing is known of it");
    for (framing, expected) in [
        ("Content-Length: 1000\r\n\r\nx", [true, true, false]),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", [false; 3]),
    ] {
        let says = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}");
        let (_flights, _fetch, part, _connection) = answered(&says).await;
        assert!(matches!(part.verdict, Verdict::Filling(_)), "{framing}: {:?}", part.verdict);
        let found = [0, 999, FAR].map(|first| part.reader.fill().will_soon_be_at(first));
        assert_eq!(found, expected, "{framing}");
    }
}

/// Between a request's look at the store and its look at the fetches, one may end: it is stored first and unlisted then.
#[tokio::test]
async fn a_fetch_that_has_just_ended_is_not_begun_again() {
    let (flights, fetch) = idle();
    let site = &fetch.site.site.name;
    let seen = flights.store.get(&fetch.key, site);
    let object = |number: u8| {
        let body = Body::new(vec![Bytes::from(vec![number])], flights.store.fills());
        let object = testing::object(body);
        let (entry, body) = (object.entry.clone(), Arc::clone(&object.body));
        Arc::new(Object::new(entry, body, site.clone(), flights.store.begin().epoch()))
    };
    flights.store.put(&fetch.key, object(1), None, &flights.store.begin());
    let part = flights.fetch(&fetch, &Company::Any, Terms::Any, &seen).await;
    assert_eq!(part.unwrap_err(), Missed::Ended, "the request looks at the store again");
    let seen = flights.store.get(&fetch.key, site);
    assert_eq!(seen.len(), 1);
    let joined = flights.list(&fetch, &Company::Any, Terms::Any, &seen);
    let Ok(Joined::Lead(reader)) = joined else { panic!("what it has seen is not news: {joined:?}") };
    flights.table.unlist(&fetch.key, reader.fill());
    flights.store.put(&fetch.key, object(2), None, &flights.store.begin());
    let joined = flights.list(&fetch, &Company::Any, Terms::Any, &seen);
    assert!(matches!(joined, Ok(Joined::Ended)), "another response is: {joined:?}");
    let joined = flights.list(&fetch, &Company::Alone, Terms::Any, &seen);
    assert!(matches!(joined, Ok(Joined::Alone(_))), "a request that asks alone shares nothing: {joined:?}");
}
