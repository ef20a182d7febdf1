//! Restarts within one program: the word to close that clients hear.

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;
use crate::client::Transport;
use crate::serve::testing::{Duplex, framed, trust};

const LISTEN: &str = "run_folder = \"run\"\nlisten_tls = [\"127.0.0.1:0\"]\n";
const TABLES: &str = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";

/// The end of an OPT record: no options; TIMEOUT 0 (RFC 7828).
const STAY: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const CLOSE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 11, 0, 2, 0, 0];

/// A site whose server speaks TLS, and hands over.
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
        let stream = tokio::net::TcpStream::connect(address_of(running, transport)).await.unwrap();
        if transport == Transport::Tcp {
            return Box::new(stream);
        }
        let connector = TlsConnector::from(Arc::new(trust(&self.root, tls::DOT)));
        Box::new(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap())
    }
}

fn address_of(running: &Running, transport: Transport) -> SocketAddr {
    let listening = running.listening();
    let encrypted = listening.encrypted.iter().find(|it| it.transport == transport);
    encrypted.map_or(listening.outside[0], |it| it.address)
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
    let drained = tokio::spawn(running.drain());
    assert!(is_closed(&mut *idle).await, "the drain has begun");
    for (transport, stream) in &mut streams {
        let answer = go_on(&mut **stream).await;
        assert!(answer.ends_with(CLOSE), "{transport:?} {answer:x?}");
        assert!(is_closed(&mut **stream).await, "{transport:?}");
    }
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
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
