//! Disks that fail under a running edge: full, unreadable, stuck. No request fails, and a purge says what it may not
//! outlive.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kills::{self, origin};
use super::{Serving, program};

/// An edge whose disk fails as a file says.
struct Rig {
    folder: tempfile::TempDir,
    shim: PathBuf,
    serving: Option<Serving>,
    token: String,
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/faults.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl");
        assert!(cc.status().unwrap().success(), "cc builds the shim");
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"2MiB\"\ndisk = {{ path = \"cache\", size = \"64MiB\", write_rate = \"1GiB\" }}\n\
             [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            origin()
        );
        std::fs::write(folder.path().join("edge.toml"), text).unwrap();
        let mut rig = Self { folder, shim, serving: None, token: String::new() };
        rig.restart();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn restart(&mut self) {
        self.serving = None;
        let mut child = program(&["serve", "--config", "edge.toml"], self.folder.path())
            .env("LD_PRELOAD", &self.shim)
            .env("FAULTS", self.path("fault"))
            .env("FAULTS_BELOW", self.path("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |who: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix("listening ").unwrap().strip_suffix(who).unwrap().trim().to_owned()
        };
        let (public, admin) = (next("public"), next("admin"));
        self.serving = Some(Serving { child, public, admin });
        self.token = std::fs::read_to_string(self.path("verge-edge.token")).unwrap().trim().to_owned();
    }

    fn serving(&self) -> &Serving {
        self.serving.as_ref().unwrap()
    }

    /// From now on the disk does this; nothing if it is empty.
    fn fault(&self, word: &str) {
        std::fs::write(self.path("fault"), word).unwrap();
    }

    /// Asks for many paths, more than memory holds; how many came from the disk. Every answer is whole.
    fn ask_for_all(&self) -> usize {
        let got = (0..60).map(|n| kills::get(&self.serving().public, &format!("/{n}")).expect("an answer"));
        got.filter(|(_, from_disk)| *from_disk).count()
    }

    fn admin(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.serving().admin).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.admin("GET /metrics", "");
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or("0 0");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn until(&self, name: &str, is_reached: impl Fn(u64) -> bool) {
        while !is_reached(self.metric(name)) {
            std::thread::yield_now();
        }
    }

    fn purge(&self, path: &str) -> String {
        self.admin("POST /purge", &format!("{{\"url\": \"http://site.test{path}\"}}"))
    }
}

const UP: &str = "verge_edge_disk_up{";
const ERRORS: &str = "verge_edge_disk_errors_total{";

#[test]
fn a_disk_that_is_full_or_fails_costs_no_request_and_is_used_again() {
    for fault in ["full", "eio"] {
        let rig = Rig::start();
        rig.until(UP, |up| up == 1);
        rig.ask_for_all();
        rig.until("verge_edge_disk_writes_total{", |files| files > 0);
        rig.fault(fault);
        // A purge needs the journal, which cannot be written: it is removed, so that nothing of it comes back.
        while rig.metric(UP) == 1 {
            rig.ask_for_all();
            let answer = rig.purge("/1");
            assert!(answer.starts_with("HTTP/1.1 200"), "{fault}: {answer}");
        }
        assert!(!rig.path("cache/journal").exists(), "{fault}");
        rig.ask_for_all();
        assert!(rig.admin("GET /readyz", "").contains("without the disk"), "{fault}");
        rig.fault("");
        rig.until(UP, |up| up == 1);
        assert!(rig.path("cache/journal").exists(), "{fault}");
        rig.ask_for_all();
    }
}

#[test]
fn reads_that_fail_are_misses() {
    let mut rig = Rig::start();
    rig.until(UP, |up| up == 1);
    rig.ask_for_all();
    rig.until("verge_edge_disk_writes_total{", |files| files > 10);
    rig.restart();
    rig.until(UP, |up| up == 1);
    rig.fault("eio");
    assert_eq!(rig.ask_for_all(), 0);
    assert!(rig.metric(ERRORS) > 0);
}

#[test]
fn a_purge_does_not_wait_for_a_disk_that_is_stuck_and_says_so() {
    let rig = Rig::start();
    rig.until(UP, |up| up == 1);
    let path = "/1";
    kills::get(&rig.serving().public, path).unwrap();
    rig.until("verge_edge_disk_writes_total{", |files| files > 0);
    rig.fault("stuck");
    let answer = rig.purge(path);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("until_restart_on"), "{answer}");
    rig.ask_for_all();
    rig.fault("");
    let answer = rig.purge(path);
    assert!(!answer.contains("until_restart_on"), "{answer}");
}
