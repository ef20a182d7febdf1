//! The differences that are on purpose, each with its reason.

use std::collections::BTreeSet;

use crate::decode::{Answer, Record};
use crate::generate::Zone;
use crate::verdict::Part;

/// Why ours may differ from all of them in `part`; none if it may not.
pub(crate) fn justified(part: Part, zone: &Zone, said: &[(&'static str, &Answer)]) -> Option<&'static str> {
    let of = |name| said.iter().find(|(other, _)| *other == name).map(|(_, answer)| *answer);
    let (nsd, knot, ours) = (of("nsd")?, of("knot")?, of("verge")?);
    let others: Vec<&Answer> = [Some(knot), of("bind")].into_iter().flatten().collect();
    match part {
        Part::Answer if stops_where_a_dname_repeats(ours, nsd, &others) => Some(
            "a chain ends where a DNAME comes again: NSD goes on to some 30 growing names, the others stop at the zone",
        ),
        Part::Additional if names_the_target(zone, ours, knot) => {
            Some("data beside an answer: Knot's, but by the name that was pointed at, not twice, and no glue")
        }
        Part::Additional if stands_beside_the_end_of_a_chain(ours, nsd, &others) => Some(
            "addresses beside the end of a chain in another zone: only NSD gets there, and leaves them out",
        ),
        _ => None,
    }
}

const CNAME: u16 = 5;
const DNAME: u16 = 39;

/// Ours is the beginning of NSD's chain, no less than what the others say, and its last name is below a DNAME that is
/// there already.
fn stops_where_a_dname_repeats(ours: &Answer, nsd: &Answer, others: &[&Answer]) -> bool {
    let of_type = |rtype| ours.answer.iter().filter(move |record| record.rtype == rtype);
    let is_left = |target: &str| of_type(CNAME).all(|record| record.owner != target);
    let repeats = |target: &str| of_type(DNAME).any(|record| target.ends_with(&format!(".{}", record.owner)));
    ours.answer.is_subset(&nsd.answer)
        && others.iter().all(|other| other.answer.is_subset(&ours.answer))
        && of_type(CNAME).any(|record| is_left(&record.rdata) && repeats(&record.rdata))
}

/// Knot names a wildcard itself as the owner of what stands beside, repeats an RRset that is in the answer, and takes
/// addresses from at and below cuts also for what is no NS, which NSD and BIND never do.
fn names_the_target(zone: &Zone, ours: &Answer, knot: &Answer) -> bool {
    let data = |records: &BTreeSet<Record>| -> BTreeSet<(u16, String)> {
        let own = records.iter().filter(|record| !zone.is_below_a_cut(&record.owner));
        own.map(|record| (record.rtype, record.rdata.clone())).collect()
    };
    let beside = |answer: &Answer| &data(&answer.additional) - &data(&answer.answer);
    ours.answer == knot.answer && beside(ours) == beside(knot)
}

/// The answer is NSD's, the others stopped at the zone's border, and what stands beside is what its records point at.
fn stands_beside_the_end_of_a_chain(ours: &Answer, nsd: &Answer, others: &[&Answer]) -> bool {
    ours.answer == nsd.answer
        && others.iter().all(|other| other.answer.is_subset(&ours.answer) && other.answer != ours.answer)
        && ours.additional.iter().all(|beside| {
            let in_hex: String = wire(&beside.owner).iter().map(|octet| format!("{octet:02x}")).collect();
            ours.answer.iter().any(|record| {
                record.rdata.split(' ').any(|field| field == beside.owner) || record.rdata.contains(&in_hex)
            })
        })
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.trim_end_matches('.').split('.');
    let len = |label: &str| u8::try_from(label.len()).expect("a decoded label");
    labels.flat_map(|label| [&[len(label)], label.as_bytes()].concat()).chain([0]).collect()
}
