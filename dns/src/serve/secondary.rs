//! Zones that are taken from others: when each is asked for, what becomes of it, and until when its copy is good.
//!
//! ```text
//! timer, NOTIFY ─▶ fetch (SOA, IXFR, AXFR) ─▶ catalog::copy (checked, fsync, rename) ─▶ reload ─▶ world
//! ```
//!
//! Each zone has a task of its own. [`Upkeep`] decides what the task does and when.
//! [`Incoming`](crate::transfer::Incoming) and the checks of zone files decide what may be kept.

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
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::lead::ask;
pub(super) use self::line::shown;
use self::plan::{Bell, Context, Plan, Plans};
use crate::config::Identity;
use crate::name::Name;
use crate::wire::Noticed;

/// Notices that wait to be looked at; more are dropped, since the next refresh does what they would.
pub(super) const MOST_NOTICES: usize = 256;

/// Terms of a client that believes certificates which lead to the roots of a file; without one, all of them.
pub(super) fn client_terms(ca: Option<&Path>) -> Result<ClientConfig, String> {
    line::believing(ca, None).map_err(|error| error.to_string())
}

/// Terms of a client that shows a certificate to servers whose certificates lead to the roots of a file.
pub(super) fn mutual_terms(ca: &Path, identity: &Identity) -> Result<ClientConfig, String> {
    line::believing(Some(ca), Some(identity)).map_err(|error| error.to_string())
}

/// The certificates of a file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| format!("{}: {error}", path.display()))
}

struct Task {
    plan: Arc<Plan>,
    bell: Arc<Bell>,
    /// Held while the copy is changed. It outlasts a task that is ended while the disk writes.
    gate: Arc<Mutex<()>>,
    handle: AbortHandle,
}

/// Keeps the zones of the last plans up to date until the server ends.
pub(super) async fn run(
    mut plans: UnboundedReceiver<Plans>,
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
                    task.bell.ring(noticed.from, noticed.is_proved);
                }
            }
            Some(plans) = plans.recv() => follow(&mut tasks, plans, &context),
        }
    }
    tasks.values().for_each(|task| task.handle.abort());
}

fn follow(tasks: &mut HashMap<Name, Task>, plans: Plans, context: &Context) {
    context.rules.store(plans.rules);
    let mut before = std::mem::take(tasks);
    for plan in plans.zones {
        let apex = plan.zone.zone.clone();
        let task = match before.remove(&apex) {
            Some(task) if task.plan.is_same(&plan) => task,
            Some(task) => {
                task.handle.abort();
                let is_other = task.plan.zone.entry != plan.zone.entry;
                start(plan, context.clone(), (task.gate, is_other))
            }
            None => start(plan, context.clone(), Default::default()),
        };
        tasks.insert(apex, task);
    }
    for (apex, task) in before {
        task.handle.abort();
        if task.plan.zone.member_of.is_some() {
            // The loader has removed its copy; a version that was being written then may have come back.
            tokio::spawn(zone::forget(task.plan.copy.clone(), (context.pen.clone(), task.gate)));
        }
        context.metrics.replication.no_copy(&apex);
        context.world.load().expiries.note(&apex, None);
    }
}

/// With `is_other`, the copy of before is that of another zone of the same name.
fn start(plan: Plan, context: Context, (gate, is_other): (Arc<Mutex<()>>, bool)) -> Task {
    let (plan, bell) = (Arc::new(plan), Arc::<Bell>::default());
    let (own, held, rung) = (Arc::clone(&plan), Arc::clone(&gate), Arc::clone(&bell));
    let zone = async move {
        if is_other {
            zone::forget(own.copy.clone(), (context.pen.clone(), Arc::clone(&held))).await;
        }
        zone::run(own, context, rung, held).await;
    };
    Task { plan, bell, gate, handle: tokio::spawn(zone).abort_handle() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{HeldCopy, Unsettled};
    use crate::config::{Primary, Secondary};
    use crate::view::Which;
    use crate::zone::privacy::Rules;

    /// Plans for these zones, each as `zone/label`; the rules name them all.
    fn plans(texts: &[&str], own: Option<u32>) -> Plans {
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        let plan = |text: &&str| {
            let (zone, entry) = text.split_once('/').unwrap();
            let zone = Secondary {
                zone: name(zone),
                primaries: vec![Primary::Tcp("127.0.0.1:9".parse().unwrap())],
                key: None,
                view: Which::Public,
                ca: None,
                identity: None,
                catalog: None,
                member_of: Some(name("cat")),
                entry: Some(entry.as_bytes().into()),
            };
            let copy = HeldCopy::new(zone.zone.clone(), Which::Public, Path::new("/nowhere"), true);
            Plan { zone, copy, own, sources: Vec::new() }
        };
        let zones: Vec<Plan> = texts.iter().map(plan).collect();
        let public_zones = zones.iter().map(|it| it.zone.zone.clone()).collect();
        Plans { rules: Arc::new(Rules { public_zones, ..Rules::default() }), zones }
    }

    #[tokio::test]
    async fn a_task_goes_on_while_other_zones_come_and_go() {
        let (loader, _inbox) = std::sync::mpsc::channel();
        let context = Context::new(Arc::default(), Arc::default(), loader, Unsettled::default());
        let mut tasks = HashMap::new();
        follow(&mut tasks, plans(&["a/1", "b/1", "c/1"], None), &context);
        let plan = |tasks: &HashMap<Name, Task>, zone: &str| {
            Arc::clone(&tasks[&Name::parse_absolute(zone).unwrap()].plan)
        };
        let before = ["a", "b"].map(|zone| plan(&tasks, zone));
        // Another zone, another serial of ours, and b is another zone of the same name.
        follow(&mut tasks, plans(&["a/1", "b/2", "d/1"], Some(7)), &context);
        assert!(Arc::ptr_eq(&before[0], &plan(&tasks, "a")));
        assert!(!Arc::ptr_eq(&before[1], &plan(&tasks, "b")));
        assert_eq!(tasks.len(), 3);
        assert_eq!(context.rules.load().public_zones.len(), 3);
        assert!(context.rules.load().public_zones.contains(&Name::parse_absolute("d").unwrap()));
        tasks.values().for_each(|task| task.handle.abort());
    }
}
