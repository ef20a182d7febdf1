//! A config as it was written, to tell what another one changes. Pure.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

/// Every setting that a config has, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `limits.drain` or `site www.example.com: default_ttl`.
    pub setting: String,
    /// None: it was not written.
    pub from: Option<String>,
    /// None: it is not written any more.
    pub to: Option<String>,
}

impl Change {
    /// Whether only a restart brings it about: the store's own, the shape of the log, and a name that others know.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        AT_START.contains(&self.setting.as_str())
    }
}

/// Settings that are read at the start only.
const AT_START: &[&str] = &[
    "name",
    "run_folder",
    "cache.memory",
    "cache.memory_target",
    "cache.eviction",
    "cache.tag_fields",
    "cache.disk",
    "log.format",
];

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not written)".to_owned());
        write!(f, "{}: {} → {}", self.setting, shown(&self.from), shown(&self.to))
    }
}

impl Written {
    /// Of a config's text; nothing if it is no TOML.
    pub(super) fn of(text: &str) -> Self {
        let mut settings = BTreeMap::new();
        if let Ok(table) = text.parse::<Table>() {
            flatten(&table, "", &mut settings);
        }
        Self(settings)
    }

    /// Counts these changes as made.
    pub(crate) fn take_in(&mut self, changes: &[Change]) {
        for Change { setting, to, .. } in changes {
            match to {
                Some(value) => drop(self.0.insert(setting.clone(), value.clone())),
                None => drop(self.0.remove(setting)),
            }
        }
    }

    /// The settings that differ in `newer`, in their order.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(newer.0.keys()).collect();
        let of = |setting: &String| Change {
            setting: setting.clone(),
            from: self.0.get(setting).cloned(),
            to: newer.0.get(setting).cloned(),
        };
        names.into_iter().map(of).filter(|change| change.from != change.to).collect()
    }
}

fn flatten(table: &Table, above: &str, settings: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = format!("{above}{key}");
        match value {
            // An empty section says nothing, but for [admin] and [guard], which are on then.
            Value::Table(table) if !table.is_empty() || !["admin", "guard"].contains(&name.as_str()) => {
                flatten(table, &format!("{name}."), settings)
            }
            Value::Array(tables) if !tables.is_empty() && tables.iter().all(Value::is_table) => {
                for (index, table) in tables.iter().filter_map(Value::as_table).enumerate() {
                    flatten(table, &format!("{name} {}: ", title(table, index)), settings);
                }
            }
            value => drop(settings.insert(name, value.to_string())),
        }
    }
}

/// A site goes by its first host and a route by its first path, as in logs; others by their number.
fn title(table: &Table, index: usize) -> String {
    let first = |key: &str| table.get(key)?.as_array()?.first()?.as_str();
    let host = first("hosts").map(str::to_ascii_lowercase);
    host.or_else(|| first("paths").map(str::to_owned)).unwrap_or_else(|| (index + 1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "listen = [\"127.0.0.1:1\"]\n[limits]\ndrain = \"5s\"\n[[site]]\nhosts = [\"a.test\"]\n\
                       origins = [\"http://o\"]\n[[site.ttl]]\nttl = \"1s\"\n";

    fn check(from: &str, to: &str, expected: &[&str], restart: bool) {
        assert!(OLD.contains(from), "{from}");
        let changes = Written::of(OLD).changes(&Written::of(&OLD.replace(from, to)));
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        assert_eq!(changes.iter().any(Change::needs_restart), restart, "{expected:?}");
    }

    #[test]
    fn what_differs_is_told_in_the_configs_own_words() {
        check("5s", "5s", &[], false);
        check("5s", "6s", &["limits.drain: \"5s\" → \"6s\""], false);
        check("drain = \"5s\"", "", &["limits.drain: \"5s\" → (not written)"], false);
        check("1s", "2s", &["site a.test: ttl 1: ttl: \"1s\" → \"2s\""], false);
        let route = "1s\"\n[[site.route]]\npaths = [\"/A/*\"]";
        check("1s\"", route, &["site a.test: route /A/*: paths: (not written) → [\"/A/*\"]"], false);
        let added = "[[site]]\nhosts = [\"b.test\"]\norigins = [\"http://p\"]\n[[site]]";
        let lines = [
            "site b.test: hosts: (not written) → [\"b.test\"]",
            "site b.test: origins: (not written) → [\"http://p\"]",
        ];
        check("[[site]]", added, &lines, false);
        check("127.0.0.1:1", "127.0.0.1:2", &["listen: [\"127.0.0.1:1\"] → [\"127.0.0.1:2\"]"], false);
        check(
            "[limits]",
            "[log]\nformat = \"json\"\n[limits]",
            &["log.format: (not written) → \"json\""],
            true,
        );
        check(
            "[limits]",
            "[admin]\n[cache]\nmemory = \"1GiB\"\n[limits]",
            &["admin: (not written) → {}", "cache.memory: (not written) → \"1GiB\""],
            true,
        );
    }
}
