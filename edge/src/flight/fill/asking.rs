//! Asking the origin, and doing what [`crate::decide::outcome`] makes of its answer.

use std::sync::Arc;
use std::time::SystemTime;

use http::{Request, StatusCode};
use hyper::body::Body;

use super::Task;
use super::arriving::Arriving;
use super::encode::Encoder;
use super::keep::Storing;
use crate::decide::outcome::{self, Failed, ForOne, Held, Question, Received, Told};
use crate::decide::{Plan, StandIn, Why};
use crate::flight::verdict::{Cut, Filling, Own, Verdict};
use crate::flight::{Fetch, query};
use crate::http::head::ResponseHead;
use crate::origin::{Answered, BrokeOff, Paid, RequestBody, Retry, Unanswered};
use crate::policy::headers::origin::{Ask, Hop, Undeliverable, fields};
use crate::policy::{self, Entry, Failure, Lifetime, Unstorable, encoding, transient, worse};
use crate::store::{Mode, Object, Put};

/// Why there is no response.
pub(super) enum NoAnswer {
    Undeliverable(Undeliverable),
    Unanswered(Unanswered),
}

/// An origin's answer, with its head as policy sees it.
pub(super) struct Response {
    pub(super) answered: Answered,
    pub(super) head: ResponseHead,
    /// Bytes, if the origin said so.
    pub(super) length: Option<u64>,
    worse_than_stored: bool,
    was_too_big: bool,
}

impl Response {
    fn view(&self) -> outcome::Answered<'_> {
        outcome::Answered {
            head: &self.head,
            length: self.length,
            worse_than_stored: self.worse_than_stored,
            was_too_big: self.was_too_big,
            asked: self.answered.asked,
            received: self.answered.received,
        }
    }
}

impl Task {
    /// Asks the origin and tells what it answered. The body to store, if there is one.
    pub(super) async fn asked(&self) -> Option<Storing> {
        match &self.fetch.plan {
            // Room of their own: the future of a miss is moved to its task, and the less there is of it the better.
            Plan::Slice(slice) => return Box::pin(self.slice(slice)).await,
            Plan::Complete { held, missing, if_range } => {
                return Box::pin(self.complete(held, missing, if_range)).await;
            }
            Plan::Whole { .. } | Plan::Validate { .. } | Plan::Head { .. } => {}
        }
        let plan = self.fetch.plan.of(|object| &object.entry);
        let question = self.question(&plan);
        // Something that may be served instead costs the origins nothing; otherwise another one is worth the asking.
        let stands_in = question.stand_in(Failure::Unreachable).is_some();
        let retry = if stands_in { Retry::Never } else { Retry::Another };
        match self.ask(&question.ask(), retry).await {
            Err(NoAnswer::Undeliverable(why)) => self.tell(Verdict::Undeliverable(why)),
            Err(NoAnswer::Unanswered(why)) => match self.question(&plan).of_failure(why.failure) {
                Ok(stand_in) => self.stand_in(stand_in),
                Err(Failed::Unanswered) => self.tell(Verdict::Failed(why)),
                Err(Failed::MustValidate) => self.tell(Verdict::MustValidate(why)),
            },
            Ok(answered) => self.answered(&plan, answered).await,
        }
    }

    async fn answered(&self, plan: &Plan<&Entry>, answered: Answered) -> Option<Storing> {
        let confirmed = match &self.fetch.plan {
            Plan::Validate { held, .. } if answered.response.status() == StatusCode::NOT_MODIFIED => {
                Some(held)
            }
            _ => None,
        };
        if confirmed.is_some_and(|held| held.body.is_gone()) {
            return Box::pin(self.ask_anew()).await;
        }
        let mut response = self.response(answered);
        if let Some(held) = confirmed {
            response.head = head_of(&response.answered);
            let compress = &self.fetch.site.site.compress;
            encoding::confirmed(&held.entry.head.headers, &mut response.head, compress);
        }
        match (self.question(plan).of_answer(&response.view()), confirmed) {
            (Told::Received(received), _) => self.take(response, received),
            (Told::StandIn(stand_in), _) => self.stand_in(stand_in),
            (Told::Freshened(entry), Some(held)) => {
                Box::pin(self.freshened(held, *entry, &response.head)).await
            }
            (Told::Once(entry, why), Some(held)) => self.once(held, *entry, why, &response.head),
            (Told::Mismatch, Some(held)) => {
                self.flights.store.forget(&self.fetch.key, held);
                Box::pin(self.ask_anew()).await
            }
            // Only what was validated is confirmed: this is a response like others.
            (Told::Freshened(_) | Told::Once(..) | Told::Mismatch, None) => self.received(response.answered),
        }
    }

