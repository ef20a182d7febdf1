//! A request for its key: from the store, through a fetch, or past the cache, as [`crate::decide::step`] says.

use std::sync::Arc;

use http::{Method, Version};

use super::answer::{self, Answer};
use super::exchange::Exchange;
use super::{dictionary, fetch, pass, stored};
use crate::cache::Cache;
use crate::decide::step::{self, Step};
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::policy::headers::status::Verdict;
use crate::store::Variants;

/// Every way a request for its key can go.
pub(super) async fn placed(cache: &Arc<Cache>, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    let mut looks = 0;
    loop {
        let (variants, tier, step) = stored_for(cache, exchange).await;
        let (tier, variant, verdict, freshness, outcome) = match step {
            Step::Serve { variant, freshness } => {
                (tier, variant, Verdict::Hit(freshness), freshness, Outcome::Hit)
            }
            Step::ServeStale { variant, freshness, why } => {
                (Tier::Memory, variant, Verdict::HitStale(freshness, why), freshness, Outcome::Stale)
            }
            Step::ServeAndRefresh { variant, freshness, why } => {
                fetch::refresh(cache, exchange, &variants[variant]);
                (Tier::Memory, variant, Verdict::HitStale(freshness, why), freshness, Outcome::Stale)
            }
            // A purge of what is stored here would reach the other process alone.
            Step::Fetch { why, .. } if goes_by(cache, exchange) => {
                return pass::pass(cache, exchange, upload, why).await;
            }
            Step::Fetch { plan, why } => {
                let plan = fetch::about(plan, &variants);
                return fetch::fetch(cache, exchange, variants, plan, why).await;
            }
            Step::Pass(why) => return pass::pass(cache, exchange, upload, why).await,
            Step::Refuse(status, why) => return answer::refuse(cache, status, why),
        };
        let object = &variants[variant];
        let mut answer = stored::answer(cache, exchange, object, verdict, freshness, outcome);
        looks += 1;
        if looks > MOST_LOOKS || object.body.file().is_none() || begins(exchange, &mut answer).await {
            return tier.tells(dictionary::shortened(cache, exchange, object, answer).await);
        }
    }
}

/// Whether another process answers, and may have purged what is stored here. A connection of HTTP/1.1 that was idle then stays for seconds;
/// over HTTP/2 and HTTP/3 the client has been told to go, and its last requests are answered as those that were under way.
fn goes_by(cache: &Cache, exchange: &Exchange<'_>) -> bool {
    cache.has_left() && exchange.version < Version::HTTP_2
}

/// A file that cannot be read is not held any more, or not looked for, at the next look.
const MOST_LOOKS: usize = 2;

/// Whether the beginning of an answer out of a file can be read: once its head is sent it is too late to take another.
async fn begins(exchange: &Exchange<'_>, answer: &mut Answer) -> bool {
    // Room of its own: few answers come out of files.
    exchange.request.method != Method::GET || Box::pin(answer.body.begins()).await
}

/// Where stored responses were found.
#[derive(Clone, Copy)]
enum Tier {
    Memory,
    Disk,
}

impl Tier {
    /// A hit from the disk says so: it took longer than others.
    fn tells(self, answer: Answer) -> Answer {
        match self {
            Self::Memory => answer,
            Self::Disk => Answer { why: "disk", ..answer.with_detail("disk") },
        }
    }
}

/// The responses that are stored for a request and the next step: by those in memory, else with those on a disk.
async fn stored_for(cache: &Cache, exchange: &Exchange<'_>) -> (Variants, Tier, Step) {
    let Exchange { request, site, key, now, .. } = exchange;
    let next = |variants: &Variants| match exchange.bypassed {
        Some(_) => step::bypassed(request),
        None => step::step(request, &variants.entries(), &site.site.rules, *now),
    };
    if goes_by(cache, exchange) {
        let none = Variants::default();
        let step = next(&none);
        return (none, Tier::Memory, step);
    }
    let in_memory = cache.store.get(key, &site.site.name);
    let step = next(&in_memory);
    let is_asked =
        request.method == Method::GET || request.method == Method::HEAD || exchange.content.is_some();
    if !is_asked || matches!(step, Step::Serve { .. }) || !cache.store.has_beside(key, &in_memory) {
        return (in_memory, Tier::Memory, step);
    }
    let variants = cache.store.get_from_disk(key, &site.site.name).await;
    let step = next(&variants);
    (variants, Tier::Disk, step)
}
