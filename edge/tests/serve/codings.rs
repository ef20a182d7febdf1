//! Codings that are made or taken off on the way to one client.

use std::io::Write;
use std::sync::Arc;

use super::client::Got;
use super::encoding::{decoded, get, page};
use super::over_h2::{Edge, fields};
use super::rig::{Origin, Rig, response, soon};

const HTML: &str = "Content-Type: text/html\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n";
const ALL: &str = "compress = [\"br\", \"zstd\", \"gzip\"]";

/// Answers with the page, not to be stored.
async fn dynamic() -> Arc<Origin> {
    Origin::answering(|head| {
        let body = if head.starts_with("HEAD") { String::new() } else { page() };
        let path = head.split(' ').nth(1).unwrap();
        let fields = match path {
            "/pdf" => HTML.replace("text/html", "application/pdf"),
            "/locked" => format!("{HTML}Cache-Control: no-transform\r\n"),
            _ => format!("{HTML}Cache-Control: no-store\r\n"),
        };
        let length = if path == "/small" { 20 } else { page().len() };
        let body = &body[..body.len().min(length)];
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
    })
    .await
}

/// The fields by which a client knows what it got.
fn described(got: &Got) -> [String; 4] {
    ["content-encoding", "etag", "vary", "accept-ranges"].map(|name| got.field(name))
}

#[tokio::test]
async fn what_is_passed_is_encoded_for_each_client() {
    let origin = dynamic().await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    for coding in ["br", "zstd", "gzip"] {
        for method in ["GET", "POST"] {
            let ask = format!(
                "{method} /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nAccept-Encoding: {coding}\r\n\r\n"
            );
            let got = rig.client().await.raw(ask.as_bytes()).await;
            assert_eq!(described(&got), [coding, "W/\"v1\"", "Accept-Encoding", ""], "{got:?}");
            assert_eq!((got.field("content-length").as_str(), decoded(&got)), ("", page()), "{coding}");
            assert!(got.body.len() < page().len() / 3);
        }
        let mut client = rig.client().await;
        let ask = format!("HEAD /a HTTP/1.1\r\nHost: site.test\r\nAccept-Encoding: {coding}\r\n\r\n");
        client.write(ask.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(
            (head.field("content-encoding").as_str(), head.field("content-length").as_str()),
            (coding, "")
        );
    }
    let plain = get(&rig, "/a", "").await;
    assert_eq!(
        (described(&plain), plain.text()),
        (["", "\"v1\"", "Accept-Encoding", "bytes"].map(String::from), page())
    );
    for (path, vary) in [("/small", "Accept-Encoding"), ("/pdf", ""), ("/locked", "")] {
        assert_eq!(described(&get(&rig, path, "gzip").await), ["", "\"v1\"", vary, "bytes"], "{path}");
    }
}

/// Frameworks answer with whole pages to these, too, and APIs with whole documents.
#[tokio::test]
async fn a_page_that_is_forbidden_or_not_found_is_encoded_as_any() {
    let origin = Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let control = if path.starts_with("/kept") { "max-age=60" } else { "no-store" };
        let status = path.rsplit('/').next().unwrap();
        response(&format!("{status} Status"), &format!("{HTML}Cache-Control: {control}\r\n"), &page())
    })
    .await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    for (status, is_encoded) in [(200, true), (403, true), (404, true), (201, false), (500, false)] {
        for path in ["/passed", "/kept"] {
            let got = get(&rig, &format!("{path}/{status}"), "gzip").await;
            let (coding, vary) = if is_encoded { ("gzip", "Accept-Encoding") } else { ("", "") };
            let found = (got.status, got.field("content-encoding"), got.field("vary"));
            assert_eq!(found, (status, coding.to_owned(), vary.to_owned()), "{path}/{status}");
            assert_eq!(if is_encoded { decoded(&got) } else { got.text() }, page(), "{path}/{status}");
        }
    }
}

#[tokio::test]
async fn a_site_chooses_types_and_sizes() {
    let origin = dynamic().await;
    let site = format!("{ALL}\ncompress_types = [\"application/*\"]\ncompress_min = \"1KiB\"");
    let rig = Rig::with(&[origin.address], "", &site).await;
    for (path, coding) in [("/a", ""), ("/pdf", "gzip")] {
        assert_eq!(get(&rig, path, "gzip").await.field("content-encoding"), coding, "{path}");
    }
    let site = format!("{ALL}\ncompress_min = \"1MiB\"");
    let rig = Rig::with(&[origin.address], "", &site).await;
    assert_eq!(get(&rig, "/a", "gzip").await.field("content-encoding"), "");
}

