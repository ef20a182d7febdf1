//! Marks of past purges, by name: plain data, bounded.
//!
//! A purge is one mark, whatever it covers; nothing is searched for. The reader of a stored response compares
//! its epoch with the marks of its URL, its tags, its site and everything, and with each prefix and pattern:
//! as many look-ups as it has tags.
//!
//! Invariant: a response that a mark covered is covered for ever, also once the mark had to go for want of room.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use crate::site::SiteName;
use crate::site::key::Key;
use crate::site::pattern::UrlPattern;
use crate::site::tags::{TagFields, Tags};
use crate::store::disk::hash::{HashKey, Hashed};
use crate::store::disk::journal::Noted;
use crate::store::disk::record::{Mark, Place as Where};

/// The fate of a purged response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is gone.
    Hard,
    /// Its freshness ends at the time of the purge: it is validated before its next use, and `stale-while-revalidate`
    /// and `stale-if-error` mean what they mean.
    Soft,
}

/// The name that a mark is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name<'a> {
    All,
    Site(&'a SiteName),
    /// Every key with this one's URL.
    Url(&'a Key),
    /// Every URL, in normal form, that begins so.
    Prefix(&'a str),
    /// Every URL, in normal form, that it matches.
    Pattern(&'a UrlPattern),
    /// On one site, or on all.
    Tag(Option<&'a SiteName>, &'a [u8]),
}

/// A stored response, as the marks are compared with it.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Subject<'a> {
    pub(in crate::store) key: &'a Key,
    pub(in crate::store) site: &'a SiteName,
    /// The response's fields; none if it has not come yet.
    pub(in crate::store) headers: Option<&'a HeaderMap>,
}

/// The marks' word on a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No purge covers it.
    Good,
    /// A soft purge came at this time.
    StaleSince(SystemTime),
    Gone,
}

/// The marks, newest last.
#[derive(Debug)]
pub(super) struct Marks {
    hash_key: HashKey,
    tag_fields: TagFields,
    limit: usize,
    /// By the hash of the name: two names that share one are purged together, which costs a fetch.
    named: HashMap<u64, Purged>,
    ranges: Vec<(Arc<Range>, Purged)>,
    /// By any tag, for a response that counts as having all.
    any_tag: Purged,
    /// The places of the marks by their epochs: a name that is purged again gives up its place.
    order: BTreeMap<u64, Place>,
    /// Responses from before this are gone: marks had to go.
    floor: u64,
}

#[derive(Debug, Clone)]
enum Place {
    Named(u64),
    /// Shared with `ranges`, however often it is purged.
    Range(Arc<Range>),
}

/// Which URLs: compared with each, not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Range {
    Prefix(Box<str>),
    Pattern(UrlPattern),
}

impl Range {
    fn of(name: &Name<'_>) -> Option<Self> {
        match name {
            Name::Prefix(prefix) => Some(Self::Prefix((*prefix).into())),
            Name::Pattern(pattern) => Some(Self::Pattern((*pattern).clone())),
            Name::All | Name::Site(_) | Name::Url(_) | Name::Tag(..) => None,
        }
    }

    fn place(&self) -> (Where, Box<[u8]>) {
        let text = match self {
            Self::Prefix(prefix) => prefix.as_bytes(),
            Self::Pattern(pattern) => pattern.as_str().as_bytes(),
        };
        let length = u16::try_from(text.len()).expect("it has MAX_PREFIX_BYTES at most");
        let place = match self {
            Self::Prefix(_) => Where::Prefix { length },
            Self::Pattern(_) => Where::Pattern { length },
        };
        (place, text.into())
    }

    fn holds(&self, url: &str) -> bool {
        match self {
            Self::Prefix(prefix) => url.starts_with(&**prefix),
            Self::Pattern(pattern) => pattern.matches(url),
        }
    }
}

