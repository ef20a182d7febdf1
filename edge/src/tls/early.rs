//! Early data: a request that comes with the first flight of a session that resumes (RFC 8446 §2.3, RFC 8470).
//!
//! It can be recorded and sent again. So a session is used once: it is kept in the memory of this process, which
//! forgets it with the first ClientHello that names it (RFC 8446 §8.1). Tickets, which any edge with the secret can read
//! and none can use up, carry no early data.
//!
//! Over QUIC a client that resumes goes by the settings and transport parameters of before, and none of them may have become
//! less (RFC 9114 §7.2.4.2, RFC 9000 §7.4.1). The transport parameters that it remembers are constants, and sessions end with
//! the process. One setting is from the config, so a session is kept under the value that its client was told.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::server::{ProducesTickets, StoresServerSessions};

/// Sessions that may bring early data, each of them once.
///
/// rustls has such a store, which looks through all of its keys for one that is taken.
pub struct Sessions {
    kept: Mutex<Kept>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// A session, and its number.
    by_key: HashMap<Vec<u8>, (u64, Vec<u8>)>,
    /// The oldest has the least number.
    keys: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

/// A session is some 400 bytes, 650 with its keys and its places, and a handshake makes two: 13 MB at most.
const MOST_SESSIONS: usize = 20_000;
/// A request without content is shorter, or is not early.
const MOST_EARLY_BYTES: u32 = 16 << 10;

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), closed: AtomicBool::new(false) })
    }

    /// Forgets all of them, for good: also handshakes that have begun find none any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // A handshake that has begun may still put one: it looks at the flag behind this lock.
        *self.kept() = Kept::default();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Keeps a session, and forgets the oldest if there are more than `most` then.
    fn put(&mut self, key: Vec<u8>, session: Vec<u8>, most: usize) {
        self.take(&key);
        self.next += 1;
        self.keys.insert(self.next, key.clone());
        self.by_key.insert(key, (self.next, session));
        if self.by_key.len() > most
            && let Some((_, oldest)) = self.keys.pop_first()
        {
            self.by_key.remove(&oldest);
        }
    }

    fn take(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let (number, session) = self.by_key.remove(key)?;
        self.keys.remove(&number);
        Some(session)
    }
}

/// Makes sessions of these terms bring early data.
#[must_use]
pub fn with_early_data(mut terms: ServerConfig, sessions: &Arc<Sessions>) -> ServerConfig {
    terms.session_storage = Arc::clone(sessions) as Arc<_>;
    terms.ticketer = Arc::new(NoTickets);
    terms.max_early_data_size = MOST_EARLY_BYTES;
    // The answer goes out before the handshake has ended.
    terms.send_half_rtt_data = true;
    terms
}

/// The same over QUIC, for connections that are told this `MAX_FIELD_SECTION_SIZE`.
#[must_use]
pub fn with_early_data_over_quic(
    mut terms: ServerConfig,
    sessions: &Arc<Sessions>,
    head_bytes: u64,
) -> ServerConfig {
    terms.session_storage = Arc::new(OfQuic { sessions: Arc::clone(sessions), head_bytes });
    terms.ticketer = Arc::new(NoTickets);
    // RFC 9001 §4.6.1: there is no other value. The windows of flow control bound early data.
    terms.max_early_data_size = u32::MAX;
    terms
}

/// The sessions of clients that were told one setting. Those of another are not found: their clients get a whole handshake.
#[derive(Debug)]
struct OfQuic {
    sessions: Arc<Sessions>,
    head_bytes: u64,
}

impl OfQuic {
    /// It is longer than a key over TCP, so neither finds a session of the other.
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.head_bytes.to_be_bytes(), key].concat()
    }
}

