//! Zones that have a file here and are taken from others, too: two servers of which one is the primary, and either may be made it.
//! The one with the later serial is (RFC 1982); the other follows.
//!
//! ```text
//! start ─▶ waits (SERVFAIL) ─┬─ the others have nothing newer, or are not there ─▶ leads: the zone file counts
//!                            └─ one has a later serial ──────────────────────────▶ follows: the copy counts, until `promote`
//! ```
//!
//! Invariant: a server that was replaced serves nothing of its own zone file, also after a restart.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::folder::{self, Found};
use super::source::Source;
use super::zone_file::ZoneFile;
use super::{Catalog, HeldCopy, Terms, Unhide};
use crate::name::Name;
use crate::view::Which;
use crate::world::Standing;
use crate::zone::privacy::{Rules, is_internal_zone};
use crate::zone::{Problem, Severity};

/// Zones of which it is not known yet whether another server has replaced this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsettled(Arc<Mutex<HashSet<Name>>>);

impl Unsettled {
    /// It is known now; whether it was not before.
    pub(crate) fn settle(&self, apex: &Name) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(apex)
    }

    /// Whether it is known of all.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// It is known of all, as the process before says.
    pub(crate) fn settle_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn has(&self, apex: &Name) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(apex)
    }

    fn add(&self, apex: Name) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(apex);
    }
}

impl Terms {
    /// The rules of hiding. A zone that is taken from others belongs to the side of its key as a whole, and is never judged
    /// again. One that is internal by its name stays so, whatever the key. A zone file of our own is judged like any other.
    pub(crate) fn rules(&self, leads: impl Fn(&Name) -> bool) -> Rules {
        let mut rules = self.rules.clone();
        for copy in self.copies.iter().filter(|copy| !leads(&copy.apex)) {
            match copy.view {
                Which::Internal => rules.internal_zones.push(copy.apex.clone()),
                Which::Public if is_internal_zone(&copy.apex, &self.rules) => {}
                Which::Public => rules.public_zones.push(copy.apex.clone()),
            }
        }
        rules
    }
}

impl Catalog {
    /// Takes out of `all` what does not count, and adds the copies that do; whether anything is different.
    pub(super) fn stand(&mut self, all: &mut Vec<Found>, now: SystemTime) -> bool {
        let copies: HashMap<&Name, &HeldCopy> =
            self.terms.copies.iter().map(|copy| (&copy.apex, copy)).collect();
        let mut standing = HashMap::new();
        all.retain(|found| {
            let apex = folder::apex(found.source.path()).ok();
            let Some(copy) = apex.and_then(|apex| copies.get(&apex).copied()) else { return true };
            let apex = copy.apex.clone();
            if self.is_first && self.asks_others && !copy.is_member && !copy.is_replaced() {
                self.unsettled.add(apex.clone());
            }
            let now = match () {
                () if copy.is_member => Standing::Leads,
                () if copy.is_replaced() => Standing::Follows,
                () if self.unsettled.has(&apex) => Standing::Waits,
                () => Standing::Leads,
            };
            if now == Standing::Follows {
                self.passed_over.push(replaced(&apex, &found.source));
            }
            standing.insert(apex, now);
            now == Standing::Leads
        });
        for copy in &self.terms.copies {
            if !standing.contains_key(&copy.apex) && !copy.is_replaced() && self.awaits(&copy.apex, now) {
                standing.insert(copy.apex.clone(), Standing::Leads);
            }
        }
        let leads = |apex: &Name| standing.get(apex) == Some(&Standing::Leads);
        let counting = self.terms.copies.iter().filter(|copy| !leads(&copy.apex));
        self.copied = self.terms.copies.iter().map(|copy| copy.apex.clone()).collect();
        all.extend(counting.map(|copy| copy.found(standing.get(&copy.apex) == Some(&Standing::Waits))));
        let is_same = standing == *self.standing;
        if !is_same || self.terms_changed {
            self.rules = self.terms.rules(leads);
        }
        if !is_same {
            // Their texts count anew, and by other rules.
            let moved = |apex: &Name| standing.get(apex) != self.standing.get(apex);
            self.files.retain(|_, file| !file.apex().is_some_and(moved));
            // A grace ends with its file.
            self.gone.retain(|source, _| self.files.contains_key(source));
            self.leaving.retain(|source| self.files.contains_key(source));
            self.standing = Arc::new(standing);
        }
        !is_same
    }
}

impl Catalog {
    /// Whether this server leads a zone whose file is gone, and waits for it to come back: the copy is older than the file was.
    fn awaits(&self, apex: &Name, now: SystemTime) -> bool {
        let led = self.standing.get(apex) == Some(&Standing::Leads) && self.good.contains_key(apex);
        let is_its = |(source, file): &(&Source, &ZoneFile)| !source.is_copy() && file.apex() == Some(apex);
        let Some((source, _)) = self.files.iter().find(is_its).filter(|_| led && !self.is_allowed) else {
            return false;
        };
        let away = self.gone.get(source).map(|since| now.duration_since(*since).unwrap_or_default());
        self.terms.unhide == Unhide::Ask || away.is_none_or(|away| away < self.terms.grace)
    }
}

fn replaced(apex: &Name, source: &Source) -> Problem {
    Problem {
        severity: Severity::Warning,
        code: "replaced",
        at: None,
        message: format!(
            "{source} is not served: another server has replaced this one as the primary of {apex}"
        ),
        help: Some(format!(
            "remove the file; or make this server the primary again: verge-dns promote {apex}"
        )),
    }
}
