//! Changes by others: by keys that exist, of names and types that are named.

use toml::Spanned;

use super::transfers::known;
use super::{At, invalid, names};
use crate::config::file::{self, DomainName, nearest};
use crate::config::{ConfigError, KeyFile, Named};
use crate::rtype::Type;
use crate::update::{Pattern, Policy};

/// The rules of `[[update]]`.
pub(super) fn updates(
    written: Vec<Spanned<file::Update>>,
    keys: &[KeyFile],
    at: At<'_>,
) -> Result<Vec<Policy>, ConfigError> {
    written.into_iter().map(|rule| update(rule, keys, at)).collect()
}

fn update(written: Spanned<file::Update>, keys: &[KeyFile], at: At<'_>) -> Result<Policy, ConfigError> {
    let place = at(written.span());
    let written = written.into_inner();
    let lists = [&written.keys, &written.names, &written.types];
    if lists.iter().any(|list| list.is_empty()) {
        let help = "write keys, names and types, as in keys = [\"acme\"], names = [\"_acme-challenge.*\"], types = [\"TXT\"]";
        return Err(invalid(place, "nothing can be changed by this [[update]]", help));
    }
    let key = |text: &Spanned<String>| known(text, keys, at).map(|key| key.name.clone());
    let pattern = |text: &Spanned<String>| {
        let help = "names are relative to the zone: \"www\" is one name, \"_acme-challenge.*\" that name and all below it, \"@\" the \
                    zone's own, \"*\" all of it";
        Pattern::parse(text.get_ref()).ok_or_else(|| {
            invalid(at(text.span()), format!("`{}` is no name of a zone", text.get_ref()), help)
        })
    };
    Ok(Policy {
        zones: names(written.zones),
        keys: written.keys.iter().map(key).collect::<Result<_, _>>()?,
        names: written.names.iter().map(pattern).collect::<Result<_, _>>()?,
        types: written.types.iter().map(|text| rtype(text, at)).collect::<Result<_, _>>()?,
        publish: written.publish,
    })
}

fn rtype(text: &Spanned<String>, at: At<'_>) -> Result<Type, ConfigError> {
    let found: Option<Type> = text.get_ref().parse().ok();
    match found {
        Some(Type::SOA) => {
            let help = "remove it; the serial is raised with each update";
            Err(invalid(at(text.span()), "the SOA is not changed by updates", help))
        }
        Some(
            Type::RRSIG
            | Type::NSEC
            | Type::NSEC3
            | Type::NSEC3PARAM
            | Type::ZONEMD
            | Type::DNSKEY
            | Type::CDS
            | Type::CDNSKEY,
        ) => {
            let help = "remove it; a signed zone is changed by its signer";
            Err(invalid(at(text.span()), format!("{} is not changed by updates", text.get_ref()), help))
        }
        Some(rtype) if !rtype.is_meta() => Ok(rtype),
        _ => {
            let known: Vec<&str> =
                crate::rtype::NAMED.iter().filter(|(it, _)| !it.is_meta()).map(|(_, name)| *name).collect();
            let help = match nearest(&text.get_ref().to_ascii_uppercase(), &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write types as in a zone file: \"TXT\", \"A\", \"TYPE65280\"".to_owned(),
            };
            Err(invalid(at(text.span()), format!("`{}` is no type of records", text.get_ref()), help))
        }
    }
}

/// The zones that are named, with their places.
pub(super) fn named(written: &[Spanned<file::Update>], at: At<'_>) -> Vec<Named> {
    let zones = written.iter().flat_map(|rule| &rule.get_ref().zones);
    let named = |zone: &Spanned<DomainName>| Named {
        setting: "[[update]] zones",
        name: zone.get_ref().0.clone(),
        place: at(zone.span()),
    };
    zones.map(named).collect()
}
