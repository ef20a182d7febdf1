//! Proofs by hash (RFC 5155 §7.2), for zones that were signed with NSEC3.

use super::super::walk::{Sink, Walk};
use crate::name::{self, MAX_NAME_BYTES};
use crate::zone::tree::{Node, Proofs};

impl<'a, S: Sink<'a>> Walk<'_, 'a, '_, S> {
    /// §7.2.1: the closest encloser exists, and the name one label below it does not.
    fn prove_closest_encloser(&mut self, proofs: Proofs<'a>, name: &[u8]) -> Result<(), S::Left> {
        let Some((encloser, next_closer)) = proofs.closest_provable_encloser(name) else { return Ok(()) };
        self.put_nsec3(Some(encloser))?;
        self.put_nsec3(proofs.covering(next_closer))
    }

    /// §7.2.3 to §7.2.5, §7.2.7: the record of the name. An unsigned delegation in an opt-out span has none, nor has an empty
    /// name that leads to such delegations only; there the span proves it.
    pub(super) fn prove_types(&mut self, proofs: Proofs<'a>, name: &[u8]) -> Result<(), S::Left> {
        match proofs.matching(name) {
            Some(node) => self.put_nsec3(Some(node)),
            None => self.prove_closest_encloser(proofs, name),
        }
    }

    /// §7.2.5: the wildcard has no such type, and answers for the name because that does not exist. A wildcard that leads
    /// to unsigned delegations only has no record in an opt-out zone; there the proof is that of a name that does not exist.
    pub(super) fn prove_wildcard_types(
        &mut self,
        proofs: Proofs<'a>,
        wildcard: Node<'a>,
        name: &[u8],
    ) -> Result<(), S::Left> {
        self.prove_closest_encloser(proofs, name)?;
        match proofs.matching(wildcard.name()) {
            Some(node) => self.put_nsec3(Some(node)),
            None => self.prove_no_wildcard_by_hash(proofs, name),
        }
    }

    /// §7.2.6: the name for which a wildcard below `encloser` answers does not exist.
    pub(super) fn prove_next_closer(
        &mut self,
        proofs: Proofs<'a>,
        encloser: &[u8],
        name: &[u8],
    ) -> Result<(), S::Left> {
        let ancestors = std::iter::successors(Some(name), |name| name::parent(name));
        match ancestors.take_while(|ancestor| ancestor.len() > encloser.len()).last() {
            Some(next_closer) => self.put_nsec3(proofs.covering(next_closer)),
            None => Ok(()),
        }
    }

    /// §7.2.2: no wildcard answers for the name either. It is the one below the encloser that was proved.
    pub(super) fn prove_no_wildcard_by_hash(
        &mut self,
        proofs: Proofs<'a>,
        name: &[u8],
    ) -> Result<(), S::Left> {
        let proved = proofs.closest_provable_encloser(name);
        let Some(encloser) = proved.and_then(|(_, next_closer)| name::parent(next_closer)) else {
            return Ok(());
        };
        let wildcard = [b"\x01*", encloser].concat();
        if wildcard.len() > MAX_NAME_BYTES {
            return Ok(());
        }
        self.put_nsec3(proofs.covering(&wildcard))
    }
}

#[cfg(test)]
mod tests {
    use crate::answer::{Class, Kind, Query, answer};
    use crate::name;
    use crate::rtype::Type;
    use crate::steer::Asker;
    use crate::zone::tree::testing;

