//! Catalogs of others (RFC 9432): after each load, the zones that they name are those that are taken.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::Follow;
use crate::catalog::{HeldCopy, membership};
use crate::config::{Config, Secondary};
use crate::log::recent::OPEN;
use crate::metrics::CatalogStatus;
use crate::name::Name;
use crate::transfer::members::{Clash, Offer, Owned, Settled, read, settle};
use crate::view::Which;
use crate::zone::hash;

/// The zones that catalogs name, and what was told of them.
#[derive(Default)]
pub(super) struct Members {
    owned: Vec<Owned>,
    told: HashMap<Name, String>,
}

/// The zones that were taken before, of the catalogs that the config has still.
pub(in crate::serve) fn of_before(config: &Config) -> Vec<Secondary> {
    secondaries(config, &membership::read(&config.copies()))
}

fn secondaries(config: &Config, owned: &[Owned]) -> Vec<Secondary> {
    let taken: hash::HashMap<&Name, &Secondary> =
        config.secondaries.iter().map(|it| (&it.zone, it)).collect();
    let own: HashSet<&Name> = named(config).collect();
    let member = |owned: &Owned| {
        let catalog = taken.get(&owned.catalog).filter(|it| it.catalog.is_some())?;
        (!is_at_or_under_any(&owned.member.zone, &own)).then(|| catalog.member(&owned.member))
    };
    owned.iter().filter_map(member).collect()
}

/// Zones that the config names: those that are taken from others, and the catalogs that are made here.
fn named(config: &Config) -> impl Iterator<Item = &Name> {
    let listed = config.catalogs.iter().map(|listing| &listing.apex);
    config.secondaries.iter().map(|it| &it.zone).chain(listed)
}

impl Members {
    pub(super) fn of_before(config: &Config) -> Self {
        Self { owned: membership::read(&config.copies()), told: HashMap::new() }
    }
}

/// Whether a zone is one of these, or would take names out of one: who fills a catalog decides nothing of them.
fn is_at_or_under_any(zone: &Name, own: &HashSet<&Name>) -> bool {
    let above = std::iter::successors(zone.parent(), Name::parent).take_while(|name| !name.is_root());
    std::iter::once(zone.clone()).chain(above).any(|name| own.contains(&name))
}

impl Follow {
    /// The zones that are taken by a new config.
    pub(super) fn members_of(&self, config: &Config) -> Vec<Secondary> {
        secondaries(config, &self.members.owned)
    }

    /// Takes the zones that the catalogs name now, and lets go of others; with `allows`, of more than a catalog may take away.
    pub(super) fn follow_catalogs(&mut self, allows: bool) {
        let catalogs =
            self.config.secondaries.iter().filter_map(|it| Some((it.clone(), it.catalog.clone()?)));
        let catalogs: Vec<_> = catalogs.collect();
        if catalogs.is_empty() && self.members.owned.is_empty() {
            return;
        }
        let mut errors = HashMap::new();
        let offers: Vec<Offer> = catalogs
            .iter()
            .map(|(catalog, terms)| {
                let zone =
                    self.catalog.zones().find(|(apex, _)| **apex == catalog.zone).map(|(_, zone)| zone);
                let members = zone.and_then(|zone| match read(&catalog.zone, &zone.records) {
                    Ok(members) => Some(members),
                    Err(broken) => {
                        errors.insert(
                            catalog.zone.clone(),
                            format!("{broken}; the zones that it named before stay"),
                        );
                        None
                    }
                });
                Offer { catalog: catalog.zone.clone(), most_removed: terms.most_removed, members }
            })
            .collect();
        let own: HashSet<&Name> = self.catalog.own().chain(named(&self.config)).collect();
        let settled = settle(&self.members.owned, &offers, |zone| is_at_or_under_any(zone, &own), allows);
        self.tell_catalogs(&offers, &settled, errors);
        if settled.owned != self.members.owned {
            self.take_members(settled);
        }
    }