impl StoresServerSessions for OfQuic {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut kept = self.kept();
        let is_open = !self.is_closed();
        if is_open {
            kept.put(key, value, MOST_SESSIONS);
        }
        is_open
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.kept().by_key.get(key).map(|(_, session)| session.clone());
        session.filter(|_| !self.is_closed())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept().take(key).filter(|_| !self.is_closed())
    }

    fn can_cache(&self) -> bool {
        !self.is_closed()
    }
}

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ClientConfig, RootCertStore, quic};

    use super::*;

    #[test]
    fn a_session_is_used_once_and_none_when_they_are_closed() {
        let sessions = Sessions::new();
        assert!(sessions.put(vec![1], vec![2]) && sessions.put(vec![3], vec![4]));
        assert_eq!((sessions.take(&[1]), sessions.take(&[1])), (Some(vec![2]), None));
        sessions.close();
        assert_eq!((sessions.take(&[3]), sessions.put(vec![5], vec![6])), (None, false));
    }

    /// Carries what `from` has to say, and `to` answers nothing yet.
    fn carry(from: &mut quic::Connection, to: &mut quic::Connection) {
        loop {
            let mut bytes = Vec::new();
            let has_new_keys = from.write_hs(&mut bytes).is_some();
            if !bytes.is_empty() {
                to.read_hs(&bytes).unwrap();
            } else if !has_new_keys {
                return;
            }
        }
    }

    fn of_client(terms: &Arc<ClientConfig>) -> quic::Connection {
        let name = "site.test".try_into().unwrap();
        quic::ClientConnection::new(Arc::clone(terms), quic::Version::V1, name, vec![]).unwrap().into()
    }

    fn of_server(terms: &Arc<ServerConfig>) -> quic::Connection {
        quic::ServerConnection::new(Arc::clone(terms), quic::Version::V1, vec![]).unwrap().into()
    }

    /// Terms of a client and of a server that knows no sessions.
    fn both_ends() -> (ClientConfig, ServerConfig) {
        let made = rcgen::generate_simple_self_signed(["site.test".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = || Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_early_data = true;
        client.alpn_protocols = vec![b"h3".to_vec()];
        server.alpn_protocols.clone_from(&client.alpn_protocols);
        (client, server)
    }

    #[test]
    fn a_clienthello_over_quic_brings_early_data_once_and_only_to_the_settings_that_its_client_knows() {
        let (client, server) = both_ends();
        let sessions = Sessions::new();
        let [server, other] =
            [1, 2].map(|bytes| Arc::new(with_early_data_over_quic(server.clone(), &sessions, bytes)));
        let client = Arc::new(client);
        let (mut first, mut answering) = (of_client(&client), of_server(&server));
        for _ in 0..2 {
            carry(&mut first, &mut answering);
            carry(&mut answering, &mut first);
        }
        let mut hello = Vec::new();
        of_client(&client).write_hs(&mut hello);
        let is_early = |server| {
            let mut connection = of_server(server);
            connection.read_hs(&hello).unwrap();
            connection.zero_rtt_keys().is_some()
        };
        assert_eq!([is_early(&other), is_early(&server), is_early(&server)], [false, true, false]);
    }

    #[test]
    fn the_oldest_session_goes_for_one_too_many_and_one_that_was_used_takes_no_place() {
        let mut kept = Kept::default();
        let check = |kept: &Kept, expected: &[u8]| {
            let mut keys: Vec<u8> = kept.by_key.keys().map(|key| key[0]).collect();
            keys.sort_unstable();
            assert_eq!((keys.as_slice(), kept.keys.len()), (expected, expected.len()));
        };
        (1..=3).for_each(|key| kept.put(vec![key], vec![0], 3));
        assert_eq!(kept.take(&[2]), Some(vec![0]));
        kept.put(vec![4], vec![0], 3);
        check(&kept, &[1, 3, 4]);
        kept.put(vec![3], vec![7], 3);
        kept.put(vec![5], vec![0], 3);
        check(&kept, &[3, 4, 5]);
        kept.put(vec![6], vec![0], 3);
        check(&kept, &[3, 5, 6]);
        assert_eq!(kept.take(&[3]), Some(vec![7]), "put again, it was not the oldest");
    }
}
