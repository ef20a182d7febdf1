//! The world of the simulation: clients, one key, its fetches and an origin. It obeys the decisions as `serve` and
//! `flight` do, and says what a client may have by looking at everything.

use std::time::SystemTime;

use crate::decide::outcome::{Answered, ForOne, Held, Question, Received, Told};
use crate::decide::plan::Plan;
use crate::decide::share::{self, Candidate, Likeness, Next, Round, Seeker, Share, Waited};
use crate::decide::step::{self, Step};
use crate::decide::terms::Moments;
use crate::decide::{Cause, Company, Credentials, Meant, Role, Standing, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::testing::{at, request, response};
use crate::policy::headers::status::ProxyError;
use crate::policy::{Entry, Failure};
use crate::site::Rules;

/// The cache directives of the origin's responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Public,
    Private,
    Varying,
    Validated,
    NotStored,
}

/// One client's request.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    pub(super) at_secs: u64,
    /// Leaves so long after it came, unless it has its answer.
    pub(super) patience_secs: Option<u64>,
    pub(super) language: u8,
    pub(super) user: u8,
    pub(super) authorized: bool,
    /// The origin answers it with a 500.
    pub(super) is_bad: bool,
    pub(super) method: &'static str,
}

impl Asks {
    pub(super) fn head(&self) -> RequestHead {
        let (language, user) = (format!("l{}", self.language), format!("u{}", self.user));
        let mut fields = vec![("accept-language", language.as_str())];
        if self.user > 0 {
            fields.push(("cookie", &user));
        }
        if self.authorized {
            fields.push(("authorization", &user));
        }
        if self.is_bad {
            fields.push(("x-bad", "1"));
        }
        request(self.method, "http://a.example/", &fields)
    }
}

/// The origin's record of one request: its user, and when the answer left.
#[derive(Debug, Clone)]
pub(super) struct Made {
    request: RequestHead,
    asked_secs: u64,
    /// When the origin last said that it holds.
    confirmed_secs: u64,
}

/// The answer that a client got.
#[derive(Debug, Clone)]
pub(super) enum Got {
    Response(Made),
    /// The origin's error for this request.
    Error(RequestHead),
    /// No origin answered; its error.
    Unanswered,
}

pub(super) struct Client {
    pub(super) asks: Asks,
    pub(super) head: RequestHead,
    pub(super) cause: Option<Cause>,
    pub(super) round: Round,
    pub(super) company: Company,
    pub(super) terms: Terms,
    pub(super) plan: Option<Plan<(Entry, Made)>>,
    pub(super) waits: Option<(usize, Role)>,
    pub(super) led: usize,
    pub(super) got: Option<(u64, Got)>,
    pub(super) left: bool,
}

pub(super) struct Fetch {
    leader: RequestHead,
    plan: Plan<(Entry, Made)>,
    meant: Meant,
    cause: Cause,
    began_secs: u64,
    ends_secs: u64,
    listed: bool,
    void: bool,
}

pub(super) struct World {
    pub(super) kind: Kind,
    /// Every third request finds its connection closed.
    pub(super) loses: bool,
    pub(super) rules: Rules,
    pub(super) moments: Moments,
    pub(super) stored: Vec<(Entry, Made)>,
    pub(super) fetches: Vec<Option<Fetch>>,
    pub(super) clients: Vec<Client>,
    pub(super) delays: Vec<u64>,
    pub(super) purges: Vec<u64>,
}

pub(super) const RESPONSE_SECS: u64 = 10;

impl World {
    fn now(secs: u64) -> SystemTime {
        at(1_000 + secs)
    }

    /// The response that a fetch brings.
    fn origin(&self, number: usize, fetch: &Fetch) -> Result<ResponseHead, ProxyError> {
        if self.loses && number.is_multiple_of(3) {
            return Err(ProxyError::ConnectionTerminated);
        }
        if fetch.leader.headers.contains_key("x-bad") {
            return Ok(response(500, &[]));
        }
        if matches!(fetch.plan, Plan::Validate { .. }) {
            return Ok(response(304, &[("cache-control", "no-cache"), ("etag", "\"v\"")]));
        }
        Ok(match self.kind {
            Kind::Public => response(200, &[("cache-control", "public, max-age=10")]),
            Kind::Private => response(200, &[("cache-control", "private, max-age=10")]),
            Kind::Varying => {
                response(200, &[("cache-control", "public, max-age=10"), ("vary", "accept-language")])
            }
            Kind::Validated => response(200, &[("cache-control", "no-cache"), ("etag", "\"v\"")]),
            Kind::NotStored => response(200, &[("cache-control", "no-store")]),
        })
    }

