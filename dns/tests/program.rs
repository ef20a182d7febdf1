//! The program as a person runs it: what it prints, how it ends.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "program/load.rs"]
mod load;
#[path = "program/operator.rs"]
mod operator;
#[path = "program/restarts.rs"]
mod restarts;
#[path = "program/told.rs"]
mod told;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

const GOOD: &str = "\
$TTL 60
@    SOA ns hostmaster 1 2h 30m 2w 5m
@    NS  ns
ns   A   203.0.113.53
www  A   203.0.113.1
db   A   10.0.0.5
     TXT \"primary\"
git  A   203.0.113.2
git  A   10.0.0.2
";
const PUBLIC: &str = "\
$TTL 60
@    SOA ns hostmaster 1 2h 30m 2w 5m
@    NS  ns
ns   A   203.0.113.53
";
const BROKEN: &str = "\
$TTL 60
@    SOA ns hostmaster 1 2h 30m 2w 5m
@    NS  ns
ns   A   203.0.113.53
www  A   203.0.113.300
mail MXX 10 ns
";
const CONFIG: &str = "\
zones = \"zones\"
listen = [\"127.0.0.1:0\"]
[internal]
listen = [\"127.0.0.1:0\"]
clients = [\"127.0.0.0/8\", \"10.1.0.0/16\"]
[admin]
listen = \"127.0.0.1:0\"
";

/// A folder with `zones/example.com.zone`, where the program is run.
fn folder(zone: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("zones/example.com.zone"), zone).unwrap();
    folder
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verge-dns"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn check_shows_every_problem_at_its_place_and_fails() {
    let folder = folder(BROKEN);
    let output = run(folder.path(), &["check", "zones"]);
    let expected = "\
error[bad-field]: `203.0.113.300` is not an IPv4 address such as 192.0.2.1
 --> zones/example.com.zone:5:10
  |
5 | www  A   203.0.113.300
  |          ^^^^^^^^^^^^^

error[unknown-type]: `MXX` is not a record type
 --> zones/example.com.zone:6:6
  |
6 | mail MXX 10 ns
  |      ^^^
  = help: did you mean `MX`?

example.com. (zones/example.com.zone): not served
1 zone: 2 errors, 0 warnings, 0 records hidden from outsiders
";
    assert_eq!(stdout(&output), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_lists_hidden_records_with_the_rule_that_hides_them() {
    let folder = folder(GOOD);
    let output = run(folder.path(), &["check", "zones/example.com.zone"]);
    let expected = "\
example.com. (zones/example.com.zone): serial 1, 4 names outside, 5 names inside
  D1             zones/example.com.zone:6:1: db.example.com. 60 IN A 10.0.0.5
  D7             zones/example.com.zone:7:6: db.example.com. 60 IN TXT \"primary\"
  D1             zones/example.com.zone:9:1: git.example.com. 60 IN A 10.0.0.2
1 zone: 0 errors, 0 warnings, 3 records hidden from outsiders
docs/privacy.md says what each rule means (D1, D6, ...)
";
    assert!(stdout(&output).ends_with(expected), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_says_which_files_with_hidden_records_everybody_can_read() {
    for (zone, mode, expected) in [(GOOD, 0o644, true), (GOOD, 0o640, false), (PUBLIC, 0o644, false)] {
        let folder = folder(zone);
        let file = folder.path().join("zones/example.com.zone");
        std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        let text = stdout(&run(folder.path(), &["check"]));
        assert_eq!(
            text.contains("note[S3]: zones/example.com.zone holds hidden records"),
            expected,
            "{text}"
        );
    }
}

#[test]
fn check_says_what_is_wrong_with_a_certificate() {
    let folder = folder(PUBLIC);
    let file = |name: &str| folder.path().join(name);
    let config = "zones = \"zones\"\nlisten_tls = [\"127.0.0.1:0\"]\n\
        [tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    std::fs::write(file("dns.toml"), config).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let write = |until: (i32, u8)| {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
        std::fs::write(file("chain.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
    };
    let check = |expected: &str, code: i32| {
        let output = run(folder.path(), &["check"]);
        assert!(stdout(&output).contains(expected), "{expected} is not in {}", stdout(&output));
        assert_eq!(output.status.code(), Some(code), "{expected}");
    };
    check("error[certificate]: chain.pem: No such file", 1);
    write((4000, 1));
    check("0 errors, 0 warnings", 0);
    write((2001, 2));
    check("warning[certificate]: chain.pem: the certificate expired on Feb  1 00:00:00 2001", 0);
    let another = rcgen::KeyPair::generate().unwrap();
    std::fs::write(file("key.pem"), another.serialize_pem()).unwrap();
    check("the first certificate is not for the private key", 1);
    // A caller that names zones asks about them alone.
    let output = run(folder.path(), &["check", "zones"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn check_speaks_json() {
    let good = folder(GOOD);
    let document = json(&run(good.path(), &["check", "zones", "--format", "json"]));
    let zone = &document["zones"][0];
    assert_eq!((&zone["zone"], &zone["state"]), (&Value::from("example.com."), &Value::from("current")));
    assert_eq!((&zone["names_outside"], &zone["names_inside"]), (&Value::from(4), &Value::from(5)));
    assert_eq!(
        (&zone["hidden"][1]["rule"], &zone["hidden"][1]["line"]),
        (&Value::from("D7"), &Value::from(7))
    );

    let broken = folder(BROKEN);
    let output = run(broken.path(), &["check", "--format", "json"]);
    let document = json(&output);
    let problem = &document["zones"][0]["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&Value::from(5), &Value::from(10)));
    assert_eq!((&document["totals"]["errors"], output.status.code()), (&Value::from(2), Some(1)));
}

#[test]
fn check_says_little_when_it_is_told_to_and_can_fail_for_warnings() {
    let folder = folder(&GOOD.replace("www  A   203.0.113.1", "www  CNAME gone"));
    let code = |arguments: &[&str]| {
        let checked = run(folder.path(), arguments);
        (checked.status.code(), stdout(&checked))
    };
    let (status, said) = code(&["check"]);
    assert_eq!(status, Some(0));
    assert!(said.contains("missing-target") && said.contains("db.example.com. 60 IN A 10.0.0.5"), "{said}");
    let (status, said) = code(&["check", "--quiet"]);
    assert_eq!(status, Some(0));
    assert!(
        said.contains("missing-target") && !said.contains("10.0.0.5") && !said.contains("note["),
        "{said}"
    );
    assert_eq!(code(&["check", "--deny-warnings"]).0, Some(1));
    std::fs::write(folder.path().join("zones/example.com.zone"), GOOD).unwrap();
    assert_eq!(code(&["check", "--quiet", "--deny-warnings"]).0, Some(0));
}

#[test]
fn check_of_a_config_alone_reads_no_zone() {
    let folder = folder(BROKEN);
    let code = |arguments: &[&str]| run(folder.path(), arguments).status.code();
    assert_eq!(code(&["check", "--config-only"]), Some(1), "there is no dns.toml");
    std::fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
    assert_eq!((code(&["check", "--config-only"]), code(&["check"])), (Some(0), Some(1)));
    std::fs::write(folder.path().join("dns.toml"), CONFIG.replace("listen", "listne")).unwrap();
    assert_eq!(code(&["check", "--config-only"]), Some(1));
}

#[test]
fn check_of_a_folder_without_zones_fails_and_says_what_is_there() {
    let folder = folder(GOOD);
    std::fs::create_dir(folder.path().join("bind")).unwrap();
    std::fs::write(folder.path().join("bind/db.example.com"), GOOD).unwrap();
    std::fs::write(folder.path().join("bind/example.net.db"), GOOD).unwrap();
    let checked = run(folder.path(), &["check", "bind"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = stdout(&checked);
    assert!(said.contains("2 files that look like zones (db.example.com, example.net.db)"), "{said}");
}

#[test]
fn two_views_become_one_file_that_compares_equal() {
    let folder = folder(PUBLIC);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (outside, inside) =
        ("www A 203.0.113.1\n@ TXT \"out\"\n", "www A 10.0.0.1\n@ TXT \"in\"\npartner A 203.0.113.200\n");
    write("db.example.com", &format!("{PUBLIC}{outside}"));
    write("int.db", &format!("{PUBLIC}{inside}"));
    let merged = run(
        folder.path(),
        &["merge", "--zone", "example.com", "--outside", "db.example.com", "--inside", "int.db"],
    );
    assert!(merged.status.success(), "{}", stderr(&merged));
    write("zones/example.com.zone", &stdout(&merged));
    let compare = |old: &str| run(folder.path(), &["compare", "--outside", old, "zones"]);
    assert_eq!(compare("db.example.com").status.code(), Some(0), "{}", stdout(&compare("db.example.com")));
    let careless = stdout(&merged).replace(" ; verge: internal", "");
    write("zones/example.com.zone", &careless);
    let compared = compare("db.example.com");
    assert_eq!(compared.status.code(), Some(1));
    let said = stdout(&compared);
    assert!(said.contains("outside partner.example.com. A\n  - NXDOMAIN\n  + NOERROR\n"), "{said}");
    assert!(said.contains("`; verge: internal` at its end would hide it"), "{said}");
    let versions = run(folder.path(), &["diff", "zones/example.com.zone", "other/example.com.zone"]);
    assert!(!versions.status.success());
}

#[test]
fn check_obeys_the_rules_of_a_config() {
    let folder = folder(GOOD);
    let config = format!("private = [\"203.0.113.1\"]\n{CONFIG}");
    std::fs::write(folder.path().join("dns.toml"), config).unwrap();
    let text = stdout(&run(folder.path(), &["check"]));
    assert!(
        text.contains("  private        zones/example.com.zone:5:1: www.example.com. 60 IN A 203.0.113.1\n"),
        "{text}"
    );
}

#[test]
fn explain_gives_each_client_its_answer_and_the_reason() {
    let folder = folder(GOOD);
    std::fs::write(folder.path().join("dns.toml"), CONFIG).unwrap();
    for (from, name, expected) in [
        (
            "192.0.2.1",
            "db.example.com",
            &["view    outside: 192.0.2.1 is in no prefix", "NXDOMAIN, authoritative", "D1 ", "D7 "][..],
        ),
        (
            "10.1.2.3",
            "db.example.com",
            &["view    inside: 10.1.2.3 is in 10.1.0.0/16", "db.example.com. 60 IN A 10.0.0.5"],
        ),
        ("::ffff:10.1.2.3", "git.example.com", &["view    inside", "git.example.com. 60 IN A 10.0.0.2"]),
        ("10.2.2.3", "git.example.com", &["view    outside", "git.example.com. 60 IN A 203.0.113.2"]),
        ("10.1.2.3", "www.example.net", &["zone    none in this view", "REFUSED"]),
    ] {
        let output = run(folder.path(), &["explain", name, "A", "--from", from]);
        let text = stdout(&output);
        for part in expected {
            assert!(text.contains(part), "{part} is not in\n{text}{}", stderr(&output));
        }
        assert_eq!(output.status.code(), Some(0));
    }
    let outside = stdout(&run(folder.path(), &["explain", "git.example.com", "--from", "192.0.2.1"]));
    let answer = outside.split(";; hidden").next().unwrap();
    assert!(answer.starts_with("git.example.com. A asked") && !answer.contains("10.0.0.2"), "{outside}");
}

#[test]
fn diff_shows_both_sides_of_what_differs() {
    let folder = folder(GOOD);
    let expected = "\
example.com.
                       outside         inside
  db.example.com. A    -               60 10.0.0.5
  db.example.com. TXT  -               60 \"primary\"
  git.example.com. A   60 203.0.113.2  -
                       -               60 10.0.0.2

";
    assert_eq!(stdout(&run(folder.path(), &["diff"])), expected);
    let document = json(&run(folder.path(), &["diff", "--format", "json"]));
    assert_eq!(document[0]["rows"][2]["outside"], Value::from(vec!["60 203.0.113.2"]));
}

#[test]
fn a_command_that_cannot_begin_says_what_is_missing() {
    let folder = folder(GOOD);
    std::fs::write(folder.path().join("bad.toml"), "zones = \"zones\"\nlisen = []\n").unwrap();
    std::fs::write(folder.path().join("level.toml"), format!("log.level = \"warning\"\n{CONFIG}")).unwrap();
    for (arguments, expected) in [
        (&["serve", "--config", "nowhere.toml"][..], "nowhere.toml: error: cannot read the configuration"),
        (&["serve", "--config", "bad.toml"], "bad.toml:2:1: error: unknown key `lisen`"),
        (&["serve", "--config", "level.toml"], "level.toml:1:13: error: \"warning\" is not a level"),
        (&["check", "nowhere"], "nowhere: cannot read zone files here"),
        (&["explain", "www.example.com", "AA", "--from", "192.0.2.1"], "no such type"),
        (&["explain", "www..example.com", "A", "--from", "192.0.2.1"], "a label is empty"),
        (&["explain", "www.example.com", "A", "--from", "here"], "invalid value 'here'"),
    ] {
        let output = run(folder.path(), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    let empty = tempfile::tempdir().unwrap();
    let output = run(empty.path(), &["check"]);
    assert!(stderr(&output).contains("which zone files?"), "{}", stderr(&output));
}

/// A server that is running, and what it said of where.
struct Server {
    child: Child,
    listening: Vec<(SocketAddr, String)>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        std::fs::write(folder.join("dns.toml"), CONFIG).unwrap();
        let mut command = program(folder, &["serve", "--config", "dns.toml"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.take(3).map(|line| {
            let line = line.unwrap();
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("listening"), "{line}");
            (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned())
        });
        Self { listening: listening.collect(), child }
    }

    /// Leaves room for so many more descriptors.
    fn leave_descriptors(&self, more: u64) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count();
        let limit = libc::rlimit { rlim_cur: open as u64 + more, rlim_max: open as u64 + more };
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        #[expect(unsafe_code, reason = "the limit is a valid pointer, and the child is ours")]
        let result =
            unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(result, 0);
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        #[expect(
            unsafe_code,
            reason = "std sends no signal but SIGKILL; the child is ours and not yet waited for"
        )]
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn serve_says_where_it_listens_answers_and_drains() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = folder(GOOD);
        let mut server = Server::start(folder.path());
        let who: Vec<&str> = server.listening.iter().map(|(_, who)| who.as_str()).collect();
        assert_eq!(who, ["outside", "inside", "admin"]);
        for (address, rcode) in [(server.listening[0].0, 3), (server.listening[1].0, 0)] {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.connect(address).unwrap();
            let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x02db\x07example\x03com\0\0\x01\0\x01";
            socket.send(question).unwrap();
            let mut answer = [0; 512];
            socket.recv(&mut answer).unwrap();
            assert_eq!(answer[3] & 0x0f, rcode, "{address}");
        }
        server.signal(libc::SIGHUP);
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

/// As `verge-dns top | head -1` does.
#[test]
fn a_reader_that_is_gone_ends_top() {
    let folder = folder(GOOD);
    let mut server = Server::start(folder.path());
    let admin = format!("listen = \"{}\"", server.listening[2].0);
    let (before, _) = CONFIG.rsplit_once("listen").unwrap();
    std::fs::write(folder.path().join("there.toml"), format!("{before}{admin}\n")).unwrap();
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let unread = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    let ended = program(folder.path(), &["top", "--config", "there.toml"]).stdout(unread).status().unwrap();
    assert!(ended.success(), "{ended}");
    server.signal(libc::SIGTERM);
    server.child.wait().unwrap();
}

#[test]
fn a_cookie_secret_that_everybody_can_read_is_told() {
    for (mode, expected) in [(0o644, 1), (0o640, 0)] {
        let folder = folder(GOOD);
        let secret = folder.path().join("cookie.secret");
        std::fs::write(&secret, "000102030405060708090a0b0c0d0e0f\n").unwrap();
        std::fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
        let config = format!("{CONFIG}[cookies]\nsecret_file = \"cookie.secret\"\n");
        std::fs::write(folder.path().join("dns.toml"), config).unwrap();
        let mut command = program(folder.path(), &["serve", "--config", "dns.toml"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It has read all its files when it says where it listens.
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        let told = stderr(&child.wait_with_output().unwrap());
        assert_eq!(told.matches("cookie.secret").count(), expected, "{mode:o}: {line}{told}");
    }
}

/// A question for the addresses of www.example.com.
const QUESTION: &[u8] = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";

#[test]
fn connections_that_are_idle_give_way_when_descriptors_run_out() {
    let folder = folder(GOOD);
    let mut server = Server::start(folder.path());
    let address = server.listening[0].0;
    server.leave_descriptors(10);
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = u16::try_from(QUESTION.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length, QUESTION].concat()).unwrap();
        let mut answer = [0; 14];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((answer[3], answer[5] & 0x0f), (7, 0), "the ID and the code");
    }
    // The first of them made room for all the others.
    let gone = (&idle[0]).read(&mut [0; 1]).unwrap_or(0);
    assert_eq!(gone, 0);
    server.signal(libc::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_server_on_the_same_port_says_which_setting_to_change() {
    let folder = folder(GOOD);
    let mut server = Server::start(folder.path());
    let config = CONFIG.replacen("127.0.0.1:0", &server.listening[0].0.to_string(), 1);
    std::fs::write(folder.path().join("second.toml"), config).unwrap();
    let output = run(folder.path(), &["serve", "--config", "second.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("setting `listen`"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "it listened nowhere");
    server.signal(libc::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
