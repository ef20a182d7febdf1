//! Zones that are taken from others: each once, from servers that can be reached, by a key that exists.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::transfers::known;
use super::{At, invalid};
use crate::config::file;
use crate::config::{Catalog, ConfigError, Identity, KeyFile, Primary, Secondary, Source, Warning};
use crate::name::Name;
use crate::view::Which;

/// More primaries of one zone are a mistake.
const MOST_PRIMARIES: usize = 16;
/// A version of a catalog that takes away more zones is more likely a mistake than an order.
const MOST_REMOVED: usize = 10;
const DNS_PORT: u16 = 53;
/// RFC 9103 §7.3.1.
const TLS_PORT: u16 = 853;

/// The zones of `[[secondary]]`.
pub(super) fn secondaries(
    written: Vec<Spanned<file::Secondary>>,
    keys: &[KeyFile],
    base: &Path,
    at: At<'_>,
) -> Result<Vec<Secondary>, ConfigError> {
    let mut all: Vec<Secondary> = Vec::new();
    for written in written {
        let (place, written) = (written.span(), written.into_inner());
        let zone = written.zone.get_ref().0.clone();
        if all.iter().any(|other| other.zone == zone) {
            let message = format!("the zone {zone} is in two [[secondary]]");
            let help = "write one, with all primaries: they are asked in their order";
            return Err(invalid(at(written.zone.span()), message, help));
        }
        let catalog = catalog(&written, keys, base, at)?;
        let whom = (written.primaries.as_slice(), &written.key, &written.ca);
        let Source { primaries, key, view, ca } = source(&zone, whom, (keys, base), (place, at))?;
        let identity = identity(&written, base, at)?;
        let (member_of, entry) = (None, None);
        all.push(Secondary { zone, primaries, key, view, ca, identity, catalog, member_of, entry });
    }
    Ok(all)
}

/// The certificate that this server shows; none if it shows none.
fn identity(written: &file::Secondary, base: &Path, at: At<'_>) -> Result<Option<Identity>, ConfigError> {
    match (&written.certificate, &written.certificate_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Identity {
            certificate: base.join(certificate.get_ref()),
            key: base.join(key.get_ref()),
        })),
        (Some(one), None) | (None, Some(one)) => {
            let message = "a certificate is shown with its key, and one of them is missing";
            Err(invalid(
                at(one.span()),
                message,
                "write certificate = \"me.pem\" and certificate_key = \"me.key\"",
            ))
        }
    }
}

/// Where a zone comes from, as it is written.
type Written<'w> = (&'w [Spanned<String>], &'w Option<Spanned<String>>, &'w Option<Spanned<PathBuf>>);

