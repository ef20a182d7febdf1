//! The program itself: its arguments, what it prints, how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../../../tests/ports.rs"]
mod ports;

mod access_log;
mod docs;
mod encrypted;
mod faults;
mod guard;
mod kills;
mod load;
mod names;
mod operator;
mod restarts;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A running `verge-edge serve`; killed if the test does not end it.
struct Serving {
    child: Child,
    public: String,
    admin: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verge-edge"));
    command.args(arguments).current_dir(folder);
    command
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    program(arguments, folder).output().unwrap()
}

fn serve(folder: &Path) -> Serving {
    serve_logging_to(Stdio::null(), folder)
}

fn serve_logging_to(stderr: Stdio, folder: &Path) -> Serving {
    serve_with(stderr, folder, "info,verge_edge::request=debug")
}

fn serve_with(stderr: Stdio, folder: &Path, level: &str) -> Serving {
    let (mut serving, [public, admin]) = serve_at(stderr, folder, level, ["public", "admin"]);
    (serving.public, serving.admin) = (public, admin);
    serving
}

/// An edge that ends TLS as well, and where it does.
fn serve_tls(folder: &Path) -> (Serving, String) {
    let (mut serving, [public, tls, admin]) =
        serve_at(Stdio::null(), folder, "info", ["public", "tls", "admin"]);
    (serving.public, serving.admin) = (public, admin);
    (serving, tls)
}

/// An edge, and the addresses of these of its listeners, in the order in which it tells of them.
fn serve_at<const N: usize>(
    stderr: Stdio,
    folder: &Path,
    level: &str,
    listeners: [&str; N],
) -> (Serving, [String; N]) {
    let mut child = program(&["serve", "--config", "edge.toml"], folder)
        .env("RUST_LOG", level)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |who: &str| {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix("listening ").unwrap().strip_suffix(who).unwrap().trim().to_owned()
    };
    let addresses = listeners.map(&mut next);
    (Serving { child, public: String::new(), admin: String::new() }, addresses)
}

/// An origin that answers each connection once with a response that may be stored.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while lines.read_line(&mut head).unwrap() > 2 {}
            let response = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    address
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn config(folder: &Path) {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin()
    );
    std::fs::write(folder.join("edge.toml"), text).unwrap();
}

