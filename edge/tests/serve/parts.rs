//! Parts of large objects: fetched once, joined when they are of one representation, never more than what is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rig::{Origin, Rig, response};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

fn letters(length: usize) -> String {
    (0..length).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect()
}

/// An object at an origin that knows ranges, and how many bytes of it were sent.
struct Ranged {
    body: String,
    tag: &'static str,
    sent_bytes: AtomicU64,
}

impl Ranged {
    fn new(body: String, tag: &'static str) -> Arc<Self> {
        Arc::new(Self { body, tag, sent_bytes: AtomicU64::new(0) })
    }

    async fn origin(self: &Arc<Self>) -> Arc<Origin> {
        let object = Arc::clone(self);
        Origin::answering(move |head| object.answer(head)).await
    }

    fn answer(&self, head: &str) -> String {
        let fields = format!("{FRESH}ETag: {}\r\nAccept-Ranges: bytes\r\n", self.tag);
        let holds = field(head, "if-range").is_none_or(|tag| tag == self.tag);
        let range = field(head, "range").filter(|_| holds).and_then(|range| self.range(&range));
        let (status, content_range, body) = match range {
            Some((first, last)) => {
                let line = format!("Content-Range: bytes {first}-{last}/{}\r\n", self.body.len());
                ("206 Partial Content", line, &self.body[first..=last])
            }
            None => ("200 OK", String::new(), &self.body[..]),
        };
        self.sent_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        response(status, &format!("{fields}{content_range}"), body)
    }

