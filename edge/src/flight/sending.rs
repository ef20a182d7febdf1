//! A request of a site on its way: to a parent if the site has any, else or behind them to an origin.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use tokio::time::Instant;

use super::FetchSite;
use crate::course::{Course, Event};
use crate::http::head::RequestHead;
use crate::origin::{
    Answered, AnsweredBy, BrokeOff, OriginStanding, Origins, Paid, RequestBody, Retry, Unanswered, Wish,
};
use crate::policy::headers::origin::CLIENT_CERT;
use crate::policy::headers::status::ProxyError;
use crate::policy::{self, DESTINATION, Failure};
use crate::site::cookies;
use crate::site::key::key;
use crate::site::route;

/// The outcome of a request that was sent to a parent or a canary.
enum Sent {
    /// This is for the client.
    Ended(Box<Result<Answered, Unanswered>>),
    /// The origins may have it.
    Back(Box<Request<RequestBody>>),
}

/// The cookie by which a client finds its origin again. In a response's extensions.
#[derive(Debug, Clone)]
pub struct Sticks(pub HeaderValue);

/// In a request's extensions: it is passed by for a field that is withheld, so that a parent would not know of it and answer
/// from its store.
#[derive(Debug, Clone, Copy)]
pub struct Unsaid;

const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

impl FetchSite {
    /// Sends `asked`, which a client's `request` has become, to a parent, or to an origin if there is none. In what comes back
    /// from an origin, the names by which that knows itself are the client's.
    ///
    /// # Errors
    /// As [`Origins::send`].
    pub async fn send(
        &self,
        request: &RequestHead,
        mut asked: Request<RequestBody>,
        retry: Retry,
    ) -> Result<Answered, Unanswered> {
        // The rest of a response that broke off is no request of a client, and earns nothing.
        if broke_off(&asked).is_none() {
            self.origins.retries().earn();
        }
        // It is one response, whatever server is asked.
        let until = self.origins.deadline();
        // RFC 9440 §2.4: a parent cannot tell this edge's word from its clients' and withholds the field.
        let is_for_parents =
            !asked.headers().contains_key(CLIENT_CERT) && asked.extensions().get::<Unsaid>().is_none();
        if let Some(parents) = self.parents.as_ref().filter(|_| is_for_parents) {
            match Box::pin(self.ask_parents(parents, request, asked, (retry, until))).await {
                Sent::Ended(ended) => {
                    self.count(ended.as_ref().as_ref());
                    return *ended;
                }
                Sent::Back(back) => asked = *back,
            }
            note(&asked, Event::PastParents);
        }
        let place = self.origins.place_of(|| key(request, &self.site.key));
        let had = self.site.sticky.as_deref().and_then(|name| cookies::value(&request.headers, name));
        let avoid = broke_off(&asked);
        let wish = Wish { place, before: had.and_then(|had| had.parse().ok()), avoid, until };
        let mut answered =
            match self.ask_canary(asked, retry, Wish { before: None, avoid: None, ..wish }).await {
                Sent::Ended(ended) => (*ended)?,
                Sent::Back(asked) => {
                    // In a place of its own: the task of each fetch, and the connection of each client, would hold room
                    // for it, and they are moved about.
                    let outcome = Box::pin(self.origins.send(*asked, retry, wish)).await;
                    self.count(outcome.as_ref());
                    let answered = outcome?;
                    self.stick(request, wish, answered)
                }
            };
        self.site.own_names.apply(answered.response.headers_mut(), request, self.site.route.as_ref());
        Ok(answered)
    }

    /// An outcome at the parents or the origins, for those who compare.
    fn count(&self, outcome: Result<&Answered, &Unanswered>) {
        if let Some(is_error) = is_error(outcome) {
            self.tally.note(is_error, self.origins.now());
            if let Some(canary) = &self.canary {
                canary.note_other(is_error);
            }
        }
    }

