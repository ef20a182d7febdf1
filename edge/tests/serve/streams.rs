//! Layer 4: connections that are passed on, whatever they carry.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use verge_edge::clock::Clock;

use super::encrypted::terms;
use super::rig::{Client, Rig, alone, soon};

/// Tells its name, gives back what it gets, and says at the end of that how much it was.
pub struct Echo {
    pub address: SocketAddr,
    got: mpsc::UnboundedReceiver<Vec<u8>>,
}

pub async fn echo(name: &'static str) -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let mut got = Vec::new();
                let _ = stream.read_to_end(&mut got).await;
                let _ = stream.write_all(format!(" {} bytes", got.len()).as_bytes()).await;
                let _ = send.send(got);
            });
        }
    });
    Echo { address, got }
}

pub async fn rig(streams: &str) -> Rig {
    rig_with("", streams).await
}

/// With these settings of the file's top.
pub async fn rig_with(top: &str, streams: &str) -> Rig {
    let site = "[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]";
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]";
    Rig::of(Clock::system(), &format!("listen = [\"127.0.0.1:0\"]\n{top}\n{site}\n{admin}\n{streams}\n"))
        .await
}

pub fn at(rig: &Rig, place: usize) -> SocketAddr {
    rig.running.as_ref().unwrap().streams()[place]
}

/// Sends this, and reads to the end.
pub async fn talk(address: SocketAddr, parts: &[&[u8]]) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.set_nodelay(true).unwrap();
    for part in parts {
        // It may have been turned away already.
        let _ = client.write_all(part).await;
    }
    let _ = client.shutdown().await;
    let mut all = String::new();
    let _ = soon("the end of a stream", client.read_to_string(&mut all)).await;
    all
}

fn hello(name: &'static str) -> Vec<u8> {
    let config: Arc<ClientConfig> = terms(&["h2"]);
    let mut client = ClientConnection::new(config, ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// They say nothing, and nobody knows for which stream they are.
#[tokio::test]
async fn clients_that_have_not_said_what_they_want_are_as_many_as_the_streams_take() {
    let a = echo("a").await;
    let stream = format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\nsni = [\"a.test\"]\norigins = [\"tcp://{}\"]\nconnections = 2",
        a.address
    );
    let rig = rig(&stream).await;
    let address = at(&rig, 0);
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut third = silent.pop().unwrap();
    assert_eq!(soon("its end", third.read(&mut [0; 1])).await.unwrap_or(0), 0);
    assert_eq!(rig.metric("verge_edge_stream_ended_total{stream=\"-\",why=\"limit\"} ").await, 1);
    drop(silent);
    let entered = async { while !talk(address, &[&hello("a.test")]).await.starts_with('a') {} };
    soon("a place", entered).await;
}

#[tokio::test]
async fn connections_are_passed_on_in_turn_and_each_side_may_end_first() {
    let (mut a, b) = (echo("a").await, echo("b").await);
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\", \"tcp://{}\"]",
        a.address, b.address
    ))
    .await;
    // The origin speaks first; what it says after the client's end still comes.
    assert_eq!(talk(at(&rig, 0), &[b"one"]).await, "a 3 bytes");
    assert_eq!(talk(at(&rig, 0), &[]).await, "b 0 bytes");
    let long = vec![7; 3 << 20];
    assert_eq!(talk(at(&rig, 0), &[&long]).await, format!("a {} bytes", long.len()));
    assert_eq!(a.got.recv().await.unwrap(), b"one");
    assert!(a.got.recv().await.unwrap() == long, "byte for byte");
    let name = at(&rig, 0).to_string().replace(&at(&rig, 0).port().to_string(), "0");
    rig.until(&format!("verge_edge_stream_ended_total{{stream=\"{name}\",why=\"closed\"}}"), 3).await;
    let bytes = format!("verge_edge_stream_bytes_total{{stream=\"{name}\",towards=\"origin\"}} ");
    assert_eq!(rig.metric(&bytes).await, 3 + (3 << 20));
}

