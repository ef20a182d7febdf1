//! `promote`: this server becomes the primary of a zone that it takes from another.
//!
//! ```text
//! copy ─▶ others asked ─▶ serial raised ─▶ checked by this config's rules ─▶ zone file ─▶ served; the others follow
//! ```
//!
//! Invariant: nothing is done unless the zone file says to each side just what the copy said.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Failure, Source, say, zones};
use crate::catalog::keeper::Keeper;
use crate::catalog::{Catalog, HeldCopy, journal, parse_file};
use crate::clock;
use crate::config::{Config, Secondary};
use crate::name::Name;
use crate::rtype::Type;
use crate::serve;
use crate::transfer::{Heard, Rulebook, SOA_NUMBERS_BYTES, is_newer, promoted, serial_of};
use crate::view::Which;
use crate::zone::privacy::{divide, is_internal_zone};
use crate::zone::text::write_record;
use crate::zone::{Record, Severity, Zone};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The zone
    zone: String,
    /// Go on although another server has a later version, which is lost
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let not = |why: String| Failure::NotPromoted(args.zone.clone(), why);
    let apex = Name::parse_absolute(&args.zone).map_err(|error| not(error.to_string()))?;
    let secondary = config.secondaries.iter().find(|it| it.zone == apex);
    let secondary = secondary.ok_or_else(|| not("no [[secondary]] of the config is about it".to_owned()))?;
    let copy = secondary.copy(&config.state);
    let keeper = copy.keeper();
    if let Err(error) = &keeper
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(not(format!(
            "its copy: {error}; run this as the user that the server runs as, or as root"
        )));
    }
    let file = config.zones.join(format!("{}.zone", apex.to_string().trim_end_matches('.')));
    if file.exists() && !copy.is_replaced() {
        return Err(not(format!("this server is its primary: {} counts", file.display())));
    }
    let records = copy.records().ok_or_else(|| not("no copy of it has come".to_owned()))?;
    let ours = serial(&records).ok_or_else(|| not("the copy has no SOA".to_owned()))?;
    may_be_raised(&records).map_err(not)?;
    let answers = ask(secondary, &config)?;
    let latest = latest(ours, &answers, args.force).map_err(not)?;
    let serial = promoted(latest);
    let records = under(records, serial);
    let beside = file.with_file_name(format!(".{}.promoted", apex.to_string().trim_end_matches('.')));
    let io = |error| Failure::Unwritable(file.clone(), error);
    let keeper = keeper.and_then(|copy| of_new(&file, copy)).map_err(io)?;
    put(&beside, &text(&apex, &records), keeper).map_err(io)?;
    let judged = judge(&beside, &records, secondary, &config);
    let placed =
        judged.map_err(not).and_then(|()| place((&beside, &file), serial, &copy, &config).map_err(io));
    if placed.is_err() {
        // It is of no use; if it cannot be removed, the next one replaces it.
        let _ = fs::remove_file(&beside);
    }
    tell(&placed?, (&apex, &file, serial), &answers, &config);
    Ok(())
}

/// Whether another serial leaves the zone as good as it was.
fn may_be_raised(records: &[Record]) -> Result<(), String> {
    match records.iter().find(|record| record.rtype == Type::RRSIG) {
        None => Ok(()),
        Some(signature) => Err(format!(
            "it is signed elsewhere ({} RRSIG), and its signatures are for the SOA with its serial, so that resolvers would believe \
             nothing of it under a later one: promote the server that signs it",
            signature.owner
        )),
    }
}

type Answers = Vec<(SocketAddr, Result<u32, Heard>, String)>;

fn ask(secondary: &Secondary, config: &Config) -> Result<Answers, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let keys = serve::keys(&config.keys).map_err(serve::StartError::Secret).map_err(Failure::Start)?;
    let key = secondary.key.as_ref().and_then(|name| keys.get(name).cloned());
    let sources: Vec<_> = config.listen.iter().map(SocketAddr::ip).collect();
    Ok(runtime.block_on(serve::secondary::ask(secondary, key, &sources)))
}

/// The latest serial that is known. A server that has a later version than the copy would lose it.
fn latest(ours: u32, answers: &Answers, force: bool) -> Result<u32, String> {
    let mut latest = ours;
    for (address, answer, _) in answers {
        let Ok(theirs) = *answer else { continue };
        if is_newer(theirs, ours) && !force {
            return Err(format!(
                "{address} has serial {theirs}, and the copy here {ours}: wait until it has come (verge-dns status), or lose what is \
                 newer by --force"
            ));
        }
        if is_newer(theirs, latest) {
            latest = theirs;
        }
    }
    Ok(latest)
}

