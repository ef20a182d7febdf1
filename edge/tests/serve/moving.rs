//! `GET /export` and `PUT /import`: a warm cache moves to another edge.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::{Client, Got};
use super::origin::{Origin, response};
use super::rig::{Rig, soon};

/// Answers with a body that is small, or of 400,000 bytes below `/large`.
async fn origin() -> Arc<Origin> {
    Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let body =
            if path.starts_with("/large") { path.repeat(400_000 / path.len()) } else { path.to_owned() };
        let tag = &path[1..2];
        response("200 OK", &format!("Cache-Control: max-age=600\r\nCache-Tag: {tag}\r\n"), &body)
    })
    .await
}

/// An edge with little memory and a disk.
async fn edge(origin: &Origin, hosts: &str) -> (Rig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (edge_over(origin, hosts, folder.path()).await, folder)
}

async fn edge_over(origin: &Origin, hosts: &str, folder: &Path) -> Rig {
    let disk = folder.join("cache");
    let top =
        format!("[cache]\nmemory = \"2MiB\"\ndisk = {{ path = \"{}\", size = \"16MiB\" }}\n", disk.display());
    let rig = Rig::for_hosts(hosts, &[origin.address], &top, "").await;
    let ready = async {
        while rig.metric("verge_edge_disk_up{").await != 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the disk is used", ready).await;
    rig
}

async fn export(rig: &Rig) -> Got {
    let head =
        format!("GET /export HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\n\r\n", rig.token());
    Client::connect(rig.admin).await.raw(head.as_bytes()).await
}

async fn import(rig: &Rig, bytes: &[u8]) -> Got {
    let head = format!(
        "PUT /import HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        rig.token(),
        bytes.len()
    );
    Client::connect(rig.admin).await.raw(&[head.as_bytes(), bytes].concat()).await
}

#[tokio::test]
async fn what_one_edge_exports_another_answers_without_its_origin() {
    let origin = origin().await;
    let (old, _folder) = edge(&origin, "\"*\"").await;
    let paths = ["/a?q=1", "/b", "/c", "/large/1", "/large/2"];
    for path in paths {
        old.get(path).await.assert_forwarded();
    }
    old.ask("/purge", "{\"tag\": \"c\"}").await;
    let exported = export(&old).await;
    assert_eq!(exported.status, 200);
    let (new, _folder) = edge(&origin, "\"*\"").await;
    let imported = import(&new, &exported.body).await;
    assert_eq!(imported.status, 200, "{}", imported.text());
    assert!(imported.text().starts_with("{\"objects\":4,"), "{}", imported.text());
    for path in paths.into_iter().filter(|path| *path != "/c") {
        let (got, expected) = (new.get(path).await, old.get(path).await);
        got.assert_hit();
        assert_eq!(got.text(), expected.text(), "{path}");
    }
    new.get("/c").await.assert_forwarded();
    assert_eq!(origin.count(), 6);
    // Again: this edge has all of it. A purge now takes its responses.
    let again = import(&new, &exported.body).await;
    assert!(again.text().contains("\"older\":4"), "{}", again.text());
    new.ask("/purge", "{\"all\": true}").await;
    new.get("/b").await.assert_forwarded();
    let again = import(&new, &exported.body).await;
    assert!(
        again.text().contains("\"objects\":0") && again.text().contains("\"purged\":4"),
        "{}",
        again.text()
    );
    let (other, _folder) = edge(&origin, "\"other.test\"").await;
    assert!(import(&other, &exported.body).await.text().contains("\"foreign\":4"));
}

/// By the time at which the other edge asked for it, as far as this edge knows its purges.
#[tokio::test]
async fn what_an_edge_was_told_to_purge_does_not_come_back_with_an_import() {
    let origin = origin().await;
    let (old, _old_folder) = edge(&origin, "\"*\"").await;
    for path in ["/a", "/b", "/c", "/d", "/large"] {
        old.get(path).await.assert_forwarded();
    }
    let exported = export(&old).await;
    let (new, _folder) = edge(&origin, "\"*\"").await;
    new.pass(10);
    for purge in [
        "{\"url\": \"http://site.test/a\"}",
        "{\"tag\": \"b\"}",
        "{\"url\": \"http://site.test/c\", \"soft\": true}",
        "{\"prefix\": \"http://site.test/lar\"}",
    ] {
        assert_eq!(new.ask("/purge", purge).await.status, 200, "{purge}");
    }
    let imported = import(&new, &exported.body).await;
    assert!(
        imported.text().contains("\"objects\":2") && imported.text().contains("\"purged\":3"),
        "{}",
        imported.text()
    );
    for path in ["/a", "/b", "/c", "/large"] {
        new.get(path).await.assert_forwarded();
    }
    new.get("/d").await.assert_hit();
}

/// An import would take the place of what is in memory and of what is on the disk alike.
#[tokio::test]
async fn what_is_newer_on_the_disk_alone_stays() {
    let answers = AtomicUsize::new(0);
    let origin = Origin::answering(move |head| {
        let number = answers.fetch_add(1, Ordering::Relaxed);
        let length = if head.contains(" /large") { 400_000 } else { 1 };
        response("200 OK", "Cache-Control: max-age=600\r\n", &number.to_string().repeat(length))
    })
    .await;
    let (old, _old_folder) = edge(&origin, "\"*\"").await;
    let paths = ["/a", "/large"];
    for path in paths {
        old.get(path).await.assert_forwarded();
    }
    let exported = export(&old).await;
    let (mut new, folder) = edge(&origin, "\"*\"").await;
    new.pass(10);
    let mut newer = Vec::new();
    for path in paths {
        newer.push(new.get(path).await.text());
    }
    soon("both are written", async {
        while new.metric("verge_edge_disk_writes_total{").await < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    new.running.take().unwrap().drain().await;
    let again = edge_over(&origin, "\"*\"", folder.path()).await;
    again.pass(20);
    let imported = import(&again, &exported.body).await;
    assert!(imported.text().contains("\"older\":2"), "{}", imported.text());
    for (path, newer) in paths.into_iter().zip(newer) {
        let got = again.get(path).await;
        got.assert_hit();
        assert_eq!(got.text(), newer, "{path}");
    }
}

#[tokio::test]
async fn a_purge_takes_the_queries_that_were_imported() {
    let origin = origin().await;
    let (old, _old_folder) = edge(&origin, "\"*\"").await;
    let query = b"QUERY /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    old.client().await.raw(query).await.assert_forwarded();
    let exported = export(&old).await;
    let (new, _new_folder) = edge(&origin, "\"*\"").await;
    let imported = import(&new, &exported.body).await;
    assert!(imported.text().starts_with("{\"objects\":1,"), "{}", imported.text());
    new.purge("/a").await;
    new.client().await.raw(query).await.assert_forwarded();
}

#[tokio::test]
async fn an_export_that_is_cut_or_changed_is_told_and_what_came_whole_is_kept() {
    let origin = origin().await;
    let (old, _folder) = edge(&origin, "\"*\"").await;
    for path in ["/a", "/large/1"] {
        old.get(path).await.assert_forwarded();
    }
    let bytes = export(&old).await.body;
    let places = [0, 1, 15, 16, 20, 79, 80, 100, 300, bytes.len() / 2, bytes.len() - 20, bytes.len() - 1];
    for place in places {
        let (new, _folder) = edge(&origin, "\"*\"").await;
        let cut = import(&new, &bytes[..place]).await;
        assert_eq!(cut.status, 400, "cut at {place}: {}", cut.text());
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let refused = import(&new, &changed).await;
        assert_eq!(refused.status, 400, "changed at {place}: {}", refused.text());
        for path in ["/a", "/large/1"] {
            assert_eq!(new.get(path).await.text(), old.get(path).await.text(), "{path} after {place}");
        }
    }
    let token = "GET /export HTTP/1.1\r\nHost: admin\r\n\r\n";
    assert_eq!(Client::connect(old.admin).await.raw(token.as_bytes()).await.status, 401);
}
