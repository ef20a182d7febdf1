//! A request of a site at its origins, one after the other, until one answers.

use std::pin::pin;
use std::time::SystemTime;

use http::{Request, Response};

use super::connection::{Exchange, Lines, REFUSED, copy_of, is_repeatable};
use super::hedging::{Begun, is_read};
use super::unheaded::Refusal;
use super::{
    Answered, AnsweredBy, MAX_ORIGINS_TRIED, OriginBody, Origins, Paid, RequestBody, Retry, Slot, Unanswered,
    Wish, fault, is_over,
};
use crate::course::{Course, Event};
use crate::policy::Failure;
use crate::policy::headers::status::ProxyError;

/// The origins that a request has been at.
#[derive(Debug, Default)]
struct Tries {
    tried: Vec<usize>,
    last: Option<Unanswered>,
    /// The place of one that has refused the request (RFC 9113 §8.7), until that one is asked again.
    refused_by: Option<usize>,
    has_been_refused: bool,
}

impl Tries {
    /// Whether there is an origin left for the request.
    fn may_go_on(&self, origins: usize) -> bool {
        self.refused_by.is_some() || self.has_next(origins)
    }

    /// Whether one is left that it has not been at.
    fn has_next(&self, origins: usize) -> bool {
        self.tried.len() < origins.min(MAX_ORIGINS_TRIED)
    }

    /// The origin of this place refused the request. Whether that is the first refusal.
    fn refuse(&mut self, index: usize) -> bool {
        let is_first = !std::mem::replace(&mut self.has_been_refused, true);
        self.refused_by = Some(index).filter(|_| is_first);
        is_first
    }
}

/// The times at which a request left and the head of its response came.
type Times = (SystemTime, SystemTime);

