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

use super::lines::is_of_one_line;

/// Where journald takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The device and the number of the stream to the journal that systemd has opened (systemd.exec(5)).
const STREAM: &str = "JOURNAL_STREAM";
/// The program's name there.
const IDENTIFIER: &str = "verge-dns";
/// A datagram takes 200 KiB or so.
const WHOLE: Bounds = Bounds { value_bytes: 32 << 10, entry_bytes: 128 << 10 };
/// For a system that takes less of one: the smallest buffer that a socket may have is larger.
const SHORT: Bounds = Bounds { value_bytes: 512, entry_bytes: 2 << 10 };
/// The end of a value that was cut.
const CUT: &str = "… (cut)";
/// journald ignores fields with longer names.
const MAX_NAME_BYTES: usize = 64;

/// How long an entry may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// A longer value is cut.
    value_bytes: usize,
    /// Fields that would make the entry longer than this are left out of it.
    entry_bytes: usize,
}

/// The journal. It takes lines of JSON, each an event.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    entry: Vec<u8>,
}

impl Journal {
    /// The journal, if standard error leads there and journald is within reach: a container may have its variable alone.
    pub(super) fn of(stderr: &File) -> Option<Self> {
        is_behind(stderr).then(|| Self::at(Path::new(SOCKET)).ok()).flatten()
    }

    fn at(path: &Path) -> io::Result<Self> {
        // Entries are sent without a connection, since a journald that starts again has another socket there.
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self { socket: UnixDatagram::unbound()?, path: path.to_owned(), entry: Vec::new() })
    }

    /// Sends the event of a line; a line without one goes nowhere.
    fn send(&mut self, line: &[u8], bounds: Bounds) -> io::Result<()> {
        let Ok(event) = serde_json::from_slice(line) else { return Ok(()) };
        self.entry.clear();
        write_entry(&mut self.entry, event, bounds);
        self.socket.send_to(&self.entry, &self.path).map(drop)
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

/// Takes one line at a time. An entry that is too long for this system goes shortened.
impl Write for Journal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let taken = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
        let line = &text[..taken];
        match self.send(line, WHOLE) {
            Err(error) if is_of_one_line(&error) => self.send(line, SHORT)?,
            sent => sent?,
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as `tracing_subscriber` writes it, flattened.
fn write_entry(entry: &mut Vec<u8>, mut event: Map<String, Value>, bounds: Bounds) {
    // The journal has a time of its own.
    event.remove("timestamp");
    let mut take = |name| event.remove(name).as_ref().map(text).unwrap_or_default();
    let (level, target, message) = (take("level"), take("target"), take("message"));
    let mut line = message.clone();
    let fields: Vec<_> = event.into_iter().map(|(name, value)| (name, text(&value))).collect();
    fields.iter().for_each(|(name, value)| line.extend([" ", name, "=", value]));
    let mut write = |name: &str, value: &str| write_field(entry, name, value, bounds);
    write("MESSAGE", &line);
    write("PRIORITY", priority(&level));
    write("SYSLOG_FACILITY", "3");
    write("SYSLOG_IDENTIFIER", IDENTIFIER);
    write("VERGE_TARGET", &target);
    write("VERGE_MESSAGE", &message);
    fields.iter().for_each(|(name, value)| write(&field_name(name), value));
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

fn write_field(entry: &mut Vec<u8>, name: &str, value: &str, bounds: Bounds) {
    let (value, end) = match value.len() > bounds.value_bytes {
        true => (&value[..value.floor_char_boundary(bounds.value_bytes - CUT.len())], CUT),
        false => (value, ""),
    };
    let bytes = value.len() + end.len();
    if entry.len() + bytes > bounds.entry_bytes {
        return;
    }
    entry.extend_from_slice(name.as_bytes());
    // A value of several lines has its length before it.
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(bytes as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.extend_from_slice(end.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Vec<Vec<u8>> {
        sent_by(text, |_| {})
    }

    fn sent_by(text: &str, prepare: impl FnOnce(&Journal)) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        reader.set_nonblocking(true).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        prepare(&journal);
        journal.write_all(text.as_bytes()).unwrap();
        let mut space = vec![0; 2 * WHOLE.entry_bytes];
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
        let long = "é".repeat(WHOLE.entry_bytes);
        let sent = sent(&format!(
            "{{\"a\":\"{long}\",\"b\":\"{long}\",\"c\":\"{long}\",\"message\":\"{long}\",\"level\":\"INFO\"}}\n"
        ));
        assert_eq!(sent.len(), 1);
        assert!(sent[0].len() <= WHOLE.entry_bytes + MAX_NAME_BYTES, "{}", sent[0].len());
        let text = String::from_utf8(sent[0].clone()).unwrap();
        assert!(text.starts_with("MESSAGE=éé") && text.contains(&format!("é{CUT}\nPRIORITY=6\n")));
    }

    #[test]
    fn an_entry_that_the_system_does_not_take_goes_shortened_and_the_next_goes_whole() {
        let long = "é".repeat(WHOLE.value_bytes);
        let text = format!("{{\"level\":\"WARN\",\"message\":\"{long}\"}}\n{{\"message\":\"next\"}}\n");
        let sent = sent_by(&text, |journal| {
            socket2::SockRef::from(&journal.socket).set_send_buffer_size(8 << 10).unwrap();
        });
        assert_eq!(sent.len(), 2);
        let [first, next] = [0, 1].map(|at: usize| String::from_utf8(sent[at].clone()).unwrap());
        assert!(
            first.starts_with("MESSAGE=éé") && first.contains(&format!("é{CUT}\nPRIORITY=4\n")),
            "{first}"
        );
        assert!(first.len() <= SHORT.entry_bytes + MAX_NAME_BYTES, "{}", first.len());
        assert!(next.starts_with("MESSAGE=next\n"), "{next}");
    }

    #[test]
    fn a_line_that_journald_does_not_take_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::at(&path).unwrap();
        drop(reader);
        assert!(journal.write(b"{}\n").is_err());
    }

    #[test]
    fn there_is_no_journal_where_nobody_takes_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::at(&path).is_err());
        drop(UnixDatagram::bind(&path).unwrap());
        assert!(Journal::at(&path).is_err(), "as journald leaves it when it ends");
    }

    #[test]
    fn a_file_is_no_journal() {
        assert!(Journal::of(&tempfile::tempfile().unwrap()).is_none());
    }
}
