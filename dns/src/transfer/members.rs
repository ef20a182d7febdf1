//! Catalog zones of others (RFC 9432 §5): which zones they name, and which of those are taken.
//!
//! A zone belongs to the catalog that named it first. Another one gets it only if the first says so (change of ownership, §4.3.2).
//! A version that takes away more zones than the operator allows is obeyed as far as it adds some; what it would remove stays
//! until the operator lets it go.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::name::Name;
use crate::rtype::Type;
use crate::zone::Record;

/// A zone that a catalog names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The zone.
    pub zone: Name,
    /// Its label in the catalog: another one says that it is another zone of the same name (§5.4).
    pub id: Box<[u8]>,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// The catalog that may take it over.
    pub next: Option<Name>,
}

/// A zone that is taken because a catalog names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The catalog that it belongs to.
    pub catalog: Name,
    /// The catalog's entry for it.
    pub member: Member,
}

/// A catalog, as the config and its primary have it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The catalog.
    pub catalog: Name,
    /// Zones that one version may take away without being let.
    pub most_removed: usize,
    /// Its zones; none if no version that makes sense is here, and then all stays as it is.
    pub members: Option<Vec<Member>>,
}

/// Why a zone of a catalog is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// It is this server's own.
    Own,
    /// It is another catalog's.
    Of(Name),
}

/// The result for all catalogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The zones that are taken, by name.
    pub owned: Vec<Owned>,
    /// Zones of which nothing may be kept: they are gone, or others of the same name.
    pub forgotten: Vec<Name>,
    /// How many zones a catalog would take away, or take anew, that are kept.
    pub waiting: HashMap<Name, usize>,
    /// Zones that are not taken: the zone, the catalog that names it, and why.
    pub clashes: Vec<(Name, Name, Clash)>,
}

/// Why a zone is no catalog (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Its version is not 2, or it has none.
    Version,
    /// An entry does not name exactly one zone.
    Entry,
    /// A zone is named twice.
    Twice,
    /// It names more zones than are taken.
    TooMany,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => {
                f.write_str("it does not say that it is a catalog of version 2 (version TXT \"2\")")
            }
            Self::Entry => f.write_str("an entry has not exactly one PTR, or that is no name"),
            Self::Twice => f.write_str("it names a zone twice"),
            Self::TooMany => write!(f, "it names more than {MOST_MEMBERS} zones"),
        }
    }
}

/// Zones of one catalog; each has a task.
const MOST_MEMBERS: usize = 100_000;
/// Groups of one zone, and bytes of a group's name, that are looked at.
const MOST_GROUPS: usize = 16;

/// The zones that a catalog names.
pub fn read(catalog: &Name, records: &[Record]) -> Result<Vec<Member>, Broken> {
    let version = catalog.child(b"version").ok_or(Broken::Version)?;
    let mut versions = records.iter().filter(|record| record.rtype == Type::TXT && record.owner == version);
    match (versions.next(), versions.next()) {
        (Some(version), None) if *version.rdata == *b"\x012" => {}
        _ => return Err(Broken::Version),
    }
    let zones = catalog.child(b"zones").ok_or(Broken::Entry)?;
    let mut found: HashMap<Name, Entry> = HashMap::new();
    for record in records {
        let Some(parent) = record.owner.parent() else { continue };
        if record.rtype == Type::PTR && parent == zones {
            let entry = found.entry(record.owner.clone()).or_default();
            let zone = Name::from_wire(&record.rdata).map_err(|_| Broken::Entry)?;
            if entry.zone.replace(zone).is_some() {
                return Err(Broken::Entry);
            }
        } else if parent.parent().as_ref() == Some(&zones) {
            found.entry(parent).or_default().property(record);
        }
        if found.len() > MOST_MEMBERS {
            return Err(Broken::TooMany);
        }
    }
    let mut seen = HashSet::new();
    // A property without a zone is nothing.
    let members = found.into_iter().filter_map(|(node, entry)| entry.member(&node));
    let mut members: Vec<Member> = members.collect();
    if !members.iter().all(|member| seen.insert(&member.zone)) {
        return Err(Broken::Twice);
    }
    members.sort_unstable_by(|a, b| a.zone.canonical_cmp(&b.zone));
    Ok(members)
}

