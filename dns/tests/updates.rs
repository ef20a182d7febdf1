//! The program under updates (RFC 2136): what it says is done is there after it was killed, and nothing is half done.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(clippy::disallowed_methods, reason = "the program under test reads the real clock too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use hickory_proto::op::{Message, update_message};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordSet, RecordType};
use verge_dns::name::Name;
use verge_dns::tsig::{Algorithm, Key, SignedError, Signer};
use verge_dns::view::Which;

/// No test waits for this; one that would hang ends.
const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 7 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nwww A 203.0.113.1\ndb A 10.0.0.5\n";
const CONFIG: &str = r#"
zones = "zones"
listen = ["127.0.0.1:0"]
udp.workers = 1
[keys.acme]
secret_file = "acme.key"
[keys.other]
secret_file = "acme.key"
[[update]]
zones = ["example.com"]
keys = ["acme"]
names = ["_acme-challenge.*"]
types = ["TXT"]
"#;

struct Server {
    child: Child,
    address: SocketAddr,
}

fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("zones")).unwrap();
    fs::write(folder.path().join("zones/example.com.zone"), ZONE).unwrap();
    fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
    let key = folder.path().join("acme.key");
    fs::write(&key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verge-dns"));
        command.current_dir(folder).args(["serve", "--config", "dns.toml"]).stdin(Stdio::null());
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As a power cut does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name(text: &str) -> HickoryName {
    HickoryName::from_ascii(text).unwrap()
}

/// A record that is to be added.
fn add(owner: &str, rdata: RData) -> Message {
    let record = Record::from_rdata(name(owner), 60, rdata);
    update_message::append(RecordSet::from(record), name("example.com."), false, false)
}

fn text(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

fn signed(message: &Message, key: &str) -> Vec<u8> {
    let key = Key::new(Name::parse_absolute(key).unwrap(), Algorithm::HmacSha256, SECRET, Which::Public);
    let mut bytes = message.to_vec().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    Signer::of_request(&Arc::new(key)).sign(&mut bytes, SignedError::None, now);
    bytes
}

/// The answer over TCP; none if the server is gone.
fn ask(stream: &mut TcpStream, message: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], message].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

fn rcode(answer: &[u8]) -> u8 {
    answer[3] & 15
}

fn texts(server: &Server, owner: &str) -> Vec<String> {
    let mut message = Message::query();
    message.add_query(hickory_proto::op::Query::query(name(owner), RecordType::TXT));
    let answer = ask(&mut server.connect(), &message.to_vec().unwrap()).unwrap();
    let answer = Message::from_vec(&answer).unwrap();
    let mut texts: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    texts.sort();
    texts
}

const CHALLENGE: &str = "_acme-challenge.example.com.";

#[test]
fn no_update_that_was_acknowledged_is_lost_by_a_kill() {
    let folder = site();
    let (mut acknowledged, mut killed) = (Vec::new(), 0);
    let mut next = 0;
    while killed < 10 {
        let server = Server::start(folder.path());
        let have = texts(&server, CHALLENGE);
        let lost: Vec<&String> = acknowledged.iter().filter(|text| !have.contains(text)).collect();
        assert!(lost.is_empty(), "{lost:?} of {acknowledged:?} are lost");
        // It is killed while it works at the last of these.
        let mut stream = server.connect();
        for _ in 0..3 + killed % 4 {
            let value = format!("n{next}");
            next += 1;
            let answer = ask(&mut stream, &signed(&add(CHALLENGE, text(&value)), "acme")).unwrap();
            assert_eq!(rcode(&answer), 0);
            acknowledged.push(value);
        }
        let last = signed(&add(CHALLENGE, text(&format!("n{next}"))), "acme");
        next += 1;
        let length = u16::try_from(last.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &last].concat()).unwrap();
        killed += 1;
        drop(server);
    }
    assert!(acknowledged.len() > 40, "{acknowledged:?}");
}

#[test]
fn an_update_is_there_at_once_over_udp_and_the_file_stays_as_it_is() {
    let folder = site();
    let server = Server::start(folder.path());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server.address).unwrap();
    socket.send(&signed(&add(CHALLENGE, text("token")), "acme")).unwrap();
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).unwrap();
    assert_eq!((rcode(&answer[..bytes]), texts(&server, CHALLENGE)), (0, vec!["token".to_owned()]));
    assert_eq!(fs::read_to_string(folder.path().join("zones/example.com.zone")).unwrap(), ZONE);
}

