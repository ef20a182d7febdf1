//! A whole edge against a naive model of RFC 9111: the same requests at the same times before the same origin.
//!
//! `VERGE_MODEL_STEPS` and `VERGE_MODEL_SEED` choose how many and which; a failure prints both, and the last steps.

mod naive;

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use verge_edge::clock::Clock;

use super::client::{Client, Got};
use super::origin::Asked;
use super::rig::{Origin, Rig};
use naive::{Answer, Asking, Cache, Conditions, Directives, First, Met, Said, Targeted, Vary, passed};

const STEPS: u64 = 4_000;
const URLS: usize = 4;
/// 2001-09-09: the clock stands, but for what the test adds.
const START: u64 = 1_000_000_000;

/// How the origin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Overloaded,
    Gone,
}

struct World {
    chance: StdRng,
    rig: Rig,
    origin: Origin,
    client: Client,
    now: u64,
    mood: Mood,
    serial: u64,
    pages: Vec<Said>,
    model: Vec<Cache>,
    story: VecDeque<String>,
}

#[tokio::test]
async fn an_edge_does_as_a_naive_model_of_rfc_9111() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("VERGE_MODEL_SEED").unwrap_or(1);
    let steps = number("VERGE_MODEL_STEPS").unwrap_or(STEPS);
    let mut world = World::new(seed).await;
    for step in 0..steps {
        world.step(&format!("VERGE_MODEL_SEED={seed} VERGE_MODEL_STEPS={steps}, step {step}")).await;
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let clock = Clock::standing(UNIX_EPOCH + Duration::from_secs(START));
        let origin = Origin::start().await;
        let rig = Rig::at(clock, "\"*\"", &[origin.address], "", "").await;
        let client = rig.client().await;
        let mut chance = StdRng::seed_from_u64(seed);
        let pages = (0..URLS).map(|_| page(&mut chance, 1)).collect();
        let model = (0..URLS).map(|_| Cache::default()).collect();
        let story = VecDeque::new();
        Self { chance, rig, origin, client, now: START, mood: Mood::Well, serial: 0, pages, model, story }
    }

    async fn step(&mut self, place: &str) {
        let passing = if self.chance.random_ratio(1, 10) { 20 } else { 1 };
        let secs = self.chance.random_range(1..=passing);
        self.now += secs;
        self.rig.clock.advance(Duration::from_secs(secs));
        let url = self.chance.random_range(0..URLS);
        match self.chance.random_range(0..100) {
            0..6 => {
                let version = self.pages[url].version + 1;
                self.pages[url] = page(&mut self.chance, version);
                self.tell(format!("/{url} is now {:?}", self.pages[url]));
            }
            6..9 => {
                self.mood =
                    [Mood::Well, Mood::Well, Mood::Overloaded, Mood::Gone][self.chance.random_range(0..4)];
                self.tell(format!("the origin is {:?}", self.mood));
            }
            9..11 => {
                assert_eq!(self.rig.purge(&format!("/{url}")).await.status, 200, "{place}");
                self.model[url].clear();
                self.tell(format!("purge /{url}"));
            }
            11..15 => self.post(url, place).await,
            15..22 => self.head(url, place).await,
            _ => self.get(url, place).await,
        }
    }

    async fn get(&mut self, url: usize, place: &str) {
        let asking = self.asking(url);
        self.tell(format!("GET /{url} {asking:?}"));
        self.client.send_get(&format!("/{url}"), &fields(&asking)).await;
        let (expected, behind) = match self.model[url].get(&asking, self.now) {
            First::Answer(answer) => (answer, None),
            First::AnswerAndAsk(answer, conditions) => (answer, Some(conditions)),
            First::Ask(conditions) => {
                let asked = self.asked(place).await;
                let met = self.met_on(url, &conditions, asked, place).await;
                (self.model[url].met(&asking, met, self.now), None)
            }
        };
        let got = self.client.response().await;
        let what = format!("{place}\n{}\n{got:?}", self.story());
        assert_eq!(answer(&got, &expected), expected, "{what}");
        if let Some(version) = expected.version {
            assert_eq!(got.text(), part(body(version), expected.part), "{what}");
        }
        if let Some(conditions) = behind {
            self.behind(url, &asking, &conditions, place).await;
        }
        assert_eq!(self.origin.waiting(), 0, "asked more than once: {what}");
    }

    /// The edge's requests behind an answer, until it has obeyed what it was told.
    async fn behind(&mut self, url: usize, asking: &Asking, conditions: &Conditions, place: &str) {
        let asked = self.origin.next().await;
        assert!(asked.head.starts_with("GET "), "{place}\n{}\n{}", self.story(), asked.head);
        assert_eq!(field(&asked.head, "range"), None, "{place}\n{}", self.story());
        let met = self.met_on(url, conditions, asked, place).await;
        // It is asked for all: what this client would not have stored it has had already.
        let asking = Asking { no_store: false, ..asking.clone() };
        self.model[url].met(&asking, met, self.now);
        self.rig.until("verge_edge_fetches", 0).await;
    }

    /// The origin's answer to a request of the edge's own, which must have these conditions.
    async fn met_on(&mut self, url: usize, conditions: &Conditions, asked: Asked, place: &str) -> Met {
        let Conditions { if_none_match, if_modified_since } = conditions;
        let found = (field(&asked.head, "if-none-match"), field(&asked.head, "if-modified-since"));
        let expected = (if_none_match.clone(), if_modified_since.map(date));
        assert_eq!(found, expected, "{place}\n{}", self.story());
        self.meet(url, if_none_match.as_deref(), *if_modified_since, asked).await
    }

    async fn head(&mut self, url: usize, place: &str) {
        let asking = Asking { shade: self.shade(), ..Asking::default() };
        self.tell(format!("HEAD /{url} {asking:?}"));
        let head = format!("HEAD /{url} HTTP/1.1\r\nHost: site.test\r\n{}\r\n", fields(&asking));
        self.client.write(head.as_bytes()).await;
        let (expected, behind) = match self.model[url].get(&asking, self.now) {
            First::Answer(answer) => (answer, None),
            First::AnswerAndAsk(answer, conditions) => (answer, Some(conditions)),
            First::Ask(_) => {
                let asked = self.asked(place).await;
                let answer = match self.meet(url, None, None, asked).await {
                    Met::Answered(said) | Met::NotModified(said) if said.status != 503 => {
                        self.model[url].told_by_head(&asking, &said, self.now);
                        passed(&said)
                    }
                    // The origin failed: as a GET.
                    failed => {
                        let unstored = Asking { no_store: true, ..asking.clone() };
                        self.model[url].met(&unstored, failed, self.now)
                    }
                };
                (answer, None)
            }
        };
        let got = self.client.head().await;
        assert_eq!(answer(&got, &expected), expected, "{place}\n{}\n{got:?}", self.story());
        if let Some(conditions) = behind {
            self.behind(url, &asking, &conditions, place).await;
        }
    }

    async fn post(&mut self, url: usize, place: &str) {
        self.tell(format!("POST /{url}"));
        let head = format!("POST /{url} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        self.client.write(head.as_bytes()).await;
        let asked = self.asked(place).await;
        let status = match self.meet(url, None, None, asked).await {
            Met::HungUp => 502,
            Met::Answered(said) | Met::NotModified(said) => said.status,
        };
        if status < 400 {
            // RFC 9111 §4.4.
            self.model[url].clear();
        }
        assert_eq!(self.client.response().await.status, status, "{place}\n{}", self.story());
    }

    /// The request that must come to the origin now.
    async fn asked(&mut self, place: &str) -> Asked {
        tokio::select! {
            asked = self.origin.next() => asked,
            got = self.client.head() => panic!("not asked: {place}\n{}\n{got:?}", self.story()),
        }
    }

    /// The origin's part: RFC 9110 §13.2.2 for what it was asked.
    async fn meet(
        &mut self,
        url: usize,
        if_none_match: Option<&str>,
        if_modified_since: Option<u64>,
        asked: Asked,
    ) -> Met {
        self.serial += 1;
        let page = &self.pages[url];
        let mut said = Said { serial: self.serial, date: self.now - page.lag, ..page.clone() };
        let unmodified = page.status == 200
            && match if_none_match {
                Some(tag) => page.etag.as_deref() == Some(tag),
                None => {
                    if_modified_since.is_some_and(|since| page.last_modified.is_some_and(|at| at <= since))
                }
            };
        match self.mood {
            Mood::Gone => {
                asked.fail();
                return Met::HungUp;
            }
            Mood::Overloaded => {
                let control = if self.chance.random_ratio(1, 2) {
                    Directives::default()
                } else {
                    directives(&mut self.chance)
                };
                let etag = self.chance.random_ratio(1, 3).then(|| "\"error\"".to_owned());
                said = Said {
                    status: 503,
                    serial: self.serial,
                    date: self.now,
                    control,
                    etag,
                    ..Said::default()
                };
                said.length = body(said.version).len() as u64;
                asked.respond(&message(&said, Form::Whole)).await;
            }
            Mood::Well if unmodified => {
                asked.respond(&message(&said, Form::NotModified)).await;
                return Met::NotModified(said);
            }
            Mood::Well => {
                let form = if asked.head.starts_with("HEAD") { Form::Head } else { Form::Whole };
                asked.respond(&message(&said, form)).await;
            }
        }
        Met::Answered(said)
    }

    fn asking(&mut self, url: usize) -> Asking {
        let page = &self.pages[url];
        let mut asking = Asking::default();
        let chance = &mut self.chance;
        match chance.random_range(0..10) {
            0 => asking.if_none_match = page.etag.clone().or(Some("\"other\"".into())),
            1 => {
                asking.if_none_match = Some(["*", "\"other\"", "W/\"v1\""][chance.random_range(0..3)].into())
            }
            2 => {
                asking.if_modified_since =
                    Some(page.last_modified.unwrap_or(self.now - chance.random_range(0..30)))
            }
            3 => {
                let first = chance.random_range(0..page.length + 2);
                asking.range = Some((first, first + chance.random_range(0..10)));
            }
            _ => {}
        }
        asking.authorization = chance.random_ratio(1, 12);
        asking.no_store = chance.random_ratio(1, 30);
        asking.only_if_cached = chance.random_ratio(1, 20);
        asking.reload = self.chance.random_ratio(1, 10);
        asking.shade = self.shade();
        asking
    }

    fn shade(&mut self) -> Option<u8> {
        [None, Some(1), Some(2)][self.chance.random_range(0..3)]
    }

    fn tell(&mut self, what: String) {
        self.story.push_back(format!("{}: {what}", self.now - START));
        if self.story.len() > 40 {
            self.story.pop_front();
        }
    }

    fn story(&self) -> String {
        self.story.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A page as its origin has it from now on.
fn page(chance: &mut StdRng, version: u64) -> Said {
    let etag = match chance.random_range(0..3) {
        0 => None,
        1 => Some(format!("\"v{version}\"")),
        _ => Some(format!("W/\"v{version}\"")),
    };
    Said {
        version,
        status: [200, 200, 200, 200, 200, 404, 410, 403, 301, 429][chance.random_range(0..10)],
        control: directives(chance),
        targeted: match chance.random_range(0..8) {
            0 => Targeted::Broken,
            1 | 2 => Targeted::Says(directives(chance)),
            _ => Targeted::Absent,
        },
        length: body(version).len() as u64,
        set_cookie: chance.random_ratio(1, 10),
        expires: chance.random_ratio(1, 4).then(|| chance.random_range(-10..25)),
        age: secs(chance, 5),
        lag: if chance.random_ratio(1, 4) { chance.random_range(1..8) } else { 0 },
        etag,
        // A second later with each version, long ago.
        last_modified: chance.random_ratio(1, 3).then(|| START - 100_000 + version),
        vary: [Vary::Nothing, Vary::Nothing, Vary::Shade, Vary::Star][chance.random_range(0..4)],
        ..Said::default()
    }
}

fn directives(chance: &mut StdRng) -> Directives {
    Directives {
        max_age: secs(chance, 2),
        s_maxage: secs(chance, 8),
        stale_while_revalidate: secs(chance, 4),
        stale_if_error: secs(chance, 4),
        no_store: chance.random_ratio(1, 15),
        no_cache: chance.random_ratio(1, 8),
        private: chance.random_ratio(1, 15),
        public: chance.random_ratio(1, 6),
        must_revalidate: chance.random_ratio(1, 6),
    }
}

fn secs(chance: &mut StdRng, one_in: u32) -> Option<u64> {
    chance.random_ratio(1, one_in).then(|| chance.random_range(0..25))
}

/// How much of a response is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Head,
    NotModified,
}

fn message(said: &Said, form: Form) -> String {
    let mut lines = Vec::new();
    let status = if form == Form::NotModified { 304 } else { said.status };
    lines.push(format!("HTTP/1.1 {status} Said"));
    let mut add =
        |name: &str, value: Option<String>| lines.extend(value.map(|value| format!("{name}: {value}")));
    add("Cache-Control", Some(text(&said.control)).filter(|text| !text.is_empty()));
    add(
        "CDN-Cache-Control",
        match &said.targeted {
            Targeted::Absent => None,
            Targeted::Broken => Some("max-age=100, no-cache, &&&".to_owned()),
            // An empty one would be none.
            Targeted::Says(directives) => {
                Some(format!("foo, {}", text(directives)).trim_end_matches(", ").to_owned())
            }
        },
    );
    add("X-Serial", Some(said.serial.to_string()));
    add("Date", Some(date(said.date)));
    add("Expires", said.expires.map(|secs| date(said.date.saturating_add_signed(secs))));
    add("Age", said.age.map(|secs| secs.to_string()));
    add("ETag", said.etag.clone());
    add("Last-Modified", said.last_modified.map(date));
    add("Set-Cookie", said.set_cookie.then(|| "a=b".to_owned()));
    add(
        "Vary",
        match said.vary {
            Vary::Nothing => None,
            Vary::Shade => Some("Shade".to_owned()),
            Vary::Star => Some("*".to_owned()),
        },
    );
    let body = body(said.version);
    if form != Form::NotModified {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{}", lines.join("\r\n"), if form == Form::Whole { body.as_str() } else { "" })
}

fn text(directives: &Directives) -> String {
    let number = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
    let word = |name: &str, on: bool| on.then(|| name.to_owned());
    let all = [
        number("max-age", directives.max_age),
        number("s-maxage", directives.s_maxage),
        number("stale-while-revalidate", directives.stale_while_revalidate),
        number("stale-if-error", directives.stale_if_error),
        word("no-store", directives.no_store),
        word("no-cache", directives.no_cache),
        word("private", directives.private),
        word("public", directives.public),
        word("must-revalidate", directives.must_revalidate),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn part(body: String, part: Option<(u64, u64)>) -> String {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    match part {
        None => body,
        Some((first, last)) => body[at(first)..=at(last)].to_owned(),
    }
}

/// Each version has a length of its own.
fn body(version: u64) -> String {
    format!("v{version}:{}", "x".repeat(usize::try_from(version).unwrap()))
}

fn date(secs: u64) -> String {
    let value = verge_edge::http::date::format(UNIX_EPOCH + Duration::from_secs(secs));
    value.to_str().unwrap().to_owned()
}

fn fields(asking: &Asking) -> String {
    let mut fields = String::new();
    let mut add = |name: &str, value: Option<String>| {
        fields.extend(value.map(|value| format!("{name}: {value}\r\n")));
    };
    add("Shade", asking.shade.map(|shade| shade.to_string()));
    add("If-None-Match", asking.if_none_match.clone());
    add("If-Modified-Since", asking.if_modified_since.map(date));
    add("Range", asking.range.map(|(first, last)| format!("bytes={first}-{last}")));
    add("Authorization", asking.authorization.then(|| "Basic YTpi".to_owned()));
    add("Cache-Control", asking.no_store.then(|| "no-store".to_owned()));
    add("Cache-Control", asking.only_if_cached.then(|| "only-if-cached".to_owned()));
    // RFC 9111 §5.4: Pragma counts only where there is no Cache-Control.
    let (name, value) = match (asking.shade, asking.no_store || asking.only_if_cached) {
        (None, false) => ("Pragma", "no-cache"),
        (Some(1), _) => ("Cache-Control", "no-cache"),
        _ => ("Cache-Control", "max-age=0"),
    };
    add(name, asking.reload.then(|| value.to_owned()));
    fields
}

fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
}

/// The answer in the model's words; where the model says nothing, it is as expected.
fn answer(got: &Got, expected: &Answer) -> Answer {
    Answer {
        status: got.status,
        serial: got.field("x-serial").parse().ok(),
        version: expected.version,
        part: expected.part,
        age: expected.age.and_then(|_| got.field("age").parse().ok()),
    }
}
