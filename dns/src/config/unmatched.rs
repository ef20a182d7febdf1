//! Names in the config that no loaded zone knows: they hide, or publish, nothing, and their author does not know. Nor does the
//! author of a pool whose name has no addresses, or of a member that no record has.

use std::net::IpAddr;

use super::file::nearest;
use super::{Config, Named, POOL_NAME, Warning};
use crate::catalog::report::Report;
use crate::name::{self, Name};
use crate::rdata::{self, Role};
use crate::rtype::Type;
use crate::steer::marks::Covers;
use crate::zone::hash::HashMap;
use crate::zone::{Record, Zone};

/// Warnings for names in the config that hide, publish or steer nothing in the zone files of a load.
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
    let mut found = unmatched(config, &apexes, is_used, || Box::new(records().map(|record| &record.owner)));
    let zones: Vec<&Zone> = report.zones.iter().filter_map(|zone| zone.zone.as_deref()).collect();
    let is_told = |named: &Named| found.iter().any(|warning| warning.place == named.place);
    let pools: Vec<&Named> =
        config.named.iter().filter(|named| named.setting == POOL_NAME && !is_told(named)).collect();
    found.extend(unsteered(config, &pools, &zones));
    found
}

/// Warnings for pools whose name has no addresses, and for members that no record has.
fn unsteered(config: &Config, pools: &[&Named], zones: &[&Zone]) -> Vec<Warning> {
    let written = written(pools, zones);
    let mut found = Vec::new();
    for pool in pools {
        let Some(written) = written.get(&pool.name) else { continue };
        let (name, place) = (plain(&pool.name), pool.place.clone());
        if let Some((cover, rtype)) = &written.cover {
            let message = format!(
                "`{POOL_NAME}` steers nothing: {name} lies below the {} of {}",
                if *rtype == Type::NS { "delegation" } else { "DNAME" },
                plain(cover)
            );
            let help = "name the owner of records that answers give, or remove the pool".to_owned();
            found.push(Warning { place, message, help });
            continue;
        }
        if !written.addresses.is_empty() {
            continue;
        }
        let help = match &written.alias {
            Some(target) => {
                format!("it is an alias (CNAME): name the owner of the addresses, \"{}\"", plain(target))
            }
            None => "write A or AAAA records, or remove the pool".to_owned(),
        };
        let message = format!("`{POOL_NAME}` steers nothing: {name} owns no address RRset");
        found.push(Warning { place, message, help });
    }
    for member in &config.named_members {
        let (pool, address) = (&member.pool, member.address);
        let Some(Written { addresses, .. }) = written.get(pool) else { continue };
        if addresses.is_empty() || addresses.contains(&address) {
            continue;
        }
        let some: Vec<String> = addresses.iter().take(MOST_SHOWN).map(ToString::to_string).collect();
        let more = if addresses.len() > MOST_SHOWN { ", …" } else { "" };
        found.push(Warning {
            place: member.place.clone(),
            message: format!("this member says nothing: no A/AAAA record of {} has {address}", plain(pool)),
            help: format!("its addresses: {}{more}", some.join(", ")),
        });
    }
    found
}

/// Addresses of a pool that a warning shows.
const MOST_SHOWN: usize = 8;

/// The records at the name of a pool that a zone in service has, as far as they say where it leads.
#[derive(Default)]
struct Written {
    addresses: Vec<IpAddr>,
    alias: Option<Name>,
    /// The cut or DNAME that takes the name out of the zone.
    cover: Option<(Name, Type)>,
}