#[derive(Default)]
struct Entry {
    zone: Option<Name>,
    groups: Vec<String>,
    next: Option<Name>,
}

impl Entry {
    fn property(&mut self, record: &Record) {
        match (record.owner.labels().next(), record.rtype) {
            (Some(b"group"), Type::TXT) if self.groups.len() < MOST_GROUPS => {
                // One string is a group; more than one are none that is known here.
                let text = record.rdata.split_first().filter(|(len, rest)| usize::from(**len) == rest.len());
                let text = text.and_then(|(_, rest)| std::str::from_utf8(rest).ok());
                self.groups.extend(text.map(str::to_owned));
                self.groups.sort_unstable();
            }
            (Some(b"coo"), Type::PTR) => self.next = Name::from_wire(&record.rdata).ok(),
            _ => {}
        }
    }

    fn member(self, node: &Name) -> Option<Member> {
        let id = node.labels().next()?.into();
        Some(Member { zone: self.zone?, id, groups: self.groups, next: self.next })
    }
}

/// Which zones are taken now. `before` are those of before; `is_own` are this server's without any catalog; with `allows`, what
/// waits to be removed goes.
pub fn settle(before: &[Owned], offers: &[Offer], is_own: impl Fn(&Name) -> bool, allows: bool) -> Settled {
    let mut settled = Settled::default();
    let mut owners: HashMap<&Name, &Owned> = HashMap::new();
    for owned in before {
        let offer = offers.iter().find(|offer| offer.catalog == owned.catalog);
        if offer.is_some() && !is_own(&owned.member.zone) {
            owners.insert(&owned.member.zone, owned);
        }
    }
    let entries = Entries::of(offers);
    let mut taken: HashMap<Name, Owned> = HashMap::new();
    for offer in offers {
        let Some(members) = &offer.members else { continue };
        for member in members {
            let owner = owners.get(&member.zone).map(|owned| &owned.catalog);
            let other = owner.filter(|owner| {
                **owner != offer.catalog && !entries.hand_over(owner, &member.zone, &offer.catalog)
            });
            let clash = match other {
                _ if is_own(&member.zone) => Some(Clash::Own),
                Some(other) => Some(Clash::Of(other.clone())),
                // Of two new ones the first has it, unless it is handed over to the second.
                None => taken
                    .get(&member.zone)
                    .filter(|first| first.member.next.as_ref() != Some(&offer.catalog))
                    .map(|first| Clash::Of(first.catalog.clone())),
            };
            match clash {
                Some(clash) => settled.clashes.push((member.zone.clone(), offer.catalog.clone(), clash)),
                None => {
                    let owned = Owned { catalog: offer.catalog.clone(), member: member.clone() };
                    taken.insert(member.zone.clone(), owned);
                }
            }
        }
    }
    for offer in offers {
        let own = owners.values().filter(|owned| owned.catalog == offer.catalog);
        // Under another label nothing of a zone stays either (§5.6).
        let is_gone = |owned: &&&Owned| {
            taken.get(&owned.member.zone).is_none_or(|now| now.member.id != owned.member.id)
        };
        let gone: Vec<&&Owned> = own.filter(is_gone).collect();
        let is_held = offer.members.is_none() || gone.len() > offer.most_removed && !allows;
        if is_held {
            if offer.members.is_some() {
                settled.waiting.insert(offer.catalog.clone(), gone.len());
            }
            taken.extend(gone.into_iter().map(|owned| (owned.member.zone.clone(), (*owned).clone())));
        }
    }
    let is_kept =
        |owned: &&Owned| taken.get(&owned.member.zone).is_some_and(|now| now.member.id == owned.member.id);
    settled.forgotten =
        before.iter().filter(|owned| !is_kept(owned)).map(|owned| owned.member.zone.clone()).collect();
    settled.owned = taken.into_values().collect();
    settled.owned.sort_unstable_by(|a, b| a.member.zone.canonical_cmp(&b.member.zone));
    settled
}

/// The zones that catalogs hand over, by catalog and zone: with those that clash, there may be a hundred thousand to look up.
struct Entries<'o>(HashMap<(&'o Name, &'o Name), &'o Name>);

