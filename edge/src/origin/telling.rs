//! Something that each of several edges is to know.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Origins;
use super::body::RequestBody;
use super::connection::{Exchange, REFUSED};
use crate::pace::Rule;
use crate::policy::headers::status::ProxyError;
use crate::watch::Watch;

/// The answer of one of them.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    /// Its content; none where that is longer than a sentence, or does not come in time.
    pub(crate) content: Bytes,
}

/// An edge says it in a sentence.
const MOST_BYTES: usize = 1 << 10;

impl Origins {
    /// Posts this text to each of them at once, however they stand, on a connection of its own; with what each says of it.
    pub(crate) async fn post_to_each(
        &self,
        path: &PathAndQuery,
        text: &Bytes,
    ) -> Vec<(String, Result<Said, ProxyError>)> {
        let mut asked = JoinSet::new();
        for slot in &self.all {
            let (member, patience) = (std::sync::Arc::clone(&slot.member), self.patience);
            let rule = Rule { stall_timeout: patience.between_bytes, min_rate_bytes: 0 };
            let body = Full::new(text.clone());
            let mut request =
                Request::new(RequestBody::upload(body, Watch::new(rule, self.clock.clone()), &self.metrics));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = path.clone().into();
            let host = HeaderValue::from_str(member.own_host());
            request.headers_mut().extend(host.ok().map(|host| (header::HOST, host)));
            let authority = slot.address.authority.clone();
            asked.spawn(async move {
                let outcome = match member.probe(request, patience).await {
                    Exchange::Answered(response) => {
                        let (status, content) =
                            (response.status(), Limited::new(response.into_body(), MOST_BYTES));
                        let content = timeout(patience.first_byte, content.collect()).await;
                        let content = content.ok().and_then(Result::ok).map(|content| content.to_bytes());
                        Ok(Said { status, content: content.unwrap_or_default() })
                    }
                    Exchange::Unsent(_, error) | Exchange::Dropped(error, _) | Exchange::Lost(error) => {
                        Err(error)
                    }
                    Exchange::Refused(..) => Err(REFUSED),
                };
                (authority, outcome)
            });
        }
        asked.join_all().await
    }
}