    pub(super) fn run(&mut self) {
        for secs in 0..200 {
            if self.purges.contains(&secs) {
                self.stored.clear();
                for fetch in self.fetches.iter_mut().flatten() {
                    (fetch.void, fetch.listed) = (true, false);
                }
            }
            for client in 0..self.clients.len() {
                self.leave(client, secs);
                if self.clients[client].asks.at_secs == secs {
                    self.arrive(client, secs);
                }
            }
            // A fetch that a waiting client begins at this moment takes a second at least.
            for number in 0..self.fetches.len() {
                if self.fetches[number].as_ref().is_some_and(|fetch| fetch.ends_secs == secs) {
                    self.answer(number, secs);
                }
            }
        }
    }

    fn leave(&mut self, number: usize, secs: u64) {
        let client = &mut self.clients[number];
        let gone = client.asks.patience_secs.is_some_and(|patience| client.asks.at_secs + patience == secs);
        if let Some((fetch, _)) = client.waits.filter(|_| gone) {
            (client.waits, client.left) = (None, true);
            self.abandon(fetch);
        }
    }

    /// Ends a fetch for which nobody waits.
    fn abandon(&mut self, fetch: usize) {
        let waits = |client: &Client| client.waits.is_some_and(|(number, _)| number == fetch);
        if !self.clients.iter().any(waits) {
            self.fetches[fetch] = None;
        }
    }

    fn arrive(&mut self, number: usize, secs: u64) {
        let head = self.clients[number].head.clone();
        let cause = Cause { at: self.moments.next(), credentials: Credentials::of(&head.headers) };
        self.clients[number].cause = Some(cause.clone());
        let entries: Vec<&Entry> = self.stored.iter().map(|(entry, _)| entry).collect();
        match step::step(&head, &entries, &self.rules, Self::now(secs)) {
            Step::Serve { variant, .. } => {
                let made = self.stored[variant].1.clone();
                self.clients[number].got = Some((secs, Got::Response(made)));
            }
            Step::Fetch { plan, .. } => {
                let plan = plan.map(|variant| self.stored[variant].clone());
                let about = plan.of(|(entry, _)| entry);
                let newest = self.stored.first().map(|(entry, _)| entry);
                let client = &mut self.clients[number];
                client.company = share::at_first(&head, newest, &about);
                client.terms = share::terms(&about, &cause);
                self.join(number, plan, secs);
            }
            other => panic!("nothing stale is allowed here, and nothing passed: {other:?}"),
        }
    }

    fn join(&mut self, number: usize, plan: Plan<(Entry, Made)>, secs: u64) {
        // A purged response is neither confirmed nor joined: the store says so when it is put.
        let is_purged = |(_, made): &(Entry, Made)| made.asked_secs < self.purged_before(secs);
        let plan = if plan.held().is_some_and(is_purged) { Plan::Whole { reserve: None } } else { plan };
        self.clients[number].plan = Some(plan.clone());
        let client = &self.clients[number];
        let cause = client.cause.clone().expect("it has arrived");
        let seeker =
            Seeker { request: &client.head, cause: &cause, company: &client.company, terms: client.terms };
        let follows = |fetch: &Fetch| {
            let under_way = Candidate { meant: &fetch.meant, cause: &fetch.cause, request: &fetch.leader };
            fetch.listed && seeker.may_follow(&under_way, |_| false)
        };
        let found = self.fetches.iter().rposition(|fetch| fetch.as_ref().is_some_and(follows));
        if let Some(fetch) = found.filter(|_| client.company != Company::Alone) {
            self.clients[number].waits = Some((fetch, Role::Follower));
            return;
        }
        let meant = seeker.meant();
        let delay = self.delays[self.fetches.len() % self.delays.len()];
        self.fetches.push(Some(Fetch {
            leader: client.head.clone(),
            plan,
            listed: meant.is_some(),
            meant: meant.unwrap_or(Meant::ForAll),
            cause: Cause { at: self.moments.next(), ..cause },
            began_secs: secs,
            ends_secs: secs + delay,
            void: false,
        }));
        let client = &mut self.clients[number];
        (client.waits, client.led) = (Some((self.fetches.len() - 1, Role::Leader)), client.led + 1);
    }

