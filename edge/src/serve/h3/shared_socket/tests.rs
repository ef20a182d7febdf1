use std::future::poll_fn;
use std::time::Duration;

use tokio::time::timeout;

use super::*;

/// Two processes of a row that share a socket, the later one last, and a client.
struct Row {
    one: Arc<SharedSocket>,
    two: Arc<SharedSocket>,
    generations: [Generation; 2],
    client: UdpSocket,
}

impl Row {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        let first = Generation::first((1, 2));
        let generations = [first, first.next()];
        let one = SharedSocket::new(socket.try_clone().unwrap(), first, Channels::new(), true).unwrap();
        let before = one.channels().unwrap();
        let two = SharedSocket::new(socket, generations[1], before, false).unwrap();
        Self { one, two, generations, client }
    }

    /// Sends a packet with a short header to a connection of one of the two.
    fn send(&self, to: usize, text: &str) {
        let id = self.generations[to].id([9; 7]);
        self.client.send(&[&[0x40], &id[..], text.as_bytes()].concat()).unwrap();
    }
}

/// The end of the next packet that a process reads.
async fn read(socket: &SharedSocket) -> String {
    let mut bytes = vec![0; 2_000];
    let mut meta = [RecvMeta::default()];
    let count = poll_fn(|cx| {
        let mut bufs = [IoSliceMut::new(&mut bytes)];
        socket.poll_recv(cx, &mut bufs, &mut meta)
    });
    let count = timeout(Duration::from_secs(60), count).await.expect("a packet comes");
    assert_eq!(count.unwrap(), 1);
    let packet = &bytes[..meta[0].len];
    String::from_utf8(packet[1 + super::super::generation::ID_BYTES..].to_vec()).unwrap()
}

/// Whatever one reads of the other's, it would answer with a reset that the client believes.
#[tokio::test]
async fn a_process_reads_the_socket_once_the_one_before_has_stopped() {
    let row = Row::new();
    row.send(0, "to the first");
    tokio::select! {
        biased;
        packet = read(&row.two) => panic!("the first still reads, and the second read {packet}"),
        packet = read(&row.one) => assert_eq!(packet, "to the first"),
    }
    row.one.hand_over();
    row.send(1, "to the second");
    row.two.begin();
    tokio::select! {
        biased;
        packet = read(&row.one) => panic!("the second reads, and the first read {packet}"),
        packet = read(&row.two) => assert_eq!(packet, "to the second"),
    }
}

#[tokio::test]
async fn a_packet_for_a_process_before_is_forwarded_and_one_for_a_process_after_is_dropped() {
    let row = Row::new();
    // It is about to stop, and reads once more.
    row.send(1, "to the second");
    row.send(0, "to the first");
    assert_eq!(read(&row.one).await, "to the first");
    row.one.hand_over();
    row.two.begin();
    row.send(0, "to the first again");
    row.send(1, "to the second again");
    assert_eq!(read(&row.two).await, "to the second again");
    assert_eq!(read(&row.one).await, "to the first again");
}
