//! Looking after the files while the edge runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::certificates::{Certificates, Looked};
use super::ticketer::Ticketer;
use super::validity::{Reminder, Standing};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// How often the files are looked at: two calls of `stat` for each certificate.
const POLL: Duration = Duration::from_secs(2);

/// The warnings about the certificates now: a line for each, none for those that are good.
#[must_use]
pub fn standings(certificates: &Certificates, clock: &Clock) -> Vec<String> {
    let now = unix_seconds(clock.now());
    let judged = certificates.validities().into_iter().filter_map(|(file, validity)| {
        let standing = validity?.judge(now);
        (standing != Standing::Good).then(|| format!("{}: {standing}", file.display()))
    });
    judged.collect()
}

/// Takes over what changes, and tells when a certificate nears its end. Runs until it is dropped.
pub async fn follow(
    certificates: Arc<Certificates>,
    ticketer: Arc<Ticketer>,
    clock: Clock,
    metrics: Metrics,
) {
    let mut shown = Shown { reminders: BTreeMap::new(), metrics };
    loop {
        let Shown { reminders, metrics } = &mut shown;
        let now = unix_seconds(clock.now());
        let validities = certificates.validities();
        // A reload may name other files.
        reminders.retain(|file, _| {
            let is_shown = validities.iter().any(|(shown, _)| shown == file);
            if !is_shown {
                metrics.certificate_gone(file);
            }
            is_shown
        });
        for (file, validity) in validities {
            let Some(validity) = validity else { continue };
            metrics.certificate_until(&file, validity.until_unix_seconds());
            let standing = validity.judge(now);
            if reminders.entry(file.clone()).or_default().is_due(standing, now) {
                tracing::warn!(target: "verge_edge::tls", certificate = %file.display(), "{standing}");
            }
        }
        tokio::time::sleep(POLL).await;
        let (own, secret) = (Arc::clone(&certificates), Arc::clone(&ticketer));
        let now = unix_seconds(clock.now());
        let look = move || (own.look(now), secret.look());
        // A look that panicked changed nothing; the next one is in two seconds.
        let Ok((looked, secret)) = tokio::task::spawn_blocking(look).await else { continue };
        tell(looked);
        if let Err(error) = secret {
            tracing::error!(target: "verge_edge::tls", %error, "the secret of session tickets stays as it was");
        }
    }
}

/// The certificates that are told of; of none any more when it is dropped.
struct Shown {
    reminders: BTreeMap<PathBuf, Reminder>,
    metrics: Metrics,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.reminders.keys().for_each(|file| self.metrics.certificate_gone(file));
    }
}

fn tell(looked: Looked) {
    if looked.is_renewed {
        tracing::info!(target: "verge_edge::tls", "other certificates are in service");
    }
    for error in looked.refused {
        tracing::error!(target: "verge_edge::tls", %error, "the certificates in service stay as they are");
    }
}

/// Seconds since 1970, before it as well.
fn unix_seconds(now: SystemTime) -> i64 {
    let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    now.duration_since(SystemTime::UNIX_EPOCH).map_or_else(|before| -seconds(before.duration()), seconds)
}