#[test]
fn it_serves_purges_and_ends_with_0_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let mut serving = serve(folder.path());
    assert!(get(&serving.public).contains("fwd="));
    assert!(get(&serving.public).contains("; hit"));
    let arguments =
        ["purge", "http://site.test/a", "--admin", &serving.admin, "--token-file", "verge-edge.token"];
    let purged = run(&arguments, folder.path());
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(String::from_utf8_lossy(&purged.stdout), "http://site.test/a: 1 stored response purged\n");
    assert!(get(&serving.public).contains("fwd="));
    let killed = Command::new("kill").args(["-TERM", &serving.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_pushes_a_folder_warms_a_url_explains_it_and_purges_by_tag() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let serving = serve(folder.path());
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a.css"), "body {}").unwrap();
    std::fs::write(files.join(".env"), "secret").unwrap();
    let desk = ["--admin", &serving.admin, "--token-file", "verge-edge.token"];
    let said = |arguments: &[&str], to: &[&str]| {
        let output = run(&[arguments, to].concat(), folder.path());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let push =
        ["push", "files", "--site", "site.test", "--prefix", "x", "--ttl", "90s", "--header", "Cache-Tag: t"];
    let line = |scheme| format!("{scheme}://site.test/x/a.css: 7 bytes, fresh for 90 s\n");
    assert_eq!(said(&push, &desk), line("http") + &line("https"));
    let explained = said(&["explain", "http://site.test/x/a.css", "-H", "Accept: text/css"], &desk);
    assert!(explained.starts_with("fresh: a hit: "), "{explained}");
    assert!(
        explained.contains("lifetime 90 s by max-age: fresh") && explained.contains("tags     t"),
        "{explained}"
    );
    let warm = ["warm", "http://site.test/a", "http://site.test/x/a.css", "--edge", &serving.public];
    let warmed = said(&warm, &[]);
    let lines: Vec<&str> = warmed.lines().collect();
    assert!(lines[0].starts_with("http://site.test/a: 200, 2 bytes, verge-edge; fwd=uri-miss"), "{warmed}");
    assert!(lines[1].starts_with("http://site.test/x/a.css: 200, 7 bytes, verge-edge; hit"), "{warmed}");
    assert!(get(&serving.public).contains("; hit"));
    assert_eq!(said(&["purge", "--tag", "t", "--soft"], &desk), "tag t: purged (not counted)\n");
    let explained = said(&["explain", "http://site.test/x/a.css", "--json"], &desk);
    assert!(explained.contains("\"verdict\": \"revalidate\""), "{explained}");
    let nothing = run(&[&["purge"], desk.as_slice()].concat(), folder.path());
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[test]
fn it_warms_what_a_list_names_and_moves_what_is_stored_to_another_edge() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    config(old.path());
    config(new.path());
    let (serving, other) = (serve(old.path()), serve(new.path()));
    let said = |arguments: &[&str], of: &Serving, folder: &Path| {
        let desk = ["--admin", &of.admin, "--token-file", "verge-edge.token"];
        let output = run(&[arguments, &desk].concat(), folder);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(old.path().join("urls"), "http://site.test/a\n\nhttp://site.test/b\n").unwrap();
    let warm = ["warm", "--from", "urls", "--rate", "1000", "--resume", "done", "--edge", &serving.public];
    let warmed = run(&warm, old.path());
    assert_eq!(String::from_utf8_lossy(&warmed.stdout).lines().count(), 2, "{warmed:?}");
    assert!(run(&warm, old.path()).stdout.is_empty(), "both are done");
    assert!(warmed.stderr.is_empty(), "a bar is for terminals");
    let objects = said(&["objects", "--sort", "url"], &serving, old.path());
    let lines: Vec<&str> = objects.lines().collect();
    assert!(
        lines[0].ends_with("HITS WHERE  URL") && lines[2].ends_with("0 memory http://site.test/b"),
        "{objects}"
    );
    let moved = new.path().join("moved");
    std::fs::write(&moved, "an earlier export").unwrap();
    std::fs::write(old.path().join("wrong"), "wrong-but-long\n").unwrap();
    let refused = ["export", moved.to_str().unwrap(), "--admin", &serving.admin, "--token-file", "wrong"];
    assert_eq!(run(&refused, old.path()).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "an earlier export");
    said(&["export", moved.to_str().unwrap()], &serving, old.path());
    assert_eq!(std::fs::metadata(&moved).unwrap().permissions().mode() & 0o777, 0o600);
    let imported = said(&["import", "moved"], &other, new.path());
    assert!(imported.starts_with("2 responses of 4 bytes are stored; left out: 0 "), "{imported}");
    assert!(get(&other.public).contains("; hit"));
    let listed = said(&["objects", "--json", "--prefix", "http://site.test/a"], &other, new.path());
    assert!(listed.contains("\"hits\":1") && listed.lines().count() == 1, "{listed}");
}

#[test]
fn a_purge_with_a_wrong_token_fails() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let serving = serve(folder.path());
    std::fs::write(folder.path().join("other"), "wrong-but-long\n").unwrap();
    let arguments = ["purge", "http://site.test/a", "--admin", &serving.admin, "--token-file", "other"];
    let refused = run(&arguments, folder.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("the token in other is not this server's"),
        "{refused:?}"
    );
}

#[test]
fn a_broken_config_is_shown_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.toml"), "lisen = []\n").unwrap();
    let broken = run(&["serve"], folder.path());
    assert_eq!(broken.status.code(), Some(1));
    let expected = "edge.toml:1:1: error: unknown key `lisen`";
    assert!(String::from_utf8_lossy(&broken.stderr).starts_with(expected), "{broken:?}");
}

/// The value of a metric without labels.
fn metric(admin: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

fn full_disk() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
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
        let folder = tempfile::tempdir().unwrap();
        config(folder.path());
        let serving = serve_logging_to(stderr(), folder.path());
        for _ in 0..5 {
            let answer = get(&serving.public);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        // A thread of its own writes the log.
        let lost = (0..10_000).any(|_| metric(&serving.admin, "verge_edge_log_lines_lost_total") > 0);
        assert!(lost, "the lost lines are counted");
    }
}

/// As `verge-edge top | head -1` does.
#[test]
fn a_reader_that_is_gone_ends_top() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let serving = serve(folder.path());
    let arguments = ["top", "--admin", &serving.admin, "--token-file", "verge-edge.token"];
    let ended = program(&arguments, folder.path()).stdout(broken_pipe()).status().unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_log_that_nobody_reads_makes_nobody_wait() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let mut serving = serve_logging_to(Stdio::piped(), folder.path());
    let unread = serving.child.stderr.take();
    // Each of these is a line of a hundred bytes at least; a pipe takes 64 KiB.
    for _ in 0..1500 {
        assert!(get(&serving.public).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    drop(unread);
}

#[test]
fn signals_do_not_end_it_and_sighup_reloads_its_config() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let mut serving = serve_logging_to(Stdio::piped(), folder.path());
    let path = folder.path().join("edge.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let mut log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for (signal, config, expected) in [
        ("USR1", good.clone(), "SIGUSR1 has no meaning here"),
        ("USR2", good.clone(), "SIGUSR2 has no meaning here"),
        ("HUP", good.clone(), "reloaded changed=0 needs_restart=0"),
        ("HUP", good.replace("[\"*\"]", "[\"a.test\"]"), "change=site a.test: hosts: (not written)"),
        ("HUP", good.replace("hosts", "hsots"), "nothing was changed: edge.toml:"),
    ] {
        std::fs::write(&path, config).unwrap();
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &serving.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        log.find(|line| line.contains(expected)).unwrap_or_else(|| panic!("{expected} is not logged"));
    }
    // The second one is in service: only a.test is known.
    assert!(get(&serving.public).starts_with("HTTP/1.1 421 "));
    std::fs::write(&path, good).unwrap();
    let reloaded =
        run(&["reload", "--admin", &serving.admin, "--token-file", "verge-edge.token"], folder.path());
    assert!(String::from_utf8_lossy(&reloaded.stdout).contains("changed: site *: hosts: (not written) → "));
    assert!(get(&serving.public).starts_with("HTTP/1.1 200 OK\r\n"));
}

/// The standard output tells of those that the start opens, and the log of those that a reload opens.
#[test]
fn a_listener_is_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let mut serving = serve_logging_to(Stdio::piped(), folder.path());
    let log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let path = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let more = text.replacen("[\"127.0.0.1:0\"]", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]", 1);
    std::fs::write(&path, more).unwrap();
    let sent = Command::new("kill").args(["-HUP", &serving.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let told = log.take_while(|line| !line.contains("reloaded")).filter(|line| line.contains("opened, for"));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_level_that_is_none_is_an_error_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let path = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("log.level = \"warning\"\n{text}")).unwrap();
    let refused = run(&["serve"], folder.path());
    assert_eq!(refused.status.code(), Some(1));
    let expected = "edge.toml:1:13: error: \"warning\" is not a level: write error, warn, info";
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with(expected), "{refused:?}");
}

