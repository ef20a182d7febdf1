//! Whole servers on loopback, on ports that the system gives.

mod catalogs;
mod database;
mod leaks;
mod matrix;
mod mutual;
mod promotion;
mod quorum;
mod restarts;
mod secondaries;
mod steered;
mod transfers;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::config;

/// No test waits for this; one that would hang ends.
const LIMIT: Duration = Duration::from_secs(60);

const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n\
    www A 203.0.113.1\ndb A 10.0.0.5\n";
const CONFIG: &str = r#"
zones = "zones"
listen = ["127.0.0.1:0"]
udp.workers = 1
reload.watch = false
[internal]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
"#;

struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("zones")).unwrap();
        let site = Self { dir };
        site.write("zones/example.com.zone", ZONE);
        site
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, text: &str) -> Config {
        self.write("dns.toml", text);
        config::load(&self.path("dns.toml")).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn start(&self, config: &str) -> Running {
        start(self.config(config)).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A question for A records with ID 7.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(crate::name::Name::parse_absolute(name).unwrap().as_wire());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

/// The content of an answer: its code, and the address at its end if it has an answer.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Address(Ipv4Addr),
    Code(u8),
}

/// Reads an answer: in these zones the first answer record follows the question, with a compressed owner.
fn said(answer: &[u8], question: &[u8]) -> Said {
    assert_eq!((&answer[..2], answer[2] & 0x80), (&question[..2], 0x80), "it is no answer to this");
    if answer[7] == 0 {
        return Said::Code(answer[3] & 0x0f);
    }
    let rdata = question.len() + 12;
    let bytes: [u8; 4] = answer[rdata..rdata + 4].try_into().unwrap();
    Said::Address(bytes.into())
}

fn ask_udp(server: SocketAddr, name: &str) -> Said {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    // A connected socket takes answers from this address only.
    socket.connect(server).unwrap();
    let question = question(name);
    socket.send(&question).unwrap();
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).unwrap();
    said(&answer[..bytes], &question)
}

fn send_tcp(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
}

