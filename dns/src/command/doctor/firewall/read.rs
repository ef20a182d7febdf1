//! Reading the rules, by the programs that everybody has who has rules.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Rules, iptables, nft};

/// A machine with a hundred thousand rules answers within a second.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: u64 = 64 << 20;

/// The rules of this machine, and what could not be read.
pub(in super::super) fn read() -> Rules {
    let (nft, tables) = (asked("nft", &["-j", "list", "ruleset"]), legacy());
    let chains = nft.as_ref().ok().and_then(|text| nft::chains(text));
    let (is_read, unread) = (chains.is_some(), nft.err());
    let mut rules = Rules { chains: chains.unwrap_or_default(), unread };
    // The older form of iptables keeps its rules where nft does not look.
    for (program, is_v4) in [("iptables-save", true), ("ip6tables-save", false)] {
        if is_read && !tables.contains(&is_v4) {
            continue;
        }
        match asked(program, &["-t", "filter"]) {
            Ok(text) => {
                rules.unread = rules.unread.filter(|_| is_read);
                rules.chains.extend(iptables::chains(&text, is_v4));
            }
            Err(error) if is_read => rules.unread = Some(error),
            Err(_) => {}
        }
    }
    rules
}

/// The families of IP for which the older form of iptables has a table.
fn legacy() -> Vec<bool> {
    let has =
        |path: &str| fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == "filter"));
    let files = [("/proc/net/ip_tables_names", true), ("/proc/net/ip6_tables_names", false)];
    files.into_iter().filter(|(path, _)| has(path)).map(|(_, is_v4)| is_v4).collect()
}

/// The output of a program; why there is none, in a few words.
fn asked(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("there is no {program} here"),
        _ => format!("{program}: {error}"),
    })?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{program} cannot be heard"));
    };
    let (told, heard) = mpsc::channel();
    let listening = thread::Builder::new().spawn(move || {
        let read = |mut from: Box<dyn std::io::Read>| {
            let mut text = Vec::new();
            let _ = from.by_ref().take(MOST_BYTES).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let _ = told.send((read(Box::new(output)), read(Box::new(errors))));
    });
    let heard = listening.ok().and_then(|_| heard.recv_timeout(PATIENCE).ok());
    if heard.is_none() {
        let _ = child.kill();
    }
    let ended = child.wait().map_err(|error| format!("{program}: {error}"))?;
    match heard {
        None => Err(format!("{program} does not answer")),
        Some((text, _)) if ended.success() => Ok(text),
        Some((_, errors)) => {
            let why = errors.lines().next().unwrap_or_default();
            Err(format!("{program} says: {} (ask as root)", why.trim().trim_end_matches('.')))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_or_refuses_says_so() {
        assert_eq!(asked("no-such-firewall", &[]), Err("there is no no-such-firewall here".to_owned()));
        assert_eq!(asked("sh", &["-c", "echo rules"]), Ok("rules\n".to_owned()));
        let refused = asked("sh", &["-c", "echo Operation not permitted. >&2; exit 1"]);
        assert_eq!(refused, Err("sh says: Operation not permitted (ask as root)".to_owned()));
    }
}
