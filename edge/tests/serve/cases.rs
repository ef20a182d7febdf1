//! Cases from public reports and from real programs: in front of each, other caches or an older edge did something else.
//!
//! The numbers are those of the collection. [`KEPT`] says which test keeps each of them; most are steps of a table here.

mod odd;
mod visitors;

use std::collections::BTreeSet;
use std::path::Path;

use super::rig::{Client, Got, Origin, Rig, response};

/// One request: the origin's part of it, if the origin is to be asked, and the right answer.
struct Step {
    after_secs: u64,
    request: String,
    asked_for: &'static [&'static str],
    says: Option<String>,
    status: u16,
    body: String,
    fields: Vec<(&'static str, &'static str)>,
}

/// A request by its first line without the version; answered by the edge alone.
fn ask(line: &str) -> Step {
    let request = format!("{line} HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let (body, fields) = (String::new(), Vec::new());
    Step { after_secs: 0, request, asked_for: &[], says: None, status: 200, body, fields }
}

impl Step {
    /// With these field lines, each with its CRLF.
    fn with(mut self, fields: &str) -> Self {
        self.request = self.request.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1);
        self
    }

    fn after(mut self, secs: u64) -> Self {
        self.after_secs = secs;
        self
    }

    /// The origin is asked, with all of this in the head, and answers so.
    fn origin(mut self, asked_for: &'static [&'static str], says: String) -> Self {
        (self.asked_for, self.says) = (asked_for, Some(says));
        self
    }

    /// The origin is asked and says 200 with these fields and this body.
    fn found(self, fields: &str, body: &str) -> Self {
        self.origin(&[], response("200 OK", fields, body))
    }

    fn gets(mut self, status: u16, body: &str) -> Self {
        (self.status, self.body) = (status, body.to_owned());
        self
    }

    /// A field of the right answer; empty: it is not there.
    fn has(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }
}

async fn check(case: &str, site: &str, steps: Vec<Step>) {
    let origin = Origin::start().await;
    let rig = Rig::with(&[origin.address], "", site).await;
    for (index, step) in steps.into_iter().enumerate() {
        rig.pass(step.after_secs);
        let mut client = rig.client().await;
        client.write(step.request.as_bytes()).await;
        if let Some(says) = &step.says {
            let asked = origin.next().await;
            for part in step.asked_for {
                assert!(asked.head.contains(part), "{case}, step {index}: {part} in {}", asked.head);
            }
            asked.respond(says).await;
        }
        let got = answer(&mut client, &step.request).await;
        let expected = (step.status, step.body.as_str());
        assert_eq!((got.status, got.text().as_str()), expected, "{case}, step {index}: {got:?}");
        for (name, value) in step.fields {
            assert_eq!(got.field(name), value, "{case}, step {index}, {name}: {got:?}");
        }
        assert_eq!(origin.waiting(), 0, "{case}, step {index}: the origin is asked");
    }
}

async fn answer(client: &mut Client, request: &str) -> Got {
    if request.starts_with("HEAD ") { client.head().await } else { client.response().await }
}

const HOUR: &str = "Cache-Control: public, max-age=3600\r\n";
const OLD: &str = "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n";

/// 1, 2, 3: Express with a session before its static files, Django's token, a handler that throws after both were set.
#[tokio::test]
async fn a_cookie_is_its_visitors_alone() {
    for (case, status, control) in [
        ("1", 200, HOUR),
        ("2", 200, "Cache-Control: public, max-age=60\r\n"),
        ("3", 500, "Cache-Control: s-maxage=600\r\n"),
    ] {
        let visitor = |cookie: &'static str| {
            let line = if status == 200 { "200 OK" } else { "500 Internal Server Error" };
            let says = response(line, &format!("{control}Set-Cookie: {cookie}\r\n"), cookie);
            ask("GET /app.css").origin(&[], says).gets(status, cookie).has("set-cookie", cookie)
        };
        check(case, "", vec![visitor("sid=visitor-1"), visitor("sid=visitor-2")]).await;
    }
}

