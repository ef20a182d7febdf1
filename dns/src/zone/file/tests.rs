mod cases;

use std::collections::HashMap;
use std::fmt::Write as _;

use super::*;
use crate::zone::{Severity, text};

/// Reads `files` (the first is the zone file `example.com.zone`) without any disk.
fn parse(files: &[(&str, &[u8])]) -> Parsed {
    let known: HashMap<&str, &[u8]> = files.iter().copied().collect();
    let source = |name: &str, text: &[u8]| SourceFile { path: name.into(), text: text.into() };
    let mut load = |include: Include<'_>| match known.get(include.written) {
        Some(text) => Ok(source(include.written, text)),
        None => Err(NotIncluded("there is no such file".to_owned())),
    };
    read(Name::parse_absolute("example.com").unwrap(), source(files[0].0, files[0].1), &mut load)
}

/// Problems as `severity[code] file:line:column+width message (help)`, then the records of the zone or draft.
fn shown(parsed: &Parsed) -> String {
    let mut out = String::new();
    for problem in &parsed.problems {
        write!(out, "{}[{}]", problem.severity, problem.code).unwrap();
        if let Some(at) = problem.at {
            let file = if at.file == 0 { String::new() } else { format!("{}:", at.file) };
            write!(out, " {file}{}:{}+{}", at.line, at.column, at.width).unwrap();
        }
        write!(out, " {}", problem.message).unwrap();
        if let Some(help) = &problem.help {
            write!(out, " ({help})").unwrap();
        }
        out.push('\n');
    }
    for record in &parsed.zone.as_ref().or(parsed.draft.as_ref()).unwrap().records {
        text::write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut out).unwrap();
        if let Some(mark) = record.mark {
            write!(out, " ; verge: {}", mark.as_str()).unwrap();
        }
        out.push('\n');
    }
    out
}

fn check_files(files: &[(&str, &[u8])], expected: &str) {
    let parsed = parse(files);
    let lines = expected.lines().map(str::trim_start).filter(|line| !line.is_empty());
    let trimmed: String = lines.map(|line| line.to_owned() + "\n").collect();
    let text = String::from_utf8_lossy(files[0].1);
    assert_eq!(shown(&parsed), trimmed, "{text}");
    let has_error = parsed.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(parsed.zone.is_none(), has_error, "errors withhold the zone, warnings do not: {text}");
}

fn check(text: &str, expected: &str) {
    check_files(&[("example.com.zone", text.as_bytes())], expected);
}

#[test]
fn records_in_every_spelling() {
    check(
        "$TTL 1h\n@ IN SOA ns h 1 2 3 4 5\n 1d IN NS ns\n IN 2w NS ns.x.\nNS A 192.0.2.1\nns.example.com. 60 CLASS1 TYPE1 \\# 4 C0000202\n",
        "example.com. 3600 IN SOA ns.example.com. h.example.com. 1 2 3 4 5
         example.com. 86400 IN NS ns.example.com.
         example.com. 1209600 IN NS ns.x.
         ns.example.com. 3600 IN A 192.0.2.1
         ns.example.com. 60 IN A 192.0.2.2
        ",
    );
}

#[test]
fn parentheses_comments_and_line_ends() {
    check(
        "\u{feff}$TTL 5 ; five\r\n@\tSOA ( ns ; primary\r\n\r\n h (1 ; serial\r\n2 3\r\n) 4 5 )\r\n( a\r\n A ) 192.0.2.1\r\n\tTXT ( \"; (\" ; c )\n b )\n",
        "example.com. 5 IN SOA ns.example.com. h.example.com. 1 2 3 4 5
         a.example.com. 5 IN A 192.0.2.1
         a.example.com. 5 IN TXT \"; (\" \"b\"
        ",
    );
}

#[test]
fn origins_change_what_names_are_relative_to() {
    check(
        "$TTL 1\na A 192.0.2.1\n$ORIGIN sub\na A 192.0.2.2\n$origin .\na A 192.0.2.3\n@ A 192.0.2.4\n",
        "warning[out-of-zone] 6:1+13 a. is not in the zone example.com.; the record is left out
         warning[out-of-zone] 7:1+13 . is not in the zone example.com.; the record is left out
         a.example.com. 1 IN A 192.0.2.1
         a.sub.example.com. 1 IN A 192.0.2.2
        ",
    );
}