    /// The origin has answered a fetch: the answer goes to some clients, and the others take their next step.
    fn answer(&mut self, number: usize, secs: u64) {
        let fetch = self.fetches[number].take().expect("it is under way");
        let brought = self.brought(number, &fetch, secs);
        for client in 0..self.clients.len() {
            let Some((waited, role)) = self.clients[client].waits else { continue };
            if waited == number {
                self.clients[client].waits = None;
                self.take(client, role, &fetch, &brought, secs);
            }
        }
    }

    fn brought(&mut self, number: usize, fetch: &Fetch, secs: u64) -> Brought {
        let about = fetch.plan.of(|(entry, _)| entry);
        let held = if fetch.void { Held::Purged } else { Held::Usable };
        let (rules, now) = (&self.rules, Self::now(secs));
        let question =
            Question { request: &fetch.leader, plan: &about, rules, max_object_bytes: 1 << 20, held, now };
        let head = match self.origin(number, fetch) {
            Ok(head) => head,
            Err(error) => {
                assert!(question.of_failure(Failure::Unreachable).is_err(), "nothing stale is allowed here");
                return Brought::Unanswered(error);
            }
        };
        let asked = Self::now(fetch.began_secs);
        let answered = Answered {
            head: &head,
            length: Some(1),
            worse_than_stored: false,
            was_too_big: false,
            asked,
            received: now,
        };
        let made = Made {
            request: fetch.leader.clone(),
            asked_secs: fetch.began_secs,
            confirmed_secs: fetch.began_secs,
        };
        match question.of_answer(&answered) {
            Told::Received(Received::Fill(lifetime)) => {
                let entry = Entry::new(&fetch.leader, &head, lifetime, asked, now, Some(1));
                if !fetch.void {
                    self.stored.retain(|(other, _)| other.selecting != entry.selecting);
                    self.stored.insert(0, (entry.clone(), made.clone()));
                }
                Brought::Filling(Box::new((head, entry, made)))
            }
            Told::Received(Received::ForOne(ForOne::Error(_))) => Brought::Error,
            Told::Received(Received::ForOne(_)) => Brought::Apart(made.into()),
            Told::Freshened(entry) => {
                let (_, before) = fetch.plan.held().expect("it was validated");
                let made = Made { confirmed_secs: fetch.began_secs, ..before.clone() };
                if fetch.void {
                    return Brought::Apart(made.into());
                }
                self.stored.retain(|(other, _)| other.selecting != entry.selecting);
                self.stored.insert(0, (*entry.clone(), made.clone()));
                Brought::Validated(Box::new((*entry, made)))
            }
            // As with `Authorization`, where the response does not say that others may have it.
            Told::Once(_, why) => {
                let (held, before) = fetch.plan.held().expect("it was validated");
                if !why.is_of_request() {
                    self.stored.retain(|(other, _)| other.selecting != held.selecting);
                }
                Brought::Apart(Made { confirmed_secs: fetch.began_secs, ..before.clone() }.into())
            }
            other => panic!("no origin here answers so: {other:?}"),
        }
    }

