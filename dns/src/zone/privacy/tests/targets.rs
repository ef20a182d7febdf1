//! D6: records that name what is hidden.

use super::fixture::check;

#[test]
fn d6_names_in_rdata_that_are_hidden() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.5 | D1
        a CNAME db | D6
        b CNAME a | D6
        c CNAME b | D6
        d DNAME db | D6
        @ MX 10 db | D6
        @ MX 20 ns
        s SRV 0 0 1 db | D6
        p PTR db | D6
        h HTTPS 1 db alpn=h2 | D6
        n NAPTR 1 1 S SIP \"\" db | D6
        f AFSDB 1 db | D6
        k KX 1 db | D6
        r RT 1 db | D6
        l LP 1 db | D6
        t TALINK ns db | D6
        m MINFO ns db | D6
        y DSYNC CDS NOTIFY 5300 db | D6
        rp RP ns db | D6
        rq RP db ns
        rs RP x.int ns | D6
        out CNAME db.elsewhere.
        suffix CNAME db.corp. | D6
        rev CNAME 1.0.0.10.in-addr.arpa. | D6
        missing CNAME nothing
        published CNAME db ; verge: public
        via CNAME published | D6",
    );
}

#[test]
fn d6_a_target_that_loses_all_its_addresses_is_hidden_whatever_else_it_owns() {
    check(
        "$ORIGIN example.
        @ NS ns.elsewhere.
        @ A 192.168.1.10 | D1
        jellyfin CNAME @ | D6
        @ MX 10 @ | D6
        _ldap._tcp SRV 0 0 389 @ | D6
        h HTTPS 1 example. | D6
        p PTR @ | D6
        d DNAME @ | D6
        mail RP hostmaster.example. .
        typo CNAME missing
        away CNAME elsewhere.
        parent A 10.0.0.1 | D1
        child.parent A 192.0.2.2
        to-parent MX 10 parent | D6
        to-child MX 10 child.parent
        marked A 10.0.0.2 | D1
        marked TXT stays ; verge: public
        _acme-challenge.marked TXT stays ; verge: public
        to-marked CNAME marked | D6
        to-to-marked CNAME to-marked | D6
        lives AAAA fd00::1 | D1
        lives A 192.0.2.9
        to-lives CNAME lives
        mailonly MX 10 mx.elsewhere.
        to-mailonly CNAME mailonly
        *.wild A 10.0.0.3 | D1
        *.wild TXT stays ; verge: public
        into-wild CNAME any.wild | D6
        alias A 10.0.0.4 | D1
        alias CNAME cdn.elsewhere. | split
        to-alias CNAME alias
        lab NS lab | D13
        lab A 10.0.0.5 | D1",
    );
    check(
        r#"$ORIGIN example.
        @ NS ns
        ns A 192.0.2.53
        db A 10.0.0.5 | D1
        db MX 10 db | D6
        db TXT "rack 4" | D7
        ws1 A 10.0.0.7 | D1
        ws1 MX 10 mail | D6
        files CNAME ws1 | D6
        mail A 10.0.0.6 | D1
        mail MX 10 mail | D6
        a A 10.0.0.8 | D1
        a MX 10 b | D6
        b A 10.0.0.9 | D1
        b MX 10 a | D6"#,
    );
}

#[test]
fn d6_lost_addresses_are_followed_through_aliases_dnames_and_zones() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.53
        one CNAME two | D6
        two CNAME x.moved.other. | D6
        near CNAME y.moved.other.
        shown CNAME host.third. ; verge: public
        through CNAME shown | D6
        suffix CNAME db.corp. ; verge: public
        through-suffix CNAME suffix | D6
        web A 192.0.2.1
        web HTTPS 1 shown | D6
        $ORIGIN other.
        @ NS ns.example.
        moved DNAME third.
        lost DNAME host.third. | D6
        lost TXT stays
        at-lost CNAME child.lost | D6
        $ORIGIN third.
        @ NS ns.example.
        x A 10.0.0.1 | D1
        pub.x A 192.0.2.2
        y A 192.0.2.3
        host A 10.0.0.2 | D1
        child.host A 192.0.2.4",
    );
}

#[test]
fn d6_a_maze_of_dnames_leads_nowhere() {
    let chain = |steps: usize| (1..steps).map(|at| format!("d{at} DNAME d{}\n", at + 1)).collect::<String>();
    for (steps, label) in [(8, " | D6"), (17, " | D6"), (40, " | D6")] {
        check(&format!(
            "$ORIGIN example.\n@ NS ns\nns A 192.0.2.1\n{}d{steps} DNAME end\nx CNAME secret.d1{label}\n\
             secret.end A 10.0.0.4 | D1\npub.end A 192.0.2.4\n",
            chain(steps)
        ));
    }
    check(&format!(
        "$ORIGIN example.\n@ NS a.\n{}d17 DNAME end\nx CNAME pub.d1\npub.end A 192.0.2.4\n",
        chain(17)
    ));
}

#[test]
fn d6_targets_that_do_not_exist_below_what_is_hidden() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.5 | D1
        shown A 10.0.0.6 | D1
        _x.shown TXT stays ; verge: public
        a CNAME gone.db | D6
        b SRV 0 0 1 a.b.db | D6
        c NS ns.db | D13
        d MX 10 gone.db | D6
        e DNAME gone.db | D6
        f PTR gone.shown | D6
        dc2.ad A 10.0.0.7 | D1
        g CNAME dc1.ad | D6
        h CNAME missing",
    );
}

#[test]
fn d6_the_node_that_answers_decides() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        * A 192.0.2.9
        ent CNAME sub | D6
        x.sub A 10.0.0.1 | D1
        *.w A 10.0.0.2 | D1
        from CNAME anything.w | D6
        any CNAME any.thing
        half.both A 192.0.2.3
        other.both A 10.0.0.3 | D1
        both2 CNAME both
        case CNAME X.SUB | D6",
    );
}

#[test]
fn d6_follows_names_across_zones_and_dnames() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        www CNAME db.other. | D6
        far CNAME x.d.third. | D6
        near CNAME y.d.third.
        gone CNAME ghost.dark. | D6
        round CNAME x.d.fifth. | D6
        $ORIGIN other.
        @ NS ns.example.
        db CNAME db.third. | D6
        $ORIGIN third.
        @ NS ns.example.
        db A 10.0.0.1 | D1
        d DNAME t.fourth.
        $ORIGIN fourth.
        @ NS ns.example.
        x.t A 10.0.0.1 | D1
        y.t A 192.0.2.1
        $ORIGIN fifth.
        @ NS ns.example.
        d DNAME d.third.
        loop DNAME loop.fifth.
        shown DNAME corp. ; verge: public
        into CNAME x.shown | D6
        $ORIGIN corp. | internal
        x A 192.0.2.1 | D12
        $ORIGIN dark. | internal
        @ NS ns | D13
        ns A 10.0.0.1 | D1",
    );
}

#[test]
fn d6_public_names_that_only_name_each_other_stay() {
    check(
        "$ORIGIN example.
        @ NS ns
        ns A 192.0.2.1
        db A 10.0.0.1 | D1
        a CNAME b
        b CNAME a
        c SRV 0 0 1 d
        d SRV 0 0 1 c",
    );
}
