//! The differences that are on purpose, each with its reason.

use std::collections::BTreeSet;

use crate::decode::{Answer, Record};
use crate::generate::{Question, Zone};
use crate::verdict::Part;

/// Why ours may differ from all of them in `part`; none if it may not.
pub(crate) fn justified(
    part: Part,
    zones: &[Zone],
    question: &Question,
    said: &[(&'static str, &Answer)],
) -> Option<&'static str> {
    let of = |name| said.iter().find(|(other, _)| *other == name).map(|(_, answer)| *answer);
    let (knot, ours) = (of("knot")?, of("verge")?);
    let others: Vec<&Answer> = [Some(knot), of("bind")].into_iter().flatten().collect();
    let zone = &zones[question.zone];
    match part {
        _ if goes_on_where_nsd_is_confused(zones, question, ours, &others) => Some(
            "a chain goes on in another zone, as NSD would if it did not confuse one of the two; the others stop at the border",
        ),
        Part::Answer if of("nsd").is_some_and(|nsd| stops_where_a_dname_repeats(ours, nsd, &others)) => Some(
            "a chain ends where a DNAME comes again: NSD goes on to some 30 growing names, the others stop at the zone",
        ),
        Part::Answer | Part::Authority if question.rtype == DS && ends_at_a_parent(ours, &others) => Some(
            "the DS at the end of a chain comes from the parent (RFC 4035 §3.1.4.1); Knot and BIND stay in the zone below",
        ),
        Part::Truncated
            if !ours.truncated
                && of("nsd")
                    .is_some_and(|nsd| nsd.truncated && stops_where_a_dname_repeats(ours, nsd, &[])) =>
        {
            Some("a chain that grows for ever ends sooner with us, and so fits")
        }
        Part::Truncated if has_no_glue_from_wildcards(zone, ours, &others) => Some(
            "glue is what the zone holds at that very name, as in BIND; NSD and Knot take it from wildcards below a cut, too",
        ),
        Part::Truncated | Part::Additional
            if of("nsd").is_some_and(|nsd| tells_that_glue_is_missing(ours, nsd)) =>
        {
            Some(
                "TC is set when glue below the cut does not fit (RFC 9471 §3.1); NSD and BIND leave it out in silence",
            )
        }
        Part::Authority if of("bind").is_some_and(|bind| has_no_proof(zone, question, ours, bind)) => Some(
            "a name below an empty non-terminal that opt-out leaves without NSEC3, with a wildcard above it: no proof is possible (RFC 5155 §7.2.2), and each server sends another",
        ),
        Part::Additional if lacks_proofs_only(ours, knot) => Some(
            "an additional address that a wildcard made up has no NSEC3 beside it: a proof is due for the answer (RFC 5155 §7.2.6), and only Knot adds it",
        ),
        Part::Additional if names_the_target(zone, ours, knot) => {
            Some("data beside an answer: Knot's, but by the name that was pointed at, not twice, and no glue")
        }
        Part::Additional
            if of("nsd").is_some_and(|nsd| stands_beside_the_end_of_a_chain(ours, nsd, &others)) =>
        {
            Some(
                "addresses beside the end of a chain in another zone: only NSD gets there, and leaves them out",
            )
        }
        _ => None,
    }
}

const NS: u16 = 2;
const CNAME: u16 = 5;
const DNAME: u16 = 39;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC3: u16 = 50;

fn is_proof(record: &Record) -> bool {
    record.rtype == NSEC3 || (record.rtype == RRSIG && record.rdata.starts_with(&format!("{NSEC3:04x}")))
}

/// Ours is Knot's without NSEC3 records and their signatures.
fn lacks_proofs_only(ours: &Answer, knot: &Answer) -> bool {
    ours.additional.is_subset(&knot.additional) && knot.additional.difference(&ours.additional).all(is_proof)
}

/// The name does not exist, and its closest encloser is there for insecure delegations alone, so that it has no NSEC3 where
/// delegations are opted out. The proof is then due for the next name above, and a wildcard there shows the contrary.
fn has_no_proof(zone: &Zone, question: &Question, ours: &Answer, bind: &Answer) -> bool {
    const NAME_ERROR: u8 = 3;
    let is_opt_out = |record: &Record| record.rtype == NSEC3 && record.rdata.starts_with("0101");
    let others = |answer: &Answer| -> BTreeSet<Record> {
        answer.authority.iter().filter(|record| !is_proof(record)).cloned().collect()
    };
    let name = question.name.to_ascii_lowercase();
    let mut ancestors =
        zone.existing_ancestors(&name).skip_while(|name| zone.is_for_insecure_cuts_alone(name));
    ours.rcode == NAME_ERROR
        && bind.rcode == NAME_ERROR
        && others(ours) == others(bind)
        && ours.authority.iter().any(is_opt_out)
        && zone.existing_ancestors(&name).next().is_some_and(|name| zone.is_for_insecure_cuts_alone(name))
        && ancestors.next().is_some_and(|provable| zone.has(&format!("*.{provable}")))
}

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

/// All others end at the same alias, which leaves the zone; and NSD, who alone would go on, confuses a zone on the way.
fn goes_on_where_nsd_is_confused(
    zones: &[Zone],
    question: &Question,
    ours: &Answer,
    others: &[&Answer],
) -> bool {
    let is_confused = |name: &str| zones.iter().any(|zone| !zone.is_on_its_own() && zone.covers(name));
    let aliases = |answer: &'_ Answer| -> Vec<String> {
        let aliases = answer.answer.iter().filter(|record| record.rtype == CNAME);
        aliases.map(|record| record.rdata.clone()).collect()
    };
    let is_left = |target: &str, answer: &Answer| answer.answer.iter().all(|record| record.owner != target);
    let ends_at_an_alias = |other: &&Answer| {
        other.answer.is_subset(&ours.answer) && aliases(other).iter().any(|target| is_left(target, other))
    };
    others.iter().all(ends_at_an_alias)
        && (is_confused(&question.name) || aliases(ours).iter().any(|target| is_confused(target)))
}

