//! Addresses to listen on: there is one, none is taken twice, and what is encrypted has a certificate.

use std::net::SocketAddr;

use toml::Spanned;

use super::{At, invalid};
use crate::config::ConfigError;
use crate::config::file::{File, Internal};

type Listed = Spanned<SocketAddr>;

/// Checks the listeners of both sides.
pub(super) fn check(written: &File, internal: &Internal, at: At<'_>) -> Result<(), ConfigError> {
    let plain = || written.listen.iter().chain(&internal.listen);
    let streams = || {
        let outside = written.listen_tls.iter().chain(&written.listen_https);
        outside.chain(&internal.listen_tls).chain(&internal.listen_https)
    };
    let quic = || written.listen_quic.iter().chain(&internal.listen_quic);
    if plain().chain(streams()).chain(quic()).next().is_none() {
        let message = "there is no address to listen on";
        let help = "add listen = [\"127.0.0.1:5300\"] above the first [table]";
        return Err(invalid(at(0..0), message, help));
    }
    // TCP and UDP have ports of their own.
    let outside = || written.listen.iter().chain(&written.listen_tls).chain(&written.listen_https);
    let on_both_sides = |address: &SocketAddr| {
        let outside = outside().chain(&written.listen_quic).any(|listen| listen.get_ref() == address);
        outside && of_inside(internal).any(|listen| listen.get_ref() == address)
    };
    check_apart(plain().chain(streams()), on_both_sides, at)?;
    check_apart(plain().chain(quic()), on_both_sides, at)?;
    check_demands(written, internal, at)?;
    match (streams().chain(quic()).next(), &written.tls) {
        (Some(listen), None) => Err(invalid(
            at(listen.span()),
            "there is no certificate for this listener",
            "add a section [tls] with certificate = \"…\" and key = \"…\"",
        )),
        (None, Some(tls)) => Err(invalid(
            at(tls.span()),
            "no listener shows this certificate",
            "add listen_tls, listen_https or listen_quic, or remove [tls]",
        )),
        _ => Ok(()),
    }
}

/// A client that takes zones can show a certificate somewhere, if one must.
fn check_demands(written: &File, internal: &Internal, at: At<'_>) -> Result<(), ConfigError> {
    let listened = [&written.listen_tls, &written.listen_quic, &internal.listen_tls, &internal.listen_quic];
    let demanded = written.transfer.iter().find_map(|rule| rule.get_ref().client_ca.as_ref());
    match demanded.filter(|_| listened.iter().all(|listed| listed.is_empty())) {
        None => Ok(()),
        Some(ca) => {
            let message = "nobody can show a certificate here: there is no listener over TLS or QUIC";
            let help = "add listen_tls = [\"192.0.2.1:853\"] and a section [tls]";
            Err(invalid(at(ca.span()), message, help))
        }
    }
}

/// All listeners of the inside.
pub(super) fn of_inside(internal: &Internal) -> impl Iterator<Item = &Listed> {
    internal
        .listen
        .iter()
        .chain(&internal.listen_tls)
        .chain(&internal.listen_https)
        .chain(&internal.listen_quic)
}

fn check_apart<'a>(
    listeners: impl Iterator<Item = &'a Listed>,
    is_inside: impl Fn(&SocketAddr) -> bool,
    at: At<'_>,
) -> Result<(), ConfigError> {
    let mut seen: Vec<SocketAddr> = Vec::new();
    for listen in listeners {
        // Port 0 asks the system for a free one, so equal texts are different ports.
        if listen.get_ref().port() != 0 && seen.contains(listen.get_ref()) {
            let message = format!("{} is listened on twice", listen.get_ref());
            let help = match is_inside(listen.get_ref()) {
                true => {
                    "one address can serve both sides: name it under [internal] alone, where clients in \
                         internal.clients see the inside and everybody else the outside"
                }
                false => "an address carries one protocol; give each listener its own",
            };
            return Err(invalid(at(listen.span()), message, help));
        }
        seen.push(*listen.get_ref());
    }
    Ok(())
}
