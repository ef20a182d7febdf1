//! Whatever comes in: no panic, no answer to an answer, nothing too large, and hickory-proto reads what we wrote.

use std::fmt::Write as _;

use hickory_proto::op::Message as Decoded;
use proptest::prelude::*;

use super::*;
use crate::answer::{Class, Need, Placed, Query};

fn label() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("a"),
        2 => Just("B"),
        3 => Just("c"),
        2 => Just("*"),
        1 => Just("long-label-here"),
        // As bytes it ends as `a` does: no label begins inside of a label.
        1 => Just("x\\001a"),
    ]
}

pub(super) fn relative(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(label(), 0..=most).prop_map(|labels| labels.join("."))
}

/// A line of zone text: any owner, any of the types whose RDATA holds names or addresses.
fn line() -> impl Strategy<Value = String> {
    (relative(3), relative(3), 0..15_u8).prop_map(|(owner, target, kind)| {
        let owner = if owner.is_empty() { "@" } else { &owner };
        let target = if target.is_empty() { "@" } else { &target };
        match kind {
            0 => format!("{owner} NS {target}"),
            1 => format!("{owner} CNAME {target}"),
            2 => format!("{owner} DNAME {target}"),
            3 => format!("{owner} MX 5 {target}"),
            4 => format!("{owner} SRV 1 2 3 {target}"),
            5 => format!("{owner} TXT {}", "t".repeat(200)),
            6 => format!("{owner} AAAA 2001:db8::1"),
            7 => format!("{owner} PTR {target}"),
            8 => format!("{owner} TXT other"),
            9 => format!("{owner} HTTPS 1 {target}"),
            10 => format!("{owner} HTTPS 1 . alpn=h2"),
            11 => format!("{owner} SVCB 0 {target}"),
            12 => format!("{owner} MX 7 {target}"),
            // A delegation to a server below it and one beside it, both with glue.
            13 if owner != "@" => {
                format!("{owner} NS ns.{owner}\n{owner} NS n\nn A 192.0.2.8\nns.{owner} AAAA 2001:db8::9")
            }
            _ => format!("{owner} A 192.0.2.1"),
        }
    })
}

pub(super) fn zone() -> impl Strategy<Value = String> {
    proptest::collection::vec(line(), 0..25).prop_map(|lines| {
        lines.iter().fold(String::from("@ SOA ns h 1 2 3 4 5\n@ NS a\n"), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        })
    })
}

/// A signer's records, as answers see them: keys at the apex, NSEC and signatures of any type anywhere.
pub(super) fn signed() -> impl Strategy<Value = String> {
    let line = (relative(3), relative(3), qtype(), any::<bool>()).prop_map(|(owner, next, covered, nsec)| {
        let owner = if owner.is_empty() { "@" } else { &owner };
        let next = if next.is_empty() { "@" } else { &next };
        match nsec {
            true => format!("{owner} NSEC {next} A RRSIG"),
            false => format!("{owner} RRSIG {covered} 13 1 9 20300101000000 20200101000000 7 @ AAAA"),
        }
    });
    let key = "@ DNSKEY 256 3 13 AAAA\n@ NSEC a DNSKEY\na DS 7 13 200 AAAA";
    (zone(), any::<bool>(), proptest::collection::vec(line, 0..15)).prop_map(move |(zone, has_key, lines)| {
        let key = if has_key { key } else { "" };
        format!("{zone}{key}\n{}\n", lines.join("\n"))
    })
}

pub(super) fn qtype() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::A),
        Just(Type::NS),
        Just(Type::CNAME),
        Just(Type::MX),
        Just(Type::TXT),
        Just(Type::DS),
        Just(Type::ANY),
        Just(Type::DNAME),
        Just(Type::SRV),
        Just(Type::PTR),
        Just(Type::SOA),
        Just(Type::HTTPS),
        Just(Type::SVCB),
    ]
}

