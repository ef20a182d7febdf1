//! A shared cache as RFC 9111 has it, written from its text alone, one plain rule after another.

/// The directives of one field (seconds).
#[derive(Debug, Clone, Default)]
pub struct Directives {
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
}

/// `CDN-Cache-Control`.
#[derive(Debug, Clone, Default)]
pub enum Targeted {
    #[default]
    Absent,
    /// It is no Structured Field Dictionary.
    Broken,
    Says(Directives),
}

/// An origin's response and its time (seconds).
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub version: u64,
    /// Differs in every message that the origin sends.
    pub serial: u64,
    pub status: u16,
    pub control: Directives,
    pub targeted: Targeted,
    /// Of its body.
    pub length: u64,
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

/// A client's request.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    pub shade: Option<u8>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<u64>,
    pub authorization: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    /// It wants to have validated what is stored: `no-cache`, `max-age=0` or `Pragma: no-cache`.
    pub reload: bool,
    /// From this byte to that one.
    pub range: Option<(u64, u64)>,
}

/// A stored response.
#[derive(Debug, Clone)]
struct Stored {
    said: Said,
    received: u64,
    /// The request's `Shade`, if that selects.
    shade: Option<Option<u8>>,
}

/// The cache's first step for a GET, before it knows the origin's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    Answer(Answer),
    /// It asks the origin.
    Ask(Conditions),
    /// It answers, and asks the origin behind that (RFC 5861 §3).
    AnswerAndAsk(Answer, Conditions),
}

/// The cache's own conditions in a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<u64>,
}

/// The client's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Of the origin's message that it rests on; none for our own.
    pub serial: Option<u64>,
    /// Its version, where a body is sent.
    pub version: Option<u64>,
    /// The bytes of that, if not all.
    pub part: Option<(u64, u64)>,
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
pub struct Cache {
    stored: Vec<Stored>,
    /// When the origin last failed, unless something was stored since.
    failed: Option<u64>,
}

/// Seconds after a failure in which the cache asks nothing behind an answer.
const PAUSE: u64 = 5;

/// Seconds that an error is fresh at most.
const MAX_ERROR: u64 = 5;

impl Said {
    /// RFC 9213 §2.1, §2.2: a valid targeted field rules alone.
    fn rules(&self) -> &Directives {
        match &self.targeted {
            Targeted::Says(directives) => directives,
            Targeted::Absent | Targeted::Broken => &self.control,
        }
    }

    /// §4.2.1, §4.2.2: the lifetime, and whether the origin gave it.
    fn lifetime(&self) -> (u64, bool) {
        let (secs, explicit) = self.lifetime_by_rfc();
        // Not of the RFC: the edge shares no error for long that may be a moment's or one client's own doing.
        let short = self.passes() || self.status >= 400 && !explicit;
        (if short { secs.min(MAX_ERROR) } else { secs }, explicit)
    }

    /// Whether the lifetime is heuristic (§4.2.2).
    fn is_guess(&self) -> bool {
        matches!(self.lifetime(), (1.., false))
    }

    fn lifetime_by_rfc(&self) -> (u64, bool) {
        let rules = self.rules();
        if let Some(secs) = rules.s_maxage.or(rules.max_age) {
            return (secs, true);
        }
        if let Some(secs) = self.expires
            && !matches!(self.targeted, Targeted::Says(_))
        {
            return (secs.max(0).cast_unsigned(), true);
        }
        let public = rules.public && self.status < 400;
        match self.last_modified {
            Some(modified) if (self.heuristic() || public) && !rules.no_cache => {
                (((self.date - modified) / 10).min(86_400), false)
            }
            _ => (0, false),
        }
    }

