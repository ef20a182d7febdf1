//! RRsets that no message can carry: over TCP a message has 65,535 bytes (RFC 1035 §4.2.2).

use super::Found;
use crate::name;
use crate::rdata::{self, Field};
use crate::zone::{Record, Zone};

const MAX_MESSAGE_BYTES: usize = 65_535;
/// Header, and type and class of the question.
const FIXED_BYTES: usize = 12 + 4;
/// A pointer to the owner in the question, type, class, TTL and the length of the data.
const RECORD_BYTES: usize = 2 + 2 + 2 + 4 + 2;

pub(super) fn judge(zone: &Zone, found: &mut Found) {
    // Fewer records fill a message only if each is huge, so nearly all sets are passed over by their count.
    for set in zone.order().sets() {
        let mut records = set.indices().map(|index| zone.record(index));
        let Some(first) = records.next() else { continue };
        if set.count() == 1 && first.rdata.len() < MAX_MESSAGE_BYTES / 2 {
            continue;
        }
        let data: usize = records.map(least_bytes).sum();
        let bytes = FIXED_BYTES + first.owner.as_wire().len() + least_bytes(first) + data;
        if bytes > MAX_MESSAGE_BYTES {
            let (rtype, owner) = (first.rtype, &first.owner);
            let message = format!(
                "the {} {rtype} records of {owner} take {bytes} bytes, and a message has {MAX_MESSAGE_BYTES}",
                set.count()
            );
            let help = "nobody can be given all of them; spread them over several names";
            found.warning(Some(first.at), "set-too-large", message, help);
        }
    }
}

/// Names that may be compressed take at least their first label and a pointer.
fn least_bytes(record: &Record) -> usize {
    let spans = rdata::spans(record.rtype, &record.rdata).map_while(Result::ok);
    let saved = spans.filter(|span| matches!(span.field, Field::Compressible | Field::CompressibleMailbox));
    let saved: usize = saved.filter_map(|span| Some(name::parent(span.bytes)?.len().saturating_sub(2))).sum();
    RECORD_BYTES + record.rdata.len() - saved
}
