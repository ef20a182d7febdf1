//! A `[[stream]]`: connections that are passed on to origins, whatever they carry.

use std::time::Duration;

use ipnet::IpNet;

use super::host::HostPattern;
use super::{OriginAddress, Patience, Sharing};

/// One of them.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The first of its names, or the first address where it listens: its metrics and log lines go by it.
    pub name: String,
    /// Names that clients ask for as TLS has them (SNI); none: every connection that no other one takes.
    pub names: Vec<HostPattern>,
    /// At least one.
    pub origins: Vec<OriginAddress>,
    /// How long a connection to one may take.
    pub patience: Patience,
    /// How its origins share its connections.
    pub sharing: Sharing,
    /// A connection on which nothing passes for so long is closed.
    pub idle: Duration,
    /// A connection that is open for so long is closed; none: it may be for ever.
    pub whole: Option<Duration>,
    /// Connections at once.
    pub most: usize,
    /// Clients whose connections begin with a header of the PROXY protocol.
    pub introducers: Vec<IpNet>,
    /// Whether its origins are told the client's address by such a header.
    pub introduces: bool,
}

impl Relay {
    /// Whether the origins of both are the same and get their connections by the same rules: then they are one group, wherever
    /// its clients come in.
    #[must_use]
    pub fn shares_origins_with(&self, other: &Self) -> bool {
        (&self.name, &self.origins, &self.sharing, self.patience)
            == (&other.name, &other.origins, &other.sharing, other.patience)
    }

    /// How well it is for this name: an exact one before the longest wildcard; none if it is not for it.
    #[must_use]
    pub fn fits(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.names.iter().filter_map(|pattern| pattern.fits(&name)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_fits_best_then_the_longest_wildcard() {
        let check = |pattern: &str, name: &str, expected: Option<usize>| {
            assert_eq!(HostPattern::parse(pattern).unwrap().fits(name), expected, "{pattern} {name}");
        };
        check("db.test", "db.test", Some(usize::MAX));
        check("db.test", "a.db.test", None);
        check("*.db.test", "a.db.test", Some(7));
        check("*.test", "a.db.test", Some(4));
        check("*.db.test", "db.test", None);
        check("*.db.test", ".db.test", None);
        check("*", "a.test", Some(0));
    }
}
