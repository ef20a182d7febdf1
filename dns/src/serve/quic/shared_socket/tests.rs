//! Two processes or more at one UDP socket, in one program.

use std::future::poll_fn;

use tokio::time::timeout;

use super::*;
use crate::serve::quic::generation::CHANCE_BYTES;
use crate::serve::quic::generation::tests::{long, short};
use crate::serve::testing::PATIENCE;

const FIRST: Generation = Generation::first((1, 2));

/// Processes in a row at one socket, and a client of theirs.
struct Row {
    socket: UdpSocket,
    processes: Vec<Arc<SharedSocket>>,
    client: UdpSocket,
}

impl Row {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        let first = SharedSocket::new(socket.try_clone().unwrap(), FIRST, Channels::new()).unwrap();
        Self { socket, processes: vec![first], client }
    }

    /// Another process takes over.
    fn restart(&mut self) {
        let before = self.processes.last().unwrap();
        let channels = before.channels().unwrap();
        before.hand_over();
        let next = SharedSocket::new(self.socket.try_clone().unwrap(), before.generation.next(), channels);
        self.processes.push(next.unwrap());
    }

    fn last(&self) -> &SharedSocket {
        self.processes.last().unwrap()
    }

    /// A connection ID of one of the processes.
    fn id(&self, process: usize) -> Vec<u8> {
        self.processes[process].generation.id([7; CHANCE_BYTES]).to_vec()
    }
}

/// The next packets that a process has read, and the circumstances of them.
async fn read(socket: &SharedSocket) -> (Vec<u8>, RecvMeta) {
    let mut bytes = [0; 4096];
    let mut meta = [RecvMeta::default()];
    let read = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut bytes)], &mut meta));
    assert_eq!(timeout(PATIENCE, read).await.expect("a packet").unwrap(), 1);
    (bytes[..meta[0].len].to_vec(), meta[0])
}

/// As [`read`], if there is anything at the moment.
async fn read_at_once(socket: &SharedSocket) -> Option<Vec<u8>> {
    let mut bytes = [0; 4096];
    let mut meta = [RecvMeta::default()];
    let read = poll_fn(|cx| {
        Poll::Ready(match socket.poll_recv(cx, &mut [IoSliceMut::new(&mut bytes)], &mut meta) {
            Poll::Ready(read) => Some(read.unwrap()),
            Poll::Pending => None,
        })
    });
    // However much there was before.
    tokio::task::unconstrained(read).await.map(|_| bytes[..meta[0].len].to_vec())
}

#[tokio::test]
async fn each_packet_reaches_the_process_that_made_its_connection_id() {
    let mut row = Row::new();
    row.restart();
    row.restart();
    let stranger = Generation::first((1, 3)).id([7; CHANCE_BYTES]);
    let (next, client) = (FIRST.next().next().next(), row.client.local_addr().unwrap());
    for form in [short, long] {
        for (id, receiver) in [
            (row.id(0), 0),
            (row.id(1), 1),
            (row.id(2), 2),
            (stranger.to_vec(), 2),
            (next.id([7; CHANCE_BYTES]).to_vec(), 2),
            (vec![7; 8], 2),
            (vec![], 2),
        ] {
            let packet = form(&id);
            row.client.send(&packet).unwrap();
            // Only the last one reads the socket; those before are told.
            let reads = async {
                if receiver != 2 {
                    row.client.send(b"a mark").unwrap();
                    assert_eq!(read(row.last()).await.0, b"a mark");
                }
                read(&row.processes[receiver]).await
            };
            let (got, meta) = reads.await;
            assert_eq!((got, meta.addr, meta.stride), (packet.clone(), client, packet.len()), "{id:?}");
        }
    }
}

#[tokio::test]
async fn nothing_of_the_socket_is_read_once_it_is_handed_over() {
    let row = Row::new();
    row.client.send(b"before").unwrap();
    assert_eq!(read(row.last()).await.0, b"before");
    row.last().hand_over();
    row.client.send(b"after").unwrap();
    assert_eq!(read_at_once(row.last()).await, None);
    let next = SharedSocket::new(row.socket.try_clone().unwrap(), FIRST.next(), Channels::new()).unwrap();
    assert_eq!(read(&next).await.0, b"after");
}

