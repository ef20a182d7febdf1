//! Cases from published zones: warnings that were missing, and warnings that were wrong.

use super::*;

#[test]
fn a_digest_of_the_wrong_length_is_served_and_told() {
    let (short, right) = ("ab".repeat(32), "ab".repeat(64));
    check_zone(
        &format!(
            "_443._tcp.www TLSA 3 1 2 {short}\n_25._tcp.www TLSA 3 1 2 {right}\nx._smimecert SMIMEA 3 0 1 {right}\ny TLSA 3 0 0 {short}\n"
        ),
        &[
            "4 warning[bad-length] a digest of type 2 has 64 bytes, this one has 32",
            "6 warning[bad-length] a digest of type 1 has 32 bytes, this one has 64",
        ],
    );
}

#[test]
fn nobody_asks_for_nsec3param_so_its_ttl_is_free() {
    check_zone(
        "@ 0 NSEC3PARAM 1 0 0 AABB\n@ 0 RRSIG NSEC3PARAM 13 2 0 20300101000000 20200101000000 1 example.com. AAAA\n",
        &[],
    );
}

#[test]
fn nsec3_records_that_prove_nothing_are_told() {
    // The hash of example.com with no salt and no iterations.
    let apex = "onib9mgub9h0rml3cdf5bgrj59dkjhvk";
    let nsec3 = format!("{apex} NSEC3 1 0 0 - {apex} NS SOA\n");
    check_zone(&format!("@ NSEC3PARAM 1 0 0 -\n{nsec3}"), &[]);
    let told = "warning[nsec3-unused] the NSEC3 records prove nothing: validating resolvers answer SERVFAIL for names that do not exist";
    check_zone(&nsec3, &[&format!("4 {told}")]);
    check_zone(&format!("@ NSEC3PARAM 1 0 0 AB\n{nsec3}"), &[&format!("5 {told}")]);
}

#[test]
fn names_of_other_peoples_domains_miss_no_dot() {
    check_zone(
        "www.evil.com CNAME .\nevil.net CNAME *.\ngood.org CNAME rpz-passthru.\nx.com A 192.0.2.1\n",
        &[],
    );
    check_zone("evil.com A 127.0.0.2\nworse.evil.net A 127.0.0.4\n", &[]);
    check_zone(
        "s1._domainkey.customer.com TXT \"v=DKIM1; p=\"\n_acme-challenge.customer.net TXT \"x\"\n",
        &[],
    );
    check_zone(
        "_dmarc.example.com TXT \"v=DMARC1; p=none\"\nwww.other.com A 192.0.2.1\n",
        &[
            "4 warning[missing-dot] _dmarc.example.com.example.com. has the name of the zone twice",
            "5 warning[missing-dot] www.other.com.example.com. has the name of another domain before that of the zone",
        ],
    );
}

#[test]
fn an_address_in_the_place_of_a_name_is_told_as_such() {
    let told = |line: u32, address: &str, name: &str| {
        format!(
            "{line} warning[address-as-name] the address {address} stands where a name belongs, and is read as {name}"
        )
    };
    check_zone(
        "@ MX 10 203.0.113.5\na NS 203.0.113.5.\nb CNAME 10.1.2.3\n* A 192.0.2.1\nc MX 10 2001:db8::1\nd SRV 0 0 1 192.0.2.7\n2.0.0.127 A 192.0.2.1\ne CNAME 2.0.0.127\nf CNAME 1.2.0.192.in-addr.arpa.\n",
        &[
            &told(4, "203.0.113.5", "203.0.113.5.example.com."),
            &told(5, "203.0.113.5", "203.0.113.5."),
            &told(6, "10.1.2.3", "10.1.2.3.example.com."),
            &told(8, "2001:db8::1", "2001:db8::1.example.com."),
            &told(9, "192.0.2.7", "192.0.2.7.example.com."),
        ],
    );
}

