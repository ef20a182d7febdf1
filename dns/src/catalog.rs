//! From zone files to a world: read, check, divide, compile. A zone keeps its last good version until a better one is there.
//!
//! ```text
//! folder ─▶ Read ─▶ Candidate ─▶ settle (divide, check views) ─▶ Good ─▶ World
//! ```
//!
//! Invariant: a version of a zone with an error never gets into a world, and a world is built completely or not at all.

mod beside;
mod copy;
pub(crate) mod expiry;
mod file_name;
mod folder;
mod good;
pub(crate) mod journal;
pub(crate) mod keeper;
pub(crate) mod log;
pub(crate) mod membership;
mod outside;
mod passed_over;
pub(crate) mod report;
mod settle;
pub(crate) mod signatures;
mod source;
mod standing;
pub(crate) mod unhidden;
mod world;
mod zone_file;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

pub(crate) use self::copy::{HeldCopy, NotKept};
pub(crate) use self::file_name::zone_of;
use self::folder::Content;
pub use self::folder::FolderError;
pub(crate) use self::folder::parse_file;
use self::good::Good;
use self::report::{Change, Report, State, ZoneReport};
use self::settle::{Candidate, Chosen, Memory, Settled};
use self::source::Source;
pub(crate) use self::standing::Unsettled;
use self::unhidden::{Told, Version};
use self::zone_file::{ZoneFile, has_error};
use crate::cookie::Secrets;
use crate::name::Name;
use crate::steer;
use crate::transfer::{Expiries, serial};
use crate::tsig::Keys;
use crate::update::is_open;
use crate::view::Access;
use crate::world::{Protocol, Roots, Standing, World};
use crate::zone::check;
use crate::zone::file::Parsed;
use crate::zone::privacy::Rules;
use crate::zone::{Problem, Severity, Zone};

/// How zones are served: what the operator chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) rules: Rules,
    pub(crate) access: Access,
    pub(crate) protocol: Protocol,
    /// How long the last good version of a zone is served whose file is gone.
    pub(crate) grace: Duration,
    pub(crate) unhide: Unhide,
    /// The folder of the journals of updates.
    pub(crate) journals: Option<PathBuf>,
    /// Zones that are taken from others.
    pub(crate) copies: Vec<HeldCopy>,
    /// The ones among them that are catalogs of zones.
    pub(crate) catalogs: HashSet<Name>,
    /// How RRsets are steered.
    pub(crate) steer: steer::Settings,
}

/// The treatment of an edit that makes hidden records public although their own text did not change: their target was
/// deleted, another zone's file is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unhide {
    /// It is served, and the records are told.
    #[default]
    Tell,
    /// The last version stays in service until SIGHUP.
    Ask,
}

/// Every zone as its source last had it, and the last good version of each.
pub(crate) struct Catalog {
    paths: Vec<PathBuf>,
    terms: Terms,
    terms_changed: bool,
    /// The rules of the terms, and of the zones that are taken from others.
    rules: Rules,
    standing: Arc<HashMap<Name, Standing>>,
    expiries: Arc<Expiries>,
    /// Zones that were taken from others at the last load, or are now.
    copied: HashSet<Name>,
    unsettled: Unsettled,
    /// Somebody asks the other servers of zones that have a file here, too.
    asks_others: bool,
    files: BTreeMap<Source, ZoneFile>,
    /// The members of `files` that are gone, since when. Their last good version is served for a while: a checkout, or a copy
    /// that is put in place in two steps, must not publish what it hid.
    gone: BTreeMap<Source, SystemTime>,
    /// Zones without a good version at the first load. Another server, or this one before, may have served them, so their
    /// names get SERVFAIL. A file that comes later makes no zone before it is good once.
    unknown: HashSet<Name>,
    is_first: bool,
    /// The members of `gone` whose grace is over, but which would make hidden records public by going.
    leaving: HashSet<Source>,
    /// Somebody allows that the next load ends every grace and makes records public.
    is_allowed: bool,
    /// Something waits for that.
    pub(crate) waits: bool,
    /// The zone of which an update is tried that is not committed yet.
    pending: Option<Name>,
    good: HashMap<Name, Good>,
    memory: Memory,
    /// Problems of the last load by zone, so that a reload tells the new ones only.
    told: HashMap<Name, Vec<Problem>>,
    /// Problems of files that are no zones.
    passed_over: Vec<Problem>,
}

/// The result of a load.
pub(crate) struct Loaded {
    /// None if nothing changed.
    pub(crate) world: Option<World>,
    pub(crate) report: Report,
}

impl Terms {
    /// With the secrets of server cookies, and the keys of other servers and the roots of their certificates.
    pub(crate) fn with_secrets(mut self, cookies: Option<Secrets>, keys: Keys, roots: Roots) -> Self {
        (self.protocol.cookies, self.protocol.keys, self.protocol.roots) = (cookies, keys, roots);
        self
    }
}

