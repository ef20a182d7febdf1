//! `fold`: writes what updates (RFC 2136) have changed into the zone file, and empties the journal beside it.
//!
//! Invariant: the file that is put in place says, read again, just what file and journal said together; else nothing is done.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Failure, Source, say, zones};
use crate::catalog::journal::{self, Journal};
use crate::catalog::keeper::Keeper;
use crate::catalog::parse_file;
use crate::clock;
use crate::name::Name;
use crate::update::Overlay;
use crate::zone::file::has_marks;
use crate::zone::text::write_record;
use crate::zone::{Marks, Position, Record, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The zone
    zone: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let not = |why: String| Failure::NotFolded(args.zone.clone(), why);
    let apex = Name::parse_absolute(&args.zone).map_err(|error| not(error.to_string()))?;
    let folder = config.journals();
    let path = journal::path(&folder, &apex);
    let is_there = path.try_exists().map_err(|error| {
        not(format!("{}: {error}; run this as the user that the server runs as, or as root", path.display()))
    })?;
    if !is_there {
        say(&format!("{apex}: no update lies over the zone file\n"));
        return Ok(());
    }
    // A server that is to write waits until this is done.
    let mut journal = Journal::open(&folder, &apex).map_err(|error| not(error.to_string()))?;
    if journal.held.is_damaged {
        return Err(not("the journal is damaged; `verge-dns check` tells where".to_owned()));
    }
    let overlay = journal.held.overlay.clone();
    let path = zone_file(&config.zones, &apex).ok_or_else(|| not("it has no zone file here".to_owned()))?;
    let folded = folded(&path, &apex, &overlay).map_err(not)?;
    put(&path, &folded).map_err(|error| Failure::Unwritable(path.clone(), error))?;
    let now = clock::moment().unix_seconds;
    journal.fold(&Overlay::default(), &apex, now).map_err(|error| not(error.to_string()))?;
    let (added, hidden) = (overlay.added.len(), overlay.hidden.len());
    say(&format!("{}: {added} records added, {hidden} taken out; the journal is empty\n", path.display()));
    Ok(())
}

fn zone_file(zones: &Path, apex: &Name) -> Option<PathBuf> {
    let named = zones.join(format!("{}.zone", apex.to_string().trim_end_matches('.')));
    named.exists().then_some(named)
}

/// The text of the file with the changes in it.
fn folded(path: &Path, apex: &Name, overlay: &Overlay) -> Result<String, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let zone = |path: &Path| {
        let parsed = parse_file(path, apex.clone()).map_err(|error| format!("{shown}: {error}"))?;
        parsed.zone.ok_or_else(|| format!("{shown} has errors; see verge-dns check"))
    };
    let before = zone(path)?;
    let journal = u32::try_from(before.files.len()).map_err(|error| error.to_string())?;
    let expected = overlay.over(before.records.clone(), journal);
    let made = edited(&text, &before, &expected, journal)?;
    // Beside the file, so that what it includes is found.
    let trial = beside(path, "fold");
    let again = put_at(&trial, &made, path).map_err(|error| error.to_string()).and_then(|()| zone(&trial));
    let _ = fs::remove_file(&trial);
    match key_set(&again?.records) == key_set(&expected) {
        true => Ok(made),
        false => Err(format!(
            "{shown} is written so that the changes cannot be put into it line by line; edit it by hand"
        )),
    }
}

/// Each record by its content, wherever it stands.
fn key_set(records: &[Record]) -> Vec<String> {
    let mut all: Vec<String> = records.iter().map(line).collect();
    all.sort_unstable();
    all
}

fn line(record: &Record) -> String {
    let mut out = String::new();
    write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut out)
        .and_then(|()| write!(out, "{}", record.marks()))
        .expect("a String takes any text");
    out
}

/// The text in which the records are those of `expected`; what lies over the file has its place in the file of index `journal`.
fn edited(text: &str, zone: &Zone, expected: &[Record], journal: u32) -> Result<String, String> {
    let mut lines: Vec<Option<String>> = text.split('\n').map(|line| Some(line.to_owned())).collect();
    let marks: HashMap<Position, Marks> =
        zone.records.iter().map(|record| (record.at, record.marks())).collect();
    // A record that has another mark now, since the one beside it is gone, is written anew.
    let is_same = |record: &&Record| marks.get(&record.at).is_some_and(|marks| *marks == record.marks());
    let of_file = expected.iter().filter(|record| record.at.file != journal);
    let stays: HashSet<Position> = of_file.filter(is_same).map(|record| record.at).collect();
    for record in zone.records.iter().filter(|record| !stays.contains(&record.at)) {
        let at = record.at.line.saturating_sub(1) as usize;
        if record.at.file != 0 || at >= lines.len() {
            let file = zone.files.get(record.at.file as usize).map(|file| file.path.display().to_string());
            return Err(format!(
                "{} stands in {}; take it out there",
                line(record),
                file.unwrap_or_default()
            ));
        }
        let next = zone
            .records
            .iter()
            .filter(|it| it.at.file == 0 && it.at.line > record.at.line)
            .min_by_key(|it| it.at.line);
        take_out(&mut lines, at, next);
    }
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    let mut made = lines.join("\n");
    if !made.ends_with('\n') {
        made.push('\n');
    }
    for added in expected.iter().filter(|record| record.at.file == journal || !stays.contains(&record.at)) {
        writeln!(made, "{}", line(added)).expect("a String takes any text");
    }
    Ok(made)
}

