//! Clients and origins while one of two origins is at fault, and while the only one is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, response};

/// An origin's answer to a request that it has read.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Sends these bytes and closes.
    Says(&'static str),
    /// Sends these bytes, so many times, and closes.
    Floods(&'static str, usize),
    /// Sends these bytes, and then neither more nor an end.
    Stalls(&'static str),
    /// Sends these bytes one by one, again and again.
    Drips(&'static str),
    /// As it says, and breaks the connection off.
    Resets(&'static str),
}

struct Faulty {
    address: SocketAddr,
    /// Requests that came.
    asked: Arc<AtomicUsize>,
    /// Answers as it should as long as this is not set.
    is_at_fault: Arc<AtomicBool>,
}

const OLD: &str =
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold";

async fn faulty(fault: Fault) -> Faulty {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, is_at_fault) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let faulty = Faulty { address, asked: Arc::clone(&asked), is_at_fault: Arc::clone(&is_at_fault) };
    tokio::spawn(async move {
        let mut stalled = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            asked.fetch_add(1, Ordering::Relaxed);
            if !is_at_fault.load(Ordering::Relaxed) {
                let _ = stream.write_all(OLD.as_bytes()).await;
                continue;
            }
            if let Some(open) = commit(stream, fault).await {
                stalled.push(open);
            }
        }
    });
    faulty
}

/// The connection, if it stays.
async fn commit(mut stream: TcpStream, fault: Fault) -> Option<TcpStream> {
    let (bytes, times) = match fault {
        Fault::Says(bytes) | Fault::Stalls(bytes) | Fault::Resets(bytes) => (bytes, 1),
        Fault::Floods(bytes, times) => (bytes, times),
        Fault::Drips(bytes) => {
            for byte in bytes.bytes().cycle() {
                stream.write_all(&[byte]).await.ok()?;
                tokio::task::yield_now().await;
            }
            ("", 0)
        }
    };
    for _ in 0..times {
        if stream.write_all(bytes.as_bytes()).await.is_err() {
            break;
        }
    }
    match fault {
        Fault::Stalls(_) => return Some(stream),
        Fault::Resets(_) => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Fault::Says(_) | Fault::Floods(..) | Fault::Drips(_) => {}
    }
    None
}

fn standing() -> Clock {
    Clock::standing(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
}

const SITE: &str = "first_byte_timeout = \"300ms\"\nbetween_bytes_timeout = \"300ms\"\nslow_start = \"0s\"";

/// Faults before a whole head.
const BEFORE: &[Fault] = &[
    Fault::Says(""),
    Fault::Resets(""),
    Fault::Says("HTTP/1.1 200 OK\r\nContent-Le"),
    Fault::Resets("HTTP/1.1 200 OK\r\nContent-Le"),
    Fault::Says("\u{0}\u{1}garbage\r\n\r\n"),
    Fault::Says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    Fault::Floods("HTTP/1.1 200 OK\r\nX: ", 1 << 16),
    Fault::Drips("HTTP/1.1 200 OK\r\nX: 1\r\n"),
    Fault::Stalls(""),
    Fault::Stalls("HTTP/1.1 200 OK\r\n"),
];

/// Of 12 requests in turn the faulty one gets three; each is answered by the other, and then it is left alone.
#[tokio::test]
async fn no_client_sees_the_fault_of_one_origin_of_two() {
    for fault in BEFORE {
        let one = faulty(*fault).await;
        one.is_at_fault.store(true, Ordering::Relaxed);
        let other = Origin::answering(|_| response("200 OK", "Cache-Control: no-store\r\n", "x")).await;
        let rig = Rig::at(standing(), "\"*\"", &[one.address, other.address], "", SITE).await;
        for _ in 0..12 {
            let got = rig.get("/").await;
            assert_eq!((got.status, got.text().as_str()), (200, "x"), "{fault:?}: {got:?}");
        }
        assert_eq!((one.asked.load(Ordering::Relaxed), other.count()), (3, 12), "{fault:?}");
    }
}

/// The only origin: stale where that is allowed, else an error that says what it was; and no more requests than clients'.
#[tokio::test]
async fn what_is_stored_stands_in_for_the_only_origin() {
    for fault in BEFORE {
        let one = faulty(*fault).await;
        let rig = Rig::at(standing(), "\"*\"", &[one.address], "", SITE).await;
        assert_eq!(rig.get("/stored").await.text(), "old", "{fault:?}");
        rig.pass(5);
        one.is_at_fault.store(true, Ordering::Relaxed);
        let stale = rig.get("/stored").await;
        assert_eq!((stale.status, stale.text().as_str()), (200, "old"), "{fault:?}: {stale:?}");
        let none = rig.get("/other").await;
        assert!(matches!(none.status, 502 | 504), "{fault:?}: {none:?}");
        assert!(none.field("proxy-status").contains("error="), "{fault:?}: {none:?}");
        assert_eq!(one.asked.load(Ordering::Relaxed), 3, "{fault:?}");
        one.is_at_fault.store(false, Ordering::Relaxed);
        assert_eq!(rig.get("/other").await.text(), "old", "{fault:?}: it is well again");
    }
}

/// A body that ends too early is never taken for a whole one: not by the client, and not by the store.
#[tokio::test]
async fn a_body_that_breaks_off_is_neither_stored_nor_taken_for_whole() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nshort";
    for fault in [Fault::Says(HEAD), Fault::Resets(HEAD), Fault::Stalls(HEAD)] {
        let one = faulty(fault).await;
        one.is_at_fault.store(true, Ordering::Relaxed);
        let rig = Rig::at(standing(), "\"*\"", &[one.address], "", SITE).await;
        let mut client = rig.client().await;
        client.send_get("/", "").await;
        let rest = client.rest().await;
        assert!(!rest.ends_with("short\r\n") || !rest.contains("Content-Length: 5"), "{fault:?}: {rest}");
        one.is_at_fault.store(false, Ordering::Relaxed);
        let got = rig.get("/").await;
        assert_eq!(
            (got.text().as_str(), one.asked.load(Ordering::Relaxed)),
            ("old", 2),
            "{fault:?}: {got:?}"
        );
    }
}

/// One of three goes and comes back all the time: each client is answered, and the origin that is back gets requests again.
#[tokio::test]
async fn an_origin_that_flaps_costs_no_client_an_answer() {
    let answer = |_: &str| response("200 OK", "Cache-Control: no-store\r\n", "x");
    let (one, two) = (Origin::answering(answer).await, Origin::answering(answer).await);
    let mut flapping = Origin::answering(answer).await;
    let clock = standing();
    let all = [one.address, two.address, flapping.address];
    let rig = Rig::at(clock, "\"*\"", &all, "", SITE).await;
    let mut client = rig.client().await;
    let (mut asked, mut sent) = (0, 0);
    for _ in 0..6 {
        // Two seconds up, two seconds down; requests come all the time.
        for _ in 0..2 {
            for _ in 0..6 {
                assert_eq!(client.get("/").await.status, 200);
                sent += 1;
            }
            rig.pass(1);
        }
        let address = flapping.address;
        asked += flapping.count();
        flapping.die().await;
        for _ in 0..2 {
            for _ in 0..6 {
                assert_eq!(client.get("/").await.status, 200);
                sent += 1;
            }
            rig.pass(1);
        }
        flapping = Origin::at(address, answer).await;
    }
    // Answered once each: what was lost with a connection was sent again, and nothing else was.
    let answered = one.count() + two.count() + asked;
    assert!((sent..sent + 12).contains(&answered), "{answered} for {sent}");
    assert!(asked >= 12, "{asked}");
}

/// All are down for a minute while clients go on asking: none hangs, and the origin that is back meets no herd.
#[tokio::test]
async fn an_origin_that_is_back_meets_no_herd() {
    let place = crate::ports::address();
    let rig = Rig::at(standing(), "\"*\"", &[place], "", SITE).await;
    for second in 0..60 {
        for path in 0..3 {
            let got = rig.get(&format!("/{path}")).await;
            assert!(got.status == 502 || got.status == 503, "{second}: {got:?}");
            assert_eq!(got.status == 503, got.field("retry-after") == "2");
        }
        rig.pass(1);
    }
    let errors = format!(
        "verge_edge_origin_errors_total{{site=\"*\",origin=\"{place}\",error=\"connection_refused\"}} "
    );
    let tries = rig.metric(&errors).await;
    assert!((30..=61).contains(&tries), "one a second at most: {tries}");
    let back = Origin::start_at(place).await;
    rig.pass(1);
    let mut answers = tokio::task::JoinSet::new();
    for path in 0..40 {
        let mut client = rig.client().await;
        client.send_get(&format!("/herd/{path}"), "").await;
        answers.spawn(async move { client.response().await });
    }
    // One of them tries it; the others are told at once.
    let first = back.next().await;
    for _ in 0..39 {
        let got = answers.join_next().await.unwrap().unwrap();
        assert_eq!((got.status, got.field("retry-after").as_str()), (503, "2"), "{got:?}");
    }
    assert_eq!(back.count(), 1);
    first.respond(&response("200 OK", "", "back")).await;
    assert_eq!(answers.join_next().await.unwrap().unwrap().text(), "back");
}