impl Catalog {
    /// Nothing is read yet. `paths` are folders of zone files, or zone files.
    pub(crate) fn new(paths: Vec<PathBuf>, terms: Terms) -> Self {
        Self {
            paths,
            terms,
            terms_changed: true,
            rules: Rules::default(),
            standing: Arc::default(),
            expiries: Arc::default(),
            copied: HashSet::new(),
            unsettled: Unsettled::default(),
            asks_others: false,
            files: BTreeMap::new(),
            gone: BTreeMap::new(),
            unknown: HashSet::new(),
            is_first: true,
            leaving: HashSet::new(),
            is_allowed: false,
            waits: false,
            pending: None,
            good: HashMap::new(),
            memory: Memory::default(),
            told: HashMap::new(),
            passed_over: Vec::new(),
        }
    }

    /// New terms hold from the next load on.
    pub(crate) fn set_terms(&mut self, paths: Vec<PathBuf>, terms: Terms) {
        self.paths = paths;
        self.terms = terms;
        self.terms_changed = true;
        // Every zone was checked under the old terms.
        self.files.clear();
    }

    /// Zones that have a file here and are taken from others, too, wait for somebody who asks these; that is told to the result.
    pub(crate) fn ask_others(&mut self) -> Unsettled {
        self.asks_others = true;
        self.unsettled.clone()
    }

