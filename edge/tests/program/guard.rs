//! A reload that breaks a site is undone, under load, and the log tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{config, metric, run, serve_with};

/// An origin that fails.
fn failing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut String::new()).unwrap_or(0) > 2 {}
            let response = "HTTP/1.1 500 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!";
            let _ = stream.write_all(response.as_bytes());
        }
    });
    address
}

fn status(address: &str, path: usize) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_reload_that_breaks_a_site_under_load_is_undone_and_told() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let file = folder.path().join("edge.toml");
    let good = format!("{}[guard]\nanswers = 30\n", std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, &good).unwrap();
    let mut serving = serve_with(Stdio::piped(), folder.path(), "info");
    let log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);

    let (ended, broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (ended, broken, next) = (Arc::clone(&ended), Arc::clone(&broken), Arc::clone(&next));
            let address = serving.public.clone();
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let status = status(&address, next.fetch_add(1, Ordering::Relaxed));
                    broken.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    while next.load(Ordering::Relaxed) < 100 {
        std::thread::yield_now();
    }
    let bad = failing();
    let old = good.split("origins = [\"http://").nth(1).unwrap().split('"').next().unwrap();
    std::fs::write(&file, good.replace(old, &bad)).unwrap();
    let desk = ["--admin", &serving.admin, "--token-file", "verge-edge.token"];
    assert!(run(&[&["reload"], &desk[..]].concat(), folder.path()).status.success());
    let line = log.into_iter().find(|line| line.contains("origins fail since the reload")).unwrap();
    for part in [
        "ERROR",
        "verge_edge::guard",
        "site=\"*\"",
        &format!("change=\"site *: origins: [\\\"http://{old}\\\"] → [\\\"http://{bad}\\\"]\""),
        "percent=100",
        "percent_before=0",
        "in_service_ms=",
        "the config before is back",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    // The old origin answers again, and the load goes on.
    assert_eq!(status(&serving.public, usize::MAX), 200);
    let failed = broken.load(Ordering::Relaxed);
    let from = next.load(Ordering::Relaxed);
    while next.load(Ordering::Relaxed) < from + 50 {
        std::thread::yield_now();
    }
    ended.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    // Requests that were at the bad origin by then.
    assert!(broken.load(Ordering::Relaxed) <= failed + 4, "{failed} {broken:?}");
    assert_eq!(metric(&serving.admin, "verge_edge_reloads_undone_total"), 1);
    let told = run(&[&["guard"], &desk[..]].concat(), folder.path());
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("the config file is not in service") && told.contains("100 %, before 0 %"),
        "{told}"
    );
    println!("{line}");
}

#[test]
fn a_reload_stays_as_it_is_where_the_config_before_cannot_come_back() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let file = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let guard = "[guard]\nanswers = 10\n";
    let good = format!("{text}{guard}[log.access]\nto = \"logs/access.log\"\n");
    std::fs::write(&file, &good).unwrap();
    let mut serving = serve_with(Stdio::piped(), folder.path(), "info");
    let log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(status(&serving.public, 0), 200);

    let old = text.split("origins = [\"http://").nth(1).unwrap().split('"').next().unwrap();
    std::fs::write(&file, format!("{}{guard}", text.replace(old, &failing()))).unwrap();
    let desk = ["--admin", &serving.admin, "--token-file", "verge-edge.token"];
    assert!(run(&[&["reload"], &desk[..]].concat(), folder.path()).status.success());
    // Where the log of before was there is no place for it any more.
    std::fs::remove_dir_all(&logs).unwrap();
    for path in 1..=10 {
        assert_eq!(status(&serving.public, path), 500);
    }
    let mut seen = Vec::new();
    let line =
        log.inspect(|line| seen.push(line.clone())).find(|line| line.contains("cannot come back")).unwrap();
    for part in ["ERROR", "verge_edge::guard", "site=\"*\"", "answers=10", "percent=100", "logs/access.log"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!seen.iter().any(|line| line.contains("the config before is back")), "{seen:?}");
    assert_eq!(metric(&serving.admin, "verge_edge_reloads_undone_total"), 0);
    let told = run(&[&["guard"], &desk[..]].concat(), folder.path());
    assert!(!String::from_utf8(told.stdout).unwrap().contains("is not in service"));
    // All of the new config is in service, and the next one is taken in.
    assert_eq!(status(&serving.public, 11), 500);
    std::fs::write(&file, format!("{text}{guard}")).unwrap();
    assert!(run(&[&["reload"], &desk[..]].concat(), folder.path()).status.success());
    assert_eq!(status(&serving.public, 12), 200);
}
