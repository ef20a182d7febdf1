//! The commands for sites that clients ask for over https, on an edge that ends TLS itself.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::access_log::lines;
use super::{origin, run, serve_tls};

#[test]
fn it_pushes_warms_and_purges_what_clients_ask_for_over_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["site.test".to_owned()]).unwrap();
    std::fs::write(folder.path().join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin()
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let (serving, tls) = serve_tls(folder.path());
    let desk = ["--admin", &serving.admin, "--token-file", "verge-edge.token"];
    let run = |arguments: &[&str]| {
        let output = run(arguments, folder.path());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let warm = |url: &str| run(&["warm", url, "--edge-tls", &tls]);
    let check = |(code, said): (Option<i32>, String), expected: &str| {
        assert!(code == Some(0) && said.starts_with(expected), "{code:?} {said}, not {expected}");
    };
    check(warm("https://site.test/a"), "https://site.test/a: 200, 2 bytes, verge-edge; fwd=uri-miss");
    check(warm("https://site.test/a"), "https://site.test/a: 200, 2 bytes, verge-edge; hit");
    let purge = run(&[&["purge", "https://site.test/a"], &desk[..]].concat());
    check(purge, "https://site.test/a: 1 stored response purged");
    check(warm("https://site.test/a"), "https://site.test/a: 200, 2 bytes, verge-edge; fwd=uri-miss");
    std::fs::write(folder.path().join("b.css"), "body {}").unwrap();
    let push = ["push", "b.css", "--site", "site.test", "--scheme", "https"];
    check(run(&[&push, &desk[..]].concat()), "https://site.test/b.css: 7 bytes");
    check(warm("https://site.test/b.css"), "https://site.test/b.css: 200, 7 bytes, verge-edge; hit");
    // An edge that shows another certificate than the config's is another edge.
    let other = rcgen::generate_simple_self_signed(vec!["site.test".to_owned()]).unwrap();
    std::fs::create_dir(folder.path().join("other")).unwrap();
    for (name, pem) in [("chain.pem", other.cert.pem()), ("key.pem", other.signing_key.serialize_pem())] {
        std::fs::write(folder.path().join("other").join(name), pem).unwrap();
    }
    let config = std::fs::read_to_string(folder.path().join("edge.toml")).unwrap();
    std::fs::write(folder.path().join("other/edge.toml"), config).unwrap();
    let (code, said) =
        run(&["warm", "https://site.test/a", "--edge-tls", &tls, "--config", "other/edge.toml"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn the_access_log_names_a_client_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["site.test".to_owned()]).unwrap();
    std::fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut signer = CertificateParams::new(Vec::new()).unwrap();
    signer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signers_key = KeyPair::generate().unwrap();
    std::fs::write(path("ca.pem"), signer.self_signed(&signers_key).unwrap().pem()).unwrap();
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    client.distinguished_name.push(DnType::CommonName, "Ann");
    let key = KeyPair::generate().unwrap();
    let own = client.signed_by(&key, &Issuer::new(signer, signers_key)).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n\
         [tls.clients]\nca = \"ca.pem\"\n[log.access]\nto = \"./access.log\"\nformat = \"json\"\n\
         [[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        origin()
    );
    std::fs::write(path("edge.toml"), text).unwrap();
    let (_serving, tls) = serve_tls(folder.path());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path("chain.pem")).unwrap()).unwrap();
    let terms = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own], key)
        .unwrap();
    let session = ClientConnection::new(Arc::new(terms), "site.test".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(tls).unwrap());
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(lines(&path("access.log"), 1)[0]["user"], "CN=Ann");
}
