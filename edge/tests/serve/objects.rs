//! `POST /objects`: what is held, in memory and on disks.

use std::sync::Arc;

use serde_json::Value;

use super::origin::{Origin, response};
use super::rig::{Rig, soon};

async fn origin() -> Arc<Origin> {
    Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let tag = format!(
            "Cache-Control: max-age=60\r\nCache-Tag: all,{}\r\nContent-Type: text/css\r\n",
            &path[1..2]
        );
        response("200 OK", &tag, &"x".repeat(path.len()))
    })
    .await
}

/// All that the edge tells, by URL, asked for as often as it says that there is more.
async fn told(rig: &Rig, question: &str) -> Vec<Value> {
    let (mut all, mut from) = (Vec::new(), Some("0.0".to_owned()));
    while let Some(at) = from {
        let got = rig.ask("/objects", &format!("{{{question}\"from\": \"{at}\"}}")).await;
        assert_eq!(got.status, 200, "{got:?}");
        let told: Value = serde_json::from_str(&got.text()).unwrap();
        all.extend(told["objects"].as_array().unwrap().iter().cloned());
        from = told["next"].as_str().map(str::to_owned);
    }
    all.sort_by_key(|object| object["url"].as_str().unwrap().to_owned());
    all
}

fn urls(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["url"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_held_is_told_with_its_hits_and_what_was_purged_is_not() {
    for eviction in ["s3-fifo", "lru"] {
        let origin = origin().await;
        let rig = Rig::with(&[origin.address], &format!("[cache]\neviction = \"{eviction}\"\n"), "").await;
        for path in ["/a/1?q", "/a/2", "/b/1"] {
            rig.get(path).await.assert_forwarded();
        }
        rig.get("/a/2").await.assert_hit();
        rig.get("/a/2").await.assert_hit();
        rig.client().await.get_with("/a/2", "Range: bytes=0-1\r\n").await.assert_hit();
        rig.pass(61);
        let all = told(&rig, "").await;
        assert_eq!(urls(&all), ["http://site.test/a/1?q", "http://site.test/a/2", "http://site.test/b/1"]);
        let object = &all[1];
        for (name, expected) in
            [("hits", 3), ("bytes", 4), ("age_secs", 61), ("fresh_secs", -1), ("status", 200)]
        {
            assert_eq!(object[name].as_i64(), Some(expected), "{name} of {object}");
        }
        assert_eq!(
            (object["tier"].as_str(), object["media_type"].as_str()),
            (Some("memory"), Some("text/css"))
        );
        assert_eq!(urls(&told(&rig, "\"tag\": \"b\", ").await), ["http://site.test/b/1"]);
        assert_eq!(told(&rig, "\"prefix\": \"http://site.test/a/\", ").await.len(), 2);
        assert_eq!(told(&rig, "\"site\": \"elsewhere\", ").await.len(), 0);
        rig.ask("/purge", "{\"tag\": \"a\"}").await;
        assert_eq!(urls(&told(&rig, "").await), ["http://site.test/b/1"]);
        for wrong in ["{\"from\": \"x\"}", "{\"form\": \"0.0\"}"] {
            assert_eq!(rig.ask("/objects", wrong).await.status, 400, "{wrong}");
        }
    }
}

#[tokio::test]
async fn what_a_disk_has_is_told_too_and_once() {
    let (origin, folder) = (origin().await, tempfile::tempdir().unwrap());
    let top =
        format!("[cache]\ndisk = {{ path = \"{}\", size = \"8MiB\" }}\n", folder.path().join("c").display());
    let start = || async {
        let rig = Rig::with(&[origin.address], &top, "").await;
        let ready = async {
            while rig.metric("verge_edge_disk_up{").await != 1 {
                tokio::task::yield_now().await;
            }
        };
        soon("the disk is used", ready).await;
        rig
    };
    let mut rig = start().await;
    for path in ["/a", "/b", "/c"] {
        rig.get(path).await.assert_forwarded();
    }
    let written = async {
        while rig.metric("verge_edge_disk_writes_total{").await < 3 {
            tokio::task::yield_now().await;
        }
    };
    soon("all are written", written).await;
    assert_eq!(told(&rig, "").await.len(), 3, "in memory");
    rig.running.take().unwrap().drain().await;
    rig = start().await;
    rig.get("/b").await.assert_hit();
    rig.purge("/c").await;
    let all = told(&rig, "").await;
    assert_eq!(urls(&all), ["http://site.test/a", "http://site.test/b"]);
    assert_eq!((all[0]["tier"].as_str(), all[0]["bytes"].as_u64()), (Some("disk"), Some(2)));
    assert_eq!((all[1]["tier"].as_str(), all[1]["hits"].as_u64()), (Some("memory"), Some(1)));
}
