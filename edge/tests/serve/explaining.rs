//! The edge does what it says it would do.

use super::rig::{Origin, Rig, response};

async fn explain(rig: &Rig, path: &str, headers: &str) -> String {
    let got = rig
        .ask("/explain", &format!("{{\"url\": \"http://site.test{path}\", \"headers\": [{headers}]}}"))
        .await;
    assert_eq!(got.status, 200, "{got:?}");
    got.text()
}

#[track_caller]
fn assert_says(explained: &str, parts: &[&str]) {
    for part in parts {
        assert!(explained.contains(part), "no {part} in {explained}");
    }
}

#[tokio::test]
async fn each_verdict_is_said_with_its_reason_and_asks_nothing() {
    let origin = Origin::answering(|_| {
        let fields = "Cache-Control: max-age=60\r\nAge: 3\r\nETag: \"v\"\r\nSurrogate-Key: s t\r\nVary: Accept-Language\r\n";
        response("200 OK", fields, "hello")
    })
    .await;
    let rules = "bypass = [\"/admin/*\"]\n[[site.ttl]]\npath = \"/img/*\"\nttl = \"9s\"\n\
                 [[site.redirect]]\nfrom = \"/old\"\nto = \"/new\"\n[site.key]\ncookies = [\"lang\"]";
    let rig = Rig::with(&[origin.address], "", rules).await;
    let cold = explain(&rig, "/a", "").await;
    assert_says(
        &cold,
        &[r#""verdict":"fetch""#, "nothing is stored under its key", r#""site":"*""#, r#""variants":[]"#],
    );
    rig.get("/a").await;
    rig.pass(10);
    let fresh = explain(&rig, "/a", "").await;
    let numbers =
        [r#""age_secs":13"#, r#""initial_age_secs":3"#, r#""lifetime_secs":60"#, r#""source":"max-age""#];
    assert_says(&fresh, &numbers);
    let found =
        [r#""verdict":"fresh""#, r#""tags":["s","t"]"#, r#""etag":"\"v\"""#, r#"["accept-language",null]"#];
    assert_says(&fresh, &found);
    assert_says(&fresh, &[r#"["cookie lang",""]"#, r#""chosen":true"#, r#""body_bytes":5"#, r#""epoch":0"#]);
    let other = explain(&rig, "/a", r#"["accept-language", "de"]"#).await;
    assert_says(
        &other,
        &[r#""verdict":"fetch""#, "for other values of the fields in Vary", r#""chosen":false"#],
    );
    let keyed = explain(&rig, "/a", r#"["cookie", "lang=de"]"#).await;
    assert_says(&keyed, &[r#"["cookie lang","de"]"#, r#""variants":[]"#]);
    rig.ask("/purge", r#"{"tag": "t", "soft": true}"#).await;
    let soft = explain(&rig, "/a", "").await;
    assert_says(&soft, &[r#""verdict":"revalidate""#, "what is stored is stale", r#""lifetime_secs":13"#]);
    assert_says(
        &explain(&rig, "/%61dmin/x", "").await,
        &[r#""verdict":"pass""#, "bypasses", "bypass: never kept"],
    );
    assert_says(&explain(&rig, "/img/x", "").await, &["ttl: 9 s for status 200"]);
    assert_says(&cold, &["a response that sets a cookie is passed on and not stored"]);
    assert_says(&explain(&rig, "/old?q", "").await, &[r#""verdict":"redirect""#, "/new?q"]);
    assert_eq!(origin.count(), 1);
    for (body, status) in
        [("", 400), (r#"{"url": "/a"}"#, 400), (r#"{"url": "http://a/", "headers": [["a b", ""]]}"#, 400)]
    {
        assert_eq!(rig.ask("/explain", body).await.status, status, "{body}");
    }
}

/// NEWCOMER 13: the reason was in the live answer only.
#[tokio::test]
async fn why_the_last_answer_was_not_kept_is_remembered() {
    let origin = Origin::answering(|head| {
        let fields = match head.split(['/', ' ']).nth(2).unwrap() {
            "login" => "Set-Cookie: sid=1\r\nCache-Control: max-age=60\r\n",
            "plain" => "",
            "private" => "Cache-Control: private\r\n",
            _ => "Cache-Control: max-age=60\r\n",
        };
        response("200 OK", fields, "a body of more than ten bytes")
    })
    .await;
    let rig = Rig::with(&[origin.address], "", "purge_from = [\"10.0.0.5\"]").await;
    for (path, word) in [("/login", "set-cookie"), ("/plain", "no-freshness"), ("/private", "private")] {
        assert!(!explain(&rig, path, "").await.contains("unkept"));
        rig.get(path).await;
        rig.pass(5);
        let told = format!("\"unkept\":\"5 s ago a 200 was not kept: {word}\"");
        assert_says(&explain(&rig, path, "").await, &[&told, "PURGE and BAN are obeyed from 10.0.0.5/32"]);
    }
    rig.get("/kept").await;
    assert!(!explain(&rig, "/kept", "").await.contains("unkept"));
    origin.die().await;
    rig.pass(100);
    assert_eq!(rig.get("/dead").await.status, 502);
    assert_says(&explain(&rig, "/dead", "").await, &["0 s ago no origin answered: connection_refused"]);
}

#[tokio::test]
async fn what_becomes_of_content_and_of_a_long_head_is_said() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let rules = "compress = [\"br\", \"gzip\"]\ncompress_min = \"1KiB\"\nbuffer_requests = \"64KiB\"";
    let rig = Rig::with(&[origin.address], "", rules).await;
    let explained = explain(&rig, "/a", &format!("[\"x-long\", \"{}\"]", "y".repeat(8_200))).await;
    assert_says(
        &explained,
        &[
            "compress: br, gzip from 1024 bytes on",
            "buffer_requests: up to 65536 bytes",
            "more than origins get: 431",
        ],
    );
    assert!(!explain(&rig, "/a", "").await.contains("origins get: 431"));
}

#[tokio::test]
async fn what_the_config_has_written_for_a_path_is_said() {
    let origin = Origin::answering(|_| response("200 OK", "", "")).await;
    let rules = "drop_cookies = [\"_ga*\"]\ntargeted = [\"surrogate-control\"]\n[site.request]\n\
                 set = { authorization = \"secret\" }\n[[site.route]]\npaths = [\"/api/*\"]\ntargeted = []";
    let rig = Rig::with(&[origin.address], "title_case = true", rules).await;
    let explained = explain(&rig, "/a", "").await;
    let shared =
        [r#""drop_cookies = [\"_ga*\"]""#, r#""request.set.authorization""#, r#""title_case = true""#];
    assert_says(&explained, &shared);
    assert_says(&explained, &[r#""targeted = [\"surrogate-control\"]""#]);
    let explained = explain(&rig, "/api/a", "").await;
    assert_says(&explained, &shared);
    assert_says(&explained, &[r#""targeted = []""#]);
    assert!(!explained.contains("surrogate-control") && !explained.contains("secret"), "{explained}");
}
