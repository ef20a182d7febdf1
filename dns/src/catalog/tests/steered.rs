//! RRsets that marks or the config make pools of.

use super::*;

use crate::steer::rules::MemberRules;
use crate::steer::{Rules as Pool, Settings};

pub(super) const WWW: &str = "www A 203.0.113.10 ; verge: steer\nwww A 203.0.113.11\nwww A 203.0.113.12\n";

pub(super) fn settings(pools: &[(&str, Pool)]) -> Settings {
    let named = |(name, rules): &(&str, Pool)| (Name::parse_absolute(name).unwrap(), Arc::new(rules.clone()));
    Settings { pools: pools.iter().map(named).collect(), ..Settings::default() }
}

pub(super) fn draining(addresses: &[[u8; 4]]) -> Pool {
    let member = |address: &[u8; 4]| MemberRules { drain: true, ..MemberRules::of((*address).into()) };
    Pool { members: addresses.iter().map(member).collect(), ..Pool::default() }
}

impl Folder {
    pub(super) fn steered(body: &str, steer: Settings) -> (Self, Report) {
        let mut folder = Self::new(&[("ex.example.zone", body)]);
        folder.catalog.terms.steer = steer;
        let report = folder.load();
        (folder, report)
    }

    /// The answer's records, sorted.
    pub(super) fn records(&self, which: Which, name: &str, qtype: Type) -> Vec<String> {
        let name = Name::parse_absolute(name).unwrap();
        let query = Query {
            qname: name.as_wire(),
            qtype,
            qclass: Class::In,
            dnssec_ok: false,
            asker: Asker::default(),
        };
        let answer = answer(self.world.view(which), query);
        let sections = answer.answer.iter().chain(&answer.additional);
        let mut records: Vec<String> = sections
            .flat_map(|placed| {
                let shown = |rdata: &[u8]| {
                    let owner = Name::from_wire(&placed.owner).unwrap();
                    let mut line = String::new();
                    crate::zone::text::write_record(&owner, placed.ttl, placed.set.rtype, rdata, &mut line)
                        .unwrap();
                    line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")
                };
                placed.set.rdatas().map(shown).collect::<Vec<_>>()
            })
            .collect();
        records.sort();
        records
    }
}

/// The faults that were found, but for the note on documentation addresses.
pub(super) fn faults(report: &Report) -> String {
    let all = messages(report);
    all.lines().filter(|line| !line.starts_with("D1: ")).collect()
}

/// The pools of each view, and the answers for `www` outside while the config drains .10 and .11.
#[test]
fn marks_and_names_make_pools_whose_answers_leave_members_out() {
    let drains = || draining(&[[203, 0, 113, 10], [203, 0, 113, 11]]);
    let unmarked = WWW.replace(" ; verge: steer", "");
    let wild = format!("{}a CNAME b.x\n", WWW.replace("www", "*.x"));
    let by_default = Settings { defaults: Arc::new(drains()), ..Settings::default() };
    for (body, steer, qname, expected) in [
        (WWW, by_default.clone(), "www.ex.example.", &["A 203.0.113.12"][..]),
        (WWW, settings(&[("www.ex.example", drains())]), "www.ex.example.", &["A 203.0.113.12"]),
        (&unmarked, settings(&[("www.ex.example", drains())]), "www.ex.example.", &["A 203.0.113.12"]),
        (
            &unmarked,
            by_default.clone(),
            "www.ex.example.",
            &["A 203.0.113.10", "A 203.0.113.11", "A 203.0.113.12"],
        ),
        (&wild, by_default.clone(), "b.x.ex.example.", &["A 203.0.113.12"]),
        (&wild, settings(&[("*.x.ex.example", drains())]), "b.x.ex.example.", &["A 203.0.113.12"]),
        (&wild, by_default, "a.ex.example.", &["A 203.0.113.12", "CNAME b.x.ex.example."]),
    ] {
        let (folder, report) = Folder::steered(body, steer);
        assert_eq!(faults(&report), "", "{body}");
        assert_eq!(folder.records(Which::Public, qname, Type::A), expected, "{body} {qname}");
        assert_eq!(folder.records(Which::Internal, qname, Type::A), expected, "inside, {body} {qname}");
    }
}