fn serial(records: &[Record]) -> Option<u32> {
    serial_of(&records.iter().find(|record| record.rtype == Type::SOA)?.rdata)
}

fn under(mut records: Vec<Record>, serial: u32) -> Vec<Record> {
    for record in records.iter_mut().filter(|record| record.rtype == Type::SOA) {
        let at = record.rdata.len().saturating_sub(SOA_NUMBERS_BYTES);
        let mut rdata = record.rdata.to_vec();
        rdata[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        record.rdata = rdata.into();
    }
    records
}

fn text(apex: &Name, records: &[Record]) -> String {
    let mut text = format!(
        "; {apex} as it was when this server became its primary (verge-dns promote). Yours to edit.\n$ORIGIN {apex}\n"
    );
    for record in records {
        write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut text)
            .and_then(|()| writeln!(text))
            .expect("a String takes any text");
    }
    text
}

/// Whether the file says what the copy said: as a file of this server's own, it is judged by the rules of hiding.
fn judge(path: &Path, records: &[Record], secondary: &Secondary, config: &Config) -> Result<(), String> {
    let apex = &secondary.zone;
    let parsed = parse_file(path, apex.clone()).map_err(|error| error.to_string())?;
    let error = parsed.problems.iter().find(|problem| problem.severity == Severity::Error);
    let zone = match (parsed.zone, error) {
        (Some(zone), None) if zone.records.len() == records.len() => zone,
        (_, error) => {
            return Err(error.map_or("the copy cannot be written as a zone file".to_owned(), |error| {
                error.message.clone()
            }));
        }
    };
    let rules = config.terms().rules(|leads| leads == apex);
    if secondary.view == Which::Internal {
        return match is_internal_zone(apex, &rules) {
            true => Ok(()),
            false => Err(format!(
                "its copy is of the inside, and a zone file would be shown to outsiders: add zones = [\"{apex}\"] to [internal] first"
            )),
        };
    }
    // The target that a record is hidden with may stand in another zone.
    let mut catalog = Catalog::new(vec![config.zones.clone()], config.terms());
    catalog.load(clock::system_now()).map_err(|error| error.to_string())?;
    let others = catalog.zones().filter(|(other, _)| *other != apex).map(|(_, other)| &**other);
    let all: Vec<&Zone> = std::iter::once(&zone).chain(others).collect();
    let divided = divide(&all, &rules);
    let hidden = divided.first().map_or(&[][..], |divided| &divided.hidden);
    match hidden.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "outsiders have got records from the copy that the rules here hide in a zone file: {} of them, as {} ({}). Add zones = \
             [\"{apex}\"] to [public] to publish them still",
            hidden.len(),
            shown(&zone, first.record),
            first.why.as_str()
        )),
    }
}

fn shown(zone: &Zone, index: u32) -> String {
    let record = &zone.records[index as usize];
    format!("{} {}", record.owner, record.rtype)
}

/// Puts the file in place. The server takes the zone for its own from then on: first whatever was there before is set aside.
fn place(
    (beside, file): (&Path, &Path),
    serial: u32,
    copy: &HeldCopy,
    config: &Config,
) -> io::Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    for old in [file.to_path_buf(), journal::path(&config.journals(), &copy.apex)] {
        if old.exists() {
            let name = free(&old)?;
            fs::rename(&old, &name)?;
            sync_folder_of(&old)?;
            aside.push(name);
        }
    }
    copy.lead(serial)?;
    fs::rename(beside, file)?;
    sync_folder_of(file)?;
    copy.forget()?;
    Ok(aside)
}

/// A name beside `old` that no file has: what was set aside before may hold the only copy of somebody's changes.
fn free(old: &Path) -> io::Result<PathBuf> {
    let name = |count: u32| {
        let mut name = old.to_path_buf().into_os_string();
        name.push(if count == 1 { ".replaced".to_owned() } else { format!(".replaced.{count}") });
        PathBuf::from(name)
    };
    let is_free =
        |name: &PathBuf| name.symlink_metadata().is_err_and(|it| it.kind() == io::ErrorKind::NotFound);
    (1..=MOST_ASIDE).map(name).find(is_free).ok_or_else(|| {
        let why = format!("{} and {MOST_ASIDE} more are there: remove some", name(1).display());
        io::Error::new(io::ErrorKind::AlreadyExists, why)
    })
}

/// Files of one zone that promotions have set aside.
const MOST_ASIDE: u32 = 1000;

