//! `[[catalog]]`, and `[[secondary]]` that are catalogs.

use super::*;

const HEAD: &str = "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n";

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

#[test]
fn a_catalog_has_zones_groups_and_what_it_hands_over() {
    let text = r#"
[[catalog]]
zone = "catalog.invalid"
groups = { far = ["a.example", "b.example"] }
hand_over = { "other.invalid" = ["b.example"] }
"#;
    let config = read(&format!("{HEAD}{text}")).unwrap();
    let listing = Listing {
        apex: name("catalog.invalid"),
        zones: vec![],
        groups: vec![(name("a.example"), "far".to_owned()), (name("b.example"), "far".to_owned())],
        hand_over: vec![(name("b.example"), name("other.invalid"))],
    };
    assert_eq!(config.catalogs, [listing]);
}

#[test]
fn a_zone_of_a_catalog_comes_from_the_primaries_of_its_group() {
    let keys = "[keys.k]\nsecret_file = \"k\"\n[keys.in]\nsecret_file = \"k\"\nview = \"inside\"\n";
    let text = r#"
[[secondary]]
zone = "catalog.invalid"
primaries = ["192.0.2.9"]
key = "k"
catalog = true
[secondary.groups.far]
primaries = ["192.0.2.10"]
key = "in"
"#;
    let config = read(&format!("{HEAD}{keys}{text}")).unwrap();
    let [catalog] = &*config.secondaries else { panic!("{:?}", config.secondaries) };
    assert_eq!(catalog.catalog.as_ref().unwrap().most_removed, 10);
    for (groups, primary, key, view) in [
        (&[][..], "192.0.2.9:53", "k", Which::Public),
        (&["near"], "192.0.2.9:53", "k", Which::Public),
        (&["near", "far"], "192.0.2.10:53", "in", Which::Internal),
    ] {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let member =
            crate::transfer::members::Member { zone: name("a.example"), id: [1].into(), groups, next: None };
        let taken = catalog.member(&member);
        assert_eq!(taken.primaries, [Primary::Tcp(primary.parse().unwrap())]);
        assert_eq!(
            (taken.key, taken.view, taken.member_of),
            (Some(name(key)), view, Some(name("catalog.invalid")))
        );
    }
}

#[test]
fn a_catalog_that_cannot_work_is_refused() {
    for (text, (line, column), message, help) in [
        (
            "[[catalog]]\nzone = \"c.invalid\"\n[[catalog]]\nzone = \"c.invalid\"",
            (4, 8),
            "the catalog c.invalid. is in two [[catalog]]",
            "write one",
        ),
        (
            "[[catalog]]\nzone = \"c.invalid\"\n[[secondary]]\nzone = \"c.invalid\"\nprimaries = [\"192.0.2.1\"]",
            (2, 8),
            "c.invalid. is taken from others",
            "another name",
        ),
        (
            "[[catalog]]\nzone = \"c.invalid\"\nhand_over = { \"a..b\" = [\"x.example\"] }",
            (2, 8),
            "`a..b` in hand_over is not the name of a catalog",
            "other.catalog",
        ),
        (
            "[[catalog]]\nzone = \"c.invalid\"\nhand_over = { \"a\" = [\"x.example\"], \"b\" = [\"x.example\"] }",
            (3, 43),
            "x.example. is handed over twice",
            "name one",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"192.0.2.1\"]\nmost_removed = 3",
            (4, 16),
            "`most_removed` is about the zones that a catalog names",
            "catalog = true",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"192.0.2.1\"]\ncatalog = true\n[secondary.groups.g]\nprimaries = []",
            (5, 1),
            "nobody is named from whom to take a.example.",
            "primaries",
        ),
    ] {
        refused(&format!("{HEAD}{text}"), (line + 2, column), message, help);
    }
}
