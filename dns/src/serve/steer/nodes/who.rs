//! Which of the name servers of `[steer.quorum]` has a certificate, and from which address this one reaches another.

use std::net::SocketAddr;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::config::{Node, Quorum};

/// Why a certificate is that of no name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// It cannot be read.
    Unreadable,
    /// It has no name of `nodes`.
    Unnamed,
    /// It has several of them, so that one server could speak for others.
    Several,
}

impl Nobody {
    /// In words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "its certificate cannot be read",
            Self::Unnamed => "its certificate has the name of no node",
            Self::Several => "its certificate has the names of several nodes",
        }
    }
}

/// The place in `nodes` of the one whose name a certificate has.
pub(super) fn whose(certificate: &CertificateDer<'_>, nodes: &[Node]) -> Result<usize, Nobody> {
    let certificate = ParsedCertificate::try_from(certificate).map_err(|_| Nobody::Unreadable)?;
    let is_of = |node: &Node| {
        let name = ServerName::try_from(node.name.as_str());
        name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    let mut found = nodes.iter().enumerate().filter(|(_, node)| is_of(node)).map(|(at, _)| at);
    let first = found.next().ok_or(Nobody::Unnamed)?;
    found.next().map_or(Ok(first), |_| Err(Nobody::Several))
}

/// The place of this server itself, by its certificate. `listen` may be an address that no node has, as behind NAT, but not that of
/// another one.
pub(super) fn own(quorum: &Quorum, certificate: &CertificateDer<'_>) -> Result<usize, String> {
    let path = quorum.identity.certificate.display();
    let own = match whose(certificate, &quorum.nodes) {
        Ok(own) => own,
        Err(Nobody::Unreadable) => return Err(format!("{path}: the certificate cannot be read")),
        Err(Nobody::Unnamed) => {
            return Err(format!("{path}: it has no name of `nodes`; name all of them, this server too"));
        }
        Err(Nobody::Several) => {
            return Err(format!("{path}: it has the names of several `nodes`; each needs one of its own"));
        }
    };
    match quorum.nodes.iter().position(|node| node.address == quorum.listen) {
        Some(at) if at != own => {
            let (listens, shown) = (&quorum.nodes[at].name, &quorum.nodes[own].name);
            Err(format!("{path}: it has the name {shown}, but `listen` is the address of {listens}"))
        }
        _ => Ok(own),
    }
}

/// The address, with any port, from which another is reached, so that it knows this one by it; none where the system chooses.
pub(super) fn source(mut listen: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
    let is_fit = !listen.ip().is_unspecified()
        && listen.is_ipv4() == to.is_ipv4()
        && (to.ip().is_loopback() || !listen.ip().is_loopback());
    listen.set_port(0);
    is_fit.then_some(listen)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::Identity;

    fn quorum(listen: &str) -> Quorum {
        let node =
            |at: u8| Node { address: ([192, 0, 2, at], 5300).into(), name: format!("ns{at}.example.net") };
        let identity = Identity { certificate: "own.pem".into(), key: "own.key".into() };
        let nodes = (1..=3).map(node).collect();
        Quorum { listen: listen.parse().unwrap(), nodes, identity, ca: "ca.pem".into() }
    }

    fn certificate(names: &str) -> CertificateDer<'static> {
        let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        let params = CertificateParams::new(names).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_is_that_of_the_only_node_whose_name_it_has() {
        for (names, expected) in [
            ("ns1.example.net", Ok(0)),
            ("NS3.example.net www.example.org", Ok(2)),
            ("www.example.net", Err(Nobody::Unnamed)),
            ("", Err(Nobody::Unnamed)),
            ("ns2.example.net ns3.example.net", Err(Nobody::Several)),
            ("*.example.net", Err(Nobody::Several)),
        ] {
            assert_eq!(whose(&certificate(names), &quorum("192.0.2.1:5300").nodes), expected, "{names}");
        }
        assert_eq!(whose(&CertificateDer::from(vec![0; 9]), &[]), Err(Nobody::Unreadable));
    }

    #[test]
    fn a_server_finds_itself_by_its_certificate_wherever_it_listens() {
        for (listen, names, expected) in [
            ("192.0.2.1:5300", "ns1.example.net", Ok(0)),
            ("0.0.0.0:5300", "ns2.example.net", Ok(1)),
            ("[::]:5300", "ns2.example.net", Ok(1)),
            ("10.0.0.7:5300", "ns3.example.net", Ok(2)),
            (
                "192.0.2.1:5300",
                "ns2.example.net",
                Err("it has the name ns2.example.net, but `listen` is the address of ns1.example.net"),
            ),
            ("0.0.0.0:5300", "www.example.net", Err("it has no name of `nodes`")),
            ("192.0.2.1:5300", "ns1.example.net ns2.example.net", Err("it has the names of several `nodes`")),
        ] {
            let found = own(&quorum(listen), &certificate(names));
            match (&found, expected) {
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{listen} {names}: {found}"),
                _ => assert_eq!(found.ok(), expected.ok(), "{listen} {names}"),
            }
        }
    }

    #[test]
    fn another_is_reached_from_the_address_that_it_knows_where_that_is_possible() {
        for (listen, to, expected) in [
            ("192.0.2.1:5300", "192.0.2.2:5300", "192.0.2.1:0"),
            ("[2001:db8::1]:5300", "[2001:db8::2]:5300", "[2001:db8::1]:0"),
            ("127.0.0.1:5300", "127.0.0.2:5300", "127.0.0.1:0"),
            ("0.0.0.0:5300", "192.0.2.2:5300", "any"),
            ("192.0.2.1:5300", "[2001:db8::2]:5300", "any"),
            ("127.0.0.1:5300", "192.0.2.2:5300", "any"),
        ] {
            let found = source(listen.parse().unwrap(), to.parse().unwrap());
            let found = found.map_or_else(|| "any".to_owned(), |found| found.to_string());
            assert_eq!(found, expected, "{listen} to {to}");
        }
    }
}
