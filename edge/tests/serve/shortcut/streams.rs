//! The short way of hits over HTTP/2 and HTTP/3.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

use super::super::encrypted::{certificate, connect, terms};
use super::super::quic::{self, Http3};
use super::super::rig::{Rig, soon};
use super::{HOSTS, LINES, PATHS, Pair, REPEATED, ROUNDS, STEPS, pair, requests_of, setting, without_load};

/// A request, as often as it is sent.
type Asked = Request<Empty<Bytes>>;

/// Status, fields and body.
type Got = (u16, Vec<(String, String)>, String);

/// A client's connection.
#[derive(Clone)]
enum Sender {
    Http2(SendRequest<Empty<Bytes>>),
    Http3(Arc<Http3>),
}

#[derive(Debug, Clone, Copy)]
enum Version {
    Http2,
    Http3,
}

/// Whether the client's requests do. Those of h3 are more than a head with its end; `quic.rs` sends such a one.
fn takes_the_short_way(version: Version) -> bool {
    matches!(version, Version::Http2)
}

/// Two edges that are asked over TLS or QUIC, connections to them, and the folder of their certificate.
async fn encrypted(version: Version, window: Option<u32>) -> (Pair, Sender, Sender, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let names = ["site.test", "plain.test", "keyed.test", "changed.test", "ruled.test", "secure.test"];
    let tls = certificate(folder.path(), &names);
    let listen = match version {
        Version::Http2 => "listen_tls",
        Version::Http3 => "listen_quic",
    };
    let pair = pair(&format!("{listen} = [\"127.0.0.1:0\"]\n[tls]\n{tls}")).await;
    let (short, long) = match version {
        Version::Http2 => (over_tls(&pair.short, window).await, over_tls(&pair.long, window).await),
        Version::Http3 => (over_quic(&pair.short, window).await, over_quic(&pair.long, window).await),
    };
    (pair, short, long, folder)
}

async fn over_quic(rig: &Rig, window: Option<u32>) -> Sender {
    let address = rig.running.as_ref().unwrap().listening().quic[0];
    let mut config = quic::config("h3");
    if let Some(window) = window {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(window.into());
        config.transport_config(Arc::new(transport));
    }
    Sender::Http3(Arc::new(Http3::with(address, config).await))
}

async fn over_tls(rig: &Rig, window: Option<u32>) -> Sender {
    let address: SocketAddr = rig.running.as_ref().unwrap().listening().tls[0];
    let stream = connect(address, &terms(&["h2"])).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).max_concurrent_reset_streams(1000);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Sender::Http2(sender)
}

fn request(chance: &mut StdRng) -> Asked {
    loop {
        let method = if chance.random_bool(0.1) { "HEAD" } else { "GET" };
        let (host, path) = (HOSTS.choose(chance).unwrap(), PATHS.choose(chance).unwrap());
        let mut request = Request::builder().method(method).uri(format!("https://{host}{path}"));
        for _ in 0..chance.random_range(0..5) {
            let (name, value) = LINES.choose(chance).unwrap().split_once(':').unwrap();
            if !["Connection", "Expect", "TE", "Content-Length"].contains(&name) {
                request = request.header(name, value.trim());
            }
        }
        // Some of the targets are none of HTTP/2 and HTTP/3.
        if let Ok(request) = request.body(Empty::new()) {
            return request;
        }
    }
}

async fn answer(sender: &Sender, request: &Asked) -> Got {
    let (status, headers, body) = match sender {
        Sender::Http2(sender) => {
            let answer = soon("an answer", sender.clone().send_request(request.clone())).await.unwrap();
            let (parts, body) = answer.into_parts();
            (parts.status, parts.headers, soon("a body", body.collect()).await.unwrap().to_bytes())
        }
        Sender::Http3(client) => over_http_3(client, request).await,
    };
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let fields = headers.iter().filter(|(name, _)| *name != "date").map(field).collect();
    (status.as_u16(), fields, without_load(&String::from_utf8_lossy(&body)))
}

async fn over_http_3(client: &Http3, request: &Asked) -> (StatusCode, HeaderMap, Bytes) {
    let asked = request.clone().map(|_| ());
    let mut stream = client.requests.clone().send_request(asked).await.unwrap();
    stream.finish().await.unwrap();
    let (parts, ()) = soon("an answer", stream.recv_response()).await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(mut piece) = soon("a body", stream.recv_data()).await.unwrap() {
        body.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
    }
    (parts.status, parts.headers, body.into())
}

/// The answers to requests that are open at the same time.
async fn answers(sender: &Sender, asked: &[Asked]) -> Vec<Got> {
    let one = |request: &Asked| {
        let (sender, request) = (sender.clone(), request.clone());
        tokio::spawn(async move { answer(&sender, &request).await })
    };
    let all: Vec<_> = asked.iter().map(one).collect();
    let mut got = Vec::new();
    for one in all {
        got.push(one.await.unwrap());
    }
    got
}

