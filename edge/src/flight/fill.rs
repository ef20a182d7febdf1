//! The task that fetches: it asks the origin, tells the verdict, fills the log and stores.

mod arriving;
pub(super) mod encode;
mod parts;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Body;
use tokio::sync::watch;

use super::log::{Log, Reader};
use super::verdict::{Cut, Filling, Own, Plan, Verdict, Why};
use super::{Fetch, Flights};
use crate::key;
use crate::origin::{Answered, RequestBody, Retry, Unanswered};
use crate::policy::encoding;
use crate::policy::freshness::WhenStale;
use crate::policy::headers::origin::{Ask, Hop, Undeliverable, fields};
use crate::policy::headers::status::ProxyError;
use crate::policy::range::Part;
use crate::policy::{
    self, Admit, Content, Entry, Failure, Freshened, Lifetime, ResponseHead, Reuse, Selecting, Unstorable,
};
use crate::store::{Mode, Object, Put, Share, Ticket};
use arriving::Arriving;
use encode::Encoder;

/// Whom a fetch is meant for.
#[derive(Debug)]
pub(super) enum Meant {
    /// All requests for its key.
    ForAll,
    /// Those with these selecting fields: the key's responses are known to vary.
    ForLike(Selecting),
    /// Those whose range lies in these slices.
    Slice(Part),
}

/// One fetch under way.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) log: Log,
    pub(super) ticket: Ticket,
    pub(super) meant: Meant,
    verdict: watch::Sender<Option<Verdict>>,
    own: Mutex<Option<Own>>,
    /// What the log takes of the memory, for as long as somebody reads it: a slow reader's pieces stay in it although
    /// the store may have evicted the object long ago.
    held: Mutex<Option<Share>>,
}

impl Fill {
    /// A new fill and its first reader.
    pub(super) fn start(meant: Meant, ticket: Ticket) -> Reader {
        let (verdict, _) = watch::channel(None);
        let fill = Self {
            log: Log::default(),
            ticket,
            meant,
            verdict,
            own: Mutex::default(),
            held: Mutex::default(),
        };
        Reader::new(Arc::new(fill)).expect("a new log takes readers")
    }

    pub(super) fn reader(self: &Arc<Self>) -> Option<Reader> {
        Reader::new(Arc::clone(self))
    }

    /// Waits until the head of the response has come, or will not.
    pub(super) async fn verdict(&self) -> Verdict {
        let mut told = self.verdict.subscribe();
        let verdict = told.wait_for(Option::is_some).await.expect("the sender lives in self");
        verdict.clone().expect("waited for")
    }

    /// The fields of the response, once its head has come and others may share it.
    pub(super) fn shared_headers(&self) -> Option<HeaderMap> {
        match &*self.verdict.borrow() {
            Some(Verdict::Filling(filling)) => Some(filling.response.headers.clone()),
            Some(Verdict::Validated(object) | Verdict::Stale(object, ..)) => {
                Some(object.entry.head.headers.clone())
            }
            _ => None,
        }
    }

    fn hold(&self, share: Option<Share>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = share;
    }

    pub(super) fn take_own(&self) -> Option<Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it fills a whole response of known length, and has come to about this byte of it.
    pub(super) fn will_soon_be_at(&self, first: u64) -> bool {
        let sized = |verdict: &Option<Verdict>| match verdict {
            Some(Verdict::Filling(filling)) => {
                matches!(filling.entry.content, Content::Whole { length: Some(_) })
            }
            _ => false,
        };
        sized(&self.verdict.borrow()) && first <= self.log.held_bytes().saturating_add(NEARLY_BYTES)
    }

    fn tell(&self, verdict: Verdict) {
        self.verdict.send_replace(Some(verdict));
    }

    fn tell_apart(&self, own: Own) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(own);
        self.tell(Verdict::Apart);
    }
}

/// The task of one fetch.
struct Task {
    flights: Arc<Flights>,
    fetch: Fetch,
    fill: Arc<Fill>,
}