/// By the name of the pool, if its zone is there: the closest one at or above it.
fn written<'p>(pools: &[&'p Named], zones: &[&Zone]) -> HashMap<&'p Name, Written> {
    let apexes: HashMap<&Name, usize> = zones.iter().enumerate().map(|(at, zone)| (&zone.apex, at)).collect();
    let zone_of = |name: &Name| {
        let mut above = std::iter::successors(Some(name.clone()), Name::parent);
        above.find_map(|name| apexes.get(&name).copied())
    };
    let homes = pools.iter().filter_map(|pool| Some((&pool.name, zone_of(&pool.name)?)));
    let homes: HashMap<&Name, usize> = homes.collect();
    let mut found: HashMap<&Name, Written> = homes.keys().map(|name| (*name, Written::default())).collect();
    for (at, zone) in zones.iter().enumerate() {
        let here: Vec<&&Name> = homes.iter().filter(|(_, home)| **home == at).map(|(name, _)| name).collect();
        if here.is_empty() {
            continue;
        }
        let covers = Covers::of(zone, here.iter().map(|name| **name));
        for name in here {
            let cover = covers.over(name).map(|(owner, rtype)| (owner.clone(), rtype));
            found.entry(name).or_default().cover = cover;
        }
        for record in zone.records.iter().filter(|record| homes.get(&record.owner) == Some(&at)) {
            if let Some(written) = found.get_mut(&record.owner) {
                written.note(record);
            }
        }
    }
    found
}

impl Written {
    fn note(&mut self, record: &Record) {
        let rdata: &[u8] = &record.rdata;
        match record.rtype {
            Type::A => self.addresses.extend(rdata.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes))),
            Type::AAAA => self.addresses.extend(rdata.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes))),
            Type::CNAME => self.alias = Name::from_wire(rdata).ok(),
            _ => {}
        }
    }
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
        let is_of_zones = !matches!(named.setting, "internal_names" | POOL_NAME);
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
    use crate::zone::tree::testing::{name, records};

    #[test]
    fn names_that_match_nothing_are_told_with_their_place() {
        let text = "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\ninternal_names = [\"lab.example.com\", \"lba.example.com\", \"lab\", \"quite.other\"]\n\
                    [internal]\nzones = [\"corp.example.net\", \"crop.example.net\"]\n";
        let config = parse(text, Path::new("/"), Path::new("dns.toml")).unwrap();
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

    #[test]
    fn pools_without_addresses_and_members_that_no_record_has_are_told_with_their_place() {
        let text = "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\n\
                    [[steer.pool]]\nname = \"www.ex\"\nmembers = [{ address = \"192.0.2.1\" }, { address = \"192.0.2.9\" }]\n\
                    [[steer.pool]]\nname = \"alias.ex\"\nmembers = [{ address = \"192.0.2.1\" }]\n\
                    [[steer.pool]]\nname = \"mail.ex\"\n\
                    [[steer.pool]]\nname = \"www.sub.ex\"\nmembers = [{ address = \"2001:db8::1\" }]\n\
                    [[steer.pool]]\nname = \"www.elsewhere\"\nmembers = [{ address = \"192.0.2.1\" }]\n\
                    [[steer.pool]]\nname = \"ns.cut.ex\"\n[[steer.pool]]\nname = \"*.wild.ex\"\n";
        let config = parse(text, Path::new("/"), Path::new("dns.toml")).unwrap();
        let zone = |apex: &str, text: &str| Zone::new(name(apex), records(apex, text), Vec::new());
        let above = "www A 192.0.2.1\nwww A 192.0.2.2\nalias CNAME www\nmail MX 10 www\nwww.sub A 192.0.2.7\n\
                     cut NS ns.cut\nns.cut A 192.0.2.8\n*.wild A 192.0.2.9";
        let zones = [zone("ex.", above), zone("sub.ex.", "www AAAA 2001:db8::1")];
        let pools: Vec<&Named> = config.named.iter().collect();
        let found = unsteered(&config, &pools, &zones.each_ref());
        let shown: Vec<_> = found
            .iter()
            .map(|it| (it.place.line, it.place.column, it.message.as_str(), it.help.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    7,
                    8,
                    "`[[steer.pool]] name` steers nothing: alias.ex owns no address RRset",
                    "it is an alias (CNAME): name the owner of the addresses, \"www.ex\""
                ),
                (
                    10,
                    8,
                    "`[[steer.pool]] name` steers nothing: mail.ex owns no address RRset",
                    "write A or AAAA records, or remove the pool"
                ),
                (
                    18,
                    8,
                    "`[[steer.pool]] name` steers nothing: ns.cut.ex lies below the delegation of cut.ex",
                    "name the owner of records that answers give, or remove the pool"
                ),
                (
                    5,
                    39,
                    "this member says nothing: no A/AAAA record of www.ex has 192.0.2.9",
                    "its addresses: 192.0.2.1, 192.0.2.2"
                ),
            ]
        );
    }
}
