//! `[[update]]`: who may change what.

use super::*;

const HEAD: &str =
    "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.acme]\nsecret_file = \"k\"\n[[update]]\n";

#[test]
fn an_update_names_keys_names_and_types() {
    let text = "zones = [\"example.com\"]\nkeys = [\"ACME\"]\nnames = [\"_acme-challenge.*\", \"@\"]\ntypes = [\"txt\", \"TYPE65280\"]";
    let config = read(&format!("{HEAD}{text}")).unwrap();
    let policy = &config.updates[0];
    assert_eq!(policy.keys, [Name::parse_absolute("acme").unwrap()]);
    assert_eq!(policy.types, [crate::rtype::Type::TXT, crate::rtype::Type(65280)]);
    assert_eq!((policy.names.len(), policy.zones.len(), policy.publish), (2, 1, false));
    let config = read(&format!("{HEAD}{text}\npublish = true")).unwrap();
    assert!(config.updates[0].publish);
}

#[test]
fn an_update_that_names_too_little_or_too_much_is_refused() {
    for (text, at, message, help) in [
        (
            "keys = []\nnames = [\"@\"]\ntypes = [\"TXT\"]",
            (5, 1),
            "nothing can be changed",
            "write keys, names and types",
        ),
        (
            "keys = [\"acme\"]\nnames = []\ntypes = [\"TXT\"]",
            (5, 1),
            "nothing can be changed",
            "write keys, names and types",
        ),
        ("keys = [\"acme\"]\nnames = [\"@\"]", (5, 1), "missing field `types`", ""),
        (
            "keys = [\"acne\"]\nnames = [\"@\"]\ntypes = [\"TXT\"]",
            (6, 9),
            "there is no key `acne`",
            "did you mean \"acme\"?",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"www.example.com.\"]\ntypes = [\"TXT\"]",
            (7, 10),
            "is no name of a zone",
            "relative to the zone",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"TXTT\"]",
            (8, 10),
            "`TXTT` is no type",
            "did you mean \"TXT\"?",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"SOA\"]",
            (8, 10),
            "the SOA is not changed",
            "the serial is raised",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"DNSKEY\"]",
            (8, 10),
            "DNSKEY is not changed by updates",
            "by its signer",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"cds\"]",
            (8, 10),
            "cds is not changed by updates",
            "by its signer",
        ),
        (
            "keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"CDNSKEY\"]",
            (8, 10),
            "CDNSKEY is not changed by updates",
            "by its signer",
        ),
        ("keys = [\"acme\"]\nnames = [\"@\"]\ntypes = [\"ANY\"]", (8, 10), "`ANY` is no type", "zone file"),
    ] {
        refused(&format!("{HEAD}{text}"), at, message, help);
    }
}
