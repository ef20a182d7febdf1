//! The program on a machine where something is wrong: a log that nobody takes, signals that mean something elsewhere.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::disallowed_methods, reason = "a test that would hang ends at a time")]

#[path = "../../tests/ports.rs"]
mod ports;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CONFIG: &str = "\
zones = \"zones\"
listen = [\"127.0.0.1:0\"]
reload.poll = \"1h\"
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
        fs::create_dir(folder.path().join("zones")).unwrap();
        write(folder.path(), &zone("203.0.113.1"));
        Self::start_in(folder, stderr)
    }

    fn start_in(folder: TempDir, stderr: Stdio) -> Self {
        fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
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
        self.comes_to_serve(address, "the edit");
    }

    /// Nothing polls here: who waits for an hour has not noticed.
    fn comes_to_serve(&self, address: [u8; 4], what: &str) {
        let deadline = Instant::now() + LONG;
        while ask(self.dns) != address {
            assert!(Instant::now() < deadline, "{what} is not noticed");
        }
    }

    /// Waits until a metric without labels has another value than `before`.
    fn comes_to_differ(&self, name: &str, before: u64) {
        let deadline = Instant::now() + LONG;
        while self.metric(name) == before {
            assert!(Instant::now() < deadline, "{name} does not change");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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
    fs::write(folder.join("zones/new"), text).unwrap();
    fs::rename(folder.join("zones/new"), folder.join("zones/example.com.zone")).unwrap();
}

/// The address of www.example.com.
fn ask(server: SocketAddr) -> [u8; 4] {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.connect(server).unwrap();
    socket.send(b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01").unwrap();
    let mut answer = [0; 512];
    let bytes = loop {
        match socket.recv(&mut answer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    *answer[..bytes].last_chunk().unwrap()
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
    fs::create_dir(folder.path().join("zones")).unwrap();
    let config = CONFIG.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", "");
    let port = ports::address();
    fs::write(folder.path().join("dns.toml"), config.replace("127.0.0.1:0", &port.to_string())).unwrap();
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
    fs::create_dir(folder.path().join("zones")).unwrap();
    fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
    let output = command(folder.path()).env("RUST_LOG", "warning").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("verge-dns: RUST_LOG: \"warning\" is not a level\n"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

/// A folder beside the zones folder with this address in its zone.
fn other_folder(server: &Server, name: &str, address: &str) -> PathBuf {
    let other = server.path(name);
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("example.com.zone"), zone(address)).unwrap();
    other
}

#[test]
fn a_zones_folder_that_is_replaced_is_followed_and_so_are_edits_in_the_new_one() {
    let renamed_over = |server: &Server| {
        let other = other_folder(server, "new", "203.0.113.2");
        fs::rename(server.path("zones"), server.path("old")).unwrap();
        fs::rename(other, server.path("zones")).unwrap();
    };
    let removed_and_made_again = |server: &Server| {
        fs::remove_dir_all(server.path("zones")).unwrap();
        other_folder(server, "zones", "203.0.113.2");
    };
    let turned_into_a_link = |server: &Server| {
        other_folder(server, "a/b", "203.0.113.2");
        fs::remove_dir_all(server.path("zones")).unwrap();
        symlink("a/b", server.path("zones")).unwrap();
    };
    for (what, replace) in [
        ("a folder that is renamed over", &renamed_over as &dyn Fn(&Server)),
        ("a folder that is made again", &removed_and_made_again),
        ("a link in the folder's place", &turned_into_a_link),
    ] {
        let server = Server::start(Stdio::null());
        for round in 1..=2 {
            server.serves_an_edit([203, 0, 113, 1]);
            replace(&server);
            server.comes_to_serve([203, 0, 113, 2], what);
            server.serves_an_edit([203, 0, 113, 2 + round]);
            let _ = fs::remove_dir_all(server.path("old"));
        }
        server.ends_well();
    }
}

#[test]
fn links_that_are_swapped_are_followed() {
    // As in a volume of a Kubernetes ConfigMap, and as with a link to the current release.
    for (target, link, config_map) in [("..1/", "zones/..data", true), ("1/", "zones", false)] {
        let folder = tempfile::tempdir().unwrap();
        let base = if config_map { folder.path().join("zones") } else { folder.path().to_path_buf() };
        fs::create_dir_all(base.join(target)).unwrap();
        fs::write(base.join(target).join("example.com.zone"), zone("203.0.113.1")).unwrap();
        symlink(target, folder.path().join(link)).unwrap();
        if config_map {
            symlink("..data/example.com.zone", base.join("example.com.zone")).unwrap();
        }
        let server = Server::start_in(folder, Stdio::null());
        for round in 2..=4 {
            let next = target.replace('1', &round.to_string());
            fs::create_dir(base.join(&next)).unwrap();
            let text = zone(&format!("203.0.113.{round}"));
            fs::write(base.join(&next).join("example.com.zone"), text).unwrap();
            symlink(&next, base.join("swap")).unwrap();
            fs::rename(base.join("swap"), server.path(link)).unwrap();
            fs::remove_dir_all(base.join(target.replace('1', &(round - 1).to_string()))).unwrap();
            server.comes_to_serve([203, 0, 113, round], "a link that is swapped");
        }
        server.ends_well();
    }
}

#[test]
fn a_zone_file_that_is_a_link_to_another_folder_is_watched_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("zones")).unwrap();
    fs::create_dir_all(folder.path().join("git")).unwrap();
    let real = folder.path().join("git/example.com");
    fs::write(&real, zone("203.0.113.1")).unwrap();
    symlink("../git/example.com", folder.path().join("zones/example.com.zone")).unwrap();
    let server = Server::start_in(folder, Stdio::null());
    fs::write(&real, zone("203.0.113.2")).unwrap();
    server.comes_to_serve([203, 0, 113, 2], "an edit in place");
    fs::write(server.path("git/new"), zone("203.0.113.3")).unwrap();
    fs::rename(server.path("git/new"), &real).unwrap();
    server.comes_to_serve([203, 0, 113, 3], "a file that is renamed over");
    fs::write(&real, zone("203.0.113.4")).unwrap();
    server.comes_to_serve([203, 0, 113, 4], "an edit of the new file in place");
    server.ends_well();
}

#[test]
fn what_is_away_for_a_moment_is_served_until_sighup() {
    let server = Server::start(Stdio::null());
    let file = server.path("zones/example.com.zone");
    fs::write(server.path("zones/example.org.zone"), zone("203.0.113.9")).unwrap();
    server.comes_to_differ("verge_dns_generation", 1);
    let generation = server.metric("verge_dns_generation");
    fs::rename(&file, server.path("away")).unwrap();
    server.comes_to_differ("verge_dns_generation", generation);
    assert_eq!(ask(server.dns), [203, 0, 113, 1], "the file is gone");
    symlink("nowhere", &file).unwrap();
    server.comes_to_differ("verge_dns_generation", generation + 1);
    assert_eq!(ask(server.dns), [203, 0, 113, 1], "the link leads nowhere");
    fs::remove_file(&file).unwrap();
    server.comes_to_differ("verge_dns_generation", generation + 2);
    server.signal("HUP");
    server.comes_to_differ("verge_dns_generation", generation + 3);
    assert_ne!(ask(server.dns), [203, 0, 113, 1], "the operator has said that it may go");
    server.ends_well();
}

#[test]
fn an_edit_that_makes_a_record_public_waits_for_sighup_if_that_is_asked_for() {
    let server = Server::start(Stdio::null());
    let comes = |generation| server.comes_to_differ("verge_dns_generation", generation);
    fs::write(server.path("dns.toml"), format!("reload.unhide = \"ask\"\n{CONFIG}")).unwrap();
    server.signal("HUP");
    comes(1);
    let hidden = zone("203.0.113.1").replace("www A 203.0.113.1", "www CNAME db\ndb A 10.0.0.5");
    write(server.folder.path(), &hidden);
    comes(2);
    write(server.folder.path(), &hidden.replace("10.0.0.5", "203.0.113.7"));
    comes(3);
    assert_ne!(ask(server.dns), [203, 0, 113, 7], "www itself was not edited");
    assert_eq!(server.metric("verge_dns_unhidden_records_total"), 0);
    assert!(get(server.admin, "/metrics").contains("verge_dns_zones{state=\"previous\"} 1"));
    server.signal("HUP");
    server.comes_to_serve([203, 0, 113, 7], "the consent");
    // The world is in service before it is told.
    server.comes_to_differ("verge_dns_unhidden_records_total", 0);
    assert_eq!(server.metric("verge_dns_unhidden_records_total"), 1);
    server.ends_well();
}
