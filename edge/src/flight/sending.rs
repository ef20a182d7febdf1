//! A request of a site on its way: to a parent if the site has any, else or behind them to an origin.

use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};

use super::FetchSite;
use crate::http::head::RequestHead;
use crate::origin::{Answered, OriginStanding, Origins, RequestBody, Retry, Unanswered};
use crate::policy::Failure;
use crate::policy::headers::status::ProxyError;
use crate::site::key::key;
use crate::site::route;

/// What became of a request that was sent to a parent.
enum AtParents {
    /// This is for the client.
    Ended(Box<Result<Answered, Unanswered>>),
    /// The origins may have it.
    Back(Box<Request<RequestBody>>),
}

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
        if let Some(parents) = &self.parents {
            match self.ask_parents(parents, request, asked, retry).await {
                AtParents::Ended(ended) => return *ended,
                AtParents::Back(back) => asked = *back,
            }
        }
        let place = self.origins.place_of(|| key(request, &self.site.key));
        let mut answered = self.origins.send(asked, retry, place).await?;
        self.site.own_names.apply(answered.response.headers_mut(), request, self.site.route.as_ref());
        Ok(answered)
    }

    /// A parent has the same rules: it is asked for the path that the client asked for, and makes of it what its origins
    /// know it by.
    async fn ask_parents(
        &self,
        parents: &Origins,
        request: &RequestHead,
        mut asked: Request<RequestBody>,
        retry: Retry,
    ) -> AtParents {
        let prefix = asked.headers_mut().remove(FORWARDED_PREFIX);
        let at_origin = std::mem::replace(asked.uri_mut(), route::target(&request.uri, None).into());
        let spare = Origins::copy(&asked);
        let place = parents.place_of(|| key(request, &self.site.key));
        match parents.send_or_return(asked, retry, place).await {
            Ok(answered) if answered.response.status() == StatusCode::LOOP_DETECTED => match spare {
                Some(back) => AtParents::Back(as_for_origins(back, at_origin, prefix).into()),
                None => AtParents::Ended(Ok(answered).into()),
            },
            Ok(answered) => AtParents::Ended(refused_by_parent(answered).into()),
            Err((unanswered, None)) => AtParents::Ended(Err(unanswered).into()),
            Err((_, Some(back))) => AtParents::Back(as_for_origins(*back, at_origin, prefix).into()),
        }
    }

    /// How the parents stand, and the origins.
    #[must_use]
    pub fn standing(&self) -> Vec<OriginStanding> {
        let of_parents = self.parents.iter().flat_map(|parents| parents.standing());
        let of_parents = of_parents.map(|parent| OriginStanding { parent: true, ..parent });
        of_parents.chain(self.origins.standing()).collect()
    }

    /// Takes the parent or origin at this address out or puts it back, or leaves that to the config. Whether there is one.
    pub fn switch(&self, authority: &str, drained: Option<bool>) -> bool {
        let of_parents = self.parents.as_ref().is_some_and(|parents| parents.switch(authority, drained));
        self.origins.switch(authority, drained) || of_parents
    }
}

fn as_for_origins(
    mut back: Request<RequestBody>,
    at_origin: Uri,
    prefix: Option<HeaderValue>,
) -> Request<RequestBody> {
    *back.uri_mut() = at_origin;
    back.headers_mut().extend(prefix.map(|prefix| (FORWARDED_PREFIX, prefix)));
    back
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
