//! Hints of HTTPS and SVCB records beside pools, and marks that make none.

use super::steered::{WWW, draining, faults, settings};
use super::*;

use crate::steer::{Rules as Pool, Settings};

/// The HTTPS RRset that a view has at this name, as transfers give it.
fn transferred(folder: &Folder, which: Which, name: &str) -> Vec<String> {
    let zone = folder.world.view(which).zones.get(&Name::parse_absolute("ex.example").unwrap()).unwrap();
    let crate::zone::set::Served::Zone(tree) = zone else { panic!("the zone is broken") };
    let set = tree.node(Name::parse_absolute(name).unwrap().as_wire()).and_then(|node| node.set(Type::HTTPS));
    let text = |rdata: &[u8]| {
        let mut text = String::new();
        crate::zone::text::write_rdata(Type::HTTPS, rdata, &mut text).unwrap();
        text
    };
    set.iter().flat_map(|set| set.rdatas().map(text).collect::<Vec<_>>()).collect()
}

/// D3: the hint of a member that insiders alone get is no outsider's, with a pool and without one.
#[test]
fn outsiders_never_get_the_hint_of_a_member_that_is_internal() {
    let body = "www 30 A 203.0.113.10 ; verge: steer\nwww 30 A 203.0.113.11\nwww 30 A 203.0.113.12 ; verge: internal\n\
                www HTTPS 1 . ipv4hint=203.0.113.10,203.0.113.12\n\
                to HTTPS 1 www ipv4hint=203.0.113.12\nneeds HTTPS 1 www mandatory=ipv4hint ipv4hint=203.0.113.12\n";
    let one = Pool { count: Some(1), ..Pool::default() };
    for body in [body.to_owned(), body.replace(" ; verge: steer", "")] {
        for members in [&[][..], &[[203, 0, 113, 10]], &[[203, 0, 113, 10], [203, 0, 113, 11]]] {
            let rules = Pool { members: draining(members).members, ..one.clone() };
            let steer = Settings { defaults: Arc::new(rules), ..Settings::default() };
            let (folder, report) = Folder::steered(&body, steer);
            for name in ["www", "to", "needs"] {
                let records = folder.records(Which::Public, &format!("{name}.ex.example."), Type::HTTPS);
                let has_it = |record: &String| record.contains("203.0.113.12");
                assert!(!records.iter().any(has_it), "{name}: {records:?}\n{body}");
                let given = transferred(&folder, Which::Public, &format!("{name}.ex.example"));
                assert!(!given.iter().any(has_it), "{name}: {given:?}");
            }
            assert_eq!(transferred(&folder, Which::Public, "www.ex.example"), ["1 . ipv4hint=203.0.113.10"]);
            assert_eq!(
                transferred(&folder, Which::Internal, "www.ex.example"),
                ["1 . ipv4hint=203.0.113.12"]
            );
            assert_eq!(folder.outside("needs.ex.example"), Kind::NxDomain, "it cannot do without the hint");
            let hidden = report.zones[0].divided.as_ref().unwrap().hidden.iter();
            let by_d3 = hidden.filter(|hidden| hidden.why == crate::zone::privacy::Rule::D3).count();
            assert_eq!(by_d3, 3, "`check` lists them");
        }
    }
}

/// `[public] zones` publishes what has no mark; a mark still hides.
#[test]
fn a_public_zone_gives_outsiders_no_hint_of_a_member_that_is_internal() {
    let zone = Name::parse_absolute("ex.example").unwrap();
    let rules = Rules { public_zones: vec![zone], ..Rules::default() };
    let body = "www 30 A 203.0.113.11\nwww 30 A 203.0.113.12 ; verge: internal\ndb A 10.0.0.1\n\
                www HTTPS 1 . ipv4hint=203.0.113.11,203.0.113.12\ndb HTTPS 1 . ipv4hint=10.0.0.1\n";
    let mut folder = Folder::with_rules(&[("ex.example.zone", body)], rules);
    folder.load();
    assert_eq!(transferred(&folder, Which::Public, "www.ex.example"), ["1 . ipv4hint=203.0.113.11"]);
    assert_eq!(transferred(&folder, Which::Internal, "www.ex.example"), ["1 . ipv4hint=203.0.113.12"]);
    assert_eq!(transferred(&folder, Which::Public, "db.ex.example"), ["1 . ipv4hint=10.0.0.1"]);
}

