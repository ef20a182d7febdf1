//! Names in the config that no loaded zone knows: they hide, or publish, nothing, and their author does not know.

use super::file::nearest;
use super::{Config, Warning};
use crate::catalog::report::Report;
use crate::name::{self, Name};
use crate::rdata::{self, Role};

/// Warnings for names in the config that hide, or publish, nothing in the zone files of a load.
pub(crate) fn unmatched_in(report: &Report, config: &Config) -> Vec<Warning> {
    let apexes: Vec<&Name> = report.zones.iter().map(|zone| &zone.apex).collect();
    let records =
        || report.zones.iter().filter_map(|zone| zone.zone.as_deref()).flat_map(|zone| &zone.records);
    let is_used = |name: &Name| {
        records().any(|record| {
            let names = rdata::names(record.rtype, &record.rdata);
            let is_named =
                |(_, wire): &(Role, &[u8])| name::is_at_or_under(&wire.to_ascii_lowercase(), name.as_wire());
            record.owner.is_at_or_under(name) || names.iter().any(is_named)
        })
    };
    unmatched(config, &apexes, is_used, || Box::new(records().map(|record| &record.owner)))
}

/// Warnings for `internal_names`, `[internal] zones` and `[public] zones` that match nothing.
///
/// `apexes` are those of all zone files; `is_used` says whether a name, or one below it, is written in any of them;
/// `written` are names that the author may have meant.
fn unmatched<'n>(
    config: &Config,
    apexes: &[&Name],
    is_used: impl Fn(&Name) -> bool,
    written: impl Fn() -> Box<dyn Iterator<Item = &'n Name> + 'n>,
) -> Vec<Warning> {
    let mut found = Vec::new();
    for named in &config.named {
        let is_of_zones = !matches!(named.setting, "internal_names" | "[[steer.pool]] name");
        let is_known = match is_of_zones {
            true => apexes.iter().any(|apex| apex.is_at_or_under(&named.name)),
            false => is_used(&named.name),
        };
        if is_known {
            continue;
        }
        let texts: Vec<String> = match is_of_zones {
            true => apexes.iter().map(|apex| plain(apex)).collect(),
            false => written().take(MOST_COMPARED).map(plain).collect(),
        };
        let name = plain(&named.name);
        let candidates: Vec<&str> = texts.iter().map(String::as_str).collect();
        // A relative name: `lab` for `lab.example.com`.
        let relative = candidates
            .iter()
            .find(|text| text.strip_prefix(&*name).is_some_and(|rest| rest.starts_with('.')));
        let near = relative.copied().or_else(|| nearest(&name, &candidates));
        let what = if is_of_zones { "no zone file is for" } else { "no zone file has a record at or below" };
        found.push(Warning {
            place: named.place.clone(),
            message: format!("`{}` matches nothing: {what} {name}", named.setting),
            help: near.map_or_else(
                || "write the whole name, as in \"lab.example.com\", or remove it".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            ),
        });
    }
    found
}

/// Names that are compared with one that matches nothing.
const MOST_COMPARED: usize = 10_000;

fn plain(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    #[test]
    fn names_that_match_nothing_are_told_with_their_place() {
        let text = "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\ninternal_names = [\"lab.example.com\", \"lba.example.com\", \"lab\", \"quite.other\"]\n\
                    [internal]\nzones = [\"corp.example.net\", \"crop.example.net\"]\n";
        let config = parse(text, Path::new("/"), Path::new("dns.toml")).unwrap();
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        let apexes = [name("example.com"), name("corp.example.net")];
        let written = [name("lab.example.com"), name("www.example.com")];
        let is_used = |name: &Name| written.iter().any(|owner| owner.is_at_or_under(name));
        let found = unmatched(&config, &apexes.each_ref(), is_used, || Box::new(written.iter()));
        let shown: Vec<_> =
            found.iter().map(|it| (it.place.line, it.message.as_str(), it.help.as_str())).collect();
        assert_eq!(
            shown,
            [
                (
                    3,
                    "`internal_names` matches nothing: no zone file has a record at or below lba.example.com",
                    "did you mean \"lab.example.com\"?"
                ),
                (
                    3,
                    "`internal_names` matches nothing: no zone file has a record at or below lab",
                    "did you mean \"lab.example.com\"?"
                ),
                (
                    3,
                    "`internal_names` matches nothing: no zone file has a record at or below quite.other",
                    "write the whole name, as in \"lab.example.com\", or remove it"
                ),
                (
                    5,
                    "`[internal] zones` matches nothing: no zone file is for crop.example.net",
                    "did you mean \"corp.example.net\"?"
                ),
            ]
        );
    }
}