/// The others have all but the DS of a name that a CNAME of the answer leads to.
fn ends_at_a_parent(ours: &Answer, others: &[&Answer]) -> bool {
    let is_target =
        |owner: &str| ours.answer.iter().any(|record| record.rtype == CNAME && record.rdata == owner);
    others.iter().all(|other| {
        let mut more = ours.answer.difference(&other.answer).peekable();
        other.answer.is_subset(&ours.answer)
            && more.peek().is_some()
            && more.all(|record| record.rtype == DS && is_target(&record.owner))
    })
}

/// Knot cut its answer for glue that BIND and we do not give: of names that are not in the zone.
fn has_no_glue_from_wildcards(zone: &Zone, ours: &Answer, others: &[&Answer]) -> bool {
    let [knot, bind] = others else { return false };
    let mut more = knot.additional.difference(&ours.additional).peekable();
    ours.truncated == bind.truncated
        && more.peek().is_some()
        && more.all(|record| zone.is_below_a_cut(&record.owner) && !zone.has(&record.owner))
}

/// Records that NSD left out, and we gave over TCP, are addresses of name servers below the very cut.
fn tells_that_glue_is_missing(ours: &Answer, nsd: &Answer) -> bool {
    let is_in_domain = |glue: &Record| {
        let own = |ns: &&Record| ns.rtype == NS && ns.rdata == glue.owner;
        let below = |ns: &Record| format!(".{}", glue.owner).ends_with(&format!(".{}", ns.owner));
        ours.authority.iter().filter(own).any(below)
    };
    let mut missing = ours.additional.difference(&nsd.additional).peekable();
    ours.truncated
        && !nsd.truncated
        && ours.authority == nsd.authority
        && nsd.additional.is_subset(&ours.additional)
        && missing.peek().is_some()
        && missing.all(is_in_domain)
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

/// The answer is NSD's, the others stopped at the zone's border (Knot names a wildcard's DNAME by the name that was asked
/// for), and what stands beside is what its records point at.
fn stands_beside_the_end_of_a_chain(ours: &Answer, nsd: &Answer, others: &[&Answer]) -> bool {
    let is_ours = |record: &Record| {
        let same = |own: &Record| own.rtype == DNAME && record.rtype == DNAME && own.rdata == record.rdata;
        ours.answer.contains(record) || ours.answer.iter().any(same)
    };
    ours.answer == nsd.answer
        && others
            .iter()
            .all(|other| other.answer.iter().all(is_ours) && other.answer.len() < ours.answer.len())
        && ours.additional.iter().all(|beside| {
            let in_hex: String = wire(&beside.owner).iter().map(|byte| format!("{byte:02x}")).collect();
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