#[test]
fn a_config_is_checked_without_starting_an_edge() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let good = run(&["check"], folder.path());
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).ends_with("edge.toml: good\n"), "{good:?}");
    assert!(!folder.path().join("verge-edge.token").exists(), "a check makes nothing");
    let site = "[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]\n";
    let check = |text: &str, arguments: &[&str], code: i32, said: &str| {
        std::fs::write(folder.path().join("other.toml"), text).unwrap();
        let checked = run(&[&["check", "--config", "other.toml"], arguments].concat(), folder.path());
        let all = [checked.stdout, checked.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        assert_eq!(checked.status.code(), Some(code), "{all}");
        assert!(all.starts_with(said), "{all}");
    };
    let listen = |address: &str| format!("listen = [\"{address}\"]\n{site}");
    check(&listen("127.0.0.1"), &[], 1, "other.toml:1:11: error: invalid socket address");
    let warned = listen("127.0.0.1:0").replace(site, &format!("{site}[admin]\nlisten = \"0.0.0.0:1\"\n"));
    check(&warned, &[], 0, "other.toml:6:10: warning: the admin listener");
    check(&warned, &["--deny-warnings"], 1, "other.toml:6:10: warning: the admin listener");
    check(&listen("127.0.0.1:0"), &["--quiet", "--deny-warnings"], 0, "");
}

#[test]
fn a_purge_needs_of_its_config_only_where_the_edge_is() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let serving = serve(folder.path());
    let half = format!(
        "listen = [\"{}\"]\n[limits]\ndrain = oops\n[[sit]]\n[admin]\nlisten = \"{}\"\n",
        serving.public, serving.admin
    );
    std::fs::write(folder.path().join("edge.toml"), half).unwrap();
    let warmed = run(&["warm", "http://site.test/a"], folder.path());
    assert!(warmed.status.success(), "{warmed:?}");
    let purged = run(&["purge", "http://site.test/a"], folder.path());
    assert!(purged.status.success(), "{purged:?}");
}
