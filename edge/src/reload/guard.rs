//! Watches the origins after a reload, and says when the config before is to come back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::SystemTime;

use crate::admin::{GuardTold, Undone};
use crate::cache::Cache;
use crate::config::{Change, Config};
use crate::site::SiteName;
use crate::site::guard::{Counts, Mark};

/// A reload that is being watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// No other has it.
    pub(super) number: u64,
    /// To before all that is watched.
    all: Step,
    /// To before the last reload, for a site that one before it has brought.
    last: Step,
    pub(super) mark: Mark,
    since: SystemTime,
    /// The sites that it may have broken, and what came of their requests before.
    sites: Vec<(SiteName, Counts)>,
}

/// A way back.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The config that comes back.
    pub(super) before: Config,
    /// The changes that go.
    pub(super) changed: Vec<Change>,
}

/// A site that a reload has broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) site: SiteName,
    pub(super) before: Counts,
    pub(super) after: Counts,
}

/// Of the last ones.
const MOST_UNDONE: usize = 16;

/// The reloads so far, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) watch: Option<Watch>,
    pub(super) is_undone: bool,
    reloads: u64,
    undone: VecDeque<Undone>,
}

impl History {
    /// A reload has taken in `changed`; what it had `before` is known by the sites' counts then.
    pub(super) fn reloaded(
        &mut self,
        mark: Option<Mark>,
        before: Config,
        changed: &[Change],
        counts: HashMap<SiteName, Counts>,
        now: SystemTime,
    ) -> Option<u64> {
        // The file is in service, also where it says again what came back.
        self.is_undone = false;
        if changed.is_empty() {
            return None;
        }
        self.reloads += 1;
        // Two reloads in a row: the first of them is the one to go back behind.
        let begun = self.watch.take().filter(|watch| watch.is_running(now));
        let watch = mark.map(|mark| {
            let last = Step { before, changed: changed.to_vec() };
            let (all, known) = match begun {
                Some(Watch { mut all, sites, .. }) => {
                    all.changed.extend_from_slice(changed);
                    (all, sites)
                }
                None => (last.clone(), Vec::new()),
            };
            // The second may break what the first one left alone, or has brought.
            let sites: HashMap<SiteName, Counts> = counts.into_iter().chain(known).collect();
            let sites = broken_by(&all, &last, sites);
            Watch { number: self.reloads, all, last, mark, since: now, sites }
        });
        self.watch = watch;
        self.watch.as_ref().map(|watch| watch.number)
    }

    /// A reload was undone.
    pub(super) fn undone(&mut self, watch: &Watch, broken: &Broken, now: SystemTime) -> Undone {
        let changed = &watch.way_back(&broken.site).changed;
        let ms = now.duration_since(watch.since).unwrap_or_default().as_millis();
        let undone = Undone {
            at: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            changed: changed.iter().map(ToString::to_string).collect(),
            site: broken.site.to_string(),
            answers: broken.after.answers,
            errors: broken.after.errors,
            percent: broken.after.percent(),
            percent_before: broken.before.percent(),
            in_service_ms: u64::try_from(ms).unwrap_or(u64::MAX),
        };
        self.is_undone = true;
        self.undone.push_front(undone.clone());
        self.undone.truncate(MOST_UNDONE);
        undone
    }

    pub(super) fn told(&self) -> GuardTold {
        let changed = self.watch.iter().flat_map(|watch| &watch.all.changed);
        GuardTold {
            watched: changed.map(ToString::to_string).collect(),
            is_undone: self.is_undone,
            undone: self.undone.iter().cloned().collect(),
        }
    }
}

impl Watch {
    pub(super) fn is_running(&self, now: SystemTime) -> bool {
        now.duration_since(self.since).is_ok_and(|passed| passed < self.mark.window)
    }

    /// A site that the reload has broken, by all that came of its requests since, or by what came of the last ones.
    pub(super) fn broken(&self, counts: impl Fn(&SiteName) -> [Counts; 2]) -> Option<Broken> {
        let broken = |(site, before): &(SiteName, Counts)| {
            let after = counts(site).into_iter().find(|after| self.mark.is_passed(*before, *after))?;
            Some(Broken { site: site.clone(), before: *before, after })
        };
        self.sites.iter().find_map(broken)
    }

    /// The way back for a site that is broken. The config before all has no place for one that it does not know.
    pub(super) fn way_back(&self, site: &SiteName) -> &Step {
        let is_known = self.all.before.sites.all().iter().any(|known| known.name == *site);
        if is_known { &self.all } else { &self.last }
    }
}

/// The sites that the changes may have broken. One that a reload before the last has brought goes back behind the last alone,
/// which must be to blame.
fn broken_by(all: &Step, last: &Step, sites: HashMap<SiteName, Counts>) -> Vec<(SiteName, Counts)> {
    let known: HashSet<&SiteName> = all.before.sites.all().iter().map(|site| &site.name).collect();
    let may_be = |site: &SiteName| {
        concerns(&last.changed, site) || known.contains(site) && concerns(&all.changed, site)
    };
    sites.into_iter().filter(|(site, _)| may_be(site)).collect()
}

/// Whether one of the changes may be to blame for this site's errors: it is about the site, or about none.
fn concerns(changes: &[Change], site: &SiteName) -> bool {
    let own = format!("site {}: ", site.as_str());
    changes.iter().any(|change| change.setting.starts_with(&own) || !change.setting.starts_with("site "))
}

/// The outcomes of each site's requests to its origins as far as they are known, its routes' among them.
pub(super) fn known(cache: &Cache) -> HashMap<SiteName, Counts> {
    let mut all: HashMap<SiteName, Counts> = HashMap::new();
    for part in cache.parts() {
        let own = all.entry(part.site.name.clone()).or_default();
        *own = own.plus(part.tally.known());
    }
    all
}

/// The same since the config in service was taken in: all of them, and the last ones.
pub(super) fn since(cache: &Cache) -> HashMap<SiteName, [Counts; 2]> {
    let mut all: HashMap<SiteName, [Counts; 2]> = HashMap::new();
    for part in cache.parts() {
        let own = all.entry(part.site.name.clone()).or_default();
        let [every, last] = part.tally.since();
        *own = [own[0].plus(every), own[1].plus(last)];
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_site_is_not_blamed_for_anothers_errors() {
        let check = |setting: &str, expected: [bool; 2]| {
            let change = Change { setting: setting.to_owned(), from: None, to: None };
            let sites = ["a.test", "b.test"].map(SiteName::from);
            assert_eq!(sites.each_ref().map(|site| concerns(std::slice::from_ref(&change), site)), expected);
        };
        check("site a.test: origins", [true, false]);
        check("site a.test: route /x/*: origins", [true, false]);
        check("limits.drain", [true, true]);
        check("site c.test: origins", [false, false]);
    }
}
