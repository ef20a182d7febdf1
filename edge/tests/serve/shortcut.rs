//! The short way of usual hits against the long way of all others: the same requests get the same bytes.
//!
//! `VERGE_SHORTCUT_STEPS` and `VERGE_SHORTCUT_SEED` choose how many connections and which; a failure prints both.

mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng, SeedableRng};
use verge_edge::clock::Clock;

use super::client::{Client, Got};
use super::rig::{Origin, Rig, response};

const STEPS: u64 = 400;
/// More than any fetch takes to be stored, also beside other work; the first round that is equal is the last.
const ROUNDS: usize = 60;
/// 2001-09-09: the clock stands, but for what the test adds.
const START: u64 = 1_000_000_000;

const SITES: &str = r#"
[[site]]
hosts = ["plain.test"]
ORIGIN
[[site]]
hosts = ["keyed.test"]
compress = ["br", "gzip"]
ORIGIN
[site.key]
headers = ["accept-language"]
cookies = ["lang"]
device = true
[[site]]
hosts = ["changed.test"]
client_control = "full"
ORIGIN
[site.request]
set = { accept = "text/html" }
remove = ["user-agent", "dnt"]
[site.response]
set = { x-frame-options = "DENY", cache-status = "none" }
remove = ["x-a"]
[[site.redirect]]
from = "/moved"
to = "/fresh"
[[site]]
hosts = ["ruled.test"]
bypass = ["/big*"]
bypass_cookies = ["preview"]
bypass_headers = ["x-preview", "sec-gpc"]
bypass_query = ["nocache"]
rate_limit = "40/m"
ORIGIN
[site.key]
query_sorted = true
[site.response]
remove = ["etag"]
[[site.route]]
paths = ["/vary/*"]
deny = ["127.0.0.0/8"]
[[site.route]]
paths = ["/empty"]
maintenance = true
[[site]]
hosts = ["secure.test"]
https_only = "1d"
ORIGIN
[admin]
listen = "127.0.0.1:0"
hosts = ["site.test"]
"#;

