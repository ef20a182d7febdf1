//! Notices to a secondary on a real socket; time moves by hand where nobody answers.

use super::*;
use crate::tsig::Algorithm;

const SECRET: &[u8] = b"0123456789abcdef";

fn order(secondary: SocketAddr, key: Option<&Arc<Key>>) -> Order {
    Order {
        apex: Name::parse_absolute("example.com").unwrap(),
        view: Which::Public,
        serial: 7,
        soa: (300, [&[0, 0][..], &[0; 20]].concat().into()),
        secondary,
        key: key.map(Arc::clone),
        sources: Vec::new(),
    }
}

fn key(secret: &[u8]) -> Arc<Key> {
    let name = Name::parse_absolute("mirror").unwrap();
    Arc::new(Key::new(name, Algorithm::HmacSha256, secret, Which::Public))
}

/// The answer of a secondary: the notice's ID, and what it thinks of it.
fn answer(notice: &[u8], rcode: u8) -> Vec<u8> {
    vec![notice[0], notice[1], 0x80 | OPCODE_NOTIFY << 3 | 4, rcode, 0, 0, 0, 0, 0, 0, 0, 0]
}

async fn heard(secondary: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut notice = vec![0; 512];
    let (bytes, from) = secondary.recv_from(&mut notice).await.unwrap();
    notice.truncate(bytes);
    (notice, from)
}

#[tokio::test]
async fn a_notice_is_the_soa_of_the_zone_and_its_answer_ends_it() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let order = order(secondary.local_addr().unwrap(), None);
    let answers = async {
        let (notice, from) = heard(&secondary).await;
        assert_eq!(notice[2..12], [0x24, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(
            notice[12..]
                .starts_with(b"\x07example\x03com\0\0\x06\0\x01\xc0\x0c\0\x06\0\x01\0\0\x01\x2c\0\x16")
        );
        // Neither of these is the answer.
        let mut other = answer(&notice, 0);
        other[1] ^= 1;
        secondary.send_to(&other, from).await.unwrap();
        secondary.send_to(&notice, from).await.unwrap();
        secondary.send_to(&answer(&notice, 0), from).await.unwrap();
    };
    let (told, ()) = tokio::join!(tell(&order), answers);
    assert_eq!(told, Notified::Taken);
}

#[tokio::test]
async fn a_signed_notice_takes_a_signed_answer_only() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ours = key(SECRET);
    let order = order(secondary.local_addr().unwrap(), Some(&ours));
    let answers = async {
        let (notice, from) = heard(&secondary).await;
        let keys: crate::tsig::Keys =
            [Key::new(ours.name.clone(), ours.algorithm, SECRET, ours.view)].into_iter().collect();
        let now = clock::moment().unix_seconds;
        let mut signer = crate::tsig::judge(&keys, &wire::tsig_of(&notice).unwrap(), now).unwrap();
        let mut foreign = answer(&notice, 0);
        Signer::of_request(&key(b"another secret of 24 oct")).sign(&mut foreign, SignedError::None, now);
        let mut good = answer(&notice, 0);
        signer.sign(&mut good, SignedError::None, now);
        for message in [&answer(&notice, 0), &foreign, &good] {
            secondary.send_to(message, from).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(tell(&order), answers);
    assert_eq!(told, Notified::Taken);
}

#[tokio::test]
async fn a_secondary_that_refuses_is_asked_once() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let order = order(secondary.local_addr().unwrap(), Some(&key(SECRET)));
    let answers = async {
        let (notice, from) = heard(&secondary).await;
        secondary.send_to(&answer(&notice, 9), from).await.unwrap();
    };
    let (told, ()) = tokio::join!(tell(&order), answers);
    assert_eq!(told, Notified::Refused);
}

#[tokio::test]
async fn a_newer_version_takes_the_place_of_an_older_notice() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
    let (metrics, drain) = (Arc::new(Metrics::default()), CancellationToken::new());
    let running = tokio::spawn(run(inbox, metrics, drain.clone()));
    let first = order(secondary.local_addr().unwrap(), None);
    orders.send(first.clone()).unwrap();
    let (notice, _) = heard(&secondary).await;
    orders.send(Order { soa: (9, first.soa.1.clone()), ..first }).unwrap();
    // The first is not answered, and not asked again: what comes next is the second.
    let (next, from) = heard(&secondary).await;
    assert_ne!(notice[..2], next[..2]);
    assert_eq!(next[12 + 13 + 4 + 6..][..4], [0, 0, 0, 9]);
    secondary.send_to(&answer(&next, 0), from).await.unwrap();
    drain.cancel();
    running.await.unwrap();
}

/// Many zones of a secondary that is gone take a minute each.
#[tokio::test(start_paused = true)]
async fn a_secondary_that_does_not_answer_keeps_no_other_waiting() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
    for zone in 0..2 * MOST_AT_ONCE {
        let apex = Name::parse_absolute(&format!("zone{zone}.example")).unwrap();
        orders.send(Order { apex, ..order(silent.local_addr().unwrap(), None) }).unwrap();
    }
    orders.send(order(other.local_addr().unwrap(), None)).unwrap();
    let one_round = Duration::from_secs(WAITS_SECONDS.iter().sum());
    tokio::select! {
        () = run(inbox, Arc::new(Metrics::default()), CancellationToken::new()) => panic!("it goes on"),
        heard = timeout(one_round, heard(&other)) => {
            assert!(heard.unwrap().0[12..].starts_with(b"\x07example\x03com\0"));
        }
    }
}
