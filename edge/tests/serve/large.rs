//! Responses that are large beside memory: a disk has them, memory does not, and one that broke off goes on.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{Client, Got};
use super::origin::{Asked, Origin};
use super::rig::{Rig, soon};

/// Of 2 MiB of memory, what is larger than 128 KiB stays on the disk.
const BYTES: usize = 6 << 20;

/// An edge with little memory over this folder.
async fn edge(origin: SocketAddr, disk: &Path) -> Rig {
    edge_of("2MiB", origin, disk).await
}

/// An edge with so much memory over this folder.
async fn edge_of(memory: &str, origin: SocketAddr, disk: &Path) -> Rig {
    let folder = disk.display();
    let top = format!("[cache]\nmemory = \"{memory}\"\ndisk = {{ path = \"{folder}\", size = \"64MiB\" }}\n");
    let rig = Rig::with(&[origin], &top, "").await;
    let ready = async {
        while rig.metric("verge_edge_disk_up{").await != 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the disk is used", ready).await;
    rig
}

/// Letters that tell their place.
fn content(bytes: usize) -> String {
    let mut text: String = (0..).map(|n| format!("{n:07} ")).take(bytes / 8 + 1).collect();
    text.truncate(bytes);
    text
}

fn head(length: usize, more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nCache-Control: max-age=600\r\n{more}\r\n")
}

async fn answering(fields: &'static str) -> Arc<Origin> {
    Origin::answering(move |_| format!("{}{}", head(BYTES, fields), content(BYTES))).await
}

/// The files of responses in the folder.
fn files(disk: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let upper = below(disk).into_iter().filter(|path| path.is_dir());
    upper.flat_map(|folder| below(&folder)).flat_map(|folder| below(&folder)).collect()
}

fn is_from_disk(got: &Got) -> bool {
    got.cache_status().contains("; hit") && got.cache_status().ends_with("; detail=disk")
}

/// Bytes that the edge's store and its fills have in memory.
async fn in_memory(rig: &Rig) -> u64 {
    rig.metric("verge_edge_store_bytes ").await + rig.metric("verge_edge_fill_bytes ").await
}

#[tokio::test]
async fn what_is_larger_than_memory_is_kept_on_the_disk_and_answered_from_it() {
    let (origin, folder) = (answering("ETag: \"a\"\r\n").await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let mut rig = edge(origin.address, &disk).await;
    let first = rig.get("/film").await;
    first.assert_forwarded();
    assert!(first.cache_status().contains("stored"), "{}", first.cache_status());
    assert_eq!(first.text(), content(BYTES));
    for restarted in [false, true] {
        if restarted {
            rig.running.take().unwrap().drain().await;
            rig = edge(origin.address, &disk).await;
        }
        let got = rig.get("/film").await;
        assert!(is_from_disk(&got), "{:?}", got.fields);
        assert_eq!(got.text(), content(BYTES));
        let part = rig.client().await.get_with("/film", "Range: bytes=3000001-3200000\r\n").await;
        assert_eq!((part.status, part.text().as_str()), (206, &content(BYTES)[3_000_001..=3_200_000]));
        let parts = rig.client().await.get_with("/film", "Range: bytes=0-7,6000000-6000007\r\n").await;
        assert!(parts.status == 206 && parts.text().contains("\r\n\r\n0000000 \r\n"), "{}", parts.text());
        let tag = rig.client().await.get_with("/film", "If-None-Match: \"a\"\r\n").await;
        assert_eq!(tag.status, 304);
        assert!(in_memory(&rig).await < 1 << 20, "{}", in_memory(&rig).await);
    }
    assert_eq!((origin.count(), files(&disk).len()), (1, 1));
    rig.purge("/film").await;
    rig.get("/film").await.assert_forwarded();
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 §4.3.3: what a full response has taken the place of stands in for nothing.
#[tokio::test]
async fn what_the_origin_has_no_more_is_not_served_from_the_disk_when_it_is_gone() {
    let is_deleted = Arc::new(AtomicBool::new(false));
    let deleted = Arc::clone(&is_deleted);
    let origin = Origin::answering(move |_| match deleted.load(Ordering::Relaxed) {
        true => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        false => format!("{}{}", head(BYTES, "ETag: \"a\"\r\n"), content(BYTES)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    rig.get("/film").await.assert_forwarded();
    rig.pass(601);
    is_deleted.store(true, Ordering::Relaxed);
    assert_eq!(rig.get("/film").await.status, 404);
    origin.die().await;
    assert_eq!(rig.get("/film").await.status, 502);
}

/// As what is in memory: `policy::worse`.
#[tokio::test]
async fn an_error_that_passes_does_not_take_the_place_of_what_is_on_the_disk() {
    let is_busy = Arc::new(AtomicBool::new(false));
    let busy = Arc::clone(&is_busy);
    let origin = Origin::answering(move |_| match busy.load(Ordering::Relaxed) {
        true => "HTTP/1.1 429 Too Many Requests\r\nCache-Control: max-age=5\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        false => format!("{}{}", head(BYTES, "ETag: \"a\"\r\n"), content(BYTES)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    rig.get("/film").await.assert_forwarded();
    rig.pass(601);
    is_busy.store(true, Ordering::Relaxed);
    assert_eq!(rig.get("/film").await.status, 429);
    origin.die().await;
    rig.pass(10);
    let got = rig.get("/film").await;
    assert_eq!((got.status, got.text() == content(BYTES)), (200, true));
}

#[tokio::test]
async fn a_slow_client_of_a_fill_costs_no_memory_and_no_other_client_time() {
    let (origin, folder) = (answering("").await, tempfile::tempdir().unwrap());
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    let mut slow = Client::narrow(rig.public).await;
    slow.send_get("/film", "").await;
    let head = slow.head().await;
    let quick = rig.get("/film").await;
    assert_eq!(quick.text(), content(BYTES));
    assert_eq!(origin.count(), 1);
    let held = in_memory(&rig).await;
    assert!(held < 1 << 20, "{held} bytes for a client that has read nothing");
    assert_eq!(slow.body(&head).await.unwrap(), content(BYTES).into_bytes());
}

#[tokio::test]
async fn slow_clients_of_files_leave_memory_for_what_comes_from_the_origin() {
    let origin = Origin::answering(|asked| {
        let bytes = if asked.starts_with("GET /film") { BYTES } else { 1_000 };
        format!("{}{}", head(bytes, ""), content(bytes))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    rig.get("/film").await.assert_forwarded();
    let mut slow = Vec::new();
    for _ in 0..12 {
        let mut client = Client::narrow(rig.public).await;
        client.send_get("/film", "").await;
        let head = client.head().await;
        slow.push((client, head));
    }
    // Of 512 KiB for what is on its way.
    assert!(rig.metric("verge_edge_fill_bytes ").await <= 256 << 10);
    rig.get("/small").await.assert_forwarded();
    rig.get("/small").await.assert_hit();
    for (client, head) in &mut slow {
        assert_eq!(client.body(head).await.unwrap(), content(BYTES).into_bytes());
    }
}

#[tokio::test]
async fn a_response_of_unknown_length_moves_to_the_disk_when_it_is_large() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    let mut one = rig.client().await;
    one.send_get("/log", "").await;
    let mut asked = origin.next().await;
    asked.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=600\r\n\r\n").await;
    let text = content(BYTES);
    let mut other = rig.client().await;
    for (number, chunk) in text.as_bytes().chunks(100_000).enumerate() {
        asked.write(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
        asked.write(chunk).await;
        asked.write(b"\r\n").await;
        if number == 30 {
            other.send_get("/log", "").await;
        }
    }
    asked.write(b"0\r\n\r\n").await;
    asked.done();
    assert_eq!(one.response().await.text(), text);
    assert_eq!(other.response().await.text(), text);
    assert!(is_from_disk(&rig.get("/log").await));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_ends_the_answer_and_goes() {
    let (origin, folder) = (answering("").await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk).await;
    rig.get("/film").await.assert_forwarded();
    let file = fs::OpenOptions::new().write(true).open(&files(&disk)[0]).unwrap();
    file.write_all_at(b"X", 5_000_000).unwrap();
    let mut client = rig.client().await;
    client.send_get("/film", "").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert!(client.body(&head).await.is_none(), "the byte was sent");
    assert_eq!(rig.metric("verge_edge_disk_corrupt_total{").await, 1);
    let again = rig.get("/film").await;
    again.assert_forwarded();
    assert_eq!(again.text(), content(BYTES));
}

/// An edge that has a film whose file is damaged at this place, and an origin that sends ranges of it.
async fn damaged_at(at: u64, fields: &'static str) -> (Arc<Origin>, tempfile::TempDir, Rig) {
    let origin = Origin::answering(move |asked| {
        let asked = asked.to_ascii_lowercase();
        let first = asked.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
        match first.filter(|_| asked.contains("if-range: \"a\"")) {
            None => format!("{}{}", head(BYTES, fields), content(BYTES)),
            Some(first) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{BYTES}\r\nContent-Length: {}\r\n{fields}\r\n{}",
                BYTES - 1,
                BYTES - first,
                &content(BYTES)[first..]
            ),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk).await;
    rig.get("/film").await.assert_forwarded();
    let file = fs::OpenOptions::new().write(true).open(&files(&disk)[0]).unwrap();
    file.write_all_at(b"X", at).unwrap();
    (origin, folder, rig)
}

#[tokio::test]
async fn a_file_whose_beginning_cannot_be_read_is_a_miss() {
    let (origin, _folder, rig) = damaged_at(30_000, "").await;
    let got = rig.get("/film").await;
    got.assert_forwarded();
    assert_eq!((got.text() == content(BYTES), origin.count()), (true, 2));
    assert!(is_from_disk(&rig.get("/film").await));
}

#[tokio::test]
async fn what_cannot_be_read_in_a_file_comes_from_the_origin_where_that_has_a_strong_validator() {
    for range in ["", "Range: bytes=4000000-\r\n"] {
        let (origin, _folder, rig) = damaged_at(5_000_000, "ETag: \"a\"\r\n").await;
        let got = rig.client().await.get_with("/film", range).await;
        assert!(is_from_disk(&got), "{:?}", got.fields);
        let expected = content(BYTES);
        assert!(got.text() == expected[if range.is_empty() { 0 } else { 4_000_000 }..], "{range}");
        assert_eq!(origin.count(), 2);
        rig.get("/film").await.assert_forwarded();
    }
}

#[tokio::test]
async fn what_the_origin_confirms_stays_fresh_over_a_restart_without_being_written_again() {
    let origin = Origin::answering(|head| match head.to_ascii_lowercase().contains("if-none-match: \"a\"") {
        true => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=900\r\nX-Look: 2\r\n\r\n"
            .into(),
        false => format!("{}{}", self::head(BYTES, "ETag: \"a\"\r\n"), content(BYTES)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let mut rig = edge(origin.address, &disk).await;
    rig.get("/film").await.assert_forwarded();
    assert_eq!(rig.ask("/purge", "{\"url\": \"http://site.test/film\", \"soft\": true}").await.status, 200);
    let confirmed = rig.get("/film").await;
    confirmed.assert_forwarded();
    assert_eq!(confirmed.text(), content(BYTES));
    for restarted in [false, true] {
        if restarted {
            rig.running.take().unwrap().drain().await;
            rig = edge(origin.address, &disk).await;
        }
        let got = rig.get("/film").await;
        assert!(is_from_disk(&got), "{:?}", got.fields);
        assert_eq!(got.field("x-look"), "2");
        assert_eq!(got.text(), content(BYTES));
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(files(&disk).len(), 2, "the body's, and what was confirmed beside it");
    rig.purge("/film").await;
    let gone = async {
        while !files(&disk).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("both are removed", gone).await;
}

#[tokio::test]
async fn what_the_origin_confirmed_holds_where_the_body_fits_in_memory_after_a_restart() {
    let origin = Origin::answering(|head| match head.to_ascii_lowercase().contains("if-none-match: \"a\"") {
        true => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=900\r\nX-Look: 2\r\n\r\n"
            .into(),
        false => format!("{}{}", self::head(400_000, "ETag: \"a\"\r\n"), content(400_000)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let mut rig = edge(origin.address, &disk).await;
    rig.get("/film").await.assert_forwarded();
    rig.pass(601);
    let confirmed = rig.get("/film").await;
    confirmed.assert_forwarded();
    assert_eq!((origin.count(), confirmed.text() == content(400_000)), (2, true));
    rig.running.take().unwrap().drain().await;
    let rig = edge_of("256MiB", origin.address, &disk).await;
    for from_disk in [true, false] {
        let got = rig.get("/film").await;
        got.assert_hit();
        assert_eq!((is_from_disk(&got), got.field("x-look").as_str()), (from_disk, "2"));
        assert_eq!(got.text(), content(400_000));
    }
}

#[tokio::test]
async fn a_purge_while_the_origin_confirms_holds_though_the_confirmed_head_has_other_tags() {
    let (origin, folder) = (Origin::start().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk).await;
    let mut client = rig.client().await;
    client.send_get("/film", "").await;
    let mut asked = origin.next().await;
    let text = content(400_000);
    asked.write(head(text.len(), "ETag: \"a\"\r\nCache-Tag: old\r\n").as_bytes()).await;
    asked.write(text.as_bytes()).await;
    asked.done();
    assert_eq!(client.response().await.text(), text);
    rig.pass(601);
    let mut client = rig.client().await;
    client.send_get("/film", "").await;
    let mut asked = origin.next().await;
    assert!(asked.head.to_ascii_lowercase().contains("if-none-match"), "{}", asked.head);
    assert_eq!(rig.ask("/purge", "{\"tag\": \"old\"}").await.status, 200);
    asked
        .write(b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=900\r\nCache-Tag: new\r\n\r\n")
        .await;
    asked.done();
    let mut anew = origin.next().await;
    assert!(!anew.head.to_ascii_lowercase().contains("if-none-match"), "{}", anew.head);
    anew.write(b"HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n").await;
    anew.done();
    assert_eq!(client.response().await.status, 404);
    let mut client = rig.client().await;
    client.send_get("/film", "").await;
    let mut again = soon("what was purged is asked for", origin.next()).await;
    again.write(b"HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n").await;
    again.done();
    assert_eq!(client.response().await.status, 404);
    let gone = async {
        while !files(&disk).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the file and what is beside it are removed", gone).await;
}

/// An origin's answer to a request for the rest of 400,000 bytes, of which 250,000 came with this tag: whether the
/// client has all of them.
async fn check_rest(tag: &str, rest: &str, expected: bool) {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache")).await;
    let text = content(400_000);
    let mut client = rig.client().await;
    client.send_get("/film", "").await;
    let mut asked = origin.next().await;
    asked.write(head(text.len(), &format!("ETag: {tag}\r\n")).as_bytes()).await;
    asked.write(&text.as_bytes()[..250_000]).await;
    let got = client.head().await;
    let mut body = client.bytes(250_000).await;
    asked.reset();
    if tag.starts_with('"') {
        let mut again: Asked = origin.next().await;
        let head = again.head.to_ascii_lowercase();
        assert!(
            head.contains("range: bytes=250000-") && head.contains(&format!("if-range: {tag}")),
            "{head}"
        );
        again.write(rest.as_bytes()).await;
        again.write(&text.as_bytes()[250_000..]).await;
        again.done();
    }
    let more = client.try_bytes(150_000).await;
    assert_eq!(got.status, 200);
    assert_eq!(more.is_some(), expected, "{tag} {rest}");
    if let Some(more) = more {
        body.extend_from_slice(&more);
        assert_eq!(String::from_utf8(body).unwrap(), text);
        rig.get("/film").await.assert_hit();
    }
}

#[tokio::test]
async fn a_response_that_broke_off_goes_on_where_its_origin_has_a_strong_validator() {
    let rest = |status: &str, tag: &str, range: &str| {
        format!(
            "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Range: bytes {range}\r\nContent-Length: 150000\r\n\r\n"
        )
    };
    check_rest("\"a\"", &rest("206 Partial Content", "\"a\"", "250000-399999/400000"), true).await;
    check_rest("\"a\"", &rest("206 Partial Content", "\"b\"", "250000-399999/400000"), false).await;
    check_rest("\"a\"", &rest("206 Partial Content", "\"a\"", "0-149999/400000"), false).await;
    check_rest("\"a\"", &rest("206 Partial Content", "\"a\"", "250000-399999/400001"), false).await;
    check_rest("\"a\"", &rest("200 OK", "\"a\"", "250000-399999/400000"), false).await;
    check_rest("W/\"a\"", "", false).await;
}
