//! A shared cache as RFC 9111 has it, written from its text alone, one plain rule after another.

/// What an origin's response says, and when it says it (seconds).
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub version: u64,
    /// Differs in every message that the origin sends.
    pub serial: u64,
    pub status: u16,
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub set_cookie: bool,
    /// Seconds between `Date` and `Expires`; none without the field, negative in the past.
    pub expires: Option<i64>,
    pub age: Option<u64>,
    /// Seconds that the origin's clock, which dates the response, is behind.
    pub lag: u64,
    pub date: u64,
    pub etag: Option<String>,
    pub last_modified: Option<u64>,
    pub vary: Vary,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vary {
    #[default]
    Nothing,
    Shade,
    Star,
}

/// What a client asks.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    pub shade: Option<u8>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<u64>,
    pub authorization: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
}

/// A stored response.
#[derive(Debug, Clone)]
struct Stored {
    said: Said,
    received: u64,
    /// The request's `Shade`, if that selects.
    shade: Option<Option<u8>>,
}

/// What the cache does with a GET before it knows what the origin says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    Answer(Answer),
    /// It asks the origin, with these conditions.
    Ask {
        if_none_match: Option<String>,
        if_modified_since: Option<u64>,
    },
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Of the origin's message that it rests on; none for our own.
    pub serial: Option<u64>,
    /// Its version, where a body is sent.
    pub version: Option<u64>,
    /// Only of a stored one that no origin has just confirmed.
    pub age: Option<u64>,
}

/// How the origin meets a request.
#[derive(Debug, Clone)]
pub enum Met {
    HungUp,
    Answered(Said),
    NotModified(Said),
}

/// The stored responses of one URL.
#[derive(Debug, Default)]
pub struct Cache(Vec<Stored>);

impl Said {
    /// §4.2.1, §4.2.2: the lifetime, and whether the origin gave it.
    fn lifetime(&self) -> (u64, bool) {
        if let Some(secs) = self.s_maxage.or(self.max_age) {
            return (secs, true);
        }
        if let Some(secs) = self.expires {
            return (secs.max(0).cast_unsigned(), true);
        }
        match self.last_modified {
            Some(modified) if (self.heuristic() || self.public) && !self.no_cache => {
                (((self.date - modified) / 10).min(86_400), false)
            }
            _ => (0, false),
        }
    }

    /// RFC 9110 §15.1, of the statuses that the test uses.
    fn heuristic(&self) -> bool {
        matches!(self.status, 200 | 301 | 404 | 410)
    }

    /// §4.2.4, §5.2.2.10.
    fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.s_maxage.is_some()
    }

    fn has_validator(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// §3, and never what no request could be answered from.
    fn is_storable(&self, asking: &Asking) -> bool {
        let (lifetime, explicit) = self.lifetime();
        let shared = self.public || self.must_revalidate || self.s_maxage.is_some();
        if asking.no_store || self.no_store || self.private || self.vary == Vary::Star {
            return false;
        }
        if asking.authorization && !shared {
            return false;
        }
        if self.set_cookie && !(explicit && lifetime > 0 && !self.no_cache) {
            return false;
        }
        if !(explicit || self.public || self.heuristic()) {
            return false;
        }
        let window = if self.forbids_stale() { 0 } else { self.stale_if_error.unwrap_or(0) };
        self.has_validator() || !self.no_cache && (lifetime > 0 || window > 0)
    }
}

impl Stored {
    /// §4.2.3.
    fn age(&self, now: u64) -> u64 {
        (self.received - self.said.date).max(self.said.age.unwrap_or(0)) + (now - self.received)
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.said.lifetime().0 > self.age(now)
    }

    /// §4.1.
    fn selects(&self, asking: &Asking) -> bool {
        self.shade.is_none_or(|shade| shade == asking.shade)
    }