    /// Where clients stay at their origins: a client that got another one than before is told which. The field goes to this
    /// client alone, and only with what is not stored.
    fn stick(&self, request: &RequestHead, wish: Wish, mut answered: Answered) -> Answered {
        let by = answered.response.extensions().get::<AnsweredBy>().map(|by| by.0);
        if let Some((name, by)) = self.site.sticky.as_ref().zip(by.filter(|by| wish.before != Some(*by))) {
            let secure = if request.uri.scheme_str() == Some("https") { "; Secure" } else { "" };
            let cookie = format!("{name}={by}; Path=/; HttpOnly; SameSite=Lax{secure}");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                answered.response.extensions_mut().insert(Sticks(cookie));
            }
        }
        answered
    }

    /// Asks the canary, if there is one and it is its turn. A request that fails there goes to the other origins, if that may be.
    async fn ask_canary(&self, asked: Request<RequestBody>, retry: Retry, wish: Wish) -> Sent {
        let Some((canary, group)) = self.canary.as_ref().zip(self.site.canary.as_ref()) else {
            return Sent::Back(asked.into());
        };
        if !canary.takes(&self.site, rand::random()) {
            return Sent::Back(asked.into());
        }
        let spare = Origins::copy(&asked);
        let course = asked.extensions().get::<Course>().cloned();
        // Few requests go there; those of others need no room for it.
        let outcome = Box::pin(canary.origins.send_or_return(asked, retry, wish)).await;
        let told = outcome.as_ref().map_err(|(unanswered, _)| unanswered);
        let is_error = is_error(told);
        if let Some(is_error) = is_error {
            canary.note(is_error, &group.mark, &self.site, canary.origins.now());
        }
        match (outcome, spare) {
            (Ok(_), Some(spare)) if is_error == Some(true) && canary.origins.spend_retry() => {
                Sent::Back(Paid::mark(spare).into())
            }
            (Ok(answered), _) => {
                course.into_iter().for_each(|course| course.note(Event::Canary));
                Sent::Ended(Ok(answered).into())
            }
            (Err((_, Some(back))), _) => Sent::Back(back),
            (Err((unanswered, None)), _) => Sent::Ended(Err(unanswered).into()),
        }
    }

    /// A parent has the same rules: it is asked for the path that the client asked for, and makes of it what its origins
    /// know it by.
    async fn ask_parents(
        &self,
        parents: &Origins,
        request: &RequestHead,
        mut asked: Request<RequestBody>,
        (retry, until): (Retry, Option<Instant>),
    ) -> Sent {
        let prefix = asked.headers_mut().remove(FORWARDED_PREFIX);
        let destination = policy::destination(request)
            .and_then(|_| asked.headers_mut().insert(DESTINATION, request.headers.get(DESTINATION)?.clone()));
        let own_fields = [prefix.map(|it| (FORWARDED_PREFIX, it)), destination.map(|it| (DESTINATION, it))];
        let at_origin = std::mem::replace(asked.uri_mut(), route::target(&request.uri, None).into());
        let spare = Origins::copy(&asked);
        let place = parents.place_of(|| key(request, &self.site.key));
        let wish = Wish { place, avoid: broke_off(&asked), until, before: None };
        match parents.send_or_return(asked, retry, wish).await {
            Ok(answered) if is_none_of_its_own(answered.response.status()) => match spare {
                Some(back) => Sent::Back(as_for_origins(Paid::unmark(back), at_origin, own_fields).into()),
                None => Sent::Ended(Ok(answered).into()),
            },
            Ok(answered) => Sent::Ended(refused_by_parent(answered).into()),
            Err((unanswered, None)) => Sent::Ended(Err(unanswered).into()),
            Err((_, Some(back))) => Sent::Back(as_for_origins(*back, at_origin, own_fields).into()),
        }
    }

    /// How the parents stand, the origins, and the canary's.
    #[must_use]
    pub fn standing(&self) -> Vec<OriginStanding> {
        let of_parents = self.parents.iter().flat_map(|parents| parents.standing());
        let of_parents = of_parents.map(|parent| OriginStanding { parent: true, ..parent });
        let of_canary = self.canary.iter().flat_map(|canary| canary.origins.standing());
        let of_canary = of_canary.map(|origin| OriginStanding { canary: true, ..origin });
        of_parents.chain(self.origins.standing()).chain(of_canary).collect()
    }

    /// The parents, the origins, and the canary's.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Origins>> {
        let of_canary = self.canary.iter().map(|canary| &canary.origins);
        self.parents.iter().chain([&self.origins]).chain(of_canary)
    }

    /// Takes the parent or origin at this address out or puts it back, or leaves that to the config. Whether there is one.
    pub fn switch(&self, authority: &str, drained: Option<bool>) -> bool {
        let of_parents = self.parents.as_ref().is_some_and(|parents| parents.switch(authority, drained));
        let of_canary = self.canary.as_ref().is_some_and(|canary| canary.origins.switch(authority, drained));
        self.origins.switch(authority, drained) || of_parents || of_canary
    }
}

/// The `Member::id` of the server that broke off the response with which this request goes on.
fn broke_off(asked: &Request<RequestBody>) -> Option<u64> {
    asked.extensions().get::<BrokeOff>().map(|by| by.0)
}

fn note(asked: &Request<RequestBody>, event: Event) {
    if let Some(course) = asked.extensions().get::<Course>() {
        course.note(event);
    }
}

/// Whether the origins are to blame for this outcome; none if the client is.
fn is_error(outcome: Result<&Answered, &Unanswered>) -> Option<bool> {
    match outcome {
        Ok(answered) => Some(answered.response.status().is_server_error()),
        Err(unanswered) => {
            let of_client = [ProxyError::HttpRequestError, ProxyError::HttpRequestTimeout];
            (!of_client.contains(&unanswered.error)).then_some(true)
        }
    }
}

fn as_for_origins(
    mut back: Request<RequestBody>,
    at_origin: Uri,
    own_fields: [Option<(HeaderName, HeaderValue)>; 2],
) -> Request<RequestBody> {
    *back.uri_mut() = at_origin;
    for (name, value) in own_fields.into_iter().flatten() {
        back.headers_mut().insert(name, value);
    }
    back
}

/// Whether a parent says that it is not the one to ask: the request would come round, or it has no site of that host.
fn is_none_of_its_own(status: StatusCode) -> bool {
    matches!(status, StatusCode::LOOP_DETECTED | StatusCode::MISDIRECTED_REQUEST)
}

/// A parent that says why it got no answer from an origin: here it is as if this edge had asked, so that what is stored here
/// may stand in for it. The origin is in trouble, and not asked once more.
fn refused_by_parent(answered: Answered) -> Result<Answered, Unanswered> {
    let response = &answered.response;
    let failure = match response.status() {
        StatusCode::GATEWAY_TIMEOUT => Failure::Timeout,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Failure::Unreachable,
        _ => return Ok(answered),
    };
    let told = response.headers().get_all(ProxyError::NAME).iter().next_back();
    match told.and_then(ProxyError::told) {
        Some(error) => Err(Unanswered { failure, error }),
        None => Ok(answered),
    }
}