    fn take(&mut self, number: usize, role: Role, fetch: &Fetch, brought: &Brought, secs: u64) {
        let client = &self.clients[number];
        let cause = client.cause.as_ref().expect("it has arrived");
        let as_own = role == Role::Leader || Terms::LikeSince.allow(&fetch.cause, cause);
        let waited = Waited {
            request: &client.head,
            rules: &self.rules,
            now: Self::now(secs),
            role,
            standing: if as_own { Standing::AsOwn } else { Standing::Another },
            likeness: Likeness::of(&fetch.leader, &client.head),
            round: client.round,
        };
        let share = match brought {
            _ if fetch.void && role == Role::Follower => Share::Not(Next::Again),
            Brought::Filling(filling) => waited.filling(&filling.0, &filling.1),
            Brought::Validated(validated) => waited.validated(&validated.0),
            Brought::Apart(_) => waited.apart(),
            Brought::Error => waited.error(),
            Brought::Unanswered(error) => waited.unanswered(*error),
        };
        match share {
            Share::Answers => {
                let got = match brought {
                    Brought::Filling(filling) => Got::Response(filling.2.clone()),
                    Brought::Validated(validated) => Got::Response(validated.1.clone()),
                    Brought::Apart(made) => Got::Response(Made::clone(made)),
                    Brought::Error => Got::Error(fetch.leader.clone()),
                    Brought::Unanswered(_) => Got::Unanswered,
                };
                self.clients[number].got = Some((secs, got));
            }
            Share::Not(next) => self.go_on(number, &next, secs),
        }
    }

    fn go_on(&mut self, number: usize, next: &Next, secs: u64) {
        let mut plan = self.clients[number].plan.clone().expect("it has waited");
        if *next == Next::Validate {
            self.clients[number].terms = Terms::LikeSince;
            let entries: Vec<&Entry> = self.stored.iter().map(|(entry, _)| entry).collect();
            let head = &self.clients[number].head;
            match step::step(head, &entries, &self.rules, Self::now(secs)) {
                Step::Serve { variant, .. } => {
                    let made = self.stored[variant].1.clone();
                    self.clients[number].got = Some((secs, Got::Response(made)));
                    return;
                }
                Step::Fetch { plan: asked @ Plan::Validate { .. }, .. } => {
                    plan = asked.map(|variant| self.stored[variant].clone());
                }
                _ => {}
            }
        }
        let client = &mut self.clients[number];
        client.company = share::company_after(client.round, next, client.company.clone());
        client.round = Round::Later;
        self.join(number, plan, secs);
    }

    /// The last purge before this second.
    fn purged_before(&self, secs: u64) -> u64 {
        self.purges.iter().copied().filter(|purge| *purge <= secs).max().unwrap_or(0)
    }

    pub(super) fn check(&self) {
        for (number, client) in self.clients.iter().enumerate() {
            let Some((secs, got)) = &client.got else {
                assert!(client.left, "{number} got no answer");
                continue;
            };
            // One fetch of its own, once more with the others, once with its twins, and one alone.
            assert!(client.led <= 4, "{number} was asked for {} times", client.led);
            let twin = |other: &RequestHead| Likeness::of(other, &client.head) == Likeness::Twin;
            match got {
                Got::Error(whose) => assert!(twin(whose), "{number} got another request's error"),
                Got::Unanswered => assert!(self.loses, "{number} got an error that there was not"),
                Got::Response(made) => self.check_response(number, client, *secs, made),
            }
        }
    }

    fn check_response(&self, number: usize, client: &Client, secs: u64, made: &Made) {
        let same = |name: &str| made.request.headers.get(name) == client.head.headers.get(name);
        let arrived_secs = client.asks.at_secs;
        match self.kind {
            Kind::Private | Kind::NotStored => {
                let twin = Likeness::of(&made.request, &client.head) == Likeness::Twin;
                assert!(twin, "{number} got what was for one other");
            }
            Kind::Varying => assert!(same("accept-language"), "{number} got another variant"),
            Kind::Validated => {
                assert!(made.confirmed_secs >= arrived_secs, "{number} got what was not validated for it");
            }
            Kind::Public => {}
        }
        if self.kind != Kind::Private && self.kind != Kind::NotStored {
            assert!(made.confirmed_secs + RESPONSE_SECS + 10 >= secs, "{number} got what was stale");
        }
        let purged_secs = self.purged_before(arrived_secs);
        assert!(made.asked_secs >= purged_secs || purged_secs == 0, "{number} got what was purged");
    }
}

/// The result of a fetch.
enum Brought {
    Filling(Box<(ResponseHead, Entry, Made)>),
    Validated(Box<(Entry, Made)>),
    Apart(Box<Made>),
    Error,
    Unanswered(ProxyError),
}
