//! A client that is to prove its address first (Retry, RFC 9000 §8.1.2), and comes back with the proof.
//!
//! It comes back to the connection ID of the Retry. That one is of no process of a row ([`Generation`]), and all of them have
//! one key for the proof: so the client is taken by whichever process reads the socket then, also where another one has taken
//! over meanwhile. Forwarded to the one before, which takes nobody any more, it would wait for its timeout.
//!
//! [`Generation`]: super::generation::Generation

use std::cell::Cell;

use quinn::{ConnectionId, Incoming};

use super::generation::ID_BYTES;

thread_local! {
    /// quinn has the ID made in the call that makes the Retry, and does not tell the generator what it is for.
    static IS_BEING_MADE: Cell<bool> = const { Cell::new(false) };
}

/// Has a client prove its address.
pub(super) fn demand_proof(incoming: Incoming) {
    IS_BEING_MADE.set(true);
    // It cannot fail for a client that has no token yet.
    let _ = incoming.retry();
    IS_BEING_MADE.set(false);
}

/// The connection ID of the Retry that is being made, if one is.
pub(super) fn connection_id() -> Option<ConnectionId> {
    IS_BEING_MADE.get().then(|| ConnectionId::new(&rand::random::<[u8; ID_BYTES]>()))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::time::Duration;

    use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
    use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::version::TLS13;
    use tokio::time::timeout;

    use super::*;
    use crate::serve::h3::address_tokens::AddressTokens;
    use crate::serve::h3::generation::Generation;
    use crate::serve::h3::shared_socket::{Channels, SharedSocket};

    /// The terms of a server, and those of a client that believes it.
    fn terms() -> (Arc<QuicServerConfig>, ClientConfig) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).unwrap();
        let provider = Arc::new(default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
        (Arc::new(QuicServerConfig::try_from(server).unwrap()), client)
    }

    fn endpoint(
        socket: &Arc<SharedSocket>,
        generation: Generation,
        crypto: &Arc<QuicServerConfig>,
    ) -> Endpoint {
        let tokens = AddressTokens::new();
        tokens.share(b"of the row");
        let mut config = EndpointConfig::default();
        config.cid_generator(move || Box::new(generation));
        let terms = ServerConfig::new(Arc::clone(crypto) as _, tokens.key());
        let socket = Arc::clone(socket) as _;
        Endpoint::new_with_abstract_socket(config, Some(terms), socket, Arc::new(TokioRuntime)).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_proves_its_address_while_another_process_takes_over_is_taken_by_that_one() {
        let (crypto, trust) = terms();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let first = Generation::first((1, 2));
        let one = SharedSocket::new(socket.try_clone().unwrap(), first, Channels::new(), true).unwrap();
        let before = one.channels().unwrap();
        let two = SharedSocket::new(socket, first.next(), before, false).unwrap();
        let (old, new) = (endpoint(&one, first, &crypto), endpoint(&two, first.next(), &crypto));
        let mut client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.set_default_client_config(trust);
        let connecting = tokio::spawn(client.connect(address, "localhost").unwrap());
        let incoming = old.accept().await.unwrap();
        assert!(!incoming.remote_address_validated());
        demand_proof(incoming);
        // The answer to the Retry is read after that, whoever reads it.
        old.set_server_config(None);
        one.hand_over();
        two.begin();
        let taken = timeout(Duration::from_secs(60), new.accept()).await;
        let incoming = taken.expect("the next process takes the client").unwrap();
        assert!(incoming.remote_address_validated());
        let (server, client) = (incoming.accept().unwrap(), connecting);
        server.await.unwrap();
        client.await.unwrap().unwrap();
    }
}
