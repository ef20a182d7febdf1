//! Access to transfers: by keys that exist, or from addresses.

use std::path::Path;

use ipnet::IpNet;
use rustls::pki_types::ServerName;
use toml::Spanned;

use super::{At, invalid, names, plain, prefixes};
use crate::client::Demand;
use crate::config::file::{self, DomainName, Prefix, nearest};
use crate::config::{ConfigError, KeyFile, Named, Warning};
use crate::name::Name;
use crate::transfer::Rule;
use crate::view::Which;

/// The rules of `[[transfer]]`.
pub(super) fn transfers(
    written: Vec<Spanned<file::Transfer>>,
    keys: &[KeyFile],
    base: &Path,
    at: At<'_>,
) -> Result<Vec<Rule>, ConfigError> {
    written.into_iter().map(|rule| transfer(rule, keys, base, at)).collect()
}

fn transfer(
    written: Spanned<file::Transfer>,
    keys: &[KeyFile],
    base: &Path,
    at: At<'_>,
) -> Result<Rule, ConfigError> {
    let place = at(written.span());
    let written = written.into_inner();
    let certificate = certificate(&written, base, at)?;
    if written.keys.is_empty() && written.clients.is_empty() && certificate.is_none() {
        let help = "add keys = [\"mirror\"] with a table [keys.mirror]; or clients = [\"192.0.2.2\"] or client_ca, who get the outside";
        return Err(invalid(place, "nobody may take a zone by this [[transfer]]", help));
    }
    let known = |text: &Spanned<String>| known(text, keys, at).map(|key| key.name.clone());
    let named: Vec<Name> = written.keys.iter().map(known).collect::<Result<_, _>>()?;
    let views: Vec<Which> = keys.iter().filter(|key| named.contains(&key.name)).map(|key| key.view).collect();
    // D16: a secondary of the outside must not hear of what changed inside.
    if let (Some(notify), true) = (written.notify.first(), views.windows(2).any(|pair| pair[0] != pair[1])) {
        let message = "the secondaries notified here would hear of both sides, since the keys are of both";
        let help = "write one [[transfer]] with the keys and secondaries of the outside, and one with those of the inside";
        return Err(invalid(at(notify.span()), message, help));
    }
    Ok(Rule {
        zones: names(written.zones),
        keys: named,
        clients: prefixes(written.clients),
        certificate,
        notify: plain(written.notify),
    })
}

/// The certificate that the rule demands; none if it demands none.
fn certificate(written: &file::Transfer, base: &Path, at: At<'_>) -> Result<Option<Demand>, ConfigError> {
    let Some(ca) = &written.client_ca else {
        return match written.client_names.first() {
            None => Ok(None),
            Some(name) => {
                let message = "nobody says which roots the certificate of a client may lead to";
                Err(invalid(
                    at(name.span()),
                    message,
                    "add client_ca = \"secondaries.pem\", the roots or the certificate itself",
                ))
            }
        };
    };
    let name = |written: &Spanned<String>| {
        let text = written.get_ref();
        let is_name = ServerName::try_from(text.as_str()).is_ok();
        is_name.then(|| text.clone()).ok_or_else(|| {
            let help = "write the name of a host, such as \"ns2.example.net\"";
            invalid(at(written.span()), format!("\"{text}\" is no name that a certificate can be for"), help)
        })
    };
    let names = written.client_names.iter().map(name).collect::<Result<_, _>>()?;
    Ok(Some(Demand { roots: base.join(ca.get_ref()), names }))
}

/// Warnings for the networks of rules without keys that overlap the inside's: a secondary in both is told the inside's
/// serial by SOA and gets the outside's zone, so it transfers at each refresh and never catches up.
pub(super) fn keyless_insiders(
    written: &[Spanned<file::Transfer>],
    internal: &file::Internal,
    at: At<'_>,
) -> Vec<Warning> {
    let keyless = written.iter().map(Spanned::get_ref).filter(|rule| rule.keys.is_empty());
    let inside =
        |net: IpNet| internal.clients.iter().map(|client| client.get_ref().0).find(|own| meet(*own, net));
    let warning = |client: &Spanned<Prefix>| {
        let net = client.get_ref().0;
        inside(net).map(|own| Warning {
            place: at(client.span()),
            message: format!("{net} is inside ({own} is in [internal] clients), and a transfer without a key is of the outside"),
            help: "add keys = [\"…\"] of the view that the secondary is to have; `verge-dns key new NAME` makes one".to_owned(),
        })
    };
    keyless.flat_map(|rule| &rule.clients).filter_map(warning).collect()
}

/// Whether two networks have an address in common.
fn meet(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The key of this name.
pub(super) fn known<'k>(
    text: &Spanned<String>,
    keys: &'k [KeyFile],
    at: At<'_>,
) -> Result<&'k KeyFile, ConfigError> {
    let name = Name::parse_absolute(text.get_ref()).ok();
    keys.iter().find(|key| Some(&key.name) == name.as_ref()).ok_or_else(|| unknown(text, keys, at))
}

fn unknown(text: &Spanned<String>, keys: &[KeyFile], at: At<'_>) -> ConfigError {
    let name = text.get_ref();
    let known: Vec<String> =
        keys.iter().map(|key| key.name.to_string().trim_end_matches('.').to_owned()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name, &known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("make one with `verge-dns key new {name}`, and add its table [keys.{name}]"),
    };
    invalid(at(text.span()), format!("there is no key `{name}`"), help)
}

/// The zones that are named, with their places.
pub(super) fn named(written: &[Spanned<file::Transfer>], at: At<'_>) -> Vec<Named> {
    let zones = written.iter().flat_map(|rule| &rule.get_ref().zones);
    let named = |zone: &Spanned<DomainName>| Named {
        setting: "[[transfer]] zones",
        name: zone.get_ref().0.clone(),
        place: at(zone.span()),
    };
    zones.map(named).collect()
}
