//! The status page, its stream, the tail of requests, and how errors are told.

use super::client::Client;
use super::rig::{Origin, Rig, response, soon};

/// A request of the admin listener by its address.
fn by_address(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n")
}

#[tokio::test]
async fn the_page_has_the_numbers_without_javascript_and_allows_no_other_script() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rig = Rig::start(&[origin.address]).await;
    for _ in 0..4 {
        rig.get("/a").await;
    }
    // A reading serves all who look for a second.
    let shown = async {
        loop {
            let page = Client::connect(rig.admin).await.raw(by_address("/", "").as_bytes()).await;
            // One may have been taken between the requests.
            if page.text().contains("<td class=\"n\">75.0 %</td>") {
                break page;
            }
        }
    };
    let page = soon("the numbers of now", shown).await;
    assert_eq!((page.status, page.field("content-type").as_str()), (200, "text/html; charset=utf-8"));
    let policy = page.field("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.field("x-content-type-options"), "nosniff");
    let text = page.text();
    for part in [
        "<td class=\"t\">hit</td>",
        &format!("<td class=\"t\">{}</td>", origin.address),
        "<td class=\"n\">75.0 %</td>",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let file = Client::connect(rig.admin).await.raw(by_address(path, "").as_bytes()).await;
        assert!(file.status == 200 && file.field("content-type").starts_with(kind), "{path}: {file:?}");
    }
    let status = Client::connect(rig.admin).await.raw(by_address("/status", "").as_bytes()).await.text();
    let board: verge_edge::admin::Board = serde_json::from_str(&status).unwrap();
    assert_eq!((board.state.as_str(), board.sites[0].total, board.sites_in_all), ("ready", 4.0, 1));
}

/// DNS rebinding, and pages of other sites.
#[tokio::test]
async fn no_page_of_another_site_reads_the_page_its_stream_or_its_numbers() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    for path in ["/", "/events", "/status", "/metrics", "/page.js"] {
        let foreign = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(Client::connect(rig.admin).await.raw(foreign.as_bytes()).await.status, 421, "{path}");
    }
    for path in ["/events", "/status", "/metrics"] {
        let elsewhere = by_address(path, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n");
        assert_eq!(Client::connect(rig.admin).await.raw(elsewhere.as_bytes()).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn streams_are_bounded_and_one_that_ends_makes_room() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let request = by_address("/events", "");
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(rig.admin).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-type").as_str()), (200, "text/event-stream"));
        open.push(client);
    }
    let refused = Client::connect(rig.admin).await.raw(request.as_bytes()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(String::from_utf8(open[0].bytes(200).await).unwrap().contains("retry: 1000\n\ndata: {"));
    assert_eq!(Client::connect(rig.admin).await.get("/readyz").await.status, 200, "others are not kept out");
    drop(open.pop());
    let room = async {
        loop {
            let mut client = Client::connect(rig.admin).await;
            client.write(request.as_bytes()).await;
            if client.head().await.status == 200 {
                break;
            }
        }
    };
    soon("room for another stream", room).await;
}

#[tokio::test]
async fn a_tail_has_the_requests_that_its_filter_wants_as_they_end() {
    let origin = Origin::answering(|head| match head.contains("/bad") {
        true => response("500 Internal Server Error", "", "no"),
        false => response("200 OK", "Cache-Control: max-age=60\r\n", "hello"),
    })
    .await;
    // A program has one tail for all its edges: the site's name tells this test's requests from those of others.
    let rig = Rig::for_hosts("\"tail.test\", \"site.test\"", &[origin.address], "", "").await;
    let token = format!("Authorization: Bearer {}\r\n", rig.token());
    assert_eq!(Client::connect(rig.admin).await.raw(by_address("/tail", "").as_bytes()).await.status, 401);
    let wrong = by_address("/tail?status=abc", &token);
    assert_eq!(Client::connect(rig.admin).await.raw(wrong.as_bytes()).await.status, 400);
    let mut tail = Client::connect(rig.admin).await;
    tail.write(by_address("/tail?status=5xx&site=tail.test", &token).as_bytes()).await;
    assert_eq!(tail.head().await.status, 200);
    for path in ["/good", "/bad?x=1", "/good", "/bad"] {
        rig.get(path).await;
    }
    // The first of them that is wanted: 5xx.
    let line = String::from_utf8(tail.bytes(300).await).unwrap();
    let json = line[line.find('{').unwrap()..].lines().next().unwrap();
    let told: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((told["status"].as_u64(), told["cache"].as_str()), (Some(500), Some("pass")), "{line}");
    assert!(told["url"].as_str().unwrap().contains("/bad"), "{line}");
}

#[tokio::test]
async fn errors_are_problem_details() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let token = format!("Authorization: Bearer {}\r\n", rig.token());
    for (request, status) in [
        (by_address("/none", ""), 404),
        (by_address("/purge", &token), 405),
        (by_address("/purge", ""), 401),
        ("POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".to_owned(), 405),
        (format!("POST /purge HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Content-Length: 2\r\n\r\n{{}}"), 400),
    ] {
        let got = Client::connect(rig.admin).await.raw(request.as_bytes()).await;
        assert_eq!(
            (got.status, got.field("content-type").as_str()),
            (status, "application/problem+json"),
            "{request}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(problem["status"].as_u64(), Some(u64::from(status)));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        assert_eq!(got.field("allow").is_empty(), status != 405, "{got:?}");
    }
}
