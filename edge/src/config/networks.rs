//! Networks as they are written, and those that nobody can mean to trust.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use toml::Spanned;

use super::place::Fault;

pub(super) fn networks(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let network = |text: &Spanned<String>| {
        let address = || text.get_ref().parse::<IpAddr>().map(IpNet::from);
        text.get_ref().parse().or_else(|_| address()).map(canonical).map_err(|_| {
            let message = "not a network: write \"10.0.0.0/8\", \"fd00::/8\", or one address";
            Fault::new(text.span(), message)
        })
    };
    written.iter().map(network).collect()
}

/// An IPv4 network in the words of IPv6 (`::ffff:10.0.0.0/104`) is that network: clients are compared by what their
/// address means (RFC 4291 §2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(written) = network else { return network };
    let mapped = written.network().to_ipv4_mapped().zip(written.prefix_len().checked_sub(96));
    mapped.and_then(|(first, length)| Ipv4Net::new(first, length).ok()).map_or(network, IpNet::V4)
}

/// A network with a shorter prefix belongs to nobody: the biggest private ones are 10.0.0.0/8 and fc00::/7.
const LEAST_PREFIX_V4: u8 = 8;
const LEAST_PREFIX_V6: u8 = 7;

/// Networks whose word is taken: of proxies on their clients, of a CMS on what is to go.
pub(super) fn trusted(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let networks = networks(written)?;
    for (network, text) in networks.iter().zip(written) {
        if is_everybody(network) {
            let message = format!("{} would make strangers trusted", text.get_ref());
            let help = "anybody's word would be taken; write the addresses of your own machines, such as \"10.0.1.0/24\"";
            return Err(Fault::new(text.span(), message).help(help));
        }
    }
    Ok(networks)
}

fn is_everybody(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < LEAST_PREFIX_V4,
        IpNet::V6(network) => {
            let holds_mapped = network.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
            network.prefix_len() < LEAST_PREFIX_V6 || holds_mapped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_version_4_in_version_6_is_what_it_means() {
        for (written, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            let read = networks(&[Spanned::new(0..1, written.to_owned())]).unwrap();
            assert_eq!(read, [expected.parse::<IpNet>().unwrap()], "{written}");
        }
    }
}
