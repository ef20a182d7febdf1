//! Restarts of the program under load: every question is answered, and updates are made once.
//!
//! `VERGE_DNS_ROUNDS` and `VERGE_DNS_CLIENTS` make it a load test: `.ci/restarts`.

#[path = "knocked.rs"]
mod knocked;
#[path = "../../../tests/ports.rs"]
mod ports;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, Query, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType};
use verge_dns::tsig::{Algorithm, Key, SignedError, Signer};
use verge_dns::view::Which;

use super::load::{Carrier, Load};
use super::program;

/// No test waits for this; one that would hang ends.
const LIMIT: Duration = Duration::from_secs(120);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// A change of a file is noticed by the next process alone.
const CONFIG: &str = r#"
run_folder = "run"
zones = "zones"
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_quic = ["127.0.0.1:0"]
udp.workers = 2
tcp.max_connections_per_client = 4096
reload.watch = false
[tls]
certificate = "chain.pem"
key = "key.pem"
[admin]
listen = "127.0.0.1:0"
[keys.acme]
secret_file = "acme.key"
[[update]]
zones = ["example.org"]
keys = ["acme"]
names = ["*"]
types = ["TXT"]
"#;
/// Plain, the operator's, TLS and QUIC.
const LISTENERS: usize = 4;

/// A folder where the program is run.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    write("dns.toml", CONFIG);
    write(
        "zones/example.org.zone",
        "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n",
    );
    write("acme.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    std::fs::set_permissions(folder.path().join("acme.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write("key.pem", &made.signing_key.serialize_pem());
    write("chain.pem", &made.cert.pem());
    publish(folder.path(), 1);
    folder
}

/// A version of the zone that clients ask for.
fn publish(folder: &Path, version: usize) {
    let text = format!(
        "$TTL 60\n@ SOA ns hostmaster {version} 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nv A 203.0.113.{version}\n"
    );
    std::fs::write(folder.join("zones/example.com.zone"), text).unwrap();
}

/// One process, and where it listens.
struct Process {
    child: Child,
    listening: Vec<SocketAddr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = program(folder, &["serve", "--config", "dns.toml"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// Starts one, and waits until it answers and nobody else does.
    fn start(folder: &Path) -> Self {
        Self::wait_for(command(folder).env("RUST_LOG", "warn").stderr(Stdio::inherit()))
    }

    fn wait_for(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = |line: String| line.split(' ').nth(1).unwrap().parse().unwrap();
        let listening = lines.take(LISTENERS).map(address).collect();
        Self { child, listening }
    }

    fn plain(&self) -> SocketAddr {
        self.listening[0]
    }

    fn signal(&self, which: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{which}"), &id]).status().unwrap().success());
    }

    /// Waits for its end.
    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn log(&mut self) -> Log {
        Log(BufReader::new(self.child.stderr.take().unwrap()).lines())
    }
}

/// The log of a process, as it comes.
struct Log(Lines<BufReader<ChildStderr>>);

impl Log {
    fn wait_for(&mut self, wanted: &str) {
        self.0.by_ref().map(Result::unwrap).find(|line| line.contains(wanted)).unwrap();
    }
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

fn udp(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> Message {
    let mut answer = [0; 4096];
    let bytes = socket.recv(&mut answer).unwrap();
    Message::from_vec(&answer[..bytes]).unwrap()
}

/// The data of an RRset.
fn asked(server: SocketAddr, owner: &str, rtype: RecordType) -> Vec<String> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(owner).unwrap(), rtype));
    let socket = udp(server);
    socket.send(&message.to_vec().unwrap()).unwrap();
    heard(&socket).answers.iter().map(|record| record.data.to_string()).collect()
}

/// Makes a name that must not be there: made twice, it is YXRRSET the second time.
fn update(number: usize) -> Vec<u8> {
    let owner = Name::from_ascii(format!("n{number}.example.org.")).unwrap();
    let record = Record::from_rdata(owner, 60, RData::TXT(TXT::new(vec!["here".to_owned()])));
    let message =
        update_message::create(RecordSet::from(record), Name::from_ascii("example.org.").unwrap(), false);
    let name = verge_dns::name::Name::parse_absolute("acme").unwrap();
    let key = Key::new(name, Algorithm::HmacSha256, SECRET, Which::Public);
    let mut bytes = message.to_vec().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the program under test reads the real clock too")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    Signer::of_request(&Arc::new(key)).sign(&mut bytes, SignedError::None, now);
    bytes
}

fn is_made(answer: &Message) -> bool {
    answer.metadata.response_code == hickory_proto::op::ResponseCode::NoError
}

/// The answer over TCP; none if the connection ends before.
fn over_tcp(server: SocketAddr, message: &[u8]) -> Option<Message> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    over(&mut stream, message)
}

