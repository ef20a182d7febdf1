//! Primaries that lie, break off, or say too much.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::rtype::Type;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

const ADDRESS: [u8; 4] = [192, 0, 2, 1];

/// A message with these records: `S5` is a SOA with serial 5, `a` an address; `a/3` is of class 3.
fn message(texts: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for text in texts.split_whitespace() {
        message[7] += 1;
        let (text, class) =
            text.split_once('/').map_or((text, 1), |(text, class)| (text, class.parse().unwrap()));
        let (owner, rtype, rdata) = match text.strip_prefix('S') {
            Some(serial) => {
                let numbers = [serial.parse().unwrap(), 60_u32, 10, 600, 5].map(u32::to_be_bytes).concat();
                (name("ex"), Type::SOA, [b"\x01h\0\x01h\0".as_slice(), &numbers].concat())
            }
            None if text.contains('.') => (name(text), Type::A, ADDRESS.to_vec()),
            None => (name(&format!("{text}.ex")), Type::A, ADDRESS.to_vec()),
        };
        message.extend_from_slice(owner.as_wire());
        message.extend_from_slice(&[0, u8::try_from(rtype.0).unwrap(), 0, class, 0, 0, 0, 60, 0]);
        message.push(u8::try_from(rdata.len()).unwrap());
        message.extend_from_slice(&rdata);
    }
    message
}

async fn send(stream: &mut TcpStream, id: &[u8], mut message: Vec<u8>) {
    message[..2].copy_from_slice(id);
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    // A client that has heard enough is gone.
    let _ = stream.write_all(&framed).await;
}

/// Answers the SOA with `version`, IXFR with `changes` and AXFR with `whole`; `|` ends a message, `!` the connection.
/// With `#` a message counts a record that is not there, and with `%` its last byte is missing.
async fn serve(listener: TcpListener, version: &'static str, changes: &'static str, whole: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(bytes) = stream.read_u16().await {
            let mut question = vec![0; usize::from(bytes)];
            stream.read_exact(&mut question).await.unwrap();
            let texts = match question[12 + name("ex").as_wire().len() + 1] {
                6 => version,
                251 => changes,
                252 => whole,
                other => panic!("{other}"),
            };
            let is_over = texts.ends_with('!');
            for texts in texts.trim_end_matches('!').split('|').filter(|it| !it.is_empty()) {
                let plain = texts.replace(['#', '%'], "");
                let mut made = message(plain.trim_start_matches(|it: char| it.is_ascii_digit()));
                made[7] += u8::from(texts.contains('#'));
                made.truncate(made.len() - usize::from(texts.contains('%')));
                // A digit in front is the rcode.
                made[3] = texts.bytes().next().filter(u8::is_ascii_digit).map_or(0, |digit| digit - b'0');
                send(&mut stream, &question[..2], made).await;
            }
            if is_over {
                break;
            }
        }
    }
}

async fn fetched(
    ours: Option<u32>,
    (version, changes, whole): (&'static str, &'static str, &'static str),
) -> Result<Fetched, NotFetched> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, version, changes, whole));
    let (apex, primary, slots) = (name("ex"), Primary::Tcp(address), Semaphore::new(1));
    let fetch = Fetch {
        apex: &apex,
        primary: &primary,
        ca: None,
        identity: None,
        key: None,
        sources: &[],
        slots: &slots,
    };
    let fetched = fetch.newer_than(ours, Some(13)).await;
    server.abort();
    fetched
}