/// Ends the fill however the task ends, so that nobody waits for a task that is gone.
impl Drop for Task {
    fn drop(&mut self) {
        self.flights.table.unlist(&self.fetch.key, &self.fill);
        if self.fill.verdict.borrow().is_none() {
            self.fill.tell(Verdict::Failed(INTERRUPTED));
        }
        self.fill.log.break_off();
    }
}

/// The task was dropped or panicked.
pub const INTERRUPTED: Unanswered =
    Unanswered { failure: Failure::Unreachable, error: ProxyError::ProxyInternalError };

pub(super) async fn run(flights: Arc<Flights>, fetch: Fetch, fill: Arc<Fill>) {
    let task = Task { flights, fetch, fill };
    let storing = tokio::select! {
        biased;
        storing = task.decide() => storing,
        () = task.fill.log.deserted() => return,
    };
    if let Some(storing) = storing {
        task.store(storing).await;
    }
}

/// As [`run`], with the origin's answer already there.
pub(super) async fn adopt(flights: Arc<Flights>, fetch: Fetch, fill: Arc<Fill>, answered: Answered) {
    let task = Task { flights, fetch, fill };
    if let Some(storing) = task.received(answered) {
        task.store(storing).await;
    }
}

/// A response on its way into the store.
struct Storing {
    filling: Arc<Filling>,
    body: Arriving,
}

