use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::zone::SourceFile;
use crate::zone::file::{self, Include, NotIncluded};

const HEAD: &str = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 2w 5m\n@ NS ns1\nns1 A 203.0.113.53\n";

fn zone(text: &str) -> Zone {
    let source = SourceFile { path: "z".into(), text: text.as_bytes().into() };
    let mut load = |_: Include<'_>| Err(NotIncluded("no".to_owned()));
    let parsed = file::read(Name::parse_absolute("example.com").unwrap(), source, &mut load);
    parsed.zone.unwrap_or_else(|| panic!("{:?}\n{text}", parsed.problems))
}

/// Owner, type and data of each record.
type Content = BTreeSet<(String, Type, Vec<u8>)>;

fn content<'r>(records: impl Iterator<Item = (&'r Record, &'r [u8])>) -> Content {
    records.map(|(record, rdata)| (record.owner.to_string(), record.rtype, rdata.to_vec())).collect()
}

fn all(zone: &Zone) -> Content {
    content(zone.records.iter().map(|record| (record, &*record.rdata)))
}

/// The content of both views of the merged text.
fn views(text: &str) -> (Content, Content) {
    let zone = Arc::new(zone(text));
    let division = Division::default().again(&[Arc::clone(&zone)], &Rules::default());
    let divided = &division.parts()[0].divided;
    let shown =
        |selection: &Selection| content(selection.records(&zone).map(|seen| (seen.record, seen.rdata)));
    (divided.public.as_ref().map(shown).unwrap_or_default(), shown(&divided.internal))
}

fn merged(outside: &str, inside: &str) -> Merged {
    merge(&zone(&format!("{HEAD}{outside}")), &zone(&format!("{HEAD}{inside}")), &Rules::default())
}

/// The lines behind the head, with single blanks.
fn check(outside: &str, inside: &str, expected: &[&str]) {
    let merged = merged(outside, inside);
    let lines = merged.text.lines().filter(|line| !line.starts_with('$') && !line.contains("ns1"));
    let lines: Vec<String> =
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, expected);
    let (public, internal) = views(&merged.text);
    assert_eq!(public, all(&zone(&format!("{HEAD}{outside}"))), "outside\n{}", merged.text);
    assert_eq!(internal, all(&zone(&format!("{HEAD}{inside}"))), "inside\n{}", merged.text);
    assert_eq!(merged.open, [] as [String; 0]);
}

#[test]
fn what_both_have_stands_once_and_addresses_need_no_mark() {
    check(
        "www A 203.0.113.1\n@ TXT \"x\"\n",
        "www A 10.0.0.1\n@ TXT \"x\"\ndb A 10.0.0.2\n",
        &[
            "@ 3600 IN TXT \"x\"",
            "db 3600 IN A 10.0.0.2",
            "www 3600 IN A 203.0.113.1",
            "www 3600 IN A 10.0.0.1",
        ],
    );
}

#[test]
fn what_an_address_does_not_tell_apart_is_marked() {
    check(
        "@ TXT \"v=spf1 mx -all\"\n@ MX 10 mx.example.net.\n",
        "@ TXT \"v=spf1 a -all\"\n@ MX 10 mx.example.org.\npartner A 198.51.100.200\n",
        &[
            "@ 3600 IN MX 10 mx.example.net. ; verge: outside",
            "@ 3600 IN MX 10 mx.example.org. ; verge: internal",
            "@ 3600 IN TXT \"v=spf1 mx -all\" ; verge: outside",
            "@ 3600 IN TXT \"v=spf1 a -all\" ; verge: internal",
            "partner 3600 IN A 198.51.100.200 ; verge: internal",
        ],
    );
}

#[test]
fn an_address_of_both_stays_beside_one_of_the_inside() {
    check(
        "www A 203.0.113.1\nwww A 203.0.113.2\n",
        "www A 203.0.113.2\nwww A 10.0.0.1\n",
        &["www 3600 IN A 203.0.113.1", "www 3600 IN A 203.0.113.2 ; verge: both", "www 3600 IN A 10.0.0.1"],
    );
}

#[test]
fn a_pool_stays_one_and_says_which_members_are_internal() {
    check(
        "www A 203.0.113.1 ; verge: steer\nwww A 203.0.113.2\ndb A 203.0.113.3\n",
        "www A 203.0.113.2\nwww A 10.0.0.1 ; verge: steer\ndb A 203.0.113.3 ; verge: steer\nlan A 10.0.0.2 ; verge: steer\n",
        &[
            "db 3600 IN A 203.0.113.3 ; verge: steer",
            "lan 3600 IN A 10.0.0.2 ; verge: steer",
            "www 3600 IN A 203.0.113.1 ; verge: steer",
            "www 3600 IN A 203.0.113.2 ; verge: both",
            "www 3600 IN A 10.0.0.1 ; verge: internal steer",
        ],
    );
}