/// The kernel puts packets of one client in one buffer (GRO).
#[tokio::test]
async fn of_packets_in_one_buffer_each_goes_where_it_belongs() {
    let mut row = Row::new();
    row.restart();
    let packets = [row.id(0), row.id(1), row.id(0), row.id(1), row.id(0)].map(|id| short(&id));
    let stride = packets[0].len();
    for last in [stride, stride - 1] {
        let mut buffer = packets.concat();
        buffer.truncate(4 * stride + last);
        let mut meta = RecvMeta {
            addr: row.client.local_addr().unwrap(),
            stride,
            len: buffer.len(),
            ..RecvMeta::default()
        };
        let before = row.last().before.load();
        assert!(row.last().keep_own(&before, &mut buffer, &mut meta));
        assert_eq!(buffer[..meta.len], [&packets[1][..], &packets[3]].concat());
        for length in [stride, stride, last] {
            assert_eq!(read(&row.processes[0]).await.0, packets[0][..length]);
        }
    }
    let mut only = packets[0].clone();
    let mut meta = RecvMeta { stride, len: stride, ..RecvMeta::default() };
    let before = row.last().before.load();
    assert!(!row.last().keep_own(&before, &mut only, &mut meta), "nothing of it is this process's");
}

/// Packets that take more than twice what a channel was asked to hold.
const MANY: usize = 4096;

#[tokio::test]
async fn a_process_that_reads_nothing_costs_packets_and_holds_nobody_up() {
    let mut row = Row::new();
    row.restart();
    let mut packet = short(&row.id(0));
    packet.resize(1200, 0);
    let before = row.last().before.load_full();
    let meta = RecvMeta { addr: row.client.local_addr().unwrap(), ..RecvMeta::default() };
    for _ in 0..MANY {
        row.last().send_on(&before[0], &meta, &packet);
    }
    assert_eq!(row.last().before.load().len(), 1, "it is there, if slow");
    assert_eq!(read(&row.processes[0]).await.0, packet);
    let mut kept = 1;
    while let Some(got) = read_at_once(&row.processes[0]).await {
        assert_eq!(got.len(), packet.len());
        kept += 1;
    }
    assert!((1..MANY).contains(&kept), "{kept} were kept");
}

#[tokio::test]
async fn a_process_that_has_ended_is_forgotten() {
    let mut row = Row::new();
    row.restart();
    let packet = short(&row.id(0));
    row.processes.remove(0);
    for _ in 0..2 {
        // The first one finds it out, and is lost.
        row.client.send(&packet).unwrap();
        row.client.send(b"a mark").unwrap();
        let mut got = read(row.last()).await.0;
        if got == packet {
            got = read(row.last()).await.0;
        }
        assert_eq!(got, b"a mark");
    }
    assert!(row.last().before.load().is_empty());
    row.client.send(&packet).unwrap();
    assert_eq!(read(row.last()).await.0, packet, "who asks for nobody is told so by the last");
}

#[tokio::test]
async fn of_processes_before_only_the_last_few_that_are_there_are_told() {
    let mut row = Row::new();
    for _ in 0..MOST_BEFORE + 3 {
        row.restart();
    }
    let channels = row.last().channels().unwrap();
    let numbers: Vec<u8> = channels.iter().map(|(number, _)| *number).collect();
    let last = row.last().generation.number();
    let expected: Vec<u8> = (last - u8::try_from(MOST_BEFORE).unwrap()..=last).collect();
    assert_eq!(numbers, expected);
    // One that was only looked for is told nothing of that.
    let other = row.processes.len() - 2;
    row.client.send(&short(&row.id(other))).unwrap();
    row.client.send(b"a mark").unwrap();
    assert_eq!(read(row.last()).await.0, b"a mark");
    assert_eq!(read(&row.processes[other]).await.0, short(&row.id(other)));
    drop(row.processes.drain(..row.processes.len() - 2));
    let channels = row.last().channels().unwrap();
    let numbers: Vec<u8> = channels.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [last - 1, last]);
}

#[tokio::test]
async fn another_attempt_to_take_over_gets_a_way_of_its_own() {
    let row = Row::new();
    let given_up = row.last().channels().unwrap();
    let channels = row.last().channels().unwrap();
    let stale = SharedSocket::new(row.socket.try_clone().unwrap(), FIRST.next(), given_up).unwrap();
    assert!(!stale.before.load()[0].is_there());
    let next = SharedSocket::new(row.socket.try_clone().unwrap(), FIRST.next(), channels).unwrap();
    assert!(next.before.load()[0].is_there());
    // Until it is handed over, the socket is read beside the way.
    row.client.send(b"by the socket").unwrap();
    assert_eq!(read(row.last()).await.0, b"by the socket");
}