impl Task {
    /// Asks the origin and tells the verdict. The body to store, if there is one.
    async fn decide(&self) -> Option<Storing> {
        let (ask, held) = match &self.fetch.plan {
            Plan::Whole { reserve } => (Ask::for_miss(&self.fetch.request), reserve.as_ref()),
            Plan::Validate { object, validators } => match object.entry.content {
                Content::Whole { .. } => (Ask::Validate(validators), Some(object)),
                Content::Part(_) => (Ask::ValidatePart(validators), Some(object)),
            },
            Plan::Slice(slice) => return self.slice(slice).await,
            Plan::Complete { object, missing, if_range } => {
                return self.complete(object, missing, if_range).await;
            }
        };
        let retry = if held.is_some() { Retry::Never } else { Retry::Another };
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
            (_, status) if is_failure(status) => match self.stale(held, Failure::Status(status)) {
                Some(stale) => self.tell(stale),
                None => self.received(answered),
            },
            _ => self.received(answered),
        }
    }

    async fn ask(&self, ask: &Ask<'_>, retry: Retry) -> Result<Answered, NoAnswer> {
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
        site.origins.send(asked, retry).await.map_err(NoAnswer::Unanswered)
    }

    fn tell(&self, verdict: Verdict) -> Option<Storing> {
        self.fill.tell(verdict);
        None
    }

    /// What may be served instead of a failure; never something that a purge has covered meanwhile.
    fn stale(&self, held: Option<&Arc<Object>>, failure: Failure) -> Option<Verdict> {
        let object = held.filter(|object| !self.is_gone(object))?;
        let now = self.flights.clock.now();
        match policy::after_failure(&object.entry, failure, &self.fetch.site.site.rules, now) {
            Reuse::Stale { freshness, why, .. } => Some(Verdict::Stale(Arc::clone(object), freshness, why)),
            _ => None,
        }
    }

    fn failed(&self, held: Option<&Arc<Object>>, why: Unanswered) -> Verdict {
        let must = held.is_some_and(|object| object.entry.lifetime.stale == WhenStale::MustRevalidate);
        if must { Verdict::MustValidate(why) } else { Verdict::Failed(why) }
    }

    /// A 304 to our own conditions (RFC 9111 §4.3.4).
    async fn validated(&self, object: &Arc<Object>, answered: Answered) -> Option<Storing> {
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
                let fresh = Arc::new(self.object(entry, Arc::clone(&object.body)));
                match self.flights.store.put(key, Arc::clone(&fresh), Some(object), &self.fill.ticket) {
                    Put::Kept => self.tell(Verdict::Validated(fresh)),
                    Put::Purged => self.ask_anew().await,
                }
            }
            Freshened::ServeOnce(entry, _) => {
                self.flights.store.forget(key, object);
                self.fill.tell_apart(Own::Once(Arc::new(self.object(entry, Arc::clone(&object.body)))));
                None
            }
            Freshened::Mismatch => {
                self.flights.store.forget(key, object);
                self.ask_anew().await
            }
        }
    }

    /// What is stored cannot be used after all: another request, without conditions of ours.
    async fn ask_anew(&self) -> Option<Storing> {
        match self.ask(&Ask::for_miss(&self.fetch.request), Retry::Another).await {
            Ok(answered) => self.received(answered),
            Err(no_answer) => self.unanswered(no_answer),
        }
    }

    fn unanswered(&self, no_answer: NoAnswer) -> Option<Storing> {
        match no_answer {
            NoAnswer::Undeliverable(why) => self.tell(Verdict::Undeliverable(why)),
            NoAnswer::Unanswered(why) => self.tell(Verdict::Failed(why)),
        }
    }

    /// A response to what the client asked: store it or leave it to the request that caused it.
    fn received(&self, answered: Answered) -> Option<Storing> {
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

    fn head_of(&self, answered: &Answered) -> ResponseHead {
        let mut head = head_of(answered);
        encoding::mark(&mut head, &self.fetch.site.site.compress);
        head
    }

    /// Whether a response with this head may be stored.
    fn admitted(
        &self,
        head: &ResponseHead,
        length: Option<u64>,
        answered: &Answered,
    ) -> Result<Lifetime, Why> {
        let rules = &self.fetch.site.site.rules;
        match policy::admit(&self.fetch.request, head, answered.asked, rules, answered.received) {
            Admit::Leave(why) => Err(Why::Unstorable(why)),
            Admit::Keep(_) if length > Some(self.fetch.site.site.max_object_bytes) => Err(Why::TooBig),
            Admit::Keep(lifetime) => Ok(lifetime),
        }
    }

    fn entry(
        &self,
        head: &ResponseHead,
        lifetime: Lifetime,
        length: Option<u64>,
        answered: &Answered,
    ) -> Entry {
        Entry::new(&self.fetch.request, head, lifetime, answered.asked, answered.received, length)
    }

    /// Tells of a response that will be stored.
    fn storing(&self, filling: Filling, body: Arriving) -> Option<Storing> {
        let filling = Arc::new(filling);
        self.flights.metrics.filling();
        self.flights.apart.clear(&self.fetch.key);
        if body.is_end() {
            // Stored before the head is told: a client that has the head has the whole response.
            self.put(&filling, &[]);
            self.fill.log.end();
            return self.tell(Verdict::Filling(filling));
        }
        self.fill.tell(Verdict::Filling(Arc::clone(&filling)));
        Some(Storing { filling, body })
    }

    fn apart(&self, answered: Answered, why: Why) -> Option<Storing> {
        if tells_of_all(why) {
            self.flights.mark_apart(&self.fetch.key, answered.received);
        }
        self.fill.tell_apart(Own::Response(answered, why));
        None
    }

    /// Fills the log, and the store from it.
    async fn store(&self, Storing { filling, mut body }: Storing) {
        let log = &self.fill.log;
        let mut share = Some(self.flights.store.fills().share());
        let mut got = 0_u64;
        loop {
            let nearly_done =
                share.is_some() && filling.length.is_some_and(|length| length - got < NEARLY_BYTES);
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = log.deserted(), if !nearly_done => return,
            };
            let piece = match next {
                None => break,
                Some(Err(error)) => {
                    return tracing::warn!(target: "verge_edge::origin", %error, "response broke off");
                }
                Some(Ok(piece)) => piece,
            };
            got += piece.len() as u64;
            let fits = |share: &mut Share| {
                got <= self.fetch.site.site.max_object_bytes && share.grow(piece.len() as u64)
            };
            if share.as_mut().is_some_and(|share| !fits(share)) {
                self.flights.table.unlist(&self.fetch.key, &self.fill);
                log.slide();
                share = None;
            }
            if share.is_some() && filling.length == Some(got) {
                // Stored before the last piece is told: a client that has it all may ask again at once.
                self.put_all(&filling, Some(piece.clone()));
                self.fill.hold(share);
                log.push(piece);
                return log.end();
            }
            log.push(piece);
            tokio::select! {
                () = log.room() => {}
                () = log.deserted(), if share.is_none() => return,
            }
        }
        if share.is_some() {
            self.put_all(&filling, None);
        }
        self.fill.hold(share);
        log.end();
    }

    fn put_all(&self, filling: &Filling, last: Option<Bytes>) {
        let mut pieces = self.fill.log.pieces();
        pieces.extend(last);
        self.put(filling, &pieces);
    }

    fn put(&self, filling: &Filling, pieces: &[Bytes]) {
        let body = joined(pieces);
        let length = body.iter().map(|piece| piece.len() as u64).sum();
        let Some(entry) = filling.entry.clone().completed(length) else {
            return self.flights.table.unlist(&self.fetch.key, &self.fill);
        };
        let object = Arc::new(self.object(entry, body));
        // Its bytes go into it, so a purge of it covers this as well.
        let part = match &self.fetch.plan {
            Plan::Complete { object, .. } => Some(object),
            _ => None,
        };
        self.flights.store.put(&self.fetch.key, object, part, &self.fill.ticket);
        self.flights.table.unlist(&self.fetch.key, &self.fill);
    }

    fn object(&self, entry: Entry, body: Arc<[Bytes]>) -> Object {
        Object { entry, body, site: self.fetch.site.index, epoch: self.fill.ticket.epoch() }
    }

    /// A hard purge; what a soft one covers is stale, and may be served as that.
    fn is_gone(&self, object: &Object) -> bool {
        let headers = Some(&object.entry.head.headers);
        self.flights.purged(&self.fill, &self.fetch, headers) == Some(Mode::Hard)
    }
}

