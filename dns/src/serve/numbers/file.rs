//! The file `serials`: a line for each zone of each side, as `outside example.com. 2026112901 DIGEST DAY`. It is written beside and
//! put in place as a whole. Lines that make no sense are passed over: their zones begin with their author's serial.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::Place;
use crate::name::Name;
use crate::view::Which;
use crate::zone::text::encoding;

/// SHA-256 of a zone's content.
pub(super) type Digest = [u8; 32];
/// The last number of each zone and its content, and the day when the zone was last here, counted from 1970.
pub(super) type Stored = HashMap<Place, (u32, Digest, u64)>;

const NAME: &str = "serials";
/// A file that is longer is none of ours: some million zones.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the stored numbers; none if there is no such file.
pub(super) fn read(folder: &Path, today: u64) -> Stored {
    let path = folder.join(NAME);
    let text = match read_sound(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Stored::new(),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "the serials of before cannot be read; each zone begins with its file's");
            return Stored::new();
        }
    };
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| parse(line, today)).collect();
    let bad = lines.iter().filter(|line| line.is_none()).count();
    if bad > 0 {
        tracing::warn!(file = %path.display(), lines = bad, "lines that are none of ours are passed over");
    }
    lines.into_iter().flatten().collect()
}

/// Opens only a regular file of a sound length: a pipe would never end.
fn read_sound(path: &Path) -> io::Result<String> {
    let file = fs::metadata(path)?;
    match file.is_file() && file.len() <= MOST_BYTES {
        true => fs::read_to_string(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or too long")),
    }
}

fn parse(line: &str, today: u64) -> Option<(Place, (u32, Digest, u64))> {
    let mut words = line.split(' ');
    let view = match words.next()? {
        "outside" => Which::Public,
        "inside" => Which::Internal,
        _ => return None,
    };
    let apex = Name::parse_absolute(words.next()?).ok()?;
    let serial = words.next()?.parse().ok()?;
    let mut digest = Vec::new();
    encoding::from_hex(words.next()?.bytes(), &mut digest)?;
    // Lines of before have no day.
    let day = words.next().map_or(Some(today), |day| day.parse().ok())?;
    let digest = digest.try_into().ok().filter(|_| words.next().is_none())?;
    Some(((view, apex), (serial, digest, day)))
}

/// Puts the file in place, unless it holds just this.
pub(super) fn write(folder: &Path, stored: &Stored) -> io::Result<()> {
    let (path, beside) = (folder.join(NAME), folder.join(".serials.new"));
    let text = text(stored);
    if read_sound(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // It names the zones of the inside.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(folder)?.sync_all()
}

fn text(stored: &Stored) -> String {
    let mut lines: Vec<String> = stored.iter().map(line).collect();
    lines.sort_unstable();
    let mut text = String::from(
        "# verge-dns: the last serial of each zone and the SHA-256 of its content. Not to be edited.\n",
    );
    lines.iter().for_each(|line| text.push_str(line));
    text
}

fn line(((view, apex), (serial, digest, day)): (&Place, &(u32, Digest, u64))) -> String {
    let mut line = format!("{} {apex} {serial} ", view.as_str());
    encoding::write_hex(digest, &mut line)
        .and_then(|()| writeln!(line, " {day}"))
        .expect("a String takes any text");
    line
}
