//! Who may take zones: by keys that there are, or from addresses.

use toml::Spanned;

use super::{At, invalid, names, plain, prefixes};
use crate::config::file::{self, DomainName, nearest};
use crate::config::{ConfigError, KeyFile, Named};
use crate::name::Name;
use crate::transfer::Rule;
use crate::view::Which;

/// The rules of `[[transfer]]`.
pub(super) fn transfers(
    written: Vec<Spanned<file::Transfer>>,
    keys: &[KeyFile],
    at: At<'_>,
) -> Result<Vec<Rule>, ConfigError> {
    written.into_iter().map(|rule| transfer(rule, keys, at)).collect()
}

fn transfer(written: Spanned<file::Transfer>, keys: &[KeyFile], at: At<'_>) -> Result<Rule, ConfigError> {
    let place = at(written.span());
    let written = written.into_inner();
    if written.keys.is_empty() && written.clients.is_empty() {
        let help = "add keys = [\"mirror\"] with a table [keys.mirror]; or clients = [\"192.0.2.2\"], who get the outside";
        return Err(invalid(place, "nobody may take a zone by this [[transfer]]", help));
    }
    let known = |text: &Spanned<String>| {
        let name = Name::parse_absolute(text.get_ref()).ok();
        let key = keys.iter().find(|key| Some(&key.name) == name.as_ref());
        key.map(|key| key.name.clone()).ok_or_else(|| unknown(text, keys, at))
    };
    let named: Vec<Name> = written.keys.iter().map(known).collect::<Result<_, _>>()?;
    let views: Vec<Which> = keys.iter().filter(|key| named.contains(&key.name)).map(|key| key.view).collect();
    // D16: a secondary of the outside must not hear of what changed inside.
    if let (Some(notify), true) = (written.notify.first(), views.windows(2).any(|pair| pair[0] != pair[1])) {
        let message = "who is notified here would hear of both sides, since the keys are of both";
        let help = "write one [[transfer]] with the keys and secondaries of the outside, and one with those of the inside";
        return Err(invalid(at(notify.span()), message, help));
    }
    Ok(Rule {
        zones: names(written.zones),
        keys: named,
        clients: prefixes(written.clients),
        notify: plain(written.notify),
    })
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
