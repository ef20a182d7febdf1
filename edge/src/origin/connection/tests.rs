//! Connections that many requests share.

use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::site::reach::Reach;

/// An origin that speaks HTTP/2 in clear text, and what is known of it.
struct Origin {
    listener: TcpListener,
    address: OriginAddress,
    pool: Pool,
    names: Arc<Names>,
}

impl Origin {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let address = OriginAddress {
            authority,
            socket: None,
            way: Way::H2c,
            host: None,
            title_case: false,
            weight: 1,
            backup: false,
            drain: false,
            resolvers: Arc::default(),
            reach: Reach::Loopback,
        };
        let pool = Pool::new(Duration::from_secs(60), true);
        let names = Names::new(&address, pool.clone()).into();
        Self { listener, address, pool, names }
    }

    async fn connect(&self) -> Line {
        self.connect_within(Duration::from_secs(5)).await
    }

    async fn connect_within(&self, limit: Duration) -> Line {
        let place = Place { pool: &self.pool, address: &self.address, names: &self.names, terms: None };
        connect(place, Protocols::Any, Reuse::Any, None, limit).await.unwrap()
    }
}

/// The length of a client's first bytes (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

/// An origin that speaks when its client has, and allows so many streams.
async fn speak(stream: TcpStream, streams: u32) {
    while stream.peek(&mut [0; PREFACE_BYTES]).await.unwrap() < PREFACE_BYTES {
        tokio::task::yield_now().await;
    }
    let mut origin = h2::server::Builder::new();
    let mut origin = origin.max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { while origin.accept().await.is_some() {} });
}

#[tokio::test]
async fn a_burst_waits_until_the_origin_has_said_how_many_streams_it_allows() {
    for (streams, is_shared) in [(1, false), (2, true)] {
        let origin = Origin::new().await;
        let first = origin.connect().await;
        let mut second = pin!(origin.connect());
        let polled = second.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "nobody knows yet whether the origin allows another stream");
        speak(origin.listener.accept().await.unwrap().0, streams).await;
        assert_eq!(second.await.made() == first.made(), is_shared, "{streams}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_does_not_say_how_many_streams_it_allows_holds_up_nobody_for_long() {
    // A request that waits for a connection for less than that must not take the origin for one that is gone.
    for (limit, expected) in [(5_000, SETTINGS_LIMIT), (500, Duration::from_millis(250))] {
        let limit = Duration::from_millis(limit);
        let origin = Origin::new().await;
        let first = origin.connect_within(limit).await;
        let began = monotonic();
        let second = origin.connect_within(limit).await;
        let waited = monotonic() - began;
        assert!(second.made() == first.made() && waited >= expected && waited < limit, "{waited:?}");
    }
}