/// Owner, type and TTL of each record of a section, in order.
fn expected(section: &[Placed<'_>], count: usize) -> Vec<(String, u16, u32)> {
    let mut records = Vec::new();
    for placed in section {
        let owner = Name::from_wire(&placed.owner).unwrap().to_string();
        records.extend(placed.set.rdatas().map(|_| (owner.clone(), placed.set.rtype.0, placed.ttl)));
    }
    records.truncate(count);
    records
}

fn decoded(section: &[hickory_proto::rr::Record]) -> Vec<(String, u16, u32)> {
    section
        .iter()
        .map(|record| (record.name.to_string().to_lowercase(), record.record_type().into(), record.ttl))
        .collect()
}

proptest! {
    #[test]
    fn any_bytes_are_survived(packet in proptest::collection::vec(any::<u8>(), 0..200), tcp in any::<bool>()) {
        let world = world(&[("ex.", EX)]);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        let outcome = respond(&world, &mut Limits::default(), &packet, &client(transport), moment(), &mut out);
        match outcome {
            Outcome::Silent(_) => prop_assert!(out.is_empty() && (packet.len() < 12 || packet[2] & 0x80 != 0)),
            Outcome::Sent(_) => prop_assert!(out[2] & 0x80 != 0 && out[..2] == packet[..2]),
        }
    }

    #[test]
    fn a_damaged_question_is_survived(
        at in 0..60_usize, value in any::<u8>(), cut in 0..80_usize, qtype in qtype(),
    ) {
        let world = world(&[("ex.", EX)]);
        let mut packet = ask("a.WWW.ex.", qtype).edns(0, 0x8000, 1400, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]).bytes();
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
        packet.truncate(cut.max(12));
        let mut out = Vec::new();
        respond(&world, &mut Limits::default(), &packet, &client(Transport::Udp), moment(), &mut out);
        prop_assert!(out.len() <= 1232);
        prop_assert!(out.is_empty() || Decoded::from_vec(&out).is_ok(), "{out:x?}");
    }

    #[test]
    fn hickory_reads_what_was_meant(
        text in zone(), qname in relative(5), qtype in qtype(), udp_bytes in 0..1400_u16, tcp in any::<bool>(),
    ) {
        let world = world(&[("ex.", &text)]);
        let qname = if qname.is_empty() { "ex.".to_owned() } else { format!("{qname}.ex.") };
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let packet = ask(&qname, qtype).edns(0, 0, udp_bytes, b"").bytes();
        let out = reply(&world, &packet, transport);
        let limit = usize::from(udp_bytes.clamp(512, 1232));
        prop_assert!(tcp || out.len() <= limit, "{} bytes", out.len());

        let message = Decoded::from_vec(&out).unwrap();
        let lower = name(&qname);
        let query = Query { qname: lower.as_wire(), qtype, qclass: Class::In, dnssec_ok: false, asker: Asker::default() };
        let meant = answer::answer(&world.public, query);
        prop_assert_eq!(message.queries[0].name().to_string(), qname);
        for (section, meant) in [(&message.answers, &meant.answer), (&message.authorities, &meant.authority)] {
            prop_assert_eq!(decoded(section), expected(meant, section.len()));
        }
        let all = |placed: &[Placed<'_>]| expected(placed, usize::MAX).len();
        let required = |placed: &[Placed<'_>]| {
            placed.iter().filter(|placed| placed.need == Need::Required).map(|placed| placed.set.rdatas().count()).sum()
        };
        let (answers, authorities) = (message.answers.len(), message.authorities.len());
        let additionals = message.additionals.len();
        let has_required = answers >= required(&meant.answer) && authorities >= required(&meant.authority);
        prop_assert!(message.metadata.truncation || has_required);
        prop_assert!(!message.metadata.truncation || !tcp);
        if tcp {
            let meant = [&meant.answer, &meant.authority, &meant.additional].map(|section| all(section));
            prop_assert_eq!([answers, authorities, additionals], meant);
        }
        prop_assert_eq!(guard::inspect(&out, &Guard::default()), Ok(()));
    }
}
