//! Policies in TXT records of which a name may have one: SPF (RFC 7208 §3.2) and DMARC (RFC 7489 §6.6.3).

use super::Found;
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::{Mark, Record, Zone};

pub(super) fn judge(zone: &Zone, found: &mut Found) {
    for set in zone.order().sets().filter(|set| set.count() > 1) {
        let texts = || set.indices().map(|index| zone.record(index)).filter(|it| it.rtype == Type::TXT);
        if texts().next().is_none() {
            continue;
        }
        for policy in [Policy::Spf, Policy::Dmarc] {
            let mut records = texts().filter(|record| policy.is_in(record));
            let Some(first) = records.next() else { continue };
            if let Some(second) = records.find(|second| meet(first, second)) {
                policy.tell(first, second, found);
            }
        }
    }
}

/// Whether insiders or outsiders see both. Without a mark, outsiders may see it, and insiders do.
fn meet(first: &Record, second: &Record) -> bool {
    let outside = |record: &Record| record.mark != Some(Mark::Internal);
    let inside = |record: &Record| record.mark != Some(Mark::Outside);
    outside(first) && outside(second) || inside(first) && inside(second)
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

    fn tell(self, first: &Record, second: &Record, found: &mut Found) {
        let (name, effect, code) = match self {
            Self::Spf => ("SPF", "mail servers take neither (permerror, RFC 7208 §4.5)", "several-spf"),
            Self::Dmarc => ("DMARC", "mail servers take neither (RFC 7489 §6.6.3)", "several-dmarc"),
        };
        let message = format!(
            "{} has a second {name} record; the first stands in line {}: {effect}",
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