#[tokio::test]
async fn ranges_and_event_streams_that_are_passed_stay_as_they_come() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Accept-Encoding: br\r\nRange: bytes=0-4\r\n").await;
    let part = format!("{HTML}Cache-Control: no-store\r\nContent-Range: bytes 0-4/900\r\n");
    origin.next().await.respond(&response("206 Partial Content", &part, "01234")).await;
    let got = client.response().await;
    assert_eq!((got.status, got.text().as_str(), got.field("content-encoding").as_str()), (206, "01234", ""));
    client.send_get("/events", "Accept-Encoding: gzip\r\n").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    assert_eq!(client.head().await.field("content-encoding"), "");
    assert!(client.bytes(12).await.ends_with(b"data: 1\n\n"));
}

#[tokio::test]
async fn bytes_that_are_encoded_do_not_wait_for_more() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", ALL).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Accept-Encoding: gzip\r\n").await;
    let mut asked = origin.next().await;
    let head =
        format!("HTTP/1.1 200 OK\r\n{HTML}Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n");
    asked.write(format!("{head}5\r\nfirst\r\n").as_bytes()).await;
    assert_eq!(client.head().await.field("content-encoding"), "gzip");
    let chunk = client.bytes(6).await;
    assert!(chunk.windows(2).any(|two| two == [0x1f, 0x8b]), "{chunk:?}");
    asked.reset();
    let rest = soon("the end", client.until_the_end()).await;
    assert!(
        rest.is_err() || !rest.unwrap().ends_with("0\r\n\r\n"),
        "a body that broke off does not end well"
    );
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Answers with the page in gzip, whatever clients take, and does not say that it might do otherwise.
async fn packing(fields: &'static str) -> Arc<Origin> {
    let origin = Arc::new(Origin::start().await);
    let serving = Arc::clone(&origin);
    tokio::spawn(async move {
        let body = packed(&page());
        loop {
            let mut asked = serving.next_or_end().await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n{HTML}{fields}\r\n",
                body.len()
            );
            asked.write(head.as_bytes()).await;
            if !asked.head.starts_with("HEAD") {
                asked.write(&body).await;
            }
            asked.done();
        }
    });
    origin
}

#[tokio::test]
async fn what_an_origin_packs_unasked_is_readable_for_all() {
    for (fields, asked_each_time) in
        [("Cache-Control: max-age=60\r\n", false), ("Cache-Control: no-store\r\n", true)]
    {
        let origin = packing(fields).await;
        let rig = Rig::start(&[origin.address]).await;
        for round in 1..=2 {
            let with = get(&rig, "/a", "gzip, br").await;
            assert_eq!(described(&with), ["gzip", "\"v1\"", "Accept-Encoding", "bytes"], "{with:?}");
            assert_eq!(with.body, packed(&page()));
            let without = get(&rig, "/a", if round == 1 { "" } else { "br, identity" }).await;
            assert_eq!(described(&without), ["", "W/\"v1\"", "Accept-Encoding", ""], "{without:?}");
            assert_eq!((without.text(), without.field("content-length")), (page(), String::new()));
            let mut client = rig.client().await;
            client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
            let head = client.head().await;
            assert_eq!((head.field("content-encoding"), head.field("content-length")), Default::default());
            assert_eq!(origin.count(), if asked_each_time { 3 * round } else { 2 });
        }
    }
}