#[tokio::test]
async fn tls_is_passed_on_by_the_name_that_the_client_asks_for_unended() {
    let (mut db, web, rest) = (echo("db").await, echo("web").await, echo("rest").await);
    let address = crate::ports::address();
    let stream = |sni: &str, origin: &Echo| {
        let sni = if sni.is_empty() { String::new() } else { format!("sni = [\"{sni}\"]\n") };
        format!("[[stream]]\nlisten = [\"{address}\"]\n{sni}origins = [\"tcp://{}\"]\n", origin.address)
    };
    let rig = rig(&[stream("db.test", &db), stream("*.test", &web), stream("", &rest)].concat()).await;
    let sent = hello("db.test");
    // In two segments, and a byte alone.
    for cut in [1, 100, sent.len()] {
        let got = talk(at(&rig, 0), &[&sent[..cut], &sent[cut..], b"more"]).await;
        assert_eq!(got, format!("db {} bytes", sent.len() + 4));
        assert_eq!(db.got.recv().await.unwrap(), [&sent[..], b"more"].concat());
    }
    assert!(talk(at(&rig, 0), &[&hello("a.b.test")]).await.starts_with("web"));
    assert!(talk(at(&rig, 0), &[&hello("other.example")]).await.starts_with("rest"));
    assert!(talk(at(&rig, 0), &[b"SSH-2.0-x\r\n"]).await.starts_with("rest"));
}

#[tokio::test]
async fn a_name_that_no_stream_takes_is_turned_away_and_so_is_one_too_many() {
    let db = echo("db").await;
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\nsni = [\"db.test\"]\nconnections = 1\norigins = [\"tcp://{}\"]",
        db.address
    ))
    .await;
    assert_eq!(talk(at(&rig, 0), &[&hello("other.test")]).await, "");
    let ended = |stream, why| format!("verge_edge_stream_ended_total{{stream=\"{stream}\",why=\"{why}\"}}");
    // It was for none of them.
    rig.until(&ended("-", "no-stream"), 1).await;
    let mut first = TcpStream::connect(at(&rig, 0)).await.unwrap();
    first.write_all(&hello("db.test")).await.unwrap();
    let mut name = [0; 2];
    soon("the origin's word", first.read_exact(&mut name)).await.unwrap();
    assert_eq!(talk(at(&rig, 0), &[&hello("db.test")]).await, "");
    rig.until(&ended("db.test", "limit"), 1).await;
}

#[tokio::test]
async fn an_origin_that_takes_no_connection_is_passed_by() {
    let living = echo("living").await;
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\", \"tcp://{}\"]",
        crate::ports::address(),
        living.address
    ))
    .await;
    for _ in 0..4 {
        assert_eq!(talk(at(&rig, 0), &[b"x"]).await, "living 1 bytes");
    }
}

/// The PROXY protocol both ways: the client's address is the one that the balancer in front names.
#[tokio::test]
async fn the_clients_address_is_told_by_the_balancer_before_and_to_the_origin_behind() {
    let mut origin = echo("").await;
    let stream = |more: &str| {
        format!(
            "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\"]\nsend_proxy = true\n{more}\n",
            origin.address
        )
    };
    let rig = rig(&[stream(""), stream("proxy_protocol = [\"127.0.0.1\"]")].concat()).await;
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    talk(at(&rig, 0), &[b"x"]).await;
    let got = origin.got.recv().await.unwrap();
    assert_eq!(
        (&got[..12], &got[12..16], &got[16..20], got.len()),
        (&signature[..], &[0x21, 0x11, 0, 12][..], &[127, 0, 0, 1][..], 29)
    );
    let told =
        [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]].concat();
    talk(at(&rig, 1), &[&told, b"y"]).await;
    assert_eq!(origin.got.recv().await.unwrap(), [&told[..], b"y"].concat());
    assert_eq!(talk(at(&rig, 1), &[b"no header, and so much that it would be one"]).await, "");
}

/// No byte for too long in either direction.
#[tokio::test]
async fn a_connection_on_which_nothing_passes_is_closed() {
    let origin = echo("a").await;
    let rig = rig(&format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\nidle_timeout = \"60s\"\norigins = [\"tcp://{}\"]",
        origin.address
    ))
    .await;
    let mut client = TcpStream::connect(at(&rig, 0)).await.unwrap();
    let mut name = [0; 1];
    soon("the origin's word", client.read_exact(&mut name)).await.unwrap();
    let closed = async {
        let mut rest = Vec::new();
        tokio::select! {
            _ = client.read_to_end(&mut rest) => {}
            () = async { loop { rig.pass(20); tokio::task::yield_now().await; } } => {}
        }
    };
    soon("the end of an idle stream", closed).await;
}