    /// Zones whose files are here.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Name> {
        self.files.values().filter(|file| !file.read.source.is_copy()).filter_map(ZoneFile::apex)
    }

    /// Other zones are taken from others from the next load on; all that was read stays read.
    pub(crate) fn set_copies(&mut self, terms: Terms) {
        self.terms = terms;
        self.terms_changed = true;
    }

    /// With the next load, zones whose files are gone are gone, and what waits since it makes records public is served.
    pub(crate) fn allow(&mut self) {
        self.is_allowed = true;
    }

    /// How long to wait for the load that ends the grace of a file that is gone; none if there is none.
    pub(crate) fn grace_left(&self, now: SystemTime) -> Option<Duration> {
        let waiting = self.gone.iter().filter(|(source, _)| !self.leaving.contains(source));
        let first = waiting.map(|(_, since)| since).min()?;
        // A clock that was set back starts the grace again.
        Some(self.terms.grace.saturating_sub(now.duration_since(*first).unwrap_or_default()))
    }

    /// The zones in service, as insiders get them.
    pub(crate) fn zones(&self) -> impl Iterator<Item = (&Name, &Arc<Zone>)> {
        self.good.iter().map(|(apex, good)| (apex, &good.zone))
    }

    /// Every file that was read: zone files and what they include.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.values().flat_map(|file| file.read.paths())
    }

    /// Reads what changed and makes a new world if anything did.
    pub(crate) fn load(&mut self, now: SystemTime) -> Result<Loaded, FolderError> {
        let changed = self.read_changed(now);
        let is_allowed = std::mem::take(&mut self.is_allowed);
        let changed = changed?;
        let is_due = is_allowed && self.waits;
        if !changed && !is_due && !std::mem::take(&mut self.terms_changed) {
            return Ok(Loaded { world: None, report: Report::default() });
        }
        self.terms_changed = false;
        let mut candidates = self.candidates();
        let holds = self.terms.unhide == Unhide::Ask && !is_allowed;
        let settled = settle::settle(
            &mut candidates,
            (&self.rules, &self.terms.steer),
            &mut self.memory,
            &self.good,
            holds,
        );
        self.waits = settled.iter().any(|settled| settled.waits);
        // Nothing that is good is let go before all that replaces it is there.
        let mut good = HashMap::new();
        let mut zones = Vec::new();
        for (candidate, settled) in candidates.iter().zip(settled) {
            if candidate.is_leaving && matches!(settled.chosen, Chosen::Absent) {
                self.let_go(&candidate.source);
                continue;
            }
            let (zone, report) = self.conclude(candidate, settled);
            good.extend(zone.map(|zone| (candidate.apex.clone(), zone)));
            zones.push(report);
        }
        let before = std::mem::replace(&mut self.good, good);
        if std::mem::take(&mut self.is_first) {
            let broken = zones.iter().filter(|zone| zone.state == State::Broken);
            self.unknown = broken.map(|zone| zone.apex.clone()).collect();
        }
        self.unknown.retain(|apex| !self.good.contains_key(apex));
        let world = self.world(&mut zones);
        self.files.values_mut().for_each(|file| file.full = None);
        let there: HashSet<&Name> = zones.iter().map(|zone| &zone.apex).collect();
        let removed = before.keys().filter(|apex| !there.contains(apex)).cloned().collect();
        let unhidden = self.unhidden(&before);
        let report = Report { zones, removed, nameless: self.nameless(), unhidden };
        self.told = report.zones.iter().map(|zone| (zone.apex.clone(), zone.problems.clone())).collect();
        Ok(Loaded { world: Some(world), report })
    }

    fn let_go(&mut self, source: &Source) {
        self.files.remove(source);
        self.gone.remove(source);
        self.leaving.remove(source);
    }

    fn unhidden(&self, before: &HashMap<Name, Good>) -> Told {
        let before = before.iter().map(|(apex, good)| (apex, good.version())).collect();
        let after: Vec<Version<'_>> = self.good.values().map(Good::version).collect();
        unhidden::told(&before, &after)
    }

    /// Lets the texts go that only diagnostics need.
    pub(crate) fn forget_texts(&mut self) {
        for source in self.files.values_mut().flat_map(|file| &mut file.sources) {
            source.text = Arc::from([]);
        }
    }

    /// Brings the files up to date; whether anything is different.
    fn read_changed(&mut self, now: SystemTime) -> Result<bool, FolderError> {
        let mut all = folder::list(&self.paths)?;
        self.passed_over = passed_over::in_folders(&self.paths, &all);
        if !self.terms.copies.is_empty() {
            // A server may have nothing but what it takes from others.
            self.passed_over.retain(|problem| problem.severity > Severity::Warning || !all.is_empty());
        }
        let is_copy = |apex: &Name| self.copied.contains(apex);
        if all.is_empty() && self.good.keys().any(|apex| !is_copy(apex)) {
            return Err(FolderError::emptied(&self.paths));
        }
        let mut changed = self.stand(&mut all, now);
        let mut old = std::mem::take(&mut self.files);
        for found in &all {
            let before = old.remove(&found.source);
            let is_pending = |file: &ZoneFile| file.apex().is_some() && file.apex() == self.pending.as_ref();
            let is_current = |file: &&ZoneFile| file.read.is_current(now) && !is_pending(file);
            if let Some(file) = before.as_ref().filter(is_current) {
                changed |= self.is_back(&found.source);
                self.files.insert(found.source.clone(), file.clone());
                continue;
            }
            let Some(read) = self.read(found, before.as_ref(), now) else {
                old.extend(before.map(|before| (found.source.clone(), before)));
                continue;
            };
            changed |= self.is_back(&found.source);
            let (file, is_new) = read.after(before);
            changed |= is_new;
            self.files.insert(found.source.clone(), file);
        }
        Ok(self.await_return(old, now) || changed)
    }

    /// Whether the file was gone before.
    fn is_back(&mut self, source: &Source) -> bool {
        self.leaving.remove(source);
        self.gone.remove(source).is_some()
    }

    /// Keeps files that are gone for as long as their grace lasts; whether anything is different.
    fn await_return(&mut self, gone: BTreeMap<Source, ZoneFile>, now: SystemTime) -> bool {
        let mut changed = false;
        for (source, file) in gone {
            let since = *self.gone.entry(source.clone()).or_insert(now);
            let away = now.duration_since(since).unwrap_or_default();
            // A copy is gone when the config or a catalog says so, and not because of a disk that is away.
            let is_served = !source.is_copy() && file.apex().is_some_and(|apex| self.good.contains_key(apex));
            if !self.is_allowed && is_served && away < self.terms.grace {
                changed |= since == now;
                self.files.insert(source, file);
            } else if !self.is_allowed && is_served && self.terms.unhide == Unhide::Ask {
                changed |= self.leaving.insert(source.clone());
                self.files.insert(source, file);
            } else {
                self.is_back(&source);
                changed = true;
            }
        }
        changed
    }

    /// One candidate for each zone: in the order of the files' names, and then those whose file is gone.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut places: HashMap<Name, usize> = HashMap::new();
        let (gone, there): (Vec<&ZoneFile>, Vec<&ZoneFile>) =
            self.files.values().partition(|file| self.gone.contains_key(&file.read.source));
        for file in there {
            let Content::Parsed(parsed) = &file.read.content else { continue };
            let is_named = |source: &Source| folder::is_named_after(source, &parsed.apex);
            match places.get(&parsed.apex) {
                Some(&at) => match (is_named(&candidates[at].source), is_named(&file.read.source)) {
                    (true, false) => candidates[at].copied_in(&file.read.source),
                    (false, true) => {
                        let copy = std::mem::replace(&mut candidates[at], self.candidate(file, parsed));
                        candidates[at].copied_in(&copy.source);
                    }
                    _ => candidates[at].also_in(&file.read.source),
                },
                None => {
                    places.insert(parsed.apex.clone(), candidates.len());
                    candidates.push(self.candidate(file, parsed));
                }
            }
        }
        for file in gone {
            let Content::Parsed(parsed) = &file.read.content else { continue };
            // It may only have another name now.
            if !places.contains_key(&parsed.apex) {
                candidates.push(self.awaited(file, parsed));
            }
        }
        candidates
    }

    /// The zone of a file that is gone.
    fn awaited(&self, file: &ZoneFile, parsed: &Parsed) -> Candidate {
        let problem = Problem {
            severity: Severity::Error,
            code: "gone",
            at: None,
            message: format!("{}: the file is gone", file.read.source),
            help: Some(format!(
                "put it back; if the zone is to go, wait {} s or send SIGHUP",
                self.terms.grace.as_secs_f32()
            )),
        };
        Candidate {
            apex: parsed.apex.clone(),
            source: file.read.source.clone(),
            files: file.sources.clone(),
            problems: vec![problem],
            new: None,
            withheld: None,
            good: self.good.get(&parsed.apex).map(|good| Arc::clone(&good.zone)),
            full: None,
            is_leaving: self.leaving.contains(&file.read.source),
        }
    }

    fn candidate(&self, file: &ZoneFile, parsed: &Parsed) -> Candidate {
        // A copy that has expired is no last good version.
        let good = self.good.get(&parsed.apex).filter(|_| !file.read.is_away);
        let good = good.map(|good| Arc::clone(&good.zone));
        let mut problems = file.problems.clone();
        let is_good = !has_error(&problems);
        let (new, withheld) = if is_good { (file.zone.clone(), None) } else { (None, file.zone.clone()) };
        // A zone that is transferred gets a higher serial without its author.
        let protocol = &self.terms.protocol;
        let is_numbered = protocol.transfers.about(&parsed.apex).next().is_some()
            || is_open(&protocol.updates, &parsed.apex);
        if let (Some(old), Some(new), false) = (&good, &new, is_numbered)
            && !Arc::ptr_eq(old, new)
        {
            problems.extend(check::serial(old, new));
        }
        Candidate {
            apex: parsed.apex.clone(),
            source: file.read.source.clone(),
            files: file.sources.clone(),
            problems,
            new,
            withheld,
            good,
            full: file.full.clone(),
            is_leaving: false,
        }
    }

    /// Compiles what was settled on, or takes over what is the same as before; and says what became of the zone.
    fn conclude(&self, candidate: &Candidate, settled: Settled) -> (Option<Good>, ZoneReport) {
        let before = self.good.get(&candidate.apex);
        let Settled { chosen, mut problems, divided, outside, .. } = settled;
        // `[public] zones` does not name it: it is the outside's by its key.
        problems.retain(|problem| problem.code != "public-zone" || !candidate.source.is_copy());
        // Nobody caches a catalog, and most have no other TTL.
        let is_catalog = self.terms.catalogs.contains(&candidate.apex);
        problems.retain(|problem| problem.code != "ttl-zero" || !is_catalog);
        let is_hidden = divided.as_ref().is_some_and(|divided| divided.public.is_none());
        let (state, good) = match (chosen, divided) {
            (Chosen::New(zone), Some(divided)) => {
                (State::Current, Some(Good::compile(zone, divided, candidate.full.as_ref(), before, outside)))
            }
            (Chosen::Good(zone), Some(divided)) => {
                (State::Previous, Some(Good::compile(zone, divided, None, before, outside)))
            }
            _ => (State::Broken, None),
        };
        let good = good.map(|good| good.steered_by(&self.terms.steer, before));
        let news = self.news(&candidate.apex, &problems);
        let was_broken = self.told.get(&candidate.apex).is_some_and(|told| has_error(told));
        let is_mended = was_broken && !has_error(&problems);
        let change = Change::between(before, good.as_ref());
        let report = ZoneReport {
            apex: candidate.apex.clone(),
            source: candidate.source.clone(),
            files: candidate.files.clone(),
            state,
            is_hidden,
            change,
            serial: good.as_ref().and_then(|good| serial(&good.internal)),
            public: good.as_ref().and_then(|good| good.public.clone()),
            internal: good.as_ref().map(|good| Arc::clone(&good.internal)),
            zone: good.as_ref().map(|good| Arc::clone(&good.zone)),
            divided: good.as_ref().map(|good| Arc::clone(&good.divided)),
            problems,
            news,
            is_mended,
        };
        (good, report)
    }

    fn news(&self, apex: &Name, problems: &[Problem]) -> Vec<Problem> {
        let told = self.told.get(apex).map_or(&[][..], Vec::as_slice);
        problems.iter().filter(|problem| !told.contains(problem)).cloned().collect()
    }

    fn nameless(&self) -> Vec<Problem> {
        let problems = self.files.values().filter_map(|file| match &file.read.content {
            Content::Nameless(problem) => Some(problem.clone()),
            Content::Parsed(_) => None,
        });
        problems.chain(self.passed_over.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
