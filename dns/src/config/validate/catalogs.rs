//! Catalogs that are made here: each once, and of names that can be.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{At, invalid, names};
use crate::config::ConfigError;
use crate::config::file::{self, DomainName};
use crate::name::Name;
use crate::transfer::Listing;

/// A group's name is one string of a TXT record.
const MOST_GROUP_BYTES: usize = 255;

/// The catalogs of `[[catalog]]`.
pub(super) fn catalogs(
    written: Vec<Spanned<file::Catalog>>,
    secondaries: &[Spanned<file::Secondary>],
    at: At<'_>,
) -> Result<Vec<Listing>, ConfigError> {
    let mut all: Vec<Listing> = Vec::new();
    for catalog in written {
        let catalog = catalog.into_inner();
        let (place, apex) = (catalog.zone.span(), catalog.zone.into_inner().0);
        if all.iter().any(|other| other.apex == apex) {
            return Err(invalid(at(place), format!("the catalog {apex} is in two [[catalog]]"), "write one"));
        }
        if secondaries.iter().any(|it| it.get_ref().zone.get_ref().0 == apex) {
            let message = format!("{apex} is taken from others by [[secondary]], so it is not made here");
            return Err(invalid(at(place), message, "give one of them another name"));
        }
        // "group", 32 digits, "zones", each with its length.
        if apex
            .child(b"zones")
            .and_then(|it| it.child(&[b'0'; 32]))
            .and_then(|it| it.child(b"group"))
            .is_none()
        {
            let message = format!("{apex} is too long for the name of a catalog");
            return Err(invalid(at(place), message, "a short name will do, as in \"catalog.invalid\""));
        }
        if let Some((group, zones)) = catalog.groups.iter().find(|(name, _)| name.len() > MOST_GROUP_BYTES) {
            let span = zones.first().map_or(place.clone(), Spanned::span);
            return Err(invalid(
                at(span),
                format!("the name of the group {group} is too long"),
                "255 bytes at most",
            ));
        }
        let hand_over = hand_over(catalog.hand_over, (place, at))?;
        let groups = catalog
            .groups
            .into_iter()
            .flat_map(|(group, zones)| names(zones).into_iter().map(move |zone| (zone, group.clone())));
        all.push(Listing { apex, zones: names(catalog.zones), groups: groups.collect(), hand_over });
    }
    Ok(all)
}

/// The zones that other catalogs are to take over.
fn hand_over(
    written: BTreeMap<String, Vec<Spanned<DomainName>>>,
    (place, at): (std::ops::Range<usize>, At<'_>),
) -> Result<Vec<(Name, Name)>, ConfigError> {
    let mut all: Vec<(Name, Name)> = Vec::new();
    for (other, zones) in written {
        let Ok(catalog) = Name::parse_absolute(&other) else {
            let message = format!("`{other}` in hand_over is not the name of a catalog");
            return Err(invalid(
                at(place),
                message,
                "write hand_over = { \"other.catalog\" = [\"example.com\"] }",
            ));
        };
        for zone in zones {
            let name = &zone.get_ref().0;
            if all.iter().any(|(named, _)| named == name) {
                return Err(invalid(
                    at(zone.span()),
                    format!("{name} is handed over twice"),
                    "name one catalog",
                ));
            }
            all.push((zone.into_inner().0, catalog.clone()));
        }
    }
    Ok(all)
}