fn over(stream: &mut TcpStream, message: &[u8]) -> Option<Message> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], message].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(Message::from_vec(&answer).unwrap())
}

/// A process after the last of so many restarts, each with a new version of the zone.
fn restart(
    folder: &Path,
    mut process: Process,
    load: Option<&Load>,
    rounds: usize,
    version: &mut usize,
) -> Process {
    for _ in 0..rounds {
        *version += 1;
        publish(folder, *version);
        let next = Process::start(folder);
        assert_eq!(next.listening, process.listening);
        load.iter().for_each(|load| load.counts.ready(*version));
        let before = std::mem::replace(&mut process, next);
        assert_eq!(before.ended(), Some(0));
    }
    process
}

#[test]
fn under_load_no_restart_loses_a_question_or_gives_an_answer_of_before() {
    let (rounds, clients) = (number("VERGE_DNS_ROUNDS", 2), number("VERGE_DNS_CLIENTS", 4));
    let folder = site();
    let mut process = Process::start(folder.path());
    let mut version = 1;
    for carrier in [Carrier::Udp, Carrier::Tcp, Carrier::Tls, Carrier::Quic] {
        let server = match carrier {
            Carrier::Udp | Carrier::Tcp => process.plain(),
            Carrier::Tls => process.listening[2],
            Carrier::Quic => process.listening[3],
        };
        let load = Load::start(carrier, server, folder.path(), clients);
        // Clients have been answered before, and again after.
        load.counts.wait_for(clients as u64 * 4);
        process = restart(folder.path(), process, Some(&load), rounds, &mut version);
        load.counts.wait_for(clients as u64 * 4);
        let counts = load.end();
        let [sent, answered, again, lost, stale] = counts.of();
        println!(
            "restart {rounds} times, {carrier:?}, {clients} clients: {sent} sent, {answered} answered, {lost} lost, {stale} of before, {again} not taken and sent again"
        );
        assert_eq!((lost, answered), (0, sent), "{carrier:?}");
        // A connection with a question under way that got no processor for a quarter of a second stays with the process that has left.
        let unexcused = match carrier {
            Carrier::Tcp | Carrier::Tls => counts.stale_at_once.load(Ordering::Relaxed),
            Carrier::Udp | Carrier::Quic => stale,
        };
        assert_eq!(unexcused, 0, "{carrier:?}: {stale} of before in all");
    }
    process.signal("TERM");
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn an_idle_connection_goes_on_in_the_next_process() {
    let folder = site();
    let process = Process::start(folder.path());
    let mut stream = TcpStream::connect(process.plain()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("v.example.com.").unwrap(), RecordType::A));
    let mut asked = || {
        let answer = over(&mut stream, &message.to_vec().unwrap()).unwrap();
        answer.answers[0].data.to_string()
    };
    assert_eq!(asked(), "203.0.113.1");
    let mut version = 1;
    let _process = restart(folder.path(), process, None, 2, &mut version);
    assert_eq!(asked(), "203.0.113.3");
}