impl<'o> Entries<'o> {
    fn of(offers: &'o [Offer]) -> Self {
        let all =
            offers.iter().flat_map(|offer| offer.members.iter().flatten().map(|it| (&offer.catalog, it)));
        let next = |(catalog, it): (&'o Name, &'o Member)| Some(((catalog, &it.zone), it.next.as_ref()?));
        Self(all.filter_map(next).collect())
    }

    /// Whether the catalog that has the zone says that `to` may take it over.
    fn hand_over(&self, owner: &Name, zone: &Name, to: &Name) -> bool {
        self.0.get(&(owner, zone)).is_some_and(|next| *next == to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tree::testing::{name, records};

    const HEAD: &str = "@ SOA invalid. invalid. 1 2 3 4 5\n@ NS invalid.\nversion TXT \"2\"\n";

    #[test]
    fn a_catalog_says_what_rfc_9432_lets_it_say() {
        for (text, expected) in [
            ("", Ok(vec![])),
            ("1.zones PTR a.ex.", Ok(vec!["a.ex. 1 [] -"])),
            ("1.zones PTR a.ex.\n2.zones PTR b.ex.", Ok(vec!["a.ex. 1 [] -", "b.ex. 2 [] -"])),
            (
                "1.zones PTR a.ex.\ngroup.1.zones TXT g\ngroup.1.zones TXT f",
                Ok(vec!["a.ex. 1 [\"f\", \"g\"] -"]),
            ),
            ("1.zones PTR a.ex.\ngroup.1.zones TXT two strings", Ok(vec!["a.ex. 1 [] -"])),
            ("1.zones PTR a.ex.\ncoo.1.zones PTR other.", Ok(vec!["a.ex. 1 [] other."])),
            ("1.zones PTR a.ex.\nserial.ext.1.zones TXT 9", Ok(vec!["a.ex. 1 [] -"])),
            ("group.1.zones TXT g", Ok(vec![])),
            ("1.zones PTR a.ex.\n1.zones PTR b.ex.", Err(Broken::Entry)),
            ("1.zones PTR a.ex.\n2.zones PTR A.ex.", Err(Broken::Twice)),
            ("version TXT \"1\"", Err(Broken::Version)),
        ] {
            let found = read(&name("cat"), &records("cat", &format!("{HEAD}{text}")));
            let shown = |member: &Member| {
                let id = String::from_utf8_lossy(&member.id).into_owned();
                let next = member.next.as_ref().map_or("-".to_owned(), ToString::to_string);
                format!("{} {id} {:?} {next}", member.zone, member.groups)
            };
            let found = found.map(|members| members.iter().map(shown).collect::<Vec<_>>());
            assert_eq!(found, expected.map(|it| it.into_iter().map(str::to_owned).collect()), "{text}");
        }
        let none = records("cat", "@ SOA invalid. invalid. 1 2 3 4 5\n1.zones PTR a.ex.");
        assert_eq!(read(&name("cat"), &none), Err(Broken::Version));
    }

    /// `zone/id`, and `>catalog` behind it if it is handed over.
    fn member(text: &str) -> Member {
        let (text, next) = text.split_once('>').map_or((text, None), |(text, next)| (text, Some(name(next))));
        let (zone, id) = text.split_once('/').unwrap();
        Member { zone: name(zone), id: id.as_bytes().into(), groups: Vec::new(), next }
    }

    /// `catalog: members`, or `catalog: ?` if nothing good is known of it.
    fn offers(texts: &[&str]) -> Vec<Offer> {
        let offer = |text: &&str| {
            let (catalog, members) = text.split_once(": ").unwrap();
            let members = (members != "?")
                .then(|| members.split(' ').filter(|it| !it.is_empty()).map(member).collect());
            Offer { catalog: name(catalog), most_removed: 1, members }
        };
        texts.iter().map(offer).collect()
    }

    /// The zones taken after `then`, with the catalog that has each, and the zones forgotten, from those taken after `first`.
    fn check(first: &[&str], then: &[&str], allows: bool, expected: &str) {
        let is_own = |zone: &Name| *zone == name("own");
        let before = settle(&[], &offers(first), is_own, false);
        assert!(before.waiting.is_empty() && before.forgotten.is_empty());
        let after = settle(&before.owned, &offers(then), is_own, allows);
        let owned = after.owned.iter().map(|it| format!("{}={}", it.member.zone, it.catalog));
        let gone = after.forgotten.iter().map(|zone| format!("-{zone}"));
        let mut waits: Vec<String> =
            after.waiting.iter().map(|(catalog, count)| format!("{catalog}waits{count}")).collect();
        waits.sort_unstable();
        let mut found: Vec<String> = owned.chain(gone).collect();
        found.extend(waits);
        assert_eq!(found.join(" "), expected, "{first:?} {then:?} {allows}");
    }

    #[test]
    fn a_zone_is_the_catalogs_that_named_it_first_until_that_hands_it_over() {
        check(&["c: a/1"], &["c: a/1"], false, "a.=c.");
        check(&["c: a/1"], &["c: a/1 b/2"], false, "a.=c. b.=c.");
        check(&["c: a/1"], &["c: a/2"], false, "a.=c. -a.");
        check(&["c: a/1"], &["c: own/2 a/1"], false, "a.=c.");
        check(&["c: a/1", "d: "], &["c: a/1", "d: a/1"], false, "a.=c.");
        check(&["c: ", "d: a/1"], &["c: a/1", "d: a/1"], false, "a.=d.");
        check(&["c: a/1", "d: "], &["c: a/1>d", "d: a/1"], false, "a.=d.");
        check(&["c: a/1", "d: "], &["c: a/1>d", "d: a/2"], false, "a.=d. -a.");
        check(&["c: a/1", "d: "], &["c: a/1>e", "d: a/1"], false, "a.=c.");
        check(&["c: a/1>d", "d: a/1"], &["c: ", "d: a/1"], false, "a.=d.");
        check(&["c: ", "d: "], &["c: a/1", "d: a/1"], false, "a.=c.");
    }

    /// Two catalogs that name the same hundred thousand zones: with a search for each, this took minutes.
    #[test]
    fn catalogs_that_clash_everywhere_are_settled_all_the_same() {
        let zones = (0..100_000).map(|at| format!("z{at}/{at}"));
        let members: Vec<Member> = zones.map(|text| member(&text)).collect();
        let offer =
            |catalog: &str| Offer { catalog: name(catalog), most_removed: 1, members: Some(members.clone()) };
        let first = settle(&[], &[offer("c")], |_| false, false);
        let then = settle(&first.owned, &[offer("c"), offer("d")], |_| false, false);
        assert_eq!((then.owned.len(), then.clashes.len()), (100_000, 100_000));
        assert!(
            then.clashes
                .iter()
                .all(|(_, catalog, clash)| { (catalog, clash) == (&name("d"), &Clash::Of(name("c"))) })
        );
    }

    #[test]
    fn a_version_takes_away_no_more_zones_at_once_than_it_may() {
        check(&["c: a/1 b/2 e/3"], &["c: b/2 e/3"], false, "b.=c. e.=c. -a.");
        check(&["c: a/1 b/2"], &["c: f/9"], false, "a.=c. b.=c. f.=c. c.waits2");
        check(&["c: a/1 b/2"], &["c: f/9"], true, "f.=c. -a. -b.");
        check(&["c: a/1 b/2"], &["c: ?"], true, "a.=c. b.=c.");
        // All begin anew: their copies would be gone until they have come again.
        check(&["c: a/1 b/2"], &["c: a/3 b/4"], false, "a.=c. b.=c. c.waits2");
        check(&["c: a/1 b/2"], &["c: a/3 b/4"], true, "a.=c. b.=c. -a. -b.");
        check(&["c: a/1 b/2"], &["c: a/3 b/2"], false, "a.=c. b.=c. -a.");
        check(&["c: a/1 b/2", "d: "], &["c: a/1>d b/2>d", "d: a/3 b/4"], false, "a.=c. b.=c. c.waits2");
        check(&["c: a/1 b/2", "d: "], &["d: "], false, "-a. -b.");
        // A zone that is handed over is not taken away.
        check(&["c: a/1 b/2", "d: "], &["c: a/1>d b/2>d", "d: a/1 b/2"], false, "a.=d. b.=d.");
    }
}
