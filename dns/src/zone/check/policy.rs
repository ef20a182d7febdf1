//! Policies in TXT records of which a name may have one: SPF (RFC 7208 §3.2) and DMARC (RFC 7489 §6.6.3).

use super::Found;
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::{Mark, Position, Record, Zone};

pub(super) fn judge(zone: &Zone, found: &mut Found) {
    for set in zone.order().sets().filter(|set| set.count() > 1) {
        let texts = || set.indices().map(|index| zone.record(index)).filter(|it| it.rtype == Type::TXT);
        if texts().next().is_none() {
            continue;
        }
        for policy in [Policy::Spf, Policy::Dmarc] {
            // The first two that a side sees. Without a mark, outsiders may see a record, and insiders do.
            let seen_without = |mark: Mark| {
                let mut seen = texts().filter(|record| policy.is_in(record) && record.mark != Some(mark));
                Some((seen.next()?, seen.next()?))
            };
            let (outside, inside) = (seen_without(Mark::Internal), seen_without(Mark::Outside));
            if outside.map(places) == inside.map(places) {
                outside.iter().for_each(|(first, second)| policy.tell(first, second, "", found));
                continue;
            }
            outside.iter().for_each(|(first, second)| policy.tell(first, second, " outside", found));
            inside.iter().for_each(|(first, second)| policy.tell(first, second, " inside", found));
        }
    }
}

fn places((first, second): (&Record, &Record)) -> (Position, Position) {
    (first.at, second.at)
}

#[derive(Clone, Copy)]
enum Policy {
    Spf,
    Dmarc,
}

impl Policy {
    fn is_in(self, record: &Record) -> bool {
        let text = start_of_text(&record.rdata);
        let (version, ends): (&[u8], &[u8]) = match self {
            Self::Spf => (b"v=spf1", b" "),
            Self::Dmarc if !is_dmarc_owner(&record.owner) => return false,
            Self::Dmarc => (b"v=DMARC1", b" ;"),
        };
        let begins = text.get(..version.len()).is_some_and(|word| word.eq_ignore_ascii_case(version));
        begins && text.get(version.len()).is_none_or(|next| ends.contains(next))
    }

    fn tell(self, first: &Record, second: &Record, side: &str, found: &mut Found) {
        let (name, effect, code) = match self {
            Self::Spf => ("SPF", "mail servers take neither (permerror, RFC 7208 §4.5)", "several-spf"),
            Self::Dmarc => ("DMARC", "mail servers take neither (RFC 7489 §6.6.3)", "several-dmarc"),
        };
        let message = format!(
            "{} has a second {name} record{side}; the first stands in line {}: {effect}",
            second.owner, first.at.line
        );
        found.warning(Some(second.at), code, message, "join them into one record");
    }
}

fn is_dmarc_owner(owner: &Name) -> bool {
    owner.labels().next().is_some_and(|label| label.eq_ignore_ascii_case(b"_dmarc"))
}

/// The first bytes of a TXT record's strings, joined.
fn start_of_text(mut rdata: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((len, rest)) = rdata.split_first().filter(|_| text.len() < 16) {
        let (string, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        text.extend_from_slice(string);
        rdata = rest;
    }
    text
}