#[test]
fn under_updates_no_restart_loses_one_or_makes_it_twice() {
    let rounds = number("VERGE_DNS_ROUNDS", 2);
    let folder = site();
    let process = Process::start(folder.path());
    let (server, is_over) = (process.plain(), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = [false, true]
        .into_iter()
        .map(|by_tcp| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let socket = udp(server);
                let mut made = Vec::new();
                let (mut number, mut again) = (usize::from(by_tcp), 0);
                while !is_over.load(Ordering::Relaxed) {
                    let message = update(number);
                    let answer = match by_tcp {
                        true => over_tcp(server, &message),
                        false => {
                            socket.send(&message).unwrap();
                            Some(heard(&socket))
                        }
                    };
                    // A connection may end as it begins; its client comes again.
                    let Some(answer) = answer else {
                        again += 1;
                        continue;
                    };
                    assert!(is_made(&answer), "{number}: {answer}");
                    made.push(number);
                    number += 2;
                }
                (made, again)
            })
        })
        .collect();
    let process = restart(folder.path(), process, None, rounds, &mut 1);
    is_over.store(true, Ordering::Relaxed);
    let ended: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let again: usize = ended.iter().map(|(_, again)| again).sum();
    let made: Vec<usize> = ended.into_iter().flat_map(|(made, _)| made).collect();
    println!("restart {rounds} times under updates: {} made, {again} not taken and sent again", made.len());
    assert!(made.len() > rounds, "{made:?}");
    for number in made {
        assert_eq!(asked(process.plain(), &format!("n{number}.example.org."), RecordType::TXT), ["here"]);
    }
}

#[test]
fn a_process_that_fails_before_it_is_ready_changes_nothing() {
    let folder = site();
    let process = Process::start(folder.path());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let fails = |wanted: &str| {
        let output = command(folder.path()).output().unwrap();
        let said = super::stderr(&output);
        assert!(!output.status.success() && said.contains(wanted), "{wanted}: {said}");
        assert_eq!(asked(process.plain(), "v.example.com.", RecordType::A), ["203.0.113.1"], "{wanted}");
    };
    write("dns.toml", &CONFIG.replace("chain.pem", "gone.pem"));
    fails("gone.pem");
    write("dns.toml", &CONFIG.replace("127.0.0.1:0", "127.0.0.2:0"));
    fails("has none of the addresses of this config");
    write("dns.toml", CONFIG);
    write("dns.toml", &CONFIG.replace("zones = \"zones\"", "zones = \"unmounted\""));
    std::fs::create_dir(folder.path().join("unmounted")).unwrap();
    fails("the new process has no zones, and this one has");
    write("dns.toml", CONFIG);
    write("zones/example.com.zone", "@ SOA ns hostmaster 2 2h 30m 2w 5m\n@ NS ns\nv A 203.0.113.300\n");
    fails("the new process has no good version of the zone example.com., which this one serves");
    assert!(is_made(&over_tcp(process.plain(), &update(1)).unwrap()));
    publish(folder.path(), 3);
    let next = Process::start(folder.path());
    assert_eq!(asked(next.plain(), "v.example.com.", RecordType::A), ["203.0.113.3"]);
    assert_eq!(asked(next.plain(), "n1.example.org.", RecordType::TXT), ["here"]);
    assert_eq!((process.plain(), process.ended()), (next.plain(), Some(0)));
}

#[test]
fn a_process_that_is_killed_while_it_loads_changes_nothing() {
    ends_while_it_loads("KILL");
}

#[test]
fn a_process_that_is_told_to_stop_while_it_loads_changes_nothing() {
    ends_while_it_loads("TERM");
}