fn read_tcp(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn ask_tcp(server: SocketAddr, name: &str) -> Said {
    let mut stream = connect(server);
    let question = question(name);
    send_tcp(&mut stream, &question);
    said(&read_tcp(&mut stream), &question)
}

fn address(text: &str) -> Said {
    Said::Address(text.parse().unwrap())
}

const NXDOMAIN: Said = Said::Code(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_inside_is_a_listener_and_an_address() {
    let site = Site::new();
    let running = site.start(CONFIG).await;
    let Listening { outside, inside, admin, .. } = running.listening().clone();
    assert_eq!(admin, None);
    for ask in [ask_udp, ask_tcp] {
        assert_eq!(ask(outside[0], "www.example.com"), address("203.0.113.1"));
        assert_eq!(ask(outside[0], "db.example.com"), NXDOMAIN);
        assert_eq!(ask(inside[0], "db.example.com"), address("10.0.0.5"));
    }
    running.drain().await;
    let running = site.start(&CONFIG.replace("127.0.0.0/8", "127.0.0.2/32")).await;
    let inside = running.listening().inside[0];
    assert_eq!((ask_udp(inside, "db.example.com"), ask_tcp(inside, "db.example.com")), (NXDOMAIN, NXDOMAIN));
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let site = Site::new();
    let config = CONFIG.replacen("127.0.0.1:0", "0.0.0.0:0", 1);
    let running = site.start(&config).await;
    let port = running.listening().outside[0].port();
    for ip in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        let server = SocketAddr::new(ip.parse().unwrap(), port);
        assert_eq!(ask_udp(server, "www.example.com"), address("203.0.113.1"), "{ip}");
    }
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_larger_than_a_batch_is_answered() {
    let site = Site::new();
    let running = site.start(CONFIG).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(running.listening().outside[0]).unwrap();
    let mut message = question("www.example.com");
    for id in 0..100 {
        message[1] = id;
        socket.send(&message).unwrap();
    }
    // Neither of these gets an answer, and neither stops the loop.
    socket.send(&[]).unwrap();
    socket.send(&[0; 5000]).unwrap();
    let mut seen = [false; 100];
    for _ in 0..100 {
        let mut answer = [0; 512];
        socket.recv(&mut answer).unwrap();
        seen[usize::from(answer[1])] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_ends_the_one_that_was_idle_longest() {
    let site = Site::new();
    let running = site.start(&format!("{CONFIG}\n[tcp]\nmax_connections = 2\n")).await;
    let server = running.listening().outside[0];
    let question = question("www.example.com");
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(server);
        send_tcp(&mut stream, &question);
        read_tcp(&mut stream);
        streams.push(stream);
    }
    let mut nothing = [0; 1];
    assert_eq!(streams[0].read(&mut nothing).unwrap_or(0), 0, "the first has been closed");
    for stream in &mut streams[1..] {
        send_tcp(stream, &question);
        assert_eq!(said(&read_tcp(stream), &question), address("203.0.113.1"));
    }
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_with_its_setting() {
    let site = Site::new();
    let (udp, _free) = taken_for_udp_alone(false);
    // Another server of the same user that shares its port: the kernel would let us in beside it.
    let (shared, _free) = taken_for_udp_alone(true);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = site.start(CONFIG).await;
    let ours = running.listening().outside[0];
    for (taken, transport) in [
        (shared.local_addr().unwrap(), "UDP"),
        (udp.local_addr().unwrap(), "UDP"),
        (tcp.local_addr().unwrap(), "TCP"),
        (ours, "TCP"),
    ] {
        for (setting, config) in [
            ("`listen`", CONFIG.replacen("127.0.0.1:0", &taken.to_string(), 1)),
            (
                "`internal.listen`",
                CONFIG.replace(
                    "[internal]\nlisten = [\"127.0.0.1:0\"]",
                    &format!("[internal]\nlisten = [\"{taken}\"]"),
                ),
            ),
        ] {
            let error = start(site.config(&config)).await.err().expect("the port is taken").to_string();
            assert!(error.contains(setting) && error.contains(transport), "{error}");
            assert!(error.contains("the port is in use"), "{error}");
        }
    }
    let config = format!("{CONFIG}\n[admin]\nlisten = \"{}\"\n", tcp.local_addr().unwrap());
    let error = start(site.config(&config)).await.err().expect("the port is taken").to_string();
    assert!(error.contains("`admin.listen`"), "{error}");
    running.drain().await;
}

/// A UDP socket, and one that keeps its port free for whoever binds it for TCP with SO_REUSEADDR: a connection of
/// another test could have it else.
fn taken_for_udp_alone(shares_port: bool) -> (UdpSocket, socket2::Socket) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    loop {
        let udp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        udp.set_reuse_port(shares_port).unwrap();
        udp.bind(&any.into()).unwrap();
        let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        tcp.set_reuse_address(true).unwrap();
        if tcp.bind(&udp.local_addr().unwrap()).is_ok() {
            return (UdpSocket::from(udp), tcp);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_zones_folder_is_told_with_its_setting() {
    let site = Site::new();
    let config = site.config(&CONFIG.replace("\"zones\"", "\"nowhere\""));
    let error = start(config).await.err().expect("there is no such folder").to_string();
    assert!(error.contains("nowhere") && error.contains("`zones`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_file_is_served_without_being_asked() {
    let site = Site::new();
    let running = site.start(&CONFIG.replace("reload.watch = false", "reload.debounce = \"10ms\"")).await;
    let server = running.listening().outside[0];
    let mut loads = running.loads();
    for (how, number) in [(Save::InPlace, 2), (Save::Rename, 3), (Save::InPlace, 4)] {
        let text = ZONE.replace("203.0.113.1\n", &format!("203.0.113.{number}\n"));
        save(&site.path("zones/example.com.zone"), &text, how);
        let want = address(&format!("203.0.113.{number}"));
        while ask_udp(server, "www.example.com") != want {
            timeout(LIMIT, loads.changed()).await.expect("the change was not noticed").unwrap();
        }
    }
    running.drain().await;
}

#[derive(Clone, Copy)]
enum Save {
    InPlace,
    Rename,
}

fn save(path: &Path, text: &str, how: Save) {
    match how {
        Save::InPlace => fs::write(path, text).unwrap(),
        Save::Rename => {
            let beside = path.with_extension("new");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_over_who_is_inside_and_a_bad_config_changes_nothing() {
    let site = Site::new();
    let running = site.start(CONFIG).await;
    let inside = running.listening().inside[0];
    assert_eq!(ask_udp(inside, "db.example.com"), address("10.0.0.5"));
    for (config, expected) in [
        (CONFIG.replace("127.0.0.0/8", "192.0.2.0/24"), NXDOMAIN),
        (CONFIG.replace("127.0.0.0/8", "0.0.0.0/0"), NXDOMAIN),
        (CONFIG.to_owned(), address("10.0.0.5")),
        (CONFIG.replace("zones =", "zone ="), address("10.0.0.5")),
    ] {
        let mut loads = running.loads();
        loads.mark_unchanged();
        site.write("dns.toml", &config);
        running.reload();
        timeout(LIMIT, loads.changed()).await.expect("no reload").unwrap();
        assert_eq!(ask_udp(inside, "db.example.com"), expected, "{config}");
    }
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloading_that_ends_by_a_fault_starts_again_and_is_counted() {
    let site = Site::new();
    let running = site.start(&format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n")).await;
    let (listening, mut loads) = (running.listening().clone(), running.loads());
    loads.mark_unchanged();
    site.write("zones/example.com.zone", &ZONE.replace("203.0.113.1\n", "203.0.113.2\n"));
    running.loader.signals.send(Signal::Fault).unwrap();
    // Nobody asks for it: what the fault may have cut short is read again.
    timeout(LIMIT, loads.changed()).await.expect("reloading has ended for good").unwrap();
    tokio::task::spawn_blocking(move || {
        assert_eq!(ask_udp(listening.outside[0], "www.example.com"), address("203.0.113.2"));
        let admin = listening.admin.unwrap();
        let metrics = get(admin, "/metrics");
        assert!(metrics.contains("verge_dns_reload_restarts_total 1\n"), "{metrics}");
        assert!(get(admin, "/readyz").ends_with("ready\n"));
    })
    .await
    .unwrap();
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_frees_every_port() {
    let site = Site::new();
    let running = site.start(&format!("{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\n")).await;
    let Listening { outside, inside, admin, .. } = running.listening().clone();
    // The server would wait for a client that has asked nothing yet.
    let mut idle = connect(outside[0]);
    send_tcp(&mut idle, &question("www.example.com"));
    read_tcp(&mut idle);
    running.drain().await;
    for address in [outside[0], inside[0]] {
        UdpSocket::bind(address).unwrap();
        bind::bind_tcp("listen", address).unwrap_or_else(|error| panic!("{error}"));
    }
    bind::bind_tcp("admin.listen", admin.unwrap()).unwrap_or_else(|error| panic!("{error}"));
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_both_sides_are_counted_apart() {
    let site = Site::new();
    let running = site.start(&format!("{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\n")).await;
    let Listening { outside, inside, admin, .. } = running.listening().clone();
    ask_udp(outside[0], "db.example.com");
    ask_tcp(inside[0], "db.example.com");
    let mut stream = connect(admin.unwrap());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for line in [
        "verge_dns_answers_total{transport=\"udp\",view=\"outside\",rcode=\"NXDOMAIN\"} 1",
        "verge_dns_answers_total{transport=\"tcp\",view=\"inside\",rcode=\"NOERROR\"} 1",
        "verge_dns_zone_serial{zone=\"example.com.\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_is_answered_and_readiness_denied_for_as_long_as_a_drain_takes() {
    let site = Site::new();
    let running = site.start(&format!("{CONFIG}\n[admin]\nlisten = \"127.0.0.1:0\"\n")).await;
    let Listening { outside, inside, admin, .. } = running.listening().clone();
    assert!(get(admin.unwrap(), "/readyz").starts_with("HTTP/1.1 200"));
    let question = question("www.example.com");
    let mut stream = connect(outside[0]);
    let framed = [&u16::try_from(question.len()).unwrap().to_be_bytes()[..], &question].concat();
    // The first byte of another message, which has arrived when the one before is answered: the drain waits for the rest.
    stream.write_all(&[&framed[..], &framed[..1]].concat()).unwrap();
    assert_eq!(said(&read_tcp(&mut stream), &question), address("203.0.113.1"));
    let drained = tokio::spawn(running.drain());
    while get(admin.unwrap(), "/readyz").starts_with("HTTP/1.1 200") {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert_eq!(ask_udp(outside[0], "www.example.com"), address("203.0.113.1"));
        assert_eq!(ask_udp(inside[0], "db.example.com"), address("10.0.0.5"));
    }
    assert!(get(admin.unwrap(), "/readyz").contains("draining"));
    assert!(!drained.is_finished());
    stream.write_all(&framed[1..]).unwrap();
    assert_eq!(said(&read_tcp(&mut stream), &question), address("203.0.113.1"));
    timeout(LIMIT, drained).await.expect("the drain ends").unwrap();
}

/// The answer of the admin listener, on a connection of its own.
fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = connect(admin);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A token is changed without a restart, and a file without a good one leaves those in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_the_token_file_in_and_a_bad_one_changes_nothing() {
    let site = Site::new();
    let token_file = || {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(site.path("token"), mode).unwrap();
    };
    site.write("token", "the-first-of-them\n");
    token_file();
    let config = format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n");
    let running = site.start(&config).await;
    let admin = running.listening().admin.unwrap();
    let mut loads = running.loads();
    let ask = |token: &str| {
        let mut stream = connect(admin);
        let request =
            format!("GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    assert_eq!((ask("the-first-of-them"), ask("the-second-one")), ("200".to_owned(), "401".to_owned()));
    for (serial, text, first, second) in [
        (2, "the-first-of-them\nread the-second-one\n", "200", "200"),
        (3, "# none\n", "200", "200"),
        (4, "the-second-one\n", "401", "200"),
    ] {
        site.write("token", text);
        site.write("zones/example.com.zone", &ZONE.replace("hostmaster 1", &format!("hostmaster {serial}")));
        running.reload();
        // A config at fault is a load that ended, too; the zone is read after it.
        timeout(LIMIT, loads.wait_for(|loads| loads.generation == serial)).await.expect("no reload").unwrap();
        assert_eq!((&*ask("the-first-of-them"), &*ask("the-second-one")), (first, second), "{text}");
    }
    running.drain().await;
}
