//! TLS to the edge that a config is of. It is believed by its own certificates, whoever signed them and whatever the name;
//! one that `--ca` names, by those and what they signed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use verge_edge::config;

use super::Failed;

/// Agrees on TLS with the edge of this config, as a client that asks for `host`.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    file: &Path,
) -> Result<TlsStream<TcpStream>, Failed> {
    let tls = config::load(file).map_err(Failed::of_config)?.tls;
    let none = || Failed::because(format!("{} has no [tls]", file.display()));
    let certificates = tls.ok_or_else(none)?.certificates;
    let files: Vec<&Path> = certificates.iter().map(|files| files.certificate.as_path()).collect();
    let name = ServerName::try_from(host.to_owned()).map_err(Failed::because)?;
    only(&files)?.connect(name, stream).await.map_err(Failed::because)
}

/// TLS with one who shows the first certificate of one of these files.
pub(super) fn only(files: &[&Path]) -> Result<TlsConnector, Failed> {
    let read = |file: &&Path| {
        CertificateDer::from_pem_file(file)
            .map_err(|error| Failed::because(format!("{}: {error}", file.display())))
    };
    connector(files.iter().map(read).collect::<Result<_, _>>()?, None)
}

/// TLS with one who shows a certificate of this file, or one that it has signed for the address.
pub(super) fn signed_by(file: &Path) -> Result<TlsConnector, Failed> {
    let unreadable = |error: &dyn std::fmt::Display| Failed::because(format!("{}: {error}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    if certificates.is_empty() {
        return Err(unreadable(&"the file holds no certificate (BEGIN CERTIFICATE)"));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let signers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    connector(certificates, signers.ok())
}

fn connector(
    certificates: Vec<CertificateDer<'static>>,
    signers: Option<Arc<WebPkiServerVerifier>>,
) -> Result<TlsConnector, Failed> {
    let provider = aws_lc_rs::default_provider();
    let own = Own { certificates, signers, provider: provider.clone() };
    let mut terms = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(Failed::because)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(own))
        .with_no_client_auth();
    terms.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(terms)))
}

/// Believes these certificates, and those that the signers have signed for the name, and no others.
#[derive(Debug)]
struct Own {
    certificates: Vec<CertificateDer<'static>>,
    signers: Option<Arc<WebPkiServerVerifier>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.signers {
            _ if self.certificates.iter().any(|own| own == shown) => Ok(ServerCertVerified::assertion()),
            Some(signers) => signers.verify_server_cert(shown, chain, name, ocsp, now),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
