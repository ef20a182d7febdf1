//! Compression while a response is stored.

use std::io::Read;

use super::client::Got;
use super::rig::{Origin, Rig, response, soon};

const CSS: &str = "Cache-Control: max-age=60\r\nContent-Type: text/css\r\nETag: \"v1\"\r\n";
const ALL: &str = "compress = [\"br\", \"zstd\", \"gzip\"]";

pub fn page() -> String {
    (0..2_000).map(|n| format!(".rule-{n} {{ color: red }}\n")).collect()
}

pub fn decoded(got: &Got) -> String {
    let (mut out, body) = (String::new(), got.body.as_slice());
    match got.field("content-encoding").as_str() {
        "" => return got.text(),
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut out),
        "br" => brotli::Decompressor::new(body, 4096).read_to_string(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(body).unwrap().read_to_string(&mut out),
        other => panic!("{other}"),
    }
    .unwrap();
    out
}

pub async fn get(rig: &Rig, path: &str, accept: &str) -> Got {
    let fields = if accept.is_empty() { String::new() } else { format!("Accept-Encoding: {accept}\r\n") };
    rig.client().await.get_with(path, &fields).await
}

#[tokio::test]
async fn each_coding_is_fetched_and_made_once_and_is_a_hit_for_all_who_like_it_best() {
    let whole = page();
    let origin = Origin::answering(move |_| response("200 OK", CSS, &whole)).await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    for (number, (likes, coding)) in [
        (["gzip, deflate, br, zstd", "br"], "br"),
        (["zstd", "br;q=0, zstd, gzip"], "zstd"),
        (["gzip, deflate", "x-gzip;q=0.1"], "gzip"),
        (["", "deflate, compress;q=0.3"], ""),
    ]
    .into_iter()
    .enumerate()
    {
        let first = get(&rig, "/a", likes[0]).await;
        first.assert_forwarded();
        let second = get(&rig, "/a", likes[1]).await;
        second.assert_hit();
        for got in [first, second] {
            assert_eq!(got.field("content-encoding"), coding, "{got:?}");
            assert_eq!(decoded(&got), page(), "{coding}");
            assert_eq!(got.field("vary"), "Accept-Encoding", "{coding}");
            assert_eq!(got.field("etag"), if coding.is_empty() { "\"v1\"" } else { "W/\"v1\"" });
            assert!(coding.is_empty() || got.body.len() < page().len() / 3, "{coding} {}", got.body.len());
        }
        assert_eq!(origin.count(), number + 1);
        let asked = origin.seen()[number].to_ascii_lowercase();
        let sent = asked.lines().find_map(|line| line.strip_prefix("accept-encoding: "));
        assert_eq!(sent.unwrap_or_default(), coding, "the origin may have it so itself");
    }
}

#[tokio::test]
async fn without_the_setting_nothing_is_touched() {
    let whole = page();
    let origin = Origin::answering(move |_| response("200 OK", CSS, &whole)).await;
    let rig = Rig::start(&[origin.address]).await;
    let got = get(&rig, "/a", "gzip, weird").await;
    let found = (got.field("content-encoding"), got.field("vary"), got.field("etag"));
    assert_eq!(found, (String::new(), String::new(), "\"v1\"".to_owned()));
    assert!(origin.seen()[0].to_ascii_lowercase().contains("accept-encoding: gzip, weird"));
}

