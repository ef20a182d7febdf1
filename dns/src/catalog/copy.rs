//! Copies of zones that are taken from their primaries: in the folder `secondaries` of the state folder, a file of zone text for
//! each, and beside it one that says when the copy ends.
//!
//! ```text
//! messages ─▶ records ─▶ text beside ─▶ read again and checked ─▶ fsync, rename ─▶ Catalog::load ─▶ served
//! ```
//!
//! Invariant: no copy is served that is not on the disk whole, and none after its end, also after a restart.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::expiry::{read_expiry, stem};
use super::folder::{self, Found};
use super::keeper::{self, Keeper};
use super::source::{Copy, Source};
use crate::name::Name;
use crate::rtype::Type;
use crate::transfer::{Timers, Upkeep, serial_of};
use crate::view::Which;
use crate::zone::file::Parsed;
use crate::zone::privacy::Rules;
use crate::zone::text::write_record;
use crate::zone::{Problem, Record, Severity};

/// A zone that is taken from others, and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldCopy {
    pub(crate) apex: Name,
    /// The side that has it.
    pub(crate) view: Which,
    /// A catalog names it, so a zone file of the same name goes before it.
    pub(crate) is_member: bool,
    folder: PathBuf,
    stem: String,
}

/// Why a copy is not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// The disk does not take it.
    Io(io::Error),
    /// It has errors that `check` finds; the first of them, and how many there are.
    Bad(String, usize),
}

impl From<io::Error> for NotKept {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl HeldCopy {
    pub(crate) fn new(apex: Name, view: Which, folder: &Path, is_member: bool) -> Self {
        let stem = stem(&apex);
        Self { apex, view, is_member, folder: folder.to_path_buf(), stem }
    }

    /// Whether another server has replaced this one as the primary, so that the zone file here does not count.
    pub(crate) fn is_replaced(&self) -> bool {
        self.path(".replaced").exists()
    }

    /// Notes who has replaced this server, and under which serial. An older copy would be older than the zone file.
    pub(crate) fn replace(&self, by: SocketAddr, serial: u32) -> io::Result<()> {
        self.forget()?;
        remove(&self.path(".promoted"))?;
        self.put(".replaced", &format!("by {by} serial {serial}\n"))
    }

    /// This server is the primary, once there is a zone file. The serial is that of the file, which nobody has taken yet.
    pub(crate) fn lead(&self, serial: u32) -> io::Result<()> {
        self.put(".promoted", &format!("serial {serial}\n"))?;
        remove(&self.path(".replaced"))?;
        // It would be replaced again after a power cut.
        File::open(&self.folder)?.sync_all()
    }

    /// The serial under which this server became the primary, if it was promoted and not replaced since.
    pub(crate) fn promoted(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path(".promoted")).ok()?;
        text.trim_end().strip_prefix("serial ")?.parse().ok()
    }

