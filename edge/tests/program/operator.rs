//! The ways to the admin listener: a socket in the file system, and TLS.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Serving, origin, run, serve_at};

fn config(folder: &Path, admin: &str) {
    let text = format!(
        "run_folder = \"run\"\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\n{admin}",
        origin()
    );
    std::fs::write(folder.join("edge.toml"), text).unwrap();
}

/// An edge and its admin listener, as it says where that is.
fn serve(folder: &Path) -> (Serving, String) {
    let (serving, [_, admin]) = serve_at(Stdio::inherit(), folder, "warn", ["public", "admin"]);
    (serving, admin)
}

/// Whether a command succeeds, and all that it says.
fn told(arguments: &[&str], folder: &Path) -> (bool, String) {
    let output = run(arguments, folder);
    let all = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(all).unwrap())
}

#[track_caller]
fn succeed(arguments: &[&str], folder: &Path) {
    let (is_done, said) = told(arguments, folder);
    assert!(is_done, "{arguments:?}: {said}");
}

#[track_caller]
fn fail(arguments: &[&str], folder: &Path, expected: &str) {
    let (is_done, said) = told(arguments, folder);
    assert!(!is_done && said.contains(expected), "{arguments:?}: {said}");
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
fn commands_reach_an_edge_by_its_socket_which_restarts_keep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    config(path, "listen = \"unix:admin.sock\"\n");
    let (mut first, admin) = serve(path);
    let socket = path.join("admin.sock");
    assert_eq!(admin, format!("unix:{}", socket.display()));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for command in
        ["status", "health", "reload", "top --count 1", "purge --all", "objects", "check", "doctor"]
    {
        succeed(&command.split(' ').collect::<Vec<_>>(), path);
    }
    succeed(&["status", "--admin", "unix:admin.sock", "--token-file", "verge-edge.token"], path);
    fail(
        &["status", "--admin", "unix:none.sock", "--token-file", "verge-edge.token"],
        path,
        "at unix:none.sock: ",
    );
    // Another edge takes nothing from one that runs.
    let text = std::fs::read_to_string(path.join("edge.toml")).unwrap();
    std::fs::write(path.join("other.toml"), text.replace("\"run\"", "\"other-run\"")).unwrap();
    fail(&["serve", "--config", "other.toml"], path, "a running program answers there");
    // The next process has the socket from the one before, and nobody is refused meanwhile.
    let stop = AtomicBool::new(false);
    let mut second = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(&stop, &socket));
        let (second, _) = serve(path);
        assert!(first.child.wait().unwrap().success());
        stop.store(true, Ordering::Relaxed);
        let (well, failures) = asking.join().unwrap();
        assert!(well > 0 && failures.is_empty(), "{well} {failures:?}");
        second
    });
    succeed(&["health"], path);
    // One that was killed leaves its file, and the next takes the place.
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    assert!(socket.exists());
    let (mut third, _) = serve(path);
    succeed(&["health"], path);
    let id = third.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(third.child.wait().unwrap().success());
    assert!(!socket.exists());
}

fn certify(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["edge.test".to_owned()]).unwrap();
    for (file, pem) in [("chain.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        std::fs::write(folder.join(file), &pem).unwrap();
        std::fs::write(folder.join(format!("{name}-{file}")), pem).unwrap();
    }
}

#[test]
fn commands_speak_tls_and_a_bad_certificate_leaves_the_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    certify(path, "first");
    config(path, "listen = \"127.0.0.1:0\"\n[admin.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n");
    let (_serving, admin) = serve(path);
    let of_config = |command: &str| {
        let text = std::fs::read_to_string(path.join("edge.toml")).unwrap();
        let there =
            text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{admin}\""));
        std::fs::write(path.join("there.toml"), there).unwrap();
        [&command.split(' ').collect::<Vec<_>>()[..], &["--config", "there.toml"]].concat().join(" ")
    };
    for command in ["status", "health", "top --count 1", "purge --all", "doctor"] {
        succeed(&of_config(command).split(' ').collect::<Vec<_>>(), path);
    }
    let by = |command, ca| {
        [command, "--admin", &admin, "--token-file", "verge-edge.token", "--ca", ca].map(str::to_owned)
    };
    let good = |command, ca| succeed(&by(command, ca).each_ref().map(String::as_str), path);
    let bad = |command, ca, expected| fail(&by(command, ca).each_ref().map(String::as_str), path, expected);
    good("status", "first-chain.pem");
    fail(&["status", "--admin", &admin, "--token-file", "verge-edge.token"], path, "verge-edge: ");
    std::fs::write(path.join("chain.pem"), "none").unwrap();
    bad("reload", "first-chain.pem", "edge.toml:9:15: error: ");
    good("status", "first-chain.pem");
    certify(path, "second");
    bad("status", "second-chain.pem", "no edge's admin listener at ");
    good("reload", "first-chain.pem");
    good("status", "second-chain.pem");
    bad("status", "first-chain.pem", "no edge's admin listener at ");
}
