//! 103 Early Hints that the edge makes of what it knows (RFC 8297).

use super::rig::{Origin, Rig, response};

const NAVIGATE: &str = "Sec-Fetch-Mode: navigate\r\n";
const PAGE: &str = "Cache-Control: max-age=60\r\nETag: \"p\"\r\nLink: </a.css>; rel=preload; as=style\r\n";

#[tokio::test]
async fn a_browser_hears_what_a_page_needs_while_the_origin_is_asked_about_it() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/", NAVIGATE).await;
    origin.next().await.respond(&response("200 OK", PAGE, "page")).await;
    assert_eq!(client.response().await.text(), "page", "nothing is known before the first response");
    client.send_get("/", NAVIGATE).await;
    client.response().await.assert_hit();
    rig.pass(61);
    client.send_get("/", NAVIGATE).await;
    let asked = origin.next().await;
    let hint = client.head().await;
    assert_eq!((hint.status, hint.field("link").as_str()), (103, "</a.css>; rel=preload; as=style"));
    assert_eq!((hint.field("etag"), hint.field("cache-control")), Default::default());
    asked.respond(&format!("HTTP/1.1 304 Not Modified\r\n{PAGE}\r\n")).await;
    let page = client.response().await;
    assert_eq!((page.status, page.text().as_str()), (200, "page"));
}

#[tokio::test]
async fn clients_that_may_not_know_hints_get_none() {
    let origin = Origin::start().await;
    for (site, ask) in [
        ("", "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n"),
        (
            "",
            "GET / HTTP/1.0\r\nHost: site.test\r\nSec-Fetch-Mode: navigate\r\nConnection: keep-alive\r\n\r\n",
        ),
        ("early_hints = false", "GET / HTTP/1.1\r\nHost: site.test\r\nSec-Fetch-Mode: navigate\r\n\r\n"),
    ] {
        let rig = Rig::with(&[origin.address], "", site).await;
        let mut client = rig.client().await;
        client.write(ask.as_bytes()).await;
        origin.next().await.respond(&response("200 OK", PAGE, "page")).await;
        client.response().await;
        rig.pass(61);
        client.write(ask.as_bytes()).await;
        origin.next().await.respond(&format!("HTTP/1.1 304 Not Modified\r\n{PAGE}\r\n")).await;
        assert_eq!(client.response().await.status, 200, "{site} {ask}");
    }
}