#[tokio::test]
async fn a_reload_changes_streams_and_drops_no_connection() {
    let (one, other) = (echo("one").await, echo("other").await);
    let origin = super::rig::Origin::start().await;
    let edge = super::reloading::Edge::start(&origin).await;
    let stream = |listen: SocketAddr, to: &Echo| {
        format!("[[stream]]\nlisten = [\"{listen}\"]\norigins = [\"tcp://{}\"]\n", to.address)
    };
    let (first, second) = (crate::ports::address(), crate::ports::address());
    let reload = async |streams: &str| {
        let told = edge.reload(&format!("{}{streams}", edge.text)).await;
        assert!(told.status == 200 && told.text().contains("\"needs_restart\":[]"), "{told:?}");
    };
    reload(&stream(first, &one)).await;
    let mut kept = TcpStream::connect(first).await.unwrap();
    let mut name = [0; 3];
    soon("the name", kept.read_exact(&mut name)).await.unwrap();
    reload(&format!("{}{}", stream(first, &other), stream(second, &one))).await;
    assert_eq!(talk(first, &[b"abc"]).await, "other 3 bytes");
    assert_eq!(talk(second, &[b"abcd"]).await, "one 4 bytes");
    reload(&stream(second, &one)).await;
    let closed = async { while TcpStream::connect(first).await.is_ok() {} };
    soon("the end of the listener", closed).await;
    // It was open all the time.
    kept.write_all(b"12345").await.unwrap();
    kept.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("the end", kept.read_to_string(&mut rest)).await.unwrap();
    assert_eq!((&name, rest.as_str()), (b"one", " 5 bytes"));
}

/// `drain_delay` is for those who balance load, whatever the edge passes on.
#[tokio::test]
async fn a_drain_leaves_streams_alone_for_its_delay_and_then_refuses_connections_at_once() {
    let (one, site) = (echo("a").await, super::rig::Origin::start().await);
    let top = format!(
        "[limits]\ndrain_delay = \"1h\"\ndrain = \"1h\"\n[[stream]]\nlisten = [\"127.0.0.1:0\"]\n\
         origins = [\"tcp://{}\"]\nidle_timeout = \"10h\"\n",
        one.address
    );
    let mut rig = Rig::with(&[site.address], &top, "").await;
    let address = at(&rig, 0);
    let mut kept = open(address, b"").await;
    // As long as this request is not answered, sites take connections.
    let mut client = rig.client().await;
    client.send_get("/held", "").await;
    let held = site.next().await;
    let drained = tokio::spawn(rig.running.take().unwrap().drain());
    let begun = async { while Client::connect(rig.admin).await.get("/readyz").await.status != 503 {} };
    soon("the drain", begun).await;
    assert_eq!(talk(address, &[b"xy"]).await, "a 2 bytes");
    rig.pass(3600);
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    soon("connections to be refused", refused).await;
    kept.write_all(b"12345").await.unwrap();
    kept.shutdown().await.unwrap();
    let mut rest = String::new();
    soon("the end", kept.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, " 5 bytes", "what is open has its time");
    drop((client, held));
    soon("the end of the drain", drained).await.unwrap();
}

/// More of them than a task may take at once.
#[tokio::test]
async fn connections_that_the_kernel_has_made_are_carried_when_their_listener_closes() {
    let one = echo("one").await;
    let origin = super::rig::Origin::start().await;
    let edge = super::reloading::Edge::start(&origin).await;
    let address = crate::ports::address();
    let stream = format!("[[stream]]\nlisten = [\"{address}\"]\norigins = [\"tcp://{}\"]\n", one.address);
    assert_eq!(edge.reload(&format!("{}{stream}", edge.text)).await.status, 200);
    assert_eq!(talk(address, &[b"abc"]).await, "one 3 bytes");
    // There is one thread: until the reload nobody accepts them.
    let waiting: Vec<_> = (0..150).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    std::fs::write(edge.rig.folder.path().join("edge.toml"), &edge.text).unwrap();
    alone(edge.rig.running.as_ref().unwrap().reload()).unwrap();
    for (place, client) in waiting.into_iter().enumerate() {
        client.set_nonblocking(true).unwrap();
        let mut client = TcpStream::from_std(client).unwrap();
        let mut name = [0; 3];
        let read = soon("the origin's word", client.read_exact(&mut name)).await;
        assert!(read.is_ok() && &name == b"one", "{place}: {read:?}");
    }
}

