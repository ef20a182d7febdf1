//! A running program, and the messages of a process that takes over.

use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::*;

/// A process that takes over as far as the test says.
struct Knock(UnixStream);

impl Knock {
    fn at(folder: &Path) -> Self {
        let stream = UnixStream::connect(folder.join("run/handover.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    fn say(&mut self, message: &Value) {
        let text = serde_json::to_vec(message).unwrap();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], &text].concat()).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut text = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[test]
fn an_update_waits_while_a_process_takes_over_and_is_made_here_if_that_one_dies() {
    let folder = site();
    let process = Process::start(folder.path());
    let mut next = Knock::at(folder.path());
    next.say(&json!({ "hello": { "version": 3, "pid": 7 } }));
    assert_eq!(next.hear()["sockets"]["sockets"][1]["udp"], 2);
    next.say(&json!({ "zones": ["example.com.", "example.org."] }));
    next.say(&json!({ "hold": { "broken": [] } }));
    assert_eq!(next.hear(), json!({ "held": { "settled": true } }));
    // A process that is stopped for a while, as by a debugger, waits still.
    for _ in 0..20 {
        process.signal("STOP");
        process.signal("CONT");
    }
    next.say(&json!("still"));
    assert_eq!(next.hear(), json!({ "held": { "settled": true } }));
    let sender = udp(process.plain());
    sender.send(&update(1)).unwrap();
    assert_eq!(asked(process.plain(), "v.example.com.", RecordType::A), ["203.0.113.1"]);
    assert!(asked(process.plain(), "n1.example.org.", RecordType::TXT).is_empty(), "it is not made yet");
    drop(next);
    assert!(is_made(&heard(&sender)));
    assert_eq!(asked(process.plain(), "n1.example.org.", RecordType::TXT), ["here"]);
}

#[test]
fn a_process_of_another_version_is_refused() {
    let folder = site();
    let process = Process::start(folder.path());
    let mut next = Knock::at(folder.path());
    next.say(&json!({ "hello": { "version": 4, "pid": 7 } }));
    let why = "it speaks version 3 of the hand-over, the new process 4: stop it first";
    assert_eq!(next.hear(), json!({ "refused": { "why": why } }));
    assert_eq!(asked(process.plain(), "v.example.com.", RecordType::A), ["203.0.113.1"]);
}

#[test]
fn a_process_that_does_not_know_of_a_reload_does_not_take_over() {
    let folder = site();
    let mut process = Process::wait_for(&mut command(folder.path()));
    let mut log = process.log();
    let mut next = Knock::at(folder.path());
    next.say(&json!({ "hello": { "version": 3, "pid": 7 } }));
    assert!(!next.hear()["sockets"].is_null());
    process.signal("HUP");
    log.wait_for("nothing has changed");
    next.say(&json!({ "zones": ["example.com.", "example.org."] }));
    next.say(&json!({ "hold": { "broken": [] } }));
    let why = "the config was read again meanwhile; start again";
    assert_eq!(next.hear(), json!({ "refused": { "why": why } }));
    assert!(is_made(&over_tcp(process.plain(), &update(1)).unwrap()));
}
