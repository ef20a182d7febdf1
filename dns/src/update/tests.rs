use super::*;
use crate::rcode::Rcode;
use crate::transfer::Change;
use crate::view::Which;
use crate::zone::Record;
use crate::zone::order::Order;
use crate::zone::tree::testing::tree;
use crate::zone::tree::{Entry, Tree};
use crate::zone::{Mark, Marks};

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn a_pattern_is_one_name_or_that_and_all_below_it() {
    let ex = name("ex");
    for (text, owner, expected) in [
        ("_acme-challenge.*", "_acme-challenge.ex", true),
        ("_acme-challenge.*", "a.b._acme-challenge.ex", true),
        ("_acme-challenge.*", "_acme-challenge.www.ex", false),
        ("_acme-challenge.*", "x_acme-challenge.ex", false),
        ("_acme-challenge.*", "ex", false),
        ("_ACME-challenge", "_acme-challenge.ex", true),
        ("_acme-challenge", "a._acme-challenge.ex", false),
        ("_acme-challenge.www.*", "_acme-challenge.www.ex", true),
        ("@", "ex", true),
        ("@", "a.ex", false),
        ("*", "a.b.ex", true),
        ("*", "ex", true),
        ("*", "notex", false),
        ("*.dyn", "*.dyn.ex", true),
        ("*.dyn", "a.dyn.ex", false),
    ] {
        assert_eq!(pattern(text).covers(&name(owner), &ex), expected, "{text} {owner}");
    }
    for text in ["", ".*", "a.", ".a", "a.*.b", "a..b", "www.@", "a.*.*"] {
        assert_eq!(Pattern::parse(text), None, "{text}");
    }
}

const ZONE: &str = "@ SOA ns h 1 2 3 4 5\n@ NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n\
    mail 60 MX 5 Www\nalias 60 CNAME www\ntext 60 TXT a\ntext 60 TXT b\nleaf.empty 60 TXT x";

fn zone() -> Tree {
    tree("ex.", ZONE)
}

/// `prereq` and `update` in the words of nsupdate, one a line.
fn request(text: &str) -> Request {
    let mut request = Request { apex: name("ex"), prerequisites: Vec::new(), updates: Vec::new() };
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, rest) = line.split_once(' ').unwrap();
        let words: Vec<&str> = rest.splitn(4, ' ').collect();
        let owner = Name::parse(words[0], Some(&name("ex"))).unwrap();
        let rtype: Type = words.get(1).map_or(Type::ANY, |text| text.parse().unwrap());
        let ttl = words.get(2).map_or(0, |text| text.parse().unwrap());
        let rdata: SmallBytes = words.get(3).map_or_else(
            || [].into(),
            |text| crate::zone::text::read_rdata(rtype, text, &name("ex")).unwrap().into(),
        );
        let class = match (verb, words.len()) {
            ("nx", _) | ("delete", 4) => 254,
            ("yx", 4) | ("add", _) => 1,
            _ => 255,
        };
        let ttl = if matches!(verb, "add") { ttl } else { 0 };
        let item = Item { owner, rtype, class, ttl, rdata };
        match verb {
            "yx" | "nx" => request.prerequisites.push(item),
            _ => request.updates.push(item),
        }
    }
    request
}

fn shown(records: &[Record]) -> String {
    let one = |record: &Record| {
        let mut line = String::new();
        crate::zone::text::write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut line)
            .unwrap();
        line.replace(".ex.", "").replace(" IN", "").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut all: Vec<String> = records.iter().map(one).collect();
    all.sort();
    all.join("; ")
}

fn everything() -> [Policy; 1] {
    let types = [Type::A, Type::TXT, Type::CNAME, Type::MX, Type::NS, Type::SOA].to_vec();
    [Policy { zones: Vec::new(), keys: vec![name("k")], names: vec![pattern("*")], types, publish: false }]
}

