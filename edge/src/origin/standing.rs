//! How one origin stands: by its failures, by checks, by comparison with the others and by the operator. Pure.
//!
//! ```text
//! requests ─▶ failed, succeeded ─┐
//! checks ───▶ checked ───────────┼─▶ stands(now): up, on trial, failing, fails-checks, ejected, drained
//! others ───▶ eject ─────────────┤
//! operator ─▶ drain ─────────────┘
//! ```

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

/// All that is known of an origin.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Standing {
    /// Points; see [`Fault::points`].
    points: u32,
    /// Times in a row that it was found down.
    downs: u32,
    retry_at: Option<SystemTime>,
    /// A request is there that tries whether it is back.
    is_tried: bool,
    /// The last fault was that nobody answers there.
    refused: bool,
    /// The last time that it failed, or got a request although it was down.
    tried_at: Option<SystemTime>,
    /// When it came back from being down.
    back_at: Option<SystemTime>,
    /// Checks in a row that it passed, and that it failed.
    passes: u32,
    fails: u32,
    fails_checks: bool,
    ejected_until: Option<SystemTime>,
    /// Times that it was ejected lately.
    ejections: u32,
    drained: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// It gets its share.
    Up,
    /// It failed lately, and may be tried with one request.
    OnTrial,
    /// It failed lately.
    Failing,
    /// It fails the checks.
    FailsChecks,
    /// It did worse than the others.
    Ejected,
    /// The operator takes it out: what it is at may end.
    Drained,
}

impl Stands {
    /// A word for logs and the admin listener.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::OnTrial | Self::Failing => "failing",
            Self::FailsChecks => "fails-checks",
            Self::Ejected => "ejected",
            Self::Drained => "drained",
        }
    }
}

/// How an origin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody answers there.
    NoConnection,
    /// It took the request and gave no response.
    NoResponse,
}

impl Fault {
    /// One request can kill a response; a refused connection speaks for itself.
    fn points(self) -> u32 {
        match self {
            Self::NoConnection => DOWN_POINTS,
            Self::NoResponse => 1,
        }
    }
}

const DOWN_POINTS: u32 = 3;
/// Doubles with each time that the origin is found down again, up to [`MAX_REST`].
const FIRST_REST: Duration = Duration::from_secs(1);
/// An origin that is back gets traffic within this.
const MAX_REST: Duration = Duration::from_secs(30);
/// Where all origins of a site are down, each is tried as often.
const LAST_RESORT: Duration = Duration::from_secs(1);
/// The share that an origin begins with when it is back.
const FIRST_SHARE: f64 = 0.1;
/// Doubles with each time, up to [`MAX_EJECTION`].
const FIRST_EJECTION: Duration = Duration::from_secs(30);
const MAX_EJECTION: Duration = Duration::from_secs(300);

impl Standing {
    /// How it stands now.
    pub(super) fn stands(&self, now: SystemTime) -> Stands {
        if self.drained {
            Stands::Drained
        } else if self.fails_checks {
            Stands::FailsChecks
        } else if is_ahead(self.ejected_until, now, MAX_EJECTION) {
            Stands::Ejected
        } else if is_ahead(self.retry_at, now, MAX_REST) {
            Stands::Failing
        } else if self.retry_at.is_some() {
            Stands::OnTrial
        } else {
            Stands::Up
        }
    }

    /// Takes the right to send there now: of a down origin whose rest is over, one caller gets it.
    pub(super) fn take(&mut self, now: SystemTime) -> bool {
        let stands = self.stands(now);
        if stands == Stands::OnTrial {
            self.retry_at = Some(now + self.rest());
            self.tried_at = Some(now);
            self.is_tried = true;
        }
        matches!(stands, Stands::Up | Stands::OnTrial)
    }

    /// Takes the right to send there now although it is down, as all others are: any request may ask an origin that takes
    /// connections, one a second one that takes none. Checks find out themselves when it is back, but in panic nobody asks
    /// them.
    pub(super) fn take_as_last(&mut self, is_panic: bool, now: SystemTime) -> bool {
        let is_resting = match self.stands(now) {
            Stands::Up | Stands::Drained => return false,
            Stands::FailsChecks if !is_panic => return false,
            Stands::Ejected | Stands::OnTrial => false,
            Stands::Failing | Stands::FailsChecks => self.refused,
        };
        if !is_resting {
            return true;
        }
        let may = !is_ahead(self.tried_at.map(|at| at + LAST_RESORT), now, LAST_RESORT);
        if may {
            self.tried_at = Some(now);
        }
        may
    }

