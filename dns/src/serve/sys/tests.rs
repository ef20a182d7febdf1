use std::time::Duration;

use super::*;

/// No test waits for this; one that would hang ends.
const LIMIT: Duration = Duration::from_secs(20);

fn bound(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Takes `count` packets, each of one octet, and queues answers: the octet of the question, as often as `octets` says.
fn answered(batch: &mut Batch, server: &UdpSocket, octets: &[usize]) {
    // A packet over loopback is there when its sender's call returns: one call brings all.
    assert_eq!(batch.receive(server, Wait::No).unwrap(), octets.len());
    for (at, octets) in octets.iter().enumerate() {
        let (packet, _, answer) = batch.packet(at).unwrap();
        let octet = packet[0];
        answer.clear();
        answer.resize(*octets, octet);
        batch.queue(at);
    }
}

/// The next datagram of a client: its octet, its length and who sent it.
fn next(client: &UdpSocket) -> (u8, usize, SocketAddr) {
    let mut buffer = [0; 2048];
    let (octets, from) = client.recv_from(&mut buffer).unwrap();
    assert!(buffer[..octets].iter().all(|octet| *octet == buffer[0]), "answers ran into each other");
    (buffer[0], octets, from)
}

/// One client asks as many questions as there are `octets`: in how many messages the answers leave.
fn check(octets: &[usize], messages: usize) {
    let (server, client) = (bound("127.0.0.1"), bound("127.0.0.1"));
    client.connect(server.local_addr().unwrap()).unwrap();
    let mut batch = Batch::new(2048, joining(&server));
    for question in 0..octets.len() {
        client.send(&[question as u8]).unwrap();
    }
    answered(&mut batch, &server, octets);
    assert_eq!(batch.messages, messages, "{octets:?}");
    assert_eq!(batch.send(&server), Sent { refused: 0 });
    for (question, octets) in octets.iter().enumerate() {
        let (octet, length, _) = next(&client);
        assert_eq!((usize::from(octet), length), (question, *octets));
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
    for (client, octet) in [(&one, 1), (&other, 2), (&other, 3), (&one, 4)] {
        client.send_to(&[octet], server.local_addr().unwrap()).unwrap();
    }
    answered(&mut batch, &server, &[60; 4]);
    assert_eq!(batch.messages, 3);
    assert_eq!(batch.send(&server), Sent { refused: 0 });
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
    assert_eq!(batch.send(&server), Sent { refused: 0 });
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
    assert_eq!(batch.send(&server), Sent { refused: 0 });
    assert_eq!([0; 4].map(|_| next(&client).1), [50, 60, 60, 40]);
}
