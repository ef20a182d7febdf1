//! Zones that are taken from others: when each is asked for, what becomes of it, and until when its copy is good.
//!
//! ```text
//! timer, NOTIFY ─▶ fetch (SOA, IXFR, AXFR) ─▶ catalog::copy (checked, fsync, rename) ─▶ reload ─▶ world
//! ```
//!
//! Each zone has a task of its own. What it is to do when is decided by [`Upkeep`], and what may be kept by
//! [`Incoming`](crate::transfer::Incoming) and the checks of zone files.

mod fetch;
mod lead;
mod line;
pub(super) mod plan;
mod question;
mod zone;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::lead::ask;
use self::plan::{Bell, Context, Plan};
use crate::name::Name;
use crate::wire::Noticed;

/// Notices that wait to be looked at; more are dropped, since the next refresh does what they would.
pub(super) const MOST_NOTICES: usize = 256;

/// Terms of a client that believes certificates which lead to the roots of a file; without one, all of them.
pub(super) fn client_terms(ca: Option<&Path>) -> Result<ClientConfig, String> {
    line::believing(ca, None).map_err(|error| error.to_string())
}

struct Task {
    plan: Arc<Plan>,
    bell: Arc<Bell>,
    handle: AbortHandle,
}

/// Keeps the zones of the last plans up to date until the server ends.
pub(super) async fn run(
    mut plans: UnboundedReceiver<Vec<Plan>>,
    mut notices: Receiver<Noticed>,
    context: Context,
    drain: CancellationToken,
) {
    let mut tasks: HashMap<Name, Task> = HashMap::new();
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            Some(noticed) = notices.recv() => {
                if let Some(task) = tasks.get(&noticed.apex) {
                    task.bell.ring(noticed.from);
                }
            }
            Some(plans) = plans.recv() => follow(&mut tasks, plans, &context),
        }
    }
    tasks.values().for_each(|task| task.handle.abort());
}

fn follow(tasks: &mut HashMap<Name, Task>, plans: Vec<Plan>, context: &Context) {
    let mut before = std::mem::take(tasks);
    for plan in plans {
        let apex = plan.zone.zone.clone();
        let task = match before.remove(&apex) {
            Some(task) if *task.plan == plan => task,
            other => {
                other.iter().for_each(|task| task.handle.abort());
                start(plan, context.clone())
            }
        };
        tasks.insert(apex, task);
    }
    for (apex, task) in before {
        task.handle.abort();
        context.metrics.replication.no_copy(&apex);
        context.world.load().expiries.note(&apex, None);
    }
}

fn start(plan: Plan, context: Context) -> Task {
    let (plan, bell) = (Arc::new(plan), Arc::<Bell>::default());
    let zone = zone::run(Arc::clone(&plan), context, Arc::clone(&bell));
    Task { plan, bell, handle: tokio::spawn(zone).abort_handle() }
}
