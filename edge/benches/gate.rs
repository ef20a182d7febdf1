//! The cost of strict reading of request heads, without a socket: `cargo bench -p verge-edge --bench gate`.
//!
//! The figures of a shared machine are noise except against each other; for decisions count instructions:
//! `valgrind --tool=callgrind target/release/deps/gate-* --once browser`, divided by [`ROUNDS`].
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use verge_edge::serve::h1::gate::framing::{Framing, Stop};

/// Heads read in one round.
const ROUNDS: u32 = 20_000;
const MAX_HEAD_BYTES: usize = 16 << 10;

fn main() {
    let mut kinds: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let once = kinds.iter().any(|arg| arg == "--once");
    kinds.retain(|kind| !kind.starts_with("--"));
    for (kind, head) in heads() {
        if !kinds.is_empty() && !kinds.iter().any(|wanted| wanted == kind) {
            continue;
        }
        if once {
            round(&head);
            continue;
        }
        let best = (0..20).map(|_| round(&head)).min().expect("twenty rounds were run");
        let nanoseconds = best.as_secs_f64() * 1e9 / f64::from(ROUNDS);
        println!("{kind:10} {:5} bytes {nanoseconds:7.0} ns", head.len());
    }
}

fn round(head: &[u8]) -> Duration {
    let begin = now();
    let mut framing = Framing::new(MAX_HEAD_BYTES);
    for _ in 0..ROUNDS {
        let judged = framing.judge(black_box(head));
        assert!(judged.good == head.len() && judged.stop == Stop::Starved);
    }
    begin.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// As the programs send them.
fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let head = |lines: &[&str]| format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes();
    let cookie = format!("Cookie: session={}; consent={}", "0123456789abcdef".repeat(16), "a1B2".repeat(200));
    vec![
        ("tiny", head(&["GET /a HTTP/1.1", "Host: site.test"])),
        (
            "curl",
            head(&[
                "GET /style.css HTTP/1.1",
                "Host: www.example.com",
                "User-Agent: curl/8.5.0",
                "Accept: */*",
            ]),
        ),
        ("browser", head(&BROWSER)),
        ("cookies", head(&[&BROWSER[..], &[cookie.as_str()]].concat())),
        (
            "upload",
            head(&["POST /a HTTP/1.1", "Host: site.test", "Content-Length: 0", "Content-Type: text/plain"]),
        ),
    ]
}

/// Chromium's, for a style sheet.
const BROWSER: [&str; 15] = [
    "GET /assets/css/site.bundle.4f3a9c.css?v=20261120 HTTP/1.1",
    "Host: www.example.com",
    "Connection: keep-alive",
    "sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"",
    "sec-ch-ua-mobile: ?0",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "sec-ch-ua-platform: \"Linux\"",
    "Accept: text/css,*/*;q=0.1",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: style",
    "Referer: https://www.example.com/articles/2026/11/20/how-a-cache-works",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7",
    "Cookie: _ga=GA1.1.1234567890.1700000000; _gid=GA1.1.987654321.1700000000; session=4f3a9c2e8b7d6a5f",
];
