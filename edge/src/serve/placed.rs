//! A request for its key: from the store, through a fetch, or past the cache, as [`crate::decide::step`] says.

use std::sync::Arc;

use super::answer::{self, Answer};
use super::exchange::Exchange;
use super::{fetch, pass, stored};
use crate::cache::Cache;
use crate::decide::step::{self, Step};
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::policy::headers::status::Verdict;

/// Every way a request for its key can go.
pub(super) async fn placed(cache: &Arc<Cache>, exchange: &Exchange<'_>, upload: RequestBody) -> Answer {
    let Exchange { request, site, key, now, .. } = exchange;
    let variants = cache.store.get(key, &site.site.name);
    match step::step(request, &variants.entries(), &site.site.rules, *now) {
        Step::Serve { variant, freshness } => {
            let verdict = Verdict::Hit(freshness);
            stored::answer(cache, exchange, &variants[variant], verdict, freshness, Outcome::Hit)
        }
        Step::ServeStale { variant, freshness, why } => {
            let verdict = Verdict::HitStale(freshness, why);
            stored::answer(cache, exchange, &variants[variant], verdict, freshness, Outcome::Stale)
        }
        Step::ServeAndRefresh { variant, freshness, why } => {
            fetch::refresh(cache, exchange, &variants[variant]);
            let verdict = Verdict::HitStale(freshness, why);
            stored::answer(cache, exchange, &variants[variant], verdict, freshness, Outcome::Stale)
        }
        Step::Fetch { plan, why } => {
            fetch::fetch(cache, exchange, &variants, fetch::about(plan, &variants), why).await
        }
        Step::Pass(why) => pass::pass(cache, exchange, upload, why).await,
        Step::Refuse(status, why) => answer::refuse(cache, status, why),
    }
}
