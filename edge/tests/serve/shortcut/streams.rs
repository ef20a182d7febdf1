//! The short way of hits over HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;

use super::super::encrypted::{certificate, connect, terms};
use super::super::rig::{Rig, soon};
use super::{HOSTS, LINES, PATHS, Pair, REPEATED, ROUNDS, STEPS, pair, requests_of, setting, without_load};

/// A request, as often as it is sent.
type Asked = Request<Empty<Bytes>>;

/// Status, fields and body.
type Got = (u16, Vec<(String, String)>, String);

type Sender = SendRequest<Empty<Bytes>>;

/// Two edges that are asked over TLS, connections to them, and the folder of their certificate.
async fn encrypted(window: Option<u32>) -> (Pair, Sender, Sender, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let names = ["site.test", "plain.test", "keyed.test", "changed.test", "ruled.test", "secure.test"];
    let tls = certificate(folder.path(), &names);
    let pair = pair(&format!("listen_tls = [\"127.0.0.1:0\"]\n[tls]\n{tls}")).await;
    let (short, long) = (connection(&pair.short, window).await, connection(&pair.long, window).await);
    (pair, short, long, folder)
}

async fn connection(rig: &Rig, window: Option<u32>) -> Sender {
    let address: SocketAddr = rig.running.as_ref().unwrap().listening().tls[0];
    let stream = connect(address, &terms(&["h2"])).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).max_concurrent_reset_streams(1000);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
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
        // Some of the targets are none of HTTP/2.
        if let Ok(request) = request.body(Empty::new()) {
            return request;
        }
    }
}

async fn answer(sender: &Sender, request: &Asked) -> Got {
    let (parts, body) =
        soon("an answer", sender.clone().send_request(request.clone())).await.unwrap().into_parts();
    let body = soon("a body", body.collect()).await.unwrap().to_bytes();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let fields = parts.headers.iter().filter(|(name, _)| *name != "date").map(field).collect();
    (parts.status.as_u16(), fields, without_load(&String::from_utf8_lossy(&body)))
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
    let seed = setting("VERGE_SHORTCUT_SEED", 5);
    let (mut chance, (mut pair, one, other, _folder)) = (StdRng::seed_from_u64(seed), encrypted(None).await);
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
    assert!(short > 200 && long == 0, "{short} and {long} hits went the short way");
    assert_eq!(requests_of(&pair.short).await, requests_of(&pair.long).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_the_clients_window_does_not_take_at_once_comes_whole() {
    // Smaller than the page, and far smaller than a part of the other. Each byte of a window costs the client frames, of
    // which it may not send any number.
    let (pair, one, other, _folder) = encrypted(Some(300)).await;
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
    assert!(pair.short.metric("verge_edge_direct_hits_total ").await > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_in_several_lines_count_as_one() {
    let (pair, one, other, _folder) = encrypted(None).await;
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
    assert!(pair.short.metric("verge_edge_direct_hits_total ").await > 0);
}
