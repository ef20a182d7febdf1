//! Waiting for a request's content before its origin is asked.

use super::answer::{self, Answer};
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::decide::Role;
use crate::origin::body::BodyError;
use crate::origin::{Gathered, RequestBody, Unanswered};
use crate::policy::headers::status::ProxyError;
use crate::policy::{Failure, Forward};

/// Waits for a request's content, up to so many bytes, as long as its origin may take for an answer. Longer content goes
/// on as it comes.
pub(super) async fn gathered(
    cache: &Cache,
    exchange: &Exchange<'_>,
    upload: RequestBody,
    most: u64,
) -> Result<Gathered, Box<Answer>> {
    let late = cache.clock.timer(exchange.site.site.patience.first_byte);
    upload.gathered(most, cache.store.fills().share(), late).await.map_err(|error| {
        let error = match error {
            BodyError::Slow(_) => ProxyError::HttpRequestTimeout,
            _ => ProxyError::HttpRequestError,
        };
        let unanswered = Unanswered { failure: Failure::Unreachable, error };
        answer::failed(cache, unanswered, Role::Leader, Forward::Method).into()
    })
}