fn source(
    zone: &Name,
    (primaries, key, ca): Written<'_>,
    (keys, base): (&[KeyFile], &Path),
    (place, at): (Range<usize>, At<'_>),
) -> Result<Source, ConfigError> {
    if primaries.is_empty() || primaries.len() > MOST_PRIMARIES {
        let help = "write primaries = [\"192.0.2.9:53\"], or \"tls://192.0.2.9:853\"; 16 at most";
        return Err(invalid(at(place), format!("nobody is named from whom to take {zone}"), help));
    }
    let primaries = primaries.iter().map(|text| primary(text, at)).collect::<Result<Vec<_>, _>>()?;
    let names_any = primaries.iter().any(|it| matches!(it, Primary::Tls(_, Some(_))));
    match (ca, names_any) {
        (Some(ca), false) => {
            let message = "no primary here has a certificate that is checked, so there is no use for `ca`";
            let help = "name the primary of the certificate: \"tls://192.0.2.9:853#ns1.example.net\"";
            return Err(invalid(at(ca.span()), message, help));
        }
        (None, true) => {
            let message = "nobody says which roots a certificate may lead to";
            let help = "add ca = \"ca.pem\", the roots or the certificate itself";
            return Err(invalid(at(place), message, help));
        }
        _ => {}
    }
    let key = key.as_ref().map(|text| known(text, keys, at)).transpose()?;
    Ok(Source {
        primaries,
        key: key.map(|key| key.name.clone()),
        view: key.map_or(Which::Public, |key| key.view),
        ca: ca.as_ref().map(|ca| base.join(ca.get_ref())),
    })
}

/// The settings of a catalog; none if the zone is not one.
fn catalog(
    written: &file::Secondary,
    keys: &[KeyFile],
    base: &Path,
    at: At<'_>,
) -> Result<Option<Catalog>, ConfigError> {
    if !written.catalog {
        let setting = written.most_removed.as_ref().map(|it| (it.span(), "most_removed"));
        let group = written.groups.values().next().map(|it| (it.span(), "groups"));
        return match setting.or(group) {
            None => Ok(None),
            Some((span, setting)) => {
                let message =
                    format!("`{setting}` is about the zones that a catalog names, and this zone is none");
                Err(invalid(at(span), message, "add catalog = true, or remove it"))
            }
        };
    }
    let zone = &written.zone.get_ref().0;
    let group = |(name, group): (&String, &Spanned<file::Group>)| {
        let it = group.get_ref();
        let source =
            source(zone, (it.primaries.as_slice(), &it.key, &it.ca), (keys, base), (group.span(), at))?;
        Ok((name.clone(), source))
    };
    let groups = written.groups.iter().map(group).collect::<Result<_, ConfigError>>()?;
    let most_removed = written.most_removed.as_ref().map_or(MOST_REMOVED, |it| *it.get_ref());
    Ok(Some(Catalog { most_removed, groups }))
}

/// `192.0.2.9:53`, `tls://192.0.2.9:853`, `tls://192.0.2.9:853#ns1.example.net`; the port may be left out.
fn primary(text: &Spanned<String>, at: At<'_>) -> Result<Primary, ConfigError> {
    let address = |written: &str, port: u16| {
        let bare = || {
            let inner = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address = inner.unwrap_or(written).parse::<IpAddr>().ok();
            address.map(|address| SocketAddr::new(address, port))
        };
        written.parse::<SocketAddr>().ok().or_else(bare)
    };
    let whole = text.get_ref().as_str();
    let found = match whole.strip_prefix("tls://") {
        None => address(whole, DNS_PORT).map(Primary::Tcp),
        Some(rest) => {
            let (written, name) = rest.split_once('#').map_or((rest, None), |(it, name)| (it, Some(name)));
            let is_name = name.is_none_or(|name| rustls::pki_types::ServerName::try_from(name).is_ok());
            address(written, TLS_PORT)
                .filter(|_| is_name)
                .map(|address| Primary::Tls(address, name.map(str::to_owned)))
        }
    };
    found.ok_or_else(|| {
        let help = "write an address, as in \"192.0.2.9:53\", \"tls://192.0.2.9:853\" or, so that the certificate is \
                    checked, \"tls://192.0.2.9:853#ns1.example.net\"";
        invalid(at(text.span()), format!("`{whole}` is no primary"), help)
    })
}

/// Warnings for zones that anybody on the way could replace.
pub(super) fn unproved(written: &[Spanned<file::Secondary>], at: At<'_>) -> Vec<Warning> {
    let all = written.iter().map(Spanned::get_ref);
    let groups = all.clone().flat_map(|it| it.groups.values()).map(Spanned::get_ref);
    let keyless = all.filter(|it| it.key.is_none()).map(|it| &it.primaries);
    let keyless = keyless.chain(groups.filter(|it| it.key.is_none()).map(|it| &it.primaries));
    let unnamed = keyless.flatten().filter(|text| !text.get_ref().contains('#'));
    let warning = |text: &Spanned<String>| Warning {
        place: at(text.span()),
        message: "nothing proves that the zone is this primary's: whoever is on the way can change it"
            .to_owned(),
        help: "add key = \"…\"; `verge-dns key new NAME` makes one and prints the primary's lines, too"
            .to_owned(),
    };
    unnamed.map(warning).collect()
}