    /// An error that may be over in a moment, or that only one request has.
    fn passes(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    /// RFC 9110 §15.1, of the statuses that the test uses.
    fn heuristic(&self) -> bool {
        matches!(self.status, 200 | 301 | 404 | 410)
    }

    /// §4.2.4, §5.2.2.10.
    fn forbids_stale(&self) -> bool {
        let rules = self.rules();
        let window = rules.stale_while_revalidate.is_some() || rules.stale_if_error.is_some();
        // In a field that is for this cache alone, a window beside s-maxage can only be meant to count.
        let meant = matches!(self.targeted, Targeted::Says(_)) && window;
        self.passes() || rules.must_revalidate || rules.s_maxage.is_some() && !meant
    }

    /// How long after its end it may be used at most.
    fn windows(&self) -> u64 {
        let Directives { stale_while_revalidate, stale_if_error, .. } = self.rules();
        if self.forbids_stale() { 0 } else { stale_while_revalidate.max(stale_if_error).unwrap_or(0) }
    }

    fn has_validator(&self) -> bool {
        !self.passes() && (self.etag.is_some() || self.last_modified.is_some())
    }

    /// §5.2.1.5, §3.5: it is the request that keeps it from being stored.
    fn is_forbidden_by(&self, asking: &Asking) -> bool {
        let rules = self.rules();
        let shared = rules.public || rules.must_revalidate || rules.s_maxage.is_some();
        asking.no_store || asking.authorization && !shared && !rules.no_store && !rules.private
    }

    /// §3, and never what no request could be answered from.
    fn is_storable(&self, asking: &Asking) -> bool {
        let (lifetime, explicit) = self.lifetime();
        let rules = self.rules();
        let shared = rules.public || rules.must_revalidate || rules.s_maxage.is_some();
        if asking.no_store || rules.no_store || rules.private || self.vary == Vary::Star {
            return false;
        }
        if asking.authorization && !shared {
            return false;
        }
        // §7.3 would allow it with explicit freshness; the edge's default does not.
        if self.set_cookie {
            return false;
        }
        if !(explicit || rules.public || self.heuristic()) {
            return false;
        }
        self.has_validator() || !rules.no_cache && (lifetime > 0 || self.windows() > 0)
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
        let whole = Answer {
            status: said.status,
            serial: Some(said.serial),
            version: Some(said.version),
            part: None,
            age,
        };
        match asking.range {
            _ if unmodified => Answer { status: 304, version: None, ..whole },
            // RFC 9110 §14.2, §15.3.7, §15.5.17.
            Some((first, _)) if said.status == 200 && first >= said.length => {
                Answer { status: 416, serial: None, version: None, ..whole }
            }
            Some((first, last)) if said.status == 200 => {
                Answer { status: 206, part: Some((first, last.min(said.length - 1))), ..whole }
            }
            _ => whole,
        }
    }

    /// §4.3.1.
    fn conditions(&self) -> Conditions {
        if self.said.passes() {
            return Conditions::default();
        }
        Conditions { if_none_match: self.said.etag.clone(), if_modified_since: self.said.last_modified }
    }

    fn no_cache(&self) -> bool {
        self.said.rules().no_cache
    }

    /// Without the origin: fresh, or refreshed behind the answer.
    fn is_usable(&self, now: u64) -> bool {
        self.is_fresh(now) || self.may_be_refreshed_behind(now)
    }

    /// A good response that is fresh, or that the edge would serve if its origin were gone.
    fn is_worth_more_than_an_error(&self, now: u64) -> bool {
        !self.said.passes() && !self.no_cache() && (self.is_fresh(now) || !self.said.forbids_stale())
    }

    /// RFC 5861 §3.
    fn may_be_refreshed_behind(&self, now: u64) -> bool {
        self.is_stale_within(self.said.rules().stale_while_revalidate, now)
    }

    /// RFC 5861 §4; and what is fresh still, if it was asked about only because a client wanted that.
    fn may_stand_in(&self, now: u64) -> bool {
        !self.no_cache() && self.is_fresh(now) || self.is_stale_within(self.said.rules().stale_if_error, now)
    }

    fn is_stale_within(&self, window: Option<u64>, now: u64) -> bool {
        let within = self.age(now) < self.said.lifetime().0 + window.unwrap_or(0);
        !self.no_cache() && !self.said.forbids_stale() && within
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

impl Cache {
    /// §4: the selected response, if there is one; of several the most recent.
    fn chosen(&self, asking: &Asking) -> Option<usize> {
        let matching = (0..self.stored.len()).filter(|&index| self.stored[index].selects(asking));
        matching.max_by_key(|&index| (self.stored[index].said.date, self.stored[index].received))
    }

    pub fn get(&self, asking: &Asking, now: u64) -> First {
        let chosen = self.chosen(asking).map(|index| &self.stored[index]);
        match chosen {
            Some(stored)
                if !stored.no_cache() && asking.reload && stored.said.is_guess() && stored.is_usable(now) =>
            {
                match asking.only_if_cached {
                    true => First::Answer(ours(504)),
                    false => First::Ask(stored.conditions()),
                }
            }
            Some(stored) if stored.is_fresh(now) && !stored.no_cache() => {
                First::Answer(stored.answer(asking, Some(stored.age(now))))
            }
            Some(stored) if stored.may_be_refreshed_behind(now) => {
                let answer = stored.answer(asking, Some(stored.age(now)));
                match self.failed {
                    Some(failed) if now < failed + PAUSE => First::Answer(answer),
                    _ => First::AnswerAndAsk(answer, stored.conditions()),
                }
            }
            _ if asking.only_if_cached => First::Answer(ours(504)),
            Some(stored) => First::Ask(stored.conditions()),
            None => First::Ask(Conditions::default()),
        }
    }

    pub fn met(&mut self, asking: &Asking, met: Met, now: u64) -> Answer {
        let chosen = self.chosen(asking);
        if matches!(&met, Met::HungUp) || matches!(&met, Met::Answered(said) if said.status == 503) {
            self.failed = Some(now);
        }
        match met {
            Met::HungUp => match chosen.map(|index| &self.stored[index]) {
                // §4.2.4: disconnected, and not forbidden; the edge does so for a day.
                Some(stored)
                    if !stored.no_cache() && (stored.is_fresh(now) || !stored.said.forbids_stale()) =>
                {
                    stored.answer(asking, Some(stored.age(now)))
                }
                Some(stored) if !stored.no_cache() => ours(504),
                _ => ours(502),
            },
            // RFC 5861 §4.
            Met::Answered(said)
                if said.status == 503 && chosen.is_some_and(|index| self.stored[index].may_stand_in(now)) =>
            {
                let stored = &self.stored[chosen.expect("it was found")];
                stored.answer(asking, Some(stored.age(now)))
            }
            Met::Answered(said)
                if said.passes()
                    && (!said.is_storable(asking)
                        || self.stored.iter().any(|stored| stored.is_worth_more_than_an_error(now))) =>
            {
                passed(&said)
            }
            Met::Answered(said) if said.is_storable(asking) => {
                let stored = Stored::new(said, asking, now);
                let answer = stored.answer(asking, None);
                self.stored.retain(|other| other.shade != stored.shade);
                self.stored.push(stored);
                self.failed = None;
                answer
            }
            // §4.3.2: its conditions are judged here, as the origin did not see them.
            // No range is cut out of it: the origin saw that, and has answered.
            Met::Answered(said) => {
                // §4.3.3: it shows that what is stored is suitable no more.
                if let Some(chosen) = chosen.filter(|_| !said.is_forbidden_by(asking)) {
                    self.stored.remove(chosen);
                }
                // RFC 9110 §13.1.3: only a modification date can be compared with one.
                let since = asking.if_modified_since.filter(|_| said.last_modified.is_some());
                let asking = Asking { range: None, if_modified_since: since, ..asking.clone() };
                Stored::new(said, &asking, now).answer(&asking, None)
            }
            Met::NotModified(said) => self.validated(chosen.expect("what was validated"), asking, said, now),
        }
    }

    /// §4.3.4. A response that it may not keep it uses this once; one stored for another request stays if
    /// that is for the sake of this one.
    fn validated(&mut self, chosen: usize, asking: &Asking, said: Said, now: u64) -> Answer {
        let keeps = said.is_storable(asking);
        let stays = said.is_forbidden_by(asking);
        let fresh = Stored { said, received: now, shade: self.stored[chosen].shade };
        let answer = fresh.answer(asking, None);
        if stays {
            return answer;
        }
        self.stored.remove(chosen);
        if keeps {
            self.stored.push(fresh);
            self.failed = None;
        }
        answer
    }

    /// A HEAD: as a GET when that is answered from the store; else what the origin says of what is stored (§4.3.5).
    pub fn told_by_head(&mut self, asking: &Asking, said: &Said, now: u64) {
        if said.status != 200 {
            return;
        }
        let (about, mut rest): (Vec<_>, Vec<_>) =
            self.stored.drain(..).partition(|stored| stored.selects(asking) && stored.said.status == 200);
        // Not of the RFC, which would update here: without a validator nothing shows that it is the same.
        let shown = said.etag.is_some() || said.last_modified.is_some();
        let same = about
            .into_iter()
            .filter(|stored| stored.said.version == said.version && (!shown || said.is_storable(asking)));
        rest.extend(same.map(|stored| match shown {
            true => Stored { said: said.clone(), received: now, shade: stored.shade },
            false => stored,
        }));
        self.stored = rest;
    }

    /// §4.4, and a purge.
    pub fn clear(&mut self) {
        self.stored.clear();
    }
}

impl Stored {
    fn new(said: Said, asking: &Asking, now: u64) -> Self {
        let shade = (said.vary == Vary::Shade).then_some(asking.shade);
        Self { said, received: now, shade }
    }
}

/// An error of the cache's own.
pub fn ours(status: u16) -> Answer {
    Answer { status, serial: None, version: None, part: None, age: None }
}

/// As the origin sent it.
pub fn passed(said: &Said) -> Answer {
    Answer {
        status: said.status,
        serial: Some(said.serial),
        version: Some(said.version),
        part: None,
        age: None,
    }
}
