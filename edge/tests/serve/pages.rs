//! Own pages in the place of errors, and sites that are being worked on.

use super::rig::{Origin, Rig, response};

const PAGE: &str = "<h1>Sorry</h1>";

struct Site {
    rig: Rig,
    _folder: tempfile::TempDir,
}

async fn site(origin: &Origin, rules: &str) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sorry.html");
    std::fs::write(&file, PAGE).unwrap();
    let page = format!("[[site.error_page]]\nstatus = [502, \"4xx\", 503]\nfile = {file:?}\n");
    let rig = Rig::with(&[origin.address], "", &rules.replace("PAGE", &page)).await;
    Site { rig, _folder: folder }
}

#[tokio::test]
async fn the_edges_own_errors_are_shown_on_the_sites_page() {
    let origin = Origin::start().await;
    let Site { rig, _folder } = site(&origin, "deny = [\"127.0.0.1\"]\nPAGE").await;
    let got = rig.client().await.get_with("/a", "Accept: text/html, */*;q=0.1\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (403, PAGE));
    assert_eq!(
        (got.field("content-type").as_str(), got.field("cache-control").as_str()),
        ("text/html; charset=utf-8", "no-store")
    );
    // A program that asks for JSON gets no HTML.
    let got = rig.client().await.get_with("/a", "Accept: application/json\r\n").await;
    assert!(got.status == 403 && got.text().starts_with("403 Forbidden: "), "{got:?}");
    let mut client = rig.client().await;
    client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-length")), (403, PAGE.len().to_string()));
    // The connection goes on behind a page that was not sent.
    assert_eq!(client.get("/b").await.text(), PAGE);
}

#[tokio::test]
async fn an_origin_that_fails_is_shown_as_the_sites_page_and_recovers_at_once() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "fine")).await;
    let Site { rig, _folder } = site(&origin, "PAGE").await;
    origin.die().await;
    let got = rig.get("/a").await;
    assert_eq!((got.status, got.text().as_str()), (502, PAGE));
    assert!(!got.field("proxy-status").is_empty(), "{got:?}");
    let _again = Origin::at(origin.address, |_| response("200 OK", "", "fine")).await;
    rig.pass(60);
    assert_eq!(rig.get("/a").await.text(), "fine");
}

#[tokio::test]
async fn an_origins_own_error_is_kept_as_it_is_and_shown_as_the_sites_page_if_it_says_so() {
    for (of_origin, shown) in [(false, "its own"), (true, PAGE)] {
        let fields = "Cache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Encoding: x-odd\r\n";
        let origin = Origin::answering(move |head| {
            let status = if head.contains("/missing") { "404 Not Found" } else { "200 OK" };
            response(status, fields, "its own")
        })
        .await;
        let rules = if of_origin { "PAGEof_origin = true\n" } else { "PAGE" };
        let Site { rig, _folder } = site(&origin, rules).await;
        for cache in ["fwd=uri-miss", "; hit"] {
            let got = rig.get("/missing").await;
            assert_eq!((got.status, got.text().as_str()), (404, shown));
            assert!(got.cache_status().contains(cache), "{got:?}");
            assert_eq!(got.field("etag").is_empty(), of_origin);
            assert_eq!(got.field("content-encoding").is_empty(), of_origin);
        }
        assert_eq!(rig.get("/there").await.text(), "its own");
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn a_site_that_is_being_worked_on_says_when_to_come_again_but_for_some() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "fine")).await;
    let rules =
        "maintenance = true\nmaintenance_exempt = [\"10.0.0.0/8\"]\nmaintenance_retry_after = \"90s\"\nPAGE";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sorry.html");
    std::fs::write(&file, PAGE).unwrap();
    let page = format!("[[site.error_page]]\nstatus = [503]\nfile = {file:?}\n");
    let top = "trusted_proxies = [\"127.0.0.1\"]";
    let rig = Rig::with(&[origin.address], top, &rules.replace("PAGE", &page)).await;
    let got = rig.get("/a").await;
    assert_eq!((got.status, got.field("retry-after").as_str(), got.text().as_str()), (503, "90", PAGE));
    let staff = rig.client().await.get_with("/a", "X-Forwarded-For: 10.1.1.1\r\n").await;
    assert_eq!((staff.status, staff.text().as_str()), (200, "fine"));
    assert_eq!(rig.get("/a").await.status, 503, "also what is stored");
    assert_eq!(rig.get("/.well-known/verge/health").await.status, 200);
}

#[tokio::test]
async fn maintenance_is_switched_by_a_call_until_it_is_left_to_the_config() {
    let origin = Origin::answering(|_| response("200 OK", "", "fine")).await;
    let rig = Rig::for_hosts("\"site.test\"", &[origin.address], "", "").await;
    let switch = async |body: &str| rig.ask("/maintenance", body).await;
    let stands =
        |on: bool| format!("{{\"sites\":[{{\"site\":\"site.test\",\"on\":{on},\"switched\":{on}}}]}}");
    assert_eq!(switch("{}").await.text(), stands(false));
    assert_eq!(switch("{\"site\": \"site.test\", \"on\": true}").await.text(), stands(true));
    assert_eq!(rig.get("/a").await.status, 503);
    let explained = rig.ask("/explain", "{\"url\": \"http://site.test/a\"}").await.text();
    assert!(explained.contains("maintenance: the site is being worked on"), "{explained}");
    assert!(explained.contains("\"verdict\":\"refuse\",\"because\":\"503 from here"), "{explained}");
    assert_eq!(switch("{}").await.text(), stands(true));
    assert_eq!(switch("{\"on\": null}").await.text(), stands(false));
    assert_eq!(rig.get("/a").await.status, 200);
    assert_eq!(switch("{\"site\": \"other.test\", \"on\": true}").await.status, 404);
    assert_eq!(switch("{\"on\": 1}").await.status, 400);
}