/// Why there is no response.
enum NoAnswer {
    Undeliverable(Undeliverable),
    Unanswered(Unanswered),
}

/// A fill that nobody reads goes on if no more than this is missing.
const NEARLY_BYTES: u64 = 1 << 20;
/// Pieces smaller than this are joined before they are stored …
const SMALL_PIECE_BYTES: usize = 16 << 10;
/// … to pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Whether what keeps this response from being stored is likely to hold for the key's other responses as well.
fn tells_of_all(why: Why) -> bool {
    use Unstorable::{Authorization, ForThisRequest, Method, Part, RequestNoStore};
    !matches!(why, Why::Unstorable(Authorization | ForThisRequest | Method | Part | RequestNoStore))
}

fn is_failure(status: StatusCode) -> bool {
    // RFC 5861 §4 names these four.
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn head_of(answered: &Answered) -> ResponseHead {
    ResponseHead { status: answered.response.status(), headers: answered.response.headers().clone() }
}

/// Runs of small pieces become one piece each.
fn joined(pieces: &[Bytes]) -> Arc<[Bytes]> {
    let mut out = Vec::new();
    let mut run = BytesMut::new();
    for piece in pieces {
        if !run.is_empty() && (piece.len() >= SMALL_PIECE_BYTES || run.len() + piece.len() > PIECE_BYTES) {
            out.push(std::mem::take(&mut run).freeze());
        }
        if piece.len() >= SMALL_PIECE_BYTES { out.push(piece.clone()) } else { run.extend_from_slice(piece) }
    }
    if !run.is_empty() {
        out.push(run.freeze());
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_pieces_keeps_every_byte_in_order() {
        let sizes = [1, 15, 20_000, 3, 9_000, 9_000, 16_384, 16_383, 16_383, 16_383, 16_383, 1];
        let pieces: Vec<Bytes> =
            sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size].into()).collect();
        let joined = joined(&pieces);
        assert_eq!(joined.concat(), pieces.concat());
        assert!(joined.len() < pieces.len());
        assert!(joined.iter().all(|piece| piece.len() <= PIECE_BYTES));
    }
}
