mod cases;

use super::*;
use crate::zone::file::{self, Include, NotIncluded};
use crate::zone::{Mark, SourceFile};

pub(super) fn zone_of(apex: &str, text: &str) -> Zone {
    let source = SourceFile { path: "z".into(), text: text.as_bytes().into() };
    let mut load = |_: Include<'_>| Err(NotIncluded("no".to_owned()));
    let parsed = file::read(Name::parse_absolute(apex).unwrap(), source, &mut load);
    parsed.zone.unwrap_or_else(|| panic!("{:?}", parsed.problems))
}

/// 10/8 and fd00::/8 are hidden; names under .internal are internal.
fn context() -> Context<'static> {
    Context {
        hidden_address: &|address| match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xfd,
        },
        internal_name: &|name| name.labels().last() == Some(b"internal"),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| {
            let line = problem.at.map_or("-".to_owned(), |at| at.line.to_string());
            format!("{line} {}[{}] {}\n", problem.severity, problem.code, problem.message)
        })
        .collect()
}

const HEAD: &str = "$TTL 1h\n@ SOA ns.x. h 1 2h 1h 1w 5m\n@ NS ns.x.\n";

/// Asserts the problems of example.com; the text begins in line 4, after an SOA and an NS without fault.
fn check_zone(text: &str, expected: &[&str]) {
    let zone = zone_of("example.com", &format!("{HEAD}{text}"));
    let found = lines(&check(&zone, &Tree::of(&zone), context()));
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    let present = lines(&partial(&zone, &Tree::of(&zone), context()));
    assert!(present.lines().all(|line| found.contains(line)), "{present}");
}

#[test]
fn a_sound_zone_is_silent() {
    check_zone(
        "www A 192.0.2.1\n* TXT a\na CNAME www\nb CNAME x.y.\nm MX 10 www\nm MX 0 .\nd DNAME www\nw CNAME q.r\nc NS ns.c\nc DS 1 8 250 00\nns.c A 192.0.2.1\n",
        &[],
    );
}

#[test]
fn a_zone_has_one_soa_and_servers() {
    let zone = zone_of("example.com", "$TTL 1h\nwww A 192.0.2.1\n");
    assert_eq!(
        lines(&check(&zone, &Tree::of(&zone), context())),
        "- error[no-soa] the zone example.com. has no SOA record\n- error[no-ns] the zone example.com. has no NS record at its apex\n"
    );
    assert_eq!(lines(&partial(&zone, &Tree::of(&zone), context())), "");
    check_zone(
        "@ SOA ns.x. h 2 2h 1h 1w 5m\n",
        &["4 error[several-soa] the zone has a second SOA record; the first stands in line 2"],
    );
}

#[test]
fn targets_in_the_zone_must_exist_and_have_addresses() {
    check_zone(
        "a MX 10 gone\nb CNAME gone\nc MX 10 alias\nalias CNAME x.y.\nd SRV 0 0 1 text\ntext TXT a\n@ NS ns\nns AAAA 2001:db8::1\ne NS ns.text\nf HTTPS 0 gone\nns.text TXT a\n",
        &[
            "4 warning[missing-target] gone.example.com. does not exist in this zone",
            "5 warning[missing-target] gone.example.com. does not exist in this zone",
            "6 warning[target-is-alias] MX points to alias.example.com., which is an alias",
            "8 warning[target-without-address] SRV points to text.example.com., which has no address",
            "12 warning[missing-glue] NS points to ns.text.example.com., which has no address",
            "13 warning[missing-target] gone.example.com. does not exist in this zone",
        ],
    );
}

#[test]
fn a_cut_needs_glue_for_servers_below_it() {
    check_zone(
        "a NS ns.a\nb NS ns.a\nc NS ns.c\nns.c A 192.0.2.1\n",
        &[
            "4 warning[missing-glue] the name server ns.a.example.com. is below its own delegation, but has no address here",
        ],
    );
}

#[test]
fn data_below_a_cut_is_hidden_by_it() {
    check_zone(
        "c NS ns.x.\nc TXT a\nwww.c A 192.0.2.1\nwww.c MX 0 .\nd.c NS ns.x.\n*.w NS ns.x.\n",
        &[
            "5 warning[occluded] nobody is ever given this TXT record: c.example.com. is delegated",
            "7 warning[occluded] nobody is ever given this MX record: c.example.com. is delegated",
            "8 warning[occluded] nobody is ever given this NS record: c.example.com. is delegated",
            "9 warning[wildcard-ns] *.w.example.com. delegates by a wildcard, which has no defined meaning",
        ],
    );
}

