//! Files as people and programs write them, that other servers load.

use super::*;

/// Reads `text` as `name`.zone: the zone's name, each problem as `severity[code] line`, and how many records there are.
fn check_named(name: &str, text: &str, expected: &str) {
    let source = SourceFile { path: "z".into(), text: text.as_bytes().into() };
    let mut load = |_: Include<'_>| Err(NotIncluded("it lies outside the zones folder".to_owned()));
    let parsed = read(Name::parse_absolute(name).unwrap(), source, &mut load);
    let mut found = parsed.apex.to_string();
    for problem in &parsed.problems {
        let line = problem.at.map_or(0, |at| at.line);
        write!(found, " {}[{}] {line}", problem.severity, problem.code).unwrap();
    }
    let records = |zone: &Zone| zone.records.len();
    match (&parsed.zone, &parsed.draft) {
        (Some(zone), _) => write!(found, ": {} served", records(zone)).unwrap(),
        (None, Some(draft)) => write!(found, ": {} understood", records(draft)).unwrap(),
        (None, None) => found.push_str(": none"),
    }
    assert_eq!(found, expected, "{text}");
}

const SOA: &str = "SOA ns1 hostmaster 1 2h 30m 2w 5m";

#[test]
fn a_mailbox_may_hold_an_escaped_at_and_a_bare_one_is_told() {
    check(
        "$TTL 1\n@ SOA ns1 hostmaster\\@example.com. 1 2 3 4 5\n",
        "example.com. 1 IN SOA ns1.example.com. hostmaster\\@example.com. 1 2 3 4 5
        ",
    );
    check("$TTL 1\n@ SOA ns1 host.master@example.com. 1 2 3 4 5\na RP x@example.net .\nb MINFO @ x@y.\n",
        "warning[bad-mailbox] 2:11+24 `host.master@example.com.` holds an `@`, which is read as a letter of its first label (write `host\\.master.example.com.`)
         warning[bad-mailbox] 3:6+13 `x@example.net` holds an `@`, which is read as a letter of its first label (write `x.example.net.`)
         warning[bad-mailbox] 4:11+4 `x@y.` holds an `@`, which is read as a letter of its first label (write `x.y.`)
         example.com. 1 IN SOA ns1.example.com. host.master\\@example.com. 1 2 3 4 5
         a.example.com. 1 IN RP x\\@example.net.example.com. .
         b.example.com. 1 IN MINFO example.com. x\\@y.
        ");
}

#[test]
fn the_file_name_and_the_soa_outweigh_a_leading_origin() {
    let text = format!(
        "$ORIGIN example.com.\n$TTL 1h\n2.0.192.in-addr.arpa. IN {SOA}\n1.2.0.192.in-addr.arpa. PTR host1\n"
    );
    check_named("2.0.192.in-addr.arpa", &text, "2.0.192.in-addr.arpa.: 2 served");
    check_named("example.com", &format!("$TTL 1\n$ORIGIN com.\nexample {SOA}\n"), "example.com.: 1 served");
    check_named("other", &format!("$ORIGIN example.com.\n$TTL 1\n@ {SOA}\n"), "example.com.: 1 served");
}

#[test]
fn a_soa_names_a_zone_that_no_file_name_can_spell() {
    let text = format!(
        "$TTL 1h\n0/27.2.0.192.in-addr.arpa. {SOA}\n0/27.2.0.192.in-addr.arpa. NS ns1.example.net.\n1.0/27.2.0.192.in-addr.arpa. PTR a.example.net.\n"
    );
    for name in ["0-27.2.0.192.in-addr.arpa", "customer", "2.0.192.in-addr.arpa"] {
        check_named(name, &text, "0/27.2.0.192.in-addr.arpa.: 3 served");
    }
    let text = format!("$TTL 1h\n0/27 {SOA}\n1.0/27 PTR a.example.net.\nx/y {SOA}\n");
    check_named("2.0.192.in-addr.arpa", &text, "0/27.2.0.192.in-addr.arpa. error[soa-owner] 4: 2 understood");
}

#[test]
fn a_record_outside_of_the_zone_is_left_out() {
    let text = "@ IN SOA ns01.example.net.  hostmaster.example.net. (\n 106 900 600 86400 3600 )\n@ NS\tns01.example.net.\nns01.example.net. A\t203.0.113.24\n@ A\t203.0.113.16\n";
    check_named(
        "example.com",
        text,
        "example.com. warning[no-default-ttl] 1 warning[out-of-zone] 4: 3 served",
    );
    check(
        "$TTL 1\na A 192.0.2.1\na A 192.0.2.1\nb.x. A 10.0.0.1 ; verge: public\nc A 192.0.2.1\n",
        "warning[duplicate] 3:1+13 the same record stands in line 2 already
         warning[out-of-zone] 4:1+15 b.x. is not in the zone example.com.; the record is left out
         a.example.com. 1 IN A 192.0.2.1
         c.example.com. 1 IN A 192.0.2.1
        ",
    );
}

#[test]
fn a_wrong_zone_name_is_one_error() {
    let cloudflare = "$ORIGIN .\n@\t3600\tIN\tSOA\texample.com.\troot.example.com.\t(\n2028888395 7200 3600 86400 3600)\nexample.com.\t1\tIN\tNS\tREPLACE&ME$WITH^YOUR@NAMESERVER.\nexample.com.\t1\tIN\tTXT\t\"v=spf1 mx -all\"\nwww.example.com.\t1\tIN\tA\t203.0.113.180\n";
    check_named("example.com", cloudflare, "example.com. error[soa-owner] 2: none");
    check_named("com", cloudflare, "com. error[soa-owner] 2: none");
    let root = "$ORIGIN .\n$TTL 1h\n@ SOA a.root. h. 1 2 3 4 5\n@ NS a.root.\ncom NS a.gtld.\n";
    check_named("root", root, ".: 3 served");
    let other = format!("$TTL 1h\nexample.net. {SOA}\nexample.net. NS ns1\nwww.example.net. A 192.0.2.1\n");
    check_named("example.com", &other, "example.com. error[soa-owner] 2: none");
}

#[test]
fn an_error_at_the_soa_does_not_keep_others_back() {
    check_named(
        "example.com",
        "@ SOA ns1 h 1 2 3\nwww A 192.0.2.1\nftp A 192.0.2.2\nx A 192.0.2\n",
        "example.com. error[missing-field] 1 error[no-ttl] 2 error[bad-field] 4: 1 understood",
    );
    let text = format!("$TTL 1h\nexample.com {SOA}\n@ NS ns1\nwww A 192.0.2.1\n");
    check_named("example.com", &text, "example.com. error[soa-owner] 2: 2 understood");
}

#[test]
fn text_that_lost_its_quotes_is_told() {
    check("$TTL 1\n_dmarc TXT v=DMARC1; p=none\n@ TXT v=spf1 include:_spf.example.net -all\na TXT v=DMARC1 ; p=none\nb TXT word ; why\nc TXT word;why\nd TXT \"a\"; b=c\ne TXT ( word ; a=b\n \"x\" )\nf TXT \"a\" b\n",
        "warning[text-cut] 2:12+8 this text ends before the semicolon; `p=none` is read as a comment (put the whole text in quotes: \"v=DMARC1; p=none\")
         warning[text-in-pieces] 3:7+36 these are 3 texts, because they do not stand in quotes; together they are read as `v=spf1include:_spf.example.net-all` (put the whole text in quotes: \"v=spf1 include:_spf.example.net -all\")
         warning[text-cut] 4:7+8 this text ends before the semicolon; `p=none` is read as a comment (put the whole text in quotes: \"v=DMARC1 ; p=none\")
         warning[text-cut] 6:7+4 this text ends before the semicolon; `why` is read as a comment (put the whole text in quotes: \"word;why\")
         _dmarc.example.com. 1 IN TXT \"v=DMARC1\"
         example.com. 1 IN TXT \"v=spf1\" \"include:_spf.example.net\" \"-all\"
         a.example.com. 1 IN TXT \"v=DMARC1\"
         b.example.com. 1 IN TXT \"word\"
         c.example.com. 1 IN TXT \"word\"
         d.example.com. 1 IN TXT \"a\"
         e.example.com. 1 IN TXT \"word\" \"x\"
         f.example.com. 1 IN TXT \"a\" \"b\"
        ");
}

#[test]
fn ages_of_windows_are_left_out_and_told_once() {
    check("$TTL 1\nhost [AGE:3634567] 1200 A 192.0.2.1\n [AGE:3634568]\t1200 A 192.0.2.2\n",
        "warning[windows-age] 2:6+13 `[AGE:…]` is a note of Windows DNS and no part of a record; it is left out (records with it were registered by clients; keep those that are still true)
         host.example.com. 1200 IN A 192.0.2.1
         host.example.com. 1200 IN A 192.0.2.2
        ");
}

#[test]
fn a_key_that_cannot_be_included_is_left_out() {
    let text = format!("$TTL 1h\n@ {SOA}\n$INCLUDE /etc/bind/keys/Kexample.com.+013+12345.key\n");
    check_named("example.com", &text, "example.com. warning[key-not-included] 3: 1 served");
    let text = format!("$TTL 1h\n@ {SOA}\n$INCLUDE /etc/bind/hosts.key\n");
    check_named("example.com", &text, "example.com. error[not-included] 3: 1 understood");
    let text = format!("$TTL 1h\n@ {SOA}\n$INCLUDE /etc/bind/hosts.+new\n");
    check_named("example.com", &text, "example.com. error[not-included] 3: 1 understood");
}
