//! A page that is one visitor's is no other one's, however applications and operators write that.

use super::OLD;
use crate::rig::{Origin, Rig, response};

/// Tells each visitor of `/account` who it is, under these fields; a validator that came from the one before is as good.
async fn accounts(fields: String) -> std::sync::Arc<Origin> {
    Origin::answering(move |head| {
        let who = if head.contains("sid=alice") { "alice" } else { "bob" };
        match head.to_ascii_lowercase().contains("if-modified-since") {
            true => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"),
            false => response("200 OK", &fields, who),
        }
    })
    .await
}

async fn check(fields: &str, site: &str) {
    let origin = accounts(format!("{fields}{OLD}")).await;
    let rig = Rig::with(&[origin.address], "", site).await;
    for who in ["alice", "bob", "alice"] {
        let got = rig.client().await.get_with("/account", &format!("Cookie: sid={who}\r\n")).await;
        assert_eq!((got.status, got.text().as_str()), (200, who), "{fields}: {got:?}");
    }
    assert_eq!(origin.count(), 3, "{fields}");
}

/// Semicolons as in `Set-Cookie`, spaces, and the quotes of the language that the application is written in.
const KEPT_FROM_OTHERS: [&str; 11] = [
    "private; max-age=60",
    "no-store; no-cache",
    "no-store; max-age=60",
    "private no-cache",
    "\"private\"",
    "'private'",
    "private:max-age=3",
    "max-age=60; private",
    "max-age=60 no-store",
    "public; private",
    "\"private, max-age=60\"",
];

#[tokio::test]
async fn what_is_private_is_its_visitors_however_it_is_written() {
    for control in KEPT_FROM_OTHERS {
        check(&format!("Cache-Control: {control}\r\n"), "").await;
        check(&format!("Cache-Control: max-age=60\r\nCDN-Cache-Control: {control}\r\n"), "").await;
        let surrogate = format!("Cache-Control: max-age=60\r\nSurrogate-Control: {control}\r\n");
        check(&surrogate, "targeted = [\"surrogate-control\"]").await;
    }
}

#[tokio::test]
async fn what_is_to_be_validated_is_however_it_is_written() {
    for control in
        ["no-cache; must-revalidate", "no-cache;", "'no-cache'", "public; no-cache", "public; max-age=0"]
    {
        let fields = format!("Cache-Control: {control}\r\n{OLD}");
        let origin = Origin::answering(move |_| response("200 OK", &fields, "page")).await;
        let rig = Rig::start(&[origin.address]).await;
        for _ in 0..2 {
            rig.get("/").await.assert_forwarded();
        }
        assert_eq!(origin.count(), 2, "{control}");
    }
}

const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// Names that origins never see pass requests by all the same.
#[tokio::test]
async fn a_site_passes_by_for_fields_that_are_withheld() {
    let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
    let rules = "bypass_headers = [\"x-no-cache\", \"x-purge\", \"cf-*\", \"x_preview\"]";
    let rig = Rig::with(&[origin.address], "", rules).await;
    rig.get("/").await.assert_forwarded();
    for name in ["X-No-Cache", "x-purge", "CF-Worker", "X_Preview"] {
        for _ in 0..3 {
            let got = rig.client().await.get_with("/", &format!("{name}: 1\r\n")).await;
            assert!(got.cache_status().contains("fwd=bypass"), "{name}: {got:?}");
            assert!(!got.text().to_ascii_lowercase().contains(&name.to_ascii_lowercase()), "{name}: {got:?}");
        }
        rig.get("/").await.assert_hit();
    }
    let fields = "X-No-Cache: 1\r\nCache-Control: only-if-cached\r\n";
    assert_eq!(rig.client().await.get_with("/", fields).await.status, 504);
    assert_eq!(origin.count(), 1 + 4 * 3);
}

/// WordPress: the cookies of tracking do not count, and who is logged in sees what only an editor sees.
#[tokio::test]
async fn a_site_passes_by_for_cookies_that_do_not_count_and_the_origin_gets_them() {
    for rules in ["keep_cookies = [\"lang\"]", "drop_cookies = [\"_ga*\", \"wordpress_*\"]"] {
        let origin = Origin::answering(|head| response("200 OK", FRESH, head)).await;
        let rules = format!("{rules}\nbypass_cookies = [\"wordpress_logged_in_*\"]");
        let rig = Rig::with(&[origin.address], "", &rules).await;
        let tracked = "Cookie: _ga=1\r\n";
        rig.client().await.get_with("/", tracked).await.assert_forwarded();
        for _ in 0..3 {
            let editor = "Cookie: _ga=2; lang=de; wordpress_logged_in_8f=u\r\n";
            let got = rig.client().await.get_with("/", editor).await;
            assert!(got.cache_status().contains("fwd=bypass"), "{rules}: {got:?}");
            assert!(got.text().contains("cookie: lang=de; wordpress_logged_in_8f=u\r\n"), "{rules}: {got:?}");
        }
        rig.client().await.get_with("/", tracked).await.assert_hit();
        let post = "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nCookie: wordpress_logged_in_8f=u\r\n\r\n";
        let got = rig.client().await.raw(post.as_bytes()).await;
        assert!(got.text().contains("cookie: wordpress_logged_in_8f=u\r\n"), "{rules}: {got:?}");
    }
}
