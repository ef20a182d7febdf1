mod company;

use std::future::poll_fn;
use std::path::Path;

use tokio::net::TcpListener;

use super::*;
use crate::flight::log::BrokenOff;
use crate::http::testing::request;
use crate::site::key::{KeyRules, key};
use crate::store::{Bounds, Eviction};

/// Flights without a fetch, and a fetch for a site with this origin.
fn flights(origin: std::net::SocketAddr) -> (Arc<Flights>, Fetch) {
    flights_by("http", origin)
}

/// The same with an origin that is asked by this scheme.
fn flights_by(scheme: &str, origin: std::net::SocketAddr) -> (Arc<Flights>, Fetch) {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"a.test\"]\norigins = [\"{scheme}://{origin}\"]\n"
    );
    let config = crate::config::parse(&text, Path::new("."), Path::new("edge.toml")).unwrap();
    let site = Arc::clone(&config.sites.all()[0]);
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let bounds = Bounds { memory_bytes: 1 << 20, eviction: Eviction::Lru, tag_fields: Default::default() };
    let store = Arc::new(Store::new(&bounds));
    let flights = Flights::new(store, clock.clone(), metrics.clone(), "edge".to_owned());
    let request = request("GET", "http://a.test/x", &[("host", "a.test")]);
    let fetch = Fetch {
        key: key(&request, &KeyRules::default()),
        cause: flights.arrived(&request.headers),
        request: Arc::new(request),
        site: Arc::new(FetchSite {
            number: 0,
            parents: None,
            canary: None,
            tally: Tally::default(),
            origins: Arc::new(Origins::new(&site, &[], &Arc::default(), (&clock, &metrics))),
            metrics: metrics.site(site.name.as_str()),
            clock_told: AtomicBool::new(false),
            circle_told: AtomicBool::new(false),
            site,
        }),
        client: [127, 0, 0, 1].into(),
        version: Version::HTTP_11,
        early: None,
        content: None,
        plan: Plan::Whole { reserve: None },
    };
    (Arc::new(flights), fetch)
}

#[tokio::test]
async fn a_fetch_is_listed_for_others_until_it_ends() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (flights, fetch) = flights(origin.local_addr().unwrap());
    let asking = {
        let (flights, fetch) = (Arc::clone(&flights), fetch.clone());
        tokio::spawn(
            async move { flights.fetch(&fetch, &Company::Any, Terms::Any, &Variants::default()).await },
        )
    };
    let (connection, _) = origin.accept().await.unwrap();
    assert_eq!(flights.table.fetches(), 1);
    drop((connection, origin));
    let Participation { verdict, mut reader, .. } = asking.await.unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
    // The log breaks off when the task has ended, which takes the fetch off the table before.
    let end = poll_fn(|cx| reader.poll_next(cx)).await;
    assert!(matches!(end, Some(Err(Unfinished::Fill(BrokenOff::AtOrigin)))), "{end:?}");
    assert_eq!(flights.table.fetches(), 0);
}
