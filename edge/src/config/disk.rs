//! `cache.disk`: a table, or a list of them.

use std::fmt;
use std::path::Path;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::place::Fault;
use super::unit::Size;
use crate::store::disk::Settings;

/// One disk or several.
pub(super) struct DiskTables(Vec<DiskTable>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    path: Spanned<String>,
    size: Spanned<Size>,
    files: Option<Spanned<u32>>,
    write_rate: Option<Size>,
}

/// A page, its journal and its folders.
const LEAST_BYTES: u64 = 1 << 20;
/// A gibibyte is some 65,000 files, whose index takes 4 MiB of memory.
const BYTES_PER_FILE: u64 = 16 << 10;
/// A terabyte and a half a day at most, of what an SSD takes several times a day for years.
const DEFAULT_WRITE_RATE_BYTES: u64 = 16 << 20;

impl<'de> Deserialize<'de> for DiskTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> de::Visitor<'de> for OneOrMany {
            type Value = DiskTables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ path = \"…\", size = \"…\" } or a list of them")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<DiskTables, A::Error> {
                Ok(DiskTables(vec![DiskTable::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<DiskTables, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(DiskTables)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl DiskTables {
    /// Relative paths start at `base`.
    pub(super) fn settings(self, base: &Path) -> Result<Vec<Settings>, Fault> {
        let mut all: Vec<Settings> = Vec::new();
        for DiskTable { path, size, files, write_rate } in self.0 {
            let bytes = size.get_ref().0;
            if bytes < LEAST_BYTES {
                return Err(Fault::new(size.span(), "too little for a disk: at least 1MiB"));
            }
            let settings = Settings {
                path: base.join(path.get_ref()).components().collect(),
                bytes,
                files: files_of(files, bytes)?,
                write_rate_bytes: write_rate.map_or(DEFAULT_WRITE_RATE_BYTES, |rate| rate.0),
            };
            let is_same = |other: &Settings| {
                settings.path.starts_with(&other.path) || other.path.starts_with(&settings.path)
            };
            if all.iter().any(is_same) {
                let fault =
                    Fault::new(path.span(), "two disks have this folder, or one is inside of the other's");
                return Err(fault.help("give each a folder of its own, on a file system of its own"));
            }
            all.push(settings);
        }
        Ok(all)
    }
}

fn files_of(files: Option<Spanned<u32>>, bytes: u64) -> Result<u32, Fault> {
    match files {
        Some(files) if *files.get_ref() == 0 => Err(Fault::new(files.span(), "a disk has one file at least")),
        Some(files) => Ok(files.into_inner()),
        None => Ok(u32::try_from(bytes / BYTES_PER_FILE).unwrap_or(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{ConfigError, parse};
    use crate::store::disk::Settings;

    fn read(disk: &str) -> Result<Vec<Settings>, ConfigError> {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[cache]\ndisk = {disk}\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://o\"]\n"
        );
        parse(&text, Path::new("/etc/verge"), Path::new("edge.toml")).map(|config| config.cache.disks)
    }

    #[test]
    fn a_disk_is_a_table_and_several_are_a_list() {
        let one = read(r#"{ path = "cache", size = "1GiB" }"#).unwrap();
        let expected = Settings {
            path: "/etc/verge/cache".into(),
            bytes: 1 << 30,
            files: 65_536,
            write_rate_bytes: 16 << 20,
        };
        assert_eq!(one, std::slice::from_ref(&expected));
        let two = read(
            r#"[{ path = "cache", size = "1GiB" }, { path = "/b", size = "2GiB", files = 9, write_rate = "1MiB" }]"#,
        );
        let second = Settings { path: "/b".into(), bytes: 2 << 30, files: 9, write_rate_bytes: 1 << 20 };
        assert_eq!(two.unwrap(), [expected, second]);
    }

    #[test]
    fn an_error_names_its_place_and_what_to_do() {
        for (disk, place, words) in [
            (r#"{ path = "a", size = "1KiB" }"#, "3:29", "at least 1MiB"),
            (r#"{ path = "a", sise = "1GiB" }"#, "3:22", "did you mean `size`?"),
            (r#"{ path = "a" }"#, "3:8", "`size` is missing"),
            (r#""a""#, "3:8", "{ path = \"…\", size = \"…\" }"),
            (r#"[{ path = "a", size = "1GiB" }, { path = "./a/b", size = "1GiB" }]"#, "3:49", "two disks"),
            (r#"{ path = "a", size = "1GiB", files = 0 }"#, "3:45", "one file at least"),
        ] {
            let error = read(disk).unwrap_err().to_string();
            assert!(
                error.contains(&format!("edge.toml:{place}:")) && error.contains(words),
                "{disk}: {error}"
            );
        }
    }
}