fn ends_while_it_loads(signal: &str) {
    let folder = site();
    let mut process = Process::wait_for(&mut command(folder.path()));
    let mut log = process.log();
    // It takes long to load.
    let names = (0..200_000).map(|n| format!("n{n} A 192.0.2.1\n"));
    let big = format!(
        "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n{}",
        names.collect::<String>()
    );
    std::fs::write(folder.path().join("zones/example.net.zone"), big).unwrap();
    let mut next = command(folder.path()).stderr(Stdio::null()).spawn().unwrap();
    log.wait_for("a process takes over");
    let id = next.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    assert!(!next.wait().unwrap().success());
    log.wait_for("did not, and nothing has changed");
    assert_eq!(asked(process.plain(), "v.example.com.", RecordType::A), ["203.0.113.1"]);
    // An update reads what is new, which takes as long here as no other program leaves it the processor.
    std::fs::remove_file(folder.path().join("zones/example.net.zone")).unwrap();
    assert!(is_made(&over_tcp(process.plain(), &update(1)).unwrap()));
}

#[test]
fn queries_wait_in_a_socket_that_systemd_keeps_while_the_program_is_killed() {
    let folder = site();
    let address = ports::address();
    let kept = UdpSocket::bind(address).unwrap();
    let text =
        CONFIG.replacen("127.0.0.1:0", &address.to_string(), 1).replacen("run_folder", "# run_folder", 1);
    std::fs::write(folder.path().join("dns.toml"), text).unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let start = || {
        let mut command = command(folder.path());
        // As its standard input, and so the first of the descriptors that are passed.
        command
            .stdin(OwnedFd::from(kept.try_clone().unwrap()))
            .env("RUST_LOG", "warn")
            .stderr(Stdio::inherit());
        command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")]).env("NOTIFY_SOCKET", &path);
        Process::wait_for(&mut command)
    };
    let first = start();
    assert_eq!(first.plain(), address);
    let mut told = [0; 4096];
    let length = manager.recv(&mut told).unwrap();
    let name = format!("FDSTORE=1\nFDPOLL=0\nFDNAME=listen-{address}").replace(':', "_");
    assert_eq!(String::from_utf8_lossy(&told[..length]), name);
    first.signal("KILL");
    assert_eq!(first.ended(), None);
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("v.example.com.").unwrap(), RecordType::A));
    let clients: Vec<UdpSocket> = (0..20).map(|_| udp(address)).collect();
    let message = message.to_vec().unwrap();
    assert!(clients.iter().all(|client| client.send(&message).is_ok()));
    let _second = start();
    for client in clients {
        assert_eq!(heard(&client).answers[0].data.to_string(), "203.0.113.1");
    }
}

#[test]
fn the_next_process_is_started_by_a_signal_and_systemd_hears_which_is_the_main_one() {
    let folder = site();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let told = |wanted: &str| {
        let mut text = [0; 4096];
        loop {
            let length = manager.recv(&mut text).unwrap();
            let said = String::from_utf8_lossy(&text[..length]).into_owned();
            if said.contains(wanted) {
                return said;
            }
        }
    };
    // Of the two, only the one that systemd has not started itself is meant by its watchdog.
    let environment = [("WATCHDOG_USEC", "400000"), ("WATCHDOG_PID", "1")];
    let mut first = command(folder.path());
    first.env("NOTIFY_SOCKET", &path).envs(environment).env("RUST_LOG", "warn").stderr(Stdio::inherit());
    let first = Process::wait_for(&mut first);
    assert!(told("READY=1").contains(&format!("MAINPID={}", first.child.id())));
    let (plain, pid) = (first.plain(), first.child.id());
    publish(folder.path(), 2);
    first.signal("USR2");
    // It ends when the next one has taken over.
    assert_eq!(first.ended(), Some(0));
    let main = told("MAINPID=");
    assert!(!main.contains(&format!("MAINPID={pid}")), "{main}");
    told("WATCHDOG=1");
    // Nobody reads any more what the process that takes over says, and it is not to wait for that.
    drop(manager);
    assert_eq!(asked(plain, "v.example.com.", RecordType::A), ["203.0.113.2"]);
    let last = Process::start(folder.path());
    assert_eq!(last.plain(), plain, "the one that the signal started has handed over in its turn");
}
