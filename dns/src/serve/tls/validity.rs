//! How long a certificate is good: as a value, judged at any time.

use std::fmt;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// It should have been renewed when less than one part in so many of its time is left: nine days of ninety, half a day
/// of six. Programs that renew begin at a third.
const LAST_PART: i64 = 10;
/// Time until a lasting fault is reported again.
const REMINDER_SECONDS: i64 = 24 * 3600;

/// From when until when all certificates of a chain are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    from: ASN1Time,
    until: ASN1Time,
}

/// The validity of a chain at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is nothing to say.
    Good,
    /// It is not good yet.
    Early(ASN1Time),
    /// Its end is near.
    Ending(ASN1Time),
    /// It is good no more: clients refuse it.
    Expired(ASN1Time),
}

impl Validity {
    /// Of a chain; none if a certificate in it cannot be understood.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
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

    /// The end, as the time of Unix.
    pub(crate) fn until_unix_seconds(&self) -> i64 {
        self.until.timestamp()
    }

    pub(crate) fn judge(&self, unix_seconds: i64) -> Standing {
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
                write!(f, "the certificate expired on {until} and clients refuse it; renew it")
            }
        }
    }
}

/// When something was last said.
#[derive(Debug, Default)]
pub(crate) struct Reminder(Option<(Standing, i64)>);

impl Reminder {
    /// Whether it is time to say how the certificate stands.
    pub(crate) fn is_due(&mut self, standing: Standing, unix_seconds: i64) -> bool {
        let is_new = match self.0 {
            // A clock that was set back must not silence it.
            Some((said, at)) => said != standing || (unix_seconds - at).abs() >= REMINDER_SECONDS,
            None => true,
        };
        if is_new {
            self.0 = Some((standing, unix_seconds));
        }
        is_new && standing != Standing::Good
    }
}

/// Seconds since 1970, before it as well.
pub(crate) fn unix_seconds(now: SystemTime) -> i64 {
    let seconds = |it: std::time::Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    now.duration_since(SystemTime::UNIX_EPOCH).map_or_else(|before| -seconds(before.duration()), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn validity(from: i64, until: i64) -> Validity {
        let [from, until] = [from, until].map(|it| ASN1Time::from_timestamp(it).unwrap());
        Validity { from, until }
    }

    #[test]
    fn the_last_tenth_of_its_time_is_near_the_end() {
        let of = validity(100 * DAY, 190 * DAY);
        for (at, expected) in [
            (100 * DAY - 1, Standing::Early(of.from)),
            (100 * DAY, Standing::Good),
            (181 * DAY, Standing::Good),
            (181 * DAY + 1, Standing::Ending(of.until)),
            (190 * DAY, Standing::Ending(of.until)),
            (190 * DAY + 1, Standing::Expired(of.until)),
            (i64::MIN / 100, Standing::Early(of.from)),
            (i64::MAX / 100, Standing::Expired(of.until)),
        ] {
            assert_eq!(of.judge(at), expected, "{at}");
        }
    }

    #[test]
    fn what_stays_wrong_is_said_once_a_day_and_at_once_when_it_gets_worse() {
        let of = validity(0, 100 * DAY);
        let mut reminder = Reminder::default();
        for (at, expected) in [
            (0, false),
            (89 * DAY, false),
            (90 * DAY + 1, true),
            (90 * DAY + 3, false),
            (91 * DAY, false),
            (91 * DAY + 1, true),
            (100 * DAY, true),
            (100 * DAY + 1, true),
            (101 * DAY, false),
            (102 * DAY, true),
            // The clock is set back by a month and forth again.
            (72 * DAY, false),
            (102 * DAY, true),
        ] {
            assert_eq!(reminder.is_due(of.judge(at), at), expected, "{at}");
        }
    }

    #[test]
    fn a_chain_is_good_as_long_as_all_of_it() {
        let certificate = |from: i32, until: i32| {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let chain = [certificate(2020, 2030), certificate(2015, 2025), certificate(2000, 2040)];
        let of = Validity::of(&chain).unwrap();
        // 2020-01-01 and 2025-01-01.
        assert_eq!((of.from.timestamp(), of.until_unix_seconds()), (1_577_836_800, 1_735_689_600));
        assert_eq!(Validity::of(&[]), None);
        assert_eq!(Validity::of(&[chain[0].clone(), vec![0x30, 0].into()]), None);
    }
}