/// A line becomes a comment, or goes if it would be read as a mark; the next record must not take its owner from it.
fn take_out(lines: &mut [Option<String>], at: usize, next: Option<&Record>) {
    let comment = lines[at].as_ref().map(|line| format!("; {line}"));
    lines[at] = comment.filter(|comment| !has_marks(comment.as_bytes()));
    let Some(next) = next else { return };
    let Some(Some(line)) = lines.get_mut(next.at.line.saturating_sub(1) as usize) else { return };
    if line.starts_with([' ', '\t']) {
        *line = format!("{}{line}", next.owner);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!(".{}.{suffix}", path.file_name().unwrap_or_default().to_string_lossy()))
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = beside(path, "new");
    put_at(&beside, text, path)?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// `path` may be read by those who may read `like`.
fn put_at(path: &Path, text: &str, like: &Path) -> std::io::Result<()> {
    let mut file = Keeper::of(like)?.create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtype::Type;
    use crate::small_bytes::SmallBytes;
    use crate::transfer::record;
    use crate::zone::Mark;

    fn address(owner: &str, byte: u8) -> Record {
        record(Name::parse_absolute(owner).unwrap(), Type::A, 60, SmallBytes::from([192, 0, 2, byte]))
    }

    fn fold(text: &str, overlay: &Overlay) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ex.zone");
        fs::write(&path, text).unwrap();
        folded(&path, &Name::parse_absolute("ex").unwrap(), overlay)
    }

    const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2h 30m 2w 5m\n@ NS ns\nns A 192.0.2.53\n";

    #[test]
    fn the_file_says_afterwards_what_file_and_journal_said() {
        let overlay = Overlay {
            added: [address("new.ex", 9)].into_iter().collect(),
            hidden: [address("a.ex", 1)].into_iter().collect(),
        };
        for (text, expected) in [
            ("a A 192.0.2.1 ; mine\nb A 192.0.2.2\n", "; a A 192.0.2.1 ; mine\nb A 192.0.2.2\n"),
            ("a A 192.0.2.1\n  A 192.0.2.2\n", "; a A 192.0.2.1\na.ex.  A 192.0.2.2\n"),
            ("a A 192.0.2.2\n  A 192.0.2.1\n", "a A 192.0.2.2\n;   A 192.0.2.1\n"),
        ] {
            let made = fold(&format!("{HEAD}{text}"), &overlay);
            assert_eq!(made, Ok(format!("{HEAD}{expected}new.ex. 60 IN A 192.0.2.9\n")), "{text}");
        }
    }

    #[test]
    fn marks_stay_with_what_they_mark_and_bind_to_nothing_else() {
        let marked = |record: Record, mark| Record { mark: Some(mark), ..record };
        let later = |record: Record| Record { ttl: 90, ..record };
        for (text, added, hidden, expected) in [
            (
                "a A 192.0.2.1 ; verge: public\nb A 192.0.2.2\n",
                vec![],
                Some(address("a.ex", 1)),
                "b A 192.0.2.2\n",
            ),
            (
                "x TXT \"verge: internal\"\na A 192.0.2.1\n",
                vec![],
                Some(address("a.ex", 1)),
                "x TXT \"verge: internal\"\n; a A 192.0.2.1\n",
            ),
            (
                "a A 192.0.2.1 ; verge: internal\n",
                vec![later(address("a.ex", 1))],
                Some(address("a.ex", 1)),
                "a.ex. 90 IN A 192.0.2.1 ; verge: internal\n",
            ),
            (
                "b A 192.0.2.2\n",
                vec![marked(address("a.ex", 1), Mark::Internal)],
                None,
                "b A 192.0.2.2\na.ex. 60 IN A 192.0.2.1 ; verge: internal\n",
            ),
            (
                "a A 192.0.2.1 ; verge: internal\n",
                vec![marked(address("a.ex", 1), Mark::Outside)],
                None,
                "a.ex. 60 IN A 192.0.2.1\n",
            ),
            (
                "a A 192.0.2.1 ; verge: public steer\na A 192.0.2.2 ; verge: public\n",
                vec![],
                Some(address("a.ex", 1)),
                "a.ex. 60 IN A 192.0.2.2 ; verge: public ; verge: steer\n",
            ),
            (
                "a A 192.0.2.1 ; verge: steer\n",
                vec![Record { steer: true, ..address("a.ex", 2) }, address("a.ex", 3)],
                Some(address("a.ex", 1)),
                "a.ex. 60 IN A 192.0.2.2 ; verge: steer\na.ex. 60 IN A 192.0.2.3\n",
            ),
        ] {
            let overlay =
                Overlay { added: added.into_iter().collect(), hidden: hidden.into_iter().collect() };
            assert_eq!(fold(&format!("{HEAD}{text}"), &overlay), Ok(format!("{HEAD}{expected}")), "{text}");
        }
    }

    #[test]
    fn a_folded_file_is_no_more_open_than_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ex.zone");
        fs::write(&path, HEAD).unwrap();
        for mode in [0o600, 0o640, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let before = Keeper::of(&path).unwrap();
            put(&path, HEAD).unwrap();
            assert_eq!((before.mode, Keeper::of(&path).unwrap()), (mode, before));
        }
    }

    #[test]
    fn what_cannot_be_edited_line_by_line_is_left_to_its_author() {
        let overlay = Overlay { hidden: [address("a.ex", 1)].into_iter().collect(), ..Overlay::default() };
        for text in ["a A (\n 192.0.2.1 )\n", "$GENERATE 1-2 a A 192.0.2.$\n"] {
            let made = fold(&format!("{HEAD}{text}"), &overlay);
            assert!(made.is_err(), "{text} {made:?}");
        }
    }

    #[test]
    fn the_text_of_comments_is_kept() {
        let made = fold(
            &format!("; a comment\n{HEAD}"),
            &Overlay { added: [address("new.ex", 9)].into_iter().collect(), ..Overlay::default() },
        );
        assert!(made.unwrap().starts_with("; a comment\n$TTL 60\n"));
    }
}
