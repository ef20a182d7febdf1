//! Networks as they are written, and those that nobody can mean to trust.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use toml::Spanned;

use super::place::Fault;

pub(super) fn networks(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let network = |text: &Spanned<String>| {
        let address = || text.get_ref().parse::<IpAddr>().map(IpNet::from);
        text.get_ref().parse().or_else(|_| address()).map_err(|_| {
            let message = "not a network: write \"10.0.0.0/8\", \"fd00::/8\", or one address";
            Fault::new(text.span(), message)
        })
    };
    written.iter().map(network).collect()
}

/// A network with a shorter prefix belongs to nobody: the biggest private ones are 10.0.0.0/8 and fc00::/7.
const LEAST_PREFIX_V4: u8 = 8;
const LEAST_PREFIX_V6: u8 = 7;

/// Networks whose word is taken: of proxies on their clients, of a CMS on what is to go.
pub(super) fn trusted(written: &[Spanned<String>]) -> Result<Vec<IpNet>, Fault> {
    let networks = networks(written)?;
    for (network, text) in networks.iter().zip(written) {
        if is_everybody(network) {
            let message = format!("{network} would make strangers trusted");
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
            // ::ffff:0:0/96 is IPv4 in other words.
            let in_mapped = network.prefix_len().checked_sub(96).zip(network.network().to_ipv4_mapped());
            let holds_mapped = network.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
            match in_mapped {
                Some((length, _)) => length < LEAST_PREFIX_V4,
                None => network.prefix_len() < LEAST_PREFIX_V6 || holds_mapped,
            }
        }
    }
}