fn outcome(policies: &[Policy], text: &str) -> Result<String, Rcode> {
    let rights = Rights::of(policies, &name("ex"), &name("k")).unwrap();
    evaluate(&request(text), &zone(), &rights)
        .map(|Change { gone, come }| format!("-[{}] +[{}]", shown(&gone), shown(&come)))
}

#[test]
fn prerequisites_are_judged_before_anything_is_done() {
    let done = Ok("-[] +[new 60 A 192.0.2.9]".to_owned());
    for (text, expected) in [
        ("yx www", Ok(())),
        ("yx nope", Err(Rcode::NxDomain)),
        ("yx empty", Err(Rcode::NxDomain)),
        ("nx nope", Ok(())),
        ("nx www", Err(Rcode::YxDomain)),
        ("yx www A", Ok(())),
        ("yx www TXT", Err(Rcode::NxRrset)),
        ("nx www TXT", Ok(())),
        ("nx www A", Err(Rcode::YxRrset)),
        ("yx www A 0 192.0.2.1\nyx www A 0 192.0.2.2", Ok(())),
        ("yx www A 0 192.0.2.1", Err(Rcode::NxRrset)),
        ("yx mail MX 0 5 wWW", Ok(())),
        ("yx text TXT 0 A\nyx text TXT 0 b", Err(Rcode::NxRrset)),
        ("yx a.other. A", Err(Rcode::NotZone)),
    ] {
        let got = outcome(&everything(), &format!("{text}\nadd new A 60 192.0.2.9"));
        assert_eq!(got, expected.and_then(|()| done.clone()), "{text}");
    }
}

#[test]
fn a_view_that_withholds_an_rrset_judges_no_update() {
    let records = crate::zone::tree::testing::records("ex.", ZONE);
    let order = Order::of(&name("ex"), &records, |record| (&record.owner, record.rtype));
    let withholding = |is_withheld: bool| {
        Tree::build_withholding(name("ex"), &order, |index| {
            let record = &records[index as usize];
            match is_withheld && record.rtype == Type::MX {
                true => Entry::Withheld(record.into()),
                false => Entry::Shown(record.into()),
            }
        })
    };
    let policies = everything();
    let rights = Rights::of(&policies, &name("ex"), &name("k")).unwrap();
    let judged =
        |is_withheld| evaluate(&request("add new A 60 192.0.2.9"), &withholding(is_withheld), &rights);
    assert!(judged(false).is_ok());
    assert_eq!(judged(true).map(|_| ()), Err(Rcode::ServFail));
}

