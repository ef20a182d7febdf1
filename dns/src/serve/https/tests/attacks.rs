//! Attacks over HTTP/2 (CVE-2023-44487 and its kin): an attacker sends raw frames on one connection, while an
//! honest client on another asks on. Tests count what the attacker was told, and what it made us do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::{Listener, Transport};
use crate::metrics::Format;
use crate::serve::testing::{Carrier, PATIENCE, Servers, base64url, big};
use crate::wire::tests;

/// Types of frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Error codes (RFC 9113 §7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A setting of one's own (RFC 9113 §6.5.1).
fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A field whose name is in the static table, not to be remembered (RFC 7541 §6.2.2).
fn field(name: u8, value: &[u8]) -> Vec<u8> {
    [&[name, u8::try_from(value.len()).unwrap()], value].concat()
}

/// The fields of a request (RFC 7541 appendix A has the numbers).
fn head(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x87][..], &field(0x04, path.as_bytes()), &field(0x01, b"localhost")].concat()
}

fn get(name: &str) -> Vec<u8> {
    head(0x82, &format!("/dns-query?dns={}", base64url(&question(name))))
}

fn post() -> Vec<u8> {
    // The number of content-type, 31, takes two bytes: 15, and what is left of it (RFC 7541 §5.1).
    [head(0x83, "/dns-query"), vec![15], field(31 - 15, b"application/dns-message")].concat()
}

/// A question for TXT records.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(crate::name::Name::parse_absolute(name).unwrap().as_wire());
    message.extend_from_slice(&[0, 16, 0, 1]);
    message
}

/// The n-th stream of a client.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// Frames that the server sent the attacker until it hung up, or until it answered the last ping.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    /// Responses by the first byte of their fields: 0x88 is `:status 200`.
    responses: BTreeMap<u8, usize>,
    /// By error code.
    resets: BTreeMap<u32, usize>,
    /// The last one's error code.
    goaway: Option<u32>,
    acknowledged: usize,
    pongs: usize,
}

const LAST: [u8; 8] = *b"the last";

/// The end of a flood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A ping that shows that all before it was dealt with.
    Ping,
    /// Nothing, until the server hangs up.
    Silence,
}

async fn listen(stream: &mut (impl AsyncRead + Unpin)) -> Said {
    let mut said = Said::default();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return said;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        if stream.read_exact(&mut payload).await.is_err() {
            return said;
        }
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match (head[3], head[4]) {
            (HEADERS, _) => *said.responses.entry(payload[0]).or_default() += 1,
            (RST_STREAM, _) => *said.resets.entry(code(0)).or_default() += 1,
            (GOAWAY, _) => said.goaway = Some(code(4)),
            (SETTINGS, flags) if flags & ACK != 0 => said.acknowledged += 1,
            (PING, flags) if flags & ACK != 0 => {
                said.pongs += 1;
                if payload == LAST {
                    return said;
                }
            }
            _ => {}
        }
    }
}

/// How a flood ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The server hangs up and says why.
    Goaway(u32),
    /// All of it is dealt with, and the connection goes on.
    Endured,
}

/// Sends `settings`, then the frames that `flood` makes of each number below `count`, as fast as they are taken.
async fn attack(
    servers: &Servers,
    settings: &[u8],
    count: u32,
    flood: impl Fn(u32) -> Vec<u8>,
    last: Last,
) -> Said {
    let server = servers.address(Transport::Https, Listener::Outside);
    let attacker = servers.tls(server, &[b"h2"]).await;
    let (mut from, mut to) = tokio::io::split(attacker);
    let mut all = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
    (0..count).for_each(|n| all.extend(flood(n)));
    if last == Last::Ping {
        all.extend(frame(PING, 0, 0, &LAST));
    }
    let talk = async {
        // It fails where the server has hung up, which is what many a flood is answered with.
        let _ = to.write_all(&all).await;
        let _ = to.flush().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = talk => unreachable!("it waits for ever"),
        said = timeout(PATIENCE, listen(&mut from)) => said.expect("the server says something"),
    }
}

/// As [`attack`], while somebody else asks on another connection; how many answers it got in that time.
async fn attack_beside_an_honest_client(
    servers: &Servers,
    settings: &[u8],
    count: u32,
    flood: impl Fn(u32) -> Vec<u8>,
) -> (Said, usize) {
    let over = Arc::new(AtomicBool::new(false));
    let mut honest = servers.client(Carrier::Get2, Listener::Outside).await;
    let asking = {
        let over = Arc::clone(&over);
        tokio::spawn(async move {
            let mut answers = 0;
            while !over.load(Ordering::Acquire) || answers == 0 {
                assert_eq!(honest.ask(&question("ex.")).await[3] & 15, 0);
                answers += 1;
            }
            answers
        })
    };
    let said = attack(servers, settings, count, flood, Last::Ping).await;
    over.store(true, Ordering::Release);
    (said, asking.await.unwrap())
}