#[test]
fn names_that_miss_their_final_dot_are_told() {
    check_zone(
        "www.example.com A 192.0.2.1\na CNAME www.example.com\nb MX 10 ns1.provider.net\nc NS 192.0.2.1\nd MX 10 192.0.2.1.\nm\\195\\188 A 192.0.2.1\n",
        &[
            "4 warning[missing-dot] www.example.com.example.com. has the name of the zone twice",
            "5 warning[missing-dot] www.example.com.example.com. has the name of the zone twice",
            "6 warning[missing-dot] ns1.provider.net.example.com. has the name of another domain before that of the zone",
            "6 warning[missing-target] ns1.provider.net.example.com. does not exist in this zone",
            "7 warning[address-as-name] the address 192.0.2.1 stands where a name belongs, and is read as 192.0.2.1.example.com.",
            "8 warning[address-as-name] the address 192.0.2.1 stands where a name belongs, and is read as 192.0.2.1.",
            "9 warning[not-ascii] m\\195\\188.example.com. is not ASCII; no browser or mail server will ask for it like this",
        ],
    );
}

#[test]
fn odd_times_are_told_once_per_kind() {
    check_zone(
        "a 0 A 192.0.2.1\nb 0 A 192.0.2.1\nc 2w A 192.0.2.1\nd 1d A 192.0.2.1\nd TXT a\nd 2d A 192.0.2.2\n",
        &[
            "4 warning[ttl-zero] the record and 1 more have a TTL of 0",
            "6 warning[ttl-long] the record has a TTL of more than a week",
            "9 warning[ttl-differs] the TTL is 172800, but 86400 in line 7 for the same name and type",
        ],
    );
    let zone = zone_of("x", "@ 1h SOA . . 1 2h 1h 2h 2d\n@ 1h NS ns.y.\n");
    assert_eq!(
        lines(&check(&zone, &Tree::of(&zone), context())),
        "1 warning[soa-timers] EXPIRE (7200) is less than REFRESH and RETRY together (7200 + 3600)\n1 warning[soa-timers] MINIMUM (172800) keeps negative answers in caches for more than a day\n"
    );
}

#[test]
fn unwise_types_and_values_are_told() {
    check_zone(
        "a SPF \"v=spf1 -all\"\n@ NSEC3PARAM 1 0 5 -\n@ DNSKEY 256 3 8 AAEAAQ==\n@ DNSKEY 256 3 8 AQAAAQ==\nb HTTPS 0 x.y. port=1\n@ DNSKEY 256 3 8 AQABAQ==\nc WKS 192.0.2.1 6 25\n",
        &[
            "4 warning[spf-type] the type SPF is obsolete; mail servers read TXT only",
            "5 warning[nsec3-iterations] NSEC3 with 5 extra iterations",
            "8 warning[alias-with-parameters] parameters have no effect where the priority is 0 (AliasMode)",
            "10 warning[obsolete-type] the type WKS is obsolete",
        ],
    );
    check_zone(
        "@ DNSKEY 256 3 8 AAEAAg==\n@ DNSKEY 256 3 8 AAIAAQ==\n",
        &["5 warning[key-tag-collision] the key has the tag 1035, as that in line 4"],
    );
}

#[test]
fn alias_loops_are_told_once() {
    check_zone(
        "a CNAME b\nb CNAME c\nc CNAME b\nd CNAME d\ne CNAME a\n",
        &[
            "5 warning[cname-loop] following b.example.com. leads back to b.example.com.",
            "7 warning[cname-loop] following d.example.com. leads back to d.example.com.",
        ],
    );
}

