//! Settings that name some of the listeners which the file has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::Spanned;

use super::place::Fault;
use crate::serve::Chosen;

/// Reads a list of addresses, each of which must be a listener's. `settings` are those that have them, by their keys.
pub(super) fn chosen(
    written: Option<&Spanned<Vec<Spanned<SocketAddr>>>>,
    settings: &[(&str, &[SocketAddr])],
) -> Result<Chosen, Fault> {
    let Some(written) = written else { return Ok(Chosen::All) };
    let listeners: Vec<SocketAddr> = settings.iter().flat_map(|(_, all)| all.iter().copied()).collect();
    let named: Vec<SocketAddr> = written.get_ref().iter().map(|address| *address.get_ref()).collect();
    let help = || {
        let keys: Vec<&str> = settings.iter().map(|(key, _)| *key).collect();
        let mut shown: Vec<String> = listeners.iter().map(|address| format!("\"{address}\"")).collect();
        shown.dedup();
        let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
        format!(
            "write addresses as `{}` have them: {shown}. Without the list it is for all of them",
            keys.join("` and `")
        )
    };
    if named.is_empty() {
        return Err(Fault::new(written.span(), "a list of no listener").help(help()));
    }
    for address in written.get_ref() {
        if !listeners.contains(address.get_ref()) {
            return Err(Fault::new(address.span(), "no listener has this address").help(help()));
        }
        let other = other_family(*address.get_ref());
        if let Some(other) = other.filter(|other| listeners.contains(other) && !named.contains(other)) {
            let message = format!("{other} is not named, and one socket may serve both");
            let help = "name the two addresses of a port, or none of them";
            return Err(Fault::new(address.span(), message).help(help));
        }
    }
    Ok(Chosen::At(named))
}

/// `[::]` with the port of `0.0.0.0`, or the other way round: where a reload adds the one, the socket of the other may go on for both.
fn other_family(address: SocketAddr) -> Option<SocketAddr> {
    let other: IpAddr = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    (address.port() != 0).then(|| SocketAddr::new(other, address.port()))
}
