//! Hints of HTTPS and SVCB records beside pools, and marks that make none.

use super::steered::{WWW, draining, settings};
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
