//! Edges that are killed at any moment, over and over, on one folder: nothing torn and nothing purged is ever served.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{Serving, serve};

/// Each purge makes a new one. A body is the path and the version, over and over.
static VERSION: AtomicU64 = AtomicU64::new(1);
/// How many were answered, and how many of them did not reach the disk in time.
static PURGES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
const PATHS: u64 = 120;

/// A run of numbers that look like chance, the same on each run of the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn body(path: &str, version: u64) -> String {
    let line = format!("{path} {version}\n");
    // From a line to some 300 KB: one chunk of a file, and several.
    let lines = 1 + path.bytes().map(u64::from).sum::<u64>().pow(3) % 20_000;
    line.repeat(usize::try_from(lines).unwrap())
}

/// An origin that answers with the version of now.
pub(super) fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

/// Until the edge is gone.
fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let first = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let path = first.split(' ').nth(1)?;
        let body = body(path, VERSION.load(Ordering::SeqCst));
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=6000\r\nCache-Tag: t{}\r\nContent-Length: {}\r\n\r\n",
            path.len(),
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
    }
}

/// The version in a whole answer, and whether it came from the disk; none if the edge went away.
pub(super) fn get(address: &str, path: &str) -> Option<(u64, bool)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, got) = answer.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_none_or(|length: usize| got.len() < length) {
        return None;
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let version = got.lines().next().and_then(|line| line.strip_prefix(&format!("{path} "))?.parse().ok());
    let version = version.unwrap_or_else(|| panic!("{path} got {:?}", got.lines().next()));
    assert!(got == body(path, version), "{path} is torn");
    Some((version, head.contains("; detail=disk")))
}

/// The least version that a path may have: that of the last purge of it which returned.
type Least = Mutex<HashMap<String, u64>>;

/// Whether a purge takes a path.
type Covers<'a> = Box<dyn Fn(&str) -> bool + 'a>;

/// One purge of any scope, hard or soft; what it covers is not served again once this is done.
fn purge(serving: &(String, String), least: &Least, chance: &mut Chance) -> Option<()> {
    let path = format!("/{}", chance.below(PATHS));
    let soft = if chance.below(3) == 0 { ",\"soft\":true" } else { "" };
    let (scope, covers): (String, Covers<'_>) = match chance.below(12) {
        0 => ("\"all\":true".into(), Box::new(|_| true)),
        1 => ("\"site\":\"*\"".into(), Box::new(|_| true)),
        2 => (format!("\"tag\":\"t{}\"", path.len()), Box::new(|other| other.len() == path.len())),
        3 | 4 => {
            let prefix = path[..2].to_owned();
            (
                format!("\"prefix\":\"http://site.test{prefix}\""),
                Box::new(move |other| other.starts_with(&prefix)),
            )
        }
        _ => {
            let own = path.clone();
            (format!("\"url\":\"http://site.test{path}\""), Box::new(move |other| other == own))
        }
    };
    let version = VERSION.fetch_add(1, Ordering::SeqCst) + 1;
    let (admin, token) = serving;
    let body = format!("{{{scope}{soft}}}");
    let mut stream = TcpStream::connect(admin).ok()?;
    let head = format!(
        "POST /purge HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    if !answer.contains("\r\n\r\n{") {
        return None;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let is_late = answer.contains("until_restart_on");
    let [purges, late] = &PURGES;
    // A disk that takes more than two seconds may be this machine's: such a purge says that it does not last.
    let (all, slow) =
        (purges.fetch_add(1, Ordering::SeqCst) + 1, late.fetch_add(u64::from(is_late), Ordering::SeqCst));
    assert!(slow + u64::from(is_late) <= 5 + all / 10, "{slow} of {all} purges were late: {answer}");
    if is_late {
        return Some(());
    }
    let mut least = least.lock().unwrap();
    (0..PATHS).map(|n| format!("/{n}")).filter(|path| covers(path)).for_each(|path| {
        let known = least.entry(path).or_default();
        *known = version.max(*known);
    });
    Some(())
}

/// Reads a path; whether the edge is still there, and whether it came from the disk.
fn look(public: &str, path: &str, least: &Least) -> Option<bool> {
    // A purge that returns while this is asked may or may not cover it.
    let before = least.lock().unwrap().get(path).copied().unwrap_or(0);
    let (version, from_disk) = get(public, path)?;
    assert!(version >= before, "{path}: version {version} was purged at {before}");
    Some(from_disk)
}

/// Clients that read and purge at once until the edge is killed; how many answers came from the disk.
fn one_life(folder: &Path, least: &Arc<Least>, chance: &mut Chance, asks: u64) -> u64 {
    let mut serving = serve(folder);
    let token = std::fs::read_to_string(folder.join("verge-edge.token")).unwrap().trim().to_owned();
    let (asked, is_over, from_disk) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let (public, admin) = (serving.public.clone(), (serving.admin.clone(), token));
    let seeds: Vec<u64> = (0..4).map(|_| chance.below(u64::MAX - 1) + 1).collect();
    std::thread::scope(|scope| {
        let clients = seeds.into_iter().enumerate().map(|(number, seed)| {
            let (asked, is_over, from_disk, public, admin) = (&asked, &is_over, &from_disk, &public, &admin);
            scope.spawn(move || {
                let mut chance = Chance(seed);
                while !is_over.load(Ordering::SeqCst) {
                    let done = match number {
                        0 if chance.below(4) == 0 => purge(admin, least, &mut chance).map(|()| false),
                        _ => look(public, &format!("/{}", chance.below(PATHS)), least),
                    };
                    let Some(is_from_disk) = done else { return };
                    from_disk.fetch_add(is_from_disk.into(), Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        // One that ended before the edge has found what must not be.
        while asked.load(Ordering::SeqCst) < asks && !clients.iter().any(|client| client.is_finished()) {
            std::thread::yield_now();
            assert!(serving.child.try_wait().unwrap().is_none(), "the edge ended by itself");
        }
        kill(&mut serving);
        is_over.store(true, Ordering::SeqCst);
    });
    from_disk.into_inner()
}

fn kill(serving: &mut Serving) {
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
}

#[test]
fn an_edge_that_is_killed_at_any_moment_serves_nothing_torn_or_purged_after() {
    let kills = std::env::var("VERGE_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Little memory, and a disk that has room for a half: fills, promotions and evictions all the time.
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"4MiB\"\n\
         disk = {{ path = \"cache\", size = \"4MiB\", write_rate = \"1GiB\" }}\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\npurges_per_minute = 1000000\n",
        origin()
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let (least, mut chance) = (Arc::new(Least::default()), Chance(0x9e37_79b9_7f4a_7c15));
    let mut from_disk = 0;
    for _ in 0..kills {
        let asks = 20 + chance.below(400);
        from_disk += one_life(folder.path(), &least, &mut chance, asks);
    }
    println!("{kills} kills: {from_disk} answers from the disk, none torn, none purged");
    assert!(from_disk > kills, "only {from_disk} answers came from the disk");
}