    /// Its share of what is its own: it grows while what it caches and pools is still cold.
    pub(super) fn share(&self, slow_start: Duration, now: SystemTime) -> f64 {
        // A trial is one request.
        let back_at = self.back_at.max(self.ejected_until).filter(|_| self.retry_at.is_none());
        // A clock that was set back ends it.
        let Some(since) = back_at.and_then(|at| now.duration_since(at).ok()) else { return 1.0 };
        if since >= slow_start { 1.0 } else { since.div_duration_f64(slow_start).max(FIRST_SHARE) }
    }

    /// It answered.
    pub(super) fn succeeded(&mut self, now: SystemTime) {
        if self.retry_at.take().is_some() {
            self.back_at = Some(now);
        }
        (self.points, self.downs, self.refused, self.is_tried) = (0, 0, false, false);
    }

    /// It did not.
    pub(super) fn failed(&mut self, fault: Fault, now: SystemTime) {
        self.points = self.points.saturating_add(fault.points());
        self.refused = fault == Fault::NoConnection;
        self.tried_at = Some(now);
        // Requests that were there when it went down say nothing new.
        let is_known = is_ahead(self.retry_at, now, MAX_REST) && !std::mem::take(&mut self.is_tried);
        if self.points >= DOWN_POINTS && !is_known {
            self.retry_at = Some(now + self.rest());
            self.downs = self.downs.saturating_add(1);
        }
    }

    /// A check came out so. `fall` in a row take it out, `rise` bring it back; the first ever counts by itself.
    pub(super) fn checked(&mut self, passed: bool, fall: u32, rise: u32, now: SystemTime) {
        let is_first = self.passes == 0 && self.fails == 0;
        if passed {
            (self.passes, self.fails) = (self.passes.saturating_add(1), 0);
        } else {
            (self.passes, self.fails) = (0, self.fails.saturating_add(1));
        }
        if self.passes >= rise || is_first && passed {
            if std::mem::take(&mut self.fails_checks) {
                self.back_at = Some(now);
            }
            // It answers: requests need not find that out.
            self.succeeded(now);
        } else if self.fails >= fall || is_first && !passed {
            self.fails_checks = true;
        }
    }

    /// Nobody checks it any more.
    pub(super) fn end_checks(&mut self, now: SystemTime) {
        if std::mem::take(&mut self.fails_checks) {
            self.back_at = Some(now);
        }
        (self.passes, self.fails) = (0, 0);
    }

    /// It is asked in another way from now on. That may mend its faults, so one request tries it at once.
    pub(super) fn renew(&mut self, now: SystemTime) {
        self.retry_at = self.retry_at.map(|_| now);
        (self.refused, self.is_tried) = (false, false);
    }

    /// It did so much worse than the others that it gets nothing for a while, longer each time.
    pub(super) fn eject(&mut self, now: SystemTime) {
        let quiet = self.ejected_until.and_then(|until| now.duration_since(until).ok());
        if quiet.is_none_or(|quiet| quiet > MAX_EJECTION) {
            self.ejections = 0;
        }
        let rest = FIRST_EJECTION.saturating_mul(1 << self.ejections.min(5)).min(MAX_EJECTION);
        self.ejected_until = Some(now + rest);
        self.ejections = self.ejections.saturating_add(1);
    }

    /// The operator takes it out, or puts it back.
    pub(super) fn drain(&mut self, drained: bool, now: SystemTime) {
        if self.drained && !drained {
            self.back_at = Some(now);
        }
        self.drained = drained;
    }

    fn rest(&self) -> Duration {
        FIRST_REST.saturating_mul(1 << self.downs.min(5)).min(MAX_REST)
    }
}

/// Whether this moment is still to come. A clock that was set back must not keep an origin out.
fn is_ahead(at: Option<SystemTime>, now: SystemTime, most: Duration) -> bool {
    at.is_some_and(|at| now < at && at <= now + most)
}
