//! The places in a config of what the machine may not have: addresses to listen on, and files. They are tried after the config
//! was read, and an error about one of them still points at its line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{ConfigError, Fault};

/// Where addresses and files are named.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The config's path, as errors show it.
    shown: PathBuf,
    /// Where relative paths begin.
    base: PathBuf,
    text: String,
}

impl Places {
    pub(super) fn of(text: &str, base: &Path, shown: &Path) -> Self {
        Self { shown: shown.to_owned(), base: base.to_owned(), text: text.to_owned() }
    }

    /// An error about the address that `setting` names.
    pub(crate) fn of_address(
        &self,
        setting: &str,
        address: SocketAddr,
        message: String,
    ) -> Option<ConfigError> {
        self.error(setting, |value| value.parse() == Ok(address), message)
    }

    /// An error about the file that `setting` names.
    pub(crate) fn of_file(&self, setting: &str, file: &Path, message: String) -> Option<ConfigError> {
        let is_it = |value: &str| {
            let value = value.strip_prefix("unix:").unwrap_or(value);
            self.base.join(value) == file
        };
        self.error(setting, is_it, message)
    }

    /// `setting` is a path of keys: those of an array of tables have no number.
    fn error(&self, setting: &str, is_it: impl Fn(&str) -> bool, message: String) -> Option<ConfigError> {
        let table = DeTable::parse(&self.text).ok()?;
        let keys: Vec<&str> = setting.split('.').collect();
        let mut found = Vec::new();
        let (first, below) = keys.split_first()?;
        find(table.get_ref().get(*first)?, below, &mut found);
        let span = found.into_iter().find(|value| value.get_ref().as_str().is_some_and(&is_it))?.span();
        Some(ConfigError::at(&self.text, &self.shown, Fault::new(span, message)))
    }
}

/// All strings at `keys` below `value`, in the order of the text.
fn find<'a>(value: &'a Spanned<DeValue<'a>>, keys: &[&str], found: &mut Vec<&'a Spanned<DeValue<'a>>>) {
    match (value.get_ref(), keys) {
        (DeValue::Array(each), _) => each.iter().for_each(|value| find(value, keys, found)),
        (DeValue::Table(table), [key, below @ ..]) => {
            if let Some(value) = table.get(*key) {
                find(value, below, found);
            }
        }
        (DeValue::String(_), []) => found.push(value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
listen = [\"127.0.0.1:80\",
          \"[::1]:80\"]
[tls]
certificate = \"a.pem\"
key = \"a.key\"
[[tls.also]]
certificate = \"b.pem\"
key = \"/keys/b.key\"
[admin]
listen = \"unix:/run/edge.sock\"
[[stream]]
listen = [\"127.0.0.1:81\"]
[[stream]]
listen = [\"127.0.0.1:82\"]
";

    fn position(error: Option<ConfigError>) -> Option<(usize, usize)> {
        error?.position()
    }

    #[test]
    fn an_error_about_an_address_or_a_file_points_at_it() {
        let places = Places::of(TEXT, Path::new("/etc/edge"), Path::new("edge.toml"));
        for (setting, address, expected) in [
            ("listen", "127.0.0.1:80", Some((1, 11))),
            ("listen", "[::1]:80", Some((2, 11))),
            ("stream.listen", "127.0.0.1:82", Some((14, 11))),
            ("listen", "127.0.0.1:82", None),
            ("listen_tls", "127.0.0.1:80", None),
        ] {
            let error = places.of_address(setting, address.parse().unwrap(), "in use".to_owned());
            assert_eq!(position(error), expected, "{setting} {address}");
        }
        for (setting, file, expected) in [
            ("tls.certificate", "/etc/edge/a.pem", Some((4, 15))),
            ("tls.also.certificate", "/etc/edge/b.pem", Some((7, 15))),
            ("tls.also.key", "/keys/b.key", Some((8, 7))),
            ("tls.certificate", "/etc/edge/b.pem", None),
            ("admin.listen", "/run/edge.sock", Some((10, 10))),
        ] {
            let error = places.of_file(setting, Path::new(file), "not there".to_owned());
            assert_eq!(position(error), expected, "{setting} {file}");
        }
    }
}
