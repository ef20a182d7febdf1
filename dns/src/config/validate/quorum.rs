//! Name servers that decide together who is up: each has an address and the name of its certificate, once.

use std::path::Path;

use rustls::pki_types::ServerName;
use toml::Spanned;

use super::{At, invalid};
use crate::config::file;
use crate::config::{ConfigError, Identity, Node, Quorum};

/// A full mesh of more is for another protocol.
const MOST_NODES: usize = 32;

/// The settings of `[steer.quorum]`.
pub(super) fn quorum(written: Spanned<file::Quorum>, base: &Path, at: At<'_>) -> Result<Quorum, ConfigError> {
    let place = at(written.span());
    let written = written.into_inner();
    let mut nodes: Vec<Node> = Vec::new();
    for text in &written.nodes {
        let node = node(text, at)?;
        if nodes.iter().any(|other| other.address == node.address || other.name == node.name) {
            let message = format!("`{}` is there twice", text.get_ref());
            return Err(invalid(
                at(text.span()),
                message,
                "each name server has an address and a name of its own",
            ));
        }
        nodes.push(node);
    }
    let identity = Identity { certificate: base.join(written.certificate), key: base.join(written.key) };
    let quorum = Quorum { listen: written.listen, nodes, identity, ca: base.join(written.ca) };
    match quorum.nodes.len() {
        0 | 1 => Err(invalid(
            place,
            "no other name server is named, so there is nobody to decide with",
            "name this one and the others: nodes = [\"192.0.2.53:5300#ns1.example.net\", \"192.0.2.54:5300#ns2.example.net\"]",
        )),
        2..=MOST_NODES => Ok(quorum),
        _ => Err(invalid(place, "these are too many name servers", format!("allowed: {MOST_NODES} at most"))),
    }
}

/// `192.0.2.54:5300#ns2.example.net`.
fn node(text: &Spanned<String>, at: At<'_>) -> Result<Node, ConfigError> {
    let read = || {
        let (address, name) = text.get_ref().split_once('#')?;
        ServerName::try_from(name).ok()?;
        Some(Node { address: address.parse().ok()?, name: name.to_owned() })
    };
    read().ok_or_else(|| {
        let help = "write its address and port, and the name of its certificate: \"192.0.2.54:5300#ns2.example.net\"";
        invalid(at(text.span()), format!("`{}` is no name server", text.get_ref()), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn read(nodes: &str) -> Result<Quorum, String> {
        let text = format!(
            "zones = \"z\"\nlisten = [\"192.0.2.1:53\"]\n[steer.quorum]\nlisten = \"192.0.2.1:5300\"\nnodes = [{nodes}]\n\
             certificate = \"own.pem\"\nkey = \"own.key\"\nca = \"ca.pem\"\n"
        );
        let config =
            parse(&text, Path::new("/etc"), Path::new("dns.toml")).map_err(|error| error.to_string())?;
        Ok(config.quorum.unwrap())
    }

    #[test]
    fn nodes_are_asked_by_address_and_name() {
        let found =
            read("\"192.0.2.1:5300#ns1.example.net\", \"[2001:db8::2]:5300#ns2.example.net\"").unwrap();
        let nodes: Vec<String> =
            found.nodes.iter().map(|node| format!("{} {}", node.address, node.name)).collect();
        assert_eq!(nodes, ["192.0.2.1:5300 ns1.example.net", "[2001:db8::2]:5300 ns2.example.net"]);
        assert_eq!(
            (found.ca.as_path(), found.identity.key.as_path()),
            (Path::new("/etc/ca.pem"), Path::new("/etc/own.key"))
        );
    }

    #[test]
    fn a_list_of_nodes_that_cannot_be_is_refused_at_its_place() {
        for (nodes, place, expected) in [
            ("", "dns.toml:3:1", "no other name server is named"),
            ("\"192.0.2.1:5300#ns1.example.net\"", "dns.toml:3:1", "no other name server is named"),
            ("\"192.0.2.2:5300\"", "dns.toml:5:10", "`192.0.2.2:5300` is no name server"),
            ("\"192.0.2.2#ns2.example.net\"", "dns.toml:5:10", "is no name server"),
            ("\"192.0.2.2:5300#a b\"", "dns.toml:5:10", "is no name server"),
            ("\"192.0.2.2:1#a.example\", \"192.0.2.2:1#b.example\"", "dns.toml:5:35", "is there twice"),
            ("\"192.0.2.2:1#a.example\", \"192.0.2.3:1#a.example\"", "dns.toml:5:35", "is there twice"),
        ] {
            let error = read(nodes).expect_err(nodes);
            assert!(error.starts_with(place) && error.contains(expected), "{nodes}: {error}");
        }
        let many: Vec<String> = (0..40).map(|at| format!("\"192.0.2.{at}:1#n{at}.example\"")).collect();
        assert!(read(&many.join(", ")).expect_err("too many").contains("too many name servers"));
    }
}
