//! Checks of the members of pools, and what answers make of their results.
//!
//! ```text
//! world ─▶ board ─▶ targets ─▶ a task for each: check ─▶ board: health ─▶ decide ─▶ the plans of the pools it touches
//! ```
//!
//! Invariant: logs, metrics and documents name members by the address that answers give, never by the one that is checked.

pub(super) mod board;
mod check;
mod kept;
pub(super) mod nodes;
mod slots;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::slots::Lane;
pub(super) use self::slots::Slots;
use super::pen::Pen;
use crate::clock;
use crate::steer::rules::Target;

/// The server answers by then, whatever the first checks say.
const FIRST_ROUND: Duration = Duration::from_secs(2);
/// A target of which nothing is known is checked by then, however long its interval is.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How often what is known is written to disk, if it has changed.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Checks every member once, so that the first answer knows which are up. A member that takes too long is unknown until later.
pub(super) async fn first_round(board: &Arc<Board>) {
    let slots = Arc::new(Slots::of_process());
    let mut checks = JoinSet::new();
    for target in board.targets() {
        let (board, slots) = (Arc::clone(board), Arc::clone(&slots));
        checks.spawn(async move { check_once(&target, &board, &slots, Lane::Swift).await });
    }
    let all = async { while checks.join_next().await.is_some() {} };
    if timeout(FIRST_ROUND, all).await.is_err() {
        tracing::warn!(
            "the first checks are not done after {FIRST_ROUND:?}; members without a result count as up"
        );
    }
}

/// Checks the targets of the world in service until the server ends.
pub(super) async fn run(
    mut targets: UnboundedReceiver<Vec<Target>>,
    slots: Arc<Slots>,
    board: Arc<Board>,
    pen: Pen,
    drain: CancellationToken,
) {
    let mut tasks: HashMap<Target, AbortHandle> = HashMap::new();
    let mut keep = tokio::time::interval(KEEP_EVERY);
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            _ = keep.tick() => keep_state(&board, &pen, Board::keep).await,
            Some(targets) = targets.recv() => {
                let mut before = std::mem::take(&mut tasks);
                for target in targets {
                    let start = || {
                        let watch = watch(target.clone(), Arc::clone(&board), Arc::clone(&slots));
                        tokio::spawn(watch).abort_handle()
                    };
                    tasks.insert(target.clone(), before.remove(&target).unwrap_or_else(start));
                }
                before.values().for_each(AbortHandle::abort);
            }
        }
    }
    tasks.values().for_each(AbortHandle::abort);
    keep_state(&board, &pen, Board::keep_all).await;
}

async fn keep_state(board: &Arc<Board>, pen: &Pen, keep: fn(&Board)) {
    // Without it, another process takes over, for which all was written.
    let Some(writing) = pen.try_take() else { return };
    let board = Arc::clone(board);
    // A disk that hangs stops this task, not the checks.
    let keep = move || {
        let _writing = writing;
        keep(&board);
    };
    if tokio::task::spawn_blocking(keep).await.is_err() {
        tracing::error!("writing the state of checks panicked");
    }
}

async fn watch(target: Target, board: Arc<Board>, slots: Arc<Slots>) {
    // Not all at once.
    let begins_within = begins_within(board.has_checked(&target), target.pace.interval);
    sleep(begins_within.mul_f64(rand::random())).await;
    let mut lane = Lane::Swift;
    loop {
        let begun = Instant::from_std(clock::now());
        lane = check_once(&target, &board, &slots, lane).await;
        sleep_until(begun + target.pace.interval.mul_f64(0.9 + 0.2 * rand::random::<f64>())).await;
    }
}

/// The longest time until the first check: a member that a reload brings counts as up until then.
fn begins_within(is_known: bool, interval: Duration) -> Duration {
    if is_known { interval } else { interval.min(FIRST_LOOK) }
}

/// Checks a target; the lane of its next check.
async fn check_once(target: &Target, board: &Board, slots: &Slots, lane: Lane) -> Lane {
    let (seen, next) = slots.run(lane, target.pace.interval, || check::check(target)).await;
    board.saw(target, seen);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_which_nothing_is_known_is_looked_at_within_two_seconds() {
        for (is_known, interval, expected) in
            [(false, 3600, 2), (false, 1, 1), (true, 3600, 3600), (true, 1, 1)]
        {
            let [interval, expected] = [interval, expected].map(Duration::from_secs);
            assert_eq!(begins_within(is_known, interval), expected, "{interval:?}, known: {is_known}");
        }
    }
}
