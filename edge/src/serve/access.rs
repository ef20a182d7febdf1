//! Lets requests in or turns them away: by network, by password, by rate and by the length of their content.
//!
//! Invariant: what strangers send costs a bounded time and memory. A password is checked by one thread at a time or a
//! few, behind a queue with an end; a network has as many wrong guesses as [`GUESSES`] says; the table of rates and the
//! marks of right passwords have fixed sizes.

mod passwords;
mod rates;

use std::num::NonZeroU32;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use self::passwords::{Fits, Passwords};
use self::rates::Rates;
use super::answer::{self, Answer};
use super::exchange::Exchange;
use crate::cache::Cache;
use crate::metrics::{Limit, Outcome};
use crate::origin::{Exceeded, RequestBody};
use crate::policy::headers::status::Verdict;
use crate::site::access::{Access, Rate, Users};

/// The memory of clients by which requests are let in.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    rates: Rates,
    passwords: Passwords,
}

/// Wrong passwords from one network: enough for a person who has forgotten it, nothing for a list of words.
const GUESSES: Rate = Rate {
    requests: NonZeroU32::new(20).expect("it is not zero"),
    period: Duration::from_secs(60),
    // The scopes of a config's rates are places in its text.
    scope: u64::MAX,
};

/// A request that is let in: its content, cut off where it is longer than allowed, and the sign of that.
pub(super) struct Admitted {
    pub(super) upload: RequestBody,
    exceeded: Option<Exceeded>,
}

/// Whether a request without content, for one part of a site alone, is let in, where that is known at once and the rate of
/// its client allows it: that is counted. If not, [`admit`] says what becomes of it.
pub(super) fn admits_at_once(guards: &Guards, exchange: &Exchange<'_>) -> bool {
    let (access, client) = (&exchange.site.site.access, exchange.peer.client);
    let is_let_in = || {
        access.users.is_none()
            && access.admits(client)
            && access.rate.as_ref().is_none_or(|rate| guards.rates.take(rate, client, exchange.now).is_ok())
    };
    exchange.is_childs || is_let_in()
}

/// Lets the request in, or says why not. Where an origin may take its path for other parts of the site, those parts'
/// conditions count too.
pub(super) async fn admit(
    cache: &Cache,
    guards: &Guards,
    exchange: &Exchange<'_>,
    upload: RequestBody,
) -> Result<Admitted, Box<Answer>> {
    let parts = || std::iter::once(&exchange.site).chain(&exchange.others).map(|part| &part.site.access);
    if !exchange.is_childs {
        judge(cache, guards, exchange).await?;
    }
    let Some(most) = parts().filter_map(|access| access.max_body_bytes).min() else {
        return Ok(Admitted { upload, exceeded: None });
    };
    match upload.limited(most) {
        Some((upload, exceeded)) => Ok(Admitted { upload, exceeded: Some(exceeded) }),
        None => Err(too_long(cache).into()),
    }
}

/// By its network, rate and password.
async fn judge(cache: &Cache, guards: &Guards, exchange: &Exchange<'_>) -> Result<(), Box<Answer>> {
    let parts = || std::iter::once(&exchange.site).chain(&exchange.others).map(|part| &part.site.access);
    for access in parts() {
        by_network(cache, exchange, access)?;
    }
    let mut rates: Vec<&Rate> = parts().filter_map(|access| access.rate.as_ref()).collect();
    rates.sort_unstable_by_key(|rate| rate.scope);
    rates.dedup_by_key(|rate| rate.scope);
    for rate in rates {
        let client = exchange.peer.client;
        guards.rates.take(rate, client, exchange.now).map_err(|wait| too_many(cache, Limit::Rate, wait))?;
    }
    for users in parts().filter_map(|access| access.users.as_ref()) {
        by_password(cache, guards, exchange, users).await?;
    }
    Ok(())
}

impl Admitted {
    /// The answer, if the content was not too long to have one.
    pub(super) fn judge(exceeded: Option<Exceeded>, cache: &Cache, answer: Answer) -> Answer {
        match exceeded {
            Some(exceeded) if exceeded.is_so() && answer.outcome == Outcome::Failed => too_long(cache),
            _ => answer,
        }
    }

    pub(super) fn parts(self) -> (RequestBody, Option<Exceeded>) {
        (self.upload, self.exceeded)
    }
}

fn by_network(cache: &Cache, exchange: &Exchange<'_>, access: &Access) -> Result<(), Box<Answer>> {
    if access.admits(exchange.peer.client) {
        return Ok(());
    }
    let sentence = "this address may not ask for it";
    let answer = Answer::plain(StatusCode::FORBIDDEN, sentence, Outcome::Refused, "network");
    Err(by_ourselves(cache, answer).into())
}

async fn by_password(
    cache: &Cache,
    guards: &Guards,
    exchange: &Exchange<'_>,
    users: &Users,
) -> Result<(), Box<Answer>> {
    let (client, now) = (exchange.peer.client, exchange.now);
    let Some(credentials) = &exchange.credentials else { return Err(unauthorized(cache, users).into()) };
    let (hash, is_known) = users.hash_of(credentials.name());
    if is_known && guards.passwords.is_right(hash, credentials) {
        return Ok(());
    }
    guards.rates.look(&GUESSES, client, now).map_err(|wait| too_many(cache, Limit::Guesses, wait))?;
    let Some(turn) = guards.passwords.turn().await else { return Err(busy(cache).into()) };
    // Another request of the same user may have shown it while this one waited.
    if is_known && guards.passwords.is_right(hash, credentials) {
        return Ok(());
    }
    guards.rates.take(&GUESSES, client, now).map_err(|wait| too_many(cache, Limit::Guesses, wait))?;
    match guards.passwords.fits(turn, hash, credentials).await {
        Fits::Yes if is_known => {
            guards.rates.give_back(&GUESSES, client);
            guards.passwords.remember(hash, credentials);
            Ok(())
        }
        Fits::Yes | Fits::No => Err(unauthorized(cache, users).into()),
    }
}

fn unauthorized(cache: &Cache, users: &Users) -> Answer {
    let sentence = "this needs a name and a password";
    let mut answer = Answer::plain(StatusCode::UNAUTHORIZED, sentence, Outcome::Refused, "password");
    answer.head.headers.insert(header::WWW_AUTHENTICATE, users.challenge());
    by_ourselves(cache, answer)
}

fn too_many(cache: &Cache, limit: Limit, wait: Duration) -> Box<Answer> {
    cache.metrics.limit_reached(limit);
    let sentence = "too many requests from this network";
    let mut answer = Answer::plain(StatusCode::TOO_MANY_REQUESTS, sentence, Outcome::Refused, "rate");
    // RFC 9110 §10.2.3: whole seconds; a part of one counts.
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    by_ourselves(cache, answer).into()
}

fn busy(cache: &Cache) -> Answer {
    cache.metrics.limit_reached(Limit::PasswordQueue);
    let sentence = "too many passwords are being checked";
    let mut answer =
        Answer::plain(StatusCode::SERVICE_UNAVAILABLE, sentence, Outcome::Refused, "password-queue");
    answer.head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    by_ourselves(cache, answer)
}

/// RFC 9110 §15.5.14.
fn too_long(cache: &Cache) -> Answer {
    let sentence = "the request's content is longer than this site takes";
    let answer = Answer::plain(StatusCode::PAYLOAD_TOO_LARGE, sentence, Outcome::Refused, "content-too-long");
    by_ourselves(cache, answer)
}

fn by_ourselves(cache: &Cache, answer: Answer) -> Answer {
    answer::with_cache_status(cache, answer, Verdict::Local)
}