    /// §4.3.2: what the client's conditions leave of it.
    fn answer(&self, asking: &Asking, age: Option<u64>) -> Answer {
        let said = &self.said;
        let unmodified = said.status == 200
            && match &asking.if_none_match {
                Some(tag) => tag == "*" || said.etag.as_deref().is_some_and(|own| opaque(own) == opaque(tag)),
                None => asking
                    .if_modified_since
                    .is_some_and(|since| said.last_modified.unwrap_or(said.date) <= since),
            };
        let status = if unmodified { 304 } else { said.status };
        Answer { status, serial: Some(said.serial), version: (!unmodified).then_some(said.version), age }
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

impl Cache {
    /// §4: the selected response, if there is one; of several the most recent.
    fn chosen(&self, asking: &Asking) -> Option<usize> {
        let matching = (0..self.0.len()).filter(|&index| self.0[index].selects(asking));
        matching.max_by_key(|&index| (self.0[index].said.date, self.0[index].received))
    }

    pub fn get(&self, asking: &Asking, now: u64) -> First {
        let chosen = self.chosen(asking).map(|index| &self.0[index]);
        match chosen {
            Some(stored) if stored.is_fresh(now) && !stored.said.no_cache => {
                First::Answer(stored.answer(asking, Some(stored.age(now))))
            }
            _ if asking.only_if_cached => {
                First::Answer(Answer { status: 504, serial: None, version: None, age: None })
            }
            Some(stored) => First::Ask {
                if_none_match: stored.said.etag.clone(),
                if_modified_since: stored.said.last_modified,
            },
            None => First::Ask { if_none_match: None, if_modified_since: None },
        }
    }

    pub fn met(&mut self, asking: &Asking, met: Met, now: u64) -> Answer {
        let chosen = self.chosen(asking);
        match met {
            Met::HungUp => match chosen.map(|index| &self.0[index]) {
                // §4.2.4: disconnected, and not forbidden; the edge does so for a day.
                Some(stored) if !stored.said.no_cache && !stored.said.forbids_stale() => {
                    stored.answer(asking, Some(stored.age(now)))
                }
                Some(stored) if !stored.said.no_cache => ours(504),
                _ => ours(502),
            },
            Met::Answered(said) if said.status == 503 => match chosen.map(|index| &self.0[index]) {
                // RFC 5861 §4.
                Some(stored) if stored.may_stand_in(now) => stored.answer(asking, Some(stored.age(now))),
                _ => passed(&said),
            },
            Met::Answered(said) if said.is_storable(asking) => {
                let stored = Stored::new(said, asking, now);
                let answer = stored.answer(asking, None);
                self.0.retain(|other| other.shade != stored.shade);
                self.0.push(stored);
                answer
            }
            // §4.3.2: its conditions are judged here, as the origin did not see them.
            Met::Answered(said) => Stored::new(said, asking, now).answer(asking, None),
            Met::NotModified(said) => self.validated(chosen.expect("what was validated"), asking, said, now),
        }
    }

    /// §4.3.4. What it may not keep it uses this once.
    fn validated(&mut self, chosen: usize, asking: &Asking, said: Said, now: u64) -> Answer {
        let keeps = said.is_storable(asking);
        let fresh = Stored { said, received: now, shade: self.0[chosen].shade };
        let answer = fresh.answer(asking, None);
        self.0.remove(chosen);
        if keeps {
            self.0.push(fresh);
        }
        answer
    }

    /// A HEAD: as a GET when that is answered from the store; else what the origin says of what is stored (§4.3.5).
    pub fn told_by_head(&mut self, asking: &Asking, said: &Said, now: u64) {
        if said.status != 200 {
            return;
        }
        let (about, mut rest): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|stored| stored.selects(asking) && stored.said.status == 200);
        let same = about
            .into_iter()
            .filter(|stored| stored.said.version == said.version && said.is_storable(asking));
        rest.extend(same.map(|stored| Stored { said: said.clone(), received: now, shade: stored.shade }));
        self.0 = rest;
    }

    /// §4.4, and a purge.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Stored {
    fn new(said: Said, asking: &Asking, now: u64) -> Self {
        let shade = (said.vary == Vary::Shade).then_some(asking.shade);
        Self { said, received: now, shade }
    }

    fn may_stand_in(&self, now: u64) -> bool {
        let window = self.said.stale_if_error.unwrap_or(0);
        let within = self.age(now) < self.said.lifetime().0 + window;
        !self.said.no_cache && !self.said.forbids_stale() && within
    }
}

fn ours(status: u16) -> Answer {
    Answer { status, serial: None, version: None, age: None }
}

/// As the origin sent it.
pub fn passed(said: &Said) -> Answer {
    Answer { status: said.status, serial: Some(said.serial), version: Some(said.version), age: None }
}