#[test]
fn a_name_has_one_spf_and_one_dmarc_policy() {
    let effect = "mail servers take neither";
    check_zone(
        "x TXT \"v=spf1 -all\"\nx TXT \"v=spf1 mx -all\"\ny TXT \"v=spf1 \" \"mx\"\ny TXT \"V=SPF1\"\ny TXT \"v=spf10\"\n_dmarc TXT \"v=DMARC1; p=none\"\n_dmarc TXT \"v=DMARC1;p=reject\"\nz TXT \"v=DMARC1; p=none\"\nz TXT \"v=DMARC1; p=x\"\nw TXT \"v=spf1 -all\" ; verge: outside\nw TXT \"v=spf1 mx -all\" ; verge: internal\n",
        &[
            &format!(
                "5 warning[several-spf] x.example.com. has a second SPF record; the first stands in line 4: {effect} (permerror, RFC 7208 §4.5)"
            ),
            &format!(
                "7 warning[several-spf] y.example.com. has a second SPF record; the first stands in line 6: {effect} (permerror, RFC 7208 §4.5)"
            ),
            &format!(
                "10 warning[several-dmarc] _dmarc.example.com. has a second DMARC record; the first stands in line 9: {effect} (RFC 7489 §6.6.3)"
            ),
        ],
    );
}

#[test]
fn two_policies_that_one_side_sees_are_told_whatever_stands_before_them() {
    let told = |line: u32, owner: &str, side: &str, first: u32| {
        format!(
            "{line} warning[several-spf] {owner}.example.com. has a second SPF record {side}; the first stands in line {first}: mail servers take neither (permerror, RFC 7208 §4.5)"
        )
    };
    check_zone(
        "x TXT \"v=spf1 mx -all\" ; verge: outside\nx TXT \"v=spf1 a -all\" ; verge: internal\nx TXT \"v=spf1 -all\" ; verge: internal\n\
         y TXT \"v=spf1 mx -all\"\ny TXT \"v=spf1 a -all\" ; verge: internal\n\
         z TXT \"v=spf1 mx -all\" ; verge: internal\nz TXT \"v=spf1 a -all\"\nz TXT \"v=spf1 -all\" ; verge: outside\n",
        &[
            &told(6, "x", "inside", 5),
            &told(8, "y", "inside", 7),
            &told(10, "z", "inside", 9),
            &told(11, "z", "outside", 10),
        ],
    );
}

#[test]
fn a_set_that_no_message_carries_is_told() {
    let pool = |count: u32| -> String {
        (0..count).map(|n| format!("pool A 20.0.{}.{}\n", n / 256, n % 256)).collect()
    };
    check_zone(&pool(4_000), &[]);
    check_zone(
        &pool(5_000),
        &[
            "4 warning[set-too-large] the 5000 A records of pool.example.com. take 80034 bytes, and a message has 65535",
        ],
    );
    let names: String =
        (0..2_500).map(|n| format!("@ PTR host-{n:05}.a-rather-long-domain-name.example.net.\n")).collect();
    check_zone(&names, &[]);
    let text = format!("x TXT {}\n", "\"{}\" ".replace("{}", &"a".repeat(255)).repeat(255));
    check_zone(&text, &[]);
}

#[test]
fn times_of_a_split_name_may_differ_from_side_to_side() {
    check_zone(
        "www 1h A 192.0.2.1\nwww 5m A 10.0.0.1\nftp 1h A 192.0.2.1\nftp 5m A 192.0.2.2 ; verge: internal\n",
        &[],
    );
    let zone =
        zone_of("example.com", &format!("{HEAD}www 1h A 192.0.2.1\nwww 2h A 192.0.2.2\nwww 5m A 10.0.0.1\n"));
    let problems = check(&zone, &Tree::of(&zone), context());
    assert_eq!(
        lines(&problems),
        "5 warning[ttl-differs] the TTL is 7200, but 3600 in line 4 for the same name and type\n"
    );
    let help = "outside the A records have the least of theirs, 3600, and inside 300";
    assert_eq!(problems[0].help.as_deref(), Some(help));
}

#[test]
fn a_zone_without_its_soa_alone_is_checked_as_a_whole() {
    let zone = zone_of("example.com", "$TTL 1h\nwww CNAME gone\n");
    let found = without_soa(&zone, &Tree::of(&zone), context());
    assert_eq!(
        lines(&found),
        "- error[no-ns] the zone example.com. has no NS record at its apex\n2 warning[missing-target] gone.example.com. does not exist in this zone\n"
    );
}