impl Origins {
    /// Sends a request to an origin and waits for the head of its final response.
    ///
    /// # Errors
    /// When no origin gave one; the last origin's failure.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        retry: Retry,
        wish: Wish,
    ) -> Result<Answered, Unanswered> {
        // One origin alone gets no request twice that it may have processed, so nobody needs a copy.
        let retry = if self.all.len() == 1 && retry == Retry::Another { Retry::Refused } else { retry };
        self.send_or_return(request, retry, wish).await.map_err(|(unanswered, back)| {
            if back.is_some_and(|back| back.extensions().get::<Paid>().is_some()) {
                self.retries.give_back();
            }
            unanswered
        })
    }

    /// A copy of a request that may be sent twice.
    #[must_use]
    pub fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
        is_repeatable(request).then(|| copy_of(request))
    }

    /// As [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`], with the request if it may still be sent elsewhere: another group may have it.
    pub async fn send_or_return(
        &self,
        mut request: Request<RequestBody>,
        retry: Retry,
        wish: Wish,
    ) -> Result<Answered, (Unanswered, Option<Box<Request<RequestBody>>>)> {
        let may_see_twice = retry == Retry::Another && is_repeatable(&request);
        let deadline = wish.until.or_else(|| self.deadline());
        let wish = Wish { until: deadline, ..wish };
        let course = request.extensions().get::<Course>().cloned().unwrap_or_default();
        let mut tries = Tries { tried: Vec::with_capacity(1), ..Tries::default() };
        loop {
            let first = match self.first(&mut tries, wish, &course).await {
                Ok(first) => first,
                Err(unanswered) => return Err((unanswered, Some(request.into()))),
            };
            let spare = may_see_twice.then(|| copy_of(&request));
            let may_hedge = |spare: &&Request<_>| self.sharing.hedge.is_some() && is_read(spare.method());
            let hedge = spare.as_ref().filter(may_hedge).map(copy_of);
            // Pinned where it lies: it is large, and would be moved there twice.
            let (Begun { index, in_flight, asked, .. }, outcome) =
                pin!(self.exchange(first, request, (hedge, wish), &mut tries.tried)).await;
            let received = self.clock.now();
            let (error, again) = match outcome {
                Exchange::Answered(response) => {
                    let response = self.answered(response, index, (asked, received), &course);
                    let response = response.map(|body: OriginBody| body.counted(in_flight).until(deadline));
                    return Ok(Answered { response, asked, received });
                }
                Exchange::Unsent(back, error) => {
                    self.blame(index, error, received);
                    (error, Some(back))
                }
                // It is up and has not processed the request: with any method, that may go on once.
                Exchange::Refused(refusal, back) => {
                    self.refused(index, received);
                    let back = back.filter(|_| retry != Retry::Never && !is_over(deadline));
                    let is_first = tries.refuse(index);
                    let again = self.after_refusal(refusal, is_first, back);
                    if !is_first {
                        return Err((unanswered(REFUSED), again.map(Box::new)));
                    }
                    (REFUSED, again)
                }
                Exchange::Dropped(error, _) => return Err((self.ended(index, error, received), None)),
                Exchange::Lost(error) if !is_origins_fault(error) => {
                    return Err((self.ended(index, error, received), None));
                }
                Exchange::Lost(error) => {
                    self.lost(index, error, (asked, received));
                    (error, spare.filter(|_| !is_over(deadline) && self.spend_retry()).map(Paid::mark))
                }
            };
            tries.last = Some(unanswered(error));
            match again {
                Some(back) if tries.may_go_on(self.all.len()) => request = back,
                again => return Err((unanswered(error), again.map(Box::new))),
            }
        }
    }

    /// The request that was refused, if it may go on. Nobody has processed it, and another connection may take it: so the first
    /// time is free, as where a connection ends (RFC 9113 §6.8). An origin that refuses all would get all twice.
    fn after_refusal(
        &self,
        refusal: Refusal,
        is_first: bool,
        back: Option<Box<Request<RequestBody>>>,
    ) -> Option<Request<RequestBody>> {
        if is_first && refusal != Refusal::StreamAgain {
            return back.map(|back| *back);
        }
        back.filter(|_| self.spend_retry()).map(|back| Paid::mark(*back))
    }

    /// The next origin that gets a request; where there is no other, the one that has refused it, on a new connection.
    async fn first(&self, tries: &mut Tries, wish: Wish, course: &Course) -> Result<Begun, Unanswered> {
        let last = tries.last;
        let next = match last.filter(|_| !tries.has_next(self.all.len())) {
            Some(last) => Err(last),
            None => self.next(&mut tries.tried, wish, last, course).await,
        };
        let (index, in_flight, lines) = match next {
            Ok((index, in_flight)) => (index, in_flight, Lines::Any),
            Err(unanswered) => {
                let again = tries.refused_by.take().filter(|_| !is_over(wish.until));
                let index = again.ok_or(unanswered)?;
                let in_flight = self.all[index].member.begin(self.most(), &self.queue).ok_or(unanswered)?;
                (index, in_flight, Lines::New)
            }
        };
        if last.is_some() {
            course.note(Event::Retried);
        }
        Ok(Begun { index, in_flight: Some(in_flight), asked: self.clock.now(), lines })
    }

    /// The origin of this place gave the head of a response.
    fn answered(
        &self,
        mut response: Response<OriginBody>,
        index: usize,
        (asked, received): Times,
        course: &Course,
    ) -> Response<OriginBody> {
        let origin = &self.all[index].member;
        origin.answered(response.status(), asked, received);
        self.look(received);
        response.extensions_mut().insert(AnsweredBy(index));
        course.answered(origin.id);
        response
    }

    /// A request ended at the origin of this place, for which that is not to blame.
    fn ended(&self, index: usize, error: ProxyError, now: SystemTime) -> Unanswered {
        let origin = &self.all[index].member;
        match error {
            // The client's own body broke off.
            ProxyError::HttpRequestError | ProxyError::HttpRequestTimeout => {}
            // It is up and has answered, and would answer so again: a client that asks for what is framed wrongly must not
            // put it out of service.
            ProxyError::HttpResponseTransferCoding => origin.succeeded(now),
            // An idle connection that closes is no sign of illness, nor is a deadline that had nearly come.
            _ => origin.unanswered(error),
        }
        unanswered(error)
    }

    /// The origin of this place refused a request that it has not processed.
    pub(super) fn refused(&self, index: usize, now: SystemTime) {
        self.all[index].member.refused(now);
        self.look(now);
    }

    /// The origin of this place took a request and gave no answer.
    pub(super) fn lost(&self, index: usize, error: ProxyError, (asked, now): Times) {
        self.all[index].member.lost(now.duration_since(asked).unwrap_or_default());
        self.blame(index, error, now);
    }

    /// The origin of this place failed.
    pub(super) fn blame(&self, index: usize, error: ProxyError, now: SystemTime) {
        let Slot { member, address } = &self.all[index];
        member.failed(error, fault(error), now);
        member.unanswered(error);
        let origin = &address.authority;
        tracing::warn!(target: "verge_edge::origin", origin, error = error.as_str(), "origin failed");
        self.look(now);
    }
}

/// Whether an origin that may have seen a request gave no response for a reason of its own.
fn is_origins_fault(error: ProxyError) -> bool {
    !matches!(
        error,
        ProxyError::HttpRequestError
            | ProxyError::HttpRequestTimeout
            | ProxyError::HttpResponseTransferCoding
    )
}

fn unanswered(error: ProxyError) -> Unanswered {
    let failure = match error {
        ProxyError::ConnectionTimeout | ProxyError::HttpResponseTimeout => Failure::Timeout,
        _ => Failure::Unreachable,
    };
    Unanswered { failure, error }
}
