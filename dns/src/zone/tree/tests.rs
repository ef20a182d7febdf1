//! The tree against a naive model of RFC 1034 and RFC 4592 look-ups.

use proptest::prelude::*;

use super::*;
use testing::{name, tree};

/// The expected result of `find`, from nothing but the list of records.
fn model(apex: &Name, records: &[(Name, Type)], qname: &Name) -> String {
    let hider = |strictly_above: bool, rtype: Type| {
        let mut hiders: Vec<_> = records
            .iter()
            .filter(|(owner, kind)| *kind == rtype && qname.is_at_or_under(owner))
            .filter(|(owner, _)| if strictly_above { owner != qname } else { owner != apex })
            .map(|(owner, _)| owner.clone())
            .collect();
        hiders.sort_by_key(Name::label_count);
        hiders.into_iter().next()
    };
    let (cut, dname) = (hider(false, Type::NS), hider(true, Type::DNAME));
    match (cut, dname) {
        (Some(cut), Some(dname)) if dname.label_count() < cut.label_count() => {
            return format!("dname {dname}");
        }
        (Some(cut), _) => return format!("delegation {cut}"),
        (None, Some(dname)) => return format!("dname {dname}"),
        (None, None) => {}
    }
    let exists = |name: &Name| name == apex || records.iter().any(|(owner, _)| owner.is_at_or_under(name));
    if exists(qname) {
        let owns = records.iter().any(|(owner, _)| owner == qname);
        return if owns { "records".into() } else { "empty".into() };
    }
    let mut encloser = qname.parent().unwrap();
    while !exists(&encloser) {
        encloser = encloser.parent().unwrap();
    }
    let wildcard = encloser.wildcard().filter(|wildcard| exists(wildcard));
    format!("missing below {encloser} wildcard {}", wildcard.is_some())
}

fn said(found: Found<'_>) -> String {
    match found {
        Found::Records(_) => "records".into(),
        Found::EmptyNonTerminal(_) => "empty".into(),
        Found::Delegation(cut) => format!("delegation {cut:?}"),
        Found::Dname(owner) => format!("dname {owner:?}"),
        Found::Missing { closest_encloser, wildcard } => {
            format!("missing below {closest_encloser:?} wildcard {}", wildcard.is_some())
        }
    }
}

fn label() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 4 => Just("b"), 3 => Just("*"), 1 => Just("cc")]
}

fn below_apex(depth: impl Strategy<Value = usize>) -> impl Strategy<Value = Name> {
    depth.prop_flat_map(|depth| proptest::collection::vec(label(), depth)).prop_map(|labels| {
        labels.iter().fold(name("ex."), |name, label| name.child(label.as_bytes()).unwrap())
    })
}

fn rtype() -> impl Strategy<Value = Type> {
    prop_oneof![6 => Just(Type::A), 2 => Just(Type::NS), 1 => Just(Type::DNAME), 1 => Just(Type::TXT)]
}

proptest! {
    #[test]
    fn find_agrees_with_the_model(
        records in proptest::collection::vec((below_apex(0..5_usize), rtype()), 0..12),
        questions in proptest::collection::vec(below_apex(0..7_usize), 8),
    ) {
        let apex = name("ex.");
        let mut records: Vec<(Name, Type)> = records;
        records.sort_by(|(a, a_type), (b, b_type)| a.canonical_cmp(b).then(a_type.cmp(b_type)));
        records.dedup();
        let data = records.iter().map(|(owner, rtype)| Datum { owner, rtype: *rtype, ttl: 1, rdata: b"\x01x\0" });
        let tree = Tree::build(apex.clone(), data);
        for qname in questions {
            let empty_apex = qname == apex && !records.iter().any(|(owner, _)| *owner == apex);
            let expected = if empty_apex { "empty".into() } else { model(&apex, &records, &qname) };
            prop_assert_eq!(said(tree.find(qname.as_wire())), expected, "{} in {:?}", qname, records);
        }
        let names: Vec<Name> = tree.nodes().map(|node| Name::from_wire(node.name()).unwrap()).collect();
        prop_assert!(names.is_sorted_by(|a, b| a.canonical_cmp(b) == Ordering::Less));
        prop_assert_eq!(tree.nodes().map(|node| node.sets().len()).sum::<usize>(), records.len());
    }
}

#[test]
fn records_of_one_owner_and_type_are_one_set_with_the_least_ttl() {
    let tree = tree("ex.", "a 300 A 192.0.2.1\nb 5 A 192.0.2.9\na 100 A 192.0.2.2\na 400 A 192.0.2.1");
    let a = tree.node(name("a.ex.").as_wire()).unwrap();
    let set = a.set(Type::A).unwrap();
    assert_eq!((a.sets().len(), set.ttl, tree.len()), (1, 100, 3));
    assert_eq!(set.rdatas().collect::<Vec<_>>(), [&[192, 0, 2, 1][..], &[192, 0, 2, 2]]);
}

#[test]
fn glue_below_a_cut_is_reached_by_its_node_only() {
    let tree = tree("ex.", "sub NS ns.sub\nns.sub A 192.0.2.1");
    let glue = name("ns.sub.ex.");
    assert_eq!(said(tree.find(glue.as_wire())), "delegation sub.ex.");
    assert!(tree.node(glue.as_wire()).unwrap().set(Type::A).is_some());
    assert!(tree.node(name("ns.other.").as_wire()).is_none());
}

#[test]
fn records_outside_of_the_apex_are_left_out() {
    let records = testing::records(".", "a.ex A 192.0.2.1\nother A 192.0.2.2");
    assert_eq!(Tree::build(name("ex."), &records).len(), 2);
}