/// Answers over HTTPS that were made so far.
fn answers(servers: &Servers) -> usize {
    let text = servers.metrics().encode(Format::OpenMetrics);
    let lines = text.lines().filter(|it| it.starts_with("verge_dns_answers_total{transport=\"https\""));
    lines.map(|it| it.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// A name for a flood, its settings, what it repeats, how often, and how it ends.
type Flood = (&'static str, Vec<u8>, u32, Box<dyn Fn(u32) -> Vec<u8>>, End);

fn floods() -> Vec<Flood> {
    let (calm, strict) = (End::Goaway(ENHANCE_YOUR_CALM), End::Goaway(PROTOCOL_ERROR));
    let rapid_reset = |n| {
        let ask = frame(HEADERS, END_STREAM | END_HEADERS, stream(n), &get("ex."));
        [ask, frame(RST_STREAM, 0, stream(n), &CANCEL)].concat()
    };
    // The server is made to reset: by an increment of nothing, by one too many, by data behind the end.
    let made_you_reset = |n| {
        let ask = frame(HEADERS, END_HEADERS, stream(n), &post());
        [ask, frame(WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat()
    };
    let window_overflow = |n| {
        let ask = frame(HEADERS, END_HEADERS, stream(n), &post());
        [ask, frame(WINDOW_UPDATE, 0, stream(n), &[0x7f, 255, 255, 255])].concat()
    };
    let data_behind_the_end = |n| {
        let ask = frame(HEADERS, END_STREAM | END_HEADERS, stream(n), &get("ex."));
        [ask, frame(DATA, 0, stream(n), b"x")].concat()
    };
    let continuation = |n| match n {
        0 => frame(HEADERS, 0, 1, &get("ex.")),
        _ => frame(CONTINUATION, 0, 1, &field(0x00, b"a").into_iter().chain(*b"\x01b").collect::<Vec<_>>()),
    };
    let empty_continuation = |n| match n {
        0 => frame(HEADERS, 0, 1, &get("ex.")),
        _ => frame(CONTINUATION, 0, 1, b""),
    };
    // 3,000 bytes are remembered once (RFC 7541 §6.2.1), and then named by one byte, 16,000 times in each request.
    let bomb = |n| {
        let remember = [&[0x40, 1, b'x', 0x7f, 0xb9, 0x16][..], &[b'v'; 3000]].concat();
        let first = if n == 0 { remember } else { Vec::new() };
        let fields = [get("ex."), first, vec![0xbe; 12_000]].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream(n), &fields)
    };
    let small_data = |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &post()),
        _ => frame(DATA, 0, 1, b"x"),
    };
    let empty_data = |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &post()),
        _ => frame(DATA, 0, 1, b""),
    };
    vec![
        ("rapid reset", vec![], 10_000, Box::new(rapid_reset), calm),
        ("made you reset", vec![], 10_000, Box::new(made_you_reset), strict),
        ("window overflow", vec![], 10_000, Box::new(window_overflow), calm),
        ("data behind the end", vec![], 10_000, Box::new(data_behind_the_end), strict),
        ("continuation", vec![], 20_000, Box::new(continuation), calm),
        ("empty continuation", vec![], 20_000, Box::new(empty_continuation), calm),
        ("HPACK bomb", vec![], 1_000, Box::new(bomb), calm),
        ("small data", vec![], 60_000, Box::new(small_data), calm),
        ("empty data", vec![], 60_000, Box::new(empty_data), calm),
        ("streams", vec![], 10_000, Box::new(|n| frame(HEADERS, END_HEADERS, stream(n), &post())), calm),
        ("settings", vec![], 20_000, Box::new(|_| frame(SETTINGS, 0, 0, &setting(4, 65_535))), End::Endured),
        ("ping", vec![], 20_000, Box::new(|_| frame(PING, 0, 0, b"flooding")), End::Endured),
        ("priority", vec![], 20_000, Box::new(|n| frame(PRIORITY, 0, stream(n), &[0; 5])), End::Endured),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_ends_its_connection_or_costs_next_to_nothing() {
    let servers = Servers::new(tests::compliance().0);
    let mut wrong = Vec::new();
    for (test, settings, count, flood, end) in floods() {
        let before = answers(&servers);
        let (said, honest) = attack_beside_an_honest_client(&servers, &settings, count, flood).await;
        let made = answers(&servers) - before - honest;
        let found = said.goaway.map_or(End::Endured, End::Goaway);
        if found != end || made > 200 {
            wrong.push(format!("{test}: {found:?}, not {end:?}; {made} answers were made for it: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_answers_has_few_kept_and_is_hung_up_on() {
    let mut world = big();
    world.protocol.idle_timeout = Duration::from_secs(2);
    let servers = Servers::with("tcp.write_timeout = \"1s\"\n", world);
    // SETTINGS_INITIAL_WINDOW_SIZE: heads of responses may come, bodies not.
    let ask = |n| frame(HEADERS, END_STREAM | END_HEADERS, stream(n), &get("big.ex."));
    let said = attack(&servers, &setting(4, 0), 100, ask, Last::Silence).await;
    // The server is the one who ends it, after both deadlines.
    assert_eq!(said.responses.values().sum::<usize>(), 100, "{said:?}");
    assert_eq!(said.responses[&0x88], 2, "{said:?}");
    let metrics = servers.metrics();
    servers.end().await;
    let ended = "verge_dns_connections_ended_total{transport=\"https\",reason=\"slow_reader\"} 1";
    assert!(metrics.encode(Format::OpenMetrics).contains(ended), "{}", metrics.encode(Format::OpenMetrics));
}