    fn range(&self, range: &str) -> Option<(usize, usize)> {
        let end = self.body.len() - 1;
        match range.strip_prefix("bytes=")?.split_once('-')? {
            ("", suffix) => Some((self.body.len() - suffix.parse::<usize>().ok()?, end)),
            (first, "") => Some((first.parse().ok()?, end)),
            (first, last) => Some((first.parse().ok()?, last.parse::<usize>().ok()?.min(end))),
        }
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
}

/// The range that each request at the origin asked for.
fn ranges(origin: &Origin) -> Vec<String> {
    origin.seen().iter().map(|head| field(head, "range").unwrap_or_default()).collect()
}

/// Asks for a range of `object` and checks the bytes; the `Cache-Status`.
async fn range(rig: &Rig, object: &Ranged, first: usize, last: usize) -> String {
    let got = rig.client().await.get_with("/a", &format!("Range: bytes={first}-{last}\r\n")).await;
    assert_eq!((got.status, got.text().as_str()), (206, &object.body[first..=last]));
    assert_eq!(got.field("content-range"), format!("bytes {first}-{last}/{}", object.body.len()));
    got.cache_status()
}

#[tokio::test]
async fn a_stored_part_is_completed_by_its_rest() {
    for (stored, rest) in [("bytes=0-9999", "bytes=10000-"), ("bytes=-10000", "bytes=0-39999")] {
        let object = Ranged::new(letters(50_000), "\"v1\"");
        let origin = object.origin().await;
        let rig = Rig::start(&[origin.address]).await;
        rig.client().await.get_with("/a", &format!("Range: {stored}\r\n")).await;
        let whole = rig.get("/a").await;
        assert_eq!((whole.status, whole.text()), (200, object.body.clone()));
        assert_eq!(
            (whole.field("content-range"), whole.field("content-length")),
            (String::new(), "50000".into())
        );
        let hit = rig.get("/a").await;
        hit.assert_hit();
        assert_eq!(hit.text(), object.body);
        assert_eq!(ranges(&origin), [stored, rest]);
        assert_eq!(field(&origin.seen()[1], "if-range").as_deref(), Some("\"v1\""));
        assert_eq!(object.sent_bytes.load(Ordering::Relaxed), 50_000);
    }
}

#[tokio::test]
async fn parts_of_different_representations_are_not_joined() {
    let (old, new) = (Ranged::new(letters(50_000), "\"v1\""), Ranged::new(letters(50_001), "\"v2\""));
    // One origin heeds If-Range, the other sends the new representation's rest all the same.
    for heeds in [true, false] {
        let (first, then) = (Arc::clone(&old), Arc::clone(&new));
        let origin = Origin::answering(move |head| match field(head, "if-range") {
            Some(_) if heeds => then.answer(head),
            Some(_) => then.answer(&head.replace("if-range", "x")),
            None if head.to_ascii_lowercase().contains("range:") => first.answer(head),
            None => then.answer(head),
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        rig.client().await.get_with("/a", "Range: bytes=0-9999\r\n").await;
        assert_eq!(rig.get("/a").await.text(), new.body);
        let hit = rig.get("/a").await;
        hit.assert_hit();
        assert_eq!((hit.text(), hit.field("etag")), (new.body.clone(), "\"v2\"".into()));
        assert_eq!(origin.count(), if heeds { 2 } else { 3 });
    }
}

#[tokio::test]
async fn a_rest_that_is_shorter_than_it_says_is_not_joined() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let part = |range: &str| format!("{FRESH}ETag: \"v1\"\r\nContent-Range: bytes {range}/10\r\n");
    let mut client = rig.client().await;
    client.send_get("/a", "Range: bytes=0-4\r\n").await;
    origin.next().await.respond(&response("206 Partial Content", &part("0-4"), "01234")).await;
    client.response().await;
    client.send_get("/a", "").await;
    let mut rest = origin.next().await;
    let answer = response("206 Partial Content", &part("5-9"), "567");
    rest.write(&answer.as_bytes()[..answer.len() - 2]).await;
    let head = client.head().await;
    rest.write(b"67").await;
    rest.done();
    // The edge asks for what is missing still; another version is no rest of this one.
    let again = origin.next().await;
    assert!(
        format!("{}\r\n", again.head.to_ascii_lowercase()).contains("range: bytes=8-\r\n"),
        "{}",
        again.head
    );
    again.respond(&response("200 OK", &format!("{FRESH}ETag: \"v2\"\r\n"), "0123456789")).await;
    assert_eq!(client.body(&head).await, None, "the body must not look whole");
    let mut client = rig.client().await;
    client.send_get("/a", "Range: bytes=0-4\r\n").await;
    assert_eq!(client.response().await.text(), "01234", "the stored part is still there");
}

/// RFC 9110 §14.4: a client would put the bytes beyond the range into a wrong place. Stored or not, with a length or in
/// chunks, the answer breaks off, and nothing of it is kept.
#[tokio::test]
async fn a_part_that_is_longer_than_its_range_looks_whole_to_nobody() {
    for keeping in [FRESH, "Cache-Control: no-store\r\n"] {
        for (fields, sent) in [
            ("Content-Length: 8\r\n", "01234567"),
            ("Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n3\r\n567\r\n0\r\n\r\n"),
            ("Connection: close\r\n", "01234567"),
        ] {
            let origin = Origin::start().await;
            let rig = Rig::start(&[origin.address]).await;
            let mut client = rig.client().await;
            client.send_get("/a", "Range: bytes=0-4\r\n").await;
            let range = "Content-Range: bytes 0-4/10\r\n";
            let head = format!("HTTP/1.1 206 Partial Content\r\n{keeping}{range}{fields}\r\n");
            origin.next().await.respond(&format!("{head}{sent}")).await;
            // The connection may end before hyper has written the head.
            let got = client.until_the_end().await.unwrap_or_default();
            // A head may name a port with these digits.
            let body = got.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(!body.contains("567") && !got.ends_with("0\r\n\r\n"), "{keeping}{fields}: {got}");
            let mut client = rig.client().await;
            client.send_get("/a", "Range: bytes=0-4\r\n").await;
            let right = response("206 Partial Content", &format!("{FRESH}{range}"), "01234");
            origin.next().await.respond(&right).await;
            assert_eq!(client.response().await.text(), "01234", "{keeping}{fields}");
        }
    }
}

#[tokio::test]
async fn ranges_of_a_large_object_are_fetched_slice_by_slice_and_once() {
    let object = Ranged::new(letters(5_000_000), "\"v1\"");
    let origin = object.origin().await;
    let rig = Rig::start(&[origin.address]).await;
    // An unknown object is fetched as asked; then the slice, whole.
    for (first, last, asked) in [
        (10, 10, Some("bytes=10-10")),
        (2_000_000, 2_000_009, Some("bytes=1048576-2097151")),
        (1_048_576, 1_048_577, None),
        (2_097_000, 2_097_151, None),
        (10, 10, None),
        (3_000_000, 3_000_009, Some("bytes=2097152-3145727")),
        (2_000_100, 2_000_109, None),
        (0, 9, Some("bytes=0-1048575")),
        (4_999_990, 4_999_999, Some("bytes=4194304-")),
        (1_048_000, 1_048_100, None),
    ] {
        let before = origin.count();
        let status = range(&rig, &object, first, last).await;
        let seen = ranges(&origin)[before..].to_vec();
        assert_eq!(seen, asked.into_iter().collect::<Vec<_>>(), "{first}-{last}: {status}");
        assert_eq!(status.contains("hit"), asked.is_none(), "{first}-{last}: {status}");
        // The rest of a slice may come when the client has had its part of it.
        rig.until("verge_edge_fetches", 0).await;
    }
    assert_eq!(rig.purge("/a").await.status, 200);
    assert!(
        !range(&rig, &object, 2_000_000, 2_000_009).await.contains("hit"),
        "a purge takes the slices too"
    );
}

#[tokio::test]
async fn a_small_object_that_is_asked_for_in_ranges_is_fetched_whole() {
    let object = Ranged::new(letters(50_000), "\"v1\"");
    let origin = object.origin().await;
    let rig = Rig::start(&[origin.address]).await;
    range(&rig, &object, 0, 9).await;
    range(&rig, &object, 40_000, 40_009).await;
    rig.get("/a").await.assert_hit();
    assert_eq!(ranges(&origin), ["bytes=0-9", ""]);
}

#[tokio::test]
async fn clients_that_ask_in_one_slice_cause_one_fetch() {
    let object = Ranged::new(letters(3_000_000), "\"v1\"");
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Range: bytes=0-0\r\n").await;
    let asked = origin.next().await;
    let answer = object.answer(&asked.head);
    asked.respond(&answer).await;
    client.response().await;
    let mut clients = Vec::new();
    for n in 0..5 {
        let (first, mut client) = (2_000_000 + n * 100, rig.client().await);
        client.send_get("/a", &format!("Range: bytes={first}-{}\r\n", first + 9)).await;
        clients.push((first, client));
    }
    let asked = origin.next().await;
    let answer = object.answer(&asked.head);
    asked.respond(&answer).await;
    for (first, client) in &mut clients {
        assert_eq!(client.response().await.text(), object.body[*first..*first + 10]);
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_slice_of_another_representation_takes_the_place_of_the_old_ones() {
    let (old, new) = (Ranged::new(letters(3_000_000), "\"v1\""), Ranged::new(letters(3_000_001), "\"v2\""));
    let (first, then) = (Arc::clone(&old), Arc::clone(&new));
    let origin = Origin::answering(move |head| {
        if field(head, "range").as_deref() == Some("bytes=0-9") {
            first.answer(head)
        } else {
            then.answer(head)
        }
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    range(&rig, &old, 0, 9).await;
    range(&rig, &new, 2_000_000, 2_000_009).await;
    rig.until("verge_edge_fetches", 0).await;
    assert!(!range(&rig, &new, 0, 8).await.contains("hit"), "the old part is gone");
}

/// RFC 9110 §13.1.5: a client would append a part of the new representation to what it has of the old one.
#[tokio::test]
async fn a_client_with_if_range_gets_the_whole_of_what_has_changed() {
    let (old, new) = (Ranged::new(letters(3_000_000), "\"v1\""), Ranged::new(letters(3_000_001), "\"v2\""));
    for (passed, asked) in [(0, "2000000-2000009"), (61, "5-99")] {
        let (first, then, has_changed) = (Arc::clone(&old), Arc::clone(&new), Arc::new(AtomicU64::new(0)));
        let changed = Arc::clone(&has_changed);
        let origin = Origin::answering(move |head| match changed.load(Ordering::Relaxed) {
            0 => first.answer(head),
            _ => then.answer(head),
        })
        .await;
        let rig = Rig::start(&[origin.address]).await;
        rig.client().await.get_with("/a", "Range: bytes=0-9999\r\n").await;
        rig.pass(passed);
        has_changed.store(1, Ordering::Relaxed);
        let fields = format!("Range: bytes={asked}\r\nIf-Range: \"v1\"\r\n");
        let got = rig.client().await.get_with("/a", &fields).await;
        assert_eq!((got.status, got.field("etag").as_str()), (200, "\"v2\""), "{asked}");
        assert!(got.text() == new.body, "{asked}");
    }
}

#[tokio::test]
async fn a_range_is_cut_from_a_fill_under_way() {
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let body = letters(3_000_000);
    let mut whole = rig.client().await;
    whole.send_get("/a", "").await;
    let mut asked = origin.next().await;
    asked.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await;
    assert_eq!(whole.head().await.status, 200);
    asked.write(&body.as_bytes()[..20_000]).await;
    assert_eq!(whole.bytes(20_000).await.len(), 20_000);
    let got = rig.client().await.get_with("/a", "Range: bytes=15000-15009\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (206, &body[15_000..15_010]));
    assert!(got.cache_status().contains("collapsed"), "{got:?}");
    // A range far ahead of the fill is asked for.
    let mut far = rig.client().await;
    far.send_get("/a", "Range: bytes=2900000-2900001\r\n").await;
    let ranged = origin.next().await;
    assert_eq!(field(&ranged.head, "range").as_deref(), Some("bytes=2900000-2900001"));
}

#[tokio::test]
async fn a_stale_part_is_validated_with_the_range_so_that_a_change_costs_no_more() {
    let object = Ranged::new(letters(3_000_000), "\"v2\"");
    let origin = Origin::start().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    client.send_get("/a", "Range: bytes=0-9\r\n").await;
    let fields = format!("{FRESH}ETag: \"v1\"\r\nContent-Range: bytes 0-9/3000000\r\n");
    origin.next().await.respond(&response("206 Partial Content", &fields, "0123456789")).await;
    client.response().await;
    rig.pass(61);
    client.send_get("/a", "Range: bytes=0-9\r\n").await;
    let asked = origin.next().await;
    assert_eq!(field(&asked.head, "if-none-match").as_deref(), Some("\"v1\""));
    assert_eq!(field(&asked.head, "range").as_deref(), Some("bytes=0-9"));
    let answer = object.answer(&asked.head);
    asked.respond(&answer).await;
    assert_eq!(client.response().await.text(), object.body[..10]);
}

/// RangeAmp, small byte ranges: an origin sends about what the attacker gets.
#[tokio::test]
async fn a_byte_of_many_large_objects_costs_a_byte_each() {
    let object = Ranged::new(letters(25_000_000), "\"v1\"");
    let origin = object.origin().await;
    let rig = Rig::start(&[origin.address]).await;
    let mut client = rig.client().await;
    for n in 0..100 {
        let got = client.get_with(&format!("/a?q={n}"), "Range: bytes=0-0\r\n").await;
        assert_eq!((got.status, got.body.len()), (206, 1));
    }
    assert_eq!(object.sent_bytes.load(Ordering::Relaxed), 100);
}

/// RangeAmp, overlapping byte ranges: an answer is no longer than the object.
#[tokio::test]
async fn many_overlapping_ranges_get_no_more_than_the_whole() {
    let object = Ranged::new(letters(100_000), "\"v1\"");
    let origin = object.origin().await;
    let rig = Rig::start(&[origin.address]).await;
    rig.get("/a").await.assert_forwarded();
    for ranges in [vec!["0-"; 1000], vec!["0-"; 60], vec!["0-49999", "1-", "2-", "-99999"]] {
        let got = rig.client().await.get_with("/a", &format!("Range: bytes={}\r\n", ranges.join(","))).await;
        assert!(got.body.len() <= 110_000, "{} ranges: {} bytes", ranges.len(), got.body.len());
    }
    assert_eq!(object.sent_bytes.load(Ordering::Relaxed), 100_000);
}

/// RFC 9110 §14.1: a unit may be any, and what it counts only its origin knows. PostgREST has pages of its lists so.
#[tokio::test]
async fn a_page_in_a_unit_of_the_origins_own_is_the_origins_to_give() {
    let origin = Origin::answering(|head| match field(head, "range") {
        Some(range) => {
            let range = range.trim_start_matches("items=");
            response("206 Partial Content", &format!("{FRESH}Content-Range: {range}/30\r\n"), range)
        }
        None => response("200 OK", FRESH, "all"),
    })
    .await;
    let rig = Rig::start(&[origin.address]).await;
    for range in ["items=0-9", "items=10-19", "20-29"] {
        let got =
            rig.client().await.get_with("/list", &format!("Range: {range}\r\nRange-Unit: items\r\n")).await;
        let page = range.trim_start_matches("items=");
        assert_eq!((got.status, got.text().as_str()), (206, page), "{got:?}");
        assert_eq!(got.field("content-range"), format!("{page}/30"));
        assert!(got.cache_status().contains("fwd=request; fwd-status=206"), "{got:?}");
        assert_eq!(field(origin.seen().last().unwrap(), "range").as_deref(), Some(range));
    }
    // The list as a whole is kept, and is no page.
    assert_eq!(rig.get("/list").await.text(), "all");
    rig.get("/list").await.assert_hit();
    let page = rig.client().await.get_with("/list", "Range: items=0-9\r\n").await;
    assert_eq!((page.status, page.text().as_str()), (206, "0-9"), "{page:?}");
    assert_eq!(rig.client().await.get_with("/list", "Range: bytes=0-0\r\n").await.text(), "a");
}
