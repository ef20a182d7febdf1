//! Certificates of clients: who signs them, and whom they name.
//!
//! A session that resumes shows no certificate: the ticket has the one that its first handshake showed, perhaps to an edge
//! that asked for none, or before the file of those who sign was another. So what a handshake ended with is judged again
//! ([`Clients::admit`]).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::certificates::{CertificateError, CertificateFault};

/// Which certificates clients may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The certificates of those who sign clients' certificates, in PEM.
    pub ca: PathBuf,
    /// Whether a client without one is turned away.
    pub required: bool,
}

/// Judges the certificates of clients, by terms that a reload may change.
pub struct Clients {
    current: ArcSwapOption<Judge>,
}

/// The judge of certificates by one config.
#[derive(Debug)]
pub struct Judge {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients").field(&self.current.load()).finish()
    }
}

impl Judge {
    /// Reads the file of those who sign.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn load(asked: &Asked) -> Result<Arc<Self>, CertificateError> {
        let roots = roots(&asked.ca).map_err(|fault| fault_of(&asked.ca, fault))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let unusable = |error: rustls::server::VerifierBuilderError| {
            fault_of(&asked.ca, CertificateFault::Unusable(Error::General(error.to_string())))
        };
        Ok(Arc::new(Self { verifier: verifier.map_err(unusable)?, required: asked.required }))
    }
}

fn roots(ca: &Path) -> Result<RootCertStore, CertificateFault> {
    let pem = std::fs::read(ca).map_err(CertificateFault::Unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(CertificateFault::Malformed)?;
        roots.add(certificate).map_err(CertificateFault::Unusable)?;
    }
    if roots.is_empty() { Err(CertificateFault::NoCertificate) } else { Ok(roots) }
}

fn fault_of(ca: &Path, fault: CertificateFault) -> CertificateError {
    CertificateError { path: ca.to_owned(), setting: "clients.ca", fault }
}

impl Clients {
    /// By this judge; none asks for no certificate.
    #[must_use]
    pub fn new(judge: Option<Arc<Judge>>) -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::new(judge) })
    }

    /// Another judge from now on.
    pub fn put(&self, judge: Option<Arc<Judge>>) {
        self.current.store(judge);
    }

    /// The client of a handshake that has ended; none if the client need not and does not say.
    ///
    /// # Errors
    /// When it may not come in.
    pub fn admit(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<Option<Arc<Identity>>, Error> {
        let Some(judge) = self.current.load_full() else { return Ok(None) };
        match shown.and_then(<[_]>::split_first) {
            None if judge.required => Err(Error::NoCertificatesPresented),
            None => Ok(None),
            Some((own, others)) => {
                judge.verifier.verify_client_cert(own, others, UnixTime::now())?;
                Ok(Some(Arc::new(Identity::of(own))))
            }
        }
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.current.load().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.current.load().as_ref().is_some_and(|judge| judge.required)
    }

    /// None is named: a reload may change them, and clients that choose by them take this for any.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.current.load_full() {
            Some(judge) => judge.verifier.verify_client_cert(own, others, now),
            // It was asked for a moment ago, and a reload asks for none.
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, own, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, own, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The client that a certificate names.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    subject: String,
    field: HeaderValue,
}

impl Identity {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let subject = match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, parsed)) => parsed.subject().to_string(),
            Err(_) => String::new(),
        };
        let field = HeaderValue::try_from(format!(":{}:", STANDARD.encode(certificate)));
        Self { subject, field: field.expect("base64 is text") }
    }

    /// The subject, as in `CN=Ann, O=Example`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The certificate as the origin gets it (RFC 9440 §2.2).
    #[must_use]
    pub fn field(&self) -> HeaderValue {
        self.field.clone()
    }
}
