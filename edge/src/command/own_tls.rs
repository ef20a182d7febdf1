//! TLS to the edge that a config is of. It is believed by its own certificates, whoever signed them and whatever the name.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
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
    let mut certificates = Vec::new();
    for files in tls.ok_or_else(none)?.certificates {
        let unreadable = |error| Failed::because(format!("{}: {error}", files.certificate.display()));
        certificates.push(CertificateDer::from_pem_file(&files.certificate).map_err(unreadable)?);
    }
    let provider = aws_lc_rs::default_provider();
    let own = Own { certificates, provider: provider.clone() };
    let mut terms = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(Failed::because)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(own))
        .with_no_client_auth();
    terms.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(Failed::because)?;
    TlsConnector::from(Arc::new(terms)).connect(name, stream).await.map_err(Failed::because)
}

/// Believes these certificates and no others.
#[derive(Debug)]
struct Own {
    certificates: Vec<CertificateDer<'static>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.certificates.iter().any(|own| own == shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
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