const HOSTS: &[&str] = &[
    "plain.test",
    "plain.test",
    "keyed.test",
    "changed.test",
    "ruled.test",
    "secure.test",
    "PLAIN.test:80",
    "none.test",
];
const PATHS: &[&str] = &[
    "/fresh",
    "/fresh",
    "/fresh?b=1&a=2",
    "/fresh?a=2&b=1",
    "/fresh?nocache",
    "/%66resh",
    "/x/../fresh",
    "/big",
    "/dated",
    "/vary/user-agent",
    "/vary/accept-encoding",
    "/vary/accept-language",
    "/vary/cookie",
    "/vary/star",
    "/short",
    "/private",
    "/missing",
    "/moved",
    "/chunked",
    "/empty",
    "/gzip",
    "/twice",
    "/.well-known/verge/health",
    "/.well-known/verge/health?a=1",
    "/.well-known/verge/%68ealth?a=1",
    "/.well-known/verge/purge",
    "/.well-known/verge/p%75rge",
    "/no<raw>",
    "*",
];
const METHODS: &[&str] = &["GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "OPTIONS", "POST"];
const LINES: &[&str] = &[
    "User-Agent: one",
    "user-agent: Mobile two",
    "Accept: */*",
    "Accept: image/webp",
    "Accept-Encoding: gzip",
    "accept-encoding: br;q=0.5, gzip",
    "Accept-Encoding: identity",
    "Accept-Language: de",
    "Accept-Language: en, de;q=0.5",
    "Cookie: a=1",
    "Cookie: lang=de; b=2",
    "Cookie: preview=1",
    "If-None-Match: \"e\"",
    "If-None-Match: W/\"e\", \"f\"",
    "If-None-Match: *",
    "If-None-Match: \"x\"",
    "If-Modified-Since: Sun, 09 Sep 2001 00:00:00 GMT",
    "If-Modified-Since: Sat, 08 Sep 2001 00:00:00 GMT",
    "If-Match: \"x\"",
    "If-Unmodified-Since: Sat, 08 Sep 2001 00:00:00 GMT",
    "Range: bytes=0-9",
    "Range: bytes=3-",
    "Range: bytes=-4",
    "Range: bytes=9999999-",
    "Range: lines=1-2",
    "If-Range: \"e\"",
    "If-Range: \"x\"",
    "Cache-Control: no-cache",
    "Cache-Control: max-age=0",
    "Cache-Control: only-if-cached",
    "Cache-Control: max-stale",
    "Pragma: no-cache",
    "Connection: keep-alive",
    "Connection: Keep-Alive, x-a",
    "Referer: http://a/",
    "Authorization: Basic YTpi",
    "X-Forwarded-For: 192.0.2.9",
    "X-Forwarded-Proto: https",
    "Max-Forwards: 0",
    "DNT: 1",
    "Sec-Fetch-Mode: cors",
    "Sec-GPC: 1",
    "Sec-CH-UA-Mobile: ?1",
    "Upgrade-Insecure-Requests: 1",
    "Origin: http://a",
    "X-Preview: 1",
    "X_Preview: 1",
    "Content-Length: 0",
    "Expect: 100-continue",
    "TE: trailers",
    "Priority: u=1",
    "X-A:  \t y ",
    "Via: 1.1 a",
];

fn origin(head: &str) -> String {
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let value = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect::<String>()
    };
    let fresh = "Cache-Control: max-age=1000\r\nETag: \"e\"\r\nX-A: 1\r\n";
    let body = format!("<p>the page at {path}, which is not short</p>").repeat(9);
    match path {
        "/big" => response(
            "200 OK",
            &format!("{fresh}Content-Type: text/css\r\n"),
            &"0123456789abcdef".repeat(20_000),
        ),
        "/dated" => {
            let fields = "Cache-Control: max-age=1000\r\nLast-Modified: Sun, 09 Sep 2001 00:00:00 GMT\r\n";
            response("200 OK", &format!("{fields}Content-Type: text/html\r\n"), &body)
        }
        "/vary/star" => response("200 OK", &format!("{fresh}Vary: *\r\n"), &body),
        path if path.starts_with("/vary/") => {
            let name = &path["/vary/".len()..];
            response("200 OK", &format!("{fresh}Vary: {name}\r\n"), &format!("{name} is {:?}", value(name)))
        }
        "/short" => {
            response("200 OK", "Cache-Control: max-age=3, stale-if-error=0\r\nETag: \"e\"\r\n", &body)
        }
        "/private" => response("200 OK", "Cache-Control: private\r\n", &body),
        "/missing" => response("404 Not Found", "Cache-Control: max-age=100\r\n", "no\n"),
        "/moved" => {
            response("301 Moved Permanently", "Cache-Control: max-age=100\r\nLocation: /fresh\r\n", "")
        }
        "/chunked" => format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fresh}Content-Type: text/html\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
        "/empty" => response("200 OK", fresh, ""),
        "/gzip" => response(
            "200 OK",
            &format!("{fresh}Content-Encoding: gzip\r\nContent-Type: application/x-tar\r\n"),
            "packed",
        ),
        "/twice" => response(
            "200 OK",
            &format!("{fresh}Link: <a>\r\nX-B: 1\r\nLink: <b>\r\nCache-Status: o; hit\r\n"),
            &body,
        ),
        _ => response("200 OK", &format!("{fresh}Content-Type: text/html\r\n"), &body),
    }
}

/// A few requests on one connection; the last one ends it.
fn requests(chance: &mut StdRng) -> String {
    let count = chance.random_range(1..6);
    let one = |chance: &mut StdRng, is_last: bool| {
        let (method, path) = (METHODS.choose(chance).unwrap(), PATHS.choose(chance).unwrap());
        let version = if chance.random_bool(0.05) { "1.0" } else { "1.1" };
        let mut text =
            format!("{method} {path} HTTP/{version}\r\nHost: {}\r\n", HOSTS.choose(chance).unwrap());
        for _ in 0..chance.random_range(0..5) {
            let line = LINES.choose(chance).unwrap();
            // Content that is encoded on its way depends on how it comes from the origin.
            let is_encoded = !["GET", "HEAD"].contains(method) && line.starts_with("Accept-Encoding");
            if !is_encoded {
                text += &format!("{line}\r\n");
            }
        }
        if is_last || version == "1.0" {
            text += "Connection: close\r\n";
        }
        text + "\r\n"
    };
    (1..=count).map(|number| one(chance, number == count)).collect()
}

/// Everything that these requests get, in as many writes as `pieces` says. hyper dates errors by the real time.
async fn answers(rig: &Rig, text: &str, pieces: usize) -> String {
    let mut client = Client::connect(rig.public).await;
    let size = text.len().div_ceil(pieces).max(1);
    for piece in text.as_bytes().chunks(size) {
        // It may have been closed already.
        let _ = client.try_write(piece).await;
    }
    let got = client.until_the_end().await.unwrap_or_else(|error| format!("{error}"));
    let got = without_load(&got);
    got.split("\r\n").filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\r\n")
}

