//! The zones that catalogs name, as they were last taken: in the file `members` of the folder of copies, a line for each, as
//! `example.com. catalog.invalid. ID GROUP,GROUP`, the last two in hexadecimal digits. A restart serves them before their catalogs
//! have come, and knows which catalog a zone belongs to.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::copy::put;
use crate::name::Name;
use crate::transfer::members::{Member, Owned};
use crate::zone::text::encoding;

const NAME: &str = "members";
/// A file that is longer is none of ours.
const MOST_BYTES: u64 = 64 << 20;

/// The zones of before; none if there is no such file. Lines that make no sense are passed over: their catalogs name them again.
pub(crate) fn read(folder: &Path) -> Vec<Owned> {
    let path = folder.join(NAME);
    let is_sound = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MOST_BYTES);
    let text = if is_sound { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Owned> {
    let mut words = line.split(' ');
    let mut name = || Name::parse_absolute(words.next()?).ok();
    let (zone, catalog) = (name()?, name()?);
    let bytes = |text: &str| {
        let mut bytes = Vec::new();
        encoding::from_hex(text.bytes(), &mut bytes).map(|()| bytes)
    };
    let id = bytes(words.next()?)?.into();
    let groups = words.next().unwrap_or_default().split(',').filter(|group| !group.is_empty());
    let groups = groups.map(|group| String::from_utf8(bytes(group)?).ok()).collect::<Option<_>>()?;
    Some(Owned { catalog, member: Member { zone, id, groups, next: None } })
}

/// Puts them on the disk.
pub(crate) fn write(folder: &Path, owned: &[Owned]) -> io::Result<()> {
    let mut text = String::new();
    for Owned { catalog, member } in owned {
        line(catalog, member, &mut text).map_err(io::Error::other)?;
    }
    put(folder, NAME, &text)
}

fn line(catalog: &Name, member: &Member, text: &mut String) -> std::fmt::Result {
    write!(text, "{} {catalog} ", member.zone)?;
    encoding::write_hex(&member.id, text)?;
    for (at, group) in member.groups.iter().enumerate() {
        text.push(if at == 0 { ' ' } else { ',' });
        encoding::write_hex(group.as_bytes(), text)?;
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        let owned = |zone: &str, groups: &[&str]| Owned {
            catalog: Name::parse_absolute("cat.invalid").unwrap(),
            member: Member {
                zone: Name::parse_absolute(zone).unwrap(),
                id: b"1 a\n".as_slice().into(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                next: None,
            },
        };
        let all = [owned("a.ex", &[]), owned("a\\032b.ex", &["far", "x, y"])];
        write(folder.path(), &all).unwrap();
        assert_eq!(read(folder.path()), all);
        fs::write(folder.path().join(NAME), "\na.ex. cat.invalid. 31\nnonsense\n b c d\n").unwrap();
        assert_eq!(read(folder.path()).len(), 1);
    }
}
