//! One exchange with an origin, and the same with another one where the first takes long: what answers first counts.

use std::pin::pin;
use std::time::SystemTime;

use http::{Method, Request};
use tokio::time::timeout_at;

use super::body::RequestBody;
use super::connection::{Exchange, Lines};
use super::in_flight::InFlight;
use super::{Origins, ProxyError, Wish};
use crate::clock::monotonic;
use crate::course::{Course, Event};

/// A request that is at an origin.
#[derive(Debug)]
pub(super) struct Begun {
    /// The origin's place.
    pub(super) index: usize,
    /// It counts there, as long as it is under way.
    pub(super) in_flight: Option<InFlight>,
    pub(super) asked: SystemTime,
    /// The connections that it may have there.
    pub(super) lines: Lines,
}

/// Whether it asks for content and for nothing else: what it costs an origin to be asked twice is known of these.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || method.as_str() == "QUERY"
}

impl Origins {
    /// The outcome at the `first` origin, or at another one of those that were not `tried`; `hedge` is a copy of the
    /// request, if it may go there, too. By the time of the wish it has failed.
    pub(super) async fn exchange(
        &self,
        first: Begun,
        request: Request<RequestBody>,
        (hedge, wish): (Option<Request<RequestBody>>, Wish),
        tried: &mut Vec<usize>,
    ) -> (Begun, Exchange) {
        let (index, asked, lines, began) = (first.index, first.asked, first.lines, monotonic());
        let upload = request.body().progress();
        // It stays in its place: it is large, and every miss has one.
        let hedged = pin!(self.hedged(first, request, (hedge, wish), tried));
        let Some(deadline) = wish.until else { return hedged.await };
        match timeout_at(deadline, hedged).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let had = deadline.saturating_duration_since(began);
                let error = ProxyError::HttpResponseTimeout;
                let awaits_client = upload.is_some_and(|upload| upload.awaits_client());
                let outcome = match self.patience.whole {
                    _ if awaits_client => Exchange::Lost(ProxyError::HttpRequestTimeout),
                    // The origins that were asked before had most of the time.
                    Some(whole) if had < whole / 2 => Exchange::Dropped(error, None),
                    _ => Exchange::Lost(error),
                };
                // All that was begun is dropped.
                (Begun { index, in_flight: None, asked, lines }, outcome)
            }
        }
    }

    async fn hedged(
        &self,
        first: Begun,
        request: Request<RequestBody>,
        (hedge, wish): (Option<Request<RequestBody>>, Wish),
        tried: &mut Vec<usize>,
    ) -> (Begun, Exchange) {
        let mut one = pin!(self.all[first.index].member.exchange(request, self.patience, first.lines));
        let Some((hedge, after)) = hedge.zip(self.sharing.hedge) else { return (first, one.await) };
        tokio::select! {
            biased;
            outcome = &mut one => return (first, outcome),
            () = self.clock.timer(after) => {}
        }
        let Some(second) = self.another(tried, wish) else { return (first, one.await) };
        tried.push(second.index);
        if let Some(course) = hedge.extensions().get::<Course>() {
            course.note(Event::Hedged);
        }
        let other = &self.all[second.index].member;
        other.hedged();
        // Few requests have a second one; room for it would make the future of each twice as large.
        let mut two = Box::pin(other.exchange(hedge, self.patience, second.lines));
        // One that fails leaves the answer to the other.
        tokio::select! {
            biased;
            outcome = &mut one => match outcome {
                outcome @ Exchange::Answered(_) => (first, outcome),
                failed => {
                    self.note_failed(&first, &failed);
                    (second, other.won(two.await))
                }
            },
            outcome = &mut two => match other.won(outcome) {
                // An error that comes soon is no better than an answer that comes late.
                Exchange::Answered(response) if response.status().is_server_error() => match one.await {
                    outcome @ Exchange::Answered(_) => (first, outcome),
                    failed => {
                        self.note_failed(&first, &failed);
                        (second, Exchange::Answered(response))
                    }
                },
                outcome @ Exchange::Answered(_) => {
                    self.note_outrun(&first);
                    (second, outcome)
                }
                failed => {
                    self.note_failed(&second, &failed);
                    (first, one.await)
                }
            },
        }
    }

    /// One more origin for a read that takes long, if one has room at once and the budget of retries allows it.
    fn another(&self, tried: &[usize], wish: Wish) -> Option<Begun> {
        let index = self.pick(tried, Wish { before: None, ..wish })?;
        let in_flight = Some(self.all[index].member.begin(self.most(), &self.queue)?);
        let asked = self.clock.now();
        self.spend_retry().then_some(Begun { index, in_flight, asked, lines: Lines::Any })
    }

    /// The origin that was asked first has waited longer than the other one, and nobody will know how long it takes.
    fn note_outrun(&self, begun: &Begun) {
        let now = self.clock.now();
        self.all[begun.index].member.was_outrun(now.duration_since(begun.asked).unwrap_or_default(), now);
    }

    /// The same as of a request that goes to one origin only.
    fn note_failed(&self, begun: &Begun, outcome: &Exchange) {
        let (index, now) = (begun.index, self.clock.now());
        let origin = &self.all[index].member;
        match outcome {
            Exchange::Lost(ProxyError::HttpResponseTransferCoding) => origin.succeeded(now),
            Exchange::Unsent(_, error) => self.blame(index, *error, now),
            Exchange::Lost(error) => self.lost(index, *error, (begun.asked, now)),
            Exchange::Refused(..) => self.refused(index, now),
            Exchange::Dropped(error, _) => origin.unanswered(*error),
            Exchange::Answered(_) => {}
        }
    }
}
