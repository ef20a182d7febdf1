//! How long a chain is good, as a value that can be judged at any time.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// A chain should have been renewed when less than one part in ten of its time is left. Programs that renew by
/// themselves begin at a third.
const LAST_PART: i64 = 10;
/// A fault that stays is reported again after a day.
const REMINDER_SECONDS: i64 = 24 * 3600;

/// From when until when all certificates of a chain are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    from: ASN1Time,
    until: ASN1Time,
}

/// A chain's worth at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is nothing to say.
    Good,
    /// It is not good yet.
    Early(ASN1Time),
    /// Its end is near.
    Ending(ASN1Time),
    /// Clients refuse it.
    Expired(ASN1Time),
}

impl Validity {
    /// Of a chain; none if a certificate in it cannot be understood.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let each = chain.iter().map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            let validity = certificate.validity();
            Some(Self { from: validity.not_before, until: validity.not_after })
        });
        each.reduce(|a, b| {
            let (a, b) = (a?, b?);
            Some(Self { from: a.from.max(b.from), until: a.until.min(b.until) })
        })?
    }

    /// The end, in seconds since 1970.
    #[must_use]
    pub fn until_unix_seconds(&self) -> i64 {
        self.until.timestamp()
    }

    /// The chain's worth so many seconds after 1970.
    #[must_use]
    pub fn judge(&self, unix_seconds: i64) -> Standing {
        let (from, until) = (self.from.timestamp(), self.until.timestamp());
        if unix_seconds > until {
            Standing::Expired(self.until)
        } else if unix_seconds < from {
            Standing::Early(self.from)
        } else if (until - unix_seconds).saturating_mul(LAST_PART) < until - from {
            Standing::Ending(self.until)
        } else {
            Standing::Good
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("the certificate is good"),
            Self::Early(from) => {
                write!(f, "the certificate is not good before {from}; is this machine's clock right?")
            }
            Self::Ending(until) => write!(f, "the certificate expires on {until}; renew it"),
            Self::Expired(until) => {
                write!(f, "the certificate expired on {until}; clients refuse it; renew it")
            }
        }
    }
}

/// When the state of a certificate was last told.
#[derive(Debug, Default)]
pub struct Reminder(Option<(Standing, i64)>);

impl Reminder {
    /// Whether it is time to tell how the certificate stands: when that changes, and once a day while it is not good.
    pub fn is_due(&mut self, standing: Standing, unix_seconds: i64) -> bool {
        // A clock that was set back must not silence it.
        let is_known =
            self.0.is_some_and(|(told, at)| told == standing && (unix_seconds - at).abs() < REMINDER_SECONDS);
        if !is_known {
            self.0 = Some((standing, unix_seconds));
        }
        !is_known && standing != Standing::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn a_certificate_is_told_of_in_its_last_tenth() {
        let at = |seconds| ASN1Time::from_timestamp(seconds).unwrap();
        let validity = Validity { from: at(0), until: at(90 * DAY) };
        for (now, expected) in [
            (-1, Standing::Early(at(0))),
            (0, Standing::Good),
            (81 * DAY, Standing::Good),
            (81 * DAY + 1, Standing::Ending(at(90 * DAY))),
            (90 * DAY, Standing::Ending(at(90 * DAY))),
            (90 * DAY + 1, Standing::Expired(at(90 * DAY))),
        ] {
            assert_eq!(validity.judge(now), expected, "{now} s");
        }
    }

    #[test]
    fn the_same_state_is_told_once_a_day() {
        let mut reminder = Reminder::default();
        let ending = Standing::Ending(ASN1Time::from_timestamp(5).unwrap());
        assert!(!reminder.is_due(Standing::Good, 0));
        assert!(reminder.is_due(ending, 1));
        assert!(!reminder.is_due(ending, DAY));
        assert!(reminder.is_due(ending, DAY + 1));
        assert!(reminder.is_due(ending, 0), "the clock was set back by a day");
    }
}