/// 5, 6, 7: apt, pip, and a browser's reload ask for what is only guessed to be fresh.
#[tokio::test]
async fn a_guess_at_freshness_gives_way_to_a_client_that_asks() {
    for asking in [
        "Cache-Control: max-age=0\r\n",
        "Cache-Control: no-cache\r\n",
        "Cache-Control: no-cache;\r\n",
        "Pragma: no-cache\r\n",
        "Pragma: no-cache\r\nCache-Control: no-transform\r\n",
        "Pragma: no-cache\r\nCache-Control:\r\n",
    ] {
        let steps = vec![
            ask("GET /Packages").found(OLD, "v1").gets(200, "v1"),
            ask("GET /Packages").gets(200, "v1"),
            ask("GET /Packages")
                .with(asking)
                .origin(&["if-modified-since: Sat, 01 Jan 2000"], response("200 OK", OLD, "v2"))
                .gets(200, "v2"),
            ask("GET /Packages").gets(200, "v2"),
        ];
        check("5, 6, 7", "", steps).await;
    }
    let off = vec![
        ask("GET /feed/").found(OLD, "v1").gets(200, "v1"),
        ask("GET /feed/").found(OLD, "v2").gets(200, "v2"),
    ];
    check("7", "heuristic = \"0s\"", off).await;
}

/// 13: a framework sets a lifetime before the handler throws.
#[tokio::test]
async fn an_error_lives_for_seconds_and_replaces_nothing_good() {
    for status in ["500 x", "503 x", "429 x"] {
        let code = status[..3].parse().unwrap();
        let fails = || ask("GET /a").origin(&[], response(status, HOUR, "broken")).gets(code, "broken");
        let steps = vec![fails(), ask("GET /a").gets(code, "broken"), fails().after(6)];
        check("13, first", "", steps).await;
    }
    let steps = vec![
        ask("GET /a").found("Cache-Control: max-age=1\r\n", "good").gets(200, "good"),
        ask("GET /a").after(2).origin(&[], response("500 x", HOUR, "broken")).gets(200, "good"),
        ask("GET /a").after(7).found(HOUR, "better").gets(200, "better"),
    ];
    check("13, instead of a good one", "stale_if_error = \"1h\"", steps).await;
}

/// 21: a window beside s-maxage stays closed by the RFC, and one without a number is none.
#[tokio::test]
async fn a_window_for_stale_answers_is_open_where_the_response_opens_it() {
    for (control, is_open) in [
        ("max-age=1, stale-while-revalidate=60", true),
        ("s-maxage=1, stale-while-revalidate=60", false),
        ("max-age=1, stale-while-revalidate", false),
    ] {
        let fields = format!("Cache-Control: {control}\r\n");
        let again = ask("GET /a").after(2).found(&fields, "n2");
        let again = if is_open { again.gets(200, "n1") } else { again.gets(200, "n2") };
        check("21", "", vec![ask("GET /a").found(&fields, "n1").gets(200, "n1"), again]).await;
    }
}

/// 25: a bucket that answers with `Vary: Origin` only where there is an Origin.
#[tokio::test]
async fn a_key_may_hold_the_origin_of_a_script() {
    let cors =
        "Cache-Control: max-age=60\r\nVary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n";
    let script = || ask("GET /font").with("Origin: https://a.example\r\n").gets(200, "font");
    let steps = vec![
        ask("GET /font").found("Cache-Control: max-age=60\r\n", "font").gets(200, "font"),
        script().found(cors, "font").has("access-control-allow-origin", "https://a.example"),
        script().has("access-control-allow-origin", "https://a.example"),
        ask("GET /font").gets(200, "font").has("access-control-allow-origin", ""),
    ];
    check("25", "key.headers = [\"origin\"]", steps).await;
}

/// 27: RFC 9111 §4.3.4: a 304 speaks of what it names; another strong tag is another representation.
#[tokio::test]
async fn a_304_freshens_what_it_names() {
    const SECOND: &str = "Cache-Control: max-age=1\r\n";
    for (stored, told, is_same) in [
        ("\"abc-gzip\"", Some("\"abc\""), false),
        ("\"abc\"", Some("W/\"abc\""), true),
        ("W/\"abc\"", Some("\"abc\""), false),
        ("\"abc\"", None, true),
        ("\"abc\"", Some("\"zzz\""), false),
    ] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.send_get("/a", "").await;
        origin.next().await.respond(&response("200 OK", &format!("{SECOND}ETag: {stored}\r\n"), "old")).await;
        client.response().await;
        rig.pass(2);
        client.send_get("/a", "").await;
        let tag = told.map(|tag| format!("ETag: {tag}\r\n")).unwrap_or_default();
        origin.next().await.respond(&format!("HTTP/1.1 304 Not Modified\r\n{SECOND}{tag}\r\n")).await;
        if !is_same {
            let whole = origin.next().await;
            assert!(!whole.head.contains("if-none-match"), "{stored} {told:?}");
            whole.respond(&response("200 OK", SECOND, "new")).await;
        }
        let got = client.response().await;
        let expected = if is_same { "old" } else { "new" };
        assert_eq!((got.status, got.text().as_str()), (200, expected), "{stored} {told:?}");
    }
}

