//! Content that is put into the edge ahead of demand.

use super::client::{Client, Got};
use super::encoding::{decoded, get, page};
use super::rig::{Origin, Rig, response, soon};

async fn push(rig: &Rig, path: &str, fields: &str, body: &str) -> Got {
    let head = format!(
        "PUT /push HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test{path}\r\n\
         Content-Length: {}\r\n{fields}\r\n{body}",
        rig.token(),
        body.len()
    );
    Client::connect(rig.admin).await.raw(head.as_bytes()).await
}

#[tokio::test]
async fn what_is_pushed_is_a_hit_with_its_fields_and_a_tag_of_its_content() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let fields = "Content-Type: text/css\r\nVerge-TTL: 60\r\nX-Own: 1\r\nUser-Agent: x\r\n";
    let pushed = push(&rig, "/a", fields, "hello").await;
    assert_eq!(pushed.status, 200, "{pushed:?}");
    let got = rig.get("/a").await;
    got.assert_hit();
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    assert_eq!((got.field("content-type").as_str(), got.field("x-own").as_str()), ("text/css", "1"));
    for name in ["verge-url", "verge-ttl", "user-agent", "authorization"] {
        assert_eq!(got.field(name), "", "{name}");
    }
    // No purge reaches a browser, so it asks each time.
    assert_eq!(got.field("cache-control"), "max-age=0");
    let tag = got.field("etag");
    assert!(pushed.text().contains(tag.trim_matches('"')), "{pushed:?}");
    assert_eq!(rig.client().await.get_with("/a", &format!("If-None-Match: {tag}\r\n")).await.status, 304);
    let part = rig.client().await.get_with("/a", "Range: bytes=1-2\r\n").await;
    assert_eq!((part.status, part.text().as_str()), (206, "el"));
    assert_eq!(push(&rig, "/\u{dc}ber?{x}", "Verge-TTL: 60\r\n", "over").await.status, 200);
    rig.get("/%C3%9Cber?%7Bx%7D").await.assert_hit();
    push(&rig, "/a", "Verge-TTL: 60\r\nVerge-Browser-TTL: 5\r\n", "other").await;
    let other = rig.get("/a").await;
    assert_eq!(other.field("cache-control"), "max-age=5");
    assert_eq!(other.text(), "other");
    assert_ne!(other.field("etag"), tag);
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn what_is_pushed_is_validated_at_the_origin_when_its_time_is_over() {
    let origin = Origin::answering(|_| "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()).await;
    let rig = Rig::start(&[origin.address]).await;
    push(&rig, "/a", "Cache-Control: max-age=5\r\nVerge-TTL: 600\r\n", "hello").await;
    rig.pass(6);
    let got = rig.get("/a").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    assert!(origin.seen()[0].to_ascii_lowercase().contains("if-none-match: \""), "{:?}", origin.seen());
}

#[tokio::test]
async fn what_may_not_be_stored_is_refused_and_says_why() {
    let origin = Origin::start().await;
    let rules = "bypass = [\"/admin/*\"]\nmax_object = \"1KB\"";
    let rig = Rig::with(&[origin.address], "", rules).await;
    for (path, fields, body, status) in [
        ("/a", "Cache-Control: no-store\r\n", "x", 422),
        ("/admin/a", "Verge-TTL: 60\r\n", "x", 422),
        ("/a", "Verge-TTL: soon\r\n", "x", 400),
        ("/a", "Verge-TTL: 60\r\n", &*"x".repeat(1_001), 413),
    ] {
        let got = push(&rig, path, fields, body).await;
        assert_eq!(got.status, status, "{path} {fields}: {}", got.text());
    }
    let nobody =
        "PUT /push HTTP/1.1\r\nHost: a\r\nVerge-URL: http://site.test/a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(Client::connect(rig.admin).await.raw(nobody.as_bytes()).await.status, 401);
    // Without a length, the limit shows as it comes.
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1_000));
    let head = format!(
        "PUT /push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test/a\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n",
        rig.token()
    );
    assert_eq!(Client::connect(rig.admin).await.raw(head.as_bytes()).await.status, 413);
    let metrics = Client::connect(rig.admin).await.get("/metrics").await.text();
    assert!(metrics.contains("verge_edge_fill_bytes 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_purge_during_a_push_wins_and_a_push_wins_over_a_fetch_from_before_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut pusher = Client::connect(rig.admin).await;
    let head = format!(
        "PUT /push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test/a\r\n\
         Cache-Tag: t\r\nVerge-TTL: 60\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        rig.token()
    );
    pusher.write(head.as_bytes()).await;
    // The 100 says that the push has begun.
    assert_eq!(pusher.head().await.status, 100);
    rig.ask("/purge", r#"{"tag": "t"}"#).await;
    pusher.write(b"hello").await;
    assert_eq!(pusher.response().await.status, 409);
    let mut early = rig.client().await;
    early.send_get("/a", "").await;
    let old = origin.next().await;
    assert_eq!(push(&rig, "/a", "Verge-TTL: 60\r\n", "pushed").await.status, 200);
    old.respond(&response("200 OK", "Cache-Control: max-age=60\r\n", "old")).await;
    assert_eq!(early.response().await.text(), "old");
    assert_eq!(rig.get("/a").await.text(), "pushed");
}

#[tokio::test]
async fn what_is_pushed_is_a_hit_in_each_coding_that_the_site_compresses_into() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", "compress = [\"br\", \"zstd\", \"gzip\"]").await;
    let fields = "Content-Type: text/css\r\nCache-Tag: t\r\nVerge-TTL: 60\r\n";
    let pushed = push(&rig, "/a", fields, &page()).await;
    assert_eq!(pushed.status, 200, "{pushed:?}");
    for (accept, coding) in
        [("gzip, br", "br"), ("zstd", "zstd"), ("gzip, deflate", "gzip"), ("", ""), ("deflate", "")]
    {
        let got = get(&rig, "/a", accept).await;
        got.assert_hit();
        assert_eq!(
            (got.field("content-encoding").as_str(), got.field("vary").as_str()),
            (coding, "Accept-Encoding")
        );
        assert_eq!(decoded(&got), page(), "{accept}");
        assert_eq!(got.field("etag").starts_with("W/"), !coding.is_empty());
        if !coding.is_empty() {
            assert!(got.body.len() < page().len() / 3, "{coding} {}", got.body.len());
            assert!(pushed.text().contains(&format!("[\"{coding}\",{}]", got.body.len())), "{pushed:?}");
        }
    }
    // A body that is not worth encoding stays as it is, for all.
    for (path, fields, body) in [
        ("/small", "Content-Type: text/css\r\nVerge-TTL: 60\r\n", "a"),
        ("/image", "Content-Type: image/png\r\nVerge-TTL: 60\r\n", &*page()),
    ] {
        push(&rig, path, fields, body).await;
        for accept in ["br", ""] {
            let got = get(&rig, path, accept).await;
            got.assert_hit();
            assert_eq!((got.field("content-encoding"), got.field("vary")), (String::new(), String::new()));
            assert_eq!(got.text(), body);
        }
    }
    // They come and go together.
    push(&rig, "/a", fields, &format!("{}new", page())).await;
    for accept in ["br", "zstd", "gzip", ""] {
        assert!(decoded(&get(&rig, "/a", accept).await).ends_with("new"), "{accept}");
    }
    assert_eq!(origin.count(), 0);
    rig.ask("/purge", r#"{"tag": "t"}"#).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Accept-Encoding: br\r\n").await;
    origin.next().await.respond(&response("200 OK", "", "origin's")).await;
    assert_eq!(client.response().await.text(), "origin's");
}

/// There is room for one encoder, and a page that does not end has it.
#[tokio::test]
async fn what_cannot_be_encoded_in_time_is_refused_and_can_be_pushed_later() {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "[cache]\nmemory = \"36MiB\"", "compress = [\"br\"]").await;
    let mut client = rig.client().await;
    client.send_get("/page", "Accept-Encoding: br\r\n").await;
    let mut asked = origin.next().await;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked";
    asked.write(format!("{head}\r\n\r\n5\r\nhello\r\n").as_bytes()).await;
    let head = client.head().await;
    assert_eq!(head.field("content-encoding"), "br");
    let (fields, page) = ("Content-Type: text/css\r\nVerge-TTL: 60\r\n", page());
    let refused = soon("the refusal", async {
        let mut push = std::pin::pin!(push(&rig, "/a", fields, &page));
        loop {
            tokio::select! {
                biased;
                got = &mut push => return got,
                _ = rig.metric("verge_edge_connections_limit ") => rig.pass(1),
            }
        }
    })
    .await;
    assert_eq!(refused.status, 503, "{refused:?}");
    asked.write(b"0\r\n\r\n").await;
    assert!(client.body(&head).await.is_some());
    assert_eq!(push(&rig, "/a", fields, &page).await.status, 200);
}