    fn question<'a>(&'a self, plan: &'a Plan<&'a Entry>) -> Question<'a> {
        let site = &self.fetch.site.site;
        let gone = self.fetch.plan.held().is_some_and(|object| self.is_gone(object));
        Question {
            request: &self.fetch.request,
            plan,
            rules: &site.rules,
            max_object_bytes: site.max_object_bytes,
            held: if gone { Held::Purged } else { Held::Usable },
            now: self.flights.clock.now(),
        }
    }

    pub(super) async fn ask(&self, ask: &Ask<'_>, retry: Retry) -> Result<Answered, NoAnswer> {
        self.ask_as(ask, retry, None).await
    }

    /// As [`Self::ask`], with a mark where the request was drawn from the budget of retries.
    pub(super) async fn ask_as(
        &self,
        ask: &Ask<'_>,
        retry: Retry,
        paid: Option<Paid>,
    ) -> Result<Answered, NoAnswer> {
        let Fetch { site, request, client, version, .. } = &self.fetch;
        let limits = site.site.rules.origin_head;
        let hop = Hop { name: &self.flights.name, client: *client, version: *version, limits };
        let headers = fields(request, ask, &hop).map_err(NoAnswer::Undeliverable)?;
        let (method, body) = match &self.fetch.content {
            None => (request.method.clone(), RequestBody::Empty),
            Some(content) => (query(), content.clone().map_or(RequestBody::Empty, RequestBody::held)),
        };
        let mut asked = Request::new(body);
        *asked.method_mut() = method;
        *asked.uri_mut() = site.site.target(&request.uri).into();
        *asked.headers_mut() = headers;
        site.site.tell_prefix(&request.uri, asked.headers_mut());
        asked.extensions_mut().insert(self.fill.course.clone());
        if let (Ask::Rest { .. }, Some(by)) = (ask, self.fill.course.answered_by()) {
            asked.extensions_mut().insert(BrokeOff(by));
        }
        if paid.is_some() {
            asked = Paid::mark(asked);
        }
        if let Some(early) = &self.fetch.early {
            early.attach(&mut asked);
        }
        let answered = site.send(request, asked, retry).await;
        if answered.as_ref().map_or(true, |answered| Failure::of(answered.response.status()).is_some()) {
            self.flights.mark_failing(&self.fetch.key);
        }
        answered.map_err(NoAnswer::Unanswered)
    }

    pub(super) fn tell(&self, verdict: Verdict) -> Option<Storing> {
        // Later requests do not follow: the fetch is over, and its verdict may not be for them.
        self.flights.table.unlist(&self.fetch.key, &self.fill);
        self.fill.tell(verdict);
        None
    }

    fn stand_in(&self, stand_in: StandIn) -> Option<Storing> {
        let held = self.fetch.plan.held().expect("only what is stored stands in");
        self.tell(Verdict::Stale(Arc::clone(held), stand_in))
    }

    /// The stored response stays good, with the origin's new fields on it.
    async fn freshened(&self, held: &Arc<Object>, entry: Entry, head: &ResponseHead) -> Option<Storing> {
        let own = Own::Fields(policy::personal(&entry, head));
        let fresh = Arc::new(self.object(entry, Arc::clone(&held.body)));
        fresh.hits.go_on_from(&held.hits);
        let (store, key) = (&self.flights.store, &self.fetch.key);
        let put = match held.body.file() {
            Some(_) => store.confirm_filed(key, &fresh, held, &self.fill.ticket).await,
            None => store.put(key, Arc::clone(&fresh), Some(held), &self.fill.ticket),
        };
        match put {
            // Another response that is newer stays in the store; this one is good for those who asked before that.
            Put::Kept | Put::Older => {
                self.flights.failing.clear(key);
                self.fill.give(own);
                self.tell(Verdict::Validated(fresh))
            }
            Put::Purged => self.ask_anew().await,
        }
    }

    fn once(
        &self,
        held: &Arc<Object>,
        entry: Entry,
        why: Unstorable,
        head: &ResponseHead,
    ) -> Option<Storing> {
        if !why.is_of_request() {
            self.flights.store.forget(&self.fetch.key, held);
        }
        let own = policy::personal(&entry, head);
        let once = Arc::new(self.object(entry, Arc::clone(&held.body)));
        self.fill.tell_apart(Own::Once(once, own));
        None
    }

    /// The stored response cannot be used after all: another request, without conditions of ours.
    pub(super) async fn ask_anew(&self) -> Option<Storing> {
        match self.ask(&Ask::for_miss(&self.fetch.request), Retry::Another).await {
            Ok(answered) => self.received(answered),
            Err(no_answer) => self.unanswered(no_answer),
        }
    }

    pub(super) fn unanswered(&self, no_answer: NoAnswer) -> Option<Storing> {
        match no_answer {
            NoAnswer::Undeliverable(why) => self.tell(Verdict::Undeliverable(why)),
            NoAnswer::Unanswered(why) => self.tell(Verdict::Failed(why)),
        }
    }

    /// A response to what the client asked: store it or leave it to the request that caused it.
    pub(super) fn received(&self, answered: Answered) -> Option<Storing> {
        let response = self.response(answered);
        let plan = self.fetch.plan.of(|object| &object.entry);
        let received = self.question(&plan).of_response(&response.view());
        self.take(response, received)
    }

    fn take(&self, response: Response, received: Received) -> Option<Storing> {
        match received {
            Received::Fill(lifetime) => self.fill(response, lifetime),
            Received::ForOne(ForOne::Head) => {
                self.learn(&response.answered);
                self.fill.tell_apart(Own::Head(response.answered));
                None
            }
            Received::ForOne(ForOne::Unstored(why)) => {
                self.leave(&response, why);
                self.fill.tell_apart(Own::Response(response.answered, why));
                None
            }
            Received::ForOne(ForOne::Error(why)) => {
                self.leave(&response, why);
                let status = response.head.status;
                self.fill.give(Own::Response(response.answered, why));
                self.tell(Verdict::Error(status))
            }
        }
    }

    fn fill(&self, response: Response, lifetime: Lifetime) -> Option<Storing> {
        let Response { answered, mut head, length, .. } = response;
        let version = answered.response.version();
        let encoder = self.encoder(&mut head, length);
        let length = length.filter(|_| encoder.is_none());
        let entry = self.entry(&head, lifetime, length, &answered);
        let filling = Filling { response: head, version, entry, length, cut: Cut::AsItCame };
        let body = Arriving::new(answered.response.into_body(), &self.fetch.site.metrics);
        let body = match encoder {
            Some(encoder) => body.encoded(encoder),
            None => body,
        };
        self.storing(filling, body)
    }

    /// Encodes what is worth it, where the site says so, and puts it into the head.
    fn encoder(&self, head: &mut ResponseHead, length: Option<u64>) -> Option<Encoder> {
        let Fetch { site, request, .. } = &self.fetch;
        let coding = encoding::chosen(&request.headers, head, &site.site.compress, length)?;
        let encoder = Encoder::new(coding, &self.flights.encoders)?;
        encoding::encoded(head, coding);
        Some(encoder)
    }

    pub(super) fn response(&self, answered: Answered) -> Response {
        let mut head = head_of(&answered);
        self.fetch.site.look_at_clock(&head, &answered);
        encoding::mark(&mut head, &self.fetch.site.site.compress);
        let length = answered.response.body().size_hint().exact();
        let worse_than_stored = self.is_worse_than_stored(head.status, answered.received);
        let was_too_big = self.flights.apart.is_big(&self.fetch.key, answered.received);
        Response { answered, head, length, worse_than_stored, was_too_big }
    }

    fn is_worse_than_stored(&self, status: StatusCode, now: SystemTime) -> bool {
        let Fetch { site, key, .. } = &self.fetch;
        transient::is_transient(status) && {
            let stored = self.flights.store.get(key, &site.site.name);
            // The response that the origin was asked about may be on a disk alone.
            let held = self.fetch.plan.held().filter(|held| !self.is_gone(held));
            let entries: Vec<&Entry> =
                stored.entries().into_iter().chain(held.map(|held| &held.entry)).collect();
            worse::is_worse_than(status, &entries, &site.site.rules, now)
        }
    }

    /// Whether a response may be stored.
    pub(super) fn admitted(&self, response: &Response) -> Result<Lifetime, Why> {
        let site = &self.fetch.site.site;
        outcome::admitted(&self.fetch.request, &site.rules, site.max_object_bytes, &response.view())
    }

    pub(super) fn entry(
        &self,
        head: &ResponseHead,
        lifetime: Lifetime,
        length: Option<u64>,
        answered: &Answered,
    ) -> Entry {
        Entry::new(&self.fetch.request, head, lifetime, answered.asked, answered.received, length)
    }

    /// A response is not stored: what that says of the key's next ones, and of what is stored.
    fn leave(&self, response: &Response, why: Why) {
        let (key, status) = (&self.fetch.key, response.head.status);
        let Answered { asked, received, .. } = response.answered;
        if Failure::of(status).is_none() {
            let took = received.duration_since(asked).unwrap_or_default();
            self.flights.apart.mark(key, why, took, received);
        }
        if why.speaks_for_all(status)
            && let Some(held) = self.fetch.plan.held()
        {
            // RFC 9111 §4.3.3: what is stored is suitable no more, also where this cannot take its place.
            self.flights.store.forget(key, held);
        }
    }

    /// As [`Self::take`] of a response that is not stored.
    pub(super) fn apart(&self, response: Response, why: Why) -> Option<Storing> {
        let is_error = Failure::of(response.head.status).is_some() && !why.is_of_request();
        let for_one = if is_error { ForOne::Error(why) } else { ForOne::Unstored(why) };
        self.take(response, Received::ForOne(for_one))
    }

    /// A hard purge; what a soft one covers is stale, and may be served as that.
    fn is_gone(&self, object: &Object) -> bool {
        let headers = Some(&object.entry.head.headers);
        self.flights.purged(&self.fill, &self.fetch, headers) == Some(Mode::Hard)
    }
}

pub(super) fn head_of(answered: &Answered) -> ResponseHead {
    ResponseHead { status: answered.response.status(), headers: answered.response.headers().clone() }
}
