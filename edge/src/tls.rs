//! TLS on the client's side: what a handshake agrees to, and which certificate it shows.
//!
//! ```text
//! ClientHello ─▶ certificates (by SNI) ─▶ terms (versions, ALPN, tickets) ─▶ an encrypted stream
//!                     ▲                              ▲
//!      files, read again when they change     tickets (keys from a secret that edges share)
//! ```
//!
//! Invariant: a file that changes and cannot be used changes nothing; the last good certificate or secret stays.

pub mod certificates;
pub mod clients;
mod compression;
pub mod early;
mod follow;
mod names;
pub mod ticketer;
pub mod tickets;
pub mod validity;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

pub use certificates::{CertificateError, Certificates, Files};
pub use clients::{Clients, Identity, Judge};
pub use early::Sessions;
pub use follow::{follow, standings};
pub use names::DnsNames;
pub use ticketer::{Apart, Seal, Ticketer};
pub use tickets::{SecretError, Tickets};

/// RFC 9325 §3.1.1: these two and nothing older.
const VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
/// RFC 9113 §3.2 and RFC 7301: HTTP/2 as ALPN has it.
pub const HTTP_2: &[u8] = b"h2";
/// HTTP/1.1 as ALPN has it.
pub const HTTP_1: &[u8] = b"http/1.1";
/// RFC 9114 §3.1: HTTP/3 as ALPN has it.
pub const HTTP_3: &[u8] = b"h3";

/// The terms of a handshake over TCP, or over QUIC for `HTTP_3` alone. They refuse early data: a recorded request could
/// be sent again (RFC 8470 §3). See [`early`].
#[must_use]
pub fn terms<T: ProducesTickets + 'static>(
    certificates: &Arc<Certificates>,
    clients: &Arc<Clients>,
    ticketer: &Arc<T>,
    protocols: &[&[u8]],
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has these versions")
        .with_client_cert_verifier(Arc::clone(clients) as Arc<_>)
        .with_cert_resolver(Arc::clone(certificates) as Arc<_>);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.cert_compressors = compression::ALL.to_vec();
    // Sessions live in tickets, so that any edge can resume them; a store of its own would only take memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::clone(ticketer) as Arc<_>;
    config
}
