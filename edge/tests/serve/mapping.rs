//! A request is one request, or none, whether HTTP/1.1, HTTP/2 or HTTP/3 carries it: bytes of heads, over all three.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use verge_edge::clock::Clock;

use super::encrypted::{certificate, connect, edge, terms};
use super::floods::{END_STREAM, frame};
use super::origin::response;
use super::quic;
use super::rig::{Origin, Rig, soon};

/// Names and values.
type Fields<'a> = [(&'a str, &'a str)];

const END_HEADERS: u8 = 4;
/// An HTTP/2 connection's first bytes.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A section of fields for HTTP/2 (RFC 7541 §6.2.2), all of them literal.
pub fn hpack(fields: &Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A HEADERS frame for HTTP/3 (RFC 9204 §4.5.6), all fields literal.
pub fn qpack(fields: &Fields<'_>) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        match u8::try_from(name.len()).unwrap() {
            short @ ..7 => section.push(0x20 | short),
            long => section.extend([0x27, long - 7]),
        }
        section.extend(name.as_bytes());
        section.push(u8::try_from(value.len()).unwrap());
        section.extend(value.as_bytes());
    }
    let length = u16::try_from(section.len()).unwrap() | 0x4000;
    [&[1][..], &length.to_be_bytes(), &section].concat()
}

/// Whether the answer is 200.
async fn http1(address: SocketAddr, head: &str) -> bool {
    let mut stream = connect(address, &terms(&["http/1.1"])).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    let read = soon("an answer", stream.read_exact(&mut first)).await;
    read.is_ok() && &first == b"HTTP/1.1 200"
}

/// Whether the answer on stream 1 is 200; false too where the stream is reset, or the connection ends.
async fn http2(address: SocketAddr, frames: &[u8]) -> bool {
    let mut stream = connect(address, &terms(&["h2"])).await;
    stream.write_all(&[PREFACE, &frame(4, 0, 0, b""), frames].concat()).await.unwrap();
    let answer = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.ok()?;
            match (head[3], head[8]) {
                // `:status` 200 of the static table (RFC 7541 Appendix A).
                (1, 1) => return Some(payload[0] == 0x88),
                (3, 1) => return None,
                _ => {}
            }
        }
    };
    soon("an answer", answer).await.unwrap_or(false)
}

async fn http3(address: SocketAddr, frames: &[u8]) -> bool {
    let (_endpoint, connection) = quic::raw(address).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // It may be stopped before it is written.
    let _ = send.write_all(frames).await;
    let _ = send.finish();
    let answer = soon("an answer", receive.read_to_end(1 << 20)).await.unwrap_or_default();
    let section = if answer.get(1).is_some_and(|length| *length < 0x40) { 2 } else { 3 };
    // `:status` 200 of the static table (RFC 9204 Appendix A).
    answer.get(section..section + 3) == Some(&[0, 0, 0xc0 | 25][..])
}

/// The carriers of a request; the last is HTTP/3.
const CARRIERS: [&str; 3] = ["HTTP/1.1", "HTTP/2", "HTTP/3"];

/// A head that differs from a plain GET: these pseudo-fields have another value, or are missing where that is "-".
struct Case {
    name: &'static str,
    changes: &'static Fields<'static>,
    more: &'static Fields<'static>,
    /// Over which carriers it is a request.
    is_taken: [bool; 3],
}

impl Case {
    fn pseudo(&self, path: &str) -> Vec<(&'static str, String)> {
        let usual = [(":method", "GET"), (":scheme", "https"), (":authority", "site.test"), (":path", path)];
        let changed = |name: &str| self.changes.iter().find(|(changed, _)| *changed == name);
        let value = |(name, usual): (&'static str, &str)| {
            (name, changed(name).map_or(usual, |(_, value)| *value).to_owned())
        };
        usual.map(value).into_iter().filter(|(_, value)| value != "-").collect()
    }

    /// The lines of HTTP/1.1. A scheme that was changed stands in the target.
    fn head(&self, path: &str) -> String {
        let pseudo = self.pseudo(path);
        let value = |name: &str| pseudo.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str());
        let (host, path) = (value(":authority"), value(":path").unwrap_or_default());
        let has_scheme = self.changes.iter().any(|(name, _)| *name == ":scheme");
        let target = match (has_scheme, value(":scheme"), host) {
            (true, Some(scheme), Some(host)) => format!("{scheme}://{host}{path}"),
            _ => path.to_owned(),
        };
        let host = host.map_or(String::new(), |host| format!("Host: {host}\r\n"));
        let more: String = self.more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {target} HTTP/1.1\r\n{host}{more}\r\n")
    }

    async fn ask(&self, carrier: usize, (tls, quic): (SocketAddr, SocketAddr), path: &str) -> bool {
        let pseudo = self.pseudo(path);
        let pseudo = pseudo.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<(&str, &str)> = pseudo.chain(self.more.iter().copied()).collect();
        match carrier {
            0 => http1(tls, &self.head(path)).await,
            1 => http2(tls, &frame(1, END_HEADERS | END_STREAM, 1, &hpack(&fields))).await,
            _ => http3(quic, &qpack(&fields)).await,
        }
    }
}

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

