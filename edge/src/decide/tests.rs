//! Requests for one key on virtual time: random arrivals, origin outcomes, purges and clients that leave, against a naive
//! model of what sharing may do. A response's body is taken to come with its head.

use std::time::SystemTime;

use proptest::prelude::*;

use super::outcome::{Answered, ForOne, Held, Question, Received, Told};
use super::plan::Plan;
use super::share::{self, Candidate, Likeness, Next, Round, Seeker, Share, Waited};
use super::step::{self, Step};
use super::terms::Moments;
use super::{Cause, Company, Credentials, Meant, Role, Standing, Terms};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::testing::{at, request, response};
use crate::policy::headers::status::ProxyError;
use crate::policy::{Entry, Failure};
use crate::site::Rules;

/// What the origin says of its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Varying,
    Validated,
    NotStored,
}

/// One client's request.
#[derive(Debug, Clone)]
struct Asks {
    at_secs: u64,
    /// Leaves so long after it came, unless it has its answer.
    patience_secs: Option<u64>,
    language: u8,
    user: u8,
    authorized: bool,
    /// The origin answers it with a 500.
    is_bad: bool,
    method: &'static str,
}

impl Asks {
    fn head(&self) -> RequestHead {
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

/// What the origin made of one request: for whose, and when that left.
#[derive(Debug, Clone)]
struct Made {
    request: RequestHead,
    asked_secs: u64,
    /// When the origin last said that it holds.
    confirmed_secs: u64,
}

/// What a client got.
#[derive(Debug, Clone)]
enum Got {
    Response(Made),
    /// The origin's error for this request.
    Error(RequestHead),
    /// No origin answered; its error.
    Unanswered,
}

struct Client {
    asks: Asks,
    head: RequestHead,
    cause: Option<Cause>,
    round: Round,
    company: Company,
    terms: Terms,
    plan: Option<Plan<(Entry, Made)>>,
    waits: Option<(usize, Role)>,
    led: usize,
    got: Option<(u64, Got)>,
    left: bool,
}

struct Fetch {
    leader: RequestHead,
    plan: Plan<(Entry, Made)>,
    meant: Meant,
    cause: Cause,
    began_secs: u64,
    ends_secs: u64,
    listed: bool,
    void: bool,
}

struct World {
    kind: Kind,
    /// Every third request finds its connection closed.
    loses: bool,
    rules: Rules,
    moments: Moments,
    stored: Vec<(Entry, Made)>,
    fetches: Vec<Option<Fetch>>,
    clients: Vec<Client>,
    delays: Vec<u64>,
    purges: Vec<u64>,
}

const RESPONSE_SECS: u64 = 10;

impl World {
    fn now(secs: u64) -> SystemTime {
        at(1_000 + secs)
    }

    /// What a fetch brings.
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

    fn run(&mut self) {
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
        // What was purged since is neither confirmed nor joined: the store says so when it is to be put.
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

    /// The origin has answered a fetch: whom that answers, and what the others do.
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

    fn check(&self) {
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

/// What a fetch brought.
enum Brought {
    Filling(Box<(ResponseHead, Entry, Made)>),
    Validated(Box<(Entry, Made)>),
    Apart(Box<Made>),
    Error,
    Unanswered(ProxyError),
}

fn world(kind: Kind, loses: bool, asks: Vec<Asks>, delays: Vec<u64>, purges: Vec<u64>) -> World {
    let client = |asks: Asks| Client {
        head: asks.head(),
        asks,
        cause: None,
        round: Round::First,
        company: Company::Any,
        terms: Terms::Any,
        plan: None,
        waits: None,
        led: 0,
        got: None,
        left: false,
    };
    // Nothing stale is served, so that each answer can be told from when it was made.
    let rules = Rules { stale_on_disconnect_secs: 0, ..Rules::default() };
    World {
        kind,
        loses,
        rules,
        moments: Moments::default(),
        stored: Vec::new(),
        fetches: Vec::new(),
        clients: asks.into_iter().map(client).collect(),
        delays,
        purges,
    }
}

fn asks() -> impl Strategy<Value = Asks> {
    let who = (0..40u64, proptest::option::of(1..6u64), 0..3u8, 0..3u8);
    (who, proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), proptest::bool::weighted(0.1))
        .prop_map(|((at_secs, patience_secs, language, user), authorized, is_bad, is_head)| Asks {
            at_secs,
            patience_secs,
            language,
            user,
            authorized,
            is_bad,
            method: if is_head { "HEAD" } else { "GET" },
        })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Public),
        Just(Kind::Private),
        Just(Kind::Varying),
        Just(Kind::Validated),
        Just(Kind::NotStored)
    ]
}

proptest! {
    #[test]
    fn every_request_is_answered_with_what_is_its_own_to_have(
        kind in kind(),
        loses in any::<bool>(),
        asks in proptest::collection::vec(asks(), 1..25),
        delays in proptest::collection::vec(1..8u64, 1..6),
        purges in proptest::collection::vec(1..40u64, 0..3),
    ) {
        let mut world = world(kind, loses, asks, delays, purges);
        world.run();
        world.check();
    }

    #[test]
    fn what_may_be_shared_is_fetched_once_until_it_is_stale_or_purged(
        arrivals in proptest::collection::vec((0..40u64, 0..3u8), 1..40),
        delays in proptest::collection::vec(1..8u64, 1..6),
        purges in proptest::collection::vec(1..40u64, 0..3),
    ) {
        let ask = |(at_secs, language)| Asks {
            at_secs, patience_secs: None, language, user: 0, authorized: false, is_bad: false, method: "GET",
        };
        let purged = purges.len();
        let mut world = world(Kind::Public, false, arrivals.into_iter().map(ask).collect(), delays, purges);
        world.run();
        world.check();
        // Each fetch serves for ten seconds from when it began, at least two of which it takes or is fresh.
        let spans = 40 / RESPONSE_SECS as usize + 1;
        // A purge makes one fetch void, whose leader has its answer and whose followers begin another.
        prop_assert!(world.fetches.len() <= spans * 2 + purged * 2, "{} fetches", world.fetches.len());
    }
}

#[test]
fn nobody_elses_error_is_an_answer() {
    let ask = |at_secs, is_bad, user| Asks {
        at_secs,
        patience_secs: None,
        language: 0,
        user,
        authorized: false,
        is_bad,
        method: "GET",
    };
    // Attackers that make the origin fail keep a fetch of theirs under way all the time.
    let attacks = (0..30).map(|number| ask(number, true, 0));
    let good = (0..20).map(|number| ask(number, false, 1 + (number % 2) as u8));
    let mut world = world(Kind::Validated, false, attacks.chain(good).collect(), vec![2, 3], Vec::new());
    world.run();
    world.check();
    for client in world.clients.iter().filter(|client| !client.asks.is_bad) {
        assert!(matches!(client.got, Some((_, Got::Response(_)))), "{:?}: {:?}", client.asks, client.got);
    }
}