    fn take_members(&mut self, settled: Settled) {
        let folder = self.config.copies();
        if let Err(error) = membership::write(&folder, &settled.owned) {
            tracing::error!(name: OPEN, folder = %folder.display(), %error, "the zones of catalogs cannot be stored; a restart learns of them late (setting `state`)");
        }
        for zone in &settled.forgotten {
            let is_own = self.config.secondaries.iter().any(|it| it.zone == *zone);
            let copy = HeldCopy::new(zone.clone(), Which::Public, &folder, true);
            if !is_own && let Err(error) = copy.forget() {
                tracing::warn!(name: OPEN, %zone, %error, "the copy of a zone that no catalog names any longer cannot be removed");
            }
        }
        let before = self.members.owned.len();
        tracing::info!(
            before,
            now = settled.owned.len(),
            removed = settled.forgotten.len(),
            "catalogs name other zones than before"
        );
        self.members.owned = settled.owned;
        self.config.members = secondaries(&self.config, &self.members.owned);
        let terms = self.secrets.clone().over(self.config.terms());
        self.catalog.set_copies(terms);
        self.service.follow(&self.config);
        // The loader is gone only when the server ends.
        let _ = self.signals.send(crate::serve::signal::Signal::Changed);
    }

    /// Once for each new obstacle.
    fn tell_catalogs(&mut self, offers: &[Offer], settled: &Settled, mut errors: HashMap<Name, String>) {
        for (catalog, count) in &settled.waiting {
            let most =
                offers.iter().find(|offer| offer.catalog == *catalog).map_or(0, |offer| offer.most_removed);
            errors.insert(
                catalog.clone(),
                format!("it takes away {count} zones at once, more than most_removed = {most}, so they stay; SIGHUP or POST /reload lets them go"),
            );
        }
        for offer in offers {
            let mut of_it = settled.clashes.iter().filter(|(_, catalog, _)| *catalog == offer.catalog);
            let Some((zone, _, clash)) = of_it.next() else { continue };
            let others = of_it.count();
            let error = errors.entry(offer.catalog.clone()).or_default();
            let gap = if error.is_empty() { "" } else { "; " };
            let whose = match clash {
                Clash::Own => "at or below one of this server's own".to_owned(),
                Clash::Of(other) => format!("the catalog {other}'s"),
            };
            write!(error, "{gap}{zone} is not taken, since it is {whose}").expect("a String takes any text");
            if others > 0 {
                write!(error, "; {others} more are others', too").expect("a String takes any text");
            }
        }
        for (catalog, error) in &errors {
            if self.members.told.get(catalog) != Some(error) {
                tracing::error!(%catalog, "a catalog is not followed as a whole: {error}");
            }
        }
        let status = offers.iter().map(|offer| CatalogStatus {
            catalog: offer.catalog.to_string(),
            zones: settled.owned.iter().filter(|owned| owned.catalog == offer.catalog).count(),
            waiting: settled.waiting.get(&offer.catalog).copied().unwrap_or_default(),
            error: errors.get(&offer.catalog).cloned(),
        });
        self.service.metrics.replication.catalogs(status.collect());
        self.members.told = errors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::members::Member;

    #[test]
    fn no_catalog_names_a_zone_at_or_below_one_that_the_config_names() {
        let text = "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.k]\nsecret_file = \"k\"\n\
            [[transfer]]\nkeys = [\"k\"]\n[[catalog]]\nzone = \"mine.invalid\"\n\
            [[secondary]]\nzone = \"b.ex\"\nprimaries = [\"192.0.2.9\"]\nkey = \"k\"\n\
            [[secondary]]\nzone = \"cat.invalid\"\nprimaries = [\"192.0.2.9\"]\nkey = \"k\"\ncatalog = true\n";
        let shown = std::path::Path::new("dns.toml");
        let config = crate::config::parse(text, std::path::Path::new(""), shown).unwrap();
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        for (zone, expected) in [
            ("a.ex", true),
            ("ex", true),
            ("b.ex", false),
            ("sub.b.ex", false),
            ("cat.invalid", false),
            ("mine.invalid", false),
            ("sub.mine.invalid", false),
            ("invalid", true),
        ] {
            let member = Member { zone: name(zone), id: b"1".as_slice().into(), groups: vec![], next: None };
            let owned = Owned { catalog: name("cat.invalid"), member };
            assert_eq!(secondaries(&config, &[owned]).len(), usize::from(expected), "{zone}");
        }
    }
}
