//! Pools: their checks and rules, each as `[steer]` says unless `[[steer.pool]]` says otherwise.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::{At, invalid, prefixes, within};
use crate::config::file;
use crate::config::{ConfigError, Database, Named, NamedMember, POOL_NAME, Warning};
use crate::steer::geo::{Point, Wanted, by_distance};
use crate::steer::place::{Place, Places};
use crate::steer::rules::{AllDown, Check, MemberRules, Pace, Shed};
use crate::steer::{Rules, Settings};

/// Nothing learns more from checks that come closer.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// More results in a row are another way to switch checks off.
const MOST_RESULTS: u32 = 100;
const HEAVIEST: u32 = 10_000;

/// The settings of `[steer]`.
pub(super) fn steer(
    written: Option<Spanned<file::Steer>>,
    base: &Path,
    at: At<'_>,
) -> Result<(Settings, Option<Database>), ConfigError> {
    let Some(written) = written else { return Ok((Settings::default(), None)) };
    let place = at(written.span());
    let mut written = written.into_inner();
    let pools = std::mem::take(&mut written.pool);
    let subnet_from = prefixes(std::mem::take(&mut written.subnet_from)).into();
    let database = written.database.take();
    let wanted = wanted(&written.place, database.is_some(), at)?;
    let places = Arc::new(places(std::mem::take(&mut written.place), &wanted, at)?);
    let database = database.map(|path| {
        let place = at(path.span());
        Database::new(base.join(path.into_inner()), wanted, place)
    });
    if written.name.is_some() || !written.members.is_empty() {
        let help = "write them in a [[steer.pool]] of their own";
        return Err(invalid(
            place,
            "[steer] holds for every pool, so it has no `name` and no `members`",
            help,
        ));
    }
    let usual_ca = written.ca.as_ref().map(|path| base.join(path));
    let defaults = rules(written, (&Rules::default(), None), (base, &places), at)?;
    let defaults = Arc::new(defaults);
    let mut settings = Settings { defaults, places, subnet_from, ..Settings::default() };
    for written in pools {
        let place = at(written.span());
        let mut written = written.into_inner();
        let Some(name) = written.name.take() else {
            return Err(invalid(place, "this [[steer.pool]] has no name", "add name = \"www.example.com\""));
        };
        let is_global = !written.place.is_empty()
            || !written.subnet_from.is_empty()
            || written.quorum.is_some()
            || written.database.is_some();
        if is_global || !written.pool.is_empty() {
            let message = "a pool has no pools, places, `subnet_from`, database or quorum";
            return Err(invalid(place, message, "write them in [steer], which holds for every pool"));
        }
        let named = name.get_ref().0.clone();
        let usual = (&*settings.defaults, usual_ca.as_ref());
        let rules = rules(written, usual, (base, &settings.places), at)?;
        if settings.pools.insert(named.clone(), Arc::new(rules)).is_some() {
            let message = format!("the pool {named} is in two [[steer.pool]]");
            return Err(invalid(at(name.span()), message, "write one"));
        }
    }
    Ok((settings, database))
}

const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

/// The clients of each place that a database is to know.
fn wanted(
    places: &[Spanned<file::Region>],
    has_database: bool,
    at: At<'_>,
) -> Result<Vec<Wanted>, ConfigError> {
    let is_code =
        |code: &str, length| code.len() == length && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_region = |code: &str| {
        let part = |part: &str| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        code.split_once('-').is_some_and(|(country, rest)| is_code(country, 2) && part(rest))
    };
    let codes = |written: &[Spanned<String>], is_one: &dyn Fn(&str) -> bool, kind: &str, example: &str| {
        let code = |code: &Spanned<String>| match (has_database, is_one(code.get_ref())) {
            (true, true) => Ok(code.get_ref().clone()),
            (true, false) => {
                let message = format!("`{}` is no {kind}", code.get_ref());
                Err(invalid(at(code.span()), message, format!("write a code, as in \"{example}\"")))
            }
            (false, _) => {
                let help = "add database = \"GeoLite2-Country.mmdb\" to [steer]";
                Err(invalid(at(code.span()), "nobody knows where networks are", help))
            }
        };
        written.iter().map(code).collect::<Result<Vec<_>, _>>()
    };
    let place = |place: &Spanned<file::Region>| {
        let written = place.get_ref();
        let point = written.at.as_ref().map(|written| {
            let [latitude, longitude] = *written.get_ref();
            let help = "allowed: latitude and longitude in degrees, as in [50.1, 8.7]";
            Point::new(latitude, longitude)
                .ok_or_else(|| invalid(at(written.span()), "the value is out of range", help))
        });
        Ok(Wanted {
            continents: codes(&written.continents, &|code| CONTINENTS.contains(&code), "continent", "EU")?,
            countries: codes(&written.countries, &|code| is_code(code, 2), "country", "DE")?,
            regions: codes(&written.regions, &is_region, "part of a country", "US-CA")?,
            at: point.transpose()?,
        })
    };
    places.iter().map(place).collect()
}