fn case(
    name: &'static str,
    changes: &'static Fields<'static>,
    more: &'static Fields<'static>,
    is_taken: [bool; 3],
) -> Case {
    Case { name, changes, more, is_taken }
}

fn cases() -> Vec<Case> {
    const HOST: (&str, &str) = ("host", "site.test");
    vec![
        case("a plain one", &[], &[("x", "a b"), ("y", "")], ALL),
        case("a length of none", &[], &[("content-length", "0")], ALL),
        case("the same host beside the authority", &[], &[HOST], [false, true, true]),
        // HTTP/1.1 takes blanks off, and has no line without a host's name that could be left out.
        case("a blank before a value", &[], &[("x", " a")], [true, false, false]),
        case("a tab behind a value", &[], &[("x", "a\t")], [true, false, false]),
        case("a host alone", &[(":authority", "-")], &[HOST], [true, false, true]),
        case(
            "a host alone, by another scheme",
            &[(":authority", "-"), (":scheme", "ftp")],
            &[HOST],
            [true, false, false],
        ),
        case("no path", &[(":path", "-")], &[], NONE),
        case("an empty path", &[(":path", "")], &[], NONE),
        case("no path and a host alone", &[(":path", "-"), (":authority", "-")], &[HOST], NONE),
        case("no host", &[(":authority", "-")], &[], NONE),
        case("two hosts", &[(":authority", "-")], &[HOST, HOST], NONE),
        case("another host beside the authority", &[], &[("host", "other.test")], NONE),
        case("another scheme", &[(":scheme", "http")], &[], NONE),
        case("a scheme that nobody has", &[(":scheme", "ftp")], &[], NONE),
        case("two lengths", &[], &[("content-length", "0"), ("content-length", "0")], NONE),
        case("an empty length", &[], &[("content-length", "")], NONE),
        case("a length with a zero before it", &[], &[("content-length", "00")], NONE),
        case("a length that has a sign", &[], &[("content-length", "+0")], NONE),
        case("what some read as a length", &[], &[("content_length", "0")], NONE),
        case("what some read as a coding", &[], &[("transfer_encoding", "chunked")], NONE),
        case("an expectation that nobody knows", &[], &[("expect", "more")], NONE),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_no_request_over_one_carrier_is_none_over_the_others() {
    let fresh = |_: &str| response("200 OK", "Cache-Control: max-age=100\r\n", "hello");
    let origin = Origin::answering(fresh).await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, tls) = edge(&origin, folder.path(), "").await;
    let edge = (tls, rig.running.as_ref().unwrap().listening().quic[0]);
    let plain = case("a plain one", &[], &[], ALL);
    for carrier in 0..3 {
        assert!(plain.ask(carrier, edge, "/stored").await);
    }
    for (number, case) in cases().iter().enumerate() {
        for (carrier, name) in CARRIERS.iter().enumerate() {
            let (expected, what) = (case.is_taken[carrier], format!("{} over {name}", case.name));
            let before = origin.count();
            let path = format!("/{number}/{carrier}");
            assert_eq!(case.ask(carrier, edge, &path).await, expected, "{what}");
            assert_eq!(origin.count() - before, usize::from(expected), "{what}, at the origin");
            // A stored response is given on a shorter way.
            assert_eq!(case.ask(carrier, edge, "/stored").await, expected, "{what}, of what is stored");
            assert_eq!(origin.count() - before, usize::from(expected), "{what}, of what is stored");
        }
    }
}

/// The same is true of an extended CONNECT, which is a request like others (RFC 8441 §4).
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_over_http_2_is_asked_for_with_an_authority() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    for (named, count) in [(("host", "site.test"), 0), ((":authority", "site.test"), 1)] {
        let head =
            [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/"), named];
        let version = ("sec-websocket-version", "13");
        let asked = hpack(&[&head[..], &[version]].concat());
        assert!(!http2(tls, &frame(1, END_HEADERS, 1, &asked)).await);
        assert_eq!(origin.count(), count, "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_is_malformed_breaks_its_request_off() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, tls) = edge(&origin, folder.path(), "").await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "site.test"), (":path", "/")];
    for value in ["a", " a", "a\t"] {
        let trailer = [("x", value)];
        let over_h2 = [
            frame(1, END_HEADERS, 1, &hpack(&head)),
            frame(0, 0, 1, b"some"),
            frame(1, END_HEADERS | END_STREAM, 1, &hpack(&trailer)),
        ];
        let over_h3 = [qpack(&head), b"\x00\x04some".to_vec(), qpack(&trailer)];
        for carrier in &CARRIERS[1..] {
            let asked = async {
                match *carrier {
                    "HTTP/2" => http2(tls, &over_h2.concat()).await,
                    _ => http3(quic, &over_h3.concat()).await,
                }
            };
            let answered = async {
                if value == "a" {
                    let mut asked = origin.next().await;
                    assert_eq!(asked.read(14).await, b"4\r\nsome\r\n0\r\n\r\n");
                    asked.respond(&response("200 OK", "", "")).await;
                }
            };
            let (is_answered, ()) = tokio::join!(asked, answered);
            assert_eq!(is_answered, value == "a", "{carrier} {value:?}");
        }
    }
    // It may have been asked before the trailers came.
    while origin.waiting() > 0 {
        let body = origin.next().await.until_hung_up().await;
        assert!(!body.ends_with("0\r\n\r\n"), "{body}");
    }
}

/// RFC 9113 §8.4: a client cannot push.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_a_client_ends_its_connection() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let (_rig, tls) = edge(&origin, folder.path(), "").await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "site.test"), (":path", "/")];
    let pushed = [&[0, 0, 0, 2][..], &hpack(&head)].concat();
    let frames = [frame(1, END_HEADERS, 1, &hpack(&head)), frame(5, END_HEADERS, 1, &pushed)];
    assert!(!http2(tls, &frames.concat()).await);
}

/// An edge with these lines at the file's top and in `[tls]`.
async fn encrypted(origin: &Origin, top: &str, tls: &str) -> (Rig, SocketAddr, SocketAddr) {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n{top}\n[tls]\n{tls}\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin.address
    );
    let rig = Rig::of(Clock::system(), &text).await;
    let listening = rig.running.as_ref().unwrap().listening();
    let (tls, quic) = (listening.tls[0], listening.quic[0]);
    (rig, tls, quic)
}

/// A proxy ends its client's TLS, or has none, and asks for every site over connections of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_over_http_2_says_its_clients_scheme_and_names_any_site() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=100\r\n", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path(), &["site.test"]);
    let proxies = "trusted_proxies = [\"127.0.0.1\"]";
    let (_rig, trusting, _) = encrypted(&origin, proxies, &certificate).await;
    let other = Origin::answering(|_| response("200 OK", "", "")).await;
    let (_other, doubting, _) = encrypted(&other, "", &certificate).await;
    // The two schemes that may be written are one request.
    for (scheme, told, host, is_known) in [
        ("https", "http", (":authority", "site.test"), false),
        ("http", "http", (":authority", "site.test"), true),
        ("https", "https", (":authority", "third.test"), false),
        ("https", "http", ("host", "fourth.test"), false),
    ] {
        let what = format!("{scheme} {told} {host:?}");
        let head =
            [(":method", "GET"), (":scheme", scheme), (":path", "/"), host, ("x-forwarded-proto", told)];
        let asked = frame(1, END_HEADERS | END_STREAM, 1, &hpack(&head));
        let before = origin.count();
        for _ in 0..2 {
            assert!(http2(trusting, &asked).await, "{what}");
        }
        assert_eq!(origin.count() == before, is_known, "{what}");
        let seen = origin.seen().pop().unwrap();
        assert!(seen.contains(&format!("x-forwarded-proto: {told}\r\n")), "{what}: {seen}");
        let is_taken = scheme == "https" && host == (":authority", "site.test");
        assert_eq!(http2(doubting, &asked).await, is_taken, "{what}, of a stranger");
    }
}

/// RFC 9110 §7.4: the certificate that this connection showed, and not one that another would have shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_requests_for_the_names_of_its_own_certificate() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=100\r\n", "")).await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = certificate(folders[0].path(), &["site.test", "*.site.test"]);
    let second = certificate(folders[1].path(), &["other.test"]);
    let (_rig, tls, quic) = encrypted(&origin, "", &format!("{first}[[tls.also]]\n{second}")).await;
    for (host, is_taken) in [("site.test", true), ("a.site.test", true), ("other.test", false)] {
        let head = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")];
        // The second time it is stored.
        for _ in 0..2 {
            let over_h2 = http2(tls, &frame(1, END_HEADERS | END_STREAM, 1, &hpack(&head))).await;
            assert_eq!((over_h2, http3(quic, &qpack(&head)).await), (is_taken, is_taken), "{host}");
        }
    }
}