    /// The zone of RFC 5155 appendix A, without its signatures.
    const EXAMPLE: &str = "
        @ SOA ns1 bugs.x.w 1 3600 300 3600000 3600
        @ NS ns1
        @ NS ns2
        @ MX 1 xx
        @ DNSKEY 256 3 7 AQABAQ==
        @ NSEC3PARAM 1 0 12 aabbccdd
        0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG
        2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
        2vptu5timamqttgl4luu9kg21e0aor3s NSEC3 1 1 12 aabbccdd 35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG
        35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 1 12 aabbccdd b4um86eghhds6nea196smvmlo4ors995 NS DS RRSIG
        a NS ns1.a
        a DS 58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C
        ns1.a A 192.0.2.5
        ai A 192.0.2.9
        b4um86eghhds6nea196smvmlo4ors995 NSEC3 1 1 12 aabbccdd gjeqe526plbf1g8mklp59enfd789njgi MX RRSIG
        c NS ns1.c
        ns1.c A 192.0.2.7
        gjeqe526plbf1g8mklp59enfd789njgi NSEC3 1 1 12 aabbccdd ji6neoaepv8b5o6k4ev33abha8ht9fgc HINFO A AAAA RRSIG
        ji6neoaepv8b5o6k4ev33abha8ht9fgc NSEC3 1 1 12 aabbccdd k8udemvp1j2f7eg6jebps17vp3n8i58h
        k8udemvp1j2f7eg6jebps17vp3n8i58h NSEC3 1 1 12 aabbccdd kohar7mbb8dc2ce8a9qvl8hon4k53uhi
        kohar7mbb8dc2ce8a9qvl8hon4k53uhi NSEC3 1 1 12 aabbccdd q04jkcevqvmu85r014c7dkba38o0ji5r A RRSIG
        ns1 A 192.0.2.1
        ns2 A 192.0.2.2
        q04jkcevqvmu85r014c7dkba38o0ji5r NSEC3 1 1 12 aabbccdd r53bq7cc2uvmubfu5ocmm6pers9tk9en A RRSIG
        r53bq7cc2uvmubfu5ocmm6pers9tk9en NSEC3 1 1 12 aabbccdd t644ebqk9bibcna874givr6joj62mlhv MX RRSIG
        t644ebqk9bibcna874givr6joj62mlhv NSEC3 1 1 12 aabbccdd 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom HINFO A AAAA RRSIG
        *.w MX 1 ai
        x.w MX 1 xx
        x.y.w MX 1 xx
        xx A 192.0.2.10";

    /// The answer's kind, and the first letters of the NSEC3 owners in its authority section.
    fn check(name: &str, rtype: Type, kind: Kind, expected: &[&str]) {
        check_in(EXAMPLE, name, rtype, kind, expected);
    }

    fn check_in(zone: &str, name: &str, rtype: Type, kind: Kind, expected: &[&str]) {
        let view = testing::view(&[("example", zone)]);
        let wire = name::parse_to_wire(name.as_bytes(), None).unwrap();
        let ask = |dnssec_ok| {
            let query =
                Query { qname: &wire, qtype: rtype, qclass: Class::In, dnssec_ok, asker: Asker::default() };
            let answer = answer(&view, query);
            let proofs = answer.authority.iter().filter(|placed| placed.set.rtype == Type::NSEC3);
            let owners: Vec<String> =
                proofs.map(|placed| String::from_utf8_lossy(&placed.owner[1..5]).into_owned()).collect();
            (answer.kind, owners)
        };
        assert_eq!(ask(true), (kind, expected.iter().map(|owner| (*owner).to_owned()).collect()), "{name}");
        assert_eq!(ask(false), (kind, Vec::new()), "{name}, without DNSSEC");
    }

    #[test]
    fn the_answers_of_rfc_5155_appendix_b_are_proved() {
        check("a.c.x.w.example.", Type::A, Kind::NxDomain, &["b4um", "0p9m", "35mt"]);
        check("ns1.example.", Type::MX, Kind::NoData, &["2t7b"]);
        check("y.w.example.", Type::A, Kind::NoData, &["ji6n"]);
        check("mc.c.example.", Type::MX, Kind::Referral, &["0p9m", "35mt"]);
        check("a.z.w.example.", Type::MX, Kind::Positive, &["q04j"]);
        check("a.z.w.example.", Type::AAAA, Kind::NoData, &["k8ud", "q04j", "r53b"]);
        check("example.", Type::DS, Kind::NoData, &["0p9m"]);
        check("a.example.", Type::DS, Kind::Positive, &[]);
        check("c.example.", Type::DS, Kind::NoData, &["0p9m", "35mt"]);
    }

    #[test]
    fn a_wildcard_that_opt_out_leaves_without_a_record_is_covered_by_its_span() {
        let zone = format!("{EXAMPLE}\n        x.* NS ns1.c");
        check_in(&zone, "p.example.", Type::A, Kind::NoData, &["0p9m", "ji6n", "gjeq"]);
    }

    #[test]
    fn a_name_that_only_holds_a_hash_does_not_exist() {
        let hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.";
        for rtype in [Type::NSEC3, Type::A] {
            let view = testing::view(&[("example", EXAMPLE)]);
            for name in [hash.to_owned(), format!("x.{hash}")] {
                let wire = name::parse_to_wire(name.as_bytes(), None).unwrap();
                let query = Query {
                    qname: &wire,
                    qtype: rtype,
                    qclass: Class::In,
                    dnssec_ok: true,
                    asker: Asker::default(),
                };
                assert_eq!(answer(&view, query).kind, Kind::NxDomain, "{name}");
            }
        }
    }
}
