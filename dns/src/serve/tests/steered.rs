//! Pools whose members come and go.

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Members on loopback, which is hidden unless it is published on purpose.
const POOL: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n\
    www A 127.0.0.1 ; verge: public steer\nwww A 127.0.0.2 ; verge: public steer\n";
const EDGES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

/// An edge that says that it is well.
async fn edge(address: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    })
}

fn config(port: u16, pace: &str) -> String {
    let check = format!("http://{{address}}:{port}/health");
    format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n[steer]\ncheck = \"{check}\"\n{pace}")
}

/// The addresses of an answer.
pub(super) fn addresses(server: SocketAddr) -> Vec<Ipv4Addr> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let question = question("www.example.com.");
    socket.send_to(&question, server).unwrap();
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).unwrap();
    // Owner, type, class, TTL and length take 12 bytes.
    let records = answer[question.len()..bytes].as_chunks::<16>().0;
    let mut all: Vec<Ipv4Addr> = records
        .iter()
        .take(usize::from(answer[7]))
        .map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15]))
        .collect();
    all.sort();
    all
}

/// Asks until the answer is this one.
pub(super) async fn until(server: SocketAddr, expected: &[&str]) {
    let expected: Vec<Ipv4Addr> = expected.iter().map(|text| text.parse().unwrap()).collect();
    let asking = async {
        while addresses(server) != expected {
            tokio::task::yield_now().await;
        }
    };
    let found = timeout(LIMIT, asking).await;
    assert!(found.is_ok(), "it answers {:?} and not {expected:?}", addresses(server));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_down_leaves_the_answers_and_comes_back_and_the_first_answer_knows() {
    let (site, port) = (Site::new(), crate::ports::address().port());
    site.write("zones/example.com.zone", POOL);
    let one = edge((Ipv4Addr::LOCALHOST, port).into()).await;
    let server = site.start(&config(port, "interval = \"1s\"\nrise = 1\n")).await;
    let at = server.listening().outside[0];
    assert_eq!(addresses(at), [Ipv4Addr::LOCALHOST], "the first answer knows that the other one is down");
    let two = edge(format!("127.0.0.2:{port}").parse().unwrap()).await;
    until(at, &EDGES).await;
    one.abort();
    until(at, &EDGES[1..]).await;
    two.abort();
    until(at, &EDGES).await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_a_reload_brings_is_looked_at_soon_however_long_the_interval_is() {
    let (site, port) = (Site::new(), crate::ports::address().port());
    let _one = edge((Ipv4Addr::LOCALHOST, port).into()).await;
    let server = site.start(&config(port, "interval = \"1h\"\n")).await;
    site.write("zones/example.com.zone", POOL);
    server.reload();
    until(server.listening().outside[0], &EDGES[..1]).await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_who_was_down_and_who_was_drained() {
    let (site, port) = (Site::new(), crate::ports::address().port());
    site.write("zones/example.com.zone", POOL);
    let one = edge((Ipv4Addr::LOCALHOST, port).into()).await;
    let server = site.start(&config(port, "interval = \"1m\"\n")).await;
    assert_eq!(addresses(server.listening().outside[0]), [Ipv4Addr::LOCALHOST]);
    server.drain().await;
    one.abort();
    let _ = one.await;
    // Now both take connections and never answer.
    let silent = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)].map(|address| (address, port));
    let silent = (TcpListener::bind(silent[0]).await.unwrap(), TcpListener::bind(silent[1]).await.unwrap());
    let server = site.start(&config(port, "interval = \"1m\"\ntimeout = \"1m\"\n")).await;
    assert_eq!(addresses(server.listening().outside[0]), [Ipv4Addr::LOCALHOST]);
    server.drain().await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_drained_is_given_to_nobody_and_told_when_it_may_stop() {
    let (site, port) = (Site::new(), crate::ports::address().port());
    site.write("zones/example.com.zone", POOL);
    let _edges = (
        edge((Ipv4Addr::LOCALHOST, port).into()).await,
        edge(format!("127.0.0.2:{port}").parse().unwrap()).await,
    );
    let server = site.start(&config(port, "interval = \"1m\"\nttl = 30\n")).await;
    let (at, admin) = (server.listening().outside[0], server.listening().admin.unwrap());
    let token = fs::read_to_string(site.path("verge-dns.token")).unwrap();
    let post = |path: &str| {
        let mut stream = TcpStream::connect(admin).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            token.trim()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let status = || {
        let mut stream = TcpStream::connect(admin).unwrap();
        write!(stream, "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        let status: crate::metrics::Status = serde_json::from_str(&body).unwrap();
        status.pools.into_iter().find(|pool| pool.view == "outside").unwrap()
    };
    assert_eq!(addresses(at).len(), 2);
    assert_eq!(post("/drain?address=127.0.0.2"), "200");
    assert_eq!(addresses(at), [Ipv4Addr::LOCALHOST]);
    let drained = status().members[1].clone();
    assert!(drained.drained && drained.safe_in.is_some_and(|left| (30..=31).contains(&left)), "{drained:?}");
    assert_eq!(post("/drain?address=127.0.0.9"), "404");
    assert_eq!(post("/undrain?address=127.0.0.2"), "200");
    assert_eq!(addresses(at).len(), 2);
    assert_eq!(status().members[1].safe_in, None);
    server.drain().await;
}
