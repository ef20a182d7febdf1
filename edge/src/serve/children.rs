//! Edges whose parent this one is: what they ask for is not judged once more, and they tell what is to go.

use http::StatusCode;

use super::answer::Answer;
use super::behind;
use crate::cache::{Cache, FromChild, NotPurged};
use crate::metrics::{Asked, Outcome};
use crate::origin::body::BodyError;
use crate::origin::{Gathered, RequestBody};

/// Purges are a few names.
const MOST_BYTES: u64 = 64 << 10;
/// A child sends them at once.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The answer to a child that tells what is to go, once it is gone here and at this edge's own parents.
pub(super) async fn purge(cache: &Cache, upload: RequestBody) -> Answer {
    let answer = |status, sentence: &str| Answer::plain(status, sentence, Outcome::Local, "purge");
    let told = match told(cache, upload).await {
        Ok(told) => told,
        Err(sentence) => return answer(StatusCode::BAD_REQUEST, sentence),
    };
    if told.through.contains(&cache.name) {
        return answer(StatusCode::OK, "it came from here");
    }
    let missed = cache.purge_above(&told.purges, &told.through).await;
    let mut status = StatusCode::OK;
    let mut counts = Vec::new();
    for purge in &told.purges {
        let purged = match purge.scopes(cache) {
            Ok(scopes) => cache.purge(&scopes, purge.mode()),
            Err(NotPurged::NoSite | NotPurged::NoSuchSite(_)) => Some(0),
            Err(why) => {
                status = StatusCode::BAD_REQUEST;
                tracing::warn!(target: "verge_edge::purge", ?purge, "a child asks for a purge that cannot be done: {}", why.sentence());
                continue;
            }
        };
        counts.push(purged);
        cache.metrics.asked(Asked::Purged);
        tracing::info!(target: "verge_edge::purge", ?purge, purged, through = ?told.through, "purged");
    }
    let Some(done) = cache.purged(&told.purges, counts.into_iter().sum()).await else {
        return behind::unheard();
    };
    match (status, missed.as_slice()) {
        (StatusCode::OK, []) => match done.until_restart() {
            None => answer(StatusCode::OK, "purged"),
            Some(but) => answer(StatusCode::OK, &format!("purged; {but}")),
        },
        (StatusCode::OK, missed) => {
            let sentence = format!("purged here, and not at {}", missed.join(", "));
            answer(StatusCode::BAD_GATEWAY, &sentence)
        }
        (status, _) => answer(status, "one of them is no purge"),
    }
}

async fn told(cache: &Cache, upload: RequestBody) -> Result<FromChild, &'static str> {
    let late = cache.clock.timer(PATIENCE);
    let gathered = upload.gathered(MOST_BYTES, cache.store.fills().share(), late).await;
    match gathered.map_err(|_: BodyError| "it broke off")? {
        Gathered::Whole(RequestBody::Held(content, _)) => {
            serde_json::from_slice(content.bytes()).map_err(|_| "it is not what an edge tells its parents")
        }
        Gathered::Whole(_) => Err("it is empty"),
        Gathered::Coming(_) => Err("it is too long, or comes too slowly"),
    }
}
