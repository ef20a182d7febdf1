//! Looks at the memory of the process once a second, and lets the store follow ([`crate::store::Store::govern`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::cache::Cache;
use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(1);

/// From now on, as long as the cache lives. Where the system does not say how much a process takes, nothing happens.
pub(crate) fn start(cache: &Arc<Cache>, target_bytes: u64) {
    let cache = Arc::downgrade(cache);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(cache) = cache.upgrade() else { return };
            // A process without descriptors left cannot read it; it can later.
            let Some(resident_bytes) = resident_bytes() else { continue };
            // Objects that leave are freed here, for some milliseconds: no answer should wait for that.
            let look = move || look(&cache.store, resident_bytes, target_bytes);
            if tokio::task::spawn_blocking(look).await.is_err() {
                return;
            }
        }
    });
}

fn look(store: &Store, resident_bytes: u64, target_bytes: u64) {
    let Some(change) = store.govern(resident_bytes, target_bytes) else { return };
    let [resident_mib, target_mib, from_mib, to_mib] =
        [resident_bytes, target_bytes, change.from_bytes, change.to_bytes].map(|bytes| bytes >> 20);
    if change.to_bytes < change.from_bytes {
        tracing::warn!(
            resident_mib,
            target_mib,
            from_mib,
            to_mib,
            "the process takes more than cache.memory_target: the store holds less"
        );
    } else if change.is_whole {
        tracing::info!(resident_mib, target_mib, to_mib, "the store has all its memory again");
    }
}

/// Memory of the process that is in use (proc_pid_status(5)).
fn resident_bytes() -> Option<u64> {
    resident_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_in_kibibytes() {
        assert_eq!(
            resident_of("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n"),
            Some(2 << 20)
        );
        assert_eq!(resident_of("VmRSS:\tmuch\n"), None);
        assert_eq!(resident_of(""), None);
    }
}
