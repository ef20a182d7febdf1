//! D7: what goes with a hidden host, and what stays for its mail.

use super::fixture::check;

#[test]
fn d7_other_data_goes_with_its_host() {
    check(
        "$ORIGIN example.
        @ NS ns
        @ A 10.0.0.1 | D1
        @ TXT stays
        _dmarc TXT stays
        ns A 192.0.2.1
        db A 10.0.0.1 | D1
        db AAAA fd00::1 | D1
        db TXT gone | D7
        db EUI48 00-00-5e-00-53-2a | D7
        _443._tcp.db TLSA 3 1 0 00 | D7
        x.y._tcp.db TXT gone | D7
        _a.ent.db TXT gone | D7
        pub.db A 192.0.2.5
        _b.pub.db TXT stays
        _acme-challenge.db TXT stays ; verge: public
        split A 10.0.0.2 | D1
        split A 192.0.2.2 | split
        split TXT stays
        _x.split TXT stays
        alias CNAME gone | D6
        gone A 10.0.0.3 | D1
        _x.alias TXT gone | D7
        out A 10.0.0.9 | D1
        out CNAME cdn.elsewhere. | split
        cut A 10.0.0.4 | D1
        cut NS ns
        cut DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000",
    );
}

#[test]
fn d7_a_public_mx_keeps_mx_txt_and_caa() {
    check(
        r#"$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        mail A 10.0.0.1 | D1
        mail MX 10 ns
        mail TXT "v=spf1 mx -all"
        mail CAA 0 issue "ca.example"
        mail EUI48 00-00-5e-00-53-2a | D7
        lost A 10.0.0.2 | D1
        lost MX 10 late | D6
        lost TXT gone | D7
        lost CAA 0 issue "ca.example" | D7
        late CNAME later | D6
        later CNAME mailhub | D6
        mailhub A 10.0.0.3 | D1
        null A 10.0.0.4 | D1
        null MX 0 . | D7
        null TXT gone | D7
        typo A 10.0.0.5 | D1
        typo MX 10 missing | D7
        text A 10.0.0.6 | D1
        text MX 10 words | D7
        words TXT stays
        pub A 10.0.0.7 | D1
        pub MX 10 shown
        pub TXT stays
        shown A 10.0.0.8 ; verge: public
        marked A 10.0.0.9 | D1
        marked MX 10 mailhub ; verge: public
        marked TXT gone | D7
        away A 10.0.0.10 | D1
        away MX 10 mx.elsewhere.
        away TXT stays
        far A 10.0.0.11 | D1
        far MX 10 alias
        far TXT stays
        alias CNAME alias2
        alias2 CNAME ns
        nowhere A 10.0.0.12 | D1
        nowhere MX 10 dangling | D7
        nowhere TXT gone | D7
        dangling CNAME missing"#,
    );
}

#[test]
fn d7_mail_policies_stay_with_the_mail() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        dept A 10.0.0.25 | D1
        dept MX 10 mx.elsewhere.
        _dmarc.dept TXT stays
        s1._domainkey.dept TXT stays
        s2._domainkey.dept CNAME dkim.elsewhere.
        _mta-sts.dept TXT stays
        _smtp._tls.dept TXT stays
        _tls._smtp.dept TXT gone | D7
        _x._tls.dept TXT gone | D7
        _443._tcp.dept TXT gone | D7
        _dmarc.ent.dept TXT gone | D7
        none A 10.0.0.26 | D1
        _dmarc.none TXT gone | D7",
    );
}

#[test]
fn d7_a_service_without_a_public_server_has_nothing_to_say() {
    check(
        r#"$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        printer A 10.0.0.30 | D1
        _services._dns-sd._udp PTR _ipp._tcp | D6
        _ipp._tcp PTR office._ipp._tcp | D6
        office._ipp._tcp SRV 0 0 631 printer | D6
        office._ipp._tcp TXT "2nd floor" | D7
        _http._tcp PTR web._http._tcp
        web._http._tcp SRV 0 0 80 ns
        web._http._tcp SRV 0 0 80 printer | D6
        web._http._tcp TXT stays
        etcd SRV 0 0 2379 printer | D6
        etcd TXT gone | D7
        kept SRV 0 0 1 printer | D6
        kept TXT stays ; verge: public
        kept TXT gone | D7
        to-kept PTR kept | D6
        host A 192.0.2.2
        host SRV 0 0 1 printer | D6
        host TXT stays"#,
    );
}
