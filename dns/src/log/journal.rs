//! Events as entries of systemd's journal, with their level and their fields (systemd.io/JOURNAL_NATIVE_PROTOCOL,
//! systemd.journal-fields(7)).
//!
//! `MESSAGE` is the event as people read it; each field of the event is one of the entry, behind `VERGE_`.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Where journald takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The device and the number of the stream to the journal that systemd has opened (systemd.exec(5)).
const STREAM: &str = "JOURNAL_STREAM";
/// The program's name there.
const IDENTIFIER: &str = "verge-dns";
/// A longer value is cut: a datagram takes 200 KiB or so.
const MAX_VALUE_BYTES: usize = 32 << 10;
/// Fields that would make an entry longer than this are left out of it.
const MAX_ENTRY_BYTES: usize = 128 << 10;
/// journald ignores fields with longer names.
const MAX_NAME_BYTES: usize = 64;

/// The journal. It takes lines of JSON, each an event.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    entry: Vec<u8>,
}

impl Journal {
    /// The journal, if standard error leads there.
    pub(super) fn of(stderr: &File) -> Option<Self> {
        is_behind(stderr).then(|| Self::at(Path::new(SOCKET)).ok()).flatten()
    }

    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::unbound()?, path: path.to_owned(), entry: Vec::new() })
    }
}

/// Whether this file leads to the journal.
fn is_behind(file: &File) -> bool {
    let found = file.metadata().map(|found| format!("{}:{}", found.dev(), found.ino()));
    env::var(STREAM).is_ok_and(|stream| found.is_ok_and(|found| found == stream))
}

/// A text for standard error that says why the program ends: where that is the journal, each line with the level of an error
/// (sd-daemon(3)).
pub(super) fn as_error(text: &str, stderr: &File) -> String {
    if !is_behind(stderr) {
        return text.to_owned();
    }
    text.split_inclusive('\n').flat_map(|line| ["<3>", line]).collect()
}

/// Takes one line at a time.
impl Write for Journal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let taken = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
        if let Ok(event) = serde_json::from_slice(&text[..taken]) {
            self.entry.clear();
            write_entry(&mut self.entry, event);
            self.socket.send_to(&self.entry, &self.path)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as `tracing_subscriber` writes it, flattened.
fn write_entry(entry: &mut Vec<u8>, mut event: Map<String, Value>) {
    // The journal has a time of its own.
    event.remove("timestamp");
    let mut take = |name| event.remove(name).as_ref().map(text).unwrap_or_default();
    let (level, target, message) = (take("level"), take("target"), take("message"));
    let mut line = message.clone();
    let fields: Vec<_> = event.into_iter().map(|(name, value)| (name, text(&value))).collect();
    fields.iter().for_each(|(name, value)| line.extend([" ", name, "=", value]));
    write_field(entry, "MESSAGE", &line);
    write_field(entry, "PRIORITY", priority(&level));
    write_field(entry, "SYSLOG_FACILITY", "3");
    write_field(entry, "SYSLOG_IDENTIFIER", IDENTIFIER);
    write_field(entry, "VERGE_TARGET", &target);
    write_field(entry, "VERGE_MESSAGE", &message);
    fields.iter().for_each(|(name, value)| write_field(entry, &field_name(name), value));
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// syslog's level.
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// Upper case, digits and underscores.
fn field_name(name: &str) -> String {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase().into() } else { '_' };
    "VERGE_".chars().chain(name.bytes().map(plain)).take(MAX_NAME_BYTES).collect()
}

fn write_field(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
    if entry.len() + value.len() > MAX_ENTRY_BYTES {
        return;
    }
    entry.extend_from_slice(name.as_bytes());
    // A value of several lines has its length before it.
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        reader.set_nonblocking(true).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        journal.write_all(text.as_bytes()).unwrap();
        let mut space = vec![0; 2 * MAX_ENTRY_BYTES];
        std::iter::from_fn(|| reader.recv(&mut space).ok().map(|length| space[..length].to_vec())).collect()
    }

    #[test]
    fn each_event_is_an_entry_with_its_level_its_message_and_its_fields() {
        let check = |line: &str, expected: &str| {
            let line = line.to_owned() + "\n";
            let sent = sent(&line);
            assert_eq!(sent.len(), 1, "{line}");
            assert_eq!(String::from_utf8_lossy(&sent[0]), expected, "{line}");
        };
        let head = |priority: u8| {
            format!("PRIORITY={priority}\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER={IDENTIFIER}\n")
        };
        check(
            r#"{"timestamp":"2026-01-01T00:00:00Z","level":"WARN","message":"late","a.b":"c=d","took_ms":7,"target":"x::y"}"#,
            &format!(
                "MESSAGE=late a.b=c=d took_ms=7\n{}VERGE_TARGET=x::y\nVERGE_MESSAGE=late\nVERGE_A_B=c=d\nVERGE_TOOK_MS=7\n",
                head(4)
            ),
        );
        check(
            r#"{"level":"ERROR","message":"one\ntwo","target":"x"}"#,
            &format!(
                "MESSAGE\n\u{7}\0\0\0\0\0\0\0one\ntwo\n{}VERGE_TARGET=x\nVERGE_MESSAGE\n\u{7}\0\0\0\0\0\0\0one\ntwo\n",
                head(3)
            ),
        );
        check("{}", &format!("MESSAGE=\n{}VERGE_TARGET=\nVERGE_MESSAGE=\n", head(7)));
    }

    #[test]
    fn no_field_breaks_out_of_its_line_and_what_is_no_event_is_left_out() {
        let sent = sent("\n{\"level\":\"INFO\",\"x=1\\nY\":\"é\"}\nno JSON\n{\"level\":\"INFO\"}\n");
        assert_eq!(sent.len(), 2);
        assert!(String::from_utf8_lossy(&sent[0]).ends_with("\nVERGE_X_1_Y=é\n"), "{sent:?}");
    }

    #[test]
    fn an_entry_is_bounded_and_keeps_its_message_and_its_level() {
        let long = "é".repeat(MAX_ENTRY_BYTES);
        let sent = sent(&format!(
            "{{\"a\":\"{long}\",\"b\":\"{long}\",\"c\":\"{long}\",\"message\":\"{long}\",\"level\":\"INFO\"}}\n"
        ));
        assert_eq!(sent.len(), 1);
        assert!(sent[0].len() <= MAX_ENTRY_BYTES + MAX_NAME_BYTES, "{}", sent[0].len());
        let text = String::from_utf8(sent[0].clone()).unwrap();
        assert!(text.starts_with("MESSAGE=éé") && text.contains("\nPRIORITY=6\n"));
    }

    #[test]
    fn a_line_that_journald_does_not_take_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::at(&folder.path().join("nobody")).unwrap();
        assert!(journal.write(b"{}\n").is_err());
    }

    #[test]
    fn a_file_is_no_journal() {
        assert!(Journal::of(&tempfile::tempfile().unwrap()).is_none());
    }
}
