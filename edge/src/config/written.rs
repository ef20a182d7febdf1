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

/// Settings of the whole edge that say what becomes of a site's requests. None of those of the start: after a reload
/// others are in force than the config has.
const SHARED: &[&str] = &[
    "cache.max_object",
    "limits.fields",
    "limits.head_size",
    "limits.target_size",
    "title_case",
    "trusted_proxies",
];

/// Sections in which a route's settings count beside its site's, and not instead.
const ADDED_TO: &[&str] = &["request", "response"];

/// Settings that an explanation of a request has lines of its own for.
const TOLD_APART: &[&str] = &["hosts", "origins", "paths", "origin_path"];

/// The first part of a setting's name: `ttl` of `ttl 1: path`.
fn top(name: &str) -> &str {
    name.split(['.', ' ', ':']).next().unwrap_or(name)
}

fn line(name: &str, value: &str) -> String {
    let is_field = name.starts_with("request.set.") || name.starts_with("response.set.");
    if is_field { name.to_owned() } else { format!("{name} = {value}") }
}

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

    /// The value of a setting, as it is written.
    pub(super) fn get(&self, setting: &str) -> Option<&str> {
        self.0.get(setting).map(String::as_str)
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

    /// The settings by which a site answers, in its own words: those of the route if there is one, then those of the site
    /// that the route has none of its own for, then what all sites share. The values of fields that a site sets are left
    /// out: they may be secrets.
    pub(super) fn of_site(&self, site: &str, route: Option<&str>) -> Vec<String> {
        let below = |above: String| {
            let settings =
                self.0.range(above.clone()..).take_while(move |(name, _)| name.starts_with(&above));
            settings.map(|(name, value)| (name, value.as_str()))
        };
        let site = format!("site {site}: ");
        let of_route = route.map(|route| format!("{site}route {route}: "));
        let cut = |above: &str, name: &String| name[above.len()..].to_owned();
        let own: Vec<(String, &str)> = of_route
            .iter()
            .flat_map(|above| below(above.clone()).map(|(name, value)| (cut(above, name), value)))
            .collect();
        let is_own = |name: &str| {
            let adds = ADDED_TO.contains(&top(name));
            !adds && own.iter().any(|(other, _)| top(other) == top(name))
        };
        let of_site = below(site.clone()).map(|(name, value)| (cut(&site, name), value));
        let of_site = of_site.filter(|(name, _)| top(name) != "route" && !is_own(name));
        let shared = SHARED.iter().filter_map(|name| Some(((*name).to_owned(), self.0.get(*name)?.as_str())));
        let told = own.iter().cloned().chain(of_site).chain(shared);
        told.filter(|(name, _)| !TOLD_APART.contains(&top(name)))
            .map(|(name, value)| line(&name, value))
            .collect()
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
    let host = first("hosts").map(|host| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase());
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
    fn a_part_of_a_site_has_its_own_settings_and_those_of_the_site_that_it_has_none_for() {
        let text = "title_case = true\n[limits]\nfields = 200\ndrain = \"5s\"\n\
            [[site]]\nhosts = [\"A.test.\", \"b.test\"]\norigins = [\"http://o\"]\ndefault_ttl = \"1m\"\n\
            drop_cookies = [\"_ga*\"]\n[[site.ttl]]\nttl = \"1s\"\n[site.key]\nquery = \"none\"\n\
            [site.request]\nset = { authorization = \"secret\" }\nremove = [\"dnt\"]\n\
            [[site.route]]\npaths = [\"/api/*\", \"/v1/*\"]\ndefault_ttl = \"2m\"\n[[site.route.ttl]]\npath = \"*.js\"\n\
            ttl = \"2s\"\n[site.route.request]\nset = { x-r = \"1\" }\n[[site]]\nhosts = [\"c.test\"]\nmax_ttl = \"1h\"\n";
        let check = |site, route, expected: &[&str]| {
            assert_eq!(Written::of(text).of_site(site, route), expected, "{site} {route:?}");
        };
        let shared = ["limits.fields = 200", "title_case = true"];
        let set = ["request.remove = [\"dnt\"]", "request.set.authorization"];
        let cookies = "drop_cookies = [\"_ga*\"]";
        let own =
            ["default_ttl = \"1m\"", cookies, "key.query = \"none\"", set[0], set[1], "ttl 1: ttl = \"1s\""];
        check("a.test", None, &[&own[..], &shared].concat());
        let api =
            ["default_ttl = \"2m\"", "request.set.x-r", "ttl 1: path = \"*.js\"", "ttl 1: ttl = \"2s\""];
        let rest = [cookies, "key.query = \"none\"", set[0], set[1]];
        check("a.test", Some("/api/*"), &[&api[..], &rest, &shared].concat());
        check("c.test", None, &[&["max_ttl = \"1h\""][..], &shared].concat());
        check("none.test", None, &shared);
    }

    #[test]
    fn an_explanation_has_no_setting_that_a_reload_leaves_as_it_was() {
        for name in SHARED {
            assert!(!AT_START.contains(name), "{name}");
        }
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
