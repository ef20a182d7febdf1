//! Restarts, reloads and certificate changes of the program under load, and what systemd has to do with them.
//!
//! `VERGE_ROUNDS` and `VERGE_CLIENTS` make it a load test: `.ci/restarts`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::load::{Carrier, Counts};
use super::{origin, program};

/// One process, and where it listens.
struct Process {
    child: Child,
    /// In the order in which it says so: public, TLS, QUIC, the operator's.
    listening: Vec<SocketAddr>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts one, with these settings of its environment, and waits until it answers.
    fn start(folder: &Path, listeners: usize, environment: &[(&str, &str)], stdin: Stdio) -> Self {
        let mut child = program(&["serve", "--config", "edge.toml"], folder)
            .envs(environment.iter().copied())
            .env("RUST_LOG", "warn")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = |line: String| line.split(' ').nth(1).unwrap().parse().unwrap();
        let listening = lines.take(listeners).map(address).collect();
        Self { child, listening }
    }

    fn signal(&self, which: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{which}"), &id]).status().unwrap().success());
    }

    /// Waits for its end.
    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["site.test".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
}

const LISTENERS: usize = 4;

fn config(folder: &Path) -> String {
    certify(folder);
    let text = format!(
        "run_folder = \"run\"\nlisten = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n\
         [tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n[limits]\ndrain = \"10s\"\nhandshakes_per_network = 1000\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [log.access]\nlines = \"off\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n",
        origin()
    );
    std::fs::write(folder.join("edge.toml"), &text).unwrap();
    text
}

fn start(folder: &Path) -> Process {
    Process::start(folder, LISTENERS, &[], Stdio::null())
}

/// Disturbs the program while it is asked.
fn disturb(what: &str, folder: &Path, text: &str, mut process: Process, rounds: usize) -> Process {
    for round in 0..rounds {
        match what {
            "restart" => {
                let next = start(folder);
                assert_eq!(next.listening, process.listening);
                let before = std::mem::replace(&mut process, next);
                assert_eq!(before.ended(), Some(0));
            }
            "reload" => {
                let other = text.replace(
                    "127.0.0.1:0\"]\nlisten_tls",
                    &format!("127.0.0.1:0\", \"127.0.0.{}:0\"]\nlisten_tls", 2 + round % 2),
                );
                // The site's settings and its origin's change as well.
                let other = format!(
                    "{other}default_ttl = \"{}s\"\nconnect_timeout = \"{}s\"\n",
                    1 + round,
                    2 + round % 2
                );
                std::fs::write(folder.join("edge.toml"), other).unwrap();
                reload(folder, process.listening[3]);
            }
            _ => {
                certify(folder);
                reload(folder, process.listening[3]);
            }
        }
    }
    process
}

fn reload(folder: &Path, admin: SocketAddr) {
    let arguments = ["reload", "--admin", &admin.to_string(), "--token-file", "verge-edge.token"];
    let done = super::run(&arguments, folder);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn under_load_no_request_fails_for_a_restart_a_reload_or_another_certificate() {
    let (rounds, clients) = (number("VERGE_ROUNDS", 2), number("VERGE_CLIENTS", 8));
    let folder = tempfile::tempdir().unwrap();
    let text = config(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut process = start(folder.path());
    for what in ["restart", "reload", "certificate"] {
        for (place, carrier) in [Carrier::Http1, Carrier::Http2, Carrier::Http3].into_iter().enumerate() {
            let counts = Arc::new(Counts::default());
            let address = process.listening[place];
            runtime.block_on(async { counts.load(carrier, address, clients) });
            let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            // Clients have been answered before, and again after.
            counts.wait_for(clients as u64 * 4);
            process = disturb(what, folder.path(), &text, process, rounds);
            counts.wait_for(clients as u64 * 4);
            counts.end();
            let (answered, again, failed) = (of(&counts.answered), of(&counts.again), of(&counts.failed));
            println!(
                "{what} {rounds} times, {carrier:?}, {clients} clients: {answered} answered, {failed} failed, {again} not taken and sent again, {} connections",
                of(&counts.connections)
            );
            assert_eq!(failed, 0, "{what} {carrier:?}");
        }
        std::fs::write(folder.path().join("edge.toml"), &text).unwrap();
    }
    process.signal("TERM");
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn the_next_process_is_started_by_a_signal_and_ends_as_any() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let first = start(folder.path());
    let public = first.listening[0];
    first.signal("USR2");
    // It ends when the next one has taken over.
    assert_eq!(first.ended(), Some(0));
    assert!(super::get(&public.to_string()).contains("200 OK"));
    let next = start(folder.path());
    assert_eq!(next.listening[0], public, "the one that the signal started has handed over in its turn");
}

/// The fields that systemd is told, and whether a descriptor came with them.
fn told(manager: &UnixDatagram, wanted: &str) -> String {
    let mut text = [0; 4096];
    loop {
        let length = manager.recv(&mut text).unwrap();
        let said = String::from_utf8_lossy(&text[..length]).into_owned();
        if said.contains(wanted) {
            return said;
        }
    }
}

#[test]
fn systemd_is_told_how_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let process = || Process::start(folder.path(), LISTENERS, &environment, Stdio::null());
    let first = process();
    for (setting, address) in
        ["listen", "listen_tls", "listen_quic", "admin.listen"].iter().zip(&first.listening)
    {
        let name = format!("FDNAME={setting}-{address}").replace(':', "_");
        assert!(told(&manager, "FDSTORE=1").ends_with(&name), "{name}");
    }
    let ready = |process: &Process| format!("READY=1\nMAINPID={}", process.child.id());
    told(&manager, &ready(&first));
    first.signal("HUP");
    assert!(told(&manager, "RELOADING=1").contains("MONOTONIC_USEC="));
    told(&manager, &ready(&first));
    let second = process();
    told(&manager, &format!("MAINPID={}", second.child.id()));
    assert_eq!(first.ended(), Some(0));
    second.signal("TERM");
    told(&manager, "STOPPING=1");
    assert_eq!(second.ended(), Some(0));
}

#[test]
fn systemd_hears_again_and_again_that_the_process_answers_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000")];
    let process = Process::start(folder.path(), LISTENERS, &environment, Stdio::null());
    for _ in 0..10 {
        told(&manager, "WATCHDOG=1");
    }
    // As soon as nobody reads, there is no room for more.
    assert!(super::get(&process.listening[0].to_string()).contains("200 OK"));
    process.signal("TERM");
    told(&manager, "STOPPING=1");
    assert_eq!(process.ended(), Some(0));
}

/// Puts a pipe in the place of a file, as one of a file system that does not answer: it is read once somebody writes.
fn stick(file: &Path) {
    std::fs::remove_file(file).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
}

/// The other end of the pipe, as soon as it is being read.
fn writer(file: &Path) -> File {
    loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(file) {
            Ok(writer) => return writer,
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_reload_that_waits_for_a_file_holds_up_neither_the_watchdog_nor_clients_nor_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let text = config(folder.path());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // As on a machine with one core.
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
        ("TOKIO_WORKER_THREADS", "1"),
    ];
    let process = Process::start(folder.path(), LISTENERS, &environment, Stdio::null());
    let goes_on = || {
        // Those of before.
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 4096]).is_ok() {}
        manager.set_nonblocking(false).unwrap();
        (0..3).for_each(|_| drop(told(&manager, "WATCHDOG=1")));
        assert!(super::get(&process.listening[0].to_string()).contains("200 OK"));
    };
    let file = folder.path().join("edge.toml");
    stick(&file);
    let admin = process.listening[3].to_string();
    let arguments = ["reload", "--admin", &admin, "--token-file", "verge-edge.token"];
    let mut asking = program(&arguments, folder.path()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = writer(&file);
    goes_on();
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    assert!(asking.wait().unwrap().success());
    process.signal("HUP");
    let _pipe = writer(&file);
    goes_on();
    process.signal("TERM");
    told(&manager, "STOPPING=1");
    assert_eq!(process.ended(), Some(0));
}

