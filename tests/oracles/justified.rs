//! Where the others may differ from us, each with its reason.

/// Types that Debian's versions of a program do not know by their name.
fn unknown_types(checker: &str) -> &'static [&'static str] {
    match checker {
        "bind" => &["EID", "NIMLOC", "ATMA", "SINK", "CLA", "IPN", "DSYNC"],
        "nsd" => &[
            "NSAP-PTR", "GPOS", "EID", "NIMLOC", "ATMA", "A6", "SINK", "HIP", "NINFO", "RKEY", "TALINK",
            "DSYNC", "DOA", "AMTRELAY", "RESINFO", "WALLET", "CLA", "IPN", "TA",
        ],
        _ => &[
            "MD", "MF", "MB", "MG", "MR", "NULL", "WKS", "X25", "ISDN", "NSAP", "NSAP-PTR", "SIG", "PX",
            "GPOS", "NXT", "EID", "NIMLOC", "ATMA", "A6", "SINK", "HIP", "NINFO", "RKEY", "TALINK", "DSYNC",
            "AVC", "DOA", "AMTRELAY", "RESINFO", "WALLET", "CLA", "IPN", "TA", "DLV",
        ],
    }
}

/// Whether a form may be unknown to all three.
pub(crate) fn is_ours_alone(mnemonic: &str, form: &str) -> bool {
    ["EID", "NIMLOC", "ATMA", "SINK", "CLA", "IPN"].contains(&mnemonic)
        || form == "NSEC3 1 0 0 - CO"
        || form.ends_with(" ohttp")
}

/// (who, form, why): forms that a program refuses or takes for other bytes.
const FORMS: &[(&str, &str, &str)] = &[
    ("bind", "MD a.", "obsolete, refused on purpose"),
    ("bind", "MF a.", "obsolete, refused on purpose"),
    ("bind", "NXT a. A MX TYPE127", "printed as a bare number"),
    ("bind", "RRSIG TYPE65280 13 0 0 0 4294967295 1 . AA==", "printed as a time before 1970"),
    ("nsd", "RRSIG TYPE65280 13 0 0 0 4294967295 1 . AA==", "takes times of fourteen digits only"),
    ("bind", "IPSECKEY 10 0 0 .", "wants a key where RFC 4025 §2.4 allows none"),
    ("bind", "NSEC .", "an NSEC without any type is of no use, but RFC 4034 §4.1.2 gives it a form"),
    ("bind", "NSEC3 1 0 0 - CO", "a hash of one byte is of no use"),
    ("nsd", "NSEC3 1 0 0 - CO", "reads two characters of Base32 as more than one byte"),
    ("knot", "NSEC3 1 0 0 - CO", "a hash of one byte is of no use"),
    ("nsd", "KEY 49152 3 8", "wants a key where RFC 2535 §3.1.2 says that there is none"),
    ("knot", "KEY 49152 3 8", "wants a key where RFC 2535 §3.1.2 says that there is none"),
    ("knot", "NS ns", "wants glue, which is no matter of the text"),
    ("knot", "NS @", "wants glue, which is no matter of the text"),
    ("knot", "DS 1 8 250 00", "knows the digest types in use only"),
    ("knot", "DNSKEY 257 3 ECDSAP256SHA256 ( AQ ID )", "checks the length of the key"),
    ("knot", "L64 10 2001:db8:1140:1000", "wants four digits in each group"),
    ("knot", "HTTPS 1 . key65000 key65001=", "wants a value behind the sign"),
    ("bind", "HTTPS 1 . alpn=\"h2\" no-default-alpn ech=AQID ohttp", "older than RFC 9540"),
    ("nsd", "HTTPS 1 . alpn=\"h2\" no-default-alpn ech=AQID ohttp", "older than RFC 9540"),
    ("knot", "HTTPS 1 . alpn=\"h2\" no-default-alpn ech=AQID ohttp", "older than RFC 9540"),
];

/// Whether a form may be refused or read otherwise by a program.
pub(crate) fn form(checker: &str, mnemonic: &str, form: &str) -> bool {
    unknown_types(checker).contains(&mnemonic)
        || FORMS.iter().any(|(who, what, _)| *who == checker && *what == form)
}

/// (who, title, why): zone files of `good.txt` that a program refuses.
const ZONES: &[(&str, &str, &str)] = &[
    ("nsd", "an origin relative to the origin", "wants absolute origins"),
    ("knot", "an origin relative to the origin", "wants absolute origins"),
    ("knot", "a class by its number", "knows classes by their names"),
    ("nsd", "nested parentheses", "RFC 1035 §5.1 does not speak of them; BIND takes them"),
    ("knot", "nested parentheses", "RFC 1035 §5.1 does not speak of them; BIND takes them"),
    ("nsd", "generate", "has no $GENERATE"),
    ("knot", "generate", "has no $GENERATE"),
];

/// Whether a zone file may be refused by a program.
pub(crate) fn zone(checker: &str, title: &str) -> bool {
    ZONES.iter().any(|(who, what, _)| *who == checker && *what == title)
}