/// After this, a rename outlasts a power cut.
fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The keeper of the zone file: that of what it replaces; else the owner of the folder, and the group of the copy, by whom the
/// server reads it.
fn of_new(file: &Path, copy: Keeper) -> io::Result<Keeper> {
    let keeper = Keeper::of(file)?;
    if file.try_exists()? { Ok(keeper) } else { Ok(Keeper { group: copy.group, mode: 0o640, ..keeper }) }
}

fn put(path: &Path, text: &str, keeper: Keeper) -> io::Result<()> {
    // A process that can read the copy is root's or the server's.
    let mut file = keeper.create_own(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn tell(aside: &[PathBuf], (apex, file, serial): (&Name, &Path, u32), answers: &Answers, config: &Config) {
    let mut out = format!(
        "{apex}: this server is the primary, with serial {serial}; {} is yours to edit\n",
        file.display()
    );
    for old in aside {
        writeln!(out, "what was here before: {}", old.display()).expect("a String takes any text");
    }
    for (address, answer, why) in answers {
        let next = match answer {
            Ok(_) => "it follows as soon as it hears of this",
            Err(_) => "what it had beyond the copy is not in service; it follows when it is back",
        };
        writeln!(out, "{address}: {why}; {next}").expect("a String takes any text");
    }
    if !config.reload.watch {
        out.push_str("reload.watch is off: send the server SIGHUP\n");
    }
    let gives = Rulebook::from(config.transfers.as_slice()).about(apex).next().is_some();
    if !gives {
        writeln!(out, "no [[transfer]] lets the others take {apex} from here: add one, with notify")
            .expect("a String takes any text");
    }
    say(&out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_others_sign_is_not_raised_under_its_signatures() {
        use crate::zone::tree::testing::records;
        let plain = "@ SOA ns h 1 2 3 4 5\n@ NS ns\n@ DNSKEY 256 3 13 AAAA\n";
        assert_eq!(may_be_raised(&records("ex", plain)), Ok(()));
        let signed = format!("{plain}@ RRSIG SOA 13 1 60 20300101000000 20200101000000 7 @ AAAA\n");
        assert!(may_be_raised(&records("ex", &signed)).unwrap_err().contains("ex. RRSIG"));
    }

    #[test]
    fn what_was_set_aside_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ex.zone");
        for expected in ["ex.zone.replaced", "ex.zone.replaced.2", "ex.zone.replaced.3"] {
            let name = free(&path).unwrap();
            assert_eq!(name, folder.path().join(expected));
            // A link that leads nowhere is somebody's, too.
            std::os::unix::fs::symlink("nowhere", &name).unwrap();
        }
        for count in 4..=MOST_ASIDE {
            fs::write(folder.path().join(format!("ex.zone.replaced.{count}")), "").unwrap();
        }
        assert_eq!(free(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n";

    #[test]
    fn what_another_zone_hides_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("zones")).unwrap();
        let text = "zones = \"zones\"\nlisten = [\"127.0.0.1:1\"]\n[[secondary]]\nzone = \"example.com\"\nprimaries = [\"192.0.2.1\"]\n";
        fs::write(path("dns.toml"), text).unwrap();
        let config = crate::config::load(&path("dns.toml")).unwrap();
        fs::write(path("copy"), format!("$ORIGIN example.com.\n{HEAD}alias CNAME db.example.net.\n"))
            .unwrap();
        let apex = Name::parse_absolute("example.com").unwrap();
        let records = parse_file(&path("copy"), apex).unwrap().zone.unwrap().records;
        for (address, expected) in
            [("203.0.113.5", None), ("10.0.0.5", Some("alias.example.com. CNAME (D6)"))]
        {
            fs::write(path("zones/example.net.zone"), format!("{HEAD}db A {address}\n")).unwrap();
            let judged = judge(&path("copy"), &records, &config.secondaries[0], &config);
            let said = judged.err();
            assert_eq!(said.is_some(), expected.is_some(), "{address} {said:?}");
            assert!(said.iter().zip(expected).all(|(said, expected)| said.contains(expected)), "{said:?}");
        }
    }

    #[test]
    fn a_zone_file_that_is_new_can_be_read_by_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Keeper { owner: 4242, group: 4343, mode: 0o600 };
        let of_folder = Keeper::of(&folder.path().join("new")).unwrap();
        let new = of_new(&folder.path().join("new"), copy).unwrap();
        assert_eq!(new, Keeper { owner: of_folder.owner, group: 4343, mode: 0o640 });
        fs::write(folder.path().join("old"), "").unwrap();
        let old = Keeper::of(&folder.path().join("old")).unwrap();
        assert_eq!(of_new(&folder.path().join("old"), copy).unwrap(), old);
    }
}
