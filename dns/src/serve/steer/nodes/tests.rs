//! Certificates and messages of other name servers that one takes or refuses, and its warnings.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::config::Identity;

/// The mesh of the first of three name servers, with a certificate of these names in a folder, or why there is none.
fn mesh(folder: &Path, names: &[&str]) -> Result<Mesh, String> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let identity = Identity { certificate: folder.join("own.pem"), key: folder.join("own.key") };
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let leaf = certificate(names, &authority);
    std::fs::write(&identity.certificate, leaf.0.pem()).unwrap();
    std::fs::write(&identity.key, leaf.1.serialize_pem()).unwrap();
    let node = |at: u8| Node { address: ([192, 0, 2, at], 5300).into(), name: format!("ns{at}.example.net") };
    let listen = "0.0.0.0:5300".parse().unwrap();
    Mesh::new(Quorum { listen, nodes: (1..=3).map(node).collect(), identity, ca: folder.join("ca.pem") })
}

fn certificate(
    names: &[&str],
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    (CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap(), key)
}

/// One message as it is sent.
fn framed(message: &Message) -> Vec<u8> {
    let json = serde_json::to_vec(message).unwrap();
    [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], &json].concat()
}

#[tokio::test]
async fn a_server_that_reaches_itself_does_not_count_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = mesh(folder.path(), &["ns2.example.net"]).unwrap();
    assert_eq!(
        mesh.names(),
        ("ns2.example.net".to_owned(), ["ns1.example.net", "ns3.example.net"].map(str::to_owned).to_vec()),
        "it is none of the others, wherever it listens"
    );
    let (targets, _targets) = tokio::sync::mpsc::unbounded_channel();
    let board = Board::new(folder.path().to_owned(), targets, "ns2.example.net", &mesh.names().1);
    let message = |run| Message { run, sequence: 1, whole: true, ..Message::default() };
    let why = mesh.hear(0, &framed(&message(mesh.run))[..], &board).await.unwrap_err();
    assert_eq!(why.to_string(), "it is this server itself");
    assert_eq!(board.nodes()[0].heard, None);
    // That of another counts.
    let end = mesh.hear(0, &framed(&message(!mesh.run))[..], &board).await.unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(board.nodes()[0].heard, Some(0));
}

#[test]
fn a_certificate_speaks_for_one_other_name_server_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = mesh(folder.path(), &["ns2.example.net"]).unwrap();
    let authority =
        CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap()).unwrap();
    let from = "192.0.2.9:5".parse().unwrap();
    for (names, expected) in [
        (&["ns1.example.net"][..], Ok(0)),
        (&["ns3.example.net"], Ok(1)),
        (&["ns2.example.net"], Err("its certificate has this server's own name")),
        (&["ns1.example.net", "ns3.example.net"], Err("its certificate has the names of several nodes")),
        (&["ns4.example.net"], Err("its certificate has the name of no node")),
    ] {
        let found = mesh.other(certificate(names, &authority).0.der(), from);
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{names:?}");
    }
    // A stranger is no mistake of a config.
    assert_eq!(mesh.warned.lock().unwrap().len(), 2);
}

#[test]
fn a_server_whose_certificate_has_the_names_of_several_nodes_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let why = mesh(folder.path(), &["ns1.example.net", "ns2.example.net"]).err().unwrap();
    assert!(why.contains("own.pem: it has the names of several `nodes`"), "{why}");
}

#[test]
fn a_certificate_that_does_not_lead_to_the_roots_is_found_before_the_others_refuse_it() {
    let folder = tempfile::tempdir().unwrap();
    let quorum = mesh(folder.path(), &["ns1.example.net"]).unwrap().quorum;
    assert_eq!(inspect(&quorum, clock::system_now()), Ok(Standing::Good));
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(&quorum.ca, other.pem()).unwrap();
    let why = inspect(&quorum, clock::system_now()).unwrap_err();
    assert!(why.contains("own.pem: the other name servers will refuse it"), "{why}");
}

#[tokio::test]
async fn a_connection_to_another_comes_from_the_address_of_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = "127.0.0.3:5300".parse().unwrap();
    let (_stream, accepted) = tokio::join!(dial(listen, listener.local_addr().unwrap()), listener.accept());
    assert_eq!(accepted.unwrap().1.ip().to_string(), "127.0.0.3");
}