/// Of any type but an archive's; and one that is not packed at all goes out as it came.
#[tokio::test]
async fn what_an_origin_says_to_be_packed_is_readable_whatever_its_type_is() {
    for (path, kind, body, expected) in [
        ("/a", "", packed(&page()), page().into_bytes()),
        ("/a", "Content-Type: application/octet-stream\r\n", packed(&page()), page().into_bytes()),
        ("/a", "Content-Type: image/svg\r\n", packed(&page()), page().into_bytes()),
        ("/a", "Content-Type: application/x-tar\r\n", packed(&page()), packed(&page())),
        ("/a.tgz", "", packed(&page()), packed(&page())),
        ("/a", "Content-Type: text/html\r\n", b"plain".to_vec(), b"plain".to_vec()),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get(path, "").await;
        let mut asked = origin.next().await;
        let length = body.len();
        let fields = format!("{kind}Cache-Control: max-age=60\r\nContent-Encoding: gzip\r\n");
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
        asked.write(head.as_bytes()).await;
        asked.write(&body).await;
        asked.done();
        assert_eq!(client.response().await.body, expected, "{path} {kind}");
        let stored = get(&rig, path, "").await;
        stored.assert_hit();
        assert_eq!(stored.body, expected, "{path} {kind}");
    }
}

#[tokio::test]
async fn conditions_and_ranges_fit_what_is_unpacked() {
    let origin = packing("Cache-Control: max-age=60\r\n").await;
    let rig = Rig::start(&[origin.address]).await;
    assert_eq!(get(&rig, "/a", "").await.text(), page());
    assert_eq!(get(&rig, "/a", "gzip").await.body, packed(&page()));
    let got = rig.client().await.get_with("/a", "If-None-Match: W/\"v1\"\r\n").await;
    assert_eq!((got.status, got.field("etag").as_str()), (304, "W/\"v1\""));
    // A client goes on where its unpacked copy ended.
    for range in
        ["Range: bytes=10-19\r\n", "Range: bytes=10-19\r\nIf-Range: W/\"v1\"\r\n", "Range: bytes=0-1,4-5\r\n"]
    {
        let got = rig.client().await.get_with("/a", range).await;
        assert_eq!((got.status, got.text()), (200, page()), "{range}");
    }
    let got = rig.client().await.get_with("/a", "Range: bytes=10-19\r\nAccept-Encoding: gzip\r\n").await;
    assert_eq!((got.status, got.body), (206, packed(&page())[10..20].to_vec()));
    assert_eq!(origin.count(), 2);
}

/// The origin would do otherwise for another client, and does not say so.
#[tokio::test]
async fn an_origin_that_negotiates_without_a_word_is_asked_for_each_kind_of_client() {
    let origin = Origin::answering(|head| {
        let fields = "Cache-Control: max-age=60\r\nContent-Type: image/svg\r\n";
        match head.to_ascii_lowercase().contains("accept-encoding: gzip") {
            true => response("200 OK", &format!("{fields}Content-Encoding: gzip\r\n"), "packed"),
            false => response("200 OK", fields, "plain"),
        }
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for _ in 0..2 {
        let with = get(&rig, "/a", "gzip").await;
        assert_eq!((with.text().as_str(), with.field("vary").as_str()), ("packed", "Accept-Encoding"));
        let without = get(&rig, "/b", "").await;
        assert_eq!((without.text().as_str(), without.field("content-encoding").as_str()), ("plain", ""));
        assert_eq!(get(&rig, "/a", "").await.text(), "plain");
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn codings_are_the_same_over_http_2() {
    let origin = dynamic().await;
    let edge = Edge::with(&origin, "", ALL).await;
    let got = edge.ask("POST", "/a", fields(&[("accept-encoding", "gzip")]), "x").await;
    assert_eq!(got.headers()["content-encoding"], "gzip");
    assert_eq!(got.body().as_ref(), packed(&page()).as_slice());
    let origin = packing("Cache-Control: no-store\r\n").await;
    let edge = Edge::with(&origin, "", "").await;
    let got = edge.ask("GET", "/a", fields(&[]), "").await;
    assert!(!got.headers().contains_key("content-encoding") && got.headers()["etag"] == "W/\"v1\"");
    assert_eq!(got.body().as_ref(), page().as_bytes());
}

#[tokio::test]
async fn what_is_not_the_gzip_that_it_says_breaks_off() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "").await;
    let mut asked = origin.next().await;
    let head = format!("HTTP/1.1 200 OK\r\n{HTML}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n");
    asked.write(head.as_bytes()).await;
    // It begins as gzip does.
    asked.write(b"\x1f\x8bno gzip").await;
    asked.done();
    let all = soon("the end", client.until_the_end()).await.unwrap_or_default();
    assert!(!all.contains("no gzip") && !all.ends_with("0\r\n\r\n"), "{all}");
}
