//! The ways to the admin listener: a socket in the file system, and TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{GOOD, folder, program, run, stderr};

/// A server that is running, and where it says that its admin listener is.
struct Served {
    child: Child,
    admin: String,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let mut command = program(folder, &["serve", "--config", "dns.toml"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let admin =
            lines.find_map(|line| Some(line.strip_prefix("listening ")?.strip_suffix(" admin")?.to_owned()));
        Self { child, admin: admin.unwrap() }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn end(mut self) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
    }
}

fn config(folder: &Path, name: &str, admin: &str) {
    let text = format!("zones = \"zones\"\nlisten = [\"127.0.0.1:0\"]\n[admin]\n{admin}");
    std::fs::write(folder.join(name), text).unwrap();
}

#[track_caller]
fn check(folder: &Path, arguments: &[&str], expected: Result<(), &str>) {
    let output = run(folder, arguments);
    let said = stderr(&output);
    match expected {
        Ok(()) => assert!(output.status.success(), "{arguments:?}: {said}"),
        Err(why) => assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}"),
    }
}

#[test]
fn commands_reach_a_server_by_its_socket_and_a_live_one_keeps_it() {
    let folder = folder(GOOD);
    let path = folder.path();
    config(path, "dns.toml", "listen = \"unix:admin.sock\"\n");
    let first = Served::start(path);
    let socket = path.join("admin.sock");
    assert_eq!(first.admin, format!("unix:{}", socket.display()));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for command in [&["status"][..], &["health"], &["top", "--count", "1"], &["pools"], &["check"]] {
        check(path, command, Ok(()));
    }
    check(path, &["serve"], Err("a running program answers there"));
    check(path, &["health"], Ok(()));
    // One that was killed leaves its file, and the next takes the place.
    first.kill();
    assert!(socket.exists());
    let second = Served::start(path);
    check(path, &["health"], Ok(()));
    second.end();
    assert!(!socket.exists());
    check(path, &["health"], Err("is not well"));
}

/// Asks over the socket until it is told to stop; how often that went well, and the failures.
fn ask_until(stop: &AtomicBool, socket: &Path) -> (usize, Vec<String>) {
    let (mut well, mut failures) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let asked = || {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        match asked() {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => well += 1,
            Ok(answer) => failures.push(answer),
            Err(error) => failures.push(error.to_string()),
        }
    }
    (well, failures)
}

#[test]
fn the_socket_goes_to_the_process_that_takes_over_and_nobody_is_refused() {
    let folder = folder(GOOD);
    let path = folder.path();
    config(path, "dns.toml", "listen = \"unix:admin.sock\"\n");
    let text = std::fs::read_to_string(path.join("dns.toml")).unwrap();
    std::fs::write(path.join("dns.toml"), format!("run_folder = \"run\"\n{text}")).unwrap();
    let mut first = Served::start(path);
    let socket = path.join("admin.sock");
    let stop = AtomicBool::new(false);
    let second = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(&stop, &socket));
        let second = Served::start(path);
        assert!(first.child.wait().unwrap().success());
        stop.store(true, Ordering::Relaxed);
        let (well, failures) = asking.join().unwrap();
        assert!(well > 0 && failures.is_empty(), "{well} {failures:?}");
        second
    });
    check(path, &["health"], Ok(()));
    second.end();
    assert!(!socket.exists());
}

fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["ns1.test".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
}

#[test]
fn commands_speak_tls_and_believe_the_certificate_of_the_config() {
    let folder = folder(GOOD);
    let path = folder.path();
    certify(path);
    let tls = "[admin.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    config(path, "dns.toml", &format!("listen = \"127.0.0.1:0\"\n{tls}"));
    let server = Served::start(path);
    config(path, "there.toml", &format!("listen = \"{}\"\n{tls}", server.admin));
    config(path, "clear.toml", &format!("listen = \"{}\"\n", server.admin));
    for command in [&["status"][..], &["health"], &["top", "--count", "1"]] {
        check(path, &[command, &["--config", "there.toml"]].concat(), Ok(()));
    }
    check(path, &["health", "--config", "clear.toml"], Err("is not well"));
    // Another certificate than that of the config is another server's.
    std::fs::create_dir(path.join("other")).unwrap();
    certify(&path.join("other"));
    let other = std::fs::read_to_string(path.join("there.toml")).unwrap();
    std::fs::write(path.join("other.toml"), other.replace("chain.pem", "other/chain.pem")).unwrap();
    check(path, &["health", "--config", "other.toml"], Err("is not well"));
    // A bad one is told, and not started with.
    std::fs::write(path.join("chain.pem"), "none").unwrap();
    let said = super::stdout(&run(path, &["check", "--config", "dns.toml"]));
    assert!(said.contains("[admin] ") && said.contains("chain.pem: there is no certificate in it"), "{said}");
    check(path, &["serve", "--config", "dns.toml"], Err("[admin] "));
    server.end();
}