/// 28: a length or a coding where there is no body (RFC 9112 §6.3) keeps nobody waiting, and the connection serves again.
#[tokio::test]
async fn an_answer_without_a_body_ends_with_its_head() {
    for framing in ["Transfer-Encoding: chunked\r\n", "Content-Length: 500\r\n"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.write(b"HEAD /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        origin.next().await.respond(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n")).await;
        assert_eq!(client.head().await.status, 200);
        client.send_get("/b", "If-None-Match: \"b\"\r\n").await;
        let not_modified = format!("HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\n{framing}\r\n");
        origin.next().await.respond(&not_modified).await;
        assert_eq!(client.response().await.status, 304);
        client.send_get("/c", "").await;
        origin.next().await.respond(&response("200 OK", "", "c")).await;
        assert_eq!((client.response().await.text().as_str(), origin.connections()), ("c", 1), "{framing}");
    }
}

/// 29: RFC 9112 §9.3: an origin that says 413 to the head is heard, and the upload need not end.
#[tokio::test]
async fn an_early_refusal_of_an_upload_reaches_its_client() {
    for framing in ["Content-Length: 20000000", "Transfer-Encoding: chunked"] {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address]).await;
        let mut client = rig.client().await;
        client.write(format!("POST /up HTTP/1.1\r\nHost: site.test\r\n{framing}\r\n\r\n").as_bytes()).await;
        client.write(b"5\r\nhello\r\n").await;
        let mut asked = origin.next().await;
        asked.write(response("413 Content Too Large", "Connection: close\r\n", "too long").as_bytes()).await;
        let got = client.response().await;
        assert_eq!((got.status, got.text().as_str()), (413, "too long"), "{framing}");
    }
}

/// 35, 50: pieces of an answer arrive one by one as they come, while the request may still be on its way.
#[tokio::test]
async fn pieces_arrive_as_they_are_sent_both_ways() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.write(b"POST /talk HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    for word in ["one", "two", "end"] {
        let piece = format!("3\r\n{word}\r\n");
        client.write(piece.as_bytes()).await;
        assert_eq!(asked.read(piece.len()).await, piece.as_bytes());
        asked.write(piece.as_bytes()).await;
        assert_eq!(client.bytes(piece.len()).await, piece.as_bytes());
    }
    let mut listener = rig.client().await;
    listener.send_get("/events", "Accept: text/event-stream\r\n").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    assert_eq!(listener.head().await.status, 200);
    for _ in 0..5 {
        rig.pass(15);
        asked.write(b":\n\n").await;
        assert_eq!(listener.bytes(8).await, b"3\r\n:\n\n\r\n");
    }
}

/// 43: keys of a bucket are whole paths; each arrives as it was asked for, and dot segments go (RFC 3986 §5.2.4).
#[tokio::test]
async fn odd_names_in_a_bucket_arrive_as_they_are() {
    for (asked_for, arrives) in [
        ("/b//x", "/b//x"),
        ("/b/a%20b", "/b/a%20b"),
        ("/b/a+b", "/b/a+b"),
        ("/b/a&b=c", "/b/a&b=c"),
        ("/b/a%3Fb%23c%25", "/b/a%3Fb%23c%25"),
        ("/b/%C3%BC", "/b/%C3%BC"),
        ("/b/it's", "/b/it's"),
        ("/b/x/../y", "/b/y"),
        ("/b?list-type=2&prefix=a%2Fb", "/b?list-type=2&prefix=a%2Fb"),
    ] {
        let origin = Origin::answering(|head| response("200 OK", "", head)).await;
        let rig = Rig::start(&[origin.address]).await;
        let target = rig.get(asked_for).await.text().split(' ').nth(1).unwrap().to_owned();
        assert_eq!(target, arrives, "{asked_for}");
    }
}

