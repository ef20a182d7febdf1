//! TLS to an origin: which certificate it must show, and which one the edge shows.
//!
//! Invariant: an origin is verified always. Without roots that vouch for it no request reaches it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};

use crate::site::origin::{Roots, Secure};

/// RFC 7301, RFC 9113 §3.2.
const HTTP_1: &[u8] = b"http/1.1";
/// As ALPN has HTTP/2.
pub(super) const HTTP_2: &[u8] = b"h2";

/// The terms of handshakes with one origin.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) name: ServerName<'static>,
    /// Offers HTTP/2, if the config lets it.
    pub(super) any: Arc<ClientConfig>,
    /// For requests that HTTP/2 has no form for.
    pub(super) http1: Arc<ClientConfig>,
}

/// Why an origin cannot be asked over TLS.
#[derive(Debug)]
pub enum Unusable {
    /// It is neither a host's name nor an address.
    Name,
    /// Its file holds no certificate, or something that is none.
    Roots,
    /// The edge's own certificate and key do not belong together, or are no such things.
    Identity(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("no name that a certificate could be for"),
            Self::Roots => f.write_str("no file of certificates: PEM, with BEGIN CERTIFICATE"),
            Self::Identity(why) => write!(f, "no certificate that can be shown to origins: {why}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// Looks whether these terms can be used.
///
/// # Errors
/// When a handshake by them could never succeed.
pub fn check(secure: &Secure) -> Result<(), Unusable> {
    terms(secure).map(drop)
}

pub(super) fn terms(secure: &Secure) -> Result<Terms, Unusable> {
    let name = ServerName::try_from(secure.name.clone()).map_err(|_| Unusable::Name)?;
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("the provider has these versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(&secure.roots, provider)?));
    let mut http1 = match &secure.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let wrong = |error: &dyn fmt::Display| Unusable::Identity(error.to_string());
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.chain).collect();
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| wrong(&error))?;
            builder
                .with_client_auth_cert(chain.map_err(|error| wrong(&error))?, key)
                .map_err(|error| wrong(&error))?
        }
    };
    http1.alpn_protocols = vec![HTTP_1.to_vec()];
    let mut any = http1.clone();
    if secure.http2 {
        any.alpn_protocols.insert(0, HTTP_2.to_vec());
    }
    Ok(Terms { name, any: Arc::new(any), http1: Arc::new(http1) })
}

/// Terms for what is no HTTP.
pub(super) fn bare(roots: &Roots) -> Result<ClientConfig, Unusable> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("the provider has these versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(roots, provider)?));
    Ok(builder.with_no_client_auth())
}

/// The hybrid with ML-KEM first, which recorded traffic stays secret by when quantum computers come.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Takes what the roots vouch for, and a certificate that is itself one of them: so operators name the certificate of an
/// origin that has signed its own.
#[derive(Debug)]
struct Verifier {
    by_roots: Arc<WebPkiServerVerifier>,
    /// Empty where the roots are the system's.
    given: Vec<CertificateDer<'static>>,
}

fn verifier(roots: &Roots, provider: Arc<CryptoProvider>) -> Result<Verifier, Unusable> {
    let (store, given) = match roots {
        Roots::System => (system(), Vec::new()),
        Roots::Given(pem) => {
            let read: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let given = read.map_err(|_| Unusable::Roots)?;
            let mut store = RootCertStore::empty();
            for certificate in &given {
                store.add(certificate.clone()).map_err(|_| Unusable::Roots)?;
            }
            (Arc::new(store), given)
        }
    };
    let by_roots = WebPkiServerVerifier::builder_with_provider(store, provider).build();
    Ok(Verifier { by_roots: by_roots.map_err(|_| Unusable::Roots)?, given })
}

/// The system's roots, read once.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            tracing::error!(
                target: "verge_edge::origin",
                "this system has no root certificates, so no https origin can be trusted: install ca-certificates, or name a file in `origin_roots`"
            );
            // The builder refuses an empty store. Nobody has the key of this one.
            store.roots.extend(none());
        }
        Arc::new(store)
    };
    Arc::clone(SYSTEM.get_or_init(read))
}

/// A root for which no certificate can be signed: its key is empty.
fn none() -> Option<rustls::pki_types::TrustAnchor<'static>> {
    Some(rustls::pki_types::TrustAnchor {
        subject: Vec::new().into(),
        subject_public_key_info: Vec::new().into(),
        name_constraints: None,
    })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.given.iter().any(|given| given == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return in_time(end_entity, now).map(|()| ServerCertVerified::assertion());
        }
        self.by_roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// RFC 5280 §4.1.2.5.
fn in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