#[test]
fn a_mark_on_one_record_makes_pools_of_all_address_rrsets_of_its_name() {
    let (folder, _) = Folder::steered(&format!("{WWW}www AAAA 2001:db8::10\n"), Settings::default());
    let pools = folder.world.public.pools.iter().map(|pool| (pool.owner.to_string(), pool.rtype));
    let name = "www.ex.example.".to_owned();
    assert_eq!(pools.collect::<Vec<_>>(), [(name.clone(), Type::A), (name, Type::AAAA)]);
}

#[test]
fn hints_follow_the_pool_that_the_record_leads_to() {
    let body = format!(
        "{WWW}www AAAA 2001:db8::10\nwww HTTPS 1 . ipv4hint=203.0.113.10,203.0.113.12,203.0.113.99 ipv6hint=2001:db8::10\n\
         @ HTTPS 1 www ipv4hint=203.0.113.10,203.0.113.11\n@ HTTPS 2 www mandatory=ipv4hint ipv4hint=203.0.113.10\n\
         mail MX 10 www\nother HTTPS 1 www mandatory=ipv4hint ipv4hint=203.0.113.10\n"
    );
    let drained = draining(&[[203, 0, 113, 10], [203, 0, 113, 11]]);
    let (folder, _) = Folder::steered(&body, settings(&[("www.ex.example", drained)]));
    for (qname, qtype, expected) in [
        (
            "www.ex.example.",
            Type::HTTPS,
            &[
                "A 203.0.113.12",
                "AAAA 2001:db8::10",
                "HTTPS 1 . ipv4hint=203.0.113.12,203.0.113.99 ipv6hint=2001:db8::10",
            ][..],
        ),
        // A record that must have a hint and has none left goes, but never the last one.
        (
            "ex.example.",
            Type::HTTPS,
            &[
                "A 203.0.113.12",
                "AAAA 2001:db8::10",
                "HTTPS 1 www.ex.example.",
                "HTTPS 1 . ipv4hint=203.0.113.12,203.0.113.99 ipv6hint=2001:db8::10",
            ],
        ),
        ("mail.ex.example.", Type::MX, &["A 203.0.113.12", "AAAA 2001:db8::10", "MX 10 www.ex.example."]),
    ] {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(folder.records(Which::Public, qname, qtype), expected, "{qname} {qtype}");
    }
    let other = folder.records(Which::Public, "other.ex.example.", Type::HTTPS);
    assert!(other.iter().any(|record| record.starts_with("HTTPS 1 www")), "{other:?}");
}

/// D20.
#[test]
fn a_private_member_of_a_public_pool_is_an_error_unless_its_author_says_what_is_meant() {
    let public = "www A 203.0.113.10 ; verge: steer\n";
    for (member, outside, error) in [
        ("www A 10.0.0.5\n", 1, true),
        ("www A 10.0.0.5 ; verge: public\n", 2, false),
        ("www A 10.0.0.5 ; verge: public steer\n", 2, false),
        ("www A 10.0.0.5 ; verge: internal\n", 1, false),
        ("www A 203.0.113.11 ; verge: internal\n", 1, false),
        ("www AAAA fd00::5 ; verge: steer\n", 1, false),
    ] {
        let (folder, report) = Folder::steered(&format!("{public}{member}"), Settings::default());
        let codes = codes(&report);
        assert_eq!(codes.contains(&"private-member"), error, "{member}: {codes:?}");
        let given = folder.world.public.pools.iter().find(|pool| pool.rtype == Type::A);
        assert_eq!(given.map_or(0, |pool| pool.members.len()), outside, "{member}");
        assert_eq!(report.zones[0].state_word(), "current", "{member}");
    }
    let (_, report) = Folder::steered("db A 10.0.0.5 ; verge: steer\ndb A 10.0.0.6\n", Settings::default());
    assert_eq!(faults(&report), "", "a pool that is private as a whole is the inside's");
    // Nor may one who adds a record for outsiders learn what stands beside it inside.
    let apart = "www A 203.0.113.10 ; verge: outside steer\nwww A 10.0.0.5 ; verge: steer\n";
    let (_, report) = Folder::steered(apart, Settings::default());
    assert_eq!(faults(&report), "", "no view has both");
}