/// 44, 45, 46: the shapes of git's smart protocol, a registry of images and one of packages.
#[tokio::test]
async fn protocols_over_http_go_through() {
    const NEVER: &str =
        "Cache-Control: no-cache, max-age=0, must-revalidate\r\nExpires: Fri, 01 Jan 1980 00:00:00 GMT\r\n";
    let refs = |body: &'static str| {
        ask("GET /r.git/info/refs?service=git-upload-pack")
            .with("Git-Protocol: version=2\r\n")
            .origin(&["git-protocol: version=2"], response("200 OK", NEVER, body))
            .gets(200, body)
    };
    check("44", "", vec![refs("0001"), refs("0002")]).await;
    let moved = "Location: /v2/a/blobs/uploads/1\r\nDocker-Upload-UUID: 1\r\nRange: 0-0\r\n";
    let registry = vec![
        ask("HEAD /v2/a/blobs/sha256:1").origin(&["HEAD "], response("404 Not Found", "", "")).gets(404, ""),
        ask("POST /v2/a/blobs/uploads/")
            .with("Content-Length: 0\r\n")
            .origin(&["POST "], response("202 Accepted", moved, ""))
            .gets(202, "")
            .has("location", "/v2/a/blobs/uploads/1")
            .has("docker-upload-uuid", "1"),
        ask("PUT /v2/a/blobs/uploads/1?digest=sha256:1")
            .with("Content-Length: 0\r\n")
            .origin(&["?digest=sha256:1"], response("201 Created", "", ""))
            .gets(201, ""),
        ask("GET /v2/a/blobs/sha256:1").found(HOUR, "layer").gets(200, "layer"),
        ask("GET /v2/a/blobs/sha256:1").with("Range: bytes=1-2\r\n").gets(206, "ay"),
    ];
    check("45", "", registry).await;
    let varies = "Cache-Control: max-age=300\r\nVary: accept, accept-encoding\r\nETag: \"1\"\r\n";
    let packument = |accept: &str| ask("GET /left-pad").with(&format!("Accept: {accept}\r\n"));
    let npm = vec![
        packument("application/json").found(varies, "full").gets(200, "full"),
        packument("application/vnd.npm.install-v1+json").found(varies, "short").gets(200, "short"),
        packument("application/json").gets(200, "full"),
        packument("application/vnd.npm.install-v1+json").gets(200, "short"),
    ];
    check("46", "", npm).await;
}

/// 47: a live playlist says nothing, `no-cache` or a second; its segments are kept.
#[tokio::test]
async fn a_live_playlist_is_never_old() {
    for control in ["", "Cache-Control: no-cache\r\n", "Cache-Control: max-age=1\r\n"] {
        let list = |body: &str| ask("GET /live.m3u8").after(2).found(control, body).gets(200, body);
        let segment = || ask("GET /seg1.ts").gets(200, "video");
        let steps = vec![list("seg1"), segment().found(HOUR, "video"), list("seg2"), segment()];
        check("47", "", steps).await;
    }
}

/// 21: what people write in Cache-Control: a lifetime that is not right is none (RFC 9111 §4.2.1).
#[tokio::test]
async fn a_lifetime_counts_only_as_the_rfc_writes_it() {
    for (control, is_fresh) in [
        ("max-age=60, max-age=0", true),
        ("maxage=60", false),
        ("max-age = 60", false),
        ("max-age=\"60\"", true),
        ("max-age=60; public", false),
        ("public max-age=3600", false),
        ("Max-Age=60", true),
        ("max-age=60.5", false),
        ("max-age=1e3", false),
        ("max-age=-1", false),
        ("max-age='60'", false),
        ("no-cache=\"Set-Cookie\", max-age=60", true),
        ("max-age=60,,", true),
        ("public, max-age=31536000, immutable, s-max-age=60", true),
    ] {
        let fields = format!("Cache-Control: {control}\r\n");
        let first = ask("GET /a").found(&fields, "1").gets(200, "1");
        let second =
            if is_fresh { ask("GET /a").gets(200, "1") } else { ask("GET /a").found("", "2").gets(200, "2") };
        check(control, "", vec![first, second]).await;
    }
}

