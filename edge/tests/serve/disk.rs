//! The disk tier: a cache that is warm after a restart, and what was purged stays purged.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use verge_edge::clock::Clock;

use super::client::{Client, Got};
use super::origin::Origin;
use super::rig::{Rig, response, soon};

/// An edge over this folder.
async fn edge(origin: SocketAddr, disk: &Path, more: &str) -> Rig {
    let top = format!("[cache]\n{more}disk = {{ path = \"{}\", size = \"64MiB\" }}\n", disk.display());
    let rig = Rig::with(&[origin], &top, "").await;
    ready(&rig).await;
    rig
}

async fn ready(rig: &Rig) {
    is_used(rig, "").await;
}

/// Waits until the disk whose folder's name begins so is used.
async fn is_used(rig: &Rig, folder: &str) {
    let ready = async {
        while rig.metric(&format!("verge_edge_disk_up{{disk=\"{folder}")).await != 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the disk is used", ready).await;
}

/// Waits until so many responses were written since the edge started.
async fn written(rig: &Rig, files: u64) {
    let all = async {
        while rig.metric("verge_edge_disk_writes_total{").await < files {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{files} files written"), all).await;
}

async fn stop(mut rig: Rig) {
    rig.running.take().unwrap().drain().await;
}

/// Whether a hit came from the disk.
fn is_from_disk(got: &Got) -> bool {
    got.cache_status().contains("; hit") && got.cache_status().ends_with("; detail=disk")
}

/// Answers with the path, tagged by its first letter, and differently for each language.
async fn tagged() -> Arc<Origin> {
    Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let language = if head.to_ascii_lowercase().contains("accept-language: de") { "de" } else { "en" };
        let fields = format!(
            "Cache-Control: max-age=600\r\nETag: \"{path}\"\r\nCache-Tag: all,{}\r\nVary: Accept-Language\r\n",
            &path[1..2]
        );
        response("200 OK", &fields, &format!("{path} {language}"))
    })
    .await
}

/// The files of responses in the folder.
fn files(disk: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let upper = below(disk).into_iter().filter(|path| path.is_dir());
    upper.flat_map(|folder| below(&folder)).flat_map(|folder| below(&folder)).collect()
}

#[tokio::test]
async fn after_a_restart_hits_come_from_the_disk_and_then_from_memory() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "").await;
    for path in ["/a", "/b?c"] {
        rig.get(path).await.assert_forwarded();
        rig.client().await.get_with(path, "Accept-Language: de\r\n").await.assert_forwarded();
    }
    written(&rig, 4).await;
    stop(rig).await;
    assert_eq!(files(&disk).len(), 4);
    let rig = edge(origin.address, &disk, "").await;
    let first = rig.get("/a").await;
    assert!(is_from_disk(&first), "{first:?}");
    assert_eq!((first.status, first.text().as_str()), (200, "/a en"));
    let second = rig.client().await.get_with("/a", "Accept-Language: de\r\n").await;
    assert_eq!(second.text(), "/a de");
    second.assert_hit();
    assert!(!is_from_disk(&second), "all variants of a key come at once: {second:?}");
    let part = rig.client().await.get_with("/b?c", "Range: bytes=1-3\r\n").await;
    assert_eq!((part.status, part.text().as_str()), (206, "b?c"));
    let tag = first.field("etag");
    assert_eq!(rig.client().await.get_with("/a", &format!("If-None-Match: {tag}\r\n")).await.status, 304);
    assert_eq!(origin.count(), 4, "nothing was asked again");
    assert_eq!(rig.metric("verge_edge_disk_hits_total{").await, 4);
    assert_eq!(files(&disk).len(), 4, "nothing was written again");
}

#[tokio::test]
async fn an_age_goes_on_over_a_restart() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let top =
        format!("[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n", folder.path().join("c").display());
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let rig = Rig::at(Clock::standing(began), "\"*\"", &[origin.address], &top, "").await;
    ready(&rig).await;
    rig.get("/a").await.assert_forwarded();
    written(&rig, 1).await;
    stop(rig).await;
    let later = began + Duration::from_secs(200);
    let rig = Rig::at(Clock::standing(later), "\"*\"", &[origin.address], &top, "").await;
    ready(&rig).await;
    let got = rig.get("/a").await;
    assert!(is_from_disk(&got), "{got:?}");
    assert_eq!(got.field("age"), "200");
    rig.pass(401);
    let stale = rig.get("/a").await;
    assert!(stale.cache_status().contains("fwd=stale"), "{stale:?}");
}