#[test]
fn systemd_is_to_forget_sockets_that_nobody_wants_and_names_that_are_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    let environment =
        [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0"), ("NOTIFY_SOCKET", path.to_str().unwrap())];
    let start = |listen: &str| {
        let text = format!(
            "listen = [\"{listen}\"]\n[log.access]\nlines = \"off\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n",
            origin()
        );
        std::fs::write(folder.path().join("edge.toml"), text).unwrap();
        let passed = OwnedFd::from(kept.try_clone().unwrap());
        Process::start(folder.path(), 1, &environment, passed.into())
    };
    let said = |wanted: &str, setting: &str, of: SocketAddr| {
        let name = format!("FDNAME={setting}-{of}").replace(':', "_");
        let told = told(&manager, wanted);
        assert!(told.ends_with(&name), "{told} instead of {name}");
    };
    // Whatever it was for before: systemd would leave it its old name.
    let first = start(&address.to_string());
    for other in ["listen_tls", "admin.listen", "stream.listen"] {
        said("FDSTOREREMOVE=1", other, address);
    }
    said("FDSTORE=1", "listen", address);
    first.signal("KILL");
    first.ended();
    let second = start("127.0.0.1:0");
    for setting in ["listen", "listen_tls", "admin.listen", "stream.listen"] {
        said("FDSTOREREMOVE=1", setting, address);
    }
    assert_ne!(second.listening[0], address);
    second.signal("TERM");
    assert_eq!(second.ended(), Some(0));
}

