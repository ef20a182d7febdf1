//! Secondaries of a whole server: told of what their side sees, and given it.

use std::os::unix::fs::PermissionsExt as _;

use hickory_proto::op;
use hickory_proto::serialize::binary::BinDecodable;

use super::*;
use crate::rtype::Type;
use crate::tsig::{Algorithm, Key, Keys, SignedError, Signer};
use crate::view::Which;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A zone with text enough for changes to be shorter.
fn zone(serial: u32, records: &str) -> String {
    let stays: String = (0..50).map(|at| format!("text{at} TXT \"this stays as it is\"\n")).collect();
    format!("{}{stays}{records}", ZONE.replace(" 1 2h", &format!(" {serial} 2h")))
}

fn key(name: &str, view: Which) -> Arc<Key> {
    Arc::new(Key::new(crate::name::Name::parse_absolute(name).unwrap(), Algorithm::HmacSha256, BYTES, view))
}

/// A server with a key and a secondary for each side.
async fn start(site: &Site, secondaries: [&UdpSocket; 2]) -> Running {
    site.write("secret.key", SECRET);
    fs::set_permissions(site.path("secret.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let rule = |(key, view): (&str, &str), secondary: &UdpSocket| {
        format!(
            "[keys.{key}]\nsecret_file = \"secret.key\"\nview = \"{view}\"\n[[transfer]]\nkeys = [\"{key}\"]\nnotify = [\"{}\"]\n",
            secondary.local_addr().unwrap()
        )
    };
    let [outer, inner] = secondaries;
    let rules = rule(("outer", "outside"), outer) + &rule(("inner", "inside"), inner);
    site.start(&format!("{CONFIG}{rules}")).await
}

/// The next notice, which the secondary takes; its serial.
fn noticed(secondary: &UdpSocket, key: &Arc<Key>) -> u32 {
    let mut notice = [0; 512];
    let (bytes, from) = secondary.recv_from(&mut notice).unwrap();
    let tsig = crate::wire::tsig_of(&notice[..bytes]).unwrap();
    let keys: Keys = [Key::new(key.name.clone(), key.algorithm, BYTES, key.view)].into_iter().collect();
    let now = crate::clock::moment().unix_seconds;
    let mut signer = crate::tsig::judge(&keys, &tsig, now).unwrap();
    let serial = tsig.covered.last_chunk::<20>().unwrap();
    let mut answer = vec![notice[0], notice[1], 0xa4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    signer.sign(&mut answer, SignedError::None, now);
    secondary.send_to(&answer, from).unwrap();
    u32::from_be_bytes(serial[..4].try_into().unwrap())
}

/// All records that a secondary gets.
fn take(server: SocketAddr, key: &Arc<Key>, have: Option<u32>) -> Vec<String> {
    let qtype = if have.is_some() { Type::IXFR } else { Type::AXFR };
    let mut message = question("example.com");
    let at = message.len() - 3;
    message[at] = u8::try_from(qtype.0).unwrap();
    if let Some(serial) = have {
        message[9] = 1;
        message.extend_from_slice(&[0, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
        message.extend_from_slice(&serial.to_be_bytes());
        message.extend_from_slice(&[0; 16]);
    }
    Signer::of_request(key).sign(&mut message, SignedError::None, crate::clock::moment().unix_seconds);
    let mut stream = connect(server);
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    stream.write_all(&framed).unwrap();
    let mut records: Vec<String> = Vec::new();
    loop {
        let answer = op::Message::from_bytes(&read_tcp(&mut stream)).unwrap();
        records.extend(answer.answers.iter().map(ToString::to_string));
        let soas = records.iter().filter(|record| *record == &records[0]).count();
        if records.is_empty() || soas > 1 {
            // The connection goes on for other questions.
            let other = question("www.example.com");
            stream
                .write_all(&[&u16::try_from(other.len()).unwrap().to_be_bytes()[..], &other].concat())
                .unwrap();
            assert_eq!(said(&read_tcp(&mut stream), &other), address("203.0.113.1"));
            return records;
        }
    }
}

fn secondary() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn each_secondary_is_told_of_its_side_and_takes_what_changed() {
    let site = Site::new();
    let (outer, inner) = (secondary(), secondary());
    let keys = [key("outer", Which::Public), key("inner", Which::Internal)];
    site.write("zones/example.com.zone", &zone(1, ""));
    let running = start(&site, [&outer, &inner]).await;
    let server = running.listening().outside[0];
    assert_eq!((noticed(&outer, &keys[0]), noticed(&inner, &keys[1])), (1, 1));
    let outside = take(server, &keys[0], None);
    assert_eq!(outside.len(), 1 + 3 + 50 + 1);
    assert!(!outside.iter().any(|record| record.contains("10.0.0.")), "{outside:?}");
    assert_eq!(take(server, &keys[1], None).len(), outside.len() + 1);

    // Nobody outside hears of this.
    site.write("zones/example.com.zone", &zone(2, "lab A 10.0.0.9\n"));
    running.reload();
    assert_eq!(noticed(&inner, &keys[1]), 2);
    assert_eq!(take(server, &keys[0], None), outside, "the same records under the same serial");
    assert_eq!(take(server, &keys[1], Some(1)).len(), 1 + 2 + 1 + 1);

    // Of this both do, and the outside of nothing else before.
    site.write("zones/example.com.zone", &zone(3, "lab A 10.0.0.9\nnew A 203.0.113.9\n"));
    running.reload();
    assert_eq!((noticed(&outer, &keys[0]), noticed(&inner, &keys[1])), (2, 3));
    let changes = take(server, &keys[0], Some(1));
    assert_eq!(changes.len(), 1 + 2 + 1 + 1, "{changes:?}");
    assert!(changes[3].contains("203.0.113.9"), "{changes:?}");
    running.drain().await;

    // A server that starts again tells its secondaries, and goes on counting.
    let running = start(&site, [&outer, &inner]).await;
    assert_eq!((noticed(&outer, &keys[0]), noticed(&inner, &keys[1])), (2, 3));
    running.drain().await;
}
