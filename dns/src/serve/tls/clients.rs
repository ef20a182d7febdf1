//! Certificates of clients (mutual TLS, RFC 9103 §9.3.3): asked for where a `[[transfer]]` demands one, and judged once they are shown.
//!
//! A client may show any certificate, or none: its questions are answered as everybody's. A proof by certificate decides on
//! transfers alone.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::client::{Demand, Proved};
use crate::world::World;

/// Asks clients for a certificate where a rule demands one, and has them prove that they have its key.
#[derive(Debug)]
pub(crate) struct Asks {
    world: Arc<ArcSwap<World>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Asks {
    pub(crate) fn new(world: Arc<ArcSwap<World>>) -> Self {
        Self { world, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for Asks {
    fn offer_client_auth(&self) -> bool {
        !self.world.load().protocol.roots.is_empty()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Any: [`proved`] says what it is worth.
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The demands of the rules that a chain meets, if one was shown; its first certificate is the client's own.
pub(crate) fn proved(world: &World, chain: Option<&[CertificateDer<'_>]>, unix_seconds: u64) -> Proved {
    let Some(chain) = chain else { return Proved::default() };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
    let roots = world.protocol.roots.iter().filter(|(_, roots)| leads_to(roots, chain, now));
    let trusted: HashSet<&PathBuf> = roots.map(|(file, _)| file).collect();
    let is_met = |demand: &&Demand| trusted.contains(&demand.roots) && is_for(&demand.names, chain);
    Proved::of(world.protocol.transfers.demands().iter().filter(is_met).cloned())
}

/// Whether a chain leads to one of the roots, or its first certificate is one of them: `openssl req -x509` makes one that is
/// its own root, which no chain may end in.
fn leads_to(roots: &[Box<[u8]>], chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
    let Some((own, rest)) = chain.split_first() else { return false };
    if roots.iter().any(|root| **root == *own.as_ref()) {
        return true;
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|root| CertificateDer::from(root.to_vec())));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build();
    verifier.is_ok_and(|verifier| verifier.verify_client_cert(own, rest, now).is_ok())
}

/// Whether the client's own certificate is for one of the names, if there are any.
fn is_for(names: &[String], chain: &[CertificateDer<'_>]) -> bool {
    let Some(own) = chain.first() else { return false };
    let Ok(own) = ParsedCertificate::try_from(own) else { return false };
    let is_for = |name: &String| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&own, &name).is_ok())
    };
    names.is_empty() || names.iter().any(is_for)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    use super::*;
    use crate::transfer::Rule;

    /// A world whose rules demand a certificate of `roots` for these names.
    fn world(roots: &[&CertificateDer<'_>], names: &[&str]) -> (World, Demand) {
        let demand =
            Demand { roots: "ca.pem".into(), names: names.iter().map(|name| (*name).to_owned()).collect() };
        let mut world = World::default();
        world.protocol.transfers =
            [Rule { certificate: Some(demand.clone()), ..Rule::default() }, Rule::default()]
                .into_iter()
                .collect();
        let roots = roots.iter().map(|root| root.as_ref().into()).collect();
        world.protocol.roots = Arc::new([(demand.roots.clone(), roots)].into());
        (world, demand)
    }

    #[test]
    fn a_certificate_proves_what_its_roots_and_its_name_say() {
        // 2026-01-01; rcgen's certificates are good from 1975 to 4096, but for one here.
        let now = 1_767_225_600;
        let own =
            |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.der().clone();
        let (pinned, other) = (own("ns2.example"), own("ns2.example"));
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let leaf = |change: &dyn Fn(&mut CertificateParams)| {
            let mut leaf = CertificateParams::new(["ns2.example".to_owned()]).unwrap();
            change(&mut leaf);
            leaf.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap().der().clone()
        };
        let good = leaf(&|_| {});
        let for_clients = leaf(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        let for_servers = leaf(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        let expired = leaf(&|it| it.not_after = rcgen::date_time_ymd(2025, 12, 31));
        let roots = [&pinned, authority.der()];
        for (case, names, shown, expected) in [
            ("the certificate itself", &[][..], &pinned, true),
            ("itself, of the name", &["ns2.example"][..], &pinned, true),
            ("itself, of another name", &["ns3.example"], &pinned, false),
            ("another with the same name", &["ns2.example"], &other, false),
            ("of the roots", &[], &good, true),
            ("of the roots and one of the names", &["ns3.example", "ns2.example"], &good, true),
            ("of the roots and another name", &["ns3.example"], &good, false),
            ("for clients", &[], &for_clients, true),
            ("for servers alone", &[], &for_servers, false),
            ("expired", &[], &expired, false),
            ("garbage", &[], &CertificateDer::from(vec![1, 2, 3]), false),
        ] {
            let (world, demand) = world(&roots, names);
            let found = proved(&world, Some(std::slice::from_ref(shown)), now);
            assert_eq!(found.meets(&demand), expected, "{case}");
            assert!(!found.meets(&Demand { roots: "other.pem".into(), ..demand }), "{case}");
        }
        let (world, demand) = world(&roots, &[]);
        assert!(!proved(&world, Some(&[]), now).meets(&demand));
        assert!(
            proved(&world, Some(&[good, other]), now).meets(&demand),
            "a certificate that is of no use does no harm"
        );
    }

    #[test]
    fn a_certificate_is_asked_for_where_a_rule_demands_one() {
        let asks = Asks::new(Arc::default());
        assert!(!asks.offer_client_auth());
        asks.world.store(Arc::new(world(&[], &[]).0));
        assert!(asks.offer_client_auth() && !asks.client_auth_mandatory());
    }
}