fn check_apex(text: &str, expected: &str, problems: &str) {
    let parsed = parse(&[("example.com.zone", text.as_bytes())]);
    let codes: Vec<&str> = parsed.problems.iter().map(|problem| problem.code).collect();
    assert_eq!((parsed.apex.to_string().as_str(), codes.join(" ").as_str()), (expected, problems), "{text}");
}

#[test]
fn a_leading_origin_names_the_zone() {
    let soa = "@ 1 SOA a. b. 1 2 3 4 5\n";
    check_apex(soa, "example.com.", "");
    check_apex(&format!("; c\n$TTL 1\n$ORIGIN example.net.\n{soa}"), "example.net.", "");
    check_apex(&format!("$ORIGIN example.net.\nexample.com. {}", &soa[2..]), "example.com.", "");
    check_apex(&format!("x 1 A 192.0.2.1\n$ORIGIN example.net.\n{soa}"), "example.com.", "soa-owner");
    check_apex(&format!("$ORIGIN example.com\n{soa}"), "example.com.", "soa-owner");
    check_apex("$ORIGIN com.\nexample 1 SOA a. b. 1 2 3 4 5\n", "example.com.", "");
    check_apex("sub 1 SOA a. b. 1 2 3 4 5\n", "example.com.", "soa-owner");
}

#[test]
fn the_origin_of_an_included_file_names_no_zone() {
    let parsed = parse(&[("example.com.zone", b"$INCLUDE inc\n"), ("inc", b"$ORIGIN example.net.\n")]);
    assert_eq!(parsed.apex.to_string(), "example.com.");
}

