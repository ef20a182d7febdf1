//! A request whose head is longer than origins take is answered by the edge, so that no origin's error is anybody's page.

use super::rig::{Origin, Rig, response};

/// Answers heads with more than `bytes` bytes of fields with an error that it lets everybody keep.
async fn strict(bytes: usize) -> std::sync::Arc<Origin> {
    Origin::answering(move |head| {
        let fields = head.split_once("\r\n").map_or("", |(_, fields)| fields);
        if fields.len() > bytes {
            response("400 Bad Request", "Cache-Control: max-age=60\r\n", "too long")
        } else {
            response("200 OK", "Cache-Control: max-age=60\r\n", "page")
        }
    })
    .await
}

fn oversized(count: usize, bytes: usize) -> String {
    (0..count).map(|n| format!("X-Oversized-{n}: {}\r\n", "y".repeat(bytes))).collect()
}

#[tokio::test]
async fn a_head_that_common_origins_refuse_reaches_none_and_spoils_no_page() {
    let origin = strict(8192 + 16).await;
    let rig = Rig::start(&[origin.address]).await;
    for (fields, status) in [(oversized(24, 500), 431), (oversized(1, 8100), 431), (oversized(95, 1), 431)] {
        let got = rig.client().await.get_with("/p", &fields).await;
        assert_eq!((got.status, origin.count()), (status, 0), "{got:?}");
        assert!(got.field("proxy-status").contains("http_request_error"), "{got:?}");
        let post = format!("POST /p HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n{fields}\r\n");
        assert_eq!(rig.client().await.raw(post.as_bytes()).await.status, status);
    }
    assert_eq!((rig.get("/p").await.text().as_str(), origin.count()), ("page", 1));
    rig.client().await.get_with("/p", &oversized(24, 500)).await.assert_hit();
}

#[tokio::test]
async fn what_is_let_through_an_origin_with_the_usual_limits_takes() {
    let origin = strict(8192 + 16).await;
    let rig = Rig::start(&[origin.address]).await;
    for bytes in (7_700..8_192).step_by(7) {
        let got = rig.client().await.get_with(&format!("/{bytes}"), &oversized(1, bytes)).await;
        assert!(matches!(got.status, 200 | 431), "{bytes}: {got:?}");
    }
    for count in 80..100 {
        rig.client().await.get_with(&format!("/count/{count}"), &oversized(count, 1)).await;
    }
    let fields = |head: &String| head.lines().count() - 2;
    assert_eq!(origin.seen().iter().map(fields).max(), Some(98), "two are left for conditions");
}

#[tokio::test]
async fn a_site_whose_origin_takes_more_says_so() {
    let origin = strict(1 << 20).await;
    let top = "[limits]\nhead_size = \"64KiB\"\ntarget_size = \"20KiB\"\nfields = 300";
    let site = "origin_head_size = \"40KiB\"\norigin_fields = 250";
    let rig = Rig::with(&[origin.address], top, site).await;
    let target = |bytes: usize| format!("/{}", "t".repeat(bytes - 1));
    for (path, fields, status) in [
        ("/a".to_owned(), oversized(24, 1_000), 200),
        ("/b".to_owned(), oversized(45, 1_000), 431),
        ("/c".to_owned(), oversized(200, 1), 200),
        ("/d".to_owned(), oversized(245, 1), 431),
        ("/e".to_owned(), oversized(301, 1), 431),
        (target(20 << 10), String::new(), 200),
        (target((20 << 10) + 1), String::new(), 414),
    ] {
        let got = rig.client().await.get_with(&path, &fields).await;
        assert_eq!(got.status, status, "{} {got:?}", &path[..2]);
    }
}

#[tokio::test]
async fn a_target_may_be_longer_than_the_origins_of_one_site_take() {
    let origin = strict(1 << 20).await;
    let top = "[limits]\nhead_size = \"64KiB\"\ntarget_size = \"20KiB\"";
    let rig = Rig::with(&[origin.address], top, "").await;
    for (bytes, status) in [(8_192, 200), (8_193, 414)] {
        let got = rig.get(&format!("/{}", "t".repeat(bytes - 1))).await;
        assert_eq!((got.status, got.field("connection").as_str()), (status, ""), "{bytes}");
    }
    assert_eq!(origin.count(), 1);
}