/// The last purges of one name.
#[derive(Debug, Clone, Default)]
struct Purged {
    hard: u64,
    /// When that was, in milliseconds since 1970.
    hard_ms: u64,
    /// Since then, oldest first: a response is stale as of the first one after it.
    softs: VecDeque<(u64, SystemTime)>,
}

/// They are kept whole.
pub const MAX_PREFIX_BYTES: usize = 1_024;
/// Each is compared with every response from before the last purge, once.
pub(super) const MAX_RANGES: usize = 1_024;

impl Marks {
    /// No marks; at most `limit` at once.
    pub(super) fn new(limit: usize, tag_fields: TagFields, hash_key: HashKey) -> Self {
        Self {
            hash_key,
            tag_fields,
            limit,
            named: HashMap::new(),
            ranges: Vec::new(),
            any_tag: Purged::default(),
            order: BTreeMap::new(),
            floor: 0,
        }
    }

    /// The same without any.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.limit, self.tag_fields.clone(), self.hash_key)
    }

    /// Marks everything under `name` that is from before `epoch`, which is higher than all before. Returns the notes that
    /// the keepers of the marks are to write.
    pub(super) fn note(&mut self, name: &Name<'_>, mode: Mode, epoch: u64, now: SystemTime) -> Vec<Noted> {
        let (place, text): (Where, Box<[u8]>) = match Range::of(name) {
            Some(range) => range.place(),
            None => (Where::Named(self.hash(name)), Box::default()),
        };
        let at_ms = millis(now);
        let noted = |place| Mark { place, is_soft: mode == Mode::Soft, epoch, at_ms };
        let mut all = vec![Noted { mark: noted(place), text }];
        if matches!(name, Name::Tag(..)) {
            all.push(Noted { mark: noted(Where::AnyTag), text: Box::default() });
        }
        all.iter().for_each(|noted| self.take(noted));
        all
    }

    /// Marks what was noted before, in the order of its epochs.
    pub(super) fn take(&mut self, Noted { mark, text }: &Noted) {
        let mode = if mark.is_soft { Mode::Soft } else { Mode::Hard };
        let at = UNIX_EPOCH + Duration::from_millis(mark.at_ms.min(MOST_MS));
        let text = String::from_utf8_lossy(text);
        let range = match mark.place {
            // It goes with the tag beside it.
            Where::AnyTag => return drop(self.any_tag.at(mode, mark.epoch, at)),
            Where::Named(hash) => {
                let before = self.named.entry(hash).or_default().at(mode, mark.epoch, at);
                return self.place(mark.epoch, Place::Named(hash), &before);
            }
            Where::Prefix { .. } => Some(Range::Prefix(text.into())),
            Where::Pattern { .. } => UrlPattern::parse(&text).map(Range::Pattern),
        };
        // A text that cannot be a pattern was none when it was noted.
        let Some(range) = range else { return };
        let known = self.ranges.iter().position(|(known, _)| **known == range);
        let index = known.unwrap_or_else(|| {
            self.ranges.push((Arc::new(range), Purged::default()));
            self.ranges.len() - 1
        });
        let (range, purged) = &mut self.ranges[index];
        let before = purged.at(mode, mark.epoch, at);
        let range = Arc::clone(range);
        self.place(mark.epoch, Place::Range(range), &before);
    }

    /// Gives a mark a place, and takes those away that the same name has no use for.
    fn place(&mut self, epoch: u64, place: Place, before: &[u64]) {
        before.iter().for_each(|epoch| drop(self.order.remove(epoch)));
        self.order.insert(epoch, place);
        self.bound(epoch);
    }

    fn bound(&mut self, epoch: u64) {
        while self.order.len() > self.limit || self.ranges.len() > MAX_RANGES {
            self.floor = self.forget_oldest().unwrap_or(epoch);
        }
    }

    /// All marks there are, in the order of their epochs.
    pub(super) fn all(&self) -> Vec<Noted> {
        let named = self.named.iter().map(|(hash, purged)| (Where::Named(*hash), Box::default(), purged));
        let any = [(Where::AnyTag, Box::default(), &self.any_tag)];
        let ranges = self.ranges.iter().map(|(range, purged)| {
            let (place, text) = range.place();
            (place, text, purged)
        });
        let all = named.chain(any).chain(ranges);
        let mut all: Vec<Noted> = all.flat_map(|(place, text, purged)| purged.noted(place, &text)).collect();
        all.sort_by_key(|noted| noted.mark.epoch);
        all
    }

    /// Gives up all marks, and returns them and these in the order of their times, each once: two disks have noted the same. An
    /// old journal may not say when a purge was.
    pub(super) fn begin_again(&mut self, noted: &[Noted]) -> Vec<Noted> {
        let empty = Self { floor: self.floor, ..self.emptied() };
        let before = std::mem::replace(self, empty).all();
        let dated = noted.iter().filter(|noted| noted.mark.at_ms > 0).cloned();
        let mut all: Vec<Noted> = before.into_iter().chain(dated).collect();
        let mut known = HashSet::new();
        all.retain(|Noted { mark, text }| known.insert((mark.place, mark.is_soft, mark.at_ms, text.clone())));
        all.sort_by_key(|noted| noted.mark.at_ms);
        all
    }

    /// The place of marks that cover everything.
    pub(super) fn everything(&self) -> Where {
        Where::Named(self.hash(&Name::All))
    }

    /// Responses from before this are gone.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Drops the marks from before `oldest`: every stored response is newer, so they cover nothing.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        while self.order.first_key_value().is_some_and(|(epoch, _)| *epoch <= oldest) {
            self.forget_oldest();
        }
    }

    /// Declares the responses from before `oldest` gone: there is no room to remember the marks over them.
    pub(super) fn give_up_before(&mut self, oldest: u64) {
        self.floor = self.floor.max(oldest);
    }

    /// How many there may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How a subject from epoch `since` stands.
    pub(super) fn standing(&self, since: u64, subject: &Subject<'_>) -> Standing {
        if since < self.floor {
            return Standing::Gone;
        }
        let mut standing = Standing::Good;
        self.each(subject, |purged| standing = standing.and(purged.standing(since)));
        standing
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn each(&self, subject: &Subject<'_>, mut found: impl FnMut(&Purged)) {
        let Subject { key, site, headers } = subject;
        let mut look = |name: Name<'_>| self.named.get(&self.hash(&name)).into_iter().for_each(&mut found);
        look(Name::All);
        look(Name::Site(site));
        look(Name::Url(key));
        let tags = headers.map_or(Tags::These(Vec::new()), |headers| self.tag_fields.of(headers));
        if let Tags::These(tags) = &tags {
            for tag in tags {
                look(Name::Tag(None, tag));
                look(Name::Tag(Some(site), tag));
            }
        }
        if tags == Tags::Any {
            found(&self.any_tag);
        }
        if !self.ranges.is_empty() {
            let url = key.url();
            let holds = |(range, _): &&(Arc<Range>, Purged)| range.holds(&url);
            self.ranges.iter().filter(holds).for_each(|(_, purged)| found(purged));
        }
    }

    fn forget_oldest(&mut self) -> Option<u64> {
        let (epoch, place) = self.order.pop_first()?;
        self.any_tag.forget_until(epoch);
        match place {
            Place::Named(hash) => {
                if self.named.get_mut(&hash).is_some_and(|purged| purged.forget_until(epoch)) {
                    self.named.remove(&hash);
                }
            }
            Place::Range(range) => {
                self.ranges.retain_mut(|(known, purged)| *known != range || !purged.forget_until(epoch));
            }
        }
        Some(epoch)
    }

    /// The same in all processes that have one key: it is kept on disks.
    fn hash(&self, name: &Name<'_>) -> u64 {
        match name {
            Name::All => self.hash_key.of(&[Hashed::Kind(0)]),
            Name::Site(site) => self.hash_key.of(&[Hashed::Kind(1), Hashed::Text(site.as_str().as_bytes())]),
            Name::Url(key) => self.hash_key.of(&[Hashed::Kind(2), Hashed::Text(key.url_part())]),
            Name::Prefix(prefix) => self.hash_key.of(&[Hashed::Kind(3), Hashed::Text(prefix.as_bytes())]),
            Name::Pattern(pattern) => {
                self.hash_key.of(&[Hashed::Kind(5), Hashed::Text(pattern.as_str().as_bytes())])
            }
            Name::Tag(site, tag) => {
                let site = site.map(|site| site.as_str().as_bytes());
                self.hash_key.of(&[Hashed::Kind(4), Hashed::Option(site), Hashed::Text(tag)])
            }
        }
    }
}