#[tokio::test]
async fn a_lie_is_told_and_not_taken() {
    for (ours, script, expected) in [
        (None, ("S5", "", "S5 a S5"), "whole 2"),
        (None, ("S5", "", "S5|a|b|S5"), "whole 3"),
        (Some(5), ("S5", "", ""), "none"),
        (Some(6), ("S5", "", ""), "none"),
        (Some(4), ("S5", "S5 S4 S5 a S5", ""), "changes 1"),
        (Some(4), ("S5", "S5 a S5", ""), "whole 2"),
        (Some(4), ("S5", "4", "S5 a S5"), "whole 2"),
        (Some(4), ("S5", "1", "S5 a S5"), "whole 2"),
        (Some(4), ("S5", "S5 S3 S5 S5", "S5 a b S5"), "whole 3"),
        (Some(4), ("S5", "S5 S4 !", "S5 a b S5"), "whole 3"),
        (None, ("5", "", ""), "REFUSED"),
        (None, ("9", "", ""), "NOTAUTH"),
        (None, ("2", "", ""), "rcode 2"),
        (None, ("a", "", ""), "does not speak for the zone"),
        (None, ("!", "", ""), "closed the connection before the end"),
        (None, ("S5", "", "S5 a!"), "closed the connection before the end"),
        (None, ("S5", "", "5"), "REFUSED"),
        (None, ("S5", "", "a S5"), "the first record is not the zone's SOA"),
        (None, ("S5", "", "S5 a S6"), "two different SOAs"),
        (None, ("S5", "", "S5 S6 a S5 S5"), "two different SOAs"),
        (None, ("S5", "", "S5 a S5 b"), "something follows the last SOA"),
        (None, ("S5", "", "S5 a/3 S5"), "class 3"),
        (None, ("S5", "", "S5 a.other S5"), "a.other. is not in the zone"),
        (None, ("S5", "", "S5 a S5#"), "its answer is none to the question"),
        (None, ("S5", "", "S5 a S5%"), "its answer is none to the question"),
        (Some(4), ("S5", "S5 S4 S5 a S5#", "S5 a b S5"), "whole 3"),
        (None, ("S5#", "", ""), "its answer is none to the question"),
        (None, ("S5", "", "S5| |S5"), "ended before the last SOA"),
        (Some(4), ("S13", "", ""), "still has version 13, which was turned down"),
    ] {
        let shown = match fetched(ours, script).await {
            Ok(Fetched { content: None, .. }) => "none".to_owned(),
            Ok(Fetched { content: Some(Content::Current), .. }) => "current".to_owned(),
            Ok(Fetched { content: Some(Content::Whole(records)), .. }) => format!("whole {}", records.len()),
            Ok(Fetched { content: Some(Content::Changes(_, changes)), .. }) => {
                format!("changes {}", changes.len())
            }
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{ours:?} {script:?}: {shown}, not {expected}");
    }
}

#[tokio::test]
async fn with_a_key_nothing_unsigned_is_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, "S5", "", "S5 a S5"));
    let key = Key::new(name("k"), crate::tsig::Algorithm::HmacSha256, &[7; 32], crate::view::Which::Public);
    let (apex, primary, slots) = (name("ex"), Primary::Tcp(address), Semaphore::new(1));
    let key = Some(Arc::new(key));
    let fetch =
        Fetch { apex: &apex, primary: &primary, ca: None, identity: None, key, sources: &[], slots: &slots };
    let error = fetch.newer_than(None, None).await.err().unwrap().to_string();
    assert!(error.contains("not signed"), "{error}");
    server.abort();
}

#[tokio::test]
async fn a_primary_whose_clock_is_an_hour_off_is_told_and_not_believed() {
    const HOUR: u64 = 3600;
    for (says_so, expected) in [(false, "signed at another time"), (true, "BADTIME")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let new =
            || Key::new(name("k"), crate::tsig::Algorithm::HmacSha256, &[7; 32], crate::view::Which::Public);
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let keys: crate::tsig::Keys = [new()].into_iter().collect();
            let tsig = crate::wire::tsig_of(&question).unwrap();
            let now = crate::clock::moment().unix_seconds;
            let mut signer = crate::tsig::judge(&keys, &tsig, now).unwrap();
            let error = match says_so {
                true => crate::tsig::SignedError::BadTime(tsig.time),
                false => crate::tsig::SignedError::None,
            };
            let mut answer = message("S5");
            answer[..2].copy_from_slice(&question[..2]);
            answer[3] = if says_so { 9 } else { 0 };
            signer.sign(&mut answer, error, now + HOUR);
            let id = question[..2].to_vec();
            send(&mut stream, &id, answer).await;
        });
        let (apex, primary, slots) = (name("ex"), Primary::Tcp(address), Semaphore::new(1));
        let key = Some(Arc::new(new()));
        let fetch = Fetch {
            apex: &apex,
            primary: &primary,
            ca: None,
            identity: None,
            key,
            sources: &[],
            slots: &slots,
        };
        let error = fetch.newer_than(None, None).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        server.await.unwrap();
    }
}