#[test]
fn an_soa_elsewhere_says_what_to_do() {
    check("sub 1 SOA . . 1 2 3 4 5\n",
        "error[soa-owner] 1:1+23 the SOA belongs to sub.example.com., but the zone is example.com. (write it at example.com., or name the file sub.example.com.zone, or begin it with `$ORIGIN sub.example.com.`)
        ");
    check("example.com 1 SOA . . 1 2 3 4 5\n",
        "error[soa-owner] 1:1+31 the SOA belongs to example.com.example.com., but the zone is example.com. (a final dot is missing: names without one are below the origin)
        ");
}

#[test]
fn a_ttl_is_implied_as_bind_does() {
    check("@ SOA . . 1 2 3 4 300\na A 192.0.2.1\nb 60 A 192.0.2.1\nc A 192.0.2.1\n$TTL 9\nd A 192.0.2.1\n",
        "warning[no-default-ttl] 1:1+21 no $TTL is set; the MINIMUM of the SOA (300) is used (begin the file with a line such as `$TTL 1h`)
         example.com. 300 IN SOA . . 1 2 3 4 300
         a.example.com. 300 IN A 192.0.2.1
         b.example.com. 60 IN A 192.0.2.1
         c.example.com. 60 IN A 192.0.2.1
         d.example.com. 9 IN A 192.0.2.1
        ");
    check("a A 192.0.2.1\n", "error[no-ttl] 1:1+13 the record has no TTL, and no $TTL is set (begin the file with a line such as `$TTL 1h`)
        ");
}

#[test]
fn ttls_are_held_to_31_bits() {
    check("a 2147483647 A 192.0.2.1\nb 2147483648 A 192.0.2.1\n$TTL 99999999999\n$TTL x\nc 1x A 192.0.2.1\n",
        "error[ttl-too-large] 2:3+10 a TTL is at most 2147483647 seconds (RFC 2181) (more than a week is seldom wise; write 1d or 1w)
         error[ttl-too-large] 3:6+11 a TTL is at most 2147483647 seconds (RFC 2181) (more than a week is seldom wise; write 1d or 1w)
         error[bad-field] 4:6+1 `x` is not a TTL such as 3600 or 1h
         error[bad-ttl] 5:3+2 `1x` is neither a TTL nor a record type (a TTL is a number of seconds, or a time such as 1d or 1h30m)
         a.example.com. 2147483647 IN A 192.0.2.1
        ");
}

#[test]
fn every_problem_is_reported_with_its_place() {
    check("$TTL 1\nwww CNMAE web\n\té  A 192.0.2.256 ; é\nA 192.0.2.1\nb CH TXT x\nc CLASS3 A 1\nd\ne ANY x\n$FOO\n$INLCUDE x\n $TTL 1\n\"f\" A 192.0.2.1\nIN A 192.0.2.1\ng A\n",
        "error[unknown-type] 2:5+5 `CNMAE` is not a record type (did you mean `CNAME`?)
         error[unknown-type] 3:2+1 `é` is not a record type
         error[unknown-type] 4:3+9 `192.0.2.1` is not a record type (begin the line with a blank or a name if A is the type)
         error[class-not-in] 5:3+2 class CH is not served here (verge-dns serves class IN; leave the class out or write IN)
         error[class-not-in] 6:3+6 class CLASS3 is not served here (verge-dns serves class IN; leave the class out or write IN)
         error[missing-type] 7:1+1 the record has no type (a record is `name [TTL] [IN] type data`)
         error[meta-type] 8:3+3 ANY is for messages; no zone holds such a record (remove the record)
         error[unknown-directive] 9:1+4 `$FOO` is not a directive (write `\\$` if a name begins with a dollar sign)
         error[unknown-directive] 10:1+8 `$INLCUDE` is not a directive (did you mean `$INCLUDE`?)
         error[unknown-type] 11:2+4 `$TTL` is not a record type (a directive begins in the first column)
         error[bad-name] 12:1+3 a name does not stand in quotes
         warning[class-as-owner] 13:1+2 this line begins in the first column, so `IN` is the name of the record (begin the line with a blank to repeat the name of the record before)
         error[missing-field] 14:1+3 the record ends early; an IPv4 address such as 192.0.2.1 is missing
         in.example.com. 1 IN A 192.0.2.1
        ");
}

#[test]
fn a_line_after_a_wrong_owner_does_not_get_the_owner_before() {
    check("$TTL 1\n A 192.0.2.1\na A 192.0.2.1\nb..c A 192.0.2.2\n A 192.0.2.3\n",
        "error[no-owner] 2:2+11 the line begins with a blank, but there is no record before it (begin the line with the name of the record, or with `@`)
         error[bad-name] 4:1+4 `b..c` is not a name: a label is empty (two dots in a row, or a dot at the start)
         error[no-owner] 5:2+11 the line begins with a blank, but there is no record before it (begin the line with the name of the record, or with `@`)
         a.example.com. 1 IN A 192.0.2.1
        ");
}

#[test]
fn a_mark_binds_to_the_record_whose_last_line_it_ends() {
    check(
        "$TTL 1\na A 10.0.0.1 ; verge: public\n A 10.0.0.2 ;verge:internal\n A 10.0.0.3 ; see verge\n A 10.0.0.4 ; old box ; verge: public\nb TXT ( \"x\"\n \"y\" ) ; verge: internal\nc TXT x\n",
        "a.example.com. 1 IN A 10.0.0.1 ; verge: public
         a.example.com. 1 IN A 10.0.0.2 ; verge: internal
         a.example.com. 1 IN A 10.0.0.3
         a.example.com. 1 IN A 10.0.0.4 ; verge: public
         b.example.com. 1 IN TXT \"x\" \"y\" ; verge: internal
         c.example.com. 1 IN TXT \"x\"
        ",
    );
}

#[test]
fn a_file_without_a_last_line_end_is_still_being_written() {
    let problem = |place: &str| {
        format!(
            "error[unfinished-file] {place} the file does not end with a line break; it may still be being written (write the file beside this one and rename it; or add the line break)\n"
        )
    };
    check(
        "$TTL 1\na A 192.0.2.1\nb A 192.0.2.2",
        &(problem("3:1+13") + "a.example.com. 1 IN A 192.0.2.1\nb.example.com. 1 IN A 192.0.2.2\n"),
    );
    check("$TTL 1\na A 192.0.2.1\n; é x", &(problem("3:1+5") + "a.example.com. 1 IN A 192.0.2.1\n"));
    check_files(&[("example.com.zone", b"$INCLUDE inc\n"), ("inc", b"$TTL 1 ")], &problem("1:1:1+7"));
    check("", "");
}

#[test]
fn a_mark_that_binds_to_nothing_is_an_error() {
    check("$TTL 1 ; verge: public\n; verge: internal\na TXT ( x ; verge: internal\n \"y\" )\nb A 10.0.0.1 ; verge: intern\nc A 10.0.0.1 ; [verge: internal]\nd A 10.0.0.1 ; verge: public; verge: internal\n",
        "error[unbound-mark] 1:8+15 this mark ends no record (put it on the last line of the record that it is about)
         error[unbound-mark] 2:1+17 this mark ends no record (put it on the last line of the record that it is about)
         error[unbound-mark] 3:11+17 this mark ends no record (put it on the last line of the record that it is about)
         error[unknown-mark] 5:14+15 `verge: intern` is not a mark (did you mean `; verge: internal`?)
         error[unknown-mark] 6:14+19 this is no mark: a mark begins with its own semicolon (did you mean `; verge: internal`?)
         error[conflicting-marks] 7:29+17 the comment has another mark before this one (a record has one of the marks)
         a.example.com. 1 IN TXT \"x\" \"y\"
         b.example.com. 1 IN A 10.0.0.1
         c.example.com. 1 IN A 10.0.0.1
         d.example.com. 1 IN A 10.0.0.1 ; verge: internal
        ");
}

#[test]
fn a_duplicate_is_kept_once_with_the_least_ttl_and_its_mark() {
    check(
        "$TTL 9\na NS B\na 5 NS b\na 7 NS b ; verge: internal\nA NS b ; verge: public\nt TXT b\nt TXT B\nm MX 65 a\nm MX 97 A\n",
        "warning[duplicate] 3:1+8 the same record stands in line 2 already
         warning[duplicate] 4:1+8 the same record stands in line 2 already
         error[conflicting-marks] 5:1+6 the same record stands in line 2 with the other mark
         warning[duplicate] 5:1+6 the same record stands in line 2 already
         a.example.com. 5 IN NS B.example.com. ; verge: internal
         t.example.com. 9 IN TXT \"b\"
         t.example.com. 9 IN TXT \"B\"
         m.example.com. 9 IN MX 65 a.example.com.
         m.example.com. 9 IN MX 97 A.example.com.
        ",
    );
}

#[test]
fn includes_have_their_own_origin_and_owner() {
    check_files(
        &[
            (
                "example.com.zone",
                b"$TTL 1\na A 192.0.2.1\n$INCLUDE inc sub\n A 192.0.2.2\nb A 192.0.2.3\n$include \"inc\"\n",
            ),
            ("inc", b"$ORIGIN deep\nx A 192.0.2.9\n"),
        ],
        "a.example.com. 1 IN A 192.0.2.1
         x.deep.sub.example.com. 1 IN A 192.0.2.9
         a.example.com. 1 IN A 192.0.2.2
         b.example.com. 1 IN A 192.0.2.3
         x.deep.example.com. 1 IN A 192.0.2.9
        ",
    );
}

#[test]
fn problems_of_an_included_file_are_shown_in_it() {
    check_files(
        &[
            ("example.com.zone", b"$INCLUDE inc\n$INCLUDE none\n$INCLUDE\n$INCLUDE a b c\n"),
            ("inc", b"\n x A 1\n$INCLUDE inc\n$INCLUDE example.com.zone\n"),
        ],
        "error[no-owner] 1:2:2+5 the line begins with a blank, but there is no record before it (begin the line with the name of the record, or with `@`)
         error[not-included] 1:3:10+3 `inc` includes itself
         error[not-included] 1:4:10+16 `example.com.zone` includes itself
         error[not-included] 2:10+4 `none` is not included: there is no such file
         error[missing-field] 3:1+8 the record ends early; the name of a file is missing
         error[surplus-field] 4:14+1 the record is complete before `c` (a comment begins with `;`, and a text with blanks stands in quotes)
        ",
    );
}

#[test]
fn includes_are_capped_in_depth_and_number() {
    let file = SourceFile { path: "0".into(), text: b"$INCLUDE x\n$INCLUDE y\n".as_slice().into() };
    let mut count = 0;
    let parsed = read(Name::root(), file, &mut |_| {
        count += 1;
        Ok(SourceFile { path: count.to_string().into(), text: b"$INCLUDE x\n$INCLUDE y\n".as_slice().into() })
    });
    assert!(
        parsed
            .problems
            .iter()
            .all(|problem| problem.code == "not-included" || problem.code == "too-many-errors")
    );
    assert_eq!(parsed.problems.len(), 101);
    assert!(parsed.files.len() <= 1_000);
}

#[test]
fn generate_counts_as_bind_does() {
    check(
        "$TTL 1\n$GENERATE 1-3 h$ A 192.0.2.$\n$GENERATE 0-20/10 ${5,3,d}.${0,2,X} 60 IN CNAME a\\$$$.${1,0,o} ; verge: internal\n$GENERATE 18-18 ${0,3,n} PTR h${-10}\n$GENERATE 1-2 m MX \"1$ mail$\"\n$GENERATE 1-1 t TXT \"a $ b\"\n",
        "h1.example.com. 1 IN A 192.0.2.1
         h2.example.com. 1 IN A 192.0.2.2
         h3.example.com. 1 IN A 192.0.2.3
         005.00.example.com. 60 IN CNAME a\\$\\$.1.example.com. ; verge: internal
         015.0a.example.com. 60 IN CNAME a\\$\\$.13.example.com. ; verge: internal
         025.14.example.com. 60 IN CNAME a\\$\\$.25.example.com. ; verge: internal
         2.1.example.com. 1 IN PTR h8.example.com.
         m.example.com. 1 IN MX 11 mail1.example.com.
         m.example.com. 1 IN MX 12 mail2.example.com.
         t.example.com. 1 IN TXT \"a 1 b\"
        ",
    );
}

#[test]
fn a_wrong_generate_is_told_once() {
    check("$TTL 1\n$GENERATE 5-1 a$ A 192.0.2.$\n$GENERATE 1-9 a$ A 192.0.$\n$GENERATE 0-2000000000 a$ A 192.0.2.1\n$GENERATE 1-2 a${1,2,q} A 192.0.2.1\n$GENERATE 1-2 a${-5} A 192.0.2.1\n$GENERATE 1-2\n$GENERATE 1-2 (\n a A 192.0.2.1 )\n$GENERATE 250-300 a$ A 192.0.2.$\n",
        "error[bad-field] 2:11+3 `5-1` is not a range such as 1-100 or 0-255/16 (write `$GENERATE 1-100 host-$ A 192.0.2.$`)
         error[bad-field] 3:1+26 `192.0.1` is not an IPv4 address such as 192.0.2.1
         error[generates-too-much] 4:1+37 a zone generates at most 4194304 records
         error[bad-generate] 5:1+35 `${1,2,q}` is not `${offset,width,base}` with a base of d, o, x, X, n or N
         error[bad-generate] 6:1+32 `${-5}` becomes negative at 1
         error[bad-generate] 7:1+13 $GENERATE needs a name, a type and data after the range
         error[bad-generate] 8:1+13 a $GENERATE stands on one line
         error[bad-field] 10:1+32 `192.0.2.256` is not an IPv4 address such as 192.0.2.1
         a250.example.com. 1 IN A 192.0.2.250
         a251.example.com. 1 IN A 192.0.2.251
         a252.example.com. 1 IN A 192.0.2.252
         a253.example.com. 1 IN A 192.0.2.253
         a254.example.com. 1 IN A 192.0.2.254
         a255.example.com. 1 IN A 192.0.2.255
        ");
}

#[test]
fn broken_quotes_and_parentheses_do_not_hide_what_follows() {
    check("$TTL 1\na TXT \"x\nb TXT x )\nc TXT ( x\nd TXT y\ne A\x01 1\n",
        "error[unclosed-quote] 2:7+2 a quote is opened, but not closed on this line (close it with `\"`; a quote inside a text is written `\\\"`)
         error[stray-parenthesis] 3:9+1 a parenthesis is closed that was not opened (remove it, or open it with `(` on the first line of the record)
         error[unclosed-parenthesis] 4:7+1 a parenthesis is opened, but never closed (close it with `)` after the last line of the record)
         error[control-character] 6:4+1 a control character (byte 1) stands in a word (remove it, or write it as `\\DDD`)
         d.example.com. 1 IN TXT \"y\"
        ");
}

#[test]
fn errors_are_capped() {
    let parsed = parse(&[("example.com.zone", "x\n".repeat(5_000).as_bytes())]);
    assert_eq!(parsed.problems.len(), 101);
    assert_eq!(parsed.problems[100].code, "too-many-errors");
    let text = "a 1 A 192.0.2.1\n".repeat(1_100);
    let parsed = parse(&[("example.com.zone", text.as_bytes())]);
    assert_eq!(parsed.problems.len(), 1_001);
    assert_eq!(parsed.problems[1_000].message, "99 more warnings are not shown");
    assert_eq!(parsed.zone.unwrap().records.len(), 1);
}

#[test]
fn utf_16_is_named_as_what_it_is() {
    check_files(
        &[("example.com.zone", b"\xff\xfea\0")],
        "error[utf-16] 1:1+1 the file is UTF-16 (save it as UTF-8 or ASCII)
        ",
    );
}

#[test]
fn a_binary_format_is_one_error_that_names_it() {
    check_files(
        &[("example.com.zone", b"\0\0\0\x02\0\0\0\x01\x07\x08\0\0\x01\x02 binary (\n")],
        "error[binary-file] 1:1+1 the file is in BIND's raw format (convert it: named-compilezone -f raw -F text -o TEXT-FILE ZONE-NAME RAW-FILE)
        ",
    );
    check_files(
        &[("example.com.zone", b"\x1f\x8b\x08\0")],
        "error[binary-file] 1:1+1 the file is compressed (gzip) (unpack it with gunzip)
        ",
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::diagnostic::{Style, render};

    /// Bits of zone files, so that arbitrary texts reach deep.
    fn bit() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "\n",
            "\n",
            "\n",
            " ",
            " ",
            "@",
            "a",
            "b.c.",
            "IN",
            "CH",
            "1h",
            "60",
            "A",
            "192.0.2.1",
            "TXT",
            "\"",
            "(",
            ")",
            ";",
            "; verge: public",
            "verge:",
            "$ORIGIN ",
            "$TTL ",
            "$INCLUDE inc",
            "$GENERATE 1-5 ",
            "a$",
            "${1,2,n}",
            "SOA",
            "\\# 4 ",
            "MX 10 x",
            "CNAME",
            "\\",
            "\\300",
            "\r\n",
            "\t",
            "HTTPS 1 . alpn=",
            "NSEC a. A",
            "LOC 1 N 1 E 1m",
            "\u{e9}",
            "\0",
        ];
        prop_oneof![
            9 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ]
    }

    /// Reading ends without a panic, every problem can be drawn, and what was read is read again as it was. The text may
    /// name its zone itself (`$ORIGIN`), so what is written out of it does so too.
    fn is_read_again(text: &[u8]) -> Result<(), TestCaseError> {
        let parsed = parse(&[("example.com.zone", text), ("inc", b"i 1 A 192.0.2.9\n$INCLUDE inc\n")]);
        for problem in &parsed.problems {
            prop_assert!(!render(problem, &parsed.files, Style::Coloured).is_empty());
            if let Some(at) = problem.at {
                prop_assert!(at.line > 0 && at.column > 0 && at.width > 0, "{problem:?}");
            }
        }
        let records = parsed.zone.or(parsed.draft).unwrap().records;
        let mut written = format!("$ORIGIN {}\n", parsed.apex);
        for record in &records {
            text::write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut written).unwrap();
            written.push('\n');
        }
        let again = parse(&[("example.com.zone", written.as_bytes())]);
        let again = again.zone.or(again.draft).unwrap().records;
        let content = |records: &[crate::zone::Record]| -> Vec<_> {
            records.iter().map(|r| (r.owner.clone(), r.rtype, r.ttl, r.rdata.clone())).collect()
        };
        prop_assert_eq!(content(&again), content(&records), "{}", written);
        Ok(())
    }

    #[test]
    fn records_of_a_zone_that_names_itself_are_read_again() {
        is_read_again(b"$ORIGIN b.c.\n\\# 4 IN NSEC a. A\n").unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(bits in prop::collection::vec(bit(), 0..60)) {
            is_read_again(&bits.concat())?;
        }
    }
}
