//! The zone that a file is for, by the names that people give such files.

/// Prefixes and suffixes that file names put around a zone's name, as in BIND's and Windows' manuals.
const BEFORE: &[&str] = &["db.", "named.", "pri.", "master.", "zone."];
/// The longest first.
const BEHIND: &[&str] = &[".zone.txt", ".signed", ".hosts", ".zone", ".host", ".dns", ".txt", ".db"];

/// `db.example.com` and `example.com.zone` without what does not belong to the zone's name.
pub(crate) fn zone_of(file_name: &str) -> &str {
    let name = BEFORE.iter().find_map(|before| file_name.strip_prefix(before)).unwrap_or(file_name);
    BEHIND.iter().find_map(|behind| name.strip_suffix(behind)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_told_from_the_names_that_people_give_files() {
        for (file, expected) in [
            ("example.com.zone", "example.com"),
            ("db.example.com", "example.com"),
            ("example.com.db", "example.com"),
            ("db.example.com.signed", "example.com"),
            ("example.com.zone.txt", "example.com"),
            ("2.0.192.in-addr.arpa.dns", "2.0.192.in-addr.arpa"),
            ("example.com", "example.com"),
        ] {
            assert_eq!(zone_of(file), expected, "{file}");
        }
    }
}
