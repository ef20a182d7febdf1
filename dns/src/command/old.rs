//! Zone files of another server, as they are named there.

use std::path::Path;

use super::Failure;
use crate::catalog;
use crate::name::Name;
use crate::zone::diagnostic::{Style, render};
use crate::zone::{Severity, Zone};

/// Reads a zone file; `named` is the zone's name where the file's name does not tell it.
pub(super) fn read(path: &Path, named: Option<&Name>) -> Result<Zone, Failure> {
    let apex = named.cloned().or_else(|| guess(path)).ok_or_else(|| Failure::NoName(path.to_path_buf()))?;
    let parsed =
        catalog::parse_file(path, apex).map_err(|error| Failure::Unreadable(path.to_path_buf(), error))?;
    match parsed.zone {
        Some(zone) => Ok(zone),
        None => {
            let errors = parsed.problems.iter().filter(|problem| problem.severity == Severity::Error);
            let shown = errors.take(MOST_SHOWN).map(|error| render(error, &parsed.files, Style::Plain));
            Err(Failure::Old(path.to_path_buf(), shown.collect()))
        }
    }
}

/// Errors of a file that are shown.
const MOST_SHOWN: usize = 5;

/// Every zone file of a folder, or the file itself. Other files of a folder are passed over.
pub(super) fn read_all(path: &Path) -> Result<Vec<Zone>, Failure> {
    if !path.is_dir() {
        return read(path, None).map(|zone| vec![zone]);
    }
    let unreadable = |error| Failure::Unreadable(path.to_path_buf(), error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.iter().filter_map(|path| read(path, None).ok()).collect())
}

/// `db.example.com`, `example.com.zone`.
fn guess(path: &Path) -> Option<Name> {
    let name = path.file_name()?.to_str()?;
    Name::parse_absolute(catalog::zone_of(name)).ok()
}