#[test]
fn hints_follow_a_pool_through_aliases_and_into_a_wildcard() {
    let body = format!(
        "{WWW}*.w A 203.0.113.10 ; verge: steer\n*.w A 203.0.113.11\nal CNAME far\nfar CNAME www\nd DNAME w\n\
         wild HTTPS 1 x.w ipv4hint=203.0.113.10,203.0.113.11\n\
         named HTTPS 1 al ipv4hint=203.0.113.10,203.0.113.11\n\
         moved HTTPS 1 y.d ipv4hint=203.0.113.10,203.0.113.11\n"
    );
    let rules = Pool { ttl: Some(7), ..draining(&[[203, 0, 113, 10]]) };
    let steer = Settings { defaults: Arc::new(rules), ..Settings::default() };
    let (folder, report) = Folder::steered(&body, steer);
    assert_eq!(faults(&report), "");
    for which in [Which::Public, Which::Internal] {
        for (name, target) in [("wild", "x.w"), ("named", "al"), ("moved", "y.d")] {
            let records = folder.records(which, &format!("{name}.ex.example."), Type::HTTPS);
            let expected = format!("HTTPS 1 {target}.ex.example. ipv4hint=203.0.113.11");
            assert!(records.contains(&expected), "{which:?}: {records:?}");
        }
    }
    let others = crate::world::unsteered(&folder.world, [203, 0, 113, 10].into());
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_pool_in_another_zone_is_followed_and_lost_with_its_alias() {
    let steer = Settings { defaults: Arc::new(draining(&[[203, 0, 113, 10]])), ..Settings::default() };
    let hints = "h HTTPS 1 to ipv4hint=203.0.113.10,203.0.113.11\n";
    let (mut folder, _) = Folder::steered(WWW, steer);
    folder.write("b.example.zone", &format!("to CNAME www.ex.example.\n{hints}"));
    assert_eq!(faults(&folder.load()), "");
    let given = |folder: &Folder| folder.records(Which::Public, "h.b.example.", Type::HTTPS);
    assert_eq!(given(&folder), ["HTTPS 1 to.b.example. ipv4hint=203.0.113.11"]);
    folder.write("b.example.zone", &format!("to A 203.0.113.10\n{hints}"));
    let report = folder.load();
    assert!(faults(&report).contains("whether it is up or not"), "its second hint is a member, too");
    assert!(given(&folder).contains(&"HTTPS 1 to.b.example. ipv4hint=203.0.113.10,203.0.113.11".to_owned()));
}

#[test]
fn hints_that_follow_no_pool_are_told_once() {
    let body = format!(
        "{WWW}plain A 203.0.113.10\na HTTPS 1 cdn.example.net. ipv4hint=203.0.113.9,203.0.113.10\n\
         b HTTPS 1 plain ipv4hint=203.0.113.10\nc HTTPS 1 www ipv4hint=203.0.113.10\n\
         e HTTPS 1 www ipv4hint=203.0.113.11\ne RRSIG HTTPS 13 3 60 20300101000000 20200101000000 7 @ AAAA\n"
    );
    let (mut folder, report) = Folder::steered(&body, Settings::default());
    let problems = report.zones[0].problems.iter().filter(|it| it.code == "unsteered-hint");
    assert_eq!(
        problems.map(|it| it.message.as_str()).collect::<Vec<_>>(),
        [
            "this HTTPS record gives 203.0.113.10, a member of the pool www.ex.example., whether it is up or not: \
             cdn.example.net., to which it leads, leads to no pool that has 203.0.113.10",
            "this HTTPS record gives 203.0.113.11, a member of the pool www.ex.example., whether it is up or not: \
             its hints are signed",
        ]
    );
    assert_eq!(report.zones[0].news.iter().filter(|it| it.code == "unsteered-hint").count(), 2);
    folder.write("b.example.zone", "");
    let report = folder.load();
    let is_news = |zone: &ZoneReport| zone.news.iter().any(|it| it.code == "unsteered-hint");
    assert!(codes(&report).contains(&"unsteered-hint") && !report.zones.iter().any(is_news), "it was told");
}

#[test]
fn name_servers_of_the_zone_itself_are_steered_as_additional_data_and_those_of_a_delegation_are_not() {
    let body = format!("{WWW}@ NS www\nsub NS www\n@ MX 10 www\n@ SRV 0 0 1 www\n");
    let (folder, _) = Folder::steered(
        &body,
        settings(&[("www.ex.example", draining(&[[203, 0, 113, 10], [203, 0, 113, 11]]))]),
    );
    let addresses = |name: &str, rtype| {
        let records = folder.records(Which::Public, name, rtype);
        records.into_iter().filter(|it| it.starts_with("A 203.0.113.1")).collect::<Vec<_>>()
    };
    for rtype in [Type::NS, Type::MX, Type::SRV] {
        assert_eq!(addresses("ex.example.", rtype), ["A 203.0.113.12"], "{rtype}");
    }
    assert_eq!(addresses("x.sub.ex.example.", Type::A).len(), 3, "glue is no pool");
    let others = crate::world::unsteered(&folder.world, [203, 0, 113, 10].into());
    let referral = "203.0.113.10 is also given with referrals to sub.ex.example., of which www.ex.example. is a name server";
    assert_eq!(others, [referral]);
}

#[test]
fn marks_and_names_that_steer_nothing_are_told() {
    let many =
        (0..257).map(|at| format!("big A 203.0.{}.{}\n", 112 + at / 256, at % 256)).collect::<String>();
    let many = many.replacen("203.0.112.0\n", "203.0.112.0 ; verge: steer\n", 1);
    let named = settings(&[("big.ex.example", Pool::default())]);
    let too_many = "too-many-members: big.ex.example. has 257 A records, so they are neither checked nor steered: a pool has 256 \
                    members at most";
    for (body, steer) in [(many.clone(), Settings::default()), (many.replace(" ; verge: steer", ""), named)] {
        let (folder, report) = Folder::steered(&body, steer);
        assert!(faults(&report).contains(too_many), "{}", faults(&report));
        assert!(folder.world.public.pools.is_empty());
    }
    let below = "sub NS ns.sub\nns.sub A 203.0.113.1 ; verge: steer\nns.sub A 203.0.113.2 ; verge: steer\n\
                 d DNAME ns\nx.d A 203.0.113.3 ; verge: steer\n";
    let (_, report) = Folder::steered(below, Settings::default());
    let faults = faults(&report);
    for part in [
        "mark-below-cut: the mark steers nothing: sub.ex.example. is delegated, so the addresses of ns.sub.ex.example. are glue",
        "mark-below-cut: the mark steers nothing: nobody is given x.d.ex.example., since it lies below the DNAME of d.ex.example.",
    ] {
        assert_eq!(faults.matches(part).count(), 1, "{part}\n{faults}");
    }
}