fn check_view(text: &str, expected: &[&str]) {
    let zone = zone_of("example.com", &format!("{HEAD}{text}"));
    assert_eq!(lines(&view(&zone, |_| true)).lines().collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn an_alias_stands_alone_in_its_view() {
    check_view(
        "www CNAME x.y.\nwww A 192.0.2.1\nwww NSEC x. CNAME\nwww CNAME z.\n@ CNAME x.y.\n",
        &[
            "2 error[cname-and-other-data] example.com. has a CNAME in line 8, so it must not have other data such as this SOA",
            "3 error[cname-and-other-data] example.com. has a CNAME in line 8, so it must not have other data such as this NS",
            "5 error[cname-and-other-data] www.example.com. has a CNAME in line 4, so it must not have other data such as this A",
            "7 error[several-cnames] www.example.com. has a second CNAME; the first stands in line 4",
        ],
    );
    let zone = zone_of("example.com", &format!("{HEAD}www CNAME x.y.\nwww A 10.0.0.5 ; verge: internal\n"));
    let public = |index: u32| zone.record(index).mark != Some(Mark::Internal);
    assert_eq!(view(&zone, public), [], "a split name is sound in each view");
}

#[test]
fn one_dname_and_nothing_below_it() {
    check_view(
        "d DNAME x.\nd DNAME y.\nd A 192.0.2.1\na.d A 192.0.2.1\nad A 192.0.2.1\n",
        &[
            "5 error[several-dnames] d.example.com. has a second DNAME; the first stands in line 4",
            "7 error[below-dname] nobody is ever given a.d.example.com.: d.example.com. has a DNAME",
        ],
    );
}

fn check_cycles(zones: &[(&str, &str)], expected: &[&str]) {
    let zones: Vec<Zone> =
        zones.iter().map(|(apex, text)| zone_of(apex, &format!("$TTL 1h\n{text}"))).collect();
    let found: Vec<String> = cycles(&zones.iter().collect::<Vec<_>>())
        .iter()
        .map(|across| {
            format!("{} {}", zones[across.zone].apex, lines(std::slice::from_ref(&across.problem)).trim_end())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn delegations_that_depend_on_each_other_are_told() {
    let cycle = "warning[ns-cycle] no name server of";
    check_cycles(
        &[("cat", "@ NS ns.dog.\n@ NS ns2.dog.\n"), ("dog", "@ NS ns.cat.\nns A 192.0.2.1\n")],
        &[
            &format!("cat. 2 {cycle} cat. can be found: their names depend on each other (dog. comes first)"),
            &format!("dog. 2 {cycle} dog. can be found: their names depend on each other (cat. comes first)"),
        ],
    );
    check_cycles(&[("cat", "@ NS ns.dog.\n@ NS ns.cat.\n"), ("dog", "@ NS ns.cat.\n")], &[]);
    check_cycles(&[("cat", "@ NS ns.dog.\n"), ("dog", "@ NS ns.far.away.\n")], &[]);
    check_cycles(
        &[("org", "@ NS ns.x.\na NS ns.b\nb NS ns.a\nc NS ns.d\nd NS ns.d\nns.d A 192.0.2.1\ne NS ns.e\n")],
        &[
            &format!(
                "org. 3 {cycle} a.org. can be found: their names depend on each other (b.org. comes first)"
            ),
            &format!(
                "org. 4 {cycle} b.org. can be found: their names depend on each other (a.org. comes first)"
            ),
            &format!(
                "org. 8 {cycle} e.org. can be found: their names depend on each other (e.org. comes first)"
            ),
        ],
    );
}

fn check_serial(old: (u32, &str), new: (u32, &str), expected: Option<&str>) {
    let zone =
        |(serial, text): (u32, &str)| zone_of("x", &format!("$TTL 1\n@ SOA . . {serial} 1 1 9 1\n{text}"));
    let found = serial(&zone(old), &zone(new)).map(|problem| problem.message);
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn a_change_needs_a_later_serial() {
    let (a, b) = ("a A 192.0.2.1\nb A 192.0.2.1\n", "b A 192.0.2.1\na A 192.0.2.1\n");
    check_serial((1, a), (1, b), None);
    check_serial((1, a), (2, ""), None);
    check_serial((1, a), (1, ""), Some("the zone has changed, but its serial is still 1"));
    check_serial((2, a), (1, ""), Some("the serial went back from 2 to 1"));
    check_serial((u32::MAX, a), (0, ""), None);
}

#[test]
fn problems_are_capped_but_no_error_is_left_out() {
    let mut text = String::from(HEAD);
    for index in 0..1_500 {
        text += &format!("a{index} CNAME gone\n");
    }
    let zone = zone_of("example.com", &(text + "@ SOA ns.x. h 2 2h 1h 1w 5m\n"));
    let problems = check(&zone, &Tree::of(&zone), context());
    assert_eq!(problems.len(), 1_001);
    assert!(problems.iter().any(|problem| problem.code == "several-soa"));
    assert_eq!(problems[1_000].message, "501 more problems are not shown");
    // Errors that come last take the places of warnings.
    let mut found = Found::default();
    (0..MAX_PROBLEMS).for_each(|_| found.warning(None, "a", String::new(), ""));
    (0..2).for_each(|_| found.error(None, "b", String::new(), ""));
    let problems = found.into_problems();
    assert_eq!(problems.iter().filter(|problem| problem.code == "b").count(), 2);
    assert_eq!(problems.last().unwrap().message, "2 more problems are not shown");
}
