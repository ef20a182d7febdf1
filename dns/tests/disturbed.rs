//! The program on a machine where something is wrong: a log that nobody takes, signals that mean something elsewhere.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::disallowed_methods, reason = "a test that would hang ends at a time")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CONFIG: &str = "\
zones = \"zones\"
listen = [\"127.0.0.1:0\"]
[admin]
listen = \"127.0.0.1:0\"
";
/// Long enough for a slow machine; a test that is right never waits so long.
const LONG: Duration = Duration::from_secs(60);

fn zone(address: &str) -> String {
    format!("$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nwww A {address}\n")
}

/// A server and its folder.
struct Server {
    child: Child,
    folder: TempDir,
    dns: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    /// With stderr as given; it says on stdout where it listens.
    fn start(stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        write(folder.path(), &zone("203.0.113.1"));
        std::fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
        let mut child = command(folder.path()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |who: &str| {
            let line = lines.next().unwrap().unwrap();
            let address = line.strip_prefix("listening ").unwrap().strip_suffix(who).unwrap();
            address.trim().parse().unwrap()
        };
        let (dns, admin) = (next("outside"), next("admin"));
        Self { child, folder, dns, admin }
    }

    /// Edits the zone, and waits until its new address is served.
    fn serves_an_edit(&self, address: [u8; 4]) {
        let [a, b, c, d] = address;
        write(self.folder.path(), &zone(&format!("{a}.{b}.{c}.{d}")));
        let deadline = Instant::now() + LONG;
        while ask(self.dns) != address {
            assert!(Instant::now() < deadline, "the edit is not served");
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> u64 {
        let text = get(self.admin, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    fn ends_well(mut self) {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verge-dns"));
    command.current_dir(folder).args(["serve", "--config", "dns.toml"]).stdin(Stdio::null());
    command
}

/// Puts a zone file in place as a whole.
fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("zones/new"), text).unwrap();
    std::fs::rename(folder.join("zones/new"), folder.join("zones/example.com.zone")).unwrap();
}

/// The address of www.example.com.
fn ask(server: SocketAddr) -> [u8; 4] {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.connect(server).unwrap();
    socket.send(b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01").unwrap();
    let mut answer = [0; 512];
    let octets = socket.recv(&mut answer).unwrap();
    *answer[..octets].last_chunk().unwrap()
}

fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn broken_pipe() -> Stdio {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    pipe.into()
}

#[test]
fn a_log_that_cannot_be_written_costs_its_lines_and_nothing_else() {
    for stderr in [full_disk, broken_pipe] {
        let server = Server::start(stderr());
        // An error in a zone is logged at the place where reloading would end with the log.
        write(server.folder.path(), &zone("nonsense"));
        server.signal("HUP");
        server.serves_an_edit([203, 0, 113, 2]);
        server.serves_an_edit([203, 0, 113, 3]);
        assert!(server.metric("verge_dns_log_lines_lost_total") > 0);
        assert!(get(server.admin, "/readyz").ends_with("ready\n"));
        server.ends_well();
    }
}

#[test]
fn a_log_that_nobody_reads_makes_nobody_wait() {
    let mut server = Server::start(Stdio::piped());
    let unread = server.child.stderr.take();
    // Each of these logs some lines; a pipe takes 64 KiB.
    let deadline = Instant::now() + LONG;
    let broken: String = (0..5000).map(|n| format!("x{n} A nonsense{n}\n")).collect();
    for round in 0..100 {
        write(server.folder.path(), &(zone(&format!("nonsense{round}")) + &broken));
        server.signal("HUP");
        assert!(Instant::now() < deadline);
    }
    server.serves_an_edit([203, 0, 113, 2]);
    server.ends_well();
    drop(unread);
}

#[test]
fn nothing_that_is_printed_decides_whether_the_program_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let config = CONFIG.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", "");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(folder.path().join("dns.toml"), config.replace("127.0.0.1:0", &port.to_string())).unwrap();
    write(folder.path(), &zone("203.0.113.1"));
    let mut child = command(folder.path()).stdout(full_disk()).stderr(full_disk()).spawn().unwrap();
    // Until it listens, there is nobody to take the question.
    let deadline = Instant::now() + LONG;
    let answered = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.connect(port).unwrap();
        socket.send(b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01").is_ok()
            && socket.recv(&mut [0; 512]).is_ok()
    };
    while !answered() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        assert!(Instant::now() < deadline);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn signals_of_other_programs_do_not_end_this_one() {
    let server = Server::start(Stdio::null());
    for signal in ["USR1", "USR2", "HUP"] {
        server.signal(signal);
    }
    server.serves_an_edit([203, 0, 113, 2]);
    server.ends_well();
}

#[test]
fn a_level_that_is_none_is_refused_from_the_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
    let output = command(folder.path()).env("RUST_LOG", "warning").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("verge-dns: RUST_LOG: \"warning\" is not a level\n"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}