/// The tests that keep each case. The real programs of 1, 5, 6, 15, 43, 44, 45 and 46 run in `.ci/real-stacks`, too.
const KEPT: &[(&[u8], &str)] = &[
    (&[1, 2, 3], "serve/cases::a_cookie_is_its_visitors_alone"),
    (&[1], "serve/rules::no_visitor_gets_the_session_of_another"),
    (&[4], "serve/reused::what_may_be_repeated_is_sent_again_when_a_used_connection_closes_before_an_answer"),
    (&[5, 6, 7], "serve/cases::a_guess_at_freshness_gives_way_to_a_client_that_asks"),
    (
        &[8],
        "serve/forwarding::a_method_override_reaches_the_origin_with_methods_that_the_store_never_answers",
    ),
    (&[9], "serve/targets::what_a_client_does_not_encode_is_encoded_and_shares_a_key_with_what_is"),
    (&[10, 11, 12], "serve/reused::a_response_is_read_as_it_was_meant_where_that_is_plain"),
    (&[13], "serve/cases::an_error_lives_for_seconds_and_replaces_nothing_good"),
    (&[14], "serve/reused::a_connection_that_stands_for_one_user_serves_nobody_else"),
    (&[15], "serve/upgrades::bytes_pass_both_ways_once_the_origin_has_agreed"),
    (&[16], "serve/codings::what_is_passed_is_encoded_for_each_client"),
    (&[17], "serve/behind::what_others_say_of_themselves_reaches_nobody"),
    (&[18], "program/names::the_start_tells_of_an_origin_that_is_not_found"),
    (&[19], "serve/endings::the_origin_hears_at_once_of_a_client_that_leaves_a_stream_of_events"),
    (&[20], "serve/sharing::requests_with_authorization_share_what_is_public_and_else_ask_at_once"),
    (&[20], "serve/sharing::who_polls_a_slow_page_that_is_not_shared_waits_for_nobody"),
    (&[21], "serve/cases::a_window_for_stale_answers_is_open_where_the_response_opens_it"),
    (&[21], "serve/cases::a_lifetime_counts_only_as_the_rfc_writes_it"),
    (&[21], "serve/settings::a_window_beside_s_maxage_counts_in_a_targeted_field"),
    (&[22], "serve/settings::the_first_targeted_field_that_is_there_rules_and_ends_here"),
    (&[23], "serve/purging::a_cms_purges_what_it_names_over_both_schemes"),
    (&[24], "serve/settings::requests_with_a_named_cookie_field_or_parameter_are_passed_by"),
    (&[25], "serve/cases::a_key_may_hold_the_origin_of_a_script"),
    (&[26], "serve/codings::what_an_origin_packs_unasked_is_readable_for_all"),
    (&[27], "serve/cases::a_304_freshens_what_it_names"),
    (&[28], "serve/cases::an_answer_without_a_body_ends_with_its_head"),
    (&[29], "serve/cases::an_early_refusal_of_an_upload_reaches_its_client"),
    (&[30], "serve/settings::a_clock_that_is_behind_is_named"),
    (&[31], "serve/renaming::a_stored_redirect_to_the_origins_own_name_is_right_for_each_host_that_asks"),
    (&[32], "serve/forwarding::a_move_and_a_copy_drop_what_was_stored_at_their_destination"),
    (&[33], "serve/slow::a_head_that_is_late_is_told_so_and_an_idle_connection_is_not"),
    (&[34], "serve/slow::a_request_body_that_drips_is_dropped_and_the_client_is_told"),
    (&[35, 50], "serve/cases::pieces_arrive_as_they_are_sent_both_ways"),
    (&[36], "serve/contents::an_old_origin_gets_names_with_capitals"),
    (&[36], "serve/contents::an_old_client_gets_names_with_capitals"),
    (&[37], "program/main::signals_do_not_end_it_and_sighup_reloads_its_config"),
    (&[38], "serve/operating::a_draining_edge_says_503_and_finishes_what_is_in_flight"),
    (&[39], "serve/origins::an_origin_that_does_not_answer_in_time_is_a_504"),
    (&[40], "serve/cases/odd::old_clients_and_strange_ones_are_answered"),
    (&[40], "serve/contents::an_origin_that_does_not_know_the_expectation_gets_the_content_all_the_same"),
    (&[41], "serve/cases/odd::odd_heads_of_origins_are_read"),
    (&[41], "serve/cases/odd::heads_of_origins_that_can_be_read_in_two_ways_are_refused"),
    (&[41], "serve/cases/odd::an_answer_that_an_origin_cuts_short_breaks_off"),
    (&[42], "serve/refreshing::an_error_of_one_is_not_that_of_all"),
    (&[43], "serve/cases::odd_names_in_a_bucket_arrive_as_they_are"),
    (&[44, 45, 46], "serve/cases::protocols_over_http_go_through"),
    (&[47], "serve/cases::a_live_playlist_is_never_old"),
    (&[48], "serve/parts::ranges_of_a_large_object_are_fetched_slice_by_slice_and_once"),
    (&[48], "serve/caching::an_object_that_turns_out_too_big_is_passed_on_whole_and_not_kept"),
    (&[49], "serve/contents::an_origin_that_wants_content_whole_gets_it_with_its_length"),
    (&[49], "serve/settings::cookies_that_do_not_count_reach_neither_key_nor_vary_nor_origin"),
    (&[51], "serve/purging::a_purge_that_takes_nothing_says_what_is_near"),
    (&[51], "serve/purging::what_is_not_one_purge_is_refused_with_what_to_write"),
];

#[test]
fn every_case_is_kept_by_a_test_that_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (_, test) in KEPT {
        let (file, name) = test.split_once("::").unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {name}()")), "{test} is gone");
    }
    let kept: BTreeSet<u8> = KEPT.iter().flat_map(|(cases, _)| *cases).copied().collect();
    assert_eq!(kept, (1..=51).collect());
}