fn is_hit((_, fields, _): &Got) -> bool {
    fields.iter().any(|(name, value)| name == "cache-status" && value.contains("; hit"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_the_short_way_gives_what_the_long_way_gives() {
    both_ways_give_the_same(Version::Http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_3_the_short_way_gives_what_the_long_way_gives() {
    both_ways_give_the_same(Version::Http3).await;
}

async fn both_ways_give_the_same(version: Version) {
    let seed = setting("VERGE_SHORTCUT_SEED", 5);
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut pair, one, other, _folder) = encrypted(version, None).await;
    let mut known: Vec<Asked> = (0..REPEATED).map(|_| request(&mut chance)).collect();
    for step in 0..2 * setting("VERGE_SHORTCUT_STEPS", STEPS) {
        // Several at once, of which some are the same.
        let asked: Vec<Asked> =
            (0..chance.random_range(1..6)).map(|_| known.choose(&mut chance).unwrap().clone()).collect();
        for request in &asked {
            let (mut short, mut long) = (answer(&one, request).await, answer(&other, request).await);
            for _ in 0..ROUNDS {
                if short == long || is_hit(&short) && is_hit(&long) {
                    break;
                }
                (short, long) = (answer(&one, request).await, answer(&other, request).await);
            }
            assert_eq!(short, long, "seed {seed}, step {step}: {request:?}\nby {}", pair.text);
        }
        let (short, long) = (answers(&one, &asked).await, answers(&other, &asked).await);
        let both = short.iter().zip(&long).zip(&asked);
        for ((short, long), request) in both.filter(|((short, long), _)| is_hit(short) && is_hit(long)) {
            assert_eq!(short, long, "seed {seed}, step {step}, at once: {request:?}\nby {}", pair.text);
        }
        if chance.random_bool(0.1) {
            pair.clock.advance(Duration::from_secs(chance.random_range(1..9)));
        }
        if chance.random_bool(0.1) {
            *known.choose_mut(&mut chance).unwrap() = request(&mut chance);
        }
        if chance.random_bool(0.03) {
            pair.change(&mut chance).await;
        }
    }
    let name = "verge_edge_direct_hits_total ";
    let (short, long) = (pair.short.metric(name).await, pair.long.metric(name).await);
    let is_short = short > 200 || !takes_the_short_way(version);
    assert!(is_short && long == 0, "{short} and {long} hits went the short way");
    assert_eq!(requests_of(&pair.short).await, requests_of(&pair.long).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_the_clients_window_does_not_take_at_once_comes_whole() {
    // Smaller than the page, and far smaller than a part of the other. Each byte of a window costs the client frames, of
    // which it may not send any number.
    for version in [Version::Http2, Version::Http3] {
        comes_whole(version).await;
    }
}

async fn comes_whole(version: Version) {
    let (pair, one, other, _folder) = encrypted(version, Some(300)).await;
    for (path, range) in [("/fresh", None), ("/big", Some("bytes=5-2004")), ("/fresh", None)] {
        let mut request = Request::get(format!("https://plain.test{path}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let asked = request.body(Empty::new()).unwrap();
        let (mut short, mut long) = (answer(&one, &asked).await, answer(&other, &asked).await);
        for _ in 0..ROUNDS {
            if is_hit(&short) && is_hit(&long) {
                break;
            }
            (short, long) = (answer(&one, &asked).await, answer(&other, &asked).await);
        }
        assert_eq!(short, long, "{path}");
        assert!(is_hit(&short) && short.2.len() > 300, "{path}: {short:?}");
    }
    let short = pair.short.metric("verge_edge_direct_hits_total ").await;
    assert!(short > 1 || !takes_the_short_way(version), "{short}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_in_several_lines_count_as_one() {
    for version in [Version::Http2, Version::Http3] {
        cookies_count_as_one(version).await;
    }
}

async fn cookies_count_as_one(version: Version) {
    let (pair, one, other, _folder) = encrypted(version, None).await;
    let asked = |cookies: &[&'static str]| {
        let request = Request::get("https://plain.test/vary/cookie");
        cookies
            .iter()
            .fold(request, |request, cookie| request.header("cookie", *cookie))
            .body(Empty::new())
            .unwrap()
    };
    for cookies in [&["a=1", "b=2"][..], &["a=1; b=2"], &["a=1"], &["b=2"], &["b=2", "a=1"], &["a=1", "b=2"]]
    {
        let joined = format!("cookie is \"{}\"", cookies.join("; "));
        for sender in [&one, &other] {
            for _ in 0..3 {
                assert_eq!(answer(sender, &asked(cookies)).await.2, joined);
            }
        }
    }
    let short = pair.short.metric("verge_edge_direct_hits_total ").await;
    assert!(short > 0 || !takes_the_short_way(version), "{short}");
}
