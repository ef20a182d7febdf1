//! Restarts within one program: the word to close that clients hear, and the way of packets and questions over QUIC.

use hyper::Method;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, ReadToEndError, VarInt};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;
use crate::client::Transport;
use crate::serve::testing::{Client, Duplex, framed, over_quic, trust};

const LISTEN: &str = "run_folder = \"run\"\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_https = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n";
const TABLES: &str = "[tcp]\nmessage_timeout = \"60s\"\n[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n[[transfer]]\nclients = [\"127.0.0.1\"]\n";

/// The end of an OPT record: no options; TIMEOUT 0 (RFC 7828).
const STAY: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const CLOSE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 11, 0, 2, 0, 0];

/// A site whose server speaks TLS and QUIC, and hands over.
struct Row {
    site: Site,
    config: String,
    root: CertificateDer<'static>,
}

impl Row {
    fn new() -> Self {
        let site = Site::new();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        site.write("chain.pem", &made.cert.pem());
        site.write("key.pem", &made.signing_key.serialize_pem());
        let root = made.cert.der().clone();
        Self { site, config: format!("{LISTEN}{CONFIG}{TABLES}"), root }
    }

    async fn start(&self) -> Running {
        self.site.start(&self.config).await
    }

    /// The next process, with another version of the zone; the one before ends in a task of its own.
    async fn restart(&self, before: Running, version: u8) -> (Running, JoinHandle<()>) {
        let text = ZONE.replace("203.0.113.1\n", &format!("203.0.113.{version}\n"));
        let text = text.replace("hostmaster 1", &format!("hostmaster {version}"));
        self.site.write("zones/example.com.zone", &text);
        let next = self.start().await;
        timeout(LIMIT, before.superseded()).await.expect("it is told");
        (next, tokio::spawn(before.leave()))
    }

    async fn stream(&self, running: &Running, transport: Transport) -> Box<dyn Duplex> {
        if transport == Transport::Tcp {
            return Box::new(tokio::net::TcpStream::connect(address_of(running, transport)).await.unwrap());
        }
        self.tls(running, transport, tls::DOT).await
    }

    async fn tls(&self, running: &Running, transport: Transport, alpn: &[&[u8]]) -> Box<dyn Duplex> {
        let stream = tokio::net::TcpStream::connect(address_of(running, transport)).await.unwrap();
        let connector = TlsConnector::from(Arc::new(trust(&self.root, alpn)));
        Box::new(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap())
    }