#[test]
fn a_socket_that_systemd_keeps_keeps_connections_waiting_when_the_program_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    let text = format!(
        "listen = [\"{address}\"]\n[log.access]\nlines = \"off\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n",
        origin()
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let start = || {
        // As its standard input, and so the first of the descriptors that are passed.
        let passed = OwnedFd::from(kept.try_clone().unwrap());
        let environment = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
        Process::start(folder.path(), 1, &environment, passed.into())
    };
    let first = start();
    assert_eq!(first.listening, [address]);
    assert!(super::get(&address.to_string()).contains("200 OK"));
    first.signal("KILL");
    assert_eq!(first.ended(), None);
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &mut waiting {
        client.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    }
    let _second = start();
    for mut client in waiting {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

#[test]
fn the_admin_listener_takes_the_path_of_a_socket_unit_and_leaves_the_file_to_systemd() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let kept = UnixListener::bind(&path).unwrap();
    let text = "listen = [\"127.0.0.1:0\"]\nrun_folder = \"run\"\n[admin]\nlisten = \"unix:admin.sock\"\n\
                [[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:9\"]\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let start = || {
        // As its standard input, and so the first of the descriptors that are passed.
        let passed = OwnedFd::from(kept.try_clone().unwrap());
        let environment = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
        Process::start(folder.path(), 1, &environment, passed.into())
    };
    let ask = || {
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        client
    };
    let is_answered = |mut client: UnixStream| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    };
    // Clients that come before the program, or after one that was killed, wait for the next.
    let early = ask();
    let first = start();
    is_answered(early);
    first.signal("KILL");
    first.ended();
    let waiting = ask();
    let second = start();
    is_answered(waiting);
    // The process that takes over knows whose file it is.
    second.signal("USR2");
    assert_eq!(second.ended(), Some(0));
    is_answered(ask());
    let third = Process::start(folder.path(), 1, &[], Stdio::null());
    third.signal("TERM");
    assert_eq!(third.ended(), Some(0));
    assert!(path.exists(), "the file is systemd's");
    let waiting = ask();
    let _last = start();
    is_answered(waiting);
}