/// The first bytes of a connection that a balancer passes on from this client.
fn told(client: [u8; 4]) -> Vec<u8> {
    let ends = [&client[..], &[198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &ends].concat()
}

pub async fn open(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(first).await.unwrap();
    let mut name = [0; 1];
    soon("the origin's word", client.read_exact(&mut name)).await.unwrap();
    client
}

#[tokio::test]
async fn no_network_takes_the_places_of_all_others_and_each_client_of_a_balancer_counts() {
    let origin = echo("a").await;
    let stream = |more: &str| {
        format!("[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\"]\n{more}\n", origin.address)
    };
    let streams = [stream(""), stream("proxy_protocol = [\"127.0.0.1\"]")].concat();
    let rig = rig_with("[limits]\nconnections_per_network = 2", &streams).await;
    let _own = (open(at(&rig, 0), b"").await, open(at(&rig, 0), b"").await);
    assert_eq!(talk(at(&rig, 0), &[]).await, "");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(at(&rig, 0)).await.unwrap();
    soon("the word to another network", other.read_exact(&mut [0; 1])).await.unwrap();
    let balancer = at(&rig, 1);
    let (one, two) = (told([192, 0, 2, 1]), told([192, 0, 2, 2]));
    let _of_one = (open(balancer, &one).await, open(balancer, &one).await);
    assert_eq!(talk(balancer, &[&one]).await, "");
    let _of_two = open(balancer, &two).await;
    let name = |place| at(&rig, place).to_string().replace(&at(&rig, place).port().to_string(), "0");
    let why = "why=\"connections-per-network\"";
    rig.until(&format!("verge_edge_stream_ended_total{{stream=\"{}\",{why}}}", name(0)), 2).await;
}

#[tokio::test]
async fn a_balancer_over_ipv4_is_known_on_a_listener_of_both_families() {
    let mut origin = echo("").await;
    let Ok(both) = TcpListener::bind("[::]:0").await else { return };
    let port = both.local_addr().unwrap().port();
    drop(both);
    let _rig = rig(&format!(
        "[[stream]]\nlisten = [\"[::]:{port}\"]\norigins = [\"tcp://{}\"]\nproxy_protocol = [\"127.0.0.1\"]",
        origin.address
    ))
    .await;
    talk(SocketAddr::from(([127, 0, 0, 1], port)), &[&told([192, 0, 2, 1]), b"y"]).await;
    assert_eq!(soon("the client's bytes", origin.got.recv()).await.unwrap(), b"y");
}

#[tokio::test]
async fn the_connections_of_a_stream_count_on_all_its_listeners_and_through_reloads() {
    let one = echo("o").await;
    let origin = super::rig::Origin::start().await;
    let edge = super::reloading::Edge::start(&origin).await;
    let (first, second) = (crate::ports::address(), crate::ports::address());
    let reload = async |connections: usize| {
        let stream = format!(
            "[[stream]]\nlisten = [\"{first}\", \"{second}\"]\norigins = [\"tcp://{}\"]\nconnections = {connections}\n",
            one.address
        );
        assert_eq!(edge.reload(&format!("{}{stream}", edge.text)).await.status, 200);
    };
    reload(1).await;
    let _kept = open(first, b"").await;
    assert_eq!(talk(second, &[]).await, "");
    reload(2).await;
    let _other = open(second, b"").await;
    assert_eq!(talk(first, &[]).await, "", "the first counts as before the reload");
}

#[tokio::test]
async fn a_connection_of_a_stream_has_an_end_by_its_deadline() {
    let one = echo("one").await;
    let stream = format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\"]\nwhole_timeout = \"200ms\"\n",
        one.address
    );
    let rig = rig(&stream).await;
    let mut client = TcpStream::connect(at(&rig, 0)).await.unwrap();
    let busy = async { while client.write_all(b"x").await.is_ok() && client.read_u8().await.is_ok() {} };
    soon("the deadline", busy).await;
}

/// Much is moved by the kernel: it comes as it was sent, both ways at once, and each side may end first.
#[tokio::test]
async fn much_comes_as_it_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\"]\n",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.write_all(b"end").await;
            });
        }
    });
    let rig = rig(&stream).await;
    let sent: Vec<u8> =
        (0_u32..1_500_000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut client = TcpStream::connect(at(&rig, 0)).await.unwrap();
    let (mut from, mut to) = client.split();
    let send = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let receive = async { from.read_to_end(&mut got).await.unwrap() };
    soon("all of it", async { tokio::join!(send, receive) }).await;
    assert!(got.len() == sent.len() + 3 && got.starts_with(&sent) && got.ends_with(b"end"));
}
