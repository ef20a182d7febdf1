//! Compression with a version that the client has (RFC 9842).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client::Got;
use super::origin::{Origin, response};
use super::rig::{Rig, soon};

/// The words that a browser sends where it has a dictionary.
const ACCEPT: &str = "Accept-Encoding: gzip, deflate, br, zstd, dcb, dcz\r\n";
const HTTPS: &str = "X-Forwarded-Proto: https\r\n";

/// A script of some 40 KB, in one of its versions.
fn script(version: usize) -> String {
    let line = |n: usize| format!("function f{n}(a) {{ return a * {} }}\n", n * 7_919 % 9_973);
    let lines = (0..1_000).map(|n| if n == 500 { format!("// version {version}\n") } else { line(n) });
    lines.collect()
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// An origin of the script, and the version that it has.
async fn origin(fields: &'static str) -> (Arc<Origin>, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let own = Arc::clone(&version);
    let origin = Origin::answering(move |head| {
        assert!(!head.to_ascii_lowercase().contains("-dictionary:"), "{head}");
        let version = own.load(Ordering::Relaxed);
        let fields = format!(
            "Cache-Control: max-age=600\r\nContent-Type: text/javascript\r\nETag: \"{version}\"\r\n{fields}"
        );
        response("200 OK", &fields, &script(version))
    });
    (origin.await, version)
}

async fn edge(origin: SocketAddr, site: &str) -> Rig {
    let site = format!("dictionaries = [\"/js/*\"]\n{site}");
    Rig::with(&[origin], "trusted_proxies = [\"127.0.0.0/8\"]\n", &site).await
}

/// The field of a client that has this version.
fn has(version: usize) -> String {
    let hash = STANDARD.encode(digest(&SHA256, script(version).as_bytes()));
    format!("Available-Dictionary: :{hash}:\r\n")
}

async fn get(rig: &Rig, fields: &str) -> Got {
    rig.client().await.get_with("/js/app.js", fields).await
}

/// Lets the edge store both versions, and know them.
async fn has_both(rig: &Rig, version: &AtomicUsize) {
    get(rig, HTTPS).await.assert_forwarded();
    rig.until("verge_edge_dictionaries", 1).await;
    version.store(2, Ordering::Relaxed);
    rig.ask("/purge", "{\"url\": \"https://site.test/js/app.js\"}").await;
    get(rig, HTTPS).await.assert_forwarded();
    rig.until("verge_edge_dictionaries", 2).await;
}

/// The text that a client makes of an answer with the version that it has.
fn decoded(got: &Got, version: usize) -> String {
    let old = script(version);
    assert_eq!(got.body[..8], [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0]);
    assert_eq!(got.body[8..40], *digest(&SHA256, old.as_bytes()).as_ref());
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(&got.body[40..], old.as_bytes()).unwrap();
    let mut text = String::new();
    decoder.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_client_that_has_the_last_version_gets_the_difference() {
    for site in ["", "compress = [\"br\", \"gzip\"]\n"] {
        let (origin, version) = origin("").await;
        let rig = edge(origin.address, site).await;
        has_both(&rig, &version).await;
        let asked = format!("{HTTPS}{ACCEPT}{}", has(1));
        // Under `compress` the first of its coding is a miss.
        let first = get(&rig, &asked).await;
        let got = if first.cache_status().contains("; hit") { first } else { get(&rig, &asked).await };
        got.assert_hit();
        assert!(got.cache_status().ends_with("; detail=dictionary"), "{}", got.cache_status());
        assert_eq!(got.field("content-encoding"), "dcz");
        assert_eq!(decoded(&got, 1), script(2));
        assert!(got.body.len() < 200, "{}", got.body.len());
        assert_eq!(got.field("content-length"), got.body.len().to_string());
        assert_eq!(got.field("etag"), "W/\"2\"");
        assert_eq!(got.field("use-as-dictionary"), "match=\"/js/app.js\"");
        let vary = format!("{:?}", got.fields).to_ascii_lowercase();
        assert!(vary.contains("accept-encoding") && vary.contains("available-dictionary"), "{vary}");
        let tag =
            rig.client().await.get_with("/js/app.js", &format!("{asked}If-None-Match: W/\"2\"\r\n")).await;
        assert_eq!((tag.status, tag.body.len()), (304, 0));
        assert_eq!(rig.metric("verge_edge_dictionary_answers_total ").await, 1);
        assert!(rig.metric("verge_edge_dictionary_saved_bytes_total ").await > 1_000);
        assert!(rig.metric("verge_edge_dictionary_bytes ").await > 60_000);
    }
}

#[tokio::test]
async fn a_client_that_takes_brotli_alone_gets_the_difference_by_it() {
    let (origin, version) = origin("").await;
    let rig = edge(origin.address, "").await;
    has_both(&rig, &version).await;
    for accept in ["gzip, br, dcb", "dcz;q=0.5, dcb"] {
        let got = get(&rig, &format!("{HTTPS}Accept-Encoding: {accept}\r\n{}", has(1))).await;
        got.assert_hit();
        assert_eq!(got.field("content-encoding"), "dcb");
        let old = script(1);
        assert_eq!(got.body[..4], [0xff, 0x44, 0x43, 0x42]);
        assert_eq!(got.body[4..36], *digest(&SHA256, old.as_bytes()).as_ref());
        let mut decoder = brotli::Decompressor::new(&got.body[36..], 4_096);
        assert!(decoder.attach_dictionary(old.into_bytes().into()));
        let mut text = String::new();
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, script(2));
        assert!(got.body.len() < 200, "{}", got.body.len());
    }
}

#[tokio::test]
async fn a_client_that_has_the_last_version_gets_the_difference_after_a_restart_too() {
    let (origin, version) = origin("").await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let start = async || {
        let top = format!(
            "trusted_proxies = [\"127.0.0.0/8\"]\n[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n",
            disk.display()
        );
        Rig::with(&[origin.address], &top, "dictionaries = [\"/js/*\"]\n").await
    };
    let mut rig = start().await;
    get(&rig, HTTPS).await.assert_forwarded();
    let kept = async {
        while std::fs::read_dir(disk.join("dictionaries")).into_iter().flatten().count() < 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("its text is in a file", kept).await;
    rig.running.take().unwrap().drain().await;
    let rig = start().await;
    rig.until("verge_edge_dictionaries", 1).await;
    version.store(2, Ordering::Relaxed);
    rig.ask("/purge", "{\"url\": \"https://site.test/js/app.js\"}").await;
    get(&rig, HTTPS).await.assert_forwarded();
    rig.until("verge_edge_dictionaries", 2).await;
    let got = get(&rig, &format!("{HTTPS}{ACCEPT}{}", has(1))).await;
    assert_eq!((got.field("content-encoding").as_str(), decoded(&got, 1)), ("dcz", script(2)));
}

#[tokio::test]
async fn a_hard_purge_of_everything_or_of_a_site_takes_its_texts_and_no_other_purge_does() {
    for (purge, expected) in [
        ("{\"all\": true}", 0),
        ("{\"site\": \"*\"}", 0),
        ("{\"all\": true, \"soft\": true}", 2),
        ("{\"url\": \"https://site.test/js/*\"}", 2),
    ] {
        let (origin, version) = origin("").await;
        let rig = edge(origin.address, "").await;
        has_both(&rig, &version).await;
        assert_eq!(rig.ask("/purge", purge).await.status, 200, "{purge}");
        assert_eq!(rig.metric("verge_edge_dictionaries ").await, expected, "{purge}");
    }
}

#[tokio::test]
async fn explain_tells_whether_a_client_would_get_the_difference_and_why_not() {
    let (origin, version) = origin("").await;
    let rig = edge(origin.address, "").await;
    let explain = async |url: &str, fields: &[(&str, String)]| {
        let asked = serde_json::json!({ "url": url, "headers": fields });
        let got = rig.ask("/explain", &asked.to_string()).await;
        let told: serde_json::Value = serde_json::from_str(&got.text()).unwrap();
        told["dictionary"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("{told}"))
    };
    let https = "https://site.test/js/app.js";
    let accept = ("accept-encoding", "gzip, dcz".to_owned());
    let available = |version: usize| {
        let field = has(version);
        ("available-dictionary", field.trim_end().split_once(": ").unwrap().1.to_owned())
    };
    let check = async |url: &str, fields: &[(&str, String)], expected: &str| {
        let told = explain(url, fields).await;
        assert!(told.starts_with(expected), "{url} {fields:?}: {told}");
    };
    check(https, &[], "none: only hits").await;
    has_both(&rig, &version).await;
    check("https://site.test/css/a.css", &[], "none: its path is none of").await;
    check("http://site.test/js/app.js", &[], "none: browsers use dictionaries over HTTPS").await;
    check(https, &[], "none: it names none").await;
    check(https, &[available(1)], "none: its Available-Dictionary").await;
    check(https, &[accept.clone(), available(3)], "none: what the client has is none of the 2 texts").await;
    let elsewhere = [("sec-fetch-site", "cross-site".to_owned()), ("sec-fetch-mode", "no-cors".to_owned())];
    let page = [elsewhere[0].clone(), elsewhere[1].clone(), accept.clone(), available(1)];
    check(https, &page, "none: the page that asks may not read").await;
    check(https, &[accept.clone(), available(1)], "dcz: what the client has is held here").await;
    let got = get(&rig, &format!("{HTTPS}{ACCEPT}{}", has(1))).await;
    assert_eq!(got.field("content-encoding"), "dcz");
    check(https, &[accept, available(1)], &format!("dcz: {} bytes in the place of", got.body.len())).await;
}

#[tokio::test]
async fn whoever_has_no_version_that_is_known_or_may_not_read_it_gets_all() {
    let (origin, version) = origin("").await;
    let rig = edge(origin.address, "").await;
    has_both(&rig, &version).await;
    let (cross, cors) =
        ("Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Mode: cors\r\nOrigin: https://b.test\r\n");
    for fields in [
        HTTPS.to_owned(),
        format!("{HTTPS}{ACCEPT}"),
        format!("{HTTPS}{ACCEPT}{}", has(3)),
        format!("{HTTPS}Accept-Encoding: gzip, dcb;q=0\r\n{}", has(1)),
        format!("{HTTPS}{}", has(1)),
        format!("{HTTPS}{ACCEPT}Available-Dictionary: ::\r\n"),
        format!("{HTTPS}{ACCEPT}{cross}Sec-Fetch-Mode: no-cors\r\n{}", has(1)),
        format!("{HTTPS}{ACCEPT}{cross}{cors}{}", has(1)),
    ] {
        let got = get(&rig, &fields).await;
        got.assert_hit();
        assert_eq!(got.text(), script(2), "{fields}");
        assert_eq!(got.field("use-as-dictionary"), "match=\"/js/app.js\"", "{fields}");
    }
    let part = get(&rig, &format!("{HTTPS}{ACCEPT}Range: bytes=0-9\r\n{}", has(1))).await;
    assert_eq!((part.status, part.text().as_str()), (206, &script(2)[..10]));
    assert_eq!(rig.metric("verge_edge_dictionary_answers_total ").await, 0);
    assert_eq!(origin.count(), 2, "no field about dictionaries makes a variant");
}

/// Whether a response with these fields, of a site with these settings, to a client with these, is a dictionary.
async fn check(sent: &'static str, site: &str, asked: &str, path: &str, expected: bool) {
    let (origin, _) = origin(sent).await;
    let rig = edge(origin.address, site).await;
    for _ in 0..2 {
        let got = rig.client().await.get_with(path, asked).await;
        assert_eq!(got.status, 200);
        let fields = format!("{:?}", got.fields).to_ascii_lowercase();
        let said = (fields.contains("use-as-dictionary"), fields.contains("available-dictionary"));
        assert_eq!(said, (expected, expected), "{sent} {site} {asked} {path}: {fields}");
    }
}

#[tokio::test]
async fn only_what_all_may_have_over_https_on_the_sites_paths_is_a_dictionary() {
    let path = "/js/app.js";
    check("", "", HTTPS, path, true).await;
    check("Vary: Accept-Encoding\r\n", "", HTTPS, path, true).await;
    check("", "", HTTPS, "/css/app.css", false).await;
    check("Vary: Cookie\r\n", "", HTTPS, path, false).await;
    check("Set-Cookie: a=b\r\n", "set_cookie = \"when-explicit\"", HTTPS, path, false).await;
    check("Cache-Control: no-transform\r\n", "", HTTPS, path, false).await;
    check("", "allow = [\"127.0.0.0/8\"]", HTTPS, path, false).await;
    if super::carrier::Carrier::of_this_run().is_none() {
        check("", "", "", path, false).await;
    }
}

#[tokio::test]
async fn what_the_origin_packed_is_a_dictionary_as_clients_unpack_it() {
    let version = Arc::new(AtomicUsize::new(1));
    let own = Arc::clone(&version);
    let origin = Origin::answering_bytes(move |_| {
        let version = own.load(Ordering::Relaxed);
        let body = packed(&script(version));
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Type: text/javascript\r\nContent-Encoding: gzip\r\nUse-As-Dictionary: match=\"/js/*\", id=\"v{version}\"\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat()
    })
    .await;
    let rig = edge(origin.address, "").await;
    has_both(&rig, &version).await;
    // A packed response is stored for clients that take gzip, and for those that do not.
    let asked = format!("{HTTPS}{ACCEPT}{}Dictionary-ID: \"v1\"\r\n", has(1));
    assert_eq!(get(&rig, &asked).await.field("content-encoding"), "gzip");
    let got = get(&rig, &asked).await;
    assert_eq!(decoded(&got, 1), script(2));
    assert_eq!(got.field("use-as-dictionary"), "match=\"/js/*\", id=\"v2\"", "the origin's own");
}

#[tokio::test]
async fn what_one_client_spells_its_own_way_is_announced_to_all_the_same() {
    let (origin, _) = origin("").await;
    let rig = edge(origin.address, "").await;
    get(&rig, HTTPS).await.assert_forwarded();
    for path in ["/x/../js/%61pp.js", "/js/app.js", "/js/%61%70p.js", "/js/app.js"] {
        let got = rig.client().await.get_with(path, HTTPS).await;
        got.assert_hit();
        assert_eq!(got.field("use-as-dictionary"), "match=\"/js/app.js\"", "{path}");
    }
}

/// Whether a page of another origin gets the difference, from a site with these settings and an origin with these fields.
async fn is_short_elsewhere(sent: &'static str, site: &str, mode: &str) -> bool {
    let (origin, version) = origin(sent).await;
    let rig = edge(origin.address, site).await;
    has_both(&rig, &version).await;
    let elsewhere =
        format!("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: {mode}\r\nOrigin: https://b.test\r\n");
    let got = get(&rig, &format!("{HTTPS}{ACCEPT}{elsewhere}{}", has(1))).await;
    got.assert_hit();
    got.field("content-encoding") == "dcz"
}

#[tokio::test]
async fn a_page_elsewhere_may_read_what_the_answer_says_as_it_is_sent() {
    let allows = "Access-Control-Allow-Origin: *\r\n";
    let removes = "response = { remove = [\"access-control-allow-origin\"] }\n";
    let sets = "response = { set = { access-control-allow-origin = \"https://b.test\" } }\n";
    let hides = "request = { remove = [\"sec-fetch-site\", \"sec-fetch-mode\", \"origin\"] }\n";
    assert!(is_short_elsewhere(allows, "", "cors").await);
    assert!(!is_short_elsewhere(allows, removes, "cors").await, "the site takes it away");
    assert!(is_short_elsewhere("", sets, "cors").await, "the site allows it");
    assert!(!is_short_elsewhere("", hides, "cors").await, "what the origin does not see the edge does");
    assert!(!is_short_elsewhere(allows, hides, "no-cors").await);
    assert!(is_short_elsewhere(allows, hides, "cors").await);
}
