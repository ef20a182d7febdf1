//! Asking the origin, and what the head of its answer decides.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Body;

use super::Task;
use super::arriving::Arriving;
use super::encode::Encoder;
use super::keep::Storing;
use crate::flight::Fetch;
use crate::flight::verdict::{Cut, Filling, Own, Plan, StandIn, Verdict, Why};
use crate::http::head::ResponseHead;
use crate::origin::{Answered, RequestBody, Retry, Unanswered};
use crate::policy::freshness::WhenStale;
use crate::policy::headers::origin::{Ask, Hop, Undeliverable, fields};
use crate::policy::{
    self, Admit, Content, Entry, Failure, Freshened, Lifetime, Unstorable, encoding, transient,
};
use crate::site::key;
use crate::store::{Mode, Object, Put};

/// Why there is no response.
pub(super) enum NoAnswer {
    Undeliverable(Undeliverable),
    Unanswered(Unanswered),
}

impl Task {
    /// Asks the origin and tells the verdict. The body to store, if there is one.
    pub(super) async fn decide(&self) -> Option<Storing> {
        let (ask, held) = match &self.fetch.plan {
            Plan::Whole { reserve } => (self.instead_of(reserve.as_ref()), reserve.as_ref()),
            Plan::Validate { object, validators } => match object.entry.content {
                Content::Whole { .. } => (Ask::Validate(validators), Some(object)),
                Content::Part(_) => (Ask::ValidatePart(validators), Some(object)),
            },
            Plan::Slice(slice) => return self.slice(slice).await,
            Plan::Complete { object, missing, if_range } => {
                return self.complete(object, missing, if_range).await;
            }
        };
        let retry = self.retry(held);
        let answered = match self.ask(&ask, retry).await {
            Ok(answered) => answered,
            Err(NoAnswer::Undeliverable(why)) => return self.tell(Verdict::Undeliverable(why)),
            Err(NoAnswer::Unanswered(why)) => {
                let stale = self.stale(held, why.failure);
                return self.tell(stale.unwrap_or_else(|| self.failed(held, why)));
            }
        };
        match (&self.fetch.plan, answered.response.status()) {
            (Plan::Validate { object, .. }, StatusCode::NOT_MODIFIED) => {
                self.validated(object, answered).await
            }
            (_, status) => match Failure::of(status).and_then(|failure| self.stale(held, failure)) {
                Some(stale) => self.tell(stale),
                None => self.received(answered),
            },
        }
    }

