use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// No test waits for this; one that would hang ends.
const LIMIT: Duration = Duration::from_secs(20);
/// More than IPv4 carries, whatever the interface.
const TOO_LONG_BYTES: usize = 65_530;

fn bound(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Takes `count` packets, each of one byte, and queues answers: the byte of the question, as often as `bytes` says.
fn answered(batch: &mut Batch, server: &UdpSocket, bytes: &[usize]) {
    // A packet over loopback is there when its sender's call returns: one call brings all.
    assert_eq!(batch.receive(server, Wait::No).unwrap(), bytes.len());
    for (at, bytes) in bytes.iter().enumerate() {
        let (packet, _, answer) = batch.packet(at).unwrap();
        let byte = packet[0];
        answer.clear();
        answer.resize(*bytes, byte);
        batch.queue(at);
    }
}

/// The next datagram of a client: its byte, its length and who sent it.
fn next(client: &UdpSocket) -> (u8, usize, SocketAddr) {
    let mut buffer = [0; 2048];
    let (bytes, from) = client.recv_from(&mut buffer).unwrap();
    assert!(buffer[..bytes].iter().all(|byte| *byte == buffer[0]), "answers ran into each other");
    (buffer[0], bytes, from)
}

/// One client asks as many questions as there are `bytes`: in how many messages the answers leave.
fn check(bytes: &[usize], messages: usize) {
    let (server, client) = (bound("127.0.0.1"), bound("127.0.0.1"));
    client.connect(server.local_addr().unwrap()).unwrap();
    let mut batch = Batch::new(2048, joining(&server));
    for question in 0..bytes.len() {
        client.send(&[question as u8]).unwrap();
    }
    answered(&mut batch, &server, bytes);
    assert_eq!(batch.messages, messages, "{bytes:?}");
    assert_eq!(batch.send(&server, Vec::clear), Sent::default());
    for (question, bytes) in bytes.iter().enumerate() {
        let (byte, length, _) = next(&client);
        assert_eq!((usize::from(byte), length), (question, *bytes));
    }
}

#[test]
fn each_answer_is_a_datagram_of_its_own_and_they_come_in_order() {
    check(&[60], 1);
    check(&[60, 60, 60, 40], 1);
    check(&[60, 60, 40, 40, 60], 3);
    check(&[40, 60, 1232, 1232], 3);
    check(&[50; BATCH], 1);
}

#[test]
fn answers_to_two_clients_never_share_a_message() {
    let (server, one, other) = (bound("127.0.0.1"), bound("127.0.0.1"), bound("127.0.0.1"));
    let mut batch = Batch::new(2048, joining(&server));
    for (client, byte) in [(&one, 1), (&other, 2), (&other, 3), (&one, 4)] {
        client.send_to(&[byte], server.local_addr().unwrap()).unwrap();
    }
    answered(&mut batch, &server, &[60; 4]);
    assert_eq!(batch.messages, 3);
    assert_eq!(batch.send(&server, Vec::clear), Sent::default());
    assert_eq!([next(&one).0, next(&one).0, next(&other).0, next(&other).0], [1, 4, 2, 3]);
}

#[test]
fn on_a_wildcard_address_each_answer_leaves_from_the_address_that_was_asked() {
    let (server, client) = (bound("0.0.0.0"), bound("127.0.0.1"));
    set_option(&server, libc::IPPROTO_IP, libc::IP_PKTINFO, 1).unwrap();
    let port = server.local_addr().unwrap().port();
    let asked = ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1"];
    let mut batch = Batch::new(2048, joining(&server));
    for (question, address) in asked.iter().enumerate() {
        client.send_to(&[question as u8], (*address, port)).unwrap();
    }
    answered(&mut batch, &server, &[60; 5]);
    assert_eq!(batch.messages, 3);
    assert_eq!(batch.send(&server, Vec::clear), Sent::default());
    for (question, address) in asked.iter().enumerate() {
        let from = SocketAddr::new(address.parse().unwrap(), port);
        assert_eq!(next(&client), (question as u8, 60, from));
    }
}

#[test]
fn what_the_kernel_will_not_cut_is_sent_one_by_one() {
    let (server, client) = (bound("127.0.0.1"), bound("127.0.0.1"));
    // The kernel cuts no message of a socket that leaves out checksums.
    set_option(&server, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    let mut batch = Batch::new(2048, joining(&server));
    for question in 0..4 {
        client.send(&[question]).unwrap();
    }
    answered(&mut batch, &server, &[50, 60, 60, 40]);
    assert_eq!(batch.messages, 2);
    assert_eq!(batch.send(&server, Vec::clear), Sent::default());
    assert_eq!([0; 4].map(|_| next(&client).1), [50, 60, 60, 40]);
}

/// A batch that holds `count` questions that came in on `socket`.
fn asked(socket: &UdpSocket, count: usize) -> Batch {
    let mut batch = Batch::new(512, joining(socket));
    assert_eq!(batch.receive(socket, Wait::ForOne).unwrap(), count);
    batch
}

#[test]
fn a_full_buffer_does_not_stop_the_loop() {
    // Unread answers fill the sender's buffer, as those that wait for a neighbour's address do.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.send(b"question").unwrap();
    let ours = UdpSocket::from(OwnedFd::from(ours));
    let (done, sent) = mpsc::channel();
    std::thread::spawn(move || {
        let mut batch = asked(&ours, 1);
        batch.answers[0].resize(512, 7);
        let refused = |_: usize| {
            (0..BATCH).for_each(|_| batch.queue(0));
            batch.send(&ours, |_| panic!("it is not too long")).refused
        };
        let refused = (0..10_000).map(refused).find(|refused| *refused > 0);
        // A receiver that gave up waiting for it has failed already.
        let _ = done.send(refused);
    });
    let refused = sent.recv_timeout(LIMIT).expect("the loop does not wait for room");
    assert!(refused.is_some_and(|refused| refused <= BATCH), "they are counted: {refused:?}");
    drop(theirs);
}

#[test]
fn an_answer_that_is_too_long_for_the_network_is_shortened() {
    let [server, client] = [(), ()].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let (shortened, refused) = (Sent { refused: 0, shortened: 1 }, Sent { refused: 1, shortened: 0 });
    for (kept_bytes, expected, arrive) in [
        (12, shortened, &[10, 12, 20, 20][..]),
        (TOO_LONG_BYTES, refused, &[10, 20, 20]),
        // An empty packet would say nothing.
        (0, refused, &[10, 20, 20]),
    ] {
        for _ in 0..4 {
            client.send_to(b"question", server.local_addr().unwrap()).unwrap();
        }
        let mut batch = asked(&server, 4);
        for (at, bytes) in [10, TOO_LONG_BYTES, 20, 20].into_iter().enumerate() {
            batch.answers[at].resize(bytes, 7);
            batch.queue(at);
        }
        assert_eq!(batch.send(&server, |answer| answer.truncate(kept_bytes)), expected);
        let arrived = arrive.iter().map(|_| client.recv(&mut [0; 64]).unwrap());
        assert_eq!(arrived.collect::<Vec<_>>(), arrive, "{kept_bytes}");
    }
}
