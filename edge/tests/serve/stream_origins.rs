//! The origins of streams: told, switched and bounded as those of sites are.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::reloading::{Edge, Lines};
use super::rig::{Origin, Rig, soon};
use super::streams::{at, echo, open, rig, rig_with, talk};

async fn told(rig: &Rig, body: &str) -> String {
    let got = rig.ask("/origins", body).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.text()
}

#[tokio::test]
async fn the_origins_of_a_stream_are_one_group_that_is_told_and_switched() {
    let (a, b) = (echo("a").await, echo("b").await);
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nslow_start = \"0s\"\norigins = [\"tcp://{}\", \"tcp://{}\"]\n\
         [[stream]]\nlisten = [\"127.0.0.1:0\"]\nsni = [\"db.test\"]\nbalance = \"hash\"\norigins = [\"tcp://127.0.0.1:1\"]",
        a.address, b.address
    ))
    .await;
    // They take turns whichever listener a connection comes by.
    assert_eq!(talk(at(&rig, 0), &[b"x"]).await, "a 1 bytes");
    assert_eq!(talk(at(&rig, 1), &[b"x"]).await, "b 1 bytes");
    let all = told(&rig, "{}").await;
    let streams = all.split_once("\"streams\":").unwrap().1;
    let head = format!(
        "[{{\"stream\":\"127.0.0.1:0\",\"balance\":\"round-robin\",\"origins\":[{{\"origin\":\"{}\",",
        a.address
    );
    assert!(streams.starts_with(&head) && streams.matches("\"stream\":").count() == 2, "{all}");
    let drain = format!("{{\"stream\":\"127.0.0.1:0\",\"origin\":\"{}\",\"drain\":true}}", a.address);
    assert!(told(&rig, &drain).await.contains("\"state\":\"drained\""));
    for place in [0, 1, 0, 1] {
        assert_eq!(talk(at(&rig, place), &[b"x"]).await, "b 1 bytes");
    }
    // Without a stream's name it is all streams' and sites', as here.
    told(&rig, &format!("{{\"origin\":\"{}\",\"drain\":null}}", a.address)).await;
    let both = [talk(at(&rig, 0), &[b"x"]).await, talk(at(&rig, 1), &[b"x"]).await];
    assert!(both.contains(&"a 1 bytes".to_owned()), "{both:?}");
    let of_sites = told(&rig, "{\"site\":\"*\"}").await;
    assert!(!of_sites.contains("\"streams\""), "{of_sites}");
    let of_one = told(&rig, "{\"stream\":\"db.test\"}").await;
    assert!(of_one.contains("\"sites\":[]") && of_one.matches("\"stream\":").count() == 1, "{of_one}");
    for wrong in ["{\"stream\":\"a.test\"}", "{\"stream\":\"db.test\",\"site\":\"*\"}"] {
        assert_eq!(rig.ask("/origins", wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_origin_of_a_stream_has_no_more_connections_than_it_may_and_others_wait_or_end() {
    let a = echo("a").await;
    let stream = |queue: &str| {
        format!(
            "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigin_requests = 1\n{queue}\norigins = [\"tcp://{}\"]\n",
            a.address
        )
    };
    let ends = rig(&stream("origin_queue = 0")).await;
    let kept = open(at(&ends, 0), b"").await;
    assert_eq!(talk(at(&ends, 0), &[b"x"]).await, "");
    let why = "why=\"connection_limit_reached\"";
    ends.until(&format!("verge_edge_stream_ended_total{{stream=\"127.0.0.1:0\",{why}}}"), 1).await;
    drop(kept);
    soon("a place", async { while talk(at(&ends, 0), &[b"x"]).await != "a 1 bytes" {} }).await;
    let waits = rig(&stream("origin_queue_timeout = \"1h\"")).await;
    let kept = open(at(&waits, 0), b"").await;
    let next = tokio::spawn(open(at(&waits, 0), b""));
    // Both are accepted; no more than one of them is at the origin.
    assert!(!next.is_finished());
    drop(kept);
    soon("its turn", next).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_its_origin_gives_its_place_back() {
    let a = echo("a").await;
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigin_requests = 1\norigin_queue_timeout = \"1h\"\norigins = [\"tcp://{}\"]\n",
        a.address
    ))
    .await;
    let _kept = open(at(&rig, 0), b"").await;
    let waiting = TcpStream::connect(at(&rig, 0)).await.unwrap();
    socket2::SockRef::from(&waiting).set_linger(Some(Duration::ZERO)).unwrap();
    drop(waiting);
    rig.until("verge_edge_stream_ended_total{stream=\"127.0.0.1:0\",why=\"broken\"}", 1).await;
}

/// The client has not said yet what it wants.
#[tokio::test]
async fn a_connection_that_a_drain_ends_is_a_line_in_the_log() {
    let lines = Lines::default();
    let log = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let stream =
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\nsni = [\"a.test\"]\norigins = [\"tcp://127.0.0.1:1\"]";
    let mut rig = rig_with("[limits]\ndrain = \"50ms\"", stream).await;
    let mut silent = TcpStream::connect(at(&rig, 0)).await.unwrap();
    soon("the end of the drain", rig.running.take().unwrap().drain()).await;
    assert_eq!(soon("its end", silent.read(&mut [0; 1])).await.unwrap_or(0), 0);
    assert_eq!(lines.count("ended=\"drained\""), 1);
}

/// Writes one byte on each connection, which stays when it ends.
async fn server(address: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"x").await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    })
}

/// Open connections go by the old config to their end, and its checks do not.
#[tokio::test]
async fn an_origin_is_not_kept_out_by_checks_that_a_reload_took_away() {
    let site = Origin::start().await;
    let edge = Edge::start(&site).await;
    let (at, origin) = (crate::ports::address(), crate::ports::address());
    let serving = server(origin).await;
    let bare = format!("{}[[stream]]\nlisten = [\"{at}\"]\norigins = [\"tcp://{origin}\"]\n", edge.text);
    let checked = format!("{bare}[stream.health]\ninterval = \"1s\"\nfall = 1\n");
    assert_eq!(edge.reload(&checked).await.status, 200);
    let mut kept = TcpStream::connect(at).await.unwrap();
    soon("the origin", kept.read_exact(&mut [0])).await.unwrap();
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let is_out = async || told(&edge.rig, "{}").await.contains("\"state\":\"fails-checks\",\"in_flight\"");
    let out = async {
        while !is_out().await {
            edge.rig.pass(1);
        }
    };
    soon("a check that fails", out).await;
    assert_eq!(edge.reload(&bare).await.status, 200);
    for _ in 0..20 {
        edge.rig.pass(2);
        assert!(!is_out().await);
    }
    let serving = server(origin).await;
    assert_eq!(talk(at, &[]).await, "x");
    // It was open all the time.
    kept.shutdown().await.unwrap();
    assert_eq!(soon("its end", kept.read(&mut [0])).await.unwrap(), 0);
    serving.abort();
}
