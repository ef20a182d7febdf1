//! Request targets as clients write them.

use super::rig::{Origin, Rig, response};

/// RFC 3986 §2.1: what must be percent-encoded is encoded here where the client did not; so there is one spelling for the
/// key and for the origin.
#[tokio::test]
async fn what_a_client_does_not_encode_is_encoded_and_shares_a_key_with_what_is() {
    let check = async |sent: &[u8], encoded: &str| {
        let origin = Origin::answering(|head| {
            let target = head.split(' ').nth(1).unwrap().to_owned();
            response("200 OK", "Cache-Control: max-age=60\r\n", &target)
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        let request = [b"GET ", sent, b" HTTP/1.1\r\nHost: site.test\r\n\r\n"].concat();
        // Two at once, and one in two pieces that cut the target.
        let mut client = rig.client().await;
        client.write(&[&request[..], &request[..], &request[..7]].concat()).await;
        assert_eq!(client.response().await.text(), encoded);
        assert_eq!(client.response().await.text(), encoded);
        client.write(&request[7..]).await;
        assert_eq!(client.response().await.text(), encoded);
        let got = rig.get(encoded).await;
        got.assert_hit();
        assert_eq!(got.text(), encoded);
        assert_eq!(origin.count(), 1, "{encoded}");
    };
    check("/\u{dc}ber.pdf".as_bytes(), "/%C3%9Cber.pdf").await;
    check(b"/a/\xdcber", "/a/%DCber").await;
    check("/s?q=gr\u{f6}\u{df}e".as_bytes(), "/s?q=gr%C3%B6%C3%9Fe").await;
    check(b"/q?query=up{job=\"x\"}", "/q?query=up%7Bjob=%22x%22%7D").await;
    check(b"/?x=<b>&y=`z`", "/?x=%3Cb%3E&y=%60z%60").await;
    check(b"/<a>|^`{\"}", "/%3Ca%3E%7C%5E%60%7B%22%7D").await;
}

#[tokio::test]
async fn a_request_behind_one_that_was_encoded_is_read_where_it_begins() {
    let origin = Origin::answering(|head| response("200 OK", "", &head[..head.find(" HTTP").unwrap()])).await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    let paths = ["/\u{e9}", "/\u{e8}", "/\"", "/plain", "/\u{e8}"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.write(requests.concat().as_bytes()).await;
    for expected in ["/%C3%A9", "/%C3%A8", "/%22", "/plain", "/%C3%A8"] {
        assert_eq!(client.response().await.text(), format!("GET {expected}"));
    }
    let got = client.raw("GET /\u{e9}\\ HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes()).await;
    assert_eq!(got.status, 400);
}

/// RFC 9110 §4.2.3: the scheme's own port and none are one. The key and the origin get one spelling.
#[tokio::test]
async fn a_host_that_differs_from_the_target_by_the_default_port_alone_shares_its_key() {
    let origin = Origin::answering(|head| response("200 OK", "Cache-Control: max-age=60\r\n", head)).await;
    let rig = Rig::start(&[origin.address]).await;
    let first = rig.get("/a").await.text();
    for (target, host) in [
        ("http://site.test:80/a", "site.test"),
        ("http://site.test/a", "site.test:80"),
        ("http://SITE.test:/a", "site.test:080"),
        // The dot of the root names the same host.
        ("/a", "site.test."),
        ("/a", "Site.Test.:80"),
        ("http://site.test./a", "site.test."),
    ] {
        let request = format!("GET {target} HTTP/1.2\r\nHost: {host}\r\n\r\n");
        let got = rig.client().await.raw(request.as_bytes()).await;
        got.assert_hit();
        assert_eq!(got.text(), first, "{target}");
    }
    assert_eq!(origin.count(), 1);
    // Another port is another origin (RFC 9110 §4.3.1), and an application writes it into its links.
    for _ in 0..2 {
        let got = rig.client().await.raw(b"GET /a HTTP/1.1\r\nHost: site.test.:4711\r\n\r\n").await;
        assert!(got.text().to_ascii_lowercase().contains("\r\nhost: site.test:4711\r\n"), "{got:?}");
    }
    assert_eq!(origin.count(), 2);
    // A purge may write it, too.
    assert_eq!(rig.ask("/purge", "{\"url\": \"http://site.test./a\"}").await.status, 200);
    rig.get("/a").await.assert_forwarded();
}

/// RFC 9112 §3.2.4: OPTIONS of a host without a path asks for `*`, which is about this server; with a path, about a resource.
#[tokio::test]
async fn options_of_a_host_alone_is_answered_here() {
    let origin = Origin::answering(|head| response("200 OK", "", head)).await;
    let rig = Rig::start(&[origin.address]).await;
    let ask = async |target: &str| {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        rig.client().await.raw(request.as_bytes()).await
    };
    for target in ["*", "http://site.test", "http://site.test:80"] {
        assert_eq!((ask(target).await.status, origin.count()), (204, 0), "{target}");
    }
    assert!(ask("http://site.test/").await.text().starts_with("OPTIONS / HTTP"));
}