#[test]
fn a_serial_that_differs_makes_no_second_soa() {
    let with_serial = |serial: u32| zone(&HEAD.replace("hostmaster 1 ", &format!("hostmaster {serial} ")));
    let merged = merge(&with_serial(7), &with_serial(9), &Rules::default());
    assert_eq!(merged.text.matches("SOA").count(), 1);
    assert!(merged.text.contains(" 9 7200 "), "{}", merged.text);
    let other = zone(&HEAD.replace("hostmaster 1 ", "dns 1 "));
    let merged = merge(&with_serial(1), &other, &Rules::default());
    assert_eq!(merged.text.matches("SOA").count(), 2, "{}", merged.text);
}

#[test]
fn what_no_mark_can_say_is_told() {
    let merged = merged("printer A 10.0.0.9\n", "");
    assert_eq!(merged.open.len(), 1, "{merged:?}");
    assert!(merged.text.contains("; decide: this A record is to be seen outside"), "{}", merged.text);
    assert!(zone(&merged.text).records.len() > 3, "it is a zone file all the same");
}

#[test]
fn what_a_later_mark_settles_is_not_asked_of_the_author() {
    let merged = merged(
        "*.w MX 10 db\n@ A 203.0.113.1\na.db TXT \"three\"\n",
        "a.db A 203.0.113.1\na.db TXT \"three\"\n",
    );
    assert_eq!(merged.open, [""; 0], "{}", merged.text);
}

/// A line of one view's zone file; a name has an alias or other data.
fn lines(private: bool) -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["@", "www", "db", "mail", "a.db", "*.w"]);
    let public = prop::sample::select(vec!["203.0.113.1", "203.0.113.2", "198.51.100.7"]);
    let address = match private {
        true => {
            prop_oneof![public, prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "192.168.1.1"])].boxed()
        }
        false => public.boxed(),
    };
    let v6 = match private {
        true => prop::sample::select(vec!["2001:db8:1::1", "fd00::1", "fd00::2"]).boxed(),
        false => prop::sample::select(vec!["2001:db8:1::1", "2001:db8:1::2"]).boxed(),
    };
    let target = prop::sample::select(vec!["www", "db", "mail", "mx.example.net.", "gone"]);
    let text = prop::sample::select(vec!["one", "two", "three"]);
    let line = prop_oneof![
        4 => (name.clone(), address).prop_map(|(name, address)| format!("{name} A {address}")),
        2 => (name.clone(), v6).prop_map(|(name, address)| format!("{name} AAAA {address}")),
        2 => (name.clone(), text).prop_map(|(name, text)| format!("{name} TXT \"{text}\"")),
        2 => (name, target.clone()).prop_map(|(name, target)| format!("{name} MX 10 {target}")),
        1 => target.prop_map(|target| format!("alias CNAME {target}")),
    ];
    prop::collection::vec(line, 0..9).prop_map(|mut lines| {
        let mut has_alias = false;
        lines.retain(|line| !line.starts_with("alias") || !std::mem::replace(&mut has_alias, true));
        lines.sort();
        lines.dedup();
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// The merged file gives each side what its own file gave; where no mark can say that, the author is told.
    #[test]
    fn each_view_of_the_merged_file_is_the_file_it_came_from(outside in lines(false), inside in lines(true)) {
        let text = |lines: &[String]| format!("{HEAD}{}\n", lines.join("\n"));
        let (outside, inside) = (zone(&text(&outside)), zone(&text(&inside)));
        let merged = merge(&outside, &inside, &Rules::default());
        let (public, internal) = views(&merged.text);
        if merged.open.is_empty() {
            prop_assert_eq!(&public, &all(&outside), "outside\n{}", merged.text);
            prop_assert_eq!(&internal, &all(&inside), "inside\n{}", merged.text);
        } else {
            prop_assert!(public != all(&outside) || internal != all(&inside), "{:?}\n{}", merged.open, merged.text);
        }
        // Nothing that only the inside had may ever be published.
        let leaked: Vec<_> = public.difference(&all(&outside)).cloned().collect();
        prop_assert!(leaked.is_empty(), "{leaked:?}\n{}", merged.text);
    }
}
