//! A real hickory-server on loopback, beside our own pipeline: the same answers, decoded by hickory's codec.

use std::fs;
use std::path::Path;

use hickory_server::Server;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config;
use crate::name::Name;
use crate::rtype::Type;

const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nns AAAA 2001:db8::53\n\
    www A 203.0.113.1\nWwW TXT hello\ndb A 10.0.0.5\nalias CNAME www\nto-db CNAME db\n*.wild A 203.0.113.2\n\
    sub NS ns.sub\nns.sub A 203.0.113.3\nsvc HTTPS 1 . alpn=h2 ipv4hint=203.0.113.4,10.0.0.4\nodd TYPE65280 \\# 2 0102 ; verge: public\n";

struct Site {
    dir: TempDir,
    zones: Arc<Zones>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("zones")).unwrap();
        fs::write(dir.path().join("zones/example.com.zone"), ZONE).unwrap();
        let text = "zones = \"zones\"\nnsid = \"here\"\n[internal]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.1\"]\n";
        let config =
            config::parse(text, dir.path(), Path::new("dns.toml")).unwrap_or_else(|error| panic!("{error}"));
        Self { zones: Arc::new(Zones::load(&config).unwrap()), dir }
    }

    /// A server for one side.
    async fn serve(&self, listener: Listener) -> Served {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut server = Server::new(Handler::new(Arc::clone(&self.zones), listener));
        server.register_socket(socket);
        let stop = server.shutdown_token().clone();
        Served { zones: Arc::clone(&self.zones), listener, address, stop, _server: server }
    }
}

struct Served {
    zones: Arc<Zones>,
    listener: Listener,
    address: SocketAddr,
    stop: CancellationToken,
    _server: Server<Handler>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn question(name: &str, qtype: Type, options: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(Name::parse_absolute(name).unwrap().as_wire());
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, u8::try_from(options.len()).unwrap()]);
    packet.extend_from_slice(options);
    packet
}

impl Served {
    async fn ask(&self, packet: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(packet).await.unwrap();
        let mut answer = vec![0; 4096];
        let bytes = socket.recv(&mut answer).await.unwrap();
        answer.truncate(bytes);
        answer
    }

    /// The answer that our own UDP listener would send.
    fn own(&self, packet: &[u8]) -> Vec<u8> {
        let client = client("127.0.0.1:4000".parse().unwrap(), Protocol::Udp, self.listener);
        let mut out = Vec::new();
        let world = self.zones.world.load();
        wire::respond(&world, &mut Limits::default(), packet, &client, clock::moment(), &mut out);
        out
    }

    async fn check(&self, name: &str, qtype: Type, options: &[u8]) {
        let packet = question(name, qtype, options);
        let answer = self.ask(&packet).await;
        let decoded = |bytes: &[u8]| {
            let mut message =
                Message::from_vec(bytes).unwrap_or_else(|error| panic!("{name} {qtype}: {error}"));
            // A time stamp and what it signs.
            message.edns.as_mut().unwrap().options_mut().remove(EdnsCode::Cookie);
            message
        };
        assert_eq!(decoded(&answer), decoded(&self.own(&packet)), "{name} {qtype}");
        assert_eq!(
            answer[12..packet.len() - 11 - options.len()],
            packet[12..packet.len() - 11 - options.len()]
        );
    }
}

const NSID: &[u8] = &[0, 3, 0, 0];
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

#[tokio::test]
async fn hickory_sends_what_we_would() {
    let site = Site::new();
    for listener in [Listener::Outside, Listener::Inside] {
        let served = site.serve(listener).await;
        for (name, qtype) in [
            ("www.example.com", Type::A),
            ("WWW.eXample.com", Type::ANY),
            ("www.example.com", Type::MX),
            ("db.example.com", Type::A),
            ("to-db.example.com", Type::A),
            ("alias.example.com", Type::A),
            ("x.wild.example.com", Type::A),
            ("y.sub.example.com", Type::A),
            ("svc.example.com", Type::HTTPS),
            ("odd.example.com", Type(65280)),
            ("example.com", Type::NS),
            ("example.com", Type::AXFR),
            ("nowhere.example", Type::A),
        ] {
            for options in [&b""[..], NSID, COOKIE] {
                served.check(name, qtype, options).await;
            }
        }
    }
}

#[tokio::test]
async fn the_inside_is_a_matter_of_the_handler_and_the_address() {
    let site = Site::new();
    let packet = question("db.example.com", Type::A, b"");
    for (listener, rcode) in [(Listener::Outside, 3), (Listener::Inside, 0)] {
        let answer = site.serve(listener).await.ask(&packet).await;
        assert_eq!(answer[3] & 15, rcode, "{listener:?}");
        assert_eq!(answer.windows(4).any(|bytes| bytes == [10, 0, 0, 5]), listener == Listener::Inside);
    }
}

#[tokio::test]
async fn a_reload_is_served_and_a_broken_file_changes_nothing() {
    let site = Site::new();
    let served = site.serve(Listener::Outside).await;
    let packet = question("www.example.com", Type::A, b"");
    let file = site.dir.path().join("zones/example.com.zone");
    for (text, byte) in [
        (ZONE.replace("www A 203.0.113.1\n", "www A 203.0.113.100\n"), 100),
        (ZONE.replace("www A 203.0.113.1\n", "www A 203.0.113.1000\n"), 100),
        (ZONE.replace("www A 203.0.113.1\n", "www A 203.0.113.101\n"), 101),
    ] {
        fs::write(&file, text).unwrap();
        site.zones.reload().unwrap();
        let answer = served.ask(&packet).await;
        assert!(answer.windows(4).any(|bytes| bytes == [203, 0, 113, byte]), "{byte}: {answer:x?}");
    }
}

/// The differences that the module's documentation lists, as far as UDP shows them.
#[tokio::test]
async fn what_differs_is_known() {
    let site = Site::new();
    let served = site.serve(Listener::Outside).await;
    let garbage = [0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0];
    let answer = served.ask(&garbage).await;
    assert_eq!((answer[3] & 15, answer.len()), (1, 12), "FORMERR is hickory's own");
    assert_eq!(served.own(&garbage)[3] & 15, 1);
    // The answer to a malformed packet came first, so an answer would have been sent by now.
    let response = [0xab, 0xce, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(served.own(&response).is_empty(), "an answer is never answered");
}