/// The health document tells of the machine's load, which no two requests find the same.
fn without_load(text: &str) -> String {
    let mut parts = text.split("\"load\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, rest| kept + rest.split_once('}').map_or(rest, |(_, behind)| behind))
}

/// Changes to the config of both, of which each is made or undone again by a reload.
const CHANGES: &[(&str, &str)] = &[
    ("hosts = [\"plain.test\"]", "hosts = [\"plain.test\"]\nbypass_headers = [\"dnt\", \"referer\"]"),
    ("hosts = [\"plain.test\"]", "hosts = [\"plain.test\", \"none.test\"]"),
    ("headers = [\"accept-language\"]", "headers = [\"accept\"]"),
    ("cookies = [\"lang\"]", "cookies = [\"a\"]"),
    ("device = true\n", "device = false\n"),
    ("remove = [\"user-agent\", \"dnt\"]", "remove = [\"accept-language\"]"),
    ("from = \"/moved\"", "from = \"/dated\""),
    ("x-frame-options = \"DENY\"", "x-frame-options = \"SAMEORIGIN\""),
    ("paths = [\"/vary/*\"]", "paths = [\"/dated\"]"),
    ("https_only = \"1d\"", "# not over HTTPS only"),
    ("trusted_proxies = [\"127.0.0.0/8\"]", "trusted_proxies = [\"192.0.2.0/24\"]"),
];

struct Pair {
    clock: Clock,
    short: Rig,
    long: Rig,
    text: String,
    _origin: Arc<Origin>,
}

async fn pair(top: &str) -> Pair {
    let origin = Origin::answering(origin).await;
    let sites = SITES.replace("ORIGIN", &format!("origins = [\"http://{}\"]", origin.address));
    let text = format!("listen = [\"127.0.0.1:0\"]\n{top}\n{sites}");
    let clock = Clock::standing(UNIX_EPOCH + Duration::from_secs(START));
    let short = Rig::by(clock.clone(), &text, true).await;
    let long = Rig::by(clock.clone(), &text, false).await;
    Pair { clock, short, long, text, _origin: origin }
}

impl Pair {
    /// Puts something else in service in both: other rules, or a site that is being worked on or no longer is.
    async fn change(&mut self, chance: &mut StdRng) {
        if chance.random_bool(0.3) {
            let on = ["true", "false", "null"].choose(chance).unwrap();
            let body = format!("{{\"site\": \"plain.test\", \"on\": {on}}}");
            for rig in [&self.short, &self.long] {
                let got = rig.ask("/maintenance", &body).await;
                assert_eq!(got.status, 200, "{got:?}");
            }
            return;
        }
        let (from, to) = CHANGES.choose(chance).unwrap();
        let (from, to) = if self.text.contains(to) { (to, from) } else { (from, to) };
        self.text = self.text.replacen(from, to, 1);
        for rig in [&self.short, &self.long] {
            rig.reload(&self.text).await;
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn compare(top: &str, seed: u64) {
    let (mut chance, mut pair) = (StdRng::seed_from_u64(seed), pair(top).await);
    for step in 0..setting("VERGE_SHORTCUT_STEPS", STEPS) {
        let text = requests(&mut chance);
        let pieces = if chance.random_bool(0.2) { chance.random_range(2..9) } else { 1 };
        // The first time brings into the store what may be there, which a 304 does not wait for.
        let (mut short, mut long) = (String::new(), String::new());
        for round in 0..ROUNDS {
            short = answers(&pair.short, &text, pieces).await;
            long = answers(&pair.long, &text, 1).await;
            if round > 0 && short == long {
                break;
            }
        }
        assert_eq!(short, long, "seed {seed}, step {step}:\n{text}\nby {}", pair.text);
        if chance.random_bool(0.2) {
            pair.clock.advance(Duration::from_secs(chance.random_range(1..9)));
        }
        if chance.random_bool(0.1) {
            pair.change(&mut chance).await;
        }
    }
    let name = "verge_edge_direct_hits_total ";
    let (short, long) = (pair.short.metric(name).await, pair.long.metric(name).await);
    assert!(short > 40 && long == 0, "{short} and {long} hits went the short way");
    assert_eq!(requests_of(&pair.short).await, requests_of(&pair.long).await);
}

/// GETs that leave their connection open.
const REPEATED: usize = 12;

fn repeated(chance: &mut StdRng) -> String {
    let (path, host) = (PATHS.choose(chance).unwrap(), HOSTS.choose(chance).unwrap());
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    for _ in 0..chance.random_range(0..4) {
        let line = LINES.choose(chance).unwrap();
        // An interim answer is not the one that is compared.
        if !line.starts_with("Expect") {
            text += &format!("{line}\r\n");
        }
    }
    text + "\r\n"
}

/// A connection that sends one head at a time.
struct Lone {
    public: SocketAddr,
    client: Client,
}

impl Lone {
    async fn of(rig: &Rig) -> Self {
        Self { public: rig.public, client: Client::connect(rig.public).await }
    }

    /// The answer, but for its date and the machine's load, and on a new connection the next time if this one ends.
    async fn ask(&mut self, text: &str) -> (u16, Vec<(String, String)>, String) {
        let Got { status, mut fields, body } = self.client.raw(text.as_bytes()).await;
        let ends = |(name, value): &(String, String)| name == "connection" && value.contains("close");
        if fields.iter().any(ends) {
            self.client = Client::connect(self.public).await;
        }
        fields.retain(|(name, _)| name != "date");
        (status, fields, without_load(&String::from_utf8_lossy(&body)))
    }
}

fn is_hit((_, fields, _): &(u16, Vec<(String, String)>, String)) -> bool {
    fields.iter().any(|(name, value)| name == "cache-status" && value.contains("; hit"))
}

/// Few heads come again and again, each alone in what the server reads.
async fn compare_repeated(top: &str, seed: u64) {
    let (mut chance, mut pair) = (StdRng::seed_from_u64(seed), pair(top).await);
    let (mut one, mut other) = (Lone::of(&pair.short).await, Lone::of(&pair.long).await);
    let mut heads: Vec<String> = (0..REPEATED).map(|_| repeated(&mut chance)).collect();
    for step in 0..5 * setting("VERGE_SHORTCUT_STEPS", STEPS) {
        let text = heads.choose(&mut chance).unwrap().clone();
        // In a row, so that it is known.
        for _ in 0..chance.random_range(1..5) {
            let (mut short, mut long) = (one.ask(&text).await, other.ask(&text).await);
            for _ in 0..ROUNDS {
                // Nothing is waited for where both have it in the store.
                if short == long || is_hit(&short) && is_hit(&long) {
                    break;
                }
                (short, long) = (one.ask(&text).await, other.ask(&text).await);
            }
            assert_eq!(short, long, "seed {seed}, step {step}:\n{text}\nby {}", pair.text);
        }
        if chance.random_bool(0.05) {
            pair.clock.advance(Duration::from_secs(chance.random_range(1..9)));
        }
        if chance.random_bool(0.05) {
            *heads.choose_mut(&mut chance).unwrap() = repeated(&mut chance);
        }
        if chance.random_bool(0.02) {
            pair.change(&mut chance).await;
        }
    }
    let name = "verge_edge_direct_hits_total ";
    let (short, long) = (pair.short.metric(name).await, pair.long.metric(name).await);
    assert!(short > 100 && long == 0, "{short} and {long} hits went the short way");
    assert_eq!(requests_of(&pair.short).await, requests_of(&pair.long).await);
}

/// How many requests a site has had, however they were answered.
async fn requests_of(rig: &Rig) -> u64 {
    let mut sum = 0;
    for outcome in
        ["hit", "stale", "revalidated", "miss", "collapsed", "pass", "redirect", "refused", "failed"]
    {
        let name = format!("verge_edge_requests_total{{site=\"plain.test\",cache=\"{outcome}\"}} ");
        sum += rig.metric(&name).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_way_gives_the_bytes_of_the_long_way() {
    compare("", setting("VERGE_SHORTCUT_SEED", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_way_gives_the_bytes_of_the_long_way_to_a_trusted_proxy() {
    compare("trusted_proxies = [\"127.0.0.0/8\"]", setting("VERGE_SHORTCUT_SEED", 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_again_alone_gets_the_bytes_of_the_long_way() {
    compare_repeated("", setting("VERGE_SHORTCUT_SEED", 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_a_trusted_proxy_sends_again_gets_the_bytes_of_the_long_way() {
    compare_repeated("trusted_proxies = [\"127.0.0.0/8\"]", setting("VERGE_SHORTCUT_SEED", 4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edges_own_paths_are_never_answered_from_the_store() {
    let pair = pair("").await;
    let mut client = pair.short.client().await;
    let fields = "Host: plain.test\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{fields}\r\n");
    for (path, spelled, status) in [
        ("/.well-known/verge/health?a=1", "/.well-known/verge/%68ealth?a=1", 200),
        ("/.well-known/verge/purge", "/.well-known/verge/p%75rge", 403),
    ] {
        // The origin takes another spelling for a page of its own.
        let mut is_stored = false;
        for _ in 0..ROUNDS {
            is_stored =
                is_stored || client.raw(get(spelled).as_bytes()).await.cache_status().contains("; hit");
        }
        assert!(is_stored, "{spelled}");
        for _ in 0..3 {
            let got = client.raw(get(path).as_bytes()).await;
            assert_eq!((got.status, got.field("etag")), (status, String::new()), "{path}: {got:?}");
        }
    }
}