/// Whether each path is still a hit after this purge and a restart of an edge that had them all on its disk alone or
/// in memory too.
async fn check_purge(purge: &str, expected: &[(&str, bool)]) {
    for restarts_before in [false, true] {
        let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
        let disk = folder.path().join("cache");
        let mut rig = edge(origin.address, &disk, "").await;
        for (path, _) in expected {
            rig.get(path).await.assert_forwarded();
        }
        written(&rig, expected.len() as u64).await;
        if restarts_before {
            stop(rig).await;
            rig = edge(origin.address, &disk, "").await;
        }
        let answer = rig.ask("/purge", purge).await;
        assert_eq!(answer.status, 200, "{purge}: {answer:?}");
        assert!(!answer.text().contains("until_restart_on"), "{answer:?}");
        stop(rig).await;
        for _ in 0..2 {
            let rig = edge(origin.address, &disk, "").await;
            for (path, stays) in expected {
                let got = rig.get(path).await;
                let is_hit = got.cache_status().contains("; hit");
                assert_eq!(is_hit, *stays, "{purge} {path} {restarts_before}: {got:?}");
            }
            // The ones that were purged are not written again: the second restart finds what the purge left.
            rig.ask("/purge", purge).await;
            stop(rig).await;
        }
    }
}

#[tokio::test]
async fn what_was_purged_stays_purged_over_restarts() {
    let of = |a, aa, b| [("/a/1", a), ("/a/2?x", aa), ("/b/1", b)];
    let long = format!("http://site.test/a/{}", "x".repeat(900));
    check_purge(r#"{"url": "http://site.test/a/1"}"#, &of(false, true, true)).await;
    check_purge(r#"{"prefix": "http://site.test/a/"}"#, &of(false, false, true)).await;
    check_purge(r#"{"url": "http://site.test/*/1"}"#, &of(false, true, false)).await;
    check_purge(&format!("{{\"prefix\": \"{long}\"}}"), &of(true, true, true)).await;
    check_purge(r#"{"tag": "a"}"#, &of(false, false, true)).await;
    check_purge(r#"{"tag": "b", "site": "*"}"#, &of(true, true, false)).await;
    check_purge(r#"{"site": "*"}"#, &of(false, false, false)).await;
    check_purge(r#"{"all": true}"#, &of(false, false, false)).await;
    check_purge(r#"{"tag": "a", "soft": true}"#, &of(false, false, true)).await;
    check_purge(r#"{"url": "http://site.test/b/1", "soft": true}"#, &of(true, true, false)).await;
    check_purge(r#"{"all": true, "soft": true}"#, &of(false, false, false)).await;
}

#[tokio::test]
async fn an_unsafe_request_invalidates_what_is_on_the_disk() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "").await;
    rig.get("/a").await.assert_forwarded();
    written(&rig, 1).await;
    stop(rig).await;
    let rig = edge(origin.address, &disk, "").await;
    let post = "POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(rig.client().await.raw(post.as_bytes()).await.status, 200);
    rig.get("/a").await.assert_forwarded();
}

#[tokio::test]
async fn a_new_response_takes_the_place_of_the_one_on_the_disk() {
    let number = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        response("200 OK", "Cache-Control: max-age=10\r\n", &format!("version {number}"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "").await;
    rig.get("/a").await.assert_forwarded();
    written(&rig, 1).await;
    rig.pass(20);
    rig.get("/a").await.assert_forwarded();
    written(&rig, 2).await;
    stop(rig).await;
    assert_eq!(files(&disk).len(), 1);
    let rig = edge(origin.address, &disk, "").await;
    assert_eq!(rig.get("/a").await.text(), "version 1");
}

#[tokio::test]
async fn pushed_content_outlives_a_restart_as_its_answer_says() {
    let (origin, folder) = (Origin::start().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "").await;
    let head = format!(
        "PUT /push HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nVerge-URL: http://site.test/a\r\n\
         Verge-TTL: 600\r\nContent-Length: 5\r\n\r\nhello",
        rig.token()
    );
    let pushed = Client::connect(rig.admin).await.raw(head.as_bytes()).await;
    assert!(pushed.text().contains("\"is_on_disk\":true"), "{pushed:?}");
    stop(rig).await;
    let rig = edge(origin.address, &disk, "").await;
    let got = rig.get("/a").await;
    assert!(is_from_disk(&got), "{got:?}");
    assert_eq!(got.text(), "hello");
}

#[tokio::test]
async fn memory_that_is_too_small_for_all_is_backed_by_the_disk() {
    let body = "x".repeat(50_000);
    let origin = Origin::answering(move |head| {
        let path = head.split(' ').nth(1).unwrap();
        response("200 OK", "Cache-Control: max-age=600\r\n", &format!("{path}{body}"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let rig = edge(origin.address, &folder.path().join("cache"), "memory = \"1MiB\"\n").await;
    for n in 0..60 {
        rig.get(&format!("/{n}")).await.assert_forwarded();
        written(&rig, n + 1).await;
    }
    for n in 0..60 {
        let got = rig.get(&format!("/{n}")).await;
        got.assert_hit();
        assert!(got.text().starts_with(&format!("/{n}x")) && got.text().len() > 50_000);
    }
    assert_eq!(origin.count(), 60);
    assert!(rig.metric("verge_edge_disk_hits_total{").await >= 40);
}

#[tokio::test]
async fn a_file_with_a_byte_changed_anywhere_is_fetched_again_and_not_served() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "").await;
    let paths: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
    for path in &paths {
        rig.get(path).await.assert_forwarded();
    }
    written(&rig, 20).await;
    stop(rig).await;
    for (n, file) in files(&disk).into_iter().enumerate() {
        let mut bytes = fs::read(&file).unwrap();
        let place = (bytes.len() - 1) * n / 19;
        bytes[place] ^= 0x40;
        fs::write(&file, bytes).unwrap();
    }
    let rig = edge(origin.address, &disk, "").await;
    for path in &paths {
        let got = rig.get(path).await;
        got.assert_forwarded();
        assert_eq!(got.text(), format!("{path} en"));
    }
    assert_eq!(origin.count(), 40);
    assert_eq!(rig.metric("verge_edge_disk_corrupt_total{").await, 20);
}

#[tokio::test]
async fn a_folder_that_is_removed_while_the_edge_runs_costs_no_request() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let rig = edge(origin.address, &disk, "memory = \"1MiB\"\n").await;
    rig.get("/a").await.assert_forwarded();
    written(&rig, 1).await;
    fs::remove_dir_all(&disk).unwrap();
    for n in 0..200 {
        assert_eq!(rig.get(&format!("/b/{n}")).await.status, 200);
    }
    rig.get("/a").await.assert_hit();
    // It is used again, with nothing in it, once it was tried again.
    let again = async {
        while !(disk.join("journal").exists() && rig.metric("verge_edge_disk_up{").await == 1) {
            assert_eq!(rig.get("/c").await.status, 200);
        }
    };
    soon("the folder is made again", again).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told_and_done_without() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/a.jpg"), "x").unwrap();
    let origin = tagged().await;
    let used = folder.path().join("used");
    let first = edge(origin.address, &used, "").await;
    for (name, why) in [
        ("file", "Not a directory"),
        ("missing/below", "No such file"),
        ("photos", "not verge-edge's"),
        ("used", "another verge-edge"),
    ] {
        let path = folder.path().join(name);
        let top = format!("[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n", path.display());
        let rig = Rig::with(&[origin.address], &top, "").await;
        rig.get("/a").await.assert_forwarded();
        rig.get("/a").await.assert_hit();
        let told = Client::connect(rig.admin).await.get("/readyz").await;
        assert_eq!(told.status, 200);
        assert!(told.text().contains(why), "{name}: {}", told.text());
        assert_eq!(rig.metric("verge_edge_disk_up{").await, 0);
        let purged = rig.purge("/a").await;
        assert!(purged.text().contains("until_restart_on"), "{purged:?}");
        rig.get("/a").await.assert_forwarded();
    }
    assert!(folder.path().join("photos/a.jpg").exists());
    drop(first);
}

/// Paths and the system's words are for operators: other machines learn how many disks are not used.
#[tokio::test]
async fn where_other_machines_ask_disks_that_are_not_used_are_named_with_a_token_only() {
    for (listen, with_token, names) in
        [("127.0.0.1", false, true), ("0.0.0.0", true, true), ("0.0.0.0", false, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[cache]\ndisk = {{ path = \"missing/secret\", size = \"64MiB\" }}\n\
             [admin]\nlisten = \"{listen}:0\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:9\"]\n"
        );
        let rig = Rig::in_folder(folder, Clock::system(), &text).await;
        let mut head = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        if with_token {
            head += &format!("Authorization: Bearer {}\r\n", rig.token());
        }
        let here = SocketAddr::from(([127, 0, 0, 1], rig.admin.port()));
        let told = Client::connect(here).await.raw(format!("{head}\r\n").as_bytes()).await;
        let text = told.text();
        assert_eq!(told.status, 200);
        match names {
            true => assert!(text.contains("missing/secret: No such file"), "{listen}: {text}"),
            false => assert_eq!(text.trim_end(), "ready; without 1 disk"),
        }
    }
}

#[tokio::test]
async fn an_edge_that_starts_before_another_has_ended_takes_over_its_folder() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let disk = folder.path().join("cache");
    let old = edge(origin.address, &disk, "").await;
    for path in ["/a", "/b"] {
        old.get(path).await.assert_forwarded();
    }
    written(&old, 2).await;
    let top = format!("[cache]\ndisk = {{ path = \"{}\", size = \"64MiB\" }}\n", disk.display());
    let new = Rig::with(&[origin.address], &top, "").await;
    assert_eq!(new.metric("verge_edge_disk_up{").await, 0);
    // It holds once the disk is taken over, and it is told that a restart before that may undo it.
    assert!(new.purge("/a").await.text().contains("until_restart_on"));
    stop(old).await;
    ready(&new).await;
    new.get("/a").await.assert_forwarded();
    assert!(is_from_disk(&new.get("/b").await));
}

#[tokio::test]
async fn a_folder_that_was_copied_is_warm_elsewhere() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let rig = edge(origin.address, &folder.path().join("old"), "").await;
    for path in ["/a", "/b"] {
        rig.get(path).await.assert_forwarded();
    }
    written(&rig, 2).await;
    rig.purge("/b").await;
    stop(rig).await;
    let copied =
        std::process::Command::new("cp").args(["-r", "old", "new"]).current_dir(folder.path()).status();
    assert!(copied.unwrap().success());
    let rig = edge(origin.address, &folder.path().join("new"), "").await;
    assert!(is_from_disk(&rig.get("/a").await));
    rig.get("/b").await.assert_forwarded();
}

#[tokio::test]
async fn of_two_disks_one_may_fail() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let start = || async {
        let disk =
            |name: &str| format!("{{ path = \"{}\", size = \"64MiB\" }}", folder.path().join(name).display());
        let top = format!("[cache]\ndisk = [{}, {}]\n", disk("one"), disk("two"));
        let rig = Rig::with(&[origin.address], &top, "").await;
        is_used(&rig, &folder.path().join("one").display().to_string()).await;
        rig
    };
    let rig = start().await;
    is_used(&rig, &folder.path().join("two").display().to_string()).await;
    for n in 0..40 {
        rig.get(&format!("/{n}")).await.assert_forwarded();
    }
    let both = async {
        while files(&folder.path().join("one")).len() + files(&folder.path().join("two")).len() < 40 {
            tokio::task::yield_now().await;
        }
    };
    soon("both have their files", both).await;
    stop(rig).await;
    let (one, two) = (files(&folder.path().join("one")).len(), files(&folder.path().join("two")).len());
    assert!(one >= 8 && two >= 8, "{one} and {two}");
    fs::remove_dir_all(folder.path().join("two")).unwrap();
    fs::write(folder.path().join("two"), "no folder").unwrap();
    let rig = start().await;
    let mut hits = 0;
    for n in 0..40 {
        let got = rig.get(&format!("/{n}")).await;
        assert_eq!(got.text(), format!("/{n} en"));
        hits += usize::from(is_from_disk(&got));
    }
    assert_eq!(hits, one);
}

#[tokio::test]
async fn a_disk_that_was_away_during_a_purge_brings_nothing_back() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let start = || async {
        let disk = |name: &str| format!("{{ path = \"{}\", size = \"64MiB\" }}", path(name).display());
        let top = format!("[cache]\nmemory = \"1MiB\"\ndisk = [{}, {}]\n", disk("one"), disk("two"));
        let rig = Rig::with(&[origin.address], &top, "").await;
        is_used(&rig, &path("one").display().to_string()).await;
        rig
    };
    let rig = start().await;
    is_used(&rig, &path("two").display().to_string()).await;
    for n in 0..20 {
        rig.get(&format!("/{n}")).await.assert_forwarded();
    }
    let both = async {
        while files(&path("one")).len() + files(&path("two")).len() < 20 {
            tokio::task::yield_now().await;
        }
    };
    soon("both have their files", both).await;
    fs::rename(path("two"), path("off")).unwrap();
    fs::write(path("two"), "no folder").unwrap();
    let is_missed = async {
        let mut n = 20;
        while rig.metric(&format!("verge_edge_disk_up{{disk=\"{}", path("two").display())).await == 1 {
            rig.get(&format!("/{n}")).await;
            n += 1;
        }
    };
    soon("the disk is missed", is_missed).await;
    let purged = rig.ask("/purge", "{\"tag\": \"all\"}").await;
    assert_eq!(purged.status, 200, "{purged:?}");
    assert!(!purged.text().contains("until_restart_on"), "the other disk has it: {purged:?}");
    stop(rig).await;
    fs::remove_file(path("two")).unwrap();
    fs::rename(path("off"), path("two")).unwrap();
    let rig = start().await;
    is_used(&rig, &path("two").display().to_string()).await;
    for n in 0..20 {
        rig.get(&format!("/{n}")).await.assert_forwarded();
    }
}
