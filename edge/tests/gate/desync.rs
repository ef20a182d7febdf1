//! Connections made by chance, whole and damaged: the service sees the requests that are there, in order, and no other.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::AsyncWriteExt;

use super::naive;
use super::server::{Seen, pipe, read_to_end};

const CONNECTIONS: u64 = 1500;

/// Bytes that mean something somewhere.
const ODD: &[u8] = b"\r\n \t:;,0159afxG/\0\x7f\xff_-.?#@%\"\\HT";

fn body(chance: &mut StdRng) -> Vec<u8> {
    match chance.random_range(0..4) {
        0 => Vec::new(),
        1 => b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        2 => b"0\r\n\r\nPOST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        _ => (0..chance.random_range(0..5000)).map(|_| chance.random_range(b'a'..=b'z')).collect(),
    }
}

fn chunked(body: &[u8], chance: &mut StdRng) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chance.random_range(1..=rest.len()));
        let extension = if chance.random() { ";a=b" } else { "" };
        coded.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
        rest = behind;
    }
    coded.extend_from_slice(if chance.random() { b"0\r\n\r\n".as_slice() } else { b"00\r\nA: b\r\n\r\n" });
    coded
}

fn request(number: usize, chance: &mut StdRng) -> (Vec<u8>, Seen) {
    let body = body(chance);
    let target = format!("/{number}?len={}", body.len());
    let empty_line = if chance.random_ratio(1, 8) { "\r\n" } else { "" };
    let upgrade = if chance.random_ratio(1, 8) { "Upgrade: h2c\r\n" } else { "" };
    let start = format!("{empty_line}POST {target} HTTP/1.1\r\nHost: a\r\n{upgrade}");
    let (field, coded) = if chance.random() {
        ("Transfer-Encoding: chunked".to_owned(), chunked(&body, chance))
    } else {
        (format!("Content-Length: {}", body.len()), body.clone())
    };
    ([start.as_bytes(), field.as_bytes(), b"\r\n\r\n", &coded].concat(), Seen::new("POST", &target, &body))
}

pub(crate) fn connection(chance: &mut StdRng) -> (Vec<u8>, Vec<Seen>) {
    let requests: Vec<_> = (0..chance.random_range(1..8)).map(|number| request(number, chance)).collect();
    let bytes = requests.iter().flat_map(|(bytes, _)| bytes).copied().collect();
    (bytes, requests.into_iter().map(|(_, seen)| seen).collect())
}

fn damage(bytes: &mut Vec<u8>, chance: &mut StdRng) {
    for _ in 0..chance.random_range(1..4) {
        let at = chance.random_range(0..bytes.len());
        let odd = ODD[chance.random_range(0..ODD.len())];
        match chance.random_range(0..4) {
            0 => bytes[at] = odd,
            1 => bytes.insert(at, odd),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => bytes[at] ^= 1 << chance.random_range(0..8),
        }
    }
}

/// Sends in pieces made by chance, reads all answers, and tells what the service saw.
async fn seen(bytes: &[u8], chance: &mut StdRng) -> Vec<Seen> {
    let (client, log) = pipe(chance.random_range(1..9000));
    let (mut read, mut write) = tokio::io::split(client);
    let most = chance.random_range(1..4000);
    let pieces: Vec<Vec<u8>> = {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(chance.random_range(1..=most.min(rest.len())));
            pieces.push(piece.to_vec());
            rest = behind;
        }
        pieces
    };
    let sending = async {
        for piece in pieces {
            // A server that has refused a request does not read on.
            if write.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    tokio::join!(read_to_end(&mut read), sending);
    log.take()
}

#[tokio::test]
async fn requests_that_are_well_framed_are_seen_each_once_and_whole() {
    for seed in 0..CONNECTIONS / 3 {
        let mut chance = StdRng::seed_from_u64(seed);
        let (bytes, expected) = connection(&mut chance);
        assert_eq!(naive::read(&bytes), expected, "the test's own reader, seed {seed}");
        assert_eq!(seen(&bytes, &mut chance).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn a_damaged_connection_shows_the_service_nothing_that_is_not_there() {
    let mut all = 0;
    for seed in 0..CONNECTIONS {
        let mut chance = StdRng::seed_from_u64(seed);
        let (mut bytes, _) = connection(&mut chance);
        damage(&mut bytes, &mut chance);
        let (seen, there) = (seen(&bytes, &mut chance).await, naive::read(&bytes));
        assert!(
            there.starts_with(&seen),
            "seed {seed}: saw {seen:?}, there was {there:?} in {:?}",
            String::from_utf8_lossy(&bytes)
        );
        all += seen.len();
    }
    assert!(all as u64 > CONNECTIONS, "most damage leaves requests before it: {all}");
}