    /// A connection over HTTP/1.1 and one over HTTP/2, and their ends.
    async fn https(&self, running: &Running) -> [(Client, JoinHandle<()>); 2] {
        let stream = self.tls(running, Transport::Https, &[b"http/1.1"]).await;
        let (send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let first = (Client::Http1(send, Method::POST), tokio::spawn(async { drop(connection.await) }));
        let stream = self.tls(running, Transport::Https, &[b"h2"]).await;
        let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let second = (Client::Http2(send, Method::POST), tokio::spawn(async { drop(connection.await) }));
        [first, second]
    }

    async fn quic(&self, endpoint: &Endpoint, running: &Running) -> Connection {
        let crypto = QuicClientConfig::try_from(trust(&self.root, tls::DOQ)).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let server = address_of(running, Transport::Quic);
        endpoint.connect_with(config, server, "localhost").unwrap().await.unwrap()
    }
}

fn address_of(running: &Running, transport: Transport) -> SocketAddr {
    let listening = running.listening();
    let encrypted = listening.encrypted.iter().find(|it| it.transport == transport);
    encrypted.map_or(listening.outside[0], |it| it.address)
}

fn endpoint() -> Endpoint {
    Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A question with an OPT record that has no options.
fn with_opt() -> Vec<u8> {
    let mut message = question("www.example.com");
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

async fn answer(stream: &mut dyn Duplex, bytes: &[u8]) -> Vec<u8> {
    let answered = async {
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    timeout(LIMIT, answered).await.expect("an answer")
}

/// The answer to a question with which the first byte of the next one has come.
async fn begin(stream: &mut dyn Duplex) -> Vec<u8> {
    let message = framed(&with_opt());
    answer(stream, &[&message[..], &message[..1]].concat()).await
}

/// The answer to the question that [`begin`] has begun.
async fn go_on(stream: &mut dyn Duplex) -> Vec<u8> {
    answer(stream, &framed(&with_opt())[1..]).await
}

/// The other end has closed it; a reset does so, too.
async fn is_closed(stream: &mut dyn Duplex) -> bool {
    timeout(LIMIT, stream.read(&mut [0])).await.expect("an end").unwrap_or(0) == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_while_the_server_ends_is_told_to_close() {
    let row = Row::new();
    let running = row.start().await;
    let mut streams = Vec::new();
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut stream = row.stream(&running, transport).await;
        let answer = begin(&mut *stream).await;
        assert!(answer.ends_with(STAY), "{transport:?} {answer:x?}");
        streams.push((transport, stream));
    }
    let mut idle = row.stream(&running, Transport::Tcp).await;
    answer(&mut *idle, &framed(&with_opt())).await;
    let drained = tokio::spawn(running.drain());
    assert!(is_closed(&mut *idle).await, "the drain has begun");
    for (transport, stream) in &mut streams {
        let answer = go_on(&mut **stream).await;
        assert!(answer.ends_with(CLOSE), "{transport:?} {answer:x?}");
        assert!(is_closed(&mut **stream).await, "{transport:?}");
    }
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
}

/// Its client has not had the time to ask: resolvers that connect while a server is restarted would get no answer at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_new_when_the_server_ends_gets_its_first_answer() {
    let (row, endpoint) = (Row::new(), endpoint());
    let running = row.start().await;
    let mut idle = row.stream(&running, Transport::Tcp).await;
    answer(&mut *idle, &framed(&with_opt())).await;
    let mut streams = Vec::new();
    for transport in [Transport::Tcp, Transport::Tls] {
        streams.push((transport, row.stream(&running, transport).await));
    }
    let https = row.https(&running).await;
    let quic = row.quic(&endpoint, &running).await;
    let drained = tokio::spawn(running.drain());
    assert!(is_closed(&mut *idle).await, "the drain has begun");
    for (transport, stream) in &mut streams {
        let answer = answer(&mut **stream, &framed(&with_opt())).await;
        assert!(answer.ends_with(CLOSE), "{transport:?} {answer:x?}");
        assert!(is_closed(&mut **stream).await, "{transport:?}");
    }
    for (mut client, ended) in https {
        let plain = question("www.example.com");
        assert_eq!(said(&client.ask(&plain).await, &plain), address("203.0.113.1"));
        timeout(LIMIT, ended).await.expect("it is closed").unwrap();
    }
    assert_eq!(asked(&quic).await, address("203.0.113.1"));
    assert!(is_without_error(&end(&quic).await));
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
}

/// One thread runs all: the server has had no turn to accept what is connected here.
#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_when_the_server_ends_gets_its_first_answer() {
    let row = Row::new();
    let running = row.start().await;
    let mut stream = TcpStream::connect(address_of(&running, Transport::Tcp)).unwrap();
    Write::write_all(&mut stream, &framed(&with_opt())).unwrap();
    let drained = tokio::spawn(running.drain());
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let answer = answer(&mut stream, b"").await;
    assert!(answer.ends_with(CLOSE), "{answer:x?}");
    assert!(is_closed(&mut stream).await);
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_over_tls_does_not_get_an_answer_of_the_process_that_has_left() {
    let row = Row::new();
    let first = row.start().await;
    let mut new = row.stream(&first, Transport::Tls).await;
    let (second, left) = row.restart(first, 2).await;
    assert!(is_closed(&mut *new).await);
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    second.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_by_a_process_that_has_left_is_told_to_close_and_who_goes_on_is_not() {
    let row = Row::new();
    let first = row.start().await;
    let mut streams = Vec::new();
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut stream = row.stream(&first, transport).await;
        assert!(begin(&mut *stream).await.ends_with(STAY), "{transport:?}");
        streams.push((transport, stream));
    }
    let mut idle = row.stream(&first, Transport::Tcp).await;
    assert!(answer(&mut *idle, &framed(&with_opt())).await.ends_with(STAY));
    let (second, left) = row.restart(first, 2).await;
    for (transport, stream) in &mut streams {
        let answer = go_on(&mut **stream).await;
        assert!(answer.ends_with(CLOSE), "{transport:?} {answer:x?}");
        assert!(is_closed(&mut **stream).await, "{transport:?}");
    }
    assert!(answer(&mut *idle, &framed(&with_opt())).await.ends_with(STAY), "it is the next process's");
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    second.drain().await;
}

/// The zone is longer than what waits on the way to a client that does not read.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_zone_while_the_server_ends_is_told_to_close_and_gets_all_of_it() {
    let row = Row::new();
    let lines: String = (0..20_000).map(|at| format!("n{at} TXT {}\n", "x".repeat(200))).collect();
    row.site.write("zones/example.com.zone", &format!("{ZONE}{lines}"));
    let running = row.start().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(address_of(&running, Transport::Tcp)).await.unwrap();
    let mut all = question("example.com");
    (all[11], all[26]) = (1, 252);
    all.extend_from_slice(STAY);
    let first = answer(&mut stream, &framed(&all)).await;
    assert!(first.ends_with(STAY), "{first:x?}");
    let mut idle = row.stream(&running, Transport::Tcp).await;
    answer(&mut *idle, &framed(&with_opt())).await;
    let drained = tokio::spawn(running.drain());
    assert!(is_closed(&mut *idle).await, "the drain has begun");
    let (mut last, mut records) = (first.clone(), 0);
    loop {
        records += usize::from(u16::from_be_bytes([last[6], last[7]]));
        if records >= 20_000 + 5 {
            break;
        }
        last = answer(&mut stream, b"").await;
    }
    assert_eq!(records, 20_000 + 5);
    assert!(last.ends_with(CLOSE), "{:x?}", &last[last.len() - 20..]);
    assert!(is_closed(&mut stream).await);
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
}

/// The address of `www.example.com`, asked over QUIC, where IDs are 0 and no connection is told to close (RFC 9250 §4.2.1, §5.5.2).
async fn asked(connection: &Connection) -> Said {
    let mut message = with_opt();
    message[..2].fill(0);
    let answer = timeout(LIMIT, over_quic(connection, &framed(&message))).await.expect("an answer").unwrap();
    assert!(answer.ends_with(STAY), "{answer:x?}");
    let mut plain = question("www.example.com");
    plain[..2].fill(0);
    said(&answer, &plain)
}

async fn end(connection: &Connection) -> ConnectionError {
    timeout(LIMIT, connection.closed()).await.expect("it ends")
}

fn is_without_error(ended: &ConnectionError) -> bool {
    matches!(ended, ConnectionError::ApplicationClosed(closed) if closed.error_code == VarInt::from_u32(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_quic_goes_on_until_its_process_ends_and_gets_answers_of_now() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let old = row.quic(&endpoint, &first).await;
    assert_eq!(asked(&old).await, address("203.0.113.1"));
    let (second, left) = row.restart(first, 2).await;
    let new = row.quic(&endpoint, &second).await;
    for _ in 0..3 {
        assert_eq!(asked(&old).await, address("203.0.113.2"));
        assert_eq!(asked(&new).await, address("203.0.113.2"));
    }
    let ended = end(&old).await;
    assert!(is_without_error(&ended), "{ended}");
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    assert_eq!(asked(&new).await, address("203.0.113.2"));
    second.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_quic_of_several_processes_go_on_side_by_side() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let oldest = row.quic(&endpoint, &first).await;
    let (second, first_left) = row.restart(first, 2).await;
    let old = row.quic(&endpoint, &second).await;
    let (third, second_left) = row.restart(second, 3).await;
    let new = row.quic(&endpoint, &third).await;
    for connection in [&oldest, &old, &new] {
        assert_eq!(asked(connection).await, address("203.0.113.3"));
    }
    // A process whose clients have all gone ends at once.
    oldest.close(VarInt::from_u32(0), b"");
    old.close(VarInt::from_u32(0), b"");
    timeout(LIMIT, first_left).await.expect("the first ends").unwrap();
    timeout(LIMIT, second_left).await.expect("the second ends").unwrap();
    assert_eq!(asked(&new).await, address("203.0.113.3"));
    third.drain().await;
}

/// The second process of three has nothing left to do, and ends before the first: nobody answers what comes to the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_over_quic_that_no_process_of_the_row_answers_ends_its_connection_without_an_error() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let (oldest, beside) = (row.quic(&endpoint, &first).await, row.quic(&endpoint, &first).await);
    let (second, first_left) = row.restart(first, 2).await;
    assert_eq!(asked(&oldest).await, address("203.0.113.2"));
    let (third, second_left) = row.restart(second, 3).await;
    timeout(LIMIT, second_left).await.expect("the second ends").unwrap();
    let mut message = question("www.example.com");
    message[..2].fill(0);
    for connection in [&oldest, &beside] {
        let unanswered = timeout(LIMIT, over_quic(connection, &framed(&message))).await.expect("an end");
        assert!(matches!(unanswered, Err(ReadToEndError::Read(_))), "{unanswered:?}");
        let ended = end(connection).await;
        assert!(is_without_error(&ended), "{ended}");
    }
    timeout(LIMIT, first_left).await.expect("the first ends").unwrap();
    let new = row.quic(&endpoint, &third).await;
    assert_eq!(asked(&new).await, address("203.0.113.3"));
    third.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_zone_of_before_is_given_over_quic_once_another_process_answers() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let old = row.quic(&endpoint, &first).await;
    let mut all = question("example.com");
    all[..2].fill(0);
    let at = all.len() - 3;
    all[at] = 252;
    let all = framed(&all);
    assert_eq!(over_quic(&old, &all).await.unwrap()[3] & 15, 0);
    let (second, left) = row.restart(first, 2).await;
    // Not a byte of it; the client is to come again.
    let refused = timeout(LIMIT, over_quic(&old, &all)).await.expect("an end");
    assert!(matches!(refused, Err(ReadToEndError::Read(_))), "{refused:?}");
    let ended = end(&old).await;
    assert!(is_without_error(&ended), "{ended}");
    let new = row.quic(&endpoint, &second).await;
    assert_eq!(over_quic(&new, &all).await.unwrap()[3] & 15, 0);
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    second.drain().await;
}

/// RFC 9250 §4.3.3 holds there as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_is_fatal_to_a_connection_of_a_process_that_has_left() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let old = row.quic(&endpoint, &first).await;
    let (second, left) = row.restart(first, 2).await;
    // An ID that is not 0.
    assert!(over_quic(&old, &framed(&question("www.example.com"))).await.is_err());
    let ended = end(&old).await;
    let is_fatal =
        matches!(&ended, ConnectionError::ApplicationClosed(it) if it.error_code == VarInt::from_u32(2));
    assert!(is_fatal, "{ended}");
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    second.drain().await;
}

/// A process that fails before it is ready has had the ways between processes, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_leaves_connections_over_quic_as_they_are() {
    let (row, endpoint) = (Row::new(), endpoint());
    let first = row.start().await;
    let old = row.quic(&endpoint, &first).await;
    for _ in 0..2 {
        let bad = row.config.replace("zones = \"zones\"", "zones = \"nowhere\"");
        assert!(start(row.site.config(&bad)).await.is_err());
        assert_eq!(asked(&old).await, address("203.0.113.1"));
    }
    let (second, left) = row.restart(first, 2).await;
    assert_eq!(asked(&old).await, address("203.0.113.2"));
    old.close(VarInt::from_u32(0), b"");
    timeout(LIMIT, left).await.expect("the first ends").unwrap();
    second.drain().await;
}
