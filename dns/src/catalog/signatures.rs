//! When the signatures of zones that were signed elsewhere expire, as time passes.
//!
//! A signer that has stopped says nothing, and validating resolvers answer SERVFAIL from the second on at which the first
//! signature has expired. So it is told three days before, and when it has come to that: each once for each zone, until the
//! zone is signed again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::name::Name;
use crate::zone::{Problem, Zone, check};

/// The zones in service, with the second at which the first signature of each expires.
#[derive(Default)]
pub(crate) struct Signatures {
    zones: HashMap<Name, Known>,
}

struct Known {
    zone: Arc<Zone>,
    expires: Option<u32>,
    told: Option<Stage>,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Soon,
    Expired,
}

/// A zone of which this is to be told.
pub(crate) struct Due {
    pub(crate) apex: Name,
    pub(crate) stage: Stage,
    pub(crate) problem: Problem,
}

impl Signatures {
    /// Takes over the zones in service. A zone whose first signature expires when it did is not told again.
    pub(crate) fn follow<'c>(&mut self, zones: impl Iterator<Item = (&'c Name, &'c Arc<Zone>)>) {
        let mut before = std::mem::take(&mut self.zones);
        self.zones.extend(zones.map(|(apex, zone)| {
            let known = before.remove(apex);
            if let Some(known) = &known
                && Arc::ptr_eq(&known.zone, zone)
            {
                return (apex.clone(), known.kept());
            }
            let expires = check::signatures_expire(zone);
            let told = known.filter(|known| known.expires == expires).and_then(|known| known.told);
            (apex.clone(), Known { zone: Arc::clone(zone), expires, told })
        }));
    }

    /// The warnings that are due at `now`, in seconds from 1970, in the order of the names. Each is told once.
    pub(crate) fn due(&mut self, now: u64) -> Vec<Due> {
        let mut due: Vec<Due> =
            self.zones.iter_mut().filter_map(|(apex, known)| known.due(apex, now)).collect();
        due.sort_by(|one, other| one.apex.as_wire().cmp(other.apex.as_wire()));
        due
    }

    /// The signed zones, and when the first signature of each expires, in seconds from 1970.
    pub(crate) fn expiries(&self, now: u64) -> Vec<(String, i64)> {
        let signed = self.zones.iter().filter_map(|(apex, known)| Some((apex, known.expires?)));
        let mut all: Vec<(String, i64)> =
            signed.map(|(apex, expires)| (apex.to_string(), seconds(now) + left(expires, now))).collect();
        all.sort_unstable();
        all
    }
}

impl Known {
    fn kept(&self) -> Self {
        Self { zone: Arc::clone(&self.zone), expires: self.expires, told: self.told }
    }

    fn due(&mut self, apex: &Name, now: u64) -> Option<Due> {
        let left = left(self.expires?, now);
        let stage = match left {
            ..0 => Stage::Expired,
            0..check::SIGNATURE_NOTICE_S => Stage::Soon,
            _ => return None,
        };
        if self.told.is_some_and(|told| told >= stage) {
            return None;
        }
        self.told = Some(stage);
        Some(Due { apex: apex.clone(), stage, problem: check::expiring(&self.zone, now)? })
    }
}

/// Seconds until then; times are compared around the circle (RFC 4034 §3.1.5).
fn left(expires: u32, now: u64) -> i64 {
    i64::from(expires.wrapping_sub(now as u32) as i32)
}

fn seconds(now: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::SourceFile;
    use crate::zone::file::{self, Include, NotIncluded};

    /// 2026-01-10, when the signatures of [`zone`] expire.
    const EXPIRES: u64 = 1_768_003_200;
    const DAY: u64 = 86_400;

    fn zone(more: &str) -> Arc<Zone> {
        let text = format!(
            "$TTL 1h\n@ SOA ns.x. h 1 2h 1h 1w 5m\n@ RRSIG SOA 13 2 3600 20260110000000 20250101000000 1 @ AAAA\n{more}"
        );
        let source = SourceFile { path: "zone".into(), text: text.as_bytes().into() };
        let mut load = |_: Include<'_>| Err(NotIncluded("no".to_owned()));
        Arc::new(file::read(Name::parse_absolute("example.com").unwrap(), source, &mut load).zone.unwrap())
    }

    fn stages(signatures: &mut Signatures, now: u64) -> Vec<Stage> {
        signatures.due(now).iter().map(|due| due.stage).collect()
    }

    #[test]
    fn each_stage_is_told_once_as_time_passes() {
        let mut signatures = Signatures::default();
        let apex = Name::parse_absolute("example.com").unwrap();
        let first = zone("");
        signatures.follow([(&apex, &first)].into_iter());
        for (now, expected) in [
            (EXPIRES - 4 * DAY, &[][..]),
            (EXPIRES - 2 * DAY, &[Stage::Soon]),
            (EXPIRES - DAY, &[]),
            (EXPIRES, &[]),
            (EXPIRES + 1, &[Stage::Expired]),
            (EXPIRES + DAY, &[]),
        ] {
            assert_eq!(stages(&mut signatures, now), expected, "{now}");
            signatures.follow([(&apex, &first)].into_iter());
        }
        // An edit that does not sign again changes nothing; one that does begins anew.
        signatures.follow([(&apex, &zone("x A 192.0.2.1\n"))].into_iter());
        assert!(stages(&mut signatures, EXPIRES + DAY).is_empty());
        let again = zone("@ RRSIG SOA 13 2 3600 20260210000000 20250101000000 1 @ AAAA\n");
        signatures.follow([(&apex, &again)].into_iter());
        assert!(stages(&mut signatures, EXPIRES + DAY).is_empty());
        assert_eq!(signatures.expiries(EXPIRES), [("example.com.".to_owned(), 1_770_681_600)]);
        assert_eq!(stages(&mut signatures, EXPIRES + 30 * DAY), [Stage::Soon]);
        // A zone that starts with expired signatures is told at once, and only what is so.
        let mut late = Signatures::default();
        late.follow([(&apex, &first)].into_iter());
        assert_eq!(stages(&mut late, EXPIRES + DAY), [Stage::Expired]);
    }

    #[test]
    fn a_zone_without_signatures_has_no_expiry() {
        let mut signatures = Signatures::default();
        let apex = Name::parse_absolute("example.com").unwrap();
        let plain = Arc::new(Zone::new(apex.clone(), Vec::new(), Vec::new()));
        signatures.follow([(&apex, &plain)].into_iter());
        assert!(signatures.due(EXPIRES).is_empty() && signatures.expiries(EXPIRES).is_empty());
    }
}
