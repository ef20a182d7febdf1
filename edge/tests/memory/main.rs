//! The process takes no more memory than `reference.toml` says, whatever it stores. Each case has a process of its own, so
//! that what one leaves behind is not lent to the next.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `memory` of the config.
const MEMORY_BYTES: u64 = 48 << 20;
const CLIENTS: u64 = 8;
/// The formula's share for each connection, with the default `head_size`, and an origin.
const CONNECTION_BYTES: u64 = (576 + 16) << 10;
const ORIGIN_BYTES: u64 = 8 << 20;
/// Of the 64 MiB that the formula has for the program: what the allocator holds in pages that are partly used. It varies
/// with the order in which threads run: the same case grew by 62 to 73 MB in all. The fault for which this test was made,
/// heads and pieces that were not weighed, took 1.9 times `memory`.
const PAGES_BYTES: u64 = 20 << 20;

/// The origin's answer to each URL.
#[derive(Clone, Copy)]
struct Answer {
    head_bytes: usize,
    body_bytes: usize,
    /// The body comes in pieces of this many bytes.
    piece_bytes: usize,
}

struct Serving {
    child: Child,
    public: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(folder: &Path, origin: &str) -> Serving {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[cache]\nmemory = \"{}MiB\"\n[limits]\nconnections = {CLIENTS}\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{origin}\"]\n",
        MEMORY_BYTES >> 20
    );
    std::fs::write(folder.join("edge.toml"), text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_verge-edge"))
        .args(["serve", "--config", "edge.toml"])
        .env("RUST_LOG", "off")
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // `listening ADDRESS public`
    let public = line.split_whitespace().nth(1).unwrap().to_owned();
    Serving { child, public }
}

fn origin(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer_all(stream, answer));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream, answer: Answer) {
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nX: {}\r\nContent-Length: {}\r\n\r\n",
        "z".repeat(answer.head_bytes),
        answer.body_bytes
    );
    let body = vec![b'x'; answer.body_bytes];
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(2) => {}
            Ok(_) => continue,
        }
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        for piece in body.chunks(answer.piece_bytes) {
            if stream.write_all(piece).is_err() {
                return;
            }
        }
    }
}

/// Asks for `count` URLs of its own over one connection.
fn ask(address: &str, client: u64, count: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::with_capacity(64 << 10, stream.try_clone().unwrap());
    let mut body = Vec::new();
    for number in 0..count {
        let request = format!("GET /{client}/{number} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body).unwrap();
    }
}

/// The most memory that the process has had, in bytes.
fn high_water_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    kibibytes << 10
}

/// Stores half as much again as there is memory for.
#[track_caller]
fn check(what: &str, answer: Answer) {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), &origin(answer));
    let idle_bytes = high_water_bytes(serving.child.id());
    let count = MEMORY_BYTES * 3 / 2 / (answer.head_bytes + answer.body_bytes + 1_200) as u64;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = &serving.public;
            scope.spawn(move || ask(address, client, count.div_ceil(CLIENTS)));
        }
    });
    let grown_bytes = high_water_bytes(serving.child.id()) - idle_bytes;
    // The rest of the formula's 64 MiB is left out: it would hide what is not weighed.
    let bound_bytes =
        MEMORY_BYTES + MEMORY_BYTES / 16 + CLIENTS * CONNECTION_BYTES + ORIGIN_BYTES + PAGES_BYTES;
    assert!(grown_bytes <= bound_bytes, "{what}: grown by {grown_bytes} bytes, over {bound_bytes}");
}

#[test]
fn what_is_stored_takes_no_more_than_the_memory_that_the_config_gives() {
    let cases = [
        ("heads of 4 KB", 4_000, 1, 1),
        ("heads of 50 KB", 50_000, 1, 1),
        ("bodies of 33 KB", 10, 33_000, 33_000),
        ("bodies of 330 KB in pieces of 33 KB", 10, 330_000, 33_000),
        ("bodies of 4 MB", 200, 4_000_000, 65_536),
    ];
    for (what, head_bytes, body_bytes, piece_bytes) in cases {
        check(what, Answer { head_bytes, body_bytes, piece_bytes });
    }
}