    /// What to ask when nothing holds what is asked but perhaps `reserve`, without validators. A whole is not replaced by
    /// the part that one client asks for.
    fn instead_of(&self, reserve: Option<&Arc<Object>>) -> Ask<'static> {
        match reserve.map(|object| object.entry.content) {
            Some(Content::Whole { .. }) => Ask::Whole,
            Some(Content::Part(_)) | None => Ask::for_miss(&self.fetch.request),
        }
    }

    /// Something that may be served instead costs the origins nothing; otherwise another one is worth the asking.
    fn retry(&self, held: Option<&Arc<Object>>) -> Retry {
        if self.stale(held, Failure::Unreachable).is_some() { Retry::Never } else { Retry::Another }
    }

    pub(super) async fn ask(&self, ask: &Ask<'_>, retry: Retry) -> Result<Answered, NoAnswer> {
        let Fetch { site, request, client, version, .. } = &self.fetch;
        let hop = Hop { name: &self.flights.name, client: *client, version: *version };
        let headers = fields(request, ask, &hop).map_err(NoAnswer::Undeliverable)?;
        let mut asked = Request::new(RequestBody::Empty);
        *asked.method_mut() = request.method.clone();
        *asked.uri_mut() = key::target(&request.uri).into();
        *asked.headers_mut() = headers;
        if let Some(early) = &self.fetch.early {
            early.attach(&mut asked);
        }
        let answered = site.origins.send(asked, retry).await;
        if answered.as_ref().map_or(true, |answered| Failure::of(answered.response.status()).is_some()) {
            self.flights.mark_failing(&self.fetch.key);
        }
        answered.map_err(NoAnswer::Unanswered)
    }

    pub(super) fn tell(&self, verdict: Verdict) -> Option<Storing> {
        // Who comes later does not follow: it is over, and what it told may not be for them.
        self.flights.table.unlist(&self.fetch.key, &self.fill);
        self.fill.tell(verdict);
        None
    }

    /// What may be served instead of a failure; never something that a purge has covered meanwhile.
    fn stale(&self, held: Option<&Arc<Object>>, failure: Failure) -> Option<Verdict> {
        let object = held.filter(|object| !self.is_gone(object))?;
        let (request, rules) = (&self.fetch.request, &self.fetch.site.site.rules);
        let now = self.flights.clock.now();
        let verdict = policy::after_failure(request, &object.entry, failure, rules, now);
        StandIn::of(failure, &verdict).map(|stand_in| Verdict::Stale(Arc::clone(object), stand_in))
    }

    fn failed(&self, held: Option<&Arc<Object>>, why: Unanswered) -> Verdict {
        let must = held.is_some_and(|object| object.entry.lifetime.stale == WhenStale::MustRevalidate);
        if must { Verdict::MustValidate(why) } else { Verdict::Failed(why) }
    }

    /// A 304 to our own conditions (RFC 9111 §4.3.4).
    async fn validated(&self, object: &Arc<Object>, answered: Answered) -> Option<Storing> {
        if object.body.is_gone() {
            return self.ask_anew().await;
        }
        let Fetch { site, key, request, .. } = &self.fetch;
        let mut head = head_of(&answered);
        encoding::confirmed(&object.entry.head.headers, &mut head, &site.site.compress);
        match policy::freshen(
            request,
            &object.entry,
            &head,
            answered.asked,
            &site.site.rules,
            answered.received,
        ) {
            Freshened::Keep(entry) => {
                let own = Own::Fields(policy::personal(&entry, &head));
                let fresh = Arc::new(self.object(entry, Arc::clone(&object.body)));
                match self.flights.store.put(key, Arc::clone(&fresh), Some(object), &self.fill.ticket) {
                    Put::Kept => {
                        self.flights.failing.clear(key);
                        self.fill.give(own);
                        self.tell(Verdict::Validated(fresh))
                    }
                    Put::Purged => self.ask_anew().await,
                }
            }
            Freshened::ServeOnce(entry, why) => {
                if !why.is_of_request() {
                    self.flights.store.forget(key, object);
                }
                let own = policy::personal(&entry, &head);
                let once = Arc::new(self.object(entry, Arc::clone(&object.body)));
                self.fill.tell_apart(Own::Once(once, own));
                None
            }
            Freshened::Mismatch => {
                self.flights.store.forget(key, object);
                self.ask_anew().await
            }
        }
    }

    /// What is stored cannot be used after all: another request, without conditions of ours.
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
        let mut head = self.head_of(&answered);
        let mut length = answered.response.body().size_hint().exact();
        match self.admitted(&head, length, &answered) {
            Err(why) => self.apart(answered, why),
            Ok(lifetime) => {
                let version = answered.response.version();
                let encoder = self.encoder(&mut head, length);
                length = length.filter(|_| encoder.is_none());
                let entry = self.entry(&head, lifetime, length, &answered);
                let filling = Filling { response: head, version, entry, length, cut: Cut::AsItCame };
                let body = Arriving::new(answered.response.into_body(), &self.flights.metrics);
                let body = match encoder {
                    Some(encoder) => body.encoded(encoder),
                    None => body,
                };
                self.storing(filling, body)
            }
        }
    }

    /// Encodes what is worth it, where the site says so, and puts it into the head.
    fn encoder(&self, head: &mut ResponseHead, length: Option<u64>) -> Option<Encoder> {
        let Fetch { site, request, .. } = &self.fetch;
        let coding = encoding::chosen(&request.headers, head, &site.site.compress, length)?;
        let encoder = Encoder::new(coding, &self.flights.encoders)?;
        encoding::encoded(head, coding);
        Some(encoder)
    }

    pub(super) fn head_of(&self, answered: &Answered) -> ResponseHead {
        let mut head = head_of(answered);
        encoding::mark(&mut head, &self.fetch.site.site.compress);
        head
    }

    /// Whether a response with this head may be stored.
    pub(super) fn admitted(
        &self,
        head: &ResponseHead,
        length: Option<u64>,
        answered: &Answered,
    ) -> Result<Lifetime, Why> {
        let rules = &self.fetch.site.site.rules;
        match policy::admit(&self.fetch.request, head, answered.asked, rules, answered.received) {
            Admit::Leave(why) => Err(Why::Unstorable(why)),
            Admit::Keep(_) if self.is_worse_than_stored(head, answered) => {
                Err(Why::Unstorable(Unstorable::WorseThanStored))
            }
            Admit::Keep(_) if length > Some(self.fetch.site.site.max_object_bytes) => Err(Why::TooBig),
            Admit::Keep(_) if length.is_none() && self.was_too_big(head, answered) => Err(Why::WasTooBig),
            Admit::Keep(lifetime) => Ok(lifetime),
        }
    }

    fn is_worse_than_stored(&self, head: &ResponseHead, answered: &Answered) -> bool {
        let Fetch { site, key, .. } = &self.fetch;
        let stored = self.flights.store.get(key, site.index);
        transient::is_worse_than(head.status, &stored.entries(), &site.site.rules, answered.received)
    }

    fn was_too_big(&self, head: &ResponseHead, answered: &Answered) -> bool {
        let is_part = head.status == StatusCode::PARTIAL_CONTENT;
        !is_part && self.flights.apart.is_big(&self.fetch.key, answered.received)
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

    pub(super) fn apart(&self, answered: Answered, why: Why) -> Option<Storing> {
        let (key, status) = (&self.fetch.key, answered.response.status());
        if Failure::of(status).is_none() {
            let took = answered.received.duration_since(answered.asked).unwrap_or_default();
            self.flights.apart.mark(key, why, took, answered.received);
        }
        if why.speaks_for_all(status)
            && let Some(object) = self.fetch.plan.held()
        {
            // RFC 9111 §4.3.3: what is stored is suitable no more, also where this cannot take its place.
            self.flights.store.forget(key, object);
        }
        match Failure::of(status) {
            Some(_) if !why.is_of_request() => {
                self.fill.give(Own::Response(answered, why));
                self.tell(Verdict::Error(status))
            }
            _ => {
                self.fill.tell_apart(Own::Response(answered, why));
                None
            }
        }
    }

    /// A hard purge; what a soft one covers is stale, and may be served as that.
    fn is_gone(&self, object: &Object) -> bool {
        let headers = Some(&object.entry.head.headers);
        self.flights.purged(&self.fill, &self.fetch, headers) == Some(Mode::Hard)
    }
}

fn head_of(answered: &Answered) -> ResponseHead {
    ResponseHead { status: answered.response.status(), headers: answered.response.headers().clone() }
}
