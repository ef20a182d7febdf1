//! Files in a zones folder that are not read because of their names, and what to say of them: a folder of BIND's, in which
//! `db.example.com` is a zone, would otherwise serve nothing without a word.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::file_name::zone_of;
use super::folder::{self, Found, SUFFIX};
use crate::zone::{Problem, Severity};

/// Files and folders that are looked at, so that a folder of other things costs little.
const MOST_LOOKED_AT: usize = 500;
/// Names that a message lists.
const MOST_NAMED: usize = 5;
/// Where the SOA of a zone file is found, behind comments.
const HEAD_BYTES: u64 = 8_192;

/// Files and folders that a folder holds beside its zone files.
#[derive(Debug, Default)]
struct Others {
    /// Files that look like zones.
    zones: Vec<String>,
    /// All other files.
    files: usize,
    /// Folders that hold zone files.
    folders: Vec<String>,
}

/// Reports the files that the folders among `paths` hold beside zone files, and files among them that are named otherwise.
pub(super) fn in_folders(paths: &[PathBuf], found: &[Found]) -> Vec<Problem> {
    let has_zones = |folder: &Path| found.iter().any(|found| found.source.path().parent() == Some(folder));
    let told = paths.iter().filter_map(|path| match path.is_dir() {
        true => tell(path, has_zones(path)),
        false => misnamed(path),
    });
    told.collect()
}

/// A file that is named on its own is read whatever it is called, as the zone that its whole name says.
fn misnamed(path: &Path) -> Option<Problem> {
    let name = path.file_name()?.to_str()?;
    let meant = zone_of(name);
    if folder::is_zone_file(name) || meant == name {
        return None;
    }
    let message = format!("{} is read as the zone {name}", path.display());
    let help = format!("if it is for {meant}, as its name looks: {}", rename(path, meant));
    Some(Problem { severity: Severity::Warning, code: "file-name", at: None, message, help: Some(help) })
}

/// A command that gives a file the name that its zone wants.
fn rename(path: &Path, zone: &str) -> String {
    format!("mv {} {}", path.display(), path.with_file_name(format!("{zone}{SUFFIX}")).display())
}

/// Reports the files of `folder` that are passed over; `has_zones` is whether others are not.
fn tell(folder: &Path, has_zones: bool) -> Option<Problem> {
    let others = Others::of(folder, has_zones);
    let shown = folder.display();
    let (severity, message) = match (has_zones, others.in_words()) {
        (true, None) => return None,
        (true, Some(what)) => (Severity::Note, format!("{shown}: {what} passed over")),
        (false, None) => {
            let message = format!("{shown}: no file here ends in {SUFFIX}, so there is no zone");
            (Severity::Warning, message)
        }
        (false, Some(what)) => {
            let message =
                format!("{shown}: no file here ends in {SUFFIX}, so there is no zone; {what} passed over");
            (Severity::Warning, message)
        }
    };
    let help = match others.zones.first() {
        Some(name) => format!(
            "{}, and so on: each file is named after its zone",
            rename(&folder.join(name), zone_of(name))
        ),
        None if !others.folders.is_empty() => {
            "name each folder on its own, or move its files here".to_owned()
        }
        None => format!("the file example.com{SUFFIX} holds the zone example.com"),
    };
    let code = if has_zones { "passed-over" } else { "no-zone-files" };
    Some(Problem { severity, code, at: None, message, help: Some(help) })
}

impl Others {
    /// Where there are zone files, only names are looked at; else the beginning of each file, too.
    fn of(folder: &Path, has_zones: bool) -> Self {
        let mut others = Self::default();
        let Ok(entries) = fs::read_dir(folder) else { return others };
        for entry in entries.flatten().take(MOST_LOOKED_AT) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || folder::is_zone_file(&name) {
                continue;
            }
            if path.is_dir() {
                if holds_zone_files(&path) {
                    others.folders.push(name.into_owned());
                }
            } else if is_named_like_zone(&name) || !has_zones && holds_soa(&path) {
                others.zones.push(name.into_owned());
            } else {
                others.files += 1;
            }
        }
        others.zones.sort();
        others.folders.sort();
        others
    }

    /// None if nothing looks as if it was meant to be served.
    fn in_words(&self) -> Option<String> {
        let Self { zones, folders, files } = self;
        let mut parts = Vec::new();
        if !zones.is_empty() {
            let count = counted(zones.len(), "file that looks like a zone", "files that look like zones");
            parts.push(format!("{count} ({})", listed(zones)));
        }
        if !folders.is_empty() {
            let count = counted(folders.len(), "subfolder with zone files", "subfolders with zone files");
            parts.push(format!("{count} ({})", listed(folders)));
        }
        if parts.is_empty() {
            return None;
        }
        if *files > 0 {
            parts.push(counted(*files, "other file", "other files"));
        }
        let count = zones.len() + folders.len() + files;
        Some(format!("{} {}", parts.join(", "), if count == 1 { "is" } else { "are" }))
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn listed(names: &[String]) -> String {
    let some = names.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED { some + ", …" } else { some }
}

/// As BIND's manuals, Windows DNS, NSD and signers name their files.
fn is_named_like_zone(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let (begins, ends) =
        (["db.", "named.", "pri.", "master."], [".db", ".dns", ".hosts", ".signed", ".zone.txt"]);
    begins.iter().any(|start| name.starts_with(start)) || ends.iter().any(|end| name.ends_with(end))
}

fn holds_soa(path: &Path) -> bool {
    let mut head = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|file| file.is_file());
    let file = fs::File::open(path).ok().filter(|_| is_file);
    file.and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head).ok()).is_some()
        && head.split(u8::is_ascii_whitespace).any(|word| word.eq_ignore_ascii_case(b"SOA"))
}

fn holds_zone_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries
        .flatten()
        .take(MOST_LOOKED_AT)
        .any(|entry| folder::is_zone_file(&entry.file_name().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 1h\n@ SOA ns1 h 1 2h 1h 1w 5m\n";

    fn check(files: &[(&str, &str)], expected: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let has_zones = files.iter().any(|(name, _)| !name.contains('/') && folder::is_zone_file(name));
        let told = tell(folder.path(), has_zones).map(|problem| problem.message);
        let prefix = format!("{}: ", folder.path().display());
        assert_eq!(
            told.as_deref().map(|message| message.strip_prefix(&prefix).unwrap()),
            expected,
            "{files:?}"
        );
    }

    #[test]
    fn a_folder_without_zone_files_says_what_is_there_instead() {
        let none = "no file here ends in .zone, so there is no zone";
        check(&[], Some(none));
        check(&[("README", "hello"), (".hidden", ZONE)], Some(none));
        check(
            &[("db.example.com", ZONE), ("example.net.db", ZONE), ("example.org", ZONE), ("README", "x")],
            Some(&format!(
                "{none}; 3 files that look like zones (db.example.com, example.net.db, example.org), 1 other file are passed over"
            )),
        );
        check(
            &[("master/example.com.zone", ZONE), ("keys/a.key", "")],
            Some(&format!("{none}; 1 subfolder with zone files (master) is passed over")),
        );
    }

    #[test]
    fn beside_zone_files_only_what_looks_like_one_is_told() {
        check(&[("a.example.zone", ZONE), ("README", "x"), ("hosts.inc", "a A 192.0.2.1\n")], None);
        check(
            &[("a.example.zone", ZONE), ("b.example.dns", ZONE), ("old/c.example.zone", ZONE)],
            Some(
                "1 file that looks like a zone (b.example.dns), 1 subfolder with zone files (old) are passed over",
            ),
        );
    }
}