    /// Removes all that is kept of it.
    pub(crate) fn forget(&self) -> io::Result<()> {
        for suffix in [".expires", ".zone", ".incoming", ".expires.new"] {
            remove(&self.path(suffix))?;
        }
        match File::open(&self.folder) {
            Ok(folder) => folder.sync_all(),
            // Nothing was kept yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}{suffix}", self.stem))
    }

    /// `waits` if it is not known yet whether the copy counts or a zone file does.
    pub(super) fn found(&self, waits: bool) -> Found {
        let (apex, zone, expiry) = (self.apex.clone(), self.path(".zone"), self.path(".expires"));
        Found {
            source: Source::Copy(Box::new(Copy { apex, zone, expiry })),
            root: self.folder.clone(),
            waits,
        }
    }

    /// The owner of the copy, by whom it is served.
    pub(crate) fn keeper(&self) -> io::Result<Keeper> {
        Keeper::of(&self.path(".zone"))
    }

    /// The records that are kept; none if there is no copy that can be read.
    pub(crate) fn records(&self) -> Option<Vec<Record>> {
        let parsed = folder::parse_file(&self.path(".zone"), self.apex.clone()).ok()?;
        parsed.zone.map(|zone| zone.records)
    }

    /// How well the copy is, as the files say, and its serial.
    pub(crate) fn upkeep(&self) -> (Upkeep, Option<u32>) {
        let records = self.records().unwrap_or_default();
        let soa = records.iter().find(|record| record.rtype == Type::SOA);
        let told = soa.and_then(|soa| Some((Timers::of(&soa.rdata)?, serial_of(&soa.rdata)?)));
        match (told, read_expiry(&self.path(".expires"))) {
            (Some((timers, serial)), Some((checked, expires))) => {
                (Upkeep { timers: Some(timers), checked, expires, failures: 0 }, Some(serial))
            }
            _ => Default::default(),
        }
    }

    /// Puts a version in the place of the one before, once it is whole on the disk and without errors.
    pub(crate) fn keep(&self, records: &[Record], rules: &Rules) -> Result<(), NotKept> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let (beside, path) = (self.path(".incoming"), self.path(".zone"));
        let kept = write_zone(&beside, &self.apex, records).map_err(NotKept::Io).and_then(|()| {
            let parsed = folder::parse_file(&beside, self.apex.clone())?;
            match errors(parsed, rules) {
                None => Ok(fs::rename(&beside, &path)?),
                Some((first, count)) => Err(NotKept::Bad(first, count)),
            }
        });
        if kept.is_err() {
            // The rest of it is of no use; if it cannot be removed, the next one replaces it.
            let _ = fs::remove_file(&beside);
        }
        kept?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    /// Notes until when the copy is good.
    pub(crate) fn note(&self, upkeep: &Upkeep) -> io::Result<()> {
        self.put(".expires", &format!("checked {} expires {}\n", upkeep.checked, upkeep.expires))
    }

    fn put(&self, suffix: &str, text: &str) -> io::Result<()> {
        let name = format!("{}{suffix}", self.stem);
        put(&self.folder, &name, text)
    }
}

/// Puts a short text in the place of a file, whole and on the disk.
pub(super) fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (beside, path) = (folder.join(format!("{name}.new")), folder.join(name));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    keeper::give(&file, folder)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_zone(path: &Path, apex: &Name, records: &[Record]) -> io::Result<()> {
    // It may be a zone of the inside.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    writeln!(
        out,
        "; {apex} as its primary has it; verge-dns replaces this file. Not to be edited.\n$ORIGIN {apex}"
    )?;
    let mut line = String::new();
    for record in records {
        line.clear();
        write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut line)
            .and_then(|()| line.write_char('\n'))
            .map_err(io::Error::other)?;
        out.write_all(line.as_bytes())?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// The first error that `check` finds, and how many there are.
fn errors(parsed: Parsed, rules: &Rules) -> Option<(String, usize)> {
    let (apex, file) = (parsed.apex.clone(), Source::File(PathBuf::new()));
    let read = folder::Read::of(file, parsed);
    let opened = super::zone_file::ZoneFile::open(read, rules, None);
    let mut problems = opened.problems;
    if let Some(zone) = &opened.zone {
        problems.extend(crate::zone::check::view(zone, |_| true));
    }
    let errors: Vec<&Problem> = problems.iter().filter(|it| it.severity == Severity::Error).collect();
    let first = errors.first().map(|error| error.message.clone());
    match (first, opened.zone.is_some_and(|zone| zone.apex == apex)) {
        (Some(first), _) => Some((first, errors.len())),
        (None, false) => Some(("it is no zone".to_owned(), 1)),
        (None, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::record;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn records(texts: &[(&str, Type, &[u8])]) -> Vec<Record> {
        let one =
            |(owner, rtype, rdata): &(&str, Type, &[u8])| record(name(owner), *rtype, 300, (*rdata).into());
        texts.iter().map(one).collect()
    }

    const SOA: &[u8] =
        b"\x02ns\x02ex\0\x01h\x02ex\0\0\0\0\x07\0\0\x0e\x10\0\0\x02\x58\0\x01\x51\x80\0\0\0\x3c";
    const NS: &[u8] = b"\x02Ns\x02eX\0";

    fn good() -> Vec<Record> {
        records(&[
            ("ex", Type::SOA, SOA),
            ("ex", Type::NS, NS),
            ("ns.ex", Type::A, &[10, 0, 0, 1]),
            ("\\000\\010;\\\".ex", Type::TXT, b"\x05 \"\\;\n\x00"),
            ("odd.ex", Type(65280), b"\xc0\x0c"),
            ("empty.ex", Type(65281), b""),
            ("*.ex", Type::SVCB, b"\0\x01\0"),
        ])
    }

    #[test]
    fn what_is_kept_is_what_came() {
        let folder = tempfile::tempdir().unwrap();
        let copy = HeldCopy::new(name("ex"), Which::Public, &folder.path().join("new"), false);
        assert_eq!((copy.records(), copy.upkeep()), (None, Default::default()));
        copy.keep(&good(), &Rules::default()).unwrap_or_else(|error| panic!("{error:?}"));
        let kept = copy.records().unwrap();
        let plain = |records: &[Record]| {
            records
                .iter()
                .map(|it| (it.owner.clone(), it.rtype, it.ttl, it.rdata.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(plain(&kept), plain(&good()));
        assert_eq!(copy.upkeep(), Default::default(), "nobody has said until when it is good");
        let upkeep = Upkeep::confirmed(Timers::of(SOA).unwrap(), 1000, None);
        copy.note(&upkeep).unwrap();
        assert_eq!(copy.upkeep(), (upkeep, Some(7)));
    }

    #[test]
    fn a_version_with_errors_leaves_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let copy = HeldCopy::new(name("ex"), Which::Public, folder.path(), false);
        copy.keep(&good(), &Rules::default()).unwrap();
        for (more, expected) in [
            (("ex", Type::CNAME, b"\x01a\x02ex\0".as_slice()), "CNAME"),
            (("ns.ex", Type::CNAME, b"\x01a\x02ex\0"), "CNAME"),
        ] {
            let bad = [good(), records(&[more])].concat();
            match copy.keep(&bad, &Rules::default()) {
                Err(NotKept::Bad(first, _)) => assert!(first.contains(expected), "{first}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(copy.records().unwrap().len(), good().len());
            assert!(!folder.path().join("ex.incoming").exists());
        }
        let no_soa = good().split_off(1);
        assert!(matches!(copy.keep(&no_soa, &Rules::default()), Err(NotKept::Bad(..))));
    }

    #[test]
    fn a_disk_that_does_not_take_it_leaves_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let copy = HeldCopy::new(name("ex"), Which::Public, folder.path(), false);
        copy.keep(&good(), &Rules::default()).unwrap();
        // A folder in the place of the file that is written beside: no open of it succeeds.
        fs::create_dir(folder.path().join("ex.incoming")).unwrap();
        assert!(matches!(copy.keep(&good(), &Rules::default()), Err(NotKept::Io(_))));
        assert_eq!(copy.records().unwrap().len(), good().len());
    }

    #[test]
    fn the_server_may_read_what_a_promotion_by_root_notes() {
        let Some(folder) = keeper::tests::of_another() else { return };
        HeldCopy::new(name("ex"), Which::Public, folder.path(), false).lead(7).unwrap();
        assert!(keeper::tests::is_theirs(&folder.path().join("ex.promoted")));
    }

    #[test]
    fn every_zone_has_a_file_name_of_its_own() {
        for (zone, expected) in [
            ("example.com", "example.com"),
            (".", "%root"),
            ("0/26.2.0.192.in-addr.arpa", "0%2f26.2.0.192.in-addr.arpa"),
            ("a%2fb.example", "a%252fb.example"),
        ] {
            assert_eq!(stem(&name(zone)), expected);
        }
    }
}