#[test]
fn updates_add_and_delete_as_rfc_2136_says() {
    for (text, expected) in [
        ("add www A 60 192.0.2.1", "-[] +[]"),
        (
            "add www A 90 192.0.2.3",
            "-[www 60 A 192.0.2.1; www 60 A 192.0.2.2] +[www 90 A 192.0.2.1; www 90 A 192.0.2.2; www 90 A 192.0.2.3]",
        ),
        ("delete www A", "-[www 60 A 192.0.2.1; www 60 A 192.0.2.2] +[]"),
        ("delete www", "-[www 60 A 192.0.2.1; www 60 A 192.0.2.2] +[]"),
        ("delete www A 0 192.0.2.1", "-[www 60 A 192.0.2.1] +[]"),
        ("delete www A 0 192.0.2.77", "-[] +[]"),
        ("delete www A\nadd www A 60 192.0.2.1", "-[www 60 A 192.0.2.2] +[]"),
        ("add x TXT 60 a\ndelete x TXT 0 a", "-[] +[]"),
        ("add www CNAME 60 a", "-[] +[]"),
        ("add alias A 60 192.0.2.1", "-[] +[]"),
        ("add alias CNAME 60 other", "-[alias 60 CNAME www] +[alias 60 CNAME other]"),
        ("delete alias\nadd alias A 60 192.0.2.1", "-[alias 60 CNAME www] +[alias 60 A 192.0.2.1]"),
        ("delete ex. NS", "-[] +[]"),
        ("delete ex. NS 0 ns", "-[] +[]"),
        ("delete ex.", "-[] +[]"),
        ("add ex. SOA 60 a b 9 9 9 9 9", "-[] +[]"),
    ] {
        assert_eq!(outcome(&everything(), text), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_not_named_by_a_policy_is_refused_and_all_with_it() {
    let acme = [Policy {
        zones: vec![name("ex")],
        keys: vec![name("k")],
        names: vec![pattern("_acme-challenge.*"), pattern("text")],
        types: vec![Type::TXT],
        publish: false,
    }];
    let good = "add _acme-challenge TXT 60 token";
    assert!(outcome(&acme, good).is_ok());
    for text in [
        "add www TXT 60 x",
        "add _acme-challenge A 60 192.0.2.1",
        "add _acme-challenge.www TXT 60 x",
        "delete www A",
        "delete www",
        "delete ex.",
        "add ex. TXT 60 x",
    ] {
        assert_eq!(outcome(&acme, &format!("{good}\n{text}")), Err(Rcode::Refused), "{text}");
    }
    assert_eq!(outcome(&acme, "delete text"), Ok("-[text 60 TXT \"a\"; text 60 TXT \"b\"] +[]".into()));
    assert_eq!(outcome(&acme, "add a.other. TXT 60 x"), Err(Rcode::NotZone));
    for (zone, key, expected) in [("ex", "k", true), ("ex", "other", false), ("sub.ex", "k", false)] {
        assert_eq!(Rights::of(&acme, &name(zone), &name(key)).is_some(), expected, "{zone} {key}");
    }
}

#[test]
fn what_has_no_form_is_a_form_error() {
    let item = |class, rtype, ttl, rdata: &[u8]| Item {
        owner: name("x.ex"),
        rtype,
        class,
        ttl,
        rdata: rdata.into(),
    };
    let policies = everything();
    let rights = Rights::of(&policies, &name("ex"), &name("k")).unwrap();
    for bad in [
        item(1, Type::A, 60, &[1, 2, 3]),
        item(1, Type::ANY, 60, &[]),
        item(1, Type::A, u32::MAX, &[1, 2, 3, 4]),
        item(3, Type::A, 60, &[1, 2, 3, 4]),
        item(255, Type::A, 1, &[]),
        item(255, Type::A, 0, &[1]),
        item(254, Type::A, 9, &[1, 2, 3, 4]),
        item(254, Type::ANY, 0, &[]),
        item(255, Type::AXFR, 0, &[]),
    ] {
        let request = Request { apex: name("ex"), prerequisites: Vec::new(), updates: vec![bad.clone()] };
        assert_eq!(evaluate(&request, &zone(), &rights), Err(Rcode::FormErr), "{bad:?}");
    }
}

#[test]
fn the_file_stays_its_authors_and_the_overlay_does_not_grow_by_what_comes_and_goes() {
    let text =
        |owner: &str, byte: u8| crate::transfer::record(name(owner), Type::A, 60, [192, 0, 2, byte].into());
    let file = vec![text("a.ex", 1), text("b.ex", 2)];
    let mut overlay = Overlay::default();
    let mut go = |gone: &[Record], come: &[Record]| {
        let change = Change { gone: gone.to_vec(), come: come.to_vec() };
        let there = There::of(&change, &overlay.over(file.clone(), 1), |record| record.at.file == 0);
        let steps = overlay.steps(&change, &there, OUTER, |_| false);
        steps.into_iter().for_each(|step| overlay.take(step));
        (shown(&overlay.over(file.clone(), 1)), overlay.len())
    };
    assert_eq!(
        go(&[], &[text("c.ex", 3)]),
        ("a 60 A 192.0.2.1; b 60 A 192.0.2.2; c 60 A 192.0.2.3".into(), 1)
    );
    assert_eq!(go(&[text("c.ex", 3)], &[]), ("a 60 A 192.0.2.1; b 60 A 192.0.2.2".into(), 0));
    assert_eq!(go(&[text("a.ex", 1)], &[text("a.ex", 9)]), ("a 60 A 192.0.2.9; b 60 A 192.0.2.2".into(), 2));
    assert_eq!(go(&[text("a.ex", 9)], &[text("a.ex", 1)]), ("a 60 A 192.0.2.1; b 60 A 192.0.2.2".into(), 0));
}

const OUTER: Author = Author { view: Which::Public, is_alone: false };
const INNER: Author = Author { view: Which::Internal, is_alone: false };

/// Records, one a line, each with marks behind it as in a zone file.
fn marked(text: &str) -> Vec<Record> {
    let one = |line: &str| {
        let (text, marks) = line.split_once(" ; ").unwrap_or((line, ""));
        let mark = Mark::ALL.into_iter().find(|mark| marks.contains(mark.as_str()));
        let record = crate::zone::tree::testing::records("ex.", text).remove(0);
        Record { mark, steer: marks.contains("steer"), ..record }
    };
    text.lines().filter(|line| !line.is_empty()).map(one).collect()
}

fn with_marks(records: &[Record]) -> String {
    let one = |record: &Record| {
        let Marks { seen_by, steer } = record.marks();
        let words = [seen_by.map_or("", Mark::as_str), if steer { "steer" } else { "" }].concat();
        if words.is_empty() {
            shown(std::slice::from_ref(record))
        } else {
            format!("{} ({words})", shown(std::slice::from_ref(record)))
        }
    };
    let mut all: Vec<String> = records.iter().map(one).collect();
    all.sort();
    all.join("; ")
}

/// Each change is one author's: what goes, and what comes.
fn after(file: &str, changes: &[(Author, &str, &str)]) -> String {
    let file = marked(file);
    let mut overlay = Overlay::default();
    for (author, gone, come) in changes {
        let change = Change { gone: marked(gone), come: marked(come) };
        let there = There::of(&change, &overlay.over(file.clone(), 1), |record| record.at.file == 0);
        let steps = overlay.steps(&change, &there, *author, |_| false);
        steps.into_iter().for_each(|step| overlay.take(step));
    }
    with_marks(&overlay.over(file, 1))
}

#[test]
fn a_ttl_that_changes_takes_no_record_away_and_no_mark() {
    let file = "www 60 A 192.0.2.1\nwww 60 A 192.0.2.2";
    let change = (
        OUTER,
        "www 60 A 192.0.2.1\nwww 60 A 192.0.2.2",
        "www 90 A 192.0.2.1\nwww 90 A 192.0.2.2\nwww 90 A 192.0.2.3",
    );
    let expected = "www 90 A 192.0.2.1; www 90 A 192.0.2.2; www 90 A 192.0.2.3";
    assert_eq!(after(file, &[change]), expected);
    let back = (
        OUTER,
        "www 90 A 192.0.2.1\nwww 90 A 192.0.2.2\nwww 90 A 192.0.2.3",
        "www 60 A 192.0.2.1\nwww 60 A 192.0.2.2",
    );
    assert_eq!(after(file, &[change, back]), "www 60 A 192.0.2.1; www 60 A 192.0.2.2");
    for mark in ["internal", "outside", "public", "both", "steer", "internal steer"] {
        let file = format!("a 60 A 192.0.2.1 ; {mark}");
        let shown = format!("a 90 A 192.0.2.1 ({})", mark.replace(' ', ""));
        for author in [INNER, OUTER] {
            assert_eq!(
                after(&file, &[(author, "a 60 A 192.0.2.1", "a 90 A 192.0.2.1")]),
                shown,
                "{author:?}"
            );
        }
    }
}

#[test]
fn an_added_record_has_the_marks_of_the_one_in_the_file_whose_place_it_takes() {
    let of = |text: &str| marked(text).into_iter().collect();
    let overlay = Overlay { added: of("a 90 A 192.0.2.1"), hidden: of("a 60 A 192.0.2.1") };
    for mark in ["internal", "public", "steer", "internal steer"] {
        let file = marked(&format!("a 60 A 192.0.2.1 ; {mark}"));
        let shown = format!("a 90 A 192.0.2.1 ({})", mark.replace(' ', ""));
        assert_eq!(with_marks(&overlay.over(file, 1)), shown);
    }
}

#[test]
fn a_pool_outlasts_the_record_that_has_its_mark() {
    let file = "www 60 A 192.0.2.10 ; steer\nwww 60 A 192.0.2.11\nother 60 A 192.0.2.1";
    let (all, ten) = ("www 60 A 192.0.2.10\nwww 60 A 192.0.2.11", "www 60 A 192.0.2.10");
    let new = "www 60 A 192.0.2.12\nwww 60 AAAA 2001:db8::12\nwww 60 TXT x\nother 60 A 192.0.2.2";
    let rest = "other 60 A 192.0.2.1; other 60 A 192.0.2.2";
    let added = "www 60 A 192.0.2.12 (steer); www 60 AAAA 2001:db8::12 (steer); www 60 TXT \"x\"";
    for (changes, expected) in [
        // In one update, and in two.
        (&[(OUTER, all, new)][..], format!("{rest}; {added}")),
        (
            &[(OUTER, all, ""), (OUTER, "", new)],
            format!("{rest}; {}", added.replacen(" (steer); www 60 TXT", "; www 60 TXT", 1)),
        ),
        // The record beside it has it now, also after more updates.
        (&[(OUTER, ten, "")], "other 60 A 192.0.2.1; www 60 A 192.0.2.11 (steer)".to_owned()),
        (
            &[
                (OUTER, ten, ""),
                (OUTER, "www 60 A 192.0.2.11", "www 60 A 192.0.2.13"),
                (OUTER, "www 60 A 192.0.2.13", "www 60 A 192.0.2.14"),
            ],
            "other 60 A 192.0.2.1; www 60 A 192.0.2.14 (steer)".to_owned(),
        ),
        (
            &[(INNER, ten, "www 60 A 192.0.2.13")],
            "other 60 A 192.0.2.1; www 60 A 192.0.2.11; www 60 A 192.0.2.13 (internalsteer)".to_owned(),
        ),
        (&[(OUTER, all, "www 60 TXT x")], "other 60 A 192.0.2.1; www 60 TXT \"x\"".to_owned()),
    ] {
        assert_eq!(after(file, changes), expected, "{changes:?}");
    }
    // A name that the file no longer marks has the mark of what was added while it did.
    let overlay =
        Overlay { added: marked("www 60 A 192.0.2.12 ; steer").into_iter().collect(), ..Overlay::default() };
    assert_eq!(with_marks(&overlay.over(Vec::new(), 1)), "www 60 A 192.0.2.12 (steer)");
    let file = marked("www 60 A 192.0.2.11");
    let change = Change { gone: marked("www 60 A 192.0.2.12"), come: Vec::new() };
    let there = There::of(&change, &overlay.over(file.clone(), 1), |record| record.at.file == 0);
    assert_eq!(there.unmarked_in(&overlay.over(file.clone(), 1)), []);
    assert_eq!(there.unmarked_in(&file), [name("www.ex.")], "the log tells of it");
}

#[test]
fn a_record_whose_own_ttl_is_another_is_the_same() {
    let file = "www 60 A 192.0.2.1\nwww 90 A 192.0.2.2";
    let both = "www 60 A 192.0.2.1\nwww 60 A 192.0.2.2";
    assert_eq!(after(file, &[(OUTER, both, "")]), "");
    assert_eq!(after(file, &[(OUTER, both, ""), (OUTER, "", "www 60 A 192.0.2.2")]), "www 60 A 192.0.2.2");
    // Its author gives it another TTL once it is taken out.
    let hidden = Overlay { hidden: marked("www 60 A 192.0.2.2").into_iter().collect(), ..Overlay::default() };
    assert_eq!(with_marks(&hidden.over(marked(file), 1)), "www 60 A 192.0.2.1");
}

#[test]
fn what_the_inside_adds_is_for_the_inside_unless_its_policy_publishes_it() {
    assert_eq!(after("", &[(INNER, "", "a 60 A 192.0.2.1")]), "a 60 A 192.0.2.1 (internal)");
    assert_eq!(after("", &[(OUTER, "", "a 60 A 192.0.2.1")]), "a 60 A 192.0.2.1");
    let file = "a 60 A 192.0.2.1 ; internal";
    for ttl in [60, 90] {
        let gone = (INNER, "a 60 A 192.0.2.1", "");
        let again = format!("a {ttl} A 192.0.2.1");
        assert_eq!(after(file, &[gone, (INNER, "", &again)]), format!("{again} (internal)"));
    }
    let change = Change { gone: vec![], come: marked("a 60 A 192.0.2.1") };
    let steps = Overlay::default().steps(&change, &There::default(), INNER, |_| true);
    assert_eq!(steps, [Step::Add(change.come[0].clone())]);
}

#[test]
fn each_side_adds_and_deletes_for_itself_what_only_the_other_sees() {
    for (mine, theirs, author, other) in
        [("outside", "internal", OUTER, INNER), ("internal", "outside", INNER, OUTER)]
    {
        let file = format!("a 60 A 192.0.2.1 ; {theirs}");
        let add = (author, "", "a 60 A 192.0.2.1");
        assert_eq!(after(&file, &[add]), "a 60 A 192.0.2.1", "both have it");
        let gone = "a 60 A 192.0.2.1";
        assert_eq!(after(&file, &[add, (author, gone, "")]), format!("{gone} ({theirs})"));
        assert_eq!(after(&file, &[add, (other, gone, "")]), format!("{gone} ({mine})"));
        assert_eq!(after(&file, &[add, (author, gone, "a 90 A 192.0.2.1")]), "a 90 A 192.0.2.1");
        assert_eq!(after(&file, &[(other, gone, ""), add]), format!("{gone} ({mine})"));
        let alone = Author { is_alone: true, ..author };
        assert_eq!(after("", &[(alone, "", gone)]), format!("{gone} ({mine})"));
    }
    // A mark that its author writes later counts.
    let overlay = Overlay { added: marked("a 60 A 192.0.2.1").into_iter().collect(), ..Overlay::default() };
    let file = marked("a 60 A 192.0.2.1 ; internal");
    assert_eq!(with_marks(&overlay.over(file, 1)), "a 60 A 192.0.2.1 (internal)");
}

#[test]
fn letters_are_alike_in_names_and_nowhere_else() {
    let tree = tree("ex.", "@ SOA ns h 1 2 3 4 5\n@ NS ns\nmail 60 MX 80 Www\nmail 60 MX 112 www");
    let policies = everything();
    let rights = Rights::of(&policies, &name("ex"), &name("k")).unwrap();
    for (text, expected) in [
        ("delete mail MX 0 80 WWW", "-[mail 60 MX 80 Www] +[]"),
        ("delete mail MX 0 112 WWW", "-[mail 60 MX 112 www] +[]"),
        ("add mail MX 60 112 WWW", "-[] +[]"),
        ("delete mail MX 0 48 www", "-[] +[]"),
    ] {
        let change = evaluate(&request(text), &tree, &rights).unwrap();
        assert_eq!(format!("-[{}] +[{}]", shown(&change.gone), shown(&change.come)), expected, "{text}");
    }
}
