//! Behind a proxy that ends TLS: that proxy alone says who the client is and which scheme it used.

use std::sync::Arc;

use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";

/// An application that wants HTTPS, as many do, and says what it was told.
async fn application() -> Arc<Origin> {
    Origin::answering(|head| {
        let told = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let values: Vec<&str> =
                lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
            values.join("+")
        };
        let all = ["x-forwarded-for", "x-forwarded-proto", "forwarded"].map(told).join(" ");
        match told("x-forwarded-proto").as_str() {
            "https" => response("200 OK", FRESH, &all),
            _ => response("301 Moved", &format!("{FRESH}Location: https://site.test/a\r\n"), &all),
        }
    })
    .await
}

#[tokio::test]
async fn a_trusted_proxys_word_reaches_the_origin_and_the_key() {
    let origin = application().await;
    let rig = Rig::with(&[origin.address], TRUSTED, "").await;
    let https = "X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.0.0.7\r\nX-Forwarded-Proto: https\r\n";
    let told = "192.0.2.1 https for=192.0.2.1;host=\"site.test\";proto=https";
    let over_http = rig.get("/a").await;
    assert_eq!(over_http.status, 301);
    for is_hit in [false, true] {
        let got = rig.client().await.get_with("/a", https).await;
        assert_eq!((got.status, got.text().as_str()), (200, told));
        assert_eq!(got.cache_status().contains("hit"), is_hit);
        let got = rig.get("/a").await;
        assert_eq!(got.status, 301);
        got.assert_hit();
    }
    // It is a resource of its own, but a purge takes both: whoever purges does not know where TLS ends.
    assert_eq!(rig.ask("/purge", "{\"url\": \"https://site.test/a\"}").await.status, 200);
    rig.get("/a").await.assert_forwarded();
    rig.client().await.get_with("/a", https).await.assert_forwarded();
    assert_eq!(origin.count(), 4);
}

/// RFC 6455 §3: some proxies write the scheme of a WebSocket's URL.
#[tokio::test]
async fn what_a_proxy_calls_secure_for_a_websocket_is_https() {
    let origin = application().await;
    let rig = Rig::with(&[origin.address], TRUSTED, "").await;
    for (written, status, told) in [("wss", 200, "https"), ("WSS", 200, "https"), ("ws", 301, "http")] {
        let got = rig.client().await.get_with("/a", &format!("X-Forwarded-Proto: {written}\r\n")).await;
        let told = format!("127.0.0.1 {told} for=127.0.0.1;host=\"site.test\";proto={told}");
        assert_eq!((got.status, got.text()), (status, told), "{written}");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn what_others_say_of_themselves_reaches_nobody() {
    for trusted in ["", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"] {
        let origin = application().await;
        let rig = Rig::with(&[origin.address], trusted, "").await;
        let made_up = "X-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.0.0.7;proto=https\r\n";
        let got = rig.client().await.get_with("/a", made_up).await;
        let told = "127.0.0.1 http for=127.0.0.1;host=\"site.test\";proto=http";
        assert_eq!((got.status, got.text().as_str()), (301, told), "{trusted}");
        rig.get("/a").await.assert_hit();
        assert_eq!(origin.count(), 1);
    }
}

/// A header of the PROXY protocol, version 2, and the request behind it; the edge's listener in `local`.
pub fn introduced(client: [u8; 4], request: &str) -> Vec<u8> {
    let ends = [&client[..], &[198, 51, 100, 2], &[0x30, 0x39, 0x01, 0xbb]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &ends, request.as_bytes()].concat()
}

#[tokio::test]
async fn a_proxy_names_its_client_by_the_proxy_protocol_and_must() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let rig = Rig::with(&[origin.address], "proxy_protocol = [\"127.0.0.1\"]", "").await;
    let got = rig
        .client()
        .await
        .raw(&introduced([203, 0, 113, 7], "GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n"))
        .await;
    assert_eq!(got.status, 200);
    assert!(origin.seen()[0].contains("x-forwarded-for: 203.0.113.7\r\n"), "{:?}", origin.seen());
    let own = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /b HTTP/1.1\r\nHost: site.test\r\n\r\n";
    assert_eq!(rig.client().await.raw(own).await.status, 200);
    assert!(origin.seen()[1].contains("x-forwarded-for: 127.0.0.1\r\n"), "{:?}", origin.seen());
    let mut bare = rig.client().await;
    bare.write(b"GET /c HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(bare.until_the_end().await.unwrap_or_default(), "", "it has not said whose it is");
    assert_eq!(rig.dropped("not-introduced").await, 1);
    // From everybody else such a header is no request.
    let rig = Rig::start(&[origin.address]).await;
    let got = rig
        .client()
        .await
        .raw(&introduced([203, 0, 113, 7], "GET /d HTTP/1.1\r\nHost: site.test\r\n\r\n"))
        .await;
    assert_eq!(got.status, 400);
    assert_eq!(origin.count(), 2);
}