#[tokio::test]
async fn ranges_and_conditions_are_about_the_coding_that_is_sent() {
    let whole = page();
    let origin = Origin::answering(move |_| response("200 OK", CSS, &whole)).await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    let all = get(&rig, "/a", "gzip").await.body;
    let part = rig.client().await.get_with("/a", "Accept-Encoding: gzip\r\nRange: bytes=10-29\r\n").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &all[10..30]));
    assert_eq!(part.field("content-range"), format!("bytes 10-29/{}", all.len()));
    assert_eq!(part.field("content-encoding"), "gzip");
    // A weak tag holds no range together.
    let fields = "Accept-Encoding: gzip\r\nRange: bytes=10-29\r\nIf-Range: W/\"v1\"\r\n";
    assert_eq!(rig.client().await.get_with("/a", fields).await.body, all);
    let fields = "Accept-Encoding: gzip\r\nIf-None-Match: W/\"v1\"\r\n";
    assert_eq!(rig.client().await.get_with("/a", fields).await.status, 304);
    let head = b"HEAD /a HTTP/1.1\r\nHost: site.test\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut client = rig.client().await;
    client.write(head).await;
    assert_eq!(client.head().await.field("content-length"), all.len().to_string());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_encoded_response_is_validated_by_the_origins_own_tag() {
    let whole = page();
    let origin = Origin::answering(move |head| {
        if head.to_ascii_lowercase().contains("if-none-match: w/\"v1\"") {
            format!("HTTP/1.1 304 Not Modified\r\n{CSS}Vary: X\r\n\r\n")
        } else {
            response("200 OK", CSS, &whole)
        }
    })
    .await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    get(&rig, "/a", "br").await;
    rig.pass(61);
    let validated = get(&rig, "/a", "br").await;
    assert!(validated.cache_status().contains("fwd-status=304"), "{validated:?}");
    assert_eq!(decoded(&validated), page());
    assert_eq!(validated.field("vary"), "X, Accept-Encoding");
    let hit = get(&rig, "/a", "br").await;
    hit.assert_hit();
    assert_eq!((hit.field("etag").as_str(), origin.count()), ("W/\"v1\"", 2));
    get(&rig, "/a", "gzip").await.assert_forwarded();
}

#[tokio::test]
async fn what_is_small_encoded_or_not_to_be_touched_stays_as_it_came() {
    let origin = Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let (fields, body) = match path {
            "/small" => (CSS.to_owned(), "a".to_owned()),
            "/image" => (CSS.replace("text/css", "image/png"), page()),
            "/locked" => (CSS.replace("max-age=60", "max-age=60, no-transform"), page()),
            // Not gzip at all: if anyone looked into it, it would show (class 22).
            _ => (format!("{CSS}Content-Encoding: gzip\r\n"), page()),
        };
        response("200 OK", &fields, &body)
    })
    .await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    for (path, encoding, varies) in [
        ("/small", "", "Accept-Encoding"),
        ("/image", "", ""),
        ("/locked", "", ""),
        ("/encoded", "gzip", "Accept-Encoding"),
    ] {
        for _ in 0..2 {
            let got = get(&rig, path, "gzip").await;
            let found = (got.field("content-encoding"), got.field("vary"), got.field("etag"));
            assert_eq!(found, (encoding.into(), varies.into(), "\"v1\"".into()), "{path}");
            assert_eq!(got.body.len(), if path == "/small" { 1 } else { page().len() });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_stream_what_is_encoded_before_the_origin_has_said_all() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    let (mut leader, mut follower) = (rig.client().await, rig.client().await);
    leader.send_get("/a", "Accept-Encoding: gzip\r\n").await;
    let mut asked = origin.next().await;
    follower.send_get("/a", "Accept-Encoding: gzip, foo\r\n").await;
    let head = format!("HTTP/1.1 200 OK\r\n{CSS}Transfer-Encoding: chunked\r\n\r\n");
    asked.write(head.as_bytes()).await;
    asked.write(b"5\r\nfirst\r\n").await;
    for client in [&mut leader, &mut follower] {
        assert_eq!(client.head().await.field("content-encoding"), "gzip");
        // The magic number is there although the origin has not ended.
        let chunk = client.bytes(6).await;
        let start = chunk.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
        assert_eq!(chunk[start..start + 2], [0x1f, 0x8b]);
    }
    asked.write(b"5\r\n last\r\n0\r\n\r\n").await;
    asked.done();
    let hit = soon("the stored response", async {
        loop {
            let got = get(&rig, "/a", "gzip").await;
            if got.cache_status().contains("; hit") {
                return got;
            }
        }
    })
    .await;
    assert_eq!(decoded(&hit), "first last");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_no_whole_encoded_one() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Accept-Encoding: br\r\n").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{CSS}Content-Length: 1000\r\n\r\nonly this").as_bytes()).await;
    drop(asked);
    let head = client.head().await;
    assert_eq!(client.body(&head).await, None);
    let mut again = rig.client().await;
    again.send_get("/a", "Accept-Encoding: br\r\n").await;
    origin.next().await.respond(&response("200 OK", CSS, &page())).await;
    assert_eq!(decoded(&again.response().await), page());
}