#[test]
fn all_others_are_refused_alike_and_nothing_is_done() {
    let folder = site();
    let server = Server::start(folder.path());
    let address = RData::A(A::new(192, 0, 2, 1));
    let good = || add(CHALLENGE, text("x"));
    for (message, key, expected) in [
        (add("www.example.com.", text("x")), Some("acme"), 5),
        (add(CHALLENGE, address), Some("acme"), 5),
        (good(), Some("other"), 5),
        (good(), Some("unknown"), 9),
        (good(), None, 5),
    ] {
        let bytes = key.map_or_else(|| message.to_vec().unwrap(), |key| signed(&message, key));
        let answer = ask(&mut server.connect(), &bytes).unwrap();
        assert_eq!(rcode(&answer), expected, "{key:?} {message}");
    }
    assert_eq!(texts(&server, CHALLENGE), Vec::<String>::new());
    // Without a key, a hidden name, a public one and a zone that is not here are the same.
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for (zone, owner) in [
        ("example.com.", "db.example.com."),
        ("example.com.", "www.example.com."),
        ("example.org.", "www.example.org."),
    ] {
        let record = Record::from_rdata(name(owner), 60, text("x"));
        let mut message = update_message::append(RecordSet::from(record), name(zone), true, false);
        message.metadata.id = 7;
        let mut answer = ask(&mut server.connect(), &message.to_vec().unwrap()).unwrap();
        let at = answer.windows(7).position(|bytes| bytes == b"example").unwrap();
        answer[at + 8..at + 11].copy_from_slice(b"tld");
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[test]
fn a_journal_that_cannot_be_written_is_a_server_failure_and_changes_nothing() {
    let folder = site();
    // A file where the folder of journals would be.
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/updates"), "").unwrap();
    let server = Server::start(folder.path());
    let answer = ask(&mut server.connect(), &signed(&add(CHALLENGE, text("x")), "acme")).unwrap();
    assert_eq!((rcode(&answer), texts(&server, CHALLENGE)), (2, Vec::new()));
    fs::remove_file(folder.path().join("state/updates")).unwrap();
    let answer = ask(&mut server.connect(), &signed(&add(CHALLENGE, text("x")), "acme")).unwrap();
    assert_eq!((rcode(&answer), texts(&server, CHALLENGE)), (0, vec!["x".to_owned()]));
}

#[test]
fn a_journal_that_was_damaged_takes_no_update_and_what_is_served_stays() {
    let folder = site();
    let server = Server::start(folder.path());
    let update =
        |value: &str| ask(&mut server.connect(), &signed(&add(CHALLENGE, text(value)), "acme")).unwrap();
    assert_eq!(rcode(&update("first")), 0);
    let path = folder.path().join("state/updates/example.com.journal");
    let damaged = fs::read_to_string(&path).unwrap().replace("first", "other");
    fs::write(&path, &damaged).unwrap();
    assert_eq!(rcode(&update("second")), 2);
    assert_eq!(texts(&server, CHALLENGE), ["first"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged, "it is left for its owner to look at");
}

#[test]
fn no_more_records_lie_over_a_zone_file_than_may() {
    let folder = site();
    let owner = |at: usize| format!("n{at}._acme-challenge.example.com.");
    let lines: String = (1..10_000).map(|at| format!("add {} 60 IN TXT \"x\"\n", owner(at))).collect();
    let sum = digest(&SHA256, lines.as_bytes());
    let sum: String = sum.as_ref()[..16].iter().map(|byte| format!("{byte:02X}")).collect();
    fs::create_dir_all(folder.path().join("state/updates")).unwrap();
    let path = folder.path().join("state/updates/example.com.journal");
    fs::write(&path, format!("{lines}commit 1764390000 acme. {sum}\n")).unwrap();
    let server = Server::start(folder.path());
    assert_eq!(texts(&server, &owner(9_999)), ["x"]);
    for (at, expected) in [(10_000, 0), (10_001, 5)] {
        let answer = ask(&mut server.connect(), &signed(&add(&owner(at), text("x")), "acme")).unwrap();
        assert_eq!(rcode(&answer), expected, "{at}");
    }
    assert_eq!(texts(&server, &owner(10_001)), Vec::<String>::new());
}

const SIDES: &str = r#"
[keys.outer]
secret_file = "acme.key"
[keys.inner]
secret_file = "acme.key"
view = "inside"
[keys.publisher]
secret_file = "acme.key"
view = "inside"
[[update]]
keys = ["outer", "inner"]
names = ["*"]
types = ["A", "TXT", "CNAME"]
[[update]]
keys = ["publisher"]
names = ["*"]
types = ["A", "TXT", "CNAME"]
publish = true
"#;

/// A site where keys of both sides may change everything, with these lines in the zone.
fn two_sided(lines: &str) -> tempfile::TempDir {
    let folder = site();
    fs::write(folder.path().join("zones/example.com.zone"), format!("{ZONE}{lines}")).unwrap();
    fs::write(folder.path().join("dns.toml"), format!("{CONFIG}{SIDES}")).unwrap();
    folder
}

impl Server {
    fn update(&self, key: &str, message: &Message) -> u8 {
        rcode(&ask(&mut self.connect(), &signed(message, key)).unwrap())
    }

    /// The records that the side of a key sees.
    fn sees(&self, key: &str, owner: &str, rtype: RecordType) -> Vec<String> {
        let mut message = Message::query();
        message.add_query(hickory_proto::op::Query::query(name(owner), rtype));
        let answer = ask(&mut self.connect(), &signed(&message, key)).unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        let of_type = answer.answers.iter().filter(|record| record.data.record_type() == rtype);
        let mut seen: Vec<String> = of_type.map(|record| record.data.to_string()).collect();
        seen.sort();
        seen
    }
}

fn address(last: u8) -> RData {
    RData::A(A::new(203, 0, 113, last))
}

fn delete_all(owner: &str, rtype: RecordType) -> Message {
    let record = Record::update0(name(owner), 0, rtype);
    update_message::delete_rrset(record, name("example.com."), false)
}

const NONE: Vec<String> = Vec::new();

#[test]
fn an_update_that_would_make_a_hidden_record_public_is_refused() {
    let folder = two_sided("nas A 192.168.1.5\nnas TXT \"in the cellar\"\nshare CNAME nas\n");
    let server = Server::start(folder.path());
    let nas = "nas.example.com.";
    for key in ["outer", "publisher"] {
        assert_eq!(server.update(key, &add(nas, address(9))), 5, "{key}");
    }
    assert_eq!(server.update("inner", &delete_all(nas, RecordType::A)), 5, "its text would be public");
    for (owner, rtype) in
        [(nas, RecordType::TXT), (nas, RecordType::A), ("share.example.com.", RecordType::CNAME)]
    {
        assert_eq!(server.sees("outer", owner, rtype), NONE, "{owner} {rtype}");
    }
    assert_eq!(server.sees("inner", nas, RecordType::A), ["192.168.1.5"]);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("it would make records public that are hidden"), "{log}");
}

#[test]
fn what_a_key_of_the_inside_adds_is_for_the_inside_unless_its_policy_publishes_it() {
    let folder = two_sided("vpn A 203.0.113.8 ; verge: internal\n");
    let server = Server::start(folder.path());
    assert_eq!(server.update("inner", &add("printer.example.com.", address(7))), 0);
    assert_eq!(server.sees("outer", "printer.example.com.", RecordType::A), NONE);
    assert_eq!(server.sees("inner", "printer.example.com.", RecordType::A), ["203.0.113.7"]);
    let journal = fs::read_to_string(folder.path().join("state/updates/example.com.journal")).unwrap();
    assert!(journal.contains("IN A 203.0.113.7 ; verge: internal\n"), "{journal}");
    for message in [delete_all("vpn.example.com.", RecordType::A), add("vpn.example.com.", address(8))] {
        assert_eq!(server.update("publisher", &message), 0);
    }
    assert_eq!(server.sees("inner", "vpn.example.com.", RecordType::A), ["203.0.113.8"]);
    assert_eq!(server.sees("outer", "vpn.example.com.", RecordType::A), NONE, "its author marked it");
    assert_eq!(server.update("publisher", &add("shop.example.com.", address(6))), 0);
    assert_eq!(server.sees("outer", "shop.example.com.", RecordType::A), ["203.0.113.6"]);
}

#[test]
fn the_answer_to_an_update_does_not_tell_what_is_hidden() {
    let folder = two_sided("vpn A 203.0.113.8 ; verge: internal\nlone TXT \"x\" ; verge: internal\n");
    let server = Server::start(folder.path());
    let private = || RData::A(A::new(10, 0, 0, 5));
    let alias = || RData::CNAME(hickory_proto::rr::rdata::CNAME(name("www.example.com.")));
    // Each pair: a name that owns something hidden, and one that does not exist.
    for (hidden, free, rdata) in
        [("db", "free", private()), ("vpn", "free2", address(8)), ("lone", "free3", alias())]
    {
        let rtype = rdata.record_type();
        let said = [hidden, free].map(|owner| {
            let owner = format!("{owner}.example.com.");
            let first = server.update("outer", &add(&owner, rdata.clone()));
            let again = server.update("outer", &add(&owner, rdata.clone()));
            let seen = server.sees("outer", &owner, rtype);
            let gone = server.update("outer", &delete_all(&owner, rtype));
            (first, again, seen, gone, server.sees("outer", &owner, rtype))
        });
        assert_eq!(said[0], said[1], "{hidden}");
        assert_eq!((said[0].0, said[0].1, said[0].3), (0, 0, 0), "{hidden}");
    }
    for (owner, rtype, expected) in [
        ("db", RecordType::A, "10.0.0.5"),
        ("vpn", RecordType::A, "203.0.113.8"),
        ("lone", RecordType::TXT, "x"),
    ] {
        let seen = server.sees("inner", &format!("{owner}.example.com."), rtype);
        assert_eq!(seen, [expected], "the inside has what it had");
    }
}

#[test]
fn records_of_one_rrset_with_two_ttls_change_and_go_together() {
    let folder = two_sided("two 60 A 203.0.113.11\ntwo 90 A 203.0.113.12\n");
    let server = Server::start(folder.path());
    let two = "two.example.com.";
    let record = Record::from_rdata(name(two), 300, address(13));
    let message = update_message::append(RecordSet::from(record), name("example.com."), false, false);
    assert_eq!(server.update("outer", &message), 0);
    assert_eq!(server.sees("outer", two, RecordType::A), ["203.0.113.11", "203.0.113.12", "203.0.113.13"]);
    assert_eq!(server.update("outer", &delete_all(two, RecordType::A)), 0);
    assert_eq!(server.sees("outer", two, RecordType::A), NONE);
}

#[test]
fn a_zone_file_with_errors_takes_no_update() {
    let folder = two_sided("");
    let server = Server::start(folder.path());
    let path = folder.path().join("zones/example.com.zone");
    assert_eq!(server.update("outer", &add("new.example.com.", address(7))), 0);
    fs::write(&path, format!("{ZONE}bad A 999\n")).unwrap();
    for owner in ["new.example.com.", "newer.example.com."] {
        let expected = if owner == "new.example.com." { 0 } else { 2 };
        let answer = server.update("outer", &add(owner, address(7)));
        assert_eq!(answer == 0, expected == 0, "{owner} {answer}");
    }
    assert_eq!(server.sees("outer", "newer.example.com.", RecordType::A), NONE);
    fs::remove_file(&path).unwrap();
    assert_ne!(server.update("outer", &add("newest.example.com.", address(7))), 0);
}

#[test]
fn a_pool_outlasts_an_update_that_replaces_its_marked_record_and_a_restart() {
    let folder = two_sided("pool A 203.0.113.10 ; verge: steer\n");
    let owner = "pool.example.com.";
    let is_pool = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verge-dns"));
        let args = ["explain", "pool.example.com", "A", "--from", "192.0.2.1", "--config", "dns.toml"];
        let out = command.current_dir(folder.path()).args(args).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.contains("pool.example.com. is a pool")
    };
    let server = Server::start(folder.path());
    assert!(is_pool());
    assert_eq!(server.update("outer", &delete_all(owner, RecordType::A)), 0);
    assert!(!is_pool());
    assert_eq!(server.update("outer", &add(owner, address(11))), 0);
    assert_eq!(server.update("outer", &add(owner, address(12))), 0);
    assert!(is_pool());
    drop(server);
    let server = Server::start(folder.path());
    assert_eq!(server.sees("outer", owner, RecordType::A), ["203.0.113.11", "203.0.113.12"]);
    assert!(is_pool());
    // Both are one update's now, and the file is written anew.
    drop(server);
    let mut fold = Command::new(env!("CARGO_BIN_EXE_verge-dns"));
    let fold = fold.current_dir(folder.path()).args(["fold", "example.com", "--config", "dns.toml"]);
    assert!(fold.status().unwrap().success());
    assert!(is_pool());
}