/// `usual` are the rules and the roots for what is not written here.
fn rules(
    written: file::Steer,
    (usual, usual_ca): (&Rules, Option<&PathBuf>),
    (base, places): (&Path, &Places),
    at: At<'_>,
) -> Result<Rules, ConfigError> {
    let roots = written.ca.map(|path| base.join(path)).or_else(|| usual_ca.cloned());
    let inherited = || usual.check.clone().map(|check| check.with_roots(roots.clone()));
    let check = check(written.check.as_ref(), roots.as_ref(), at)?.or_else(inherited);
    let interval = |span: &super::Span| (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&span.0);
    let results = |results: &u32| (1..=MOST_RESULTS).contains(results);
    let asked = written.timeout.as_ref().map(|timeout| at(timeout.span()));
    let interval = within(written.interval, interval, "100ms to 1h", at)?.map(|span| span.0);
    let timeout = written.timeout.map(|span| span.into_inner().0);
    let interval = interval.unwrap_or(usual.pace.interval);
    let pace = Pace {
        interval,
        timeout: timeout.unwrap_or_else(|| usual.pace.timeout.min(interval)),
        rise: within(written.rise, results, "1 to 100", at)?.unwrap_or(usual.pace.rise),
        fall: within(written.fall, results, "1 to 100", at)?.unwrap_or(usual.pace.fall),
    };
    if let Some(asked) = asked.filter(|_| pace.timeout > pace.interval || pace.timeout.is_zero()) {
        let message = "a check ends before the next one begins";
        return Err(invalid(asked, message, format!("allowed: up to the interval, {:?}", pace.interval)));
    }
    let percent = |percent: &u8| *percent <= 100;
    let count = within(written.count, |count| *count > 0, "at least 1", at)?.or(usual.count);
    let by_rtt = by_rtt(written.nearest, usual.by_rtt, check.as_ref(), at)?;
    Ok(Rules {
        check,
        by_rtt,
        pace,
        count,
        ttl: within(written.ttl, |ttl| (1..=86_400).contains(ttl), "1 to 86400", at)?.or(usual.ttl),
        all_down: match written.all_down {
            None => usual.all_down,
            Some(file::AllDown::All) => AllDown::All,
            Some(file::AllDown::Last) => AllDown::Last,
        },
        panic: within(written.panic, percent, "0 to 100", at)?.unwrap_or(usual.panic),
        shed: shed(written.shed, usual.shed, at)?,
        members: members(written.members, (roots.as_ref(), places), at)?,
    })
}

/// Whether round-trip times say who is near; a check that is written here must measure them.
fn by_rtt(
    written: Option<Spanned<file::Nearest>>,
    usual: bool,
    check: Option<&Check>,
    at: At<'_>,
) -> Result<bool, ConfigError> {
    let Some(written) = written else { return Ok(usual) };
    let wants = *written.get_ref() == file::Nearest::Rtt;
    if wants && !check.is_some_and(Check::connects) {
        let message = "nothing measures round-trip times: there is no check that makes a connection";
        let help = "add a check: check = \"tcp://{address}:443\", http:// or https://";
        return Err(invalid(at(written.span()), message, help));
    }
    Ok(wants)
}

fn check(
    written: Option<&Spanned<String>>,
    roots: Option<&PathBuf>,
    at: At<'_>,
) -> Result<Option<Check>, ConfigError> {
    let parse = |text: &Spanned<String>| {
        let bad = |help| invalid(at(text.span()), format!("`{}` is no check", text.get_ref()), help);
        Check::parse(text.get_ref(), roots.cloned()).map_err(bad)
    };
    written.map(parse).transpose()
}

/// The places of `[[steer.place]]`: each named once, and each prefix in one.
fn places(written: Vec<Spanned<file::Region>>, wanted: &[Wanted], at: At<'_>) -> Result<Places, ConfigError> {
    let mut places: Vec<Place> = Vec::new();
    for region in &written {
        let name = &region.get_ref().name;
        if places.iter().any(|place| place.name == *name.get_ref()) {
            let message = format!("the place `{}` is in two [[steer.place]]", name.get_ref());
            return Err(invalid(at(name.span()), message, "write one"));
        }
        places.push(Place { name: name.get_ref().clone(), near: Vec::new() });
    }
    let mut all: Vec<(IpNet, u16)> = Vec::new();
    for (index, region) in (0_u16..).zip(written) {
        let region = region.into_inner();
        let near = region.near.iter().map(|name| known_place(name, &places, at));
        let mut near: Vec<u16> = near.collect::<Result<_, _>>()?;
        if near.is_empty() {
            near = by_distance(wanted, usize::from(index));
        }
        // A region that nothing is said of is nearest to itself.
        let own = if near.contains(&index) { None } else { Some(index) };
        let near = own.into_iter().chain(near).collect();
        if let Some(place) = places.get_mut(usize::from(index)) {
            place.near = near;
        }
        for client in region.clients {
            let (span, net) = (client.span(), client.into_inner().0);
            if all.iter().any(|(other, _)| *other == net) {
                return Err(invalid(at(span), format!("{net} is in two places"), "leave it in one of them"));
            }
            all.push((net, index));
        }
    }
    Ok(Places::new(places, &all))
}