/// Soft purges of one name that are told apart.
const MAX_SOFTS: usize = 16;
/// Some 30,000 years: adding it to a time does not overflow.
const MOST_MS: u64 = 1 << 50;

/// Milliseconds since 1970.
pub(super) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Purged {
    /// Takes in a purge; the epochs of those from before that no longer matter beside it.
    fn at(&mut self, mode: Mode, epoch: u64, now: SystemTime) -> Vec<u64> {
        match mode {
            Mode::Hard => {
                let before = std::mem::replace(
                    self,
                    Self { hard: epoch, hard_ms: millis(now), softs: VecDeque::new() },
                );
                let hard = Some(before.hard).filter(|hard| *hard > 0);
                hard.into_iter().chain(before.softs.into_iter().map(|(soft, _)| soft)).collect()
            }
            // Two disks have noted the same.
            Mode::Soft if self.softs.back().is_some_and(|(last, _)| *last == epoch) => Vec::new(),
            Mode::Soft => {
                self.softs.push_back((epoch, now));
                if self.softs.len() <= MAX_SOFTS {
                    return Vec::new();
                }
                let Some((oldest, at)) = self.softs.pop_front() else { return Vec::new() };
                // A response from between the two is stale as of the first: its freshness ended, if somewhat early.
                if let Some((_, next)) = self.softs.front_mut() {
                    *next = at.min(*next);
                }
                vec![oldest]
            }
        }
    }

    /// The records of them.
    fn noted(&self, place: Where, text: &[u8]) -> Vec<Noted> {
        let noted =
            |is_soft, epoch, at_ms| Noted { mark: Mark { place, is_soft, epoch, at_ms }, text: text.into() };
        let hard = (self.hard > 0).then(|| noted(false, self.hard, self.hard_ms));
        let softs = self.softs.iter().map(|(epoch, at)| noted(true, *epoch, millis(*at)));
        hard.into_iter().chain(softs).collect()
    }

    /// Forgets purges up to `epoch`: nobody asks about older responses any more. Whether that was all.
    fn forget_until(&mut self, epoch: u64) -> bool {
        while self.softs.front().is_some_and(|(soft, _)| *soft <= epoch) {
            self.softs.pop_front();
        }
        self.hard <= epoch && self.softs.is_empty()
    }

    fn standing(&self, since: u64) -> Standing {
        if since < self.hard {
            return Standing::Gone;
        }
        let first = self.softs.partition_point(|(epoch, _)| *epoch <= since);
        self.softs.get(first).map_or(Standing::Good, |(_, at)| Standing::StaleSince(*at))
    }
}

impl Standing {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, _) | (_, Self::Gone) => Self::Gone,
            (Self::StaleSince(one), Self::StaleSince(two)) => Self::StaleSince(one.min(two)),
            (Self::StaleSince(at), Self::Good) | (Self::Good, Self::StaleSince(at)) => Self::StaleSince(at),
            (Self::Good, Self::Good) => Self::Good,
        }
    }
}
