//! The part of a config that the commands need: where the edge is. The rest may be in the middle of an edit.

use serde::Deserialize;
use std::net::SocketAddr;

use super::admin::AdminTable;
use super::place::Fault;

/// `[admin]` alone; none if the file has no such section.
pub(super) fn admin(text: &str) -> Result<Option<AdminTable>, Fault> {
    #[derive(Deserialize)]
    struct Only {
        admin: Option<AdminTable>,
    }
    read::<Only>(text, Part::Section("[admin]")).map(|only| only.admin)
}

/// `listen` and `listen_tls` alone.
pub(super) fn listen(text: &str) -> Result<Listen, Fault> {
    read(text, Part::Top)
}

/// Where clients find the edge.
#[derive(Debug, Clone, Deserialize)]
pub struct Listen {
    /// In clear.
    #[serde(default, rename = "listen")]
    pub plain: Vec<SocketAddr>,
    /// Over TLS.
    #[serde(default, rename = "listen_tls")]
    pub tls: Vec<SocketAddr>,
}

/// A part of a config that can be read alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The part above the first section.
    Top,
    /// The section with this first line.
    Section(&'static str),
}

/// Reads the whole text without asking what the other keys mean. If it is no TOML, reads only that part.
fn read<T: serde::de::DeserializeOwned>(text: &str, part: Part) -> Result<T, Fault> {
    toml::from_str(text).or_else(|error| {
        // The operator has to mend the fault of the whole file.
        let whole = || Fault::of_reader(&error, text);
        let alone = alone(text, part).ok_or_else(whole)?;
        toml::from_str(&alone).map_err(|_| whole())
    })
}

/// The text with all but one part blanked, so that places stay right; none if there is no such part.
fn alone(text: &str, part: Part) -> Option<String> {
    let (mut is_there, mut inside) = (part == Part::Top, part == Part::Top);
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if bare(line).starts_with('[') {
            inside =
                matches!(part, Part::Section(first) if first == bare(line) || is_below(bare(line), first));
            is_there |= inside;
        }
        if inside {
            kept.push_str(line);
        } else {
            kept.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
    }
    is_there.then_some(kept)
}

/// `[admin.tls]` belongs to `[admin]`.
fn is_below(line: &str, section: &str) -> bool {
    line.strip_prefix(section.trim_end_matches(']')).is_some_and(|rest| rest.starts_with('.'))
}

fn bare(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}