fn known_place(name: &Spanned<String>, places: &[Place], at: At<'_>) -> Result<u16, ConfigError> {
    let known = (0_u16..).zip(places).find(|(_, place)| place.name == *name.get_ref());
    known.map(|(index, _)| index).ok_or_else(|| {
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let help = match file::nearest(name.get_ref(), &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write a [[steer.place]] with this name".to_owned(),
        };
        invalid(at(name.span()), format!("there is no place `{}`", name.get_ref()), help)
    })
}

/// Percent in the config, thousandths in the rules.
fn shed(written: Option<Spanned<[u16; 2]>>, usual: Shed, at: At<'_>) -> Result<Shed, ConfigError> {
    let is_rising = |[from, to]: &[u16; 2]| from < to && *to <= 100;
    let marks = within(written, is_rising, "two rising numbers up to 100, as in [70, 95]", at)?;
    Ok(marks.map_or(usual, |[from, to]| Shed { from: from * 10, to: to * 10 }))
}

/// The members of a pool: each is named once, or one of two weights would count and nobody knows which.
fn members(
    written: Vec<Spanned<file::Member>>,
    known: (Option<&PathBuf>, &Places),
    at: At<'_>,
) -> Result<Vec<MemberRules>, ConfigError> {
    let mut seen = HashSet::new();
    for written in &written {
        let address = written.get_ref().address;
        if !seen.insert(address) {
            let message = format!("the member {address} is in `members` twice");
            return Err(invalid(at(written.span()), message, "write one"));
        }
    }
    written.into_iter().map(|written| member(written, known, at)).collect()
}

fn member(
    written: Spanned<file::Member>,
    (roots, places): (Option<&PathBuf>, &Places),
    at: At<'_>,
) -> Result<MemberRules, ConfigError> {
    let written = written.into_inner();
    let plain = MemberRules::of(written.address);
    let weight = within(written.weight, |weight| *weight <= HEAVIEST, "0 to 10000", at)?;
    Ok(MemberRules {
        weight: weight.unwrap_or(plain.weight),
        priority: written.priority.unwrap_or(plain.priority),
        check_address: written.check_address,
        check: check(written.check.as_ref(), roots, at)?,
        place: written.place.as_ref().map(|name| known_place(name, places.all(), at)).transpose()?,
        drain: written.drain,
        ..plain
    })
}

/// Warnings for checks over HTTPS that any certificate passes.
pub(super) fn unproved(written: Option<&Spanned<file::Steer>>, at: At<'_>) -> Vec<Warning> {
    let Some(steer) = written.map(Spanned::get_ref) else { return Vec::new() };
    let pools = steer.pool.iter().map(Spanned::get_ref).filter(|pool| pool.ca.is_none());
    let of_pool = |pool: &'_ file::Steer| {
        let members = pool.members.iter().filter_map(|member| member.get_ref().check.as_ref());
        pool.check.iter().chain(members).cloned().collect::<Vec<_>>()
    };
    let checks = std::iter::once(steer).chain(pools).filter(|_| steer.ca.is_none()).flat_map(of_pool);
    let warning = |check: Spanned<String>| Warning {
        place: at(check.span()),
        message: "nothing proves who answers this check: any certificate is believed".to_owned(),
        help: "add ca = \"edges.pem\", the roots of the members' certificates, to [steer] or to the pool"
            .to_owned(),
    };
    checks.filter(|check| check.get_ref().starts_with("https://")).map(warning).collect()
}

/// The pools that are named, with their places.
pub(super) fn named(written: Option<&Spanned<file::Steer>>, at: At<'_>) -> Vec<Named> {
    let pools = written.into_iter().flat_map(|steer| &steer.get_ref().pool);
    let names = pools.filter_map(|pool| pool.get_ref().name.as_ref());
    let named = |name: &Spanned<file::DomainName>| Named {
        setting: POOL_NAME,
        name: name.get_ref().0.clone(),
        place: at(name.span()),
    };
    names.map(named).collect()
}

/// The members that pools name, with their places.
pub(super) fn named_members(written: Option<&Spanned<file::Steer>>, at: At<'_>) -> Vec<NamedMember> {
    let pools = written.into_iter().flat_map(|steer| &steer.get_ref().pool);
    let of_pool = |pool: &Spanned<file::Steer>| {
        let Some(name) = &pool.get_ref().name else { return Vec::new() };
        let member = |member: &Spanned<file::Member>| NamedMember {
            pool: name.get_ref().0.clone(),
            address: member.get_ref().address,
            place: at(member.span()),
        };
        pool.get_ref().members.iter().map(member).collect()
    };
    pools.flat_map(of_pool).collect()
}