/// D20: a fault that concerns outsiders takes nothing from insiders.
#[test]
fn a_private_member_is_never_given_outside_and_takes_nothing_from_the_inside() {
    let good = "www A 203.0.113.10 ; verge: steer\nwww A 203.0.113.11\n";
    let (mut folder, _) = Folder::steered(good, Settings::default());
    let all_down = draining(&[[203, 0, 113, 10], [203, 0, 113, 11]]);
    folder.catalog.terms.steer = Settings { defaults: Arc::new(all_down), ..Settings::default() };
    folder.write("ex.example.zone", &format!("{good}www A 10.0.0.5\ndb A 10.0.0.6\nnew A 203.0.113.12\n"));
    let report = folder.load();
    assert!(codes(&report).contains(&"private-member"), "{}", messages(&report));
    assert_eq!(folder.records(Which::Internal, "db.ex.example.", Type::A), ["A 10.0.0.6"]);
    assert_eq!(folder.records(Which::Internal, "www.ex.example.", Type::A), ["A 10.0.0.5"]);
    assert_eq!(folder.records(Which::Public, "new.ex.example.", Type::A), ["A 203.0.113.12"]);
    let public = folder.records(Which::Public, "www.ex.example.", Type::A);
    assert_eq!(public, ["A 203.0.113.10", "A 203.0.113.11"], "all of them are out of service");
}

/// D20.
#[test]
fn a_private_member_is_told_with_the_setting_that_makes_the_pool_and_both_cures() {
    let body = "www A 203.0.113.10\nwww A 10.0.0.5\n";
    let pool = settings(&[("www.ex.example", Pool::default())]);
    for (body, steer, message, help) in [
        (
            body.to_owned(),
            pool,
            "the pool www.ex.example., which `[[steer.pool]]` names, is public, but this member of it is private (D20): outsiders are not given it",
            "end the line with `; verge: public` to publish it, or with `; verge: internal` to keep it inside, or take the name out of `[[steer.pool]]`",
        ),
        (
            body.replacen('\n', " ; verge: steer\n", 1),
            Settings::default(),
            "the pool www.ex.example. is public, but this member of it is private (D20): outsiders are not given it",
            "end the line with `; verge: public steer` to publish it, or with `; verge: internal` to keep it inside",
        ),
    ] {
        let (_, report) = Folder::steered(&body, steer);
        let problems = &report.zones[0].problems;
        let told = problems.iter().find(|problem| problem.code == "private-member").unwrap();
        assert_eq!((&*told.message, told.help.as_deref()), (message, Some(help)));
    }
}

#[test]
fn signed_hints_are_answered_as_they_were_signed() {
    let body = format!(
        "{WWW}www HTTPS 1 . ipv4hint=203.0.113.10,203.0.113.12\n\
         www RRSIG HTTPS 13 3 60 20300101000000 20200101000000 7 @ AAAA\n"
    );
    let drained = draining(&[[203, 0, 113, 10]]);
    let (folder, _) = Folder::steered(&body, settings(&[("www.ex.example", drained)]));
    let records = folder.records(Which::Public, "www.ex.example.", Type::HTTPS);
    let whole = "HTTPS 1 . ipv4hint=203.0.113.10,203.0.113.12".to_owned();
    assert!(records.contains(&whole), "{records:?}");
    let addresses = folder.records(Which::Public, "www.ex.example.", Type::A);
    assert_eq!(addresses, ["A 203.0.113.11", "A 203.0.113.12"], "its addresses are not signed");
}

#[test]
fn a_signed_rrset_is_answered_whole_and_told() {
    let signature = "www RRSIG A 13 3 60 20300101000000 20200101000000 7 @ AAAA\n";
    let drained = draining(&[[203, 0, 113, 10]]);
    let steer = Settings { defaults: Arc::new(drained), ..Settings::default() };
    let (folder, report) = Folder::steered(&format!("{WWW}{signature}"), steer);
    assert!(codes(&report).contains(&"signed-pool"), "{}", messages(&report));
    assert_eq!(folder.records(Which::Public, "www.ex.example.", Type::A).len(), 3);
    assert!(folder.world.public.pools.is_empty());
    assert_eq!(folder.world.public.pools.signed.len(), 1);
}
